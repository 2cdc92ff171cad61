//! The scheduled function: EventBridge Scheduler names a job, and one run of it is done, before the deadline.
//!
//! - [`expire`]: ends holds that have run out.
//! - [`heal`]: tells Redis what a change announced there has come to, where its maker did not.

mod expire;
mod heal;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::config::Config;
use shared::dynamodb::events::Events;
use shared::dynamodb::reservations::Repository;
use shared::dynamodb::{StoreError, Table};
use shared::redis::Redis;
use shared::redis::moving::Moving;
use shared::redis::truth::Truths;
use tokio::time::Instant;

pub use expire::Expired;
pub use heal::Healed;

/// What the scheduler sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub enum Job {
    /// End holds that have run out.
    Expire,
    /// Tell Redis of changes whose makers did not.
    Heal,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub enum Report {
    /// Of `expire`.
    Expire(Expired),
    /// Of `heal`.
    Heal(Healed),
}

/// Why a run was not done.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The payload names no job of ours.
    #[error("the payload names no job: {0}")]
    NoSuchJob(serde_json::Error),
    /// The table gave no usable answer. The next run goes on.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<JobError> for lambda_runtime::Diagnostic {
    fn from(error: JobError) -> Self {
        let error_type = match &error {
            JobError::NoSuchJob(_) => "NoSuchJob",
            JobError::Store(_) => "Store",
        };
        Self { error_type: error_type.into(), error_message: error.to_string() }
    }
}

/// What the function works with. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Jobs {
    repository: Repository,
    events: Events,
    redis: Redis,
    moving: Moving,
    truths: Truths,
}

impl Jobs {
    /// Opens all connections at once. A store that is down is met, and reported, by the first run.
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub async fn connect(config: &Config) -> Result<Self, lambda_runtime::Error> {
        let (redis, table) =
            tokio::join!(Redis::connect(&config.redis_url, config.redis_connections), Table::new(&config.table));
        Ok(Self::new(redis?, table))
    }

    /// Puts the function together from connections the caller has opened.
    pub fn new(redis: Redis, table: Table) -> Self {
        Self {
            repository: Repository::new(table.clone()),
            events: Events::new(table),
            moving: Moving::new(redis.clone()),
            truths: Truths::new(redis.clone()),
            redis,
        }
    }
}

/// Runs the job a payload names until `deadline`. `wall_ms` is this process' own clock, in milliseconds since the epoch.
///
/// # Errors
/// When the payload names no job, or the table gives no usable answer.
pub async fn run_job(jobs: &Jobs, payload: Value, wall_ms: i64, deadline: Instant) -> Result<Report, JobError> {
    let job: Job = serde_json::from_value(payload).map_err(JobError::NoSuchJob)?;
    let report = match job {
        // Boxed: the compiler cannot lay out the whole depth of it in one piece.
        Job::Expire => Report::Expire(Box::pin(expire::expire(jobs, wall_ms, deadline)).await?),
        Job::Heal => Report::Heal(Box::pin(heal::heal(jobs, deadline)).await?),
    };
    tracing::info!(?report, "job done");
    Ok(report)
}
