//! The named metrics that alarms and the dashboard stand on. They are written to the log in CloudWatch's embedded metric
//! format, once an invocation, so telling them costs no call.

use metrics::{Unit, describe_histogram};
use metrics_cloudwatch_embedded::{Builder, Collector};

/// The metrics' namespace in CloudWatch.
pub const NAMESPACE: &str = "TicketOffice";

/// Age in ms, by the claim's time, of the oldest message of a batch that had not been decided before it.
pub const CONSUMER_LAG_MS: &str = "ConsumerLagMs";
/// How long the oldest claim of any event has been waiting to be decided, in ms: told also while nothing is consumed.
pub const UNDECIDED_MS: &str = "UndecidedMs";

/// A process' telemetry.
pub struct Telemetry(&'static Collector);

impl Telemetry {
    /// Begins to collect what this function tells. Once a process.
    ///
    /// # Errors
    /// When it has been done before.
    pub fn init(function: &'static str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let collector = Builder::new().cloudwatch_namespace(NAMESPACE).with_dimension("Function", function).init();
        let collector = collector.map_err(|error| error.to_string())?;
        for metric in [CONSUMER_LAG_MS, UNDECIDED_MS] {
            describe_histogram!(metric, Unit::Milliseconds, "");
        }
        Ok(Self(collector))
    }

    /// Writes what was collected since the last time: at the end of an invocation, for nothing runs after it.
    pub fn flush(&self) {
        if let Err(error) = self.0.flush(std::io::stdout()) {
            tracing::warn!(error = &error as &dyn std::error::Error, "metrics were not written");
        }
    }
}
