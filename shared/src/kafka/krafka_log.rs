//! The request log on Apache Kafka or MSK, through krafka.
//!
//! What makes a failure definite was read in its source: `Producer::enqueue` queues a record at one synchronous point, after its last
//! await, and returns a handle exactly then. So an error of `enqueue`, or a time-out around it, happened before any batch held the record;
//! every error of the handle happened after, its `possibly_written: false` included.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use krafka::auth::AuthConfig;
use krafka::error::KrafkaError;
use krafka::producer::{Acks, Producer, Record};
use krafka::{CloseOptions, Kafka};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::krafka_security::{self, Security};
use super::{Doubt, MAX_MESSAGE_BYTES, Message, Position, ProduceError, Refusal, RequestLog};
use crate::causes::chain;
use crate::trace;

/// Time for one whole produce: connect if need be, metadata, hand-over, acknowledgement. Below API Gateway's patience, above a leader election's start.
pub const PRODUCE_DEADLINE: Duration = Duration::from_secs(3);

/// The deadline is shared out in thirds: one for what precedes the hand-over, one for a first attempt on a socket that turns out dead, one for
/// the second attempt on a fresh one. Connect and request time-outs are a third each (krafka wants request >= connect).
const DEADLINE_SHARES: u32 = 3;

/// Time to connect during a function's init, which is more patient than a request and has 10 s in all.
pub const WARM_UP_DEADLINE: Duration = Duration::from_secs(5);

/// Time to wait for what is still queued when the log is closed.
pub const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// First pause before krafka resends; it doubles by itself, and the deadline leaves room for few.
const RETRY_BACKOFF: Duration = Duration::from_millis(50);

/// Bytes of one batch. Batches form only while an earlier one is on the wire (no linger): about 100 messages at the peak.
const BATCH_BYTES: usize = 64 * 1024;

/// Bytes the producer may hold unsent; beyond it a produce is refused. About 16 of the largest messages, or 25,000 of ours.
const BUFFER_BYTES: usize = 16 * 1024 * 1024;

/// An idle connection is given up before NAT gateways (350 s) and brokers (600 s) drop it without a word.
const CONNECTION_MAX_IDLE: Duration = Duration::from_secs(240);

/// How to reach the brokers.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// `host:port`, comma separated.
    pub bootstrap_servers: String,
    /// Plain text, or who we are.
    pub security: Security,
    /// The authorities believed, as PEM; `None` = those that browsers believe.
    pub ca_pem: Option<String>,
    /// Name in the brokers' logs and quotas.
    pub client_id: String,
    /// Time for one whole produce, at least 30 ms; [`PRODUCE_DEADLINE`] unless set.
    pub produce_deadline: Duration,
}

impl KafkaSettings {
    /// Settings with the default deadline.
    pub fn new(bootstrap_servers: impl Into<String>, security: Security) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into(),
            security,
            ca_pem: None,
            client_id: "reservation".to_owned(),
            produce_deadline: PRODUCE_DEADLINE,
        }
    }

    /// What a connection authenticates with; `None` = it is a plain one.
    pub(super) fn auth(&self) -> Option<AuthConfig> {
        krafka_security::auth(&self.security, self.ca_pem.as_deref())
    }

    fn share(&self) -> Duration {
        self.produce_deadline / DEADLINE_SHARES
    }
}

/// The request log on Kafka: one idempotent producer, acks = all, shared by every produce of the process.
pub struct KrafkaLog {
    settings: KafkaSettings,
    auth: Option<AuthConfig>,
    /// Connected lazily; taken out again when krafka calls its producer finished.
    producer: Mutex<Option<Arc<Producer>>>,
}

impl KrafkaLog {
    /// A log that has not connected yet. Performs no I/O.
    #[must_use]
    pub fn new(settings: KafkaSettings) -> Self {
        let auth = settings.auth();
        Self::authenticated(settings, auth)
    }

    /// The same with what its connections authenticate with.
    pub(super) fn authenticated(settings: KafkaSettings, auth: Option<AuthConfig>) -> Self {
        Self { settings, auth, producer: Mutex::new(None) }
    }

    /// Connects ahead of the first produce, for [`WARM_UP_DEADLINE`] at most. Brokers that are down are met again, and reported, by the first produce.
    pub async fn warm_up(&self) {
        let security = self.settings.security.slug();
        match timeout_at(Instant::now() + WARM_UP_DEADLINE, self.producer()).await {
            Ok(Ok(_)) => {}
            // A broker that meets another protocol than its own only hangs up; which one it met is the reason then.
            Ok(Err(error)) => tracing::warn!(security, cause = chain(&error), "Kafka is not reachable yet"),
            Err(_) => {
                tracing::warn!(security, deadline_ms = WARM_UP_DEADLINE.as_millis(), "Kafka did not answer in time");
            }
        }
    }

    /// The shared producer, connected by whoever comes first; the others wait inside their own deadlines.
    async fn producer(&self) -> Result<Arc<Producer>, KrafkaError> {
        let mut slot = self.producer.lock().await;
        if let Some(producer) = slot.as_ref() {
            return Ok(Arc::clone(producer));
        }
        let producer = Arc::new(self.connect().await?);
        *slot = Some(Arc::clone(&producer));
        Ok(producer)
    }

    async fn connect(&self) -> Result<Producer, KrafkaError> {
        let share = self.settings.share();
        let mut kafka = Kafka::builder(&self.settings.bootstrap_servers)
            .client_id(&self.settings.client_id)
            .connect_timeout(share)
            .request_timeout(share)
            .connections_max_idle(Some(CONNECTION_MAX_IDLE))
            // A topic forgotten for being idle would cost the next message a round trip, and would make a dead broker look like a missing topic.
            .metadata_topic_cache_ttl(None);
        if let Some(auth) = &self.auth {
            kafka = kafka.security(auth.clone());
        }
        kafka
            .connect()
            .await?
            .producer()
            .acks(Acks::All)
            .idempotent(true)
            .linger(Duration::ZERO)
            .batch_size(BATCH_BYTES)
            .buffer_memory(BUFFER_BYTES)
            .max_block(share)
            // Ends before our own deadline does, so that nothing is resent once the caller has been answered.
            .delivery_timeout(self.settings.produce_deadline - share)
            .retry_backoff(RETRY_BACKOFF)
            // Telemetry would be background work of a function that may be frozen.
            .metrics_push(false)
            .build()
            .await
    }

    /// Drops a producer that krafka calls finished (fenced, refused, closed), so that the next produce connects anew.
    async fn discard(&self, finished: &Arc<Producer>) {
        // A lock that is held means that somebody is connecting anew, or is about to meet the same error.
        let Ok(mut slot) = self.producer.try_lock() else { return };
        if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, finished)) {
            *slot = None;
            drop(slot);
            // Nothing it still holds can be sent; waiting would only outlast the deadline of this produce.
            close(finished, Duration::ZERO).await;
        }
    }

    async fn produce_within(&self, message: Message) -> Result<Position, ProduceError> {
        if message.size() > MAX_MESSAGE_BYTES {
            return Err(ProduceError::definite(Refusal::TooLarge));
        }
        let started = Instant::now();
        let hand_over_by = started + self.settings.share();
        let answer_by = started + self.settings.produce_deadline;

        let producer = match timeout_at(hand_over_by, self.producer()).await {
            Ok(Ok(producer)) => producer,
            Ok(Err(error)) => return Err(refused(Refusal::NotConnected, error)),
            Err(_) => return Err(ProduceError::definite(Refusal::NotConnected)),
        };
        let handle = match timeout_at(hand_over_by, producer.enqueue(record(message))).await {
            Ok(Ok(handle)) => handle,
            Ok(Err(error)) => {
                if error.is_fatal() {
                    self.discard(&producer).await;
                }
                return Err(refused(refusal(&error), error));
            }
            Err(_) => return Err(ProduceError::definite(Refusal::NoMetadata)),
        };
        match timeout_at(answer_by, handle).await {
            Ok(Ok(written)) => Ok(Position { partition: written.partition, offset: written.offset }),
            Ok(Err(error)) => {
                if error.is_fatal() {
                    self.discard(&producer).await;
                }
                Err(ProduceError::InDoubt { reason: Doubt::NotAcknowledged, source: Some(Box::new(error)) })
            }
            Err(_) => Err(ProduceError::in_doubt(Doubt::Deadline)),
        }
    }
}

impl RequestLog for KrafkaLog {
    fn produce(&self, message: Message) -> BoxFuture<'_, Result<Position, ProduceError>> {
        Box::pin(trace::producing(message, |message| self.produce_within(message)))
    }

    /// Waits for [`CLOSE_DEADLINE`] at most. A produce after it connects anew.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let producer = self.producer.lock().await.take();
            if let Some(producer) = producer {
                close(&producer, CLOSE_DEADLINE).await;
            }
        })
    }
}

fn refused(reason: Refusal, error: KrafkaError) -> ProduceError {
    ProduceError::Definite { reason, source: Some(Box::new(error)) }
}

/// Names what `enqueue` refused; only for the log, since all of it precedes the hand-over.
fn refusal(error: &KrafkaError) -> Refusal {
    match error {
        KrafkaError::Broker { .. }
        | KrafkaError::UnknownTopic { .. }
        | KrafkaError::Network(_)
        | KrafkaError::Timeout { .. } => Refusal::NoMetadata,
        _ => Refusal::NotAccepted,
    }
}

fn record(message: Message) -> Record {
    let mut record = match message.value {
        Some(value) => Record::new(message.topic, value),
        None => Record::new(message.topic, bytes::Bytes::new()).without_value(),
    };
    if let Some(key) = message.key {
        record = record.key(key);
    }
    for (name, value) in message.headers {
        record = record.header(name, value);
    }
    record
}

async fn close(producer: &Producer, patience: Duration) {
    if let Err(error) = producer.close_with(CloseOptions::new().timeout(patience)).await {
        tracing::warn!(cause = chain(&error), "Kafka producer closed with messages in doubt");
    }
}
