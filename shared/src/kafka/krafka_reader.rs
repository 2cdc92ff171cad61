//! Looks back into a topic, through krafka: which offsets there are, and a bounded page of them. It belongs to no consumer
//! group and commits nothing, so looking takes no message from anybody.

use std::time::Duration;

use krafka::consumer::{AutoOffsetReset, Consumer, ConsumerRecord};
use krafka::error::KrafkaError;
use krafka::{CloseOptions, Kafka};
use tokio::time::{Instant, timeout_at};

use super::{Extent, KafkaSettings, Stored};

/// Messages one page holds at most.
pub const PAGE_RECORDS: usize = 100;
/// Bytes after which a page takes no further fetch: with the largest messages a page is four to five megabytes.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Bytes one fetch may bring; a single larger message still comes.
const FETCH_BYTES: i32 = 2 * 1024 * 1024;
/// Time to reach a broker.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for one answer; krafka wants it no shorter than the time to connect.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a broker holds a fetch that has nothing to return. What is asked for is there, so this is only met in the end.
const FETCH_MAX_WAIT: Duration = Duration::from_millis(500);
/// Time for one page or one look at a topic, whatever the caller's own deadline.
const READ_DEADLINE: Duration = Duration::from_secs(15);
/// Pause before a broker is asked again that cannot answer just now, such as one that has lost or not yet got its partition.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Time to say goodbye.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No answer in time, or the caller's deadline came first.
    #[error("kafka did not answer in time")]
    TimedOut,
    /// The brokers refused, or do not know the topic.
    #[error("kafka could not be read")]
    Refused {
        /// The client library's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A page of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The messages that are there, in order.
    pub messages: Vec<Stored>,
    /// Where the next page begins; where it is the end asked for, there is none.
    pub next: i64,
}

/// A reader; it connects with the first look.
pub struct KrafkaReader {
    settings: KafkaSettings,
    consumer: Option<Consumer>,
}

impl KrafkaReader {
    /// A reader that has not connected yet. Performs no I/O.
    #[must_use]
    pub fn new(settings: KafkaSettings) -> Self {
        Self { settings, consumer: None }
    }

    /// What each partition of a topic retains right now, in their order.
    ///
    /// # Errors
    /// When the brokers do not answer before `deadline`, or do not know the topic.
    pub async fn extents(&mut self, topic: &str, deadline: Instant) -> Result<Vec<Extent>, ReadError> {
        let asked = async {
            loop {
                let asked = self.ask_extents(topic).await;
                if let Some(extents) = again(asked).await? {
                    return Ok(extents);
                }
            }
        };
        within(deadline, asked).await
    }

    async fn ask_extents(&mut self, topic: &str) -> Result<Vec<Extent>, KrafkaError> {
        let consumer = self.consumer().await?;
        let known = consumer.fetch_metadata(Some(topic)).await?;
        let partitions = known.topics.first().map_or(0, |topic| topic.partition_count());
        if partitions == 0 {
            return Err(KrafkaError::unknown_topic(topic));
        }
        let mut extents = Vec::with_capacity(partitions);
        for partition in (0i32..).take(partitions) {
            let (start, end) = consumer.fetch_watermarks(topic, partition).await?;
            extents.push(Extent { partition, start, end });
        }
        Ok(extents)
    }

    /// The next page of the offsets from `from` up to, and without, `until`, with `most` messages ([`PAGE_RECORDS`] at most).
    /// What is no longer there, or never was, is not in it: the offsets tell. Nothing is waited for that an [`Extent`] told.
    ///
    /// # Errors
    /// When the brokers do not bring it before `deadline`.
    pub async fn page(
        &mut self,
        topic: &str,
        partition: i32,
        (from, until): (i64, i64),
        most: usize,
        deadline: Instant,
    ) -> Result<Page, ReadError> {
        let most = most.min(PAGE_RECORDS);
        if from >= until || most == 0 {
            return Ok(Page { messages: Vec::new(), next: from });
        }
        let asked = async {
            loop {
                let asked = self.ask_page(topic, partition, (from, until), most).await;
                if let Some(page) = again(asked).await? {
                    return Ok(page);
                }
            }
        };
        within(deadline, asked).await
    }

    async fn ask_page(
        &mut self,
        topic: &str,
        partition: i32,
        (from, until): (i64, i64),
        most: usize,
    ) -> Result<Page, KrafkaError> {
        let mut page = Page { messages: Vec::new(), next: from };
        let consumer = self.consumer().await?;
        // An earlier page may have been cut in the middle.
        consumer.unsubscribe().await?;
        consumer.assign(topic, vec![partition]).await?;
        consumer.seek(topic, partition, from).await?;
        let mut bytes = 0;
        while page.next < until && page.messages.len() < most && bytes < PAGE_BYTES {
            let records = consumer.poll(FETCH_MAX_WAIT).await?;
            if records.is_empty() {
                // Past what the log only has a number for, such as a transaction's marker.
                page.next = page.next.max(consumer.position(topic, partition).await.unwrap_or(page.next));
            }
            for record in records {
                if record.offset >= until {
                    page.next = until;
                } else if page.messages.len() < most {
                    page.next = record.offset + 1;
                    let message = stored(record);
                    bytes += size(&message);
                    page.messages.push(message);
                }
            }
        }
        page.next = page.next.min(until);
        Ok(page)
    }

    /// Lets the connections go. A look after it connects anew.
    pub async fn close(&mut self) {
        let Some(consumer) = self.consumer.take() else { return };
        if let Err(error) = consumer.close_with(CloseOptions::new().timeout(CLOSE_DEADLINE)).await {
            tracing::debug!(error = crate::causes::chain(&error), "Kafka consumer closed without an answer");
        }
    }

    async fn consumer(&mut self) -> Result<&Consumer, KrafkaError> {
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => connect(&self.settings).await?,
        };
        Ok(self.consumer.insert(consumer))
    }
}

async fn connect(settings: &KafkaSettings) -> Result<Consumer, KrafkaError> {
    let mut kafka = Kafka::builder(&settings.bootstrap_servers)
        .client_id(&settings.client_id)
        .connect_timeout(CONNECT_TIMEOUT)
        .request_timeout(REQUEST_TIMEOUT);
    if let Some(auth) = settings.auth() {
        kafka = kafka.security(auth);
    }
    kafka
        .connect()
        .await?
        .consumer_without_group()
        // Offsets that are gone are skipped, and told by the offsets of what comes.
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .fetch_min_bytes(1)
        .fetch_max_wait(FETCH_MAX_WAIT)
        .fetch_max_bytes(FETCH_BYTES)
        .max_partition_fetch_bytes(FETCH_BYTES)
        .max_poll_records(i32::try_from(PAGE_RECORDS).unwrap_or(i32::MAX))
        // Telemetry would be background work of a function that may be frozen.
        .metrics_push(false)
        .build()
        .await
}

/// The answer; or, after a pause, that it is worth asking again.
async fn again<T>(asked: Result<T, KrafkaError>) -> Result<Option<T>, ReadError> {
    match asked {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_retriable() => {
            tracing::debug!(error = crate::causes::chain(&error), "asking Kafka again");
            tokio::time::sleep(RETRY_PAUSE).await;
            Ok(None)
        }
        Err(error) => Err(ReadError::Refused { source: Box::new(error) }),
    }
}

async fn within<T>(deadline: Instant, work: impl Future<Output = Result<T, ReadError>>) -> Result<T, ReadError> {
    let now = Instant::now();
    // A time-out lets what is ready at once through.
    if now >= deadline {
        return Err(ReadError::TimedOut);
    }
    timeout_at(deadline.min(now + READ_DEADLINE), work).await.unwrap_or(Err(ReadError::TimedOut))
}

fn stored(record: ConsumerRecord) -> Stored {
    Stored {
        offset: record.offset,
        timestamp_ms: Some(record.timestamp).filter(|ms| *ms >= 0),
        key: record.key,
        value: record.value,
        headers: record.headers.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect(),
    }
}

fn size(message: &Stored) -> usize {
    message.key.as_ref().map_or(0, bytes::Bytes::len) + message.value.as_ref().map_or(0, bytes::Bytes::len)
}
