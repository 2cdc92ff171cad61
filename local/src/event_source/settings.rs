//! How an event source reads and calls: the fields of `CreateEventSourceMapping` that MSK has, their bounds, and the faults a test may switch on.

use std::num::NonZeroU64;
use std::time::Duration;

use super::EventSourceError;

/// Invocations one provisioned poller may have under way (Lambda guide, "Apache Kafka event poller scaling modes").
pub const INVOCATIONS_PER_POLLER: usize = 5;

/// Retries Lambda makes where retries have no end and there is an on-failure destination (same guide, "Configuring error handling controls").
const RETRIES_BEFORE_DESTINATION: u32 = 10;

/// `MaximumRetryAttempts` at most.
const MAX_RETRY_ATTEMPTS: u32 = 10_000;

/// `MaximumBatchingWindowInSeconds` at most.
const MAX_WINDOW: Duration = Duration::from_secs(300);

/// `MaximumRecordAgeInSeconds` at least and at most.
const RECORD_AGES: std::ops::RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(604_800);

/// A function's time-out at most, behind an MSK event source: a minute less than elsewhere.
const MAX_INVOCATION: Duration = Duration::from_secs(14 * 60);

/// How an on-failure destination that is a topic of the same cluster is named.
const KAFKA_DESTINATION: &str = "kafka://";

/// How an event source reads and calls.
#[derive(Debug, Clone)]
pub struct EventSourceSettings {
    /// `host:port`, comma separated; plain text.
    pub bootstrap_servers: String,
    /// The topic to read, which must exist. Partitions added later are not seen.
    pub topic: String,
    /// Records a payload holds at most (1 to 10,000; 100 as in Lambda).
    pub batch_size: usize,
    /// Time a payload that is not full waits for more records, from its first (up to 300 s). Lambda's default for MSK is 500 ms; here nothing waits.
    pub window: Duration,
    /// Chaos: each payload is delivered this many times in a row, and the last answer counts (1 to 10).
    pub deliveries: usize,
    /// The other faults.
    pub chaos: Chaos,
    /// Event pollers at first; see [`EventSource::set_pollers`](super::EventSource::set_pollers). Each owns its share of the partitions, so there are never more than partitions.
    pub pollers: usize,
    /// Invocations a poller may have under way (1 to [`INVOCATIONS_PER_POLLER`]); a partition is in one of them at most.
    pub invocations_per_poller: usize,
    /// Whether a payload that fails as a whole is cut by partition and in halves, until what fails is alone.
    pub bisect: bool,
    /// `ReportBatchItemFailures`: whether the answer is read at all. Without it whatever the function returns is success.
    pub report_batch_item_failures: bool,
    /// How often what fails is delivered again before it is given up (up to 10,000); `None` = Lambda's -1, for ever — but 10 where there is a destination.
    pub max_retry_attempts: Option<u32>,
    /// Age by its own timestamp beyond which a record is given up undelivered (60 s to 7 days); `None` = Lambda's -1, none.
    pub max_record_age: Option<Duration>,
    /// Where a record that was given up goes, in Lambda's own envelope: `kafka://<topic>`. Without one it is dropped, with a line in the log.
    pub on_failure_destination: Option<String>,
    /// Time one invocation has, as the function's time-out (up to 14 min); it is dropped when it runs out.
    pub invocation_timeout: Duration,
    /// `eventSourceArn` in the payload.
    pub event_source_arn: String,
}

/// What goes wrong between Lambda and the function on purpose. The default is nothing.
#[derive(Debug, Clone, Default)]
pub struct Chaos {
    /// Partitions overtake each other: a payload takes a random part of the partitions that are ready, in random order. The number is the seed.
    pub shuffle_partitions: Option<u64>,
    /// Time each answer is on its way after the function has ended. The function's time-out does not see it.
    pub answer_delay: Duration,
    /// Of the invocations, in the order they began, each n-th one's answer is lost: the function ran, and its payload comes again.
    pub lose_every_nth_answer: Option<NonZeroU64>,
}

impl EventSourceSettings {
    /// The settings the template gives the event source, but for the window: locally nothing waits.
    pub fn new(bootstrap_servers: impl Into<String>, topic: impl Into<String>) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into(),
            topic: topic.into(),
            batch_size: 100,
            window: Duration::ZERO,
            deliveries: 1,
            chaos: Chaos::default(),
            pollers: 3,
            invocations_per_poller: INVOCATIONS_PER_POLLER,
            bisect: true,
            report_batch_item_failures: true,
            max_retry_attempts: Some(MAX_RETRY_ATTEMPTS),
            max_record_age: None,
            on_failure_destination: None,
            invocation_timeout: Duration::from_secs(30),
            event_source_arn: "arn:aws:kafka:local:000000000000:cluster/local/00000000-0000-0000-0000-000000000000-1"
                .to_owned(),
        }
    }

    /// The retries that are really made.
    pub(super) fn retries(&self) -> Option<u32> {
        self.max_retry_attempts.or_else(|| self.on_failure_destination.as_ref().map(|_| RETRIES_BEFORE_DESTINATION))
    }

    /// The topic of the destination.
    pub(super) fn on_failure_topic(&self) -> Option<&str> {
        self.on_failure_destination.as_deref()?.strip_prefix(KAFKA_DESTINATION)
    }

    /// # Errors
    /// [`EventSourceError::Settings`] for what `CreateEventSourceMapping` refuses.
    pub(super) fn check(&self) -> Result<(), EventSourceError> {
        let refused = if !(1..=10_000).contains(&self.batch_size) {
            "batch_size must be 1 to 10000"
        } else if self.window > MAX_WINDOW {
            "window must be 300 s at most"
        } else if !(1..=10).contains(&self.deliveries) {
            "deliveries must be 1 to 10"
        } else if self.pollers == 0 {
            "pollers must be at least 1"
        } else if !(1..=INVOCATIONS_PER_POLLER).contains(&self.invocations_per_poller) {
            "invocations_per_poller must be 1 to 5"
        } else if self.max_retry_attempts.is_some_and(|attempts| attempts > MAX_RETRY_ATTEMPTS) {
            "max_retry_attempts must be 10000 at most"
        } else if self.max_record_age.is_some_and(|age| !RECORD_AGES.contains(&age)) {
            "max_record_age must be 60 s to 7 days"
        } else if self.invocation_timeout > MAX_INVOCATION {
            "invocation_timeout must be 14 minutes at most"
        } else if self.on_failure_destination.is_some() && self.on_failure_topic().is_none_or(str::is_empty) {
            "the on-failure destination must be kafka://<topic>"
        } else if self.on_failure_topic() == Some(&self.topic) {
            "the on-failure topic must not be the topic itself"
        } else {
            return Ok(());
        };
        Err(EventSourceError::Settings(refused))
    }
}
