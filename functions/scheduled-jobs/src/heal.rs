//! The job that heals: a change of a reservation that was announced in Redis and never told there means that its maker died
//! after DynamoDB had answered, or could not know the order of two changes. The row and its seats are read anew and told.

use serde::Serialize;
use shared::causes::chain;
use shared::domain::ids::{EventId, ReservationId};
use shared::dynamodb::StoreError;
use shared::redis::moving::{Announced, MAX_MOVING};
use shared::redis::truth::Truth;
use shared::telemetry::UNDECIDED_MS;
use tokio::time::Instant;

use crate::Jobs;
use crate::alone::{Stopped, alone};
use crate::directory::Directory;

/// What a run of `heal` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Healed {
    /// Reservations that Redis was told of.
    pub healed: usize,
    /// Announcements of which nothing had come.
    pub forgotten: usize,
    /// Reservations that cannot be read, so that nobody can tell what became of them; the next run tries again.
    pub failed: usize,
    /// How long the oldest undecided claim of any event waits, in ms; 0 = none is.
    pub undecided_ms: i64,
    /// Whether another runner was at it, or took over.
    pub overtaken: bool,
    /// Whether Redis could not be asked or told; the next run tries again.
    pub without_redis: bool,
    /// Whether the deadline came before the end; the next run goes on.
    pub cut_short: bool,
}

/// Heals every event of the directory.
pub async fn heal(jobs: &Jobs, deadline: Instant) -> Result<Healed, StoreError> {
    let nothing = Healed::default();
    let done = match alone(jobs, "heal", deadline, async |until| heal_all(jobs, until).await).await {
        Ok(done) => done?,
        Err(Stopped::WithoutRedis) => return Ok(Healed { without_redis: true, ..nothing }),
        Err(Stopped::TooLate) => return Ok(Healed { cut_short: true, ..nothing }),
        Err(Stopped::Overtaken) => return Ok(Healed { overtaken: true, ..nothing }),
    };
    if !done.without_redis {
        metrics::histogram!(UNDECIDED_MS).record(done.undecided_ms as f64);
    }
    Ok(done)
}

async fn heal_all(jobs: &Jobs, deadline: Instant) -> Result<Healed, StoreError> {
    let mut done = Healed::default();
    let mut directory = Directory::walk(&jobs.events, None);
    while let Some(event) = directory.next().await? {
        heal_event(jobs, &event.event_id, deadline, &mut done).await?;
        if done.without_redis || done.cut_short {
            break;
        }
    }
    Ok(done)
}

async fn heal_event(jobs: &Jobs, event: &EventId, deadline: Instant, done: &mut Healed) -> Result<(), StoreError> {
    loop {
        let failed = done.failed;
        let announced = match jobs.moving.waiting(event).await {
            Ok(waiting) => {
                done.undecided_ms = done.undecided_ms.max(waiting.undecided_ms);
                waiting.announced
            }
            Err(error) => {
                tracing::warn!(event_id = %event, error = chain(&error), "nothing can be healed now");
                done.without_redis = true;
                return Ok(());
            }
        };
        for change in &announced {
            if Instant::now() >= deadline {
                done.cut_short = true;
                return Ok(());
            }
            heal_one(jobs, change, done).await?;
            if done.without_redis {
                return Ok(());
            }
        }
        // Where each was settled or forgotten, a full page may have more behind it.
        if announced.len() < MAX_MOVING || done.failed > failed {
            return Ok(());
        }
    }
}

async fn heal_one(jobs: &Jobs, change: &Announced, done: &mut Healed) -> Result<(), StoreError> {
    let truth = match stored(jobs, &change.id).await {
        // One that cannot be read keeps nobody else waiting.
        Err(error @ StoreError::Corrupt(_)) => {
            done.failed += 1;
            tracing::error!(reservation_id = %change.id, error = chain(&error), "a reservation cannot be healed");
            return Ok(());
        }
        truth => truth?,
    };
    let (told, count) = match truth {
        Some(truth) => (jobs.truths.heal(&truth, &change.token).await, &mut done.healed),
        // Nothing is stored. A message that still comes tells its outcome by itself.
        None => (jobs.moving.forget(change).await, &mut done.forgotten),
    };
    match told {
        Ok(()) => *count += 1,
        Err(error) => {
            let error = chain(&error);
            tracing::warn!(reservation_id = %change.id, error, "redis was not told; the next run tries again");
            done.without_redis = true;
        }
    }
    Ok(())
}

async fn stored(jobs: &Jobs, id: &ReservationId) -> Result<Option<Truth>, StoreError> {
    match jobs.repository.get(id).await? {
        Some(row) => jobs.repository.truth_of(&row).await.map(Some),
        None => Ok(None),
    }
}
