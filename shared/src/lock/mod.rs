//! The general lock: one holder at a time, for work that should not be done twice at once: loading a cold section, jobs.
//! It saves work; it never guards a seat. A reservation waits on no lock: its claim is one script, with DynamoDB behind it.
//!
//! A holder that is paused past its lease has lost the lock without knowing; what it writes must be safe by itself.

use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use crate::redis::{Redis, RedisError, Script};

/// Shortest and longest pause between two tries, in ms; drawn at random so that waiters do not move in step.
const RETRY_MS: std::ops::RangeInclusive<u64> = 10..=40;

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

/// Takes locks. Cheap to clone.
#[derive(Clone)]
pub struct Lock {
    redis: Redis,
    acquire: Script,
    release: Script,
}

/// A held lock. It ends with its lease; [`release`](Self::release) ends it earlier.
#[must_use = "a lock that is not released blocks others until its lease ends"]
pub struct Guard {
    lock: Lock,
    keys: Vec<String>,
    token: String,
}

impl Lock {
    /// Locks over these connections.
    pub fn new(redis: Redis) -> Self {
        Self {
            redis,
            acquire: Script::new(include_str!("acquire.lua")),
            release: Script::new(include_str!("release.lua")),
        }
    }

    /// Takes all `keys` or none, waiting at most `wait`; they are held for at most `lease`. `None` = others held on.
    ///
    /// # Errors
    /// When Redis gives no usable answer; whatever was taken ends with its lease.
    pub async fn acquire(&self, keys: &[String], wait: Duration, lease: Duration) -> Result<Option<Guard>, RedisError> {
        let token = uuid::Uuid::new_v4().simple().to_string();
        let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
        let deadline = Instant::now() + wait;
        loop {
            let args = vec![token.as_str().into(), lease_ms.into()];
            if self.redis.run::<bool>(&self.acquire, keys.to_vec(), args).await? {
                return Ok(Some(Guard { lock: self.clone(), keys: keys.to_vec(), token }));
            }
            let pause = Duration::from_millis(rand::rng().random_range(RETRY_MS));
            if Instant::now() + pause > deadline {
                return Ok(None);
            }
            tokio::time::sleep(pause).await;
        }
    }
}

impl Guard {
    /// Gives the lock back, if it is still ours.
    pub async fn release(self) -> Released {
        match self.lock.redis.run::<i64>(&self.lock.release, self.keys, vec![self.token.into()]).await {
            Ok(1) => Released::Released,
            Ok(0) => Released::Expired,
            Ok(_) => Released::TakenByOther,
            Err(error) => {
                tracing::warn!(%error, "a lock could not be released; it ends with its lease");
                Released::Unknown
            }
        }
    }
}
