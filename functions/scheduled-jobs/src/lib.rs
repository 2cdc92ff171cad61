//! The scheduled function: EventBridge Scheduler, or an administrator, names a job, and one run of it is done, before the
//! deadline.
//!
//! - [`expire`]: ends holds that have run out.
//! - [`heal`]: tells Redis what a change announced there has come to, where its maker did not.
//! - [`reconcile`]: compares what Redis says of seats with what DynamoDB has, and repairs it.
//! - [`write_back`]: adds the views that Redis has counted to the table.
//! - [`settle`]: adds what was sold and taken back to its day, once that is over.
//! - [`redrive`]: replays what could not be handled; by hand, for a person decides what and when.

mod alone;
mod clocks;
mod directory;
mod expire;
mod heal;
mod reconcile;
pub mod redrive;
mod settle;
mod write_back;

use metrics::counter;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::config::{Config, KafkaConfig};
use shared::dynamodb::events::Events;
use shared::dynamodb::job_states::JobStates;
use shared::dynamodb::reservations::Repository;
use shared::dynamodb::settlement::Settlements;
use shared::dynamodb::view_counts::ViewCounts;
use shared::dynamodb::{StoreError, Table};
use shared::lock::Lock;
use shared::redis::Redis;
use shared::redis::entries::Entries;
use shared::redis::moving::Moving;
use shared::redis::repair::Repairs;
use shared::redis::truth::Truths;
use shared::redis::views::Views;
use shared::telemetry::{LEFT_UNDONE, REASON};
use tokio::time::Instant;

pub use expire::Expired;
pub use heal::Healed;
pub use reconcile::Reconciled;
use reconcile::{PAGES_A_RUN, PARTITIONS_A_RUN};
use redrive::order::Order;
use redrive::report::Redriven;
use redrive::{Redrive, RedriveError};
pub use settle::Settled;
pub use write_back::WrittenBack;

/// What the scheduler sends.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub enum Job {
    /// End holds that have run out.
    Expire,
    /// Tell Redis of changes whose makers did not.
    Heal,
    /// Compare what Redis says of seats with what the table has, and repair it.
    Reconcile,
    /// Add the views that Redis has counted to the table.
    WriteBack,
    /// Add what was sold and taken back to its day.
    Settle,
    /// List, show or replay what could not be handled.
    Redrive(Order),
}

impl Job {
    /// The job a payload names.
    ///
    /// # Errors
    /// When it names none of ours.
    pub fn named(payload: &Value) -> Result<Self, JobError> {
        Self::deserialize(payload).map_err(JobError::NoSuchJob)
    }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub enum Report {
    /// Of `expire`.
    Expire(Expired),
    /// Of `heal`.
    Heal(Healed),
    /// Of `reconcile`.
    Reconcile(Reconciled),
    /// Of `write_back`.
    WriteBack(WrittenBack),
    /// Of `settle`.
    Settle(Settled),
    /// Of `redrive`.
    Redrive(Redriven),
}

impl Report {
    /// How much the run could not do, where that is so, under the job's name.
    fn left_undone(&self) -> Option<(&'static str, usize)> {
        let (job, failed) = match self {
            Self::Expire(done) => ("expire", done.failed),
            Self::Settle(done) => ("settle", done.failed),
            Self::Heal(done) => ("heal", done.failed),
            Self::Reconcile(_) | Self::WriteBack(_) | Self::Redrive(_) => return None,
        };
        (failed > 0).then_some((job, failed))
    }
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
    /// The redrive was not done.
    #[error(transparent)]
    Redrive(#[from] RedriveError),
}

impl From<JobError> for lambda_runtime::Diagnostic {
    fn from(error: JobError) -> Self {
        let error_type = match &error {
            JobError::NoSuchJob(_) => "NoSuchJob",
            JobError::Store(_) | JobError::Redrive(RedriveError::Store(_)) => "Store",
            JobError::Redrive(RedriveError::Order(_)) => "NoSuchOrder",
            JobError::Redrive(RedriveError::Gone(_)) => "NoSuchEntry",
            JobError::Redrive(RedriveError::Discover(_) | RedriveError::Read(_)) => "Kafka",
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
    repairs: Repairs,
    reconciling: JobStates,
    partitions_a_run: u32,
    entries: Entries,
    reconciling_customers: JobStates,
    pages_a_run: u32,
    views: Views,
    view_counts: ViewCounts,
    settlements: Settlements,
    lock: Lock,
    table: Table,
    kafka: KafkaConfig,
}

impl Jobs {
    /// Opens all connections at once. A store that is down is met, and reported, by the first run.
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub async fn connect(config: &Config) -> Result<Self, lambda_runtime::Error> {
        let (redis, locks, table) =
            tokio::join!(Redis::open(config), Redis::open_for_locks(config), Table::new(&config.table));
        let mut jobs = Self::new(config, redis?, table);
        jobs.lock = Lock::quorum(locks?).unwrap_or(jobs.lock);
        Ok(jobs)
    }

    /// Puts the function together from connections the caller has opened.
    pub fn new(config: &Config, redis: Redis, table: Table) -> Self {
        Self {
            repository: Repository::new(table.clone()),
            events: Events::new(table.clone()),
            moving: Moving::new(redis.clone()),
            truths: Truths::new(redis.clone()),
            repairs: Repairs::new(redis.clone()),
            reconciling: JobStates::new(table.clone(), "reconcile"),
            partitions_a_run: PARTITIONS_A_RUN,
            entries: Entries::new(redis.clone()),
            reconciling_customers: JobStates::new(table.clone(), "reconcile_customers"),
            pages_a_run: PAGES_A_RUN,
            views: Views::new(redis.clone()),
            view_counts: ViewCounts::new(table.clone()),
            settlements: Settlements::new(table.clone()),
            lock: Lock::new(redis.clone()),
            redis,
            table,
            kafka: config.kafka.clone(),
        }
    }

    /// The same with another number of partitions that one run of `reconcile` compares in turn. For tests.
    #[must_use]
    pub fn comparing(mut self, partitions: u32) -> Self {
        self.partitions_a_run = partitions;
        self
    }

    /// The same with another number of pages of reservations that one run goes through. For tests.
    #[must_use]
    pub fn paging(mut self, pages: u32) -> Self {
        self.pages_a_run = pages;
        self
    }
}

/// Runs the job a payload names until `deadline`. `wall_ms` is this process' own clock, in milliseconds since the epoch.
///
/// # Errors
/// When the payload names no job, or the table gives no usable answer.
pub async fn run_job(jobs: &Jobs, payload: Value, wall_ms: i64, deadline: Instant) -> Result<Report, JobError> {
    let job = Job::named(&payload)?;
    let report = match job {
        // Boxed: the compiler cannot lay out the whole depth of it in one piece.
        Job::Expire => Report::Expire(Box::pin(expire::expire(jobs, wall_ms, deadline)).await?),
        Job::Heal => Report::Heal(Box::pin(heal::heal(jobs, deadline)).await?),
        Job::Reconcile => Report::Reconcile(Box::pin(reconcile::reconcile(jobs, deadline)).await?),
        Job::WriteBack => Report::WriteBack(Box::pin(write_back::write_back(jobs, deadline)).await?),
        Job::Settle => Report::Settle(Box::pin(settle::settle(jobs, wall_ms, deadline)).await?),
        Job::Redrive(order) => Report::Redrive(Box::pin(redrive(jobs, order, deadline)).await?),
    };
    if let Some((job, failed)) = report.left_undone() {
        counter!(LEFT_UNDONE, REASON => job).increment(failed as u64);
    }
    match &report {
        Report::Redrive(redriven) => tracing::info!(report = redriven.summary(), "redrive done"),
        report => tracing::info!(?report, "job done"),
    }
    Ok(report)
}

/// Connects for this run alone: it is rare, and no other job has any use for Kafka.
async fn redrive(jobs: &Jobs, order: Order, deadline: Instant) -> Result<Redriven, RedriveError> {
    let mut redrive = Redrive::open(&jobs.kafka, jobs.table.clone()).await?;
    let done = redrive.run(order, deadline).await;
    redrive.close().await;
    done
}
