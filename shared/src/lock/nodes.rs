//! The servers a lock stands on: one, or a number of independent ones of which a majority decides.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fred::types::{FromValue, Value};
use futures_util::future::join_all;
use metrics::counter;

use super::replicas::Synced;
use crate::redis::{Redis, RedisError, Script, keys, millis};
use crate::telemetry::LOCK_COMMANDS;

/// Time one server of several has for an answer: far below every lease, so that a dead one costs no validity.
pub const NODE_TIMEOUT: Duration = Duration::from_millis(50);
/// How long a waiter counts as alive after it was last seen; it shows itself at least every 250 ms.
pub(super) const WAITER_MS: i64 = 3_000;

macro_rules! lock_script {
    ($file:literal) => {
        Script::new(concat!(include_str!("scripts/waiters.lua"), include_str!(concat!("scripts/", $file))))
    };
}

/// Locks by the slot they share: what is in one slot is asked for by one script. Everybody has the slots in one order.
pub(super) type Slots = Vec<Vec<String>>;

/// The locks of these keys, each once.
pub(super) fn slots(locks: &[String]) -> Slots {
    let mut slots: BTreeMap<&str, BTreeSet<&String>> = BTreeMap::new();
    for lock in locks {
        let tag = lock.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
        slots.entry(tag.filter(|tag| !tag.is_empty()).unwrap_or(lock)).or_default().insert(lock);
    }
    slots.into_values().map(|locks| locks.into_iter().cloned().collect()).collect()
}

/// How somebody asks for locks.
pub(super) struct Asking<'a> {
    pub(super) token: &'a str,
    pub(super) lease: Duration,
    /// The name in the line; empty = does not stand in line.
    pub(super) waiter: &'a str,
    pub(super) is_fair: bool,
    /// Replicas that must have the grant; of one server only.
    pub(super) replicas: usize,
}

/// The servers and what they are asked.
pub(super) struct Nodes {
    servers: Vec<Redis>,
    synced: Option<Synced>,
    acquire: Script,
    release: Script,
    extend: Script,
    leave: Script,
}

/// What one round of asking for the locks says.
pub(super) enum Round {
    /// A majority gave them; the fencing counter where there is one server.
    Given(Option<u64>),
    /// Others have one of them, for so long at most.
    Taken(Duration),
    /// Too few replicas have heard of it in time.
    Unreplicated,
    /// Too few answered.
    Unavailable(RedisError),
}

/// What a majority says of locks that were held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Still {
    Ours,
    RunOut,
    Others,
    Unknown,
}

impl Nodes {
    pub(super) fn new(servers: Vec<Redis>) -> Self {
        Self {
            synced: if let [server] = servers.as_slice() { Some(Synced::new(server.clone())) } else { None },
            servers,
            acquire: lock_script!("acquire.lua"),
            release: lock_script!("release.lua"),
            extend: lock_script!("extend.lua"),
            leave: lock_script!("leave.lua"),
        }
    }

    fn majority(&self) -> usize {
        self.servers.len() / 2 + 1
    }

    pub(super) fn is_quorum(&self) -> bool {
        self.servers.len() > 1
    }

    /// Asks all servers side by side.
    async fn ask<T: FromValue>(&self, script: &Script, locks: &[String], args: &[Value]) -> Vec<Result<T, RedisError>> {
        let keys = parts(locks);
        counter!(LOCK_COMMANDS).increment(self.servers.len() as u64);
        join_all(self.servers.iter().map(|server| {
            let asked = server.run(script, keys.clone(), args.to_vec());
            async {
                if !self.is_quorum() {
                    return asked.await;
                }
                tokio::time::timeout(NODE_TIMEOUT, asked).await.unwrap_or(Err(RedisError::TimedOut))
            }
        }))
        .await
    }

    /// Asks for all locks, slot by slot. What was given where not all was stays: the caller gives it back.
    pub(super) async fn acquire(&self, slots: &[Vec<String>], asking: &Asking<'_>) -> Round {
        let mut all = Round::Given(None);
        for locks in slots {
            match (self.acquire_slot(locks, asking).await, &mut all) {
                (Round::Given(fence), Round::Given(first)) => *first = first.or(fence),
                (refused, _) => return refused,
            }
        }
        all
    }

    async fn acquire_slot(&self, locks: &[String], asking: &Asking<'_>) -> Round {
        let Asking { token, lease, waiter, is_fair, replicas } = *asking;
        let args = [token.into(), millis(lease).into(), waiter.into(), WAITER_MS.into(), i64::from(is_fair).into()];
        let mut answers = match &self.synced {
            Some(synced) if replicas > 0 => {
                match synced.run(&self.acquire, parts(locks), args.to_vec(), replicas).await {
                    Ok(((1, _), arrived)) if arrived < replicas => return Round::Unreplicated,
                    answer => vec![answer.map(|(answer, _)| answer)],
                }
            }
            _ => self.ask::<(i64, i64)>(&self.acquire, locks, &args).await,
        };
        let given = answers.iter().filter(|answer| matches!(answer, Ok((1, _)))).count();
        if given >= self.majority() {
            let fence = answers.first().and_then(|answer| answer.as_ref().ok()).map(|(_, fence)| *fence);
            return Round::Given(fence.filter(|_| !self.is_quorum()).and_then(|fence| u64::try_from(fence).ok()));
        }
        let in_the_way = answers.iter().filter_map(|answer| match answer {
            Ok((_, left)) => Some(Duration::from_millis(u64::try_from(*left).unwrap_or(0))),
            Err(_) => None,
        });
        let answered = answers.iter().filter(|answer| answer.is_ok()).count();
        match answers.iter().position(Result::is_err) {
            Some(at) if answered < self.majority() => match answers.swap_remove(at) {
                Err(error) => Round::Unavailable(error),
                Ok(_) => Round::Taken(Duration::ZERO),
            },
            _ => Round::Taken(in_the_way.min().unwrap_or_default()),
        }
    }

    /// Asks all slots, and says the worst of what they say.
    async fn ask_slots(&self, script: &Script, slots: &[Vec<String>], args: &[Value]) -> Still {
        let asked = slots.iter().map(|locks| async { self.judge(&self.ask(script, locks, args).await) });
        let answers = join_all(asked).await;
        let worst = [Still::Others, Still::Unknown, Still::RunOut].into_iter().find(|still| answers.contains(still));
        worst.unwrap_or(Still::Ours)
    }

    pub(super) async fn release(&self, slots: &[Vec<String>], token: &str) -> Still {
        self.ask_slots(&self.release, slots, &[token.into(), WAITER_MS.into()]).await
    }

    pub(super) async fn extend(&self, slots: &[Vec<String>], token: &str, lease: Duration) -> Still {
        self.ask_slots(&self.extend, slots, &[token.into(), millis(lease).into()]).await
    }

    pub(super) async fn leave(&self, slots: &[Vec<String>], waiter: &str) {
        for locks in slots {
            for left in self.ask::<i64>(&self.leave, locks, &[waiter.into(), WAITER_MS.into()]).await {
                if let Err(error) = left {
                    let error = crate::causes::chain(&error);
                    tracing::debug!(error, "a waiter could not leave the line; it is passed over once it is not seen");
                }
            }
        }
    }

    fn judge(&self, answers: &[Result<i64, RedisError>]) -> Still {
        let count = |said: i64| answers.iter().filter(|answer| matches!(answer, Ok(value) if *value == said)).count();
        let (ours, run_out, others) = (count(1), count(0), count(-1));
        if ours >= self.majority() {
            Still::Ours
        } else if others > 0 && ours + others + run_out >= self.majority() {
            Still::Others
        } else if run_out + others >= self.majority() {
            Still::RunOut
        } else {
            Still::Unknown
        }
    }
}

/// The keys that scripts take.
fn parts(locks: &[String]) -> Vec<String> {
    locks.iter().flat_map(|lock| keys::parts_of_lock(lock)).collect()
}
