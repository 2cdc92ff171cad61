//! What asking for a lock, holding it and giving it back may come to.

use crate::redis::RedisError;

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
    /// Too few replicas have heard of it in time; it was given back.
    #[error("too few replicas have heard of the lock")]
    Unreplicated,
    /// Too few servers gave a usable answer. What was taken is given back, or ends with its lease.
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
