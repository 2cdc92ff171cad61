//! The general lock: one holder at a time, for work that should not be done twice at once: loading a cold section, jobs.
//!
//! # When to use which
//! - **A lock on one server** ([`Lock::new`]) saves work. It costs one command to take and one to give back.
//! - **Replicas waited for** ([`Options::replicas`]) keep a lock over a failover to one of them, at their delay.
//! - **A quorum** ([`Lock::quorum`], Redlock) goes on when a minority of its servers is down, at N commands each. It saves
//!   the same work; it is no safer against a holder that sleeps.
//! - **A condition in the store** is what keeps wrong things from being written. Where the work must not happen twice, take
//!   a number from the store with the lock and let every write carry it (`dynamodb::view_counts`).
//!
//! A reservation waits on no lock at all. Its claim *is* the lock, taken by the one script that checks availability, and its
//! lease is the customer's hold; DynamoDB's condition stands behind it. A lock before it would be two commands more for every
//! customer, one customer at a time for a whole section, and would still need the condition.
//!
//! # What a lock cannot promise
//! A lease ends by the server's clock whether or not its holder is awake. Frozen for longer, he goes on where he was, and
//! somebody else is inside. [`Guard::lost`] tells him before that, by his own clock, if he runs at all, and
//! [`Lock::with_lock`] does not go on with work whose lease is over when he wakes
//! (`redisson_2665_work_of_a_process_that_slept_past_its_lease_is_not_gone_on_with`); a request that is on its way by then only
//! the store can refuse (`a_process_frozen_past_its_lease_adds_nothing_when_it_goes_on`).
//!
//! And a server that fails over can give one lock twice. Step by step:
//! 1. A asks the primary and is given the lock.
//! 2. The primary dies before its replica has heard of it.
//! 3. The replica becomes primary. It knows no lock.
//! 4. B asks, and is given it, while A's lease still runs. Both are right, and both have the fencing number 1.
//!
//! (`a_failover_that_lost_the_grant_gives_the_lock_twice_on_one_server_and_not_by_a_quorum_of_others`.) Waiting for replicas
//! makes it rarer: one that has not heard of it may still be the one that is promoted. So does a quorum, where a majority would
//! have to forget: a server that restarts without its last second of writes must stay away for the longest lease before it
//! votes again, and one whose clock jumps ends leases early. No seat is sold twice for any of this.
//!
//! # How it works
//! Every acquisition has a random token of 128 bits, so that only its holder gives it back (compare and delete), and asking
//! again after a lost answer finds the lock to be one's own. The server keeps the token that gave a lock back last: a release
//! that is sent again says what the first one said, and an acquire that arrives behind its own release takes nothing. An
//! acquire that gives up in doubt gives back what it may have been given.
//!
//! Several keys of one slot are taken all or none by one script; where they are in several slots, slot by slot in one order, and
//! all that was taken is given back before anybody waits. Who waits is noted in the lock's line, and the releasing script rings
//! for the first of them that lives: one waiter is woken, not all ([`ear`]). A bell may be missed, so everybody who waits also
//! looks after 250 ms, or when the lease in the way ends. The line orders only who is woken; with [`Options::fair`] also who
//! may take.
//!
//! # What it costs
//! 64 waiters hand one lock on, held 1 ms each: medians of five rounds of `bench/locks` on two cores, `rslock` 0.10 on the
//! same servers in the same run (the command stands in `bench/locks/main.rs`). The ratios count, and not the rates.
//!
//! | lock | handovers a second | p99 wait, ms | commands sent a handover | free: take and give back, µs |
//! |---|---|---|---|---|
//! | Bell, 1 server | 406 | 1133 | 3.5 | 244 |
//! | Spin 0-20 ms, 1 server | 368 | 1198 | 16.7 | 248 |
//! | rslock 0-20 ms, 1 server | 490 | 1136 | 27.3 | 162 |
//! | rslock 0-200 ms (its default), 1 server | 400 | 2805 | 4.9 | 183 |
//! | Redlock, Bell, 3 servers | 376 | 239 | 12.0 | 406 |
//! | rslock 0-20 ms, 3 servers | 492 | 856 | 81.1 | 247 |
//!
//! A bell asks Redis least; who spins fast is handed the lock a little sooner, for eight times the commands. The scripts do
//! more than a `SET`, and a free lock costs that.
//!
//! Sources: "Distributed Locks with Redis" (redis.io) for Redlock and its validity; M. Kleppmann, "How to do distributed
//! locking" (2016), for fencing.

mod ear;
mod guard;
mod nodes;
mod options;
mod outcomes;
mod replicas;

use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, histogram};
use rand::Rng;
use tokio::time::{Instant, timeout_at};

use crate::redis::Redis;
use crate::telemetry::{LOCK_CONTENDED, LOCK_WAIT_MS, LOCK_WAKES};
use ear::{Ear, Heard};
pub use guard::Guard;
use guard::{Renewal, valid_until};
pub use nodes::NODE_TIMEOUT;
use nodes::{Asking, Nodes, Round};
pub use options::{Options, Waiting};
pub use outcomes::{AcquireError, Extended, Lost, Released, WithLockError};

/// Longest time a waiter does not look for itself.
pub const LONGEST_LOOK: Duration = Duration::from_millis(250);
/// Label of [`LOCK_WAKES`]: what woke a waiter, `bell`, `poll` or `spin`.
const BY: &str = "By";

/// Takes locks. Cheap to clone; clones share the connections and the ear.
#[derive(Clone)]
pub struct Lock {
    nodes: Arc<Nodes>,
    ear: Arc<Ear>,
}

impl Lock {
    /// Locks on one server.
    #[must_use]
    pub fn new(redis: Redis) -> Self {
        Self { ear: Arc::new(Ear::new(redis.clone())), nodes: Arc::new(Nodes::new(vec![redis])) }
    }

    /// Locks that a majority of independent servers gives (Redlock). `None` = no server.
    #[must_use]
    pub fn quorum(servers: Vec<Redis>) -> Option<Self> {
        // Who hears a bell of one server looks at all of them; where that one is down, waiters look by themselves.
        let first = servers.first()?.clone();
        Some(Self { ear: Arc::new(Ear::new(first)), nodes: Arc::new(Nodes::new(servers)) })
    }

    /// Takes all `keys` or none, waiting at most `wait`; they are held for at most `lease`.
    ///
    /// # Errors
    /// See [`AcquireError`].
    pub async fn acquire(&self, keys: &[String], wait: Duration, lease: Duration) -> Result<Guard, AcquireError> {
        self.acquire_with(keys, &Options::new(wait, lease)).await
    }

    /// Takes all `keys` or none, now or not at all.
    ///
    /// # Errors
    /// See [`AcquireError`].
    pub async fn try_acquire(&self, keys: &[String], lease: Duration) -> Result<Guard, AcquireError> {
        self.acquire(keys, Duration::ZERO, lease).await
    }

    /// Takes all `keys` or none, as told.
    ///
    /// # Errors
    /// See [`AcquireError`].
    pub async fn acquire_with(&self, keys: &[String], options: &Options) -> Result<Guard, AcquireError> {
        if keys.is_empty() {
            return Err(AcquireError::NoKeys);
        }
        let slots = nodes::slots(keys);
        let mut token = new_token();
        let waiter = self.ear.waiter(&token);
        let bell = token.clone();
        // Whether a refused attempt may have been given some of it.
        let is_partial = self.nodes.is_quorum() || slots.len() > 1 || options.replicas > 0;
        let began = Instant::now();
        let give_up = options.deadline.map_or(began + options.wait, |deadline| deadline.min(began + options.wait));
        // The line is joined once a bell for it would be heard: by the second attempt, where nobody has waited before.
        let hears = options.waiting == Waiting::Bell && give_up > began;
        let mut heard = if hears { self.ear.listening() } else { None };
        let (mut in_line, mut is_contended, mut in_doubt) = (heard.is_some(), false, false);
        let taken = loop {
            let asked = Instant::now();
            let left = options.deadline.map_or(options.lease, |deadline| deadline.saturating_duration_since(asked));
            let lease = options.lease.min(left);
            if lease.is_zero() {
                break Err(AcquireError::TooLate);
            }
            let asking = Asking {
                token: &token,
                lease,
                waiter: if in_line { waiter.as_str() } else { "" },
                is_fair: options.fair,
                replicas: options.replicas,
            };
            let round = self.nodes.acquire(&slots, &asking).await;
            in_doubt |= !matches!(round, Round::Taken(_));
            let (refusal, in_the_way) = match round {
                Round::Given(fence) if Instant::now() < valid_until(asked, lease) => {
                    histogram!(LOCK_WAIT_MS).record(began.elapsed().as_secs_f64() * 1e3);
                    let renewal = options.renew_for.map(|total| Renewal {
                        until: options.deadline.map_or(asked + total, |deadline| deadline.min(asked + total)),
                        deadline: options.deadline,
                    });
                    return Ok(Guard::new(Arc::clone(&self.nodes), slots, token, fence, (asked, lease), renewal));
                }
                // The answers came so late that it may be over already.
                Round::Given(_) => (AcquireError::Taken, Duration::ZERO),
                Round::Taken(left) => (AcquireError::Taken, left),
                Round::Unreplicated => (AcquireError::Unreplicated, LONGEST_LOOK),
                Round::Unavailable(error) => (AcquireError::Unavailable(error), LONGEST_LOOK),
            };
            if matches!(refusal, AcquireError::Taken) && !std::mem::replace(&mut is_contended, true) {
                counter!(LOCK_CONTENDED).increment(1);
            }
            if Instant::now() >= give_up {
                break Err(refusal);
            }
            if is_partial {
                // Nobody waits for these answers longer than for any others; what they do not reach ends with its lease.
                self.nodes.release(&slots, &token).await;
                // What gave a lock back does not get it any more.
                token = new_token();
            }
            match options.waiting {
                Waiting::Spin { pause, jitter } => {
                    let pause = pause + jitter.mul_f64(rand::rng().random_range(0.0..=1.0));
                    tokio::time::sleep_until((Instant::now() + pause).min(give_up)).await;
                    counter!(LOCK_WAKES, BY => "spin").increment(1);
                }
                Waiting::Bell if !in_line => {
                    in_line = true;
                    heard = self.listen(give_up).await;
                }
                Waiting::Bell => self.wait(heard.as_mut(), &bell, in_the_way, give_up).await,
            }
        };
        // On one server an attempt whose answer was lost is found again by the next; after the last it is given back.
        tokio::join!(
            async {
                if in_doubt || is_partial {
                    self.nodes.release(&slots, &token).await;
                }
            },
            async {
                if in_line {
                    self.nodes.leave(&slots, &waiter).await;
                }
            }
        );
        taken
    }

    /// Does `work` under the lock, and gives it back. Work whose lock is lost is stopped where it waits: it is dropped.
    ///
    /// # Errors
    /// See [`WithLockError`].
    pub async fn with_lock<T>(
        &self,
        keys: &[String],
        options: &Options,
        work: impl AsyncFnOnce(&Guard) -> T,
    ) -> Result<T, WithLockError> {
        let guard = self.acquire_with(keys, options).await?;
        let done = tokio::select! {
            biased;
            lost = guard.lost() => Err(WithLockError::Lost(lost)),
            done = work(&guard) => Ok(done),
        };
        guard.release().await;
        done
    }

    /// Begins to hear bells; `None` = they cannot be heard now.
    async fn listen(&self, give_up: Instant) -> Option<Heard> {
        match timeout_at(give_up, self.ear.listen()).await {
            Ok(Ok(heard)) => Some(heard),
            Ok(Err(error)) => {
                let error = crate::causes::chain(&error);
                tracing::warn!(error, "bells cannot be heard; waiters look by themselves");
                None
            }
            Err(_) => None,
        }
    }

    /// Waits until a bell rings, the lease in the way ends, or it is time to look.
    async fn wait(&self, heard: Option<&mut Heard>, token: &str, in_the_way: Duration, give_up: Instant) {
        // Others wait for the same end of a lease, and would all ask at once.
        let spread = Duration::from_millis(rand::rng().random_range(1..=10));
        let look = (Instant::now() + in_the_way.min(LONGEST_LOOK) + spread).min(give_up);
        let bell = async {
            match heard {
                Some(heard) => heard.rung(&self.ear, token).await,
                None => std::future::pending().await,
            }
        };
        let by = if timeout_at(look, bell).await.is_ok() { "bell" } else { "poll" };
        counter!(LOCK_WAKES, BY => by).increment(1);
    }
}

fn new_token() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
