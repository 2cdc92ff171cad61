//! Loads cold sections from DynamoDB: one loader a section, others wait a moment and are told to come back. The loader is
//! a request that waits for its own load: nothing runs after the response (invariant 5). A load that does not end within
//! one request is gone on with by the next one of this process, and what was read is not read again.

use std::collections::HashSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use moka::future::Cache;
use shared::domain::event::{Event, Section};
use shared::dynamodb::StoreError;
use shared::dynamodb::events::Events;
use shared::dynamodb::reservations::Repository;
use shared::lock::{AcquireError, Lock};
use shared::redis::loading::{Loading, Step};
use shared::redis::{Redis, RedisError, keys};

use crate::moment::Moment;

/// How long anybody waits for somebody else's load.
const WAIT: Duration = Duration::from_millis(250);
/// How long a loader may take for one section: a thousand partitions, 16 at a time, at a few milliseconds each.
const LOAD_BUDGET: Duration = Duration::from_secs(5);
/// How long the loader may take in all: his budget, and giving back the lock.
const LOADING: Duration = Duration::from_millis(5_500);
/// How long after its beginning a load is gone on with. While it is under way corrections leave their marks (`truth.lua`), so
/// that what was read of a partition stays good.
const RESUMED_WITHIN: Duration = Duration::from_secs(60);
/// Lease of the loader's lock: its budget and a little.
const LEASE: Duration = Duration::from_secs(6);
/// Partitions of a section read at the same time.
const PARTITIONS_AT_ONCE: usize = 16;
/// Sections loaded at the same time by one request.
const SECTIONS_AT_ONCE: usize = 4;
/// Times a load that Redis has lost is started over.
const ROUNDS: usize = 3;
/// How often a step of a load is sent to a Redis that gives no answer. A step done twice is as one done once, and what was
/// read from the table need not be read again.
const STEP_ATTEMPTS: usize = 3;
/// How long this process believes a section it has loaded to be loaded: what absorbs the crowd behind the first.
const BELIEVED: Duration = Duration::from_millis(200);
/// Sections remembered for that.
const REMEMBERED: u64 = 10_000;

/// Why a section is still cold.
#[derive(Debug, thiserror::Error)]
pub enum Cold {
    /// Somebody else is loading it and was not done in time.
    #[error("the section is being loaded")]
    Busy,
    /// The event has no such section.
    #[error("the event has no section {0}")]
    Unknown(String),
    /// Redis kept losing the load.
    #[error("redis kept losing the load")]
    Lost,
    /// Redis gave no usable answer.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The table gave no usable answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The load that was waited for failed.
    #[error("the load failed")]
    Failed(#[source] Arc<Cold>),
}

impl From<AcquireError> for Cold {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::Unavailable(error) => Self::Redis(error),
            AcquireError::Taken | AcquireError::Unreplicated | AcquireError::TooLate | AcquireError::NoKeys => {
                Self::Busy
            }
        }
    }
}

/// Loads sections. Cheap to clone; clones share what is under way.
#[derive(Clone)]
pub struct Warmer {
    loading: Loading,
    pub(crate) lock: Lock,
    repository: Repository,
    events: Events,
    under_way: Cache<String, ()>,
    unfinished: Cache<String, Arc<Unfinished>>,
}

/// A load that has begun.
struct Unfinished {
    nonce: String,
    began: Moment,
    /// Partitions that Redis has.
    done: Mutex<HashSet<u32>>,
}

impl Unfinished {
    fn new() -> Self {
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        Self { nonce, began: Moment::now(), done: Mutex::default() }
    }

    fn done(&self) -> MutexGuard<'_, HashSet<u32>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Warmer {
    /// A warmer between these stores.
    pub fn new(redis: Redis, repository: Repository, events: Events) -> Self {
        let under_way = Cache::builder().max_capacity(REMEMBERED).time_to_live(BELIEVED).build();
        let unfinished = Cache::builder().max_capacity(REMEMBERED).time_to_live(RESUMED_WITHIN).build();
        let (loading, lock) = (Loading::new(redis.clone()), Lock::new(redis));
        Self { loading, lock, repository, events, under_way, unfinished }
    }

    /// Makes sure the sections are loaded.
    pub async fn warm(&self, event: &Event, sections: &[String]) -> Result<(), Cold> {
        let loads: Vec<_> = sections.iter().map(|id| self.once(event, id)).collect();
        stream::iter(loads).buffer_unordered(SECTIONS_AT_ONCE).try_collect().await
    }

    /// One load a process and section; only who leads it waits longer than [`WAIT`].
    async fn once(&self, event: &Event, id: &str) -> Result<(), Cold> {
        let section = event.section(id).ok_or_else(|| Cold::Unknown(id.to_owned()))?;
        let leading = AtomicBool::new(false);
        let key = keys::claims(&event.id, section.id.as_str());
        let load = self.under_way.try_get_with(key, async {
            leading.store(true, Ordering::Relaxed);
            self.load(event, section).await
        });
        tokio::pin!(load);
        let done = match within(WAIT, &mut load).await {
            None if leading.load(Ordering::Relaxed) => within(LOADING, &mut load).await,
            done => done,
        };
        done.unwrap_or(Err(Arc::new(Cold::Busy))).map_err(Cold::Failed)
    }

    /// One load among all processes.
    async fn load(&self, event: &Event, section: &Section) -> Result<(), Cold> {
        let name = keys::lock(&event.id, &format!("load:{}", section.id));
        let guard = self.lock.acquire(&[name], WAIT, LEASE).await?;
        let loaded = within(LOAD_BUDGET, self.load_under_lock(event, section)).await;
        guard.release().await;
        loaded.unwrap_or(Err(Cold::Busy))
    }

    async fn load_under_lock(&self, event: &Event, section: &Section) -> Result<(), Cold> {
        for _ in 0..ROUNDS {
            let Some(load) = self.begin(event, section).await? else { return Ok(()) };
            // What the caller knows may lack the newest seats, and a section is loaded whole or not at all.
            let published = self.events.get(&event.id).await?;
            let section = published.as_ref().and_then(|event| event.section(section.id.as_str())).unwrap_or(section);
            let missing: Vec<u32> = {
                let done = load.done();
                (0..section.layout.partitions()).filter(|partition| !done.contains(partition)).collect()
            };
            let adds: Vec<_> =
                missing.into_iter().map(|partition| self.partition(event, section, &load, partition)).collect();
            let steps: Vec<Step> = stream::iter(adds).buffer_unordered(PARTITIONS_AT_ONCE).try_collect().await?;
            let lost = steps.contains(&Step::Lost);
            let ended = !lost && again(|| self.loading.end(event, section, &load.nonce)).await? != Step::Lost;
            self.unfinished.invalidate(&keys::claims(&event.id, section.id.as_str())).await;
            if ended {
                return Ok(());
            }
        }
        Err(Cold::Lost)
    }

    /// Goes on with the load of this process that Redis still has under way, or begins one; `None` = it is loaded already.
    async fn begin(&self, event: &Event, section: &Section) -> Result<Option<Arc<Unfinished>>, Cold> {
        let key = keys::claims(&event.id, section.id.as_str());
        if let Some(load) = self.unfinished.get(&key).await
            && load.began.age_at(Moment::now()) <= RESUMED_WITHIN
        {
            // To add nothing is to ask.
            match again(|| self.loading.add(event, section, &load.nonce, &[])).await? {
                Step::Ok => return Ok(Some(load)),
                Step::Loaded => return Ok(None),
                Step::Lost => {}
            }
        }
        let load = Arc::new(Unfinished::new());
        if again(|| self.loading.begin(event, section, &load.nonce)).await? == Step::Loaded {
            return Ok(None);
        }
        self.unfinished.insert(key, Arc::clone(&load)).await;
        Ok(Some(load))
    }

    async fn partition(
        &self,
        event: &Event,
        section: &Section,
        load: &Unfinished,
        partition: u32,
    ) -> Result<Step, Cold> {
        let taken = self.repository.taken(&event.id, section.id.as_str(), partition).await?;
        let step = match taken.is_empty() {
            true => Step::Ok,
            false => again(|| self.loading.add(event, section, &load.nonce, &taken)).await?,
        };
        if step == Step::Ok {
            load.done().insert(partition);
        }
        Ok(step)
    }
}

async fn again<F: Future<Output = Result<Step, RedisError>>>(step: impl Fn() -> F) -> Result<Step, RedisError> {
    let mut answer = step().await;
    for _ in 1..STEP_ATTEMPTS {
        match &answer {
            Err(error) if error.is_no_answer() => answer = step().await,
            _ => break,
        }
    }
    answer
}

async fn within<F: Future>(bound: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(bound, future).await.ok()
}
