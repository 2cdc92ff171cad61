//! An emulator of Lambda's event source mapping for MSK: it reads a topic, builds the payload Lambda would, and calls a handler with it.
//!
//! # Layout
//! - this file: start, stop, who reads what, and what a test may ask
//! - [`settings`]: how it reads and calls, and the faults a test may switch on
//! - [`reader`]: one task a partition, from Kafka into memory, bounded
//! - [`lane`]: what waits of one partition, and what its failures mean
//! - [`poller`]: lanes into payloads, payloads to the handler, answers back into lanes
//! - [`invocation`]: one call of the handler, its time-out, and what becomes of its answer
//! - [`payload`]: the JSON of both directions, and of the on-failure topic
//!
//! # Behaviour
//! Each line has a test of that name in `tests/`. Sources are pages of the AWS Lambda Developer Guide, by their file name, and the API reference (API);
//! "inferred" = AWS does not say it for Kafka, and this is what we decided.
//!
//! | What Lambda does | Source | Test |
//! |---|---|---|
//! | Builds this JSON: base64, signed header bytes | with-msk | `the_payload_is_the_one_lambda_builds` |
//! | Reads a partition in order; a payload holds several partitions | with-msk-process | `every_record_is_delivered_once_in_its_partition_s_order_and_payloads_hold_several_partitions` |
//! | Gathers for the window | API | `a_window_collects_what_comes_within_it` |
//! | Counts the window from the first record | invocation-eventsourcemapping | `the_window_counts_from_the_first_record_and_a_later_one_does_not_prolong_it` |
//! | Does not wait with a full batch | invocation-eventsourcemapping | `a_full_batch_does_not_wait_for_the_window` |
//! | Does not wait with 6 MB, and sends no more | invocation-eventsourcemapping | `a_payload_is_cut_before_six_megabytes_and_six_megabytes_end_the_window` |
//! | Never delivers a record larger than a payload | kafka-on-failure (`MaximumPayloadSizeExceeded`) | `a_record_no_payload_can_hold_is_never_delivered_and_goes_to_the_destination_by_its_place` |
//! | Commits after success | with-msk-process | `an_offset_is_committed_after_the_answer_and_not_before` |
//! | Retries an error, a panic, a time-out | kafka-retry-configurations | `a_panic_and_a_time_out_are_errors_of_the_function_and_the_payload_comes_again` |
//! | Without bisect retries a payload as it was and gives all of it up | kafka-retry-configurations; as it was: inferred | `without_bisect_a_failed_payload_comes_again_as_it_was_and_is_given_up_as_a_whole` |
//! | Pauses between retries: 20 ms to 1 s here | inferred | `a_failing_handler_is_called_ever_more_rarely_and_soon_again_once_it_works` |
//! | A failed partition does not hold up the others | inferred | `a_partition_that_fails_does_not_hold_up_the_others` |
//! | With bisect cuts a failed payload until what fails is alone | kafka-retry-configurations; by partition first: inferred | `f18_a_record_that_fails_whole_payloads_is_isolated_and_given_up_in_lambda_s_envelope` |
//! | A cut is no attempt | inferred from what is said of Kinesis | `splitting_a_payload_is_no_attempt_of_its_records` |
//! | Gives up after the retries, without a destination silently | kafka-retry-configurations | `a_reported_failure_is_given_up_after_its_attempts_and_without_a_topic_it_is_dropped` |
//! | -1 retries are 10 where there is a destination | kafka-on-failure-destination | `retries_without_end_are_ten_where_there_is_a_destination_and_have_no_end_where_there_is_none` |
//! | Gives up what is older than the maximum age, by its timestamp; -1 = none | kafka-retry-configurations; the condition's name: inferred | `a_record_older_than_the_maximum_age_is_never_delivered_and_goes_to_the_destination` |
//! | Does not commit what the destination did not take | inferred | `a_record_that_cannot_be_written_to_the_on_failure_topic_is_not_acknowledged` |
//! | Reads answers with `ReportBatchItemFailures` only | services-kinesis-batchfailurereporting | `answers_are_not_read_unless_report_batch_item_failures_is_on` |
//! | Delivers from the lowest failed offset of a partition again | services-kinesis-batchfailurereporting; per partition: inferred | `f9_a_reported_failure_comes_again_with_everything_after_it_and_nothing_else` |
//! | Success: empty, null or no list, empty or null answer | services-kinesis-batchfailurereporting | `an_empty_list_a_null_list_no_list_and_no_answer_are_success` |
//! | Whole failure: an identifier of nothing | services-kinesis-batchfailurereporting; for Kafka inferred | `an_identifier_of_nothing_fails_the_whole_payload` |
//! | Whole failure: a malformed answer | inferred from what is said of SQS | `a_malformed_answer_fails_the_whole_payload` |
//! | Five invocations a poller, a partition in one of them | kafka-scaling-modes; in one: with-msk-process | `a_poller_has_five_invocations_under_way_and_a_partition_is_in_one_of_them` |
//! | Never has a partition in two invocations | with-msk-process | `a_partition_under_way_is_in_no_second_invocation` |
//! | Adds and removes pollers | kafka-scaling-modes | `pollers_that_come_and_go_lose_nothing_and_keep_each_partition_s_order` |
//! | What was under way then is delivered again from the committed offset, to others, while it still runs | inferred from at-least-once, invocation-eventsourcemapping | `a_rebalance_delivers_from_the_committed_offset_again_and_the_old_poller_s_answer_does_not_count` |
//! | Refuses settings out of bounds, a time-out over 14 min, a destination that is the source | API, with-msk-process, kafka-on-failure-destination | `a_topic_that_is_not_there_and_settings_out_of_bounds_are_refused` |
//! | May deliver twice | invocation-eventsourcemapping | `f7_each_payload_is_delivered_as_often_as_asked` |
//! | May order partitions as it likes | inferred | `chaos_f8_shuffled_partitions_overtake_each_other_and_keep_their_own_order` |
//! | May get an answer late | inferred | `chaos_a_delayed_answer_counts_and_is_no_time_out_of_the_function` |
//! | May lose an answer and deliver again | inferred from at-least-once | `chaos_f14_a_lost_answer_is_a_delivery_again_of_what_the_function_has_done` |
//!
//! Not as in Lambda: committed offsets live in memory only, and pollers come and go when told, not with the lag.

mod invocation;
mod lane;
mod payload;
mod poller;
mod reader;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use krafka::Kafka;
use krafka::consumer::Consumer;
use krafka::error::KrafkaError;
use shared::kafka::{KafkaSettings, KrafkaLog, RequestLog, Security};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use settings::{Chaos, EventSourceSettings, INVOCATIONS_PER_POLLER};

/// What is invoked: a payload in, the function's answer or its error out.
pub type Handler =
    Arc<dyn Fn(serde_json::Value) -> BoxFuture<'static, Result<serde_json::Value, String>> + Send + Sync>;

/// Time to wait for invocations under way when the event source is stopped; what is still running then is dropped, as a killed function is.
pub const STOP_BOUND: Duration = Duration::from_secs(5);

/// How often `drained` asks for the end of the topic again when the broker did not tell.
const PROBE_PAUSE: Duration = Duration::from_millis(50);

/// Why an event source did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EventSourceError {
    /// A setting outside its bounds.
    #[error("{0}")]
    Settings(&'static str),
    /// No broker answered.
    #[error("the brokers at {servers} do not answer")]
    Connect {
        /// The bootstrap servers asked.
        servers: String,
        /// The client's error.
        source: KrafkaError,
    },
    /// There is no such topic.
    #[error("there is no topic {0}")]
    UnknownTopic(String),
    /// The topic was not drained in time.
    #[error("not drained within {} ms: {behind}", .within.as_millis())]
    NotDrained {
        /// The bound given.
        within: Duration,
        /// Each partition that is behind: `<topic>-<n> at <offset> of <end>`.
        behind: String,
    },
}

/// What the caller wants of readers and pollers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Control {
    paused: bool,
    stopping: bool,
    /// Counts who reads: with each replay and each rebalance others take over, and what belongs to an earlier epoch no longer counts.
    epoch: u64,
}

/// The committed offsets: the next of every partition that has not been acknowledged, in one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Progress {
    epoch: u64,
    next: Vec<i64>,
}

/// A running event source. Dropping it ends everything at once; [`stop`](Self::stop) lets invocations under way end.
pub struct EventSource {
    topic: String,
    control: watch::Sender<Control>,
    progress: Arc<watch::Sender<Progress>>,
    probe: Consumer,
    shared: Arc<poller::Shared>,
    tasks: Mutex<Tasks>,
}

/// Who reads and delivers, and those who were told to end and have not yet.
struct Tasks {
    /// Pollers wanted.
    wanted: usize,
    readers: JoinSet<()>,
    pollers: JoinSet<()>,
}

impl std::fmt::Debug for EventSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventSource")
            .field("topic", &self.topic)
            .field("progress", &*self.progress.borrow())
            .finish_non_exhaustive()
    }
}

impl EventSource {
    /// Starts reading at the first offset of every partition.
    ///
    /// # Errors
    /// [`EventSourceError`] for a setting outside its bounds, brokers that do not answer, or a topic that is not there.
    pub async fn start(settings: EventSourceSettings, handler: Handler) -> Result<Self, EventSourceError> {
        settings.check()?;
        let connect_failed = |source| EventSourceError::Connect { servers: settings.bootstrap_servers.clone(), source };
        let kafka = kafka(&settings.bootstrap_servers).await.map_err(connect_failed)?;
        let probe = kafka.consumer_without_group().metrics_push(false).build().await.map_err(connect_failed)?;
        let known = probe.fetch_metadata(Some(&settings.topic)).await.map_err(connect_failed)?;
        let partitions = known.topics.first().map_or(0, |topic| topic.partition_count());
        if partitions == 0 {
            return Err(EventSourceError::UnknownTopic(settings.topic));
        }

        let (control, _) = watch::channel(Control { paused: false, stopping: false, epoch: 0 });
        let (progress, _) = watch::channel(Progress { epoch: 0, next: vec![0; partitions] });
        let progress = Arc::new(progress);
        let graveyard = settings.on_failure_topic().map(|topic| poller::Graveyard {
            topic: topic.to_owned(),
            log: KrafkaLog::new(KafkaSettings::new(&settings.bootstrap_servers, Security::Plaintext)),
        });
        let (topic, wanted) = (settings.topic.clone(), settings.pollers);
        let (progress_of, invocations) = (Arc::clone(&progress), AtomicU64::new(0));
        let shared = Arc::new(poller::Shared { settings, handler, progress: progress_of, graveyard, invocations });
        let tasks = Mutex::new(Tasks { wanted, readers: JoinSet::new(), pollers: JoinSet::new() });
        let source = Self { topic, control, progress, probe, shared, tasks };
        source.take_over(&mut source.tasks(), false);
        Ok(source)
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets new readers and pollers take over from the committed offsets (or from 0), and the old ones end.
    fn take_over(&self, tasks: &mut Tasks, from_start: bool) {
        let epoch = self.control.borrow().epoch + 1;
        // Commits first: from here on no earlier answer counts, and whoever asks after a replay is told that nothing is acknowledged.
        self.progress.send_modify(|progress| {
            progress.epoch = epoch;
            if from_start {
                progress.next.fill(0);
            }
        });
        self.control.send_modify(|control| control.epoch = epoch);
        while tasks.readers.try_join_next().is_some() {}
        while tasks.pollers.try_join_next().is_some() {}

        let committed = self.committed();
        let count = tasks.wanted.min(committed.len());
        let all: Vec<(i32, i64)> = (0i32..).zip(committed).collect();
        for index in 0..count {
            let (records, arrivals) = mpsc::unbounded_channel();
            let mut owned: Vec<i32> = Vec::new();
            for &(partition, next) in all.iter().skip(index).step_by(count) {
                let (records, control) = (records.clone(), self.control.subscribe());
                let source = reader::Source::new(&self.shared.settings, partition, next, records, control);
                tasks.readers.spawn(source.run());
                owned.push(partition);
            }
            let (shared, control) = (Arc::clone(&self.shared), self.control.subscribe());
            tasks.pollers.spawn(poller::Poller::new(shared, &owned, arrivals, control).run());
        }
    }

    /// Adds or removes pollers, as Lambda does with the load. All partitions are assigned anew and delivered again from their committed offsets;
    /// invocations under way run on, and their answers no longer count.
    ///
    /// # Errors
    /// [`EventSourceError::Settings`] for no pollers at all.
    pub fn set_pollers(&self, pollers: usize) -> Result<(), EventSourceError> {
        if pollers == 0 {
            return Err(EventSourceError::Settings("pollers must be at least 1"));
        }
        let mut tasks = self.tasks();
        tasks.wanted = pollers;
        self.take_over(&mut tasks, false);
        Ok(())
    }

    /// The committed offset of every partition: the first that is delivered again.
    pub fn committed(&self) -> Vec<i64> {
        self.progress.borrow().next.clone()
    }

    /// Starts no further invocation until [`resume`](Self::resume). One under way goes on and counts.
    pub fn pause(&self) {
        self.control.send_modify(|control| control.paused = true);
    }

    /// Delivers again after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.control.send_modify(|control| control.paused = false);
    }

    /// Forgets what was acknowledged and delivers everything again, from offset 0 of every partition. The answer of an invocation under way no longer counts.
    pub async fn replay_from_start(&self) {
        self.take_over(&mut self.tasks(), true);
    }

    /// Waits until everything that is in the topic right now has been acknowledged (or given up), for `bound` at most.
    ///
    /// # Errors
    /// [`EventSourceError::NotDrained`] with each partition that is behind.
    pub async fn drained(&self, bound: Duration) -> Result<(), EventSourceError> {
        let deadline = Instant::now() + bound;
        let partitions = self.progress.borrow().next.len();
        let mut ends = Vec::with_capacity(partitions);
        for partition in (0i32..).take(partitions) {
            ends.push(self.end_of(partition, deadline).await);
        }
        let mut progress = self.progress.subscribe();
        let behind = |progress: &Progress| {
            let open = ends
                .iter()
                .zip(&progress.next)
                .enumerate()
                .filter(|(_, (end, next))| end.is_none_or(|end| **next < end));
            open.map(|(partition, (end, next))| {
                let end = end.map_or_else(|| "an unknown end".to_owned(), |end| end.to_string());
                format!("{}-{partition} at {next} of {end}", self.topic)
            })
            .collect::<Vec<_>>()
        };
        let waited = tokio::time::timeout_at(deadline, progress.wait_for(|progress| behind(progress).is_empty())).await;
        if matches!(waited, Ok(Ok(_))) {
            return Ok(());
        }
        let behind = behind(&self.progress.borrow()).join(", ");
        Err(EventSourceError::NotDrained { within: bound, behind })
    }

    /// Stops reading, lets invocations under way end within [`STOP_BOUND`], and ends.
    pub async fn stop(self) {
        self.control.send_modify(|control| control.stopping = true);
        let mut tasks = self.tasks.into_inner().unwrap_or_else(PoisonError::into_inner);
        let ended = async {
            while tasks.pollers.join_next().await.is_some() {}
            while tasks.readers.join_next().await.is_some() {}
        };
        if tokio::time::timeout(STOP_BOUND, ended).await.is_err() {
            tracing::warn!(topic = self.topic, "event source stopped in the middle of an invocation");
        }
        reader::close(&self.probe).await;
        if let Some(graveyard) = &self.shared.graveyard {
            graveyard.log.close().await;
        }
    }

    /// The end offset of a partition, asked until the broker tells or the time is up.
    async fn end_of(&self, partition: i32, deadline: Instant) -> Option<i64> {
        loop {
            match tokio::time::timeout_at(deadline, self.probe.fetch_watermarks(&self.topic, partition)).await {
                Ok(Ok((_, end))) => return Some(end),
                Ok(Err(error)) => {
                    tracing::debug!(partition, error = &error as &dyn std::error::Error, "end of partition not known");
                    tokio::time::timeout_at(deadline, tokio::time::sleep(PROBE_PAUSE)).await.ok()?;
                }
                Err(_) => return None,
            }
        }
    }
}

/// A connection of its own: brokers answer in order, so a fetch that waits for records would hold up everything behind it.
async fn kafka(servers: &str) -> Result<Kafka, KrafkaError> {
    Kafka::builder(servers)
        .client_id("event-source")
        .connect_timeout(reader::CONNECT_TIMEOUT)
        .request_timeout(reader::REQUEST_TIMEOUT)
        .connect()
        .await
}
