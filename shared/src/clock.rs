//! The wall clock of this process. It decides nothing about a reservation: it only bounds an invocation by the deadline
//! Lambda gives it, and lets the expiry job be careful where its own clock is behind Redis'.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Milliseconds since the epoch by this process' own clock.
pub fn wall_ms() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock; see the module's first line"
    )]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How long before Lambda's deadline work stops: what is left is reported, never lost to a time-out.
pub const DEADLINE_MARGIN: Duration = Duration::from_secs(2);
/// Time an invocation takes for itself where nobody says how long it has: cargo-lambda's emulator sends no moment.
const UNKNOWN_DEADLINE: Duration = Duration::from_secs(10);

/// When an invocation that ends at `deadline_ms` (wall clock) has to be done, [`DEADLINE_MARGIN`] early. A moment that has passed
/// before the work begins is none: the invocation would not have been made.
pub fn deadline(deadline_ms: u64) -> Instant {
    let left = i64::try_from(deadline_ms).unwrap_or(i64::MAX).saturating_sub(wall_ms());
    let left = u64::try_from(left).map_or(UNKNOWN_DEADLINE, Duration::from_millis);
    Instant::now() + left.saturating_sub(DEADLINE_MARGIN)
}
