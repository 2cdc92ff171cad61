//! The general lock: one holder at a time, for work that should not be done twice at once: loading a cold section, jobs.
//!
//! # When to use which
//! - **A lock on one server** ([`Lock::new`]) saves work. It costs one command to take and one to give back.
//! - **A quorum** ([`Lock::quorum`], Redlock) goes on when a minority of its servers is down, at N commands each. It saves
//!   the same work; it is no safer against a holder that sleeps.
//! - **A condition in the store** is what keeps wrong things from being written. Where the work must not happen twice, take
//!   a number from the store with the lock and let every write carry it (`dynamodb::fences`).
//!
//! A reservation waits on no lock at all. Its claim *is* the lock, taken by the one script that checks availability, and its
//! lease is the customer's hold; DynamoDB's condition stands behind it.
//!
//! # What a lock cannot promise
//! A lease ends by the server's clock whether or not its holder is awake. Frozen for longer, he goes on where he was, and
//! somebody else is inside: [`Guard::lost`] tells him before that, by his own clock, if he runs at all. And a server that
//! fails over can give one lock twice, step by step: A is given the lock by the primary; the primary dies before its replica
//! has heard of it; the replica becomes primary and knows no lock; B is given it, while A's lease still runs. A quorum makes
//! it rarer (a majority would have to forget), not impossible: a server that restarts without its last second of writes must
//! stay away for the longest lease before it votes again, and one whose clock jumps ends leases early.
//! `tests/locks/` shows each of these, and that no seat is sold twice for it.
//!
//! # How it works
//! Every acquisition has a random token of 128 bits, so that only its holder gives it back (compare and delete), and asking
//! again after a lost answer finds the lock to be one's own. Several keys are taken all or none by one script, so their order
//! does not matter; they must share a slot. Who waits is noted in the lock's line, and the releasing script rings for the
//! first of them that lives: one waiter is woken, not all ([`ear`]). A bell may be missed, so everybody who waits also looks
//! after 250 ms, or when the lease in the way ends. The line orders only who is woken; with [`Options::fair`] also who may
//! take.
//!
//! Sources: "Distributed Locks with Redis" (redis.io) for Redlock and its validity; M. Kleppmann, "How to do distributed
//! locking" (2016), for fencing.

mod ear;
mod guard;
mod nodes;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use metrics::{counter, histogram};
use rand::Rng;
use tokio::time::{Instant, timeout_at};

use crate::redis::{Redis, RedisError};
use crate::telemetry::{LOCK_CONTENDED, LOCK_WAIT_MS, LOCK_WAKES};
use ear::{Ear, Heard};
pub use guard::Guard;
use guard::{Renewal, valid_until};
pub use nodes::NODE_TIMEOUT;
use nodes::{Nodes, Round};

/// Longest time a waiter does not look for itself.
pub const LONGEST_LOOK: Duration = Duration::from_millis(250);
/// Label of [`LOCK_WAKES`]: what woke a waiter, `bell`, `poll` or `spin`.
const BY: &str = "By";

/// What became of a lock that was released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// It was ours and is free now.
    Released,
    /// The lease had ended, and nobody has taken it since.
    Expired,
    /// The lease had ended, and somebody else holds it.
    TakenByOther,
    /// Redis did not say.
    Unknown,
}

/// What became of a lease that was to be prolonged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extended {
    /// It begins anew.
    Extended,
    /// It had ended, and nobody has taken the lock since.
    Expired,
    /// It had ended, and somebody else holds the lock.
    TakenByOther,
    /// Redis did not say. It is valid for as long as it was.
    Unknown,
}

/// Why a lock is, or may soon be, held no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Nobody renews it, and its lease ends.
    #[error("its lease ends")]
    LeaseEnds,
    /// It was renewed for as long as it may be.
    #[error("it may be renewed no longer")]
    RenewalEnded,
    /// A renewal found it free: it ran out, or was deleted.
    #[error("it had run out")]
    Expired,
    /// A renewal found another holder.
    #[error("somebody else holds it")]
    TakenByOther,
    /// No renewal came through in time.
    #[error("it could not be renewed")]
    Unreachable,
}

impl Lost {
    /// The name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Lost::LeaseEnds => "lease-ends",
            Lost::RenewalEnded => "renewal-ended",
            Lost::Expired => "expired",
            Lost::TakenByOther => "taken-by-other",
            Lost::Unreachable => "unreachable",
        }
    }
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum AcquireError {
    /// Others held on for as long as was waited.
    #[error("others hold the lock")]
    Taken,
    /// Too few servers gave a usable answer. What was taken ends with its lease.
    #[error("the lock cannot be had now")]
    Unavailable(#[source] RedisError),
    /// The deadline leaves no time to hold it.
    #[error("the deadline leaves no time to hold the lock")]
    TooLate,
    /// Nothing was asked for.
    #[error("no lock was named")]
    NoKeys,
}

/// Why work under a lock has no result.
#[derive(Debug, thiserror::Error)]
pub enum WithLockError {
    /// There was no lock.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    /// The lock was lost in the middle of it; it was stopped where it waited.
    #[error("the lock was lost: {0}")]
    Lost(Lost),
}

/// How a waiter waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Until a bell rings for it, looking by itself now and then.
    Bell,
    /// It asks again after a pause, and up to `jitter` more, drawn at random.
    Spin {
        /// The pause.
        pause: Duration,
        /// What is added to it at most.
        jitter: Duration,
    },
}

/// How a lock is taken and held.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long others are waited for; zero = not at all.
    pub wait: Duration,
    /// How long it is held without a word. Not beyond the deadline.
    pub lease: Duration,
    /// How to wait.
    pub waiting: Waiting,
    /// Whether who waits longer comes first. A waiter that died delays the others by three seconds.
    pub fair: bool,
    /// Renews the lease at every third of it, for so long in total at most.
    pub renew_for: Option<Duration>,
    /// When the caller's time is over: neither a wait nor a lease goes beyond.
    pub deadline: Option<Instant>,
}

impl Options {
    /// Waits for a bell, is not fair, renews nothing, knows no deadline.
    #[must_use]
    pub fn new(wait: Duration, lease: Duration) -> Self {
        Self { wait, lease, waiting: Waiting::Bell, fair: false, renew_for: None, deadline: None }
    }
}

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

    /// Locks of the independent servers at these URLs. `None` = there are none.
    ///
    /// # Errors
    /// When a URL cannot be read.
    pub async fn connect(urls: &[String]) -> Result<Option<Self>, RedisError> {
        Ok(Self::quorum(try_join_all(urls.iter().map(|url| Redis::connect(url, 1))).await?))
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
        let token = uuid::Uuid::new_v4().simple().to_string();
        let waiter = self.ear.waiter(&token);
        let began = Instant::now();
        let give_up = options.deadline.map_or(began + options.wait, |deadline| deadline.min(began + options.wait));
        // The line is joined by the second attempt, once a bell for it would be heard.
        let (mut heard, mut in_line, mut is_contended) = (None, false, false);
        let taken = loop {
            let asked = Instant::now();
            let left = options.deadline.map_or(options.lease, |deadline| deadline.saturating_duration_since(asked));
            let lease = options.lease.min(left);
            if lease.is_zero() {
                break Err(AcquireError::TooLate);
            }
            let name = if in_line { waiter.as_str() } else { "" };
            let round = self.nodes.acquire(keys, &token, lease, name, options.fair).await;
            let (refusal, in_the_way) = match round {
                Round::Given(fence) if Instant::now() < valid_until(asked, lease) => {
                    histogram!(LOCK_WAIT_MS).record(began.elapsed().as_secs_f64() * 1e3);
                    let renewal = options.renew_for.map(|total| Renewal {
                        until: options.deadline.map_or(asked + total, |deadline| deadline.min(asked + total)),
                        deadline: options.deadline,
                    });
                    let nodes = Arc::clone(&self.nodes);
                    return Ok(Guard::new(nodes, keys.to_vec(), token, fence, (asked, lease), renewal));
                }
                // The answers came so late that it may be over already.
                Round::Given(_) => {
                    self.nodes.release(keys, &token).await;
                    (AcquireError::Taken, Duration::ZERO)
                }
                Round::Taken(left) => (AcquireError::Taken, left),
                Round::Unavailable(error) => (AcquireError::Unavailable(error), LONGEST_LOOK),
            };
            if matches!(refusal, AcquireError::Taken) && !std::mem::replace(&mut is_contended, true) {
                counter!(LOCK_CONTENDED).increment(1);
            }
            if Instant::now() >= give_up {
                break Err(refusal);
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
                Waiting::Bell => self.wait(heard.as_mut(), &token, in_the_way, give_up).await,
            }
        };
        if in_line {
            self.nodes.leave(keys, &waiter).await;
        }
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
                let error = &error as &dyn std::error::Error;
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
