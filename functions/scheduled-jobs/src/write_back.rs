//! The job that writes views back: what was counted in Redis is added to the table, each batch once, whoever dies wherever.
//!
//! One runner at a time, by the lock; and where one was frozen past his lease, by the fence that the next one took: his add
//! is refused. The fence is taken before the batch, so that no batch is ever added by two.

use serde::Serialize;
use shared::causes::chain;
use shared::domain::ids::EventId;
use shared::dynamodb::StoreError;
use shared::dynamodb::view_counts::Added;
use tokio::time::Instant;

use crate::Jobs;
use crate::alone::{Stopped, alone};
use crate::directory::Directory;

/// What a run of `write_back` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct WrittenBack {
    /// Events whose views were added to.
    pub events_written: usize,
    /// Views added.
    pub views_written: u64,
    /// Whether another runner was at it, or took over.
    pub overtaken: bool,
    /// Whether Redis could not be asked or told; the next run tries again.
    pub without_redis: bool,
    /// Whether the deadline came before the end; the next run goes on.
    pub cut_short: bool,
}

/// Writes back the views of every event of the directory.
pub async fn write_back(jobs: &Jobs, deadline: Instant) -> Result<WrittenBack, StoreError> {
    let nothing = WrittenBack::default();
    match alone(jobs, "write_back", deadline, async |until| all_events(jobs, until).await).await {
        Ok(done) => done,
        Err(Stopped::WithoutRedis) => Ok(WrittenBack { without_redis: true, ..nothing }),
        Err(Stopped::TooLate) => Ok(WrittenBack { cut_short: true, ..nothing }),
        Err(Stopped::Overtaken) => Ok(WrittenBack { overtaken: true, ..nothing }),
    }
}

async fn all_events(jobs: &Jobs, deadline: Instant) -> Result<WrittenBack, StoreError> {
    let mut done = WrittenBack::default();
    let mut directory = Directory::walk(&jobs.events, None);
    while let Some(event) = directory.next().await? {
        if Instant::now() >= deadline {
            done.cut_short = true;
            break;
        }
        one_event(jobs, &event.event_id, &mut done).await?;
        if done.without_redis || done.overtaken {
            break;
        }
    }
    Ok(done)
}

async fn one_event(jobs: &Jobs, event: &EventId, done: &mut WrittenBack) -> Result<(), StoreError> {
    let away = |error: shared::redis::RedisError, done: &mut WrittenBack| {
        let error = chain(&error);
        tracing::warn!(event_id = %event, error, "views stay where they are until the next run");
        done.without_redis = true;
        Ok(())
    };
    match jobs.views.look(event).await {
        Ok(counted) if counted.pending == 0 => return Ok(()),
        Ok(_) => {}
        Err(error) => return away(error, done),
    }
    let fence = jobs.view_counts.fence(event).await?;
    let batch = match jobs.views.take(event, &uuid::Uuid::new_v4().simple().to_string()).await {
        Ok(Some(batch)) => batch,
        Ok(None) => return Ok(()),
        Err(error) => return away(error, done),
    };
    match jobs.view_counts.add(event, &batch.name, batch.count, fence).await? {
        Added::Overtaken => done.overtaken = true,
        Added::Done(total) => {
            done.events_written += 1;
            done.views_written += batch.count;
            if let Err(error) = jobs.views.stored(event, total.views, &batch.name, true).await {
                return away(error, done);
            }
        }
    }
    Ok(())
}
