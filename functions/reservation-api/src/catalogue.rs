//! Events as this process knows them: a copy at most half a minute old, read once for all who ask at the same time.
//! A claim needs no fresher one: the script refuses an older publication than Redis knows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use shared::domain::event::Event;
use shared::domain::ids::EventId;
use shared::dynamodb::StoreError;
use shared::dynamodb::events::Events;

/// How long a known event is served without asking again: the bound on staleness where a publisher died between the stores.
const KNOWN: Duration = Duration::from_secs(30);
/// How long an event stays unknown: long enough to shield the table, short enough for who has just published.
const UNKNOWN: Duration = Duration::from_secs(1);
/// Events kept; the least used ones go first.
const EVENTS: u64 = 200;

/// The events this process has read. Cheap to clone.
#[derive(Clone)]
pub struct Catalogue {
    events: Events,
    cache: Cache<EventId, Option<Arc<Event>>>,
}

struct Age;

impl Expiry<EventId, Option<Arc<Event>>> for Age {
    fn expire_after_create(&self, _: &EventId, event: &Option<Arc<Event>>, _: Instant) -> Option<Duration> {
        Some(if event.is_some() { KNOWN } else { UNKNOWN })
    }
}

impl Catalogue {
    /// A catalogue over these events.
    pub fn new(events: Events) -> Self {
        Self { events, cache: Cache::builder().max_capacity(EVENTS).expire_after(Age).build() }
    }

    /// The event, if there is one.
    ///
    /// # Errors
    /// When it is not known here and the table gives no usable answer.
    pub async fn get(&self, id: &EventId) -> Result<Option<Arc<Event>>, Arc<StoreError>> {
        let read = async { self.events.get(id, true).await.map(|event| event.map(Arc::new)) };
        self.cache.try_get_with_by_ref(id, read).await
    }

    /// The event after `seen` has turned out to be an older publication.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn newer_than(&self, seen: &Event) -> Result<Option<Arc<Event>>, Arc<StoreError>> {
        if self.get(&seen.id).await?.is_none_or(|event| event.version <= seen.version) {
            self.cache.invalidate(&seen.id).await;
        }
        self.get(&seen.id).await
    }

    /// Takes over a publication made by this process.
    pub async fn insert(&self, event: Arc<Event>) {
        self.cache.insert(event.id.clone(), Some(event)).await;
    }
}
