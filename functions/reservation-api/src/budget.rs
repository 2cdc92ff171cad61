//! How much a process asks of the table in Redis' stead: so much a second, and what comes on top is refused at once. What Redis
//! keeps from the table is more than the table bears.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What is saved up at most: a second's.
const SAVED: Duration = Duration::from_secs(1);

/// So many reads a second. What costs more than is left is allowed as long as anything is, and paid off before the next: the
/// generic cell rate algorithm (ITU-T I.371), with a burst of [`SAVED`].
pub struct Budget {
    per_second: u32,
    /// When all that was spent is paid off.
    paid_at: Mutex<Option<Instant>>,
}

impl Budget {
    /// Nothing spent yet.
    pub fn new(per_second: u32) -> Self {
        Self { per_second: per_second.max(1), paid_at: Mutex::new(None) }
    }

    /// Spends so many reads at `now`, if anything is left.
    pub fn allows(&self, reads: u32, now: Instant) -> bool {
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        let owed_until = paid_at.map_or(now, |at| at.max(now));
        if owed_until.duration_since(now) >= SAVED {
            return false;
        }
        *paid_at = Some(owed_until + SAVED * reads / self.per_second);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_is_allowed_at_once_and_then_as_it_is_paid_off() {
        let (budget, now) = (Budget::new(4), Instant::now());
        assert_eq!((0..100).filter(|_| budget.allows(1, now)).count(), 4);
        let (soon, quarter) = (now + Duration::from_millis(1), SAVED / 4);
        assert!(budget.allows(1, soon), "on credit, for something is paid off");
        assert!(!budget.allows(1, now + quarter));
        assert!(budget.allows(1, soon + quarter));
        let within = |ms| (0..ms).filter(|ms| budget.allows(1, soon + quarter + Duration::from_millis(*ms))).count();
        assert_eq!(within(2_001), 8, "four a second");
        // What was saved up is no more than a second's.
        let later = now + 100 * SAVED;
        assert_eq!((0..100).filter(|_| budget.allows(1, later)).count(), 4);
    }

    #[test]
    fn what_costs_more_than_there_is_is_allowed_once_and_owed() {
        let (budget, now) = (Budget::new(10), Instant::now());
        assert!(budget.allows(35, now));
        assert!(!budget.allows(1, now + Duration::from_millis(2_499)));
        assert!(budget.allows(1, now + Duration::from_millis(2_501)));
    }
}
