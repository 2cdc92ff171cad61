//! Events as this process knows them: a copy at most half a minute old, read once for all who ask at the same time.
//! A claim needs no fresher one: the script refuses an older publication than Redis knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use shared::domain::event::Event;
use shared::domain::ids::EventId;
use shared::dynamodb::StoreError;
use shared::dynamodb::events::Events;

use crate::copies::WAIT_FOR_OTHERS;

/// How long a known event is served without asking again: the bound on staleness where a publisher died between the stores.
const KNOWN: Duration = Duration::from_secs(30);
/// How long an event stays unknown: long enough to shield the table, short enough for who has just published.
const UNKNOWN: Duration = Duration::from_secs(1);
/// What is kept, in seats, at some 250 bytes each; the least used events go first.
const SEATS: u64 = 400_000;
/// What an event weighs at least, in seats, known or unknown.
const LEAST_WEIGHT: u32 = 50;
/// How often an event is read anew for a seat it does not have: a new one sells at once, and a wrong one costs no reads.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Why nobody can tell what an event is.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// Somebody else reads it and was not done in time.
    #[error("the event is being read")]
    TooLate,
    /// The table gave no usable answer.
    #[error(transparent)]
    Store(#[from] Arc<StoreError>),
}

/// The events this process has read. Cheap to clone.
#[derive(Clone)]
pub struct Catalogue {
    events: Events,
    cache: Cache<EventId, Option<Arc<Event>>>,
    looked_again: Cache<EventId, ()>,
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
        let weigh = |_: &EventId, event: &Option<Arc<Event>>| {
            event.as_ref().map_or(LEAST_WEIGHT, |event| event.capacity().max(LEAST_WEIGHT))
        };
        let cache = Cache::builder().max_capacity(SEATS).weigher(weigh).expire_after(Age).build();
        let looked_again = Cache::builder().max_capacity(SEATS / 100).time_to_live(LOOK_AGAIN).build();
        Self { events, cache, looked_again }
    }

    /// The event, if there is one.
    ///
    /// # Errors
    /// When it is not known here and the table gives no usable answer.
    pub async fn get(&self, id: &EventId) -> Result<Option<Arc<Event>>, Arc<StoreError>> {
        let read = async { self.events.get(id).await.map(|event| event.map(Arc::new)) };
        self.cache.try_get_with_by_ref(id, read).await
    }

    /// The same for who only looks: of a crowd one waits for the table, and the others no longer than they wait for anybody.
    ///
    /// # Errors
    /// As [`get`](Self::get), and when another one's read is not done in time.
    pub async fn look(&self, id: &EventId) -> Result<Option<Arc<Event>>, Unread> {
        let leading = AtomicBool::new(false);
        let read = self.cache.try_get_with_by_ref(id, async {
            leading.store(true, Ordering::Relaxed);
            self.events.get(id).await.map(|event| event.map(Arc::new))
        });
        tokio::pin!(read);
        match tokio::time::timeout(WAIT_FOR_OTHERS, &mut read).await {
            Ok(event) => Ok(event?),
            Err(_) if leading.load(Ordering::Relaxed) => Ok(read.await?),
            Err(_) => Err(Unread::TooLate),
        }
    }

    /// The event, read past every lag, after a copy has turned out to be too old, or may be.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn read_again(&self, id: &EventId) -> Result<Option<Arc<Event>>, Arc<StoreError>> {
        self.cache.invalidate(id).await;
        self.get(id).await
    }

    /// A publication after `seen`, of which Redis knows: read again by the first who asks, for all who do.
    ///
    /// # Errors
    /// As [`look`](Self::look).
    pub async fn newer_than(&self, seen: &Event) -> Result<Option<Arc<Event>>, Unread> {
        match self.look(&seen.id).await? {
            Some(event) if event.version > seen.version => Ok(Some(event)),
            _ => {
                self.cache.invalidate(&seen.id).await;
                self.look(&seen.id).await
            }
        }
    }

    /// The event, read past every lag, for something that `seen` does not have; at most once in [`LOOK_AGAIN`], `None` in between.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn look_again(&self, seen: &Event) -> Result<Option<Arc<Event>>, Arc<StoreError>> {
        if self.looked_again.contains_key(&seen.id) {
            return Ok(None);
        }
        self.looked_again.insert(seen.id.clone(), ()).await;
        self.read_again(&seen.id).await
    }

    /// Takes over a publication made by this process.
    pub async fn insert(&self, event: Arc<Event>) {
        self.cache.insert(event.id.clone(), Some(event)).await;
    }
}
