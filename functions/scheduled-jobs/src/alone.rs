//! One runner of a job at a time, by the job's lock, which lasts to the invocation's deadline. It saves double work; what
//! must not be written twice carries a fence of the table besides.

use std::time::Duration;

use shared::causes::chain;
use shared::lock::{AcquireError, Lost, Options, WithLockError};
use shared::redis::keys;
use tokio::time::Instant;

use crate::Jobs;

/// How long the lock outlives a runner who died.
const LEASE: Duration = Duration::from_secs(15);
/// How long before the invocation's deadline a job begins nothing more: what it is at is ended, and where it has come to is
/// written, before the lock warns that it ends, a twentieth of its lease and the clocks' drift before the deadline.
const TO_FINISH: Duration = Duration::from_secs(2);

/// Why a job was not run to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The lock cannot be had or kept: Redis gives no answer.
    WithoutRedis,
    /// The deadline leaves no time.
    TooLate,
    /// Another runner is at it, or took over.
    Overtaken,
}

/// Does `work` under the lock of the job called so, and tells it until when it may begin something. Work whose lock is lost
/// is stopped where it waits.
pub async fn alone<T>(
    jobs: &Jobs,
    job: &str,
    deadline: Instant,
    work: impl AsyncFnOnce(Instant) -> T,
) -> Result<T, Stopped> {
    let until = deadline.checked_sub(TO_FINISH).unwrap_or(deadline);
    let options = Options {
        renew_for: Some(deadline.saturating_duration_since(Instant::now())),
        deadline: Some(deadline),
        ..Options::new(Duration::ZERO, LEASE)
    };
    match jobs.lock.with_lock(&[keys::job_lock(job)], &options, async |_| work(until).await).await {
        Ok(done) => Ok(done),
        Err(WithLockError::Acquire(AcquireError::Unavailable(error))) => {
            tracing::warn!(job, error = chain(&error), "no lock, so the job rests until its next run");
            Err(Stopped::WithoutRedis)
        }
        Err(WithLockError::Acquire(AcquireError::TooLate) | WithLockError::Lost(Lost::RenewalEnded)) => {
            Err(Stopped::TooLate)
        }
        Err(WithLockError::Lost(Lost::Unreachable)) => Err(Stopped::WithoutRedis),
        Err(WithLockError::Acquire(_) | WithLockError::Lost(_)) => Err(Stopped::Overtaken),
    }
}
