//! How a lock is taken, waited for and held.

use std::time::Duration;

use tokio::time::Instant;

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
    /// How many replicas of the one server must have the grant; zero = none is asked. Each costs its delay, at most 100 ms.
    /// A failover that promotes one of them keeps the lock. Servers of a quorum have no replicas.
    pub replicas: usize,
    /// When the caller's time is over: neither a wait nor a lease goes beyond.
    pub deadline: Option<Instant>,
}

impl Options {
    /// Waits for a bell, is not fair, renews nothing, knows no deadline.
    #[must_use]
    pub fn new(wait: Duration, lease: Duration) -> Self {
        Self { wait, lease, waiting: Waiting::Bell, fair: false, renew_for: None, replicas: 0, deadline: None }
    }
}
