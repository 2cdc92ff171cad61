//! The named metrics that alarms and the dashboard stand on. They are written to the log in CloudWatch's embedded metric
//! format, once an invocation, so telling them costs no call.

use std::io::Write;

use metrics::{Unit, counter, describe_counter, describe_histogram};
use metrics_cloudwatch_embedded::{Builder, Collector};

/// The metrics' namespace in CloudWatch, where the configuration names none.
pub const NAMESPACE: &str = "TicketOffice";
/// The label that says why.
pub const REASON: &str = "Reason";

/// Processes started.
pub const COLD_STARTS: &str = "ColdStarts";
/// Requests to reserve that were claimed and remembered.
pub const ACCEPTED: &str = "Accepted";
/// Requests to reserve that were refused, by the slug of their problem ([`REASON`]).
pub const REFUSED: &str = "Refused";
/// Produces that may or may not have been written; their claims stay.
pub const PRODUCES_IN_DOUBT: &str = "ProducesInDoubt";
/// Claims given back after a produce that was certainly not written.
pub const CLAIMS_GIVEN_BACK: &str = "ClaimsGivenBack";
/// Time from a claim to its decision, in ms, of each reservation decided for the first time; at most a hundred a payload
/// are told.
pub const OUTCOME_LATENCY_MS: &str = "OutcomeLatencyMs";
/// Age in ms, by the claim's time, of the oldest message of a batch that had not been decided before it.
pub const CONSUMER_LAG_MS: &str = "ConsumerLagMs";
/// How long the oldest claim of any event has been waiting to be decided, in ms: told also while nothing is consumed.
pub const UNDECIDED_MS: &str = "UndecidedMs";
/// Messages that had been decided before.
pub const REDELIVERED: &str = "Redelivered";
/// Requests rejected after they were accepted ([`REASON`]): 202, and then no.
pub const LATE_REJECTIONS: &str = "LateRejections";
/// Records that can never be handled ([`REASON`]).
pub const DEAD_LETTERS: &str = "DeadLetters";
/// Seats, and what counts for customers, that were wrong in Redis and were repaired, by what was wrong ([`REASON`]).
pub const DRIFT: &str = "Drift";
/// Reservations that a job could not do its work on, and leaves to its next run, by the job ([`REASON`]).
pub const LEFT_UNDONE: &str = "LeftUndone";
/// Difference between Redis' clock and the jobs' own, in ms.
pub const CLOCK_DIFFERENCE_MS: &str = "ClockDifferenceMs";

/// Time until a lock was taken, in ms.
pub const LOCK_WAIT_MS: &str = "LockWaitMs";
/// Time from taking a lock to giving it back, in ms.
pub const LOCK_HOLD_MS: &str = "LockHoldMs";
/// Locks that others had when they were asked for.
pub const LOCK_CONTENDED: &str = "LockContended";
/// Looks of those who wait for a lock, by what made them look (`By`: bell, poll, spin).
pub const LOCK_WAKES: &str = "LockWakes";
/// Leases prolonged by a watchdog.
pub const LOCK_RENEWALS: &str = "LockRenewals";
/// Locks that were lost ([`REASON`]), once each, whoever noticed: a watchdog, an extension, the release, or the holder's clock.
pub const LOCK_LOST: &str = "LockLost";
/// Locks whose holder went away without giving them back: others wait for the end of a lease.
pub const LOCK_LEFT: &str = "LockLeft";
/// Commands sent for locks; beside the locks taken ([`LOCK_WAIT_MS`] has a value each) what one of them costs.
pub const LOCK_COMMANDS: &str = "LockCommands";

const LOCK_COUNTERS: [&str; 6] = [LOCK_CONTENDED, LOCK_WAKES, LOCK_RENEWALS, LOCK_LOST, LOCK_LEFT, LOCK_COMMANDS];
const LOCK_TIMES: [&str; 2] = [LOCK_WAIT_MS, LOCK_HOLD_MS];

const COUNTERS: [&str; 10] = [
    COLD_STARTS,
    ACCEPTED,
    REFUSED,
    PRODUCES_IN_DOUBT,
    CLAIMS_GIVEN_BACK,
    REDELIVERED,
    LATE_REJECTIONS,
    DEAD_LETTERS,
    DRIFT,
    LEFT_UNDONE,
];
const TIMES: [&str; 4] = [OUTCOME_LATENCY_MS, CONSUMER_LAG_MS, UNDECIDED_MS, CLOCK_DIFFERENCE_MS];

/// Every metric of the general lock.
pub fn lock_metrics() -> impl Iterator<Item = &'static str> {
    LOCK_COUNTERS.into_iter().chain(LOCK_TIMES)
}

/// Every metric of the functions.
pub fn metrics() -> impl Iterator<Item = &'static str> {
    COUNTERS.into_iter().chain(TIMES)
}

/// A process' telemetry.
#[derive(Clone, Copy)]
pub struct Telemetry(&'static Collector);

impl Telemetry {
    /// Begins to collect what this function tells, in this namespace. Once a process.
    ///
    /// # Errors
    /// When it has been done before.
    pub fn init(namespace: String, function: &'static str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let collector = Builder::new().cloudwatch_namespace(namespace).with_dimension("Function", function).init();
        let collector = collector.map_err(|error| error.to_string())?;
        describe();
        counter!(COLD_STARTS).increment(1);
        Ok(Self(collector))
    }

    /// Writes what was collected since the last time: at the end of an invocation, for nothing runs after it.
    pub fn flush(self) {
        self.flush_to(std::io::stdout());
    }

    fn flush_to(self, writer: impl Write) {
        if let Err(error) = self.0.flush(writer) {
            tracing::warn!(error = crate::causes::chain(&error), "metrics were not written");
        }
    }
}

/// Says in what each metric counts.
fn describe() {
    for metric in COUNTERS.into_iter().chain(LOCK_COUNTERS) {
        describe_counter!(metric, Unit::Count, "");
    }
    for metric in TIMES.into_iter().chain(LOCK_TIMES) {
        describe_histogram!(metric, Unit::Milliseconds, "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_tells_of_its_start_once_in_the_embedded_format_and_begins_once() {
        let telemetry = Telemetry::init("Office/dev".into(), "reservation-api").unwrap();
        let mut lines = Vec::new();
        telemetry.flush_to(&mut lines);
        let line: serde_json::Value = serde_json::from_slice(&lines).unwrap();
        let told = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(told["Namespace"], "Office/dev");
        assert_eq!(told["Metrics"][0], serde_json::json!({ "Name": COLD_STARTS, "Unit": "Count" }));
        assert_eq!((&line["Function"], &line[COLD_STARTS]), (&"reservation-api".into(), &1.into()));
        let mut later = Vec::new();
        telemetry.flush_to(&mut later);
        assert!(later.is_empty(), "{}", String::from_utf8_lossy(&later));
        assert!(Telemetry::init("Office/dev".into(), "reservation-api").is_err());
    }
}
