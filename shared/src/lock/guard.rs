//! A held lock: how long it is certainly held, how it is prolonged and given back, and how its holder learns that it is not
//! his any more, before anybody else can have it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use metrics::{counter, histogram};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::nodes::{Nodes, Slots, Still};
use super::{Extended, Lost, Released};
use crate::telemetry::{LOCK_HOLD_MS, LOCK_LEFT, LOCK_LOST, LOCK_RENEWALS, REASON};

/// Drift between this process' clock and the servers' over a lease (Redlock: 1 % and 2 ms for the precision of expiry).
fn drift(lease: Duration) -> Duration {
    lease / 100 + Duration::from_millis(2)
}

/// Until when a lease that was asked for at `asked` is certainly held.
pub(super) fn valid_until(asked: Instant, lease: Duration) -> Instant {
    asked + lease.saturating_sub(drift(lease))
}

/// How long before the end of validity its holder is warned.
fn ahead(lease: Duration) -> Duration {
    lease / 20
}

#[derive(Debug, Clone, Copy)]
struct Validity {
    until: Instant,
    /// When the holder is warned where nobody prolongs it.
    warned: Instant,
    lost: Option<Lost>,
    /// What it means when the warning comes.
    ends_as: Lost,
    /// Whether the loss was counted.
    is_told: bool,
}

impl Validity {
    /// Counts a loss, once a guard, whoever notices it.
    fn tell(&mut self, lost: Lost) {
        if !std::mem::replace(&mut self.is_told, true) {
            counter!(LOCK_LOST, REASON => lost.as_str()).increment(1);
        }
    }
}

/// How far the watchdog goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Renewal {
    pub(super) until: Instant,
    pub(super) deadline: Option<Instant>,
}

/// A held lock. It ends with its lease; [`release`](Self::release) ends it earlier. Dropping it renews it no more, and
/// nothing else: nothing asynchronous runs after the guard.
#[must_use = "a lock that is not released blocks others until its lease ends"]
pub struct Guard {
    nodes: Arc<Nodes>,
    slots: Slots,
    token: String,
    fence: Option<u64>,
    taken_at: Instant,
    validity: Arc<watch::Sender<Validity>>,
    watchdog: Option<AbortHandle>,
    is_released: bool,
}

impl Guard {
    pub(super) fn new(
        nodes: Arc<Nodes>,
        slots: Slots,
        token: String,
        fence: Option<u64>,
        (asked, lease): (Instant, Duration),
        renewal: Option<Renewal>,
    ) -> Self {
        let until = valid_until(asked, lease);
        let validity =
            Validity { until, warned: until - ahead(lease), lost: None, ends_as: Lost::LeaseEnds, is_told: false };
        let validity = Arc::new(watch::Sender::new(validity));
        let watchdog = renewal.map(|renewal| {
            let dog = Watchdog {
                nodes: Arc::clone(&nodes),
                slots: slots.clone(),
                token: token.clone(),
                validity: Arc::clone(&validity),
                lease,
                renewal,
            };
            tokio::spawn(dog.watch()).abort_handle()
        });
        Self { nodes, slots, token, fence, taken_at: asked, validity, watchdog, is_released: false }
    }

    /// How long it is certainly held from now on, by this process' clock and the drift of a lease.
    #[must_use]
    pub fn valid_for(&self) -> Duration {
        let validity = self.validity.borrow();
        if validity.lost.is_some() { Duration::ZERO } else { validity.until.saturating_duration_since(Instant::now()) }
    }

    /// A number that grows with each holder, where the lock stands on one server. It is Redis' own and dies with it: after a
    /// failover that lost the latest writes, or a flush, a later holder may get the same or a smaller one. What must not
    /// happen twice carries a number of the store it is written to (`dynamodb::view_counts`).
    #[must_use]
    pub fn fencing_token(&self) -> Option<u64> {
        self.fence
    }

    /// Ends, with the reason, before the lock may be another's: a twentieth of a lease before its validity does, or as soon
    /// as a renewal found it gone. As long as it is renewed it does not end. In a process that was frozen meanwhile it ends
    /// when it is next polled, whatever else has come in the meantime.
    pub async fn lost(&self) -> Lost {
        let mut changes = self.validity.subscribe();
        let lost = loop {
            let Validity { warned, lost, ends_as, .. } = *changes.borrow_and_update();
            if let Some(lost) = lost {
                break lost;
            }
            tokio::select! {
                biased;
                () = passed(warned) => {
                    // It may have been renewed in this very moment.
                    let now = *changes.borrow();
                    if now.warned <= Instant::now() {
                        break now.lost.unwrap_or(ends_as);
                    }
                }
                changed = changes.changed() => {
                    if changed.is_err() {
                        break ends_as;
                    }
                }
            }
        };
        self.validity.send_if_modified(|validity| {
            validity.tell(lost);
            false
        });
        lost
    }

    /// Prolongs the lease from now on, once. What has run out is not taken again.
    pub async fn extend(&self, lease: Duration) -> Extended {
        let asked = Instant::now();
        match self.nodes.extend(&self.slots, &self.token, lease).await {
            Still::Ours => {
                renewed(&self.validity, asked, lease);
                Extended::Extended
            }
            Still::RunOut => self.gone(Lost::Expired, Extended::Expired),
            Still::Others => self.gone(Lost::TakenByOther, Extended::TakenByOther),
            Still::Unknown => Extended::Unknown,
        }
    }

    fn gone(&self, lost: Lost, answer: Extended) -> Extended {
        self.lose(lost);
        answer
    }

    fn lose(&self, lost: Lost) {
        lose(&self.validity, lost);
    }

    /// Gives the lock back, if it is still ours, and wakes one who waits for it.
    pub async fn release(mut self) -> Released {
        if let Some(watchdog) = &self.watchdog {
            watchdog.abort();
        }
        let still = self.nodes.release(&self.slots, &self.token).await;
        self.is_released = true;
        histogram!(LOCK_HOLD_MS).record(self.taken_at.elapsed().as_secs_f64() * 1e3);
        match still {
            Still::Ours => Released::Released,
            Still::RunOut => {
                self.lose(Lost::Expired);
                Released::Expired
            }
            Still::Others => {
                self.lose(Lost::TakenByOther);
                Released::TakenByOther
            }
            Still::Unknown => {
                tracing::warn!("a lock could not be released; it ends with its lease");
                Released::Unknown
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(watchdog) = &self.watchdog {
            watchdog.abort();
        }
        if !self.is_released {
            counter!(LOCK_LEFT).increment(1);
        }
    }
}

fn renewed(validity: &watch::Sender<Validity>, asked: Instant, lease: Duration) {
    validity.send_modify(|validity| {
        validity.until = valid_until(asked, lease);
        validity.warned = validity.until - ahead(lease);
    });
}

fn lose(validity: &watch::Sender<Validity>, lost: Lost) {
    validity.send_modify(|validity| {
        validity.lost = Some(lost);
        validity.tell(lost);
    });
}

/// Ends at `instant`, asking the clock at each poll: after a freeze a runtime may poll a task for what came over a
/// connection before it looks at its timers.
async fn passed(instant: Instant) {
    let mut timer = pin!(sleep_until(instant));
    poll_fn(|context| if Instant::now() >= instant { Poll::Ready(()) } else { timer.as_mut().poll(context) }).await;
}

/// Renews a lease at every third of it, until it is told to stop, may not go on, or finds the lock gone.
struct Watchdog {
    nodes: Arc<Nodes>,
    slots: Slots,
    token: String,
    validity: Arc<watch::Sender<Validity>>,
    lease: Duration,
    renewal: Renewal,
}

impl Watchdog {
    async fn watch(self) {
        let mut pause = self.lease / 3;
        loop {
            sleep(pause).await;
            let asked = Instant::now();
            let left = self.renewal.deadline.map_or(self.lease, |deadline| deadline.saturating_duration_since(asked));
            let lease = self.lease.min(left);
            if asked >= self.renewal.until || lease.is_zero() {
                // What is left of the lease is all there is.
                self.validity.send_modify(|validity| validity.ends_as = Lost::RenewalEnded);
                return;
            }
            match self.nodes.extend(&self.slots, &self.token, lease).await {
                Still::Ours => {
                    counter!(LOCK_RENEWALS).increment(1);
                    renewed(&self.validity, asked, lease);
                    if lease < self.lease {
                        // It lasts to the deadline now.
                        self.validity.send_modify(|validity| validity.ends_as = Lost::RenewalEnded);
                        return;
                    }
                    pause = self.lease / 3;
                }
                Still::RunOut => return self.lose(Lost::Expired),
                Still::Others => return self.lose(Lost::TakenByOther),
                // It may be held all the same: asked again, more often, for as long as it is certainly ours.
                Still::Unknown if Instant::now() >= self.validity.borrow().warned => {
                    return self.lose(Lost::Unreachable);
                }
                Still::Unknown => pause = self.lease / 20,
            }
        }
    }

    fn lose(&self, lost: Lost) {
        lose(&self.validity, lost);
    }
}
