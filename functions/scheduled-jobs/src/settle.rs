//! The job that settles: what was confirmed and what was taken back is added to its event's day, once that day is over in
//! the event's zone. It may be run at any time, by anybody, and die anywhere: see `shared::dynamodb::settlement`.
//!
//! Reservations are read a page of one shard at a time, and counted a page of one event and day at a time. Where the sale
//! and the refund of one are of two days that are both over, the second follows as soon as the first is counted.

use std::time::Duration;

use serde::Serialize;
use shared::causes::chain;
use shared::domain::ids::ReservationId;
use shared::dynamodb::StoreError;
use shared::dynamodb::keys::SHARDS;
use shared::dynamodb::rows::ReservationRow;
use shared::dynamodb::settlement::{Counted, Turn};
use shared::dynamodb::to_settle::Page;
use tokio::time::{Instant, sleep};

use crate::Jobs;
use crate::alone::{Stopped, alone};
use crate::clocks;

/// How long after its end a day is settled, in ms: by then whoever confirmed in its last moment has written it, and the index
/// shows it. What comes later still is counted on the same day, by a later run.
const MARGIN_MS: i64 = 5 * 60_000;
/// Times that the reservations of one page are read again because they changed, or because the table was busy.
const MAX_TRIES: u32 = 5;
/// Pause before they are read again; as many times as long as there were tries.
const PAUSE: Duration = Duration::from_millis(50);

/// What a run of `settle` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Settled {
    /// Reservations whose sale was counted.
    pub sales_settled: usize,
    /// Reservations whose refund was counted.
    pub refunds_settled: usize,
    /// Transactions that was done in.
    pub pages_settled: usize,
    /// Reservations that could not be read or counted; the next run tries again.
    pub failed: usize,
    /// Whether another runner was at it, or took over.
    pub overtaken: bool,
    /// Whether Redis gave no time, or the lock could not be had or kept; what was done until then is not counted here.
    pub without_redis: bool,
    /// Whether the deadline came before the end; the next run goes on.
    pub cut_short: bool,
}

/// Settles what is due by the slower of Redis' clock and `wall_ms`.
pub async fn settle(jobs: &Jobs, wall_ms: i64, deadline: Instant) -> Result<Settled, StoreError> {
    let nothing = Settled::default();
    let Some(now_ms) = clocks::slower(jobs, wall_ms).await else {
        return Ok(Settled { without_redis: true, ..nothing });
    };
    let until_ms = now_ms - MARGIN_MS;
    match alone(jobs, "settle", deadline, async |until| all_shards(jobs, until_ms, until).await).await {
        Ok(done) => done,
        Err(Stopped::WithoutRedis) => Ok(Settled { without_redis: true, ..nothing }),
        Err(Stopped::TooLate) => Ok(Settled { cut_short: true, ..nothing }),
        Err(Stopped::Overtaken) => Ok(Settled { overtaken: true, ..nothing }),
    }
}

async fn all_shards(jobs: &Jobs, until_ms: i64, deadline: Instant) -> Result<Settled, StoreError> {
    let turn = jobs.settlements.begin().await?;
    let mut run = Run { jobs, turn, until_ms, deadline, done: Settled::default() };
    // On from where the last page was written: a run that never comes to the end must not leave the same shards behind.
    let first = SHARDS.iter().position(|shard| Some(*shard) == turn.shard).unwrap_or(0);
    for shard in SHARDS.into_iter().cycle().skip(first).take(SHARDS.len()) {
        run.shard(shard).await?;
        if run.is_over() {
            break;
        }
    }
    Ok(run.done)
}

struct Run<'a> {
    jobs: &'a Jobs,
    turn: Turn,
    until_ms: i64,
    deadline: Instant,
    done: Settled,
}

impl Run<'_> {
    fn is_over(&self) -> bool {
        self.done.overtaken || self.done.cut_short
    }

    async fn shard(&mut self, shard: char) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            if Instant::now() >= self.deadline {
                self.done.cut_short = true;
                return Ok(());
            }
            let due = self.jobs.settlements.due(shard, self.until_ms, after).await?;
            self.reservations(shard, due.ids).await?;
            // Begun anew by the next run only: what the index still shows of this one's pages would be read in vain.
            after = due.next;
            if self.is_over() || after.is_none() {
                return Ok(());
            }
        }
    }

    /// Counts what is due of these reservations, all of it.
    async fn reservations(&mut self, shard: char, mut ids: Vec<ReservationId>) -> Result<(), StoreError> {
        for tries in 1..=MAX_TRIES {
            if ids.is_empty() {
                return Ok(());
            }
            let stored = self.jobs.repository.get_all(std::mem::take(&mut ids)).await?;
            self.done.failed += stored.values().filter(|row| row.is_none()).count();
            let mut rows: Vec<ReservationRow> = stored.into_values().flatten().collect();
            while !rows.is_empty() {
                let mut further = Vec::new();
                for page in Page::of(rows, self.until_ms) {
                    match self.page(shard, &page).await {
                        Some(counted) => further.extend(counted),
                        None => ids.extend(page.ids()),
                    }
                    if self.is_over() {
                        return Ok(());
                    }
                }
                rows = further;
            }
            if !ids.is_empty() {
                sleep(PAUSE * tries).await;
            }
        }
        self.done.failed += ids.len();
        for id in ids {
            tracing::error!(reservation_id = %id, "a reservation could not be settled; the next run tries again");
        }
        Ok(())
    }

    /// Counts a page; the rows as they are then. `None` = it was not counted, or nobody knows: they are to be read again.
    async fn page(&mut self, shard: char, page: &Page) -> Option<Vec<ReservationRow>> {
        if Instant::now() >= self.deadline {
            self.done.cut_short = true;
            return None;
        }
        match self.jobs.settlements.count(self.turn, shard, page).await {
            Ok(Counted::Done(rows)) => {
                let (sales, refunds) = page.parts();
                self.done.sales_settled += sales;
                self.done.refunds_settled += refunds;
                self.done.pages_settled += 1;
                return Some(rows);
            }
            Ok(Counted::Changed) => {}
            Ok(Counted::Overtaken) => self.done.overtaken = true,
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(reservations = page.ids().len(), error, "a page could not be settled");
            }
        }
        None
    }
}
