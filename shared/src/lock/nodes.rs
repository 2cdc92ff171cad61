//! The servers a lock stands on: one, or a number of independent ones of which a majority decides.

use std::time::Duration;

use fred::types::{FromValue, Value};
use futures_util::future::join_all;

use crate::redis::{Redis, RedisError, Script, keys};

/// Time one server of several has for an answer: far below every lease, so that a dead one costs no validity.
pub const NODE_TIMEOUT: Duration = Duration::from_millis(50);
/// How long a waiter counts as alive after it was last seen; it shows itself at least every 250 ms.
pub(super) const WAITER_MS: i64 = 1_000;

macro_rules! lock_script {
    ($file:literal) => {
        Script::new(concat!(include_str!("scripts/waiters.lua"), include_str!(concat!("scripts/", $file))))
    };
}

/// The servers and what they are asked.
pub(super) struct Nodes {
    pub(super) servers: Vec<Redis>,
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
        let keys: Vec<String> = locks.iter().flat_map(|lock| keys::parts_of_lock(lock)).collect();
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

    /// Asks for all locks. Where no majority gives them, what some have given is given back, also where nobody knows.
    pub(super) async fn acquire(
        &self,
        locks: &[String],
        token: &str,
        lease: Duration,
        waiter: &str,
        is_fair: bool,
    ) -> Round {
        let args = [token.into(), millis(lease).into(), waiter.into(), WAITER_MS.into(), i64::from(is_fair).into()];
        let mut answers = self.ask::<(i64, i64)>(&self.acquire, locks, &args).await;
        let given = answers.iter().filter(|answer| matches!(answer, Ok((1, _)))).count();
        if given >= self.majority() {
            let fence = answers.first().and_then(|answer| answer.as_ref().ok()).map(|(_, fence)| *fence);
            return Round::Given(fence.filter(|_| !self.is_quorum()).and_then(|fence| u64::try_from(fence).ok()));
        }
        if self.is_quorum() {
            // Nobody waits for these answers longer than for any others; what they do not reach ends with its lease.
            self.release(locks, token).await;
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

    pub(super) async fn release(&self, locks: &[String], token: &str) -> Still {
        let answers = self.ask(&self.release, locks, &[token.into(), WAITER_MS.into()]).await;
        self.judge(&answers)
    }

    pub(super) async fn extend(&self, locks: &[String], token: &str, lease: Duration) -> Still {
        let answers = self.ask(&self.extend, locks, &[token.into(), millis(lease).into()]).await;
        self.judge(&answers)
    }

    pub(super) async fn leave(&self, locks: &[String], waiter: &str) {
        for left in self.ask::<i64>(&self.leave, locks, &[waiter.into(), WAITER_MS.into()]).await {
            if let Err(error) = left {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "a waiter could not leave the line; it is passed over once it is not seen");
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

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
