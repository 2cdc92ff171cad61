//! Events as this process knows them: a copy of Redis' copy, which together are at most half a minute old, and read once for
//! all who ask at the same time. A claim needs no fresher one: the script refuses an older publication than Redis knows, and
//! what reads seats learns of a newer one from the same command.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt};
use moka::Expiry;
use moka::future::Cache;
use rand::Rng;
use shared::causes::chain;
use shared::domain::event::Event;
use shared::domain::ids::EventId;
use shared::dynamodb::StoreError;
use shared::dynamodb::events::Events;
use shared::dynamodb::publication::Publication;
use shared::redis::published::{Filler, Found, KEPT_FOR, PublishedCopies, RENEWED_BEFORE, UNKNOWN_FOR};

use crate::budget::Budget;
use crate::copies::{WAIT_FOR_OTHERS, wait_while};

/// What is kept, in seats, at some 250 bytes each; the least used events go first.
const SEATS: u64 = 400_000;
/// What an event weighs at least, in seats, known or unknown.
const LEAST_WEIGHT: u32 = 50;
/// How often an event is read anew for a seat it does not have: a new one sells at once, and a wrong one costs no reads.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long what was read past every lag is shared with who asks for that as well: while it is read, and no longer.
const SHARED_READ: Duration = Duration::from_millis(1);
/// Events a second that a process reads from the table where Redis has no copy to give: each is asked for once in half a
/// minute, so that is for some hundred events, and an event's item bears thousands of processes.
const READS_WITHOUT_REDIS: u32 = 10;

/// Why nobody can tell what an event is.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// Somebody else reads it and was not done in time.
    #[error("the event is being read")]
    TooLate,
    /// Redis has no copy to give, and the table has been asked often enough.
    #[error("redis gives no copy of the event, and the table was asked often enough")]
    TooMany(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The table gave no usable answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was waited for failed.
    #[error("the event could not be read")]
    Failed(#[source] Arc<Unread>),
}

/// An event, or that there is none, and how long that may be believed.
#[derive(Clone)]
struct Known {
    event: Option<Arc<Event>>,
    lasts: Duration,
}

impl Known {
    fn new(event: Option<Arc<Event>>) -> Self {
        let lasts = if event.is_some() { believed_for(KEPT_FOR) } else { UNKNOWN_FOR };
        Self { event, lasts }
    }
}

/// How long a process believes what lasts so long: it comes back at a moment of its own, while the copy is still there, so
/// that one process renews it and no crowd waits for that.
fn believed_for(left: Duration) -> Duration {
    match left.checked_sub(RENEWED_BEFORE) {
        Some(rest) => rest + RENEWED_BEFORE.mul_f64(rand::rng().random()),
        None => left,
    }
}

/// The events this process has read. Cheap to clone.
#[derive(Clone)]
pub struct Catalogue {
    events: Events,
    copies: PublishedCopies,
    cache: Cache<EventId, Known>,
    read_again: Cache<EventId, Known>,
    looked_again: Cache<EventId, ()>,
    without_redis: Arc<Budget>,
}

struct Age;

impl Expiry<EventId, Known> for Age {
    fn expire_after_create(&self, _: &EventId, known: &Known, _: Instant) -> Option<Duration> {
        Some(known.lasts)
    }

    fn expire_after_update(&self, _: &EventId, known: &Known, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(known.lasts)
    }
}

impl Catalogue {
    /// A catalogue over these events, and copies of them.
    pub fn new(events: Events, copies: PublishedCopies) -> Self {
        let weigh = |_: &EventId, known: &Known| {
            known.event.as_ref().map_or(LEAST_WEIGHT, |event| event.capacity().max(LEAST_WEIGHT))
        };
        let cache = Cache::builder().max_capacity(SEATS).weigher(weigh).expire_after(Age).build();
        let read_again = Cache::builder().max_capacity(SEATS).weigher(weigh).time_to_live(SHARED_READ).build();
        let looked_again = Cache::builder().max_capacity(SEATS / 100).time_to_live(LOOK_AGAIN).build();
        let without_redis = Arc::new(Budget::new(READS_WITHOUT_REDIS));
        Self { events, copies, cache, read_again, looked_again, without_redis }
    }

    /// The event, if there is one.
    ///
    /// # Errors
    /// When it is not known here, and neither Redis nor the table gives a usable answer.
    pub async fn get(&self, id: &EventId) -> Result<Option<Arc<Event>>, Unread> {
        // Nothing is made ready for a read that a hit does not need.
        let known = self.cache.try_get_with_by_ref(id, async { self.read(id).await }).await;
        Ok(known.map_err(Unread::Failed)?.event)
    }

    /// The same for who only looks: of a crowd one waits for the stores, and the others no longer than they wait for anybody.
    ///
    /// # Errors
    /// As [`get`](Self::get), and when another one's read is not done in time.
    pub async fn look(&self, id: &EventId) -> Result<Option<Arc<Event>>, Unread> {
        let leading = AtomicBool::new(false);
        let read = self.cache.try_get_with_by_ref(id, async {
            leading.store(true, Ordering::Relaxed);
            self.read(id).await
        });
        tokio::pin!(read);
        let known = match tokio::time::timeout(WAIT_FOR_OTHERS, &mut read).await {
            Ok(known) => known,
            Err(_) if leading.load(Ordering::Relaxed) => read.await,
            Err(_) => return Err(Unread::TooLate),
        };
        Ok(known.map_err(Unread::Failed)?.event)
    }

    /// The event, read past every lag, after a copy has turned out to be too old, or may be.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn read_again(&self, id: &EventId) -> Result<Option<Arc<Event>>, Unread> {
        let read = async { Ok(Known::new(self.events.get(id).await?.map(Arc::new))) };
        let known = self.read_again.try_get_with_by_ref(id, read).await.map_err(Unread::Failed)?;
        self.cache.insert(id.clone(), known.clone()).await;
        Ok(known.event)
    }

    /// A publication after `seen`, of which Redis knows: read again by the first who asks, for all who do. Redis gives no copy
    /// that is older than what it knows.
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
    pub async fn look_again(&self, seen: &Event) -> Result<Option<Arc<Event>>, Unread> {
        if self.looked_again.contains_key(&seen.id) {
            return Ok(None);
        }
        self.looked_again.insert(seen.id.clone(), ()).await;
        self.read_again(&seen.id).await
    }

    /// Takes over a publication made by this process.
    pub async fn insert(&self, event: Arc<Event>) {
        self.cache.insert(event.id.clone(), Known::new(Some(event))).await;
    }

    /// Reads an event from Redis, or fills the copy that Redis has not. Boxed, since it is large and rarely needed: whoever
    /// asks for an event would carry it on his stack.
    fn read<'a>(&'a self, id: &'a EventId) -> BoxFuture<'a, Result<Known, Unread>> {
        self.read_unboxed(id).boxed()
    }

    async fn read_unboxed(&self, id: &EventId) -> Result<Known, Unread> {
        match wait_while(|found| matches!(found, Ok(Found::Wait)), || self.copies.find(id)).await {
            Ok(Found::Kept { published: None, left }) => Ok(Known { event: None, lasts: left }),
            Ok(Found::Kept { published: Some(published), left }) => {
                let copied = async |names: &[String]| self.layouts(id, names).await;
                match self.events.from_copy(id, &published, copied).await {
                    Ok(event) => Ok(Known { lasts: believed_for(left), event: Some(Arc::new(event)) }),
                    // Kept by another version of this function.
                    Err(StoreError::Corrupt(why)) => self.without_redis(id, why).await,
                    Err(error) => Err(error.into()),
                }
            }
            Ok(Found::Fill(filler)) => self.fill(id, &filler).await,
            Ok(Found::Wait) => self.without_redis(id, "another process reads it").await,
            Err(error) => self.without_redis(id, error).await,
        }
    }

    async fn layouts(&self, id: &EventId, names: &[String]) -> Vec<(String, Vec<u8>)> {
        self.copies.layouts(id, names).await.unwrap_or_else(|error| {
            tracing::debug!(event_id = %id, error = chain(&error), "layouts come from the table");
            Vec::new()
        })
    }

    /// Reads an event from the table for all processes. That Redis cannot be told is no failure: the next one reads it again.
    async fn fill(&self, id: &EventId, filler: &Filler) -> Result<Known, Unread> {
        let read = self.events.read(id).await;
        let kept = match &read {
            Ok(Some(publication)) => self.copies.keep(id, filler, publication).await,
            Ok(None) => self.copies.keep_unknown(id, filler).await,
            Err(_) => self.copies.give_up(id, filler).await,
        };
        if let Err(error) = kept {
            tracing::debug!(event_id = %id, error = chain(&error), "redis has no copy of an event");
        }
        let event = read?.map(Publication::event).transpose()?;
        Ok(Known::new(event.map(Arc::new)))
    }

    /// Reads an event from the table for this process alone, where the rate allows it.
    async fn without_redis(
        &self,
        id: &EventId,
        why: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Result<Known, Unread> {
        if !self.without_redis.allows(1, tokio::time::Instant::now()) {
            return Err(Unread::TooMany(why.into()));
        }
        Ok(Known::new(self.events.get(id).await?.map(Arc::new)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_comes_back_before_the_copy_ends_and_not_with_all_others() {
        let mut times: Vec<Duration> = (0..100).map(|_| believed_for(KEPT_FOR)).collect();
        times.sort_unstable();
        assert!(times[0] >= KEPT_FOR - RENEWED_BEFORE && times[99] <= KEPT_FOR);
        assert!(times[99] - times[0] > RENEWED_BEFORE / 2, "{times:?}");
        assert_eq!(believed_for(RENEWED_BEFORE / 2), RENEWED_BEFORE / 2);
    }
}
