//! The job that expires holds: their rows end, their seats are free, and they no longer count for their customers.
//!
//! Nobody waits for it: the next claim and the next reservation's condition already see through a hold that has ended. So
//! it is careful: it waits out the grace of a late confirm, believes the slower of two clocks, and without Redis it rests.

use futures_util::{StreamExt, stream};
use serde::Serialize;
use shared::causes::chain;
use shared::domain::ids::ReservationId;
use shared::domain::reservation::Step;
use shared::dynamodb::StoreError;
use shared::dynamodb::changes::End;
use shared::dynamodb::keys::SHARDS;
use shared::redis::records::GRACE_MS;
use tokio::time::Instant;

use crate::Jobs;
use crate::alone::{Stopped, alone};
use crate::clocks;

/// Reservations ended at the same time.
const AT_ONCE: usize = 16;

/// What a run of `expire` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Expired {
    /// Holds that were ended.
    pub expired: usize,
    /// Holds that turned out to be something else by now: paid, cancelled, prolonged.
    pub left_alone: usize,
    /// Holds that could not be ended; the next run tries again.
    pub failed: usize,
    /// Whether another runner was at it, or took over.
    pub overtaken: bool,
    /// Whether Redis gave no time, or the lock could not be had or kept; what was done until then is not counted here.
    pub without_clock: bool,
    /// Whether the deadline came before the end; the next run goes on.
    pub cut_short: bool,
}

/// Ends the holds that ran out [`GRACE_MS`] ago by the slower of Redis' clock and `wall_ms`.
pub async fn expire(jobs: &Jobs, wall_ms: i64, deadline: Instant) -> Result<Expired, StoreError> {
    let nothing = Expired::default();
    let Some(now_ms) = clocks::slower(jobs, wall_ms).await else {
        return Ok(Expired { without_clock: true, ..nothing });
    };
    match alone(jobs, "expire", deadline, async |until| all_shards(jobs, now_ms - GRACE_MS, until).await).await {
        Ok(done) => done,
        Err(Stopped::WithoutRedis) => Ok(Expired { without_clock: true, ..nothing }),
        Err(Stopped::TooLate) => Ok(Expired { cut_short: true, ..nothing }),
        Err(Stopped::Overtaken) => Ok(Expired { overtaken: true, ..nothing }),
    }
}

async fn all_shards(jobs: &Jobs, until_ms: i64, deadline: Instant) -> Result<Expired, StoreError> {
    let mut done = Expired::default();
    for shard in SHARDS {
        loop {
            if Instant::now() >= deadline {
                done.cut_short = true;
                return Ok(done);
            }
            let due = jobs.repository.due_to_expire(shard, until_ms).await?;
            let ends: Vec<_> = due.iter().map(|id| async move { (id, end(jobs, id, until_ms).await) }).collect();
            let ended: Vec<_> = stream::iter(ends).buffer_unordered(AT_ONCE).collect().await;
            let mut moved = 0;
            for (id, result) in ended {
                match result {
                    Ok(true) => moved += 1,
                    Ok(false) => done.left_alone += 1,
                    // One that cannot be ended keeps nobody else waiting; the next run tries it again.
                    Err(error) => {
                        done.failed += 1;
                        tracing::error!(reservation_id = %id, error = chain(&error), "a hold could not be expired");
                    }
                }
            }
            done.expired += moved;
            // A page without any movement is what the lagging index still shows; the next run looks again.
            if moved == 0 {
                break;
            }
        }
    }
    Ok(done)
}

/// Ends one hold; `false` = it was none any more.
async fn end(jobs: &Jobs, id: &ReservationId, until_ms: i64) -> Result<bool, StoreError> {
    let Some(row) = jobs.repository.get(id).await? else { return Ok(false) };
    if row.status.after(Step::Expire).is_none() || row.expires_at_ms > until_ms {
        return Ok(false);
    }
    match jobs.repository.end(&row, Step::Expire, until_ms).await? {
        End::Ended(row) => {
            if let Err(error) = jobs.truths.write(&row.truth(&[])).await {
                let error = chain(&error);
                tracing::warn!(reservation_id = %id, error, "redis was not corrected; its claim has ended anyway");
            }
            Ok(true)
        }
        End::Unchanged(_) => Ok(false),
    }
}
