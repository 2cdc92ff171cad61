//! An emulator of Lambda's event source mapping for MSK: it reads a topic, builds the payload Lambda would, and calls a handler with it.
//!
//! # Layout
//! - this file: settings, start, stop and what a test may ask
//! - [`reader`]: one task a partition, from Kafka into memory, bounded
//! - [`lane`]: what waits of one partition, and what its failures mean
//! - [`poller`]: lanes into payloads, payloads to the handler, answers back into lanes
//! - [`payload`]: the JSON of both directions, and of the on-failure topic
//!
//! As in Lambda: a payload holds records of several partitions, each partition in order and by one poller; nothing counts as done before the
//! handler has answered; a failed partition waits and comes again while the others go on; offsets live in memory only.

mod lane;
mod payload;
mod poller;
mod reader;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use krafka::Kafka;
use krafka::consumer::Consumer;
use krafka::error::KrafkaError;
use shared::kafka::{KafkaSettings, KrafkaLog, Security};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What is invoked: a payload in, the function's answer or its error out.
pub type Handler =
    Arc<dyn Fn(serde_json::Value) -> BoxFuture<'static, Result<serde_json::Value, String>> + Send + Sync>;

/// Time to wait for invocations under way when the event source is stopped; what is still running then is dropped, as a killed function is.
pub const STOP_BOUND: Duration = Duration::from_secs(5);

/// How often `drained` asks for the end of the topic again when the broker did not tell.
const PROBE_PAUSE: Duration = Duration::from_millis(50);

/// How an event source reads and calls.
#[derive(Debug, Clone)]
pub struct EventSourceSettings {
    /// `host:port`, comma separated; plain text.
    pub bootstrap_servers: String,
    /// The topic to read, which must exist. Partitions added later are not seen.
    pub topic: String,
    /// Records a payload holds at most (1 to 10,000; 100 as in Lambda).
    pub batch_size: usize,
    /// Time a payload that is not full waits for more records. Lambda's default for MSK is 500 ms; here nothing waits.
    pub window: Duration,
    /// Chaos: each payload is delivered this many times in a row, and the last answer counts (1 to 10).
    pub deliveries: usize,
    /// Invocations at once. Each poller owns its share of the partitions, so there are never more than partitions.
    pub pollers: usize,
    /// Whether a payload that fails as a whole is cut by partition and in halves, until what fails is alone.
    pub bisect: bool,
    /// How often a record that fails is delivered again before it is given up.
    pub max_retry_attempts: u32,
    /// Where a record that was given up goes, in Lambda's own envelope. Without one it is dropped, with a line in the log.
    pub on_failure_topic: Option<String>,
    /// Time one invocation has, as the function's time-out; it is dropped when it runs out.
    pub invocation_timeout: Duration,
    /// `eventSourceArn` in the payload.
    pub event_source_arn: String,
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
            pollers: 3,
            bisect: true,
            max_retry_attempts: 10_000,
            on_failure_topic: None,
            invocation_timeout: Duration::from_secs(30),
            event_source_arn: "arn:aws:kafka:local:000000000000:cluster/local/00000000-0000-0000-0000-000000000000-1"
                .to_owned(),
        }
    }
}

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
    /// Counts the starts from offset 0; whatever belongs to an earlier one is forgotten.
    epoch: u64,
}

/// The next offset of every partition that has not been acknowledged, in one epoch.
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
        check(&settings)?;
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
        let graveyard = settings.on_failure_topic.as_ref().map(|topic| poller::Graveyard {
            topic: topic.clone(),
            log: KrafkaLog::new(KafkaSettings::new(&settings.bootstrap_servers, Security::Plaintext)),
        });
        let shared = Arc::new(poller::Shared { settings, handler, progress: Arc::clone(&progress), graveyard });

        let (mut readers, mut pollers) = (JoinSet::new(), JoinSet::new());
        let all: Vec<i32> = (0i32..).take(partitions).collect();
        let poller_count = shared.settings.pollers.min(partitions);
        for index in 0..poller_count {
            let owned: Vec<i32> = all.iter().copied().skip(index).step_by(poller_count).collect();
            let (records, arrivals) = mpsc::unbounded_channel();
            for &partition in &owned {
                let source = reader::Source::new(&shared.settings, partition, records.clone(), control.subscribe());
                readers.spawn(source.run());
            }
            pollers.spawn(poller::Poller::new(Arc::clone(&shared), &owned, arrivals, control.subscribe()).run());
        }
        Ok(Self { topic: shared.settings.topic.clone(), control, progress, probe, shared, readers, pollers })
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
        let epoch = self.control.borrow().epoch + 1;
        // Progress first: whoever asks from here on is told that nothing is acknowledged.
        self.progress.send_modify(|progress| {
            progress.epoch = epoch;
            progress.next.fill(0);
        });
        self.control.send_modify(|control| control.epoch = epoch);
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
    pub async fn stop(mut self) {
        self.control.send_modify(|control| control.stopping = true);
        let ended = async {
            while self.pollers.join_next().await.is_some() {}
            while self.readers.join_next().await.is_some() {}
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

fn check(settings: &EventSourceSettings) -> Result<(), EventSourceError> {
    let refused = if !(1..=10_000).contains(&settings.batch_size) {
        "batch_size must be 1 to 10000"
    } else if !(1..=10).contains(&settings.deliveries) {
        "deliveries must be 1 to 10"
    } else if settings.pollers == 0 {
        "pollers must be at least 1"
    } else if settings.on_failure_topic.as_ref() == Some(&settings.topic) {
        "the on-failure topic must not be the topic itself"
    } else {
        return Ok(());
    };
    Err(EventSourceError::Settings(refused))
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
