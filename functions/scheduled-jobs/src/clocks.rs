//! The time a job goes by where it must not be early: the slower of Redis' clock and its own.

use shared::causes::chain;
use shared::telemetry::CLOCK_DIFFERENCE_MS;

use crate::Jobs;

/// Difference between Redis' clock and ours that is worth an alarm, in ms.
const CLOCK_ALARM_MS: i64 = 5_000;

/// The slower of Redis' clock and `wall_ms`; `None` = Redis gives no time, and a job that needs it rests.
pub async fn slower(jobs: &Jobs, wall_ms: i64) -> Option<i64> {
    let redis_ms = match jobs.redis.now_ms().await {
        Ok(now_ms) => now_ms,
        Err(error) => {
            tracing::warn!(error = chain(&error), "no clock to go by; the next run tries again");
            return None;
        }
    };
    metrics::histogram!(CLOCK_DIFFERENCE_MS).record((redis_ms - wall_ms).abs() as f64);
    if (redis_ms - wall_ms).abs() > CLOCK_ALARM_MS {
        tracing::error!(redis_ms, wall_ms, "the clocks of Redis and of this function differ");
    }
    Some(redis_ms.min(wall_ms))
}
