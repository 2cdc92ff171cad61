//! One payload: the same message is decided once, the rest runs side by side, bounded, and before the deadline.
//! What did not get done is reported, record by record; what can never be done becomes a dead letter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use bytes::Bytes;
use metrics::{counter, histogram};
use serde::Serialize;
use serde_json::Value;
use shared::causes::chain;
use shared::domain::reservation::Outcome;
use shared::dynamodb::rows::ReservationRow;
use shared::kafka::{Message, ProduceError};
use shared::message::{CORRELATION_ID, MESSAGE_VERSION, OutcomeMessage, Request};
use shared::telemetry::{CONSUMER_LAG_MS, DEAD_LETTERS, LATE_REJECTIONS, OUTCOME_LATENCY_MS, REASON, REDELIVERED};
use shared::{clock, trace};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::decide::{Decided, decide};
use crate::payload::{NotKafka, Place, Poison, Record, decode};
use crate::{Persist, dead_letter};

/// Reservations decided at the same time: enough to hide the table's latency, few enough not to throttle ourselves.
const AT_ONCE: usize = 16;

/// What the event source is told: the records that have to be delivered again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchResponse {
    /// One entry a failed record; empty = all done.
    #[serde(rename = "batchItemFailures")]
    pub failures: Vec<ItemFailure>,
}

/// A failed record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemFailure {
    /// Which record.
    #[serde(rename = "itemIdentifier")]
    pub identifier: ItemIdentifier,
}

/// Names a record: the payload's key of its partition, and its offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemIdentifier {
    /// `<topic>-<n>`.
    pub partition: String,
    /// The offset.
    pub offset: i64,
}

/// Why a record has to be delivered again.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the deadline came first")]
    Deadline,
    #[error(transparent)]
    Store(#[from] shared::dynamodb::StoreError),
    #[error("a message could not be produced")]
    Produce(#[from] ProduceError),
}

/// Handles one payload until `deadline`.
///
/// # Errors
/// When the payload is no Kafka event at all.
pub async fn persist_batch(persist: &Persist, payload: Value, deadline: Instant) -> Result<BatchResponse, NotKafka> {
    let records = decode(&payload)?;
    let groups = by_reservation(records);
    let batch = Batch { persist: persist.clone(), deadline, redis_is_away: Arc::default(), lag_ms: Arc::default() };
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    let mut running: BTreeMap<tokio::task::Id, Vec<Record>> = BTreeMap::new();
    for group in groups {
        let (batch, slots, first) = (batch.clone(), Arc::clone(&slots), group[0].clone());
        // A task of its own, so that a panic is one record's.
        let task = tasks.spawn(async move {
            let _slot = slots.acquire_owned().await;
            batch.in_time(trace::processing(&batch.persist.topics.requests, &first.headers, batch.handle(&first))).await
        });
        running.insert(task.id(), group);
    }
    let mut failed: Vec<Place> = Vec::new();
    while let Some(ended) = tasks.join_next_with_id().await {
        let (id, done) = match ended {
            Ok((id, done)) => (id, done),
            Err(panicked) => (panicked.id(), Ok(Some(Poison::Panic))),
        };
        for record in running.remove(&id).unwrap_or_default() {
            let done = match &done {
                Ok(None) => Ok(()),
                Ok(Some(poison)) => batch.in_time(batch.bury(&record, poison)).await,
                Err(failure) => {
                    report(&record.place, failure);
                    record.request.iter().for_each(|request| batch.waited(request));
                    failed.push(record.place.clone());
                    continue;
                }
            };
            if let Err(failure) = done {
                report(&record.place, &failure);
                failed.push(record.place);
            }
        }
    }
    failed.sort();
    let lag_ms = batch.lag_ms.load(Ordering::Relaxed);
    if lag_ms > 0 {
        histogram!(CONSUMER_LAG_MS).record(lag_ms as f64);
    }
    let identifier = |place: Place| ItemIdentifier { partition: place.partition, offset: place.offset };
    Ok(BatchResponse {
        failures: failed.into_iter().map(|place| ItemFailure { identifier: identifier(place) }).collect(),
    })
}

/// Records of one message together, in the order of their first; a record that carries none is alone.
fn by_reservation(records: Vec<Record>) -> Vec<Vec<Record>> {
    let mut groups: Vec<Vec<Record>> = Vec::new();
    let mut known: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for record in records {
        // Byte-equal messages only: a forged second message under the same id is judged by itself.
        let key = record.request.as_ref().ok().and(record.value.as_ref()).map(|value| value.to_vec());
        match key.as_ref().and_then(|key| known.get(key)) {
            Some(at) => groups[*at].push(record),
            None => {
                if let Some(key) = key {
                    known.insert(key, groups.len());
                }
                groups.push(vec![record]);
            }
        }
    }
    groups
}

fn report(place: &Place, failure: &Failure) {
    let error = chain(failure);
    tracing::warn!(partition = %place.partition, offset = place.offset, error, "a record will be delivered again");
}

#[derive(Clone)]
struct Batch {
    persist: Persist,
    deadline: Instant,
    /// One time-out is enough: the rest of the batch does not wait for Redis again.
    redis_is_away: Arc<AtomicBool>,
    /// Age of the oldest message that nobody had decided before, in ms; 0 = there is none.
    lag_ms: Arc<AtomicI64>,
}

impl Batch {
    /// Does `work` before the deadline. What would only begin after it is not begun: a write cut at once may still land.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        if Instant::now() >= self.deadline {
            return Err(Failure::Deadline);
        }
        timeout_at(self.deadline, work).await.unwrap_or(Err(Failure::Deadline))
    }

    /// Handles one record; `Some` = it can never be handled, and has to be buried.
    async fn handle(&self, record: &Record) -> Result<Option<Poison>, Failure> {
        let request = match &record.request {
            Ok(request) => request,
            Err(poison) => return Ok(Some(poison.clone())),
        };
        let decided = match decide(&self.persist, request, self.deadline).await {
            Ok(decided) => decided,
            // What cannot be read may be mended; only what the table refuses for good is buried.
            Err(error) if !error.is_refused() => return Err(error.into()),
            Err(error) => {
                let id = &request.reservation_id;
                tracing::error!(reservation_id = %id, error = chain(&error), "never to be stored");
                return Ok(Some(Poison::Refused));
            }
        };
        self.tell(request, &decided);
        self.persist.log.produce(outcome(&self.persist.topics.outcomes, &decided.row)).await?;
        self.correct(request, &decided).await;
        Ok(None)
    }

    fn tell(&self, request: &Request, decided: &Decided) {
        if !decided.is_new {
            counter!(REDELIVERED).increment(1);
            return;
        }
        self.waited(request);
        histogram!(OUTCOME_LATENCY_MS).record((clock::wall_ms() - request.held_at_ms).max(0) as f64);
        if let Outcome::Rejected(reason) = decided.row.outcome {
            counter!(LATE_REJECTIONS, REASON => reason.as_str()).increment(1);
        }
    }

    fn waited(&self, request: &Request) {
        self.lag_ms.fetch_max(clock::wall_ms() - request.held_at_ms, Ordering::Relaxed);
    }

    async fn correct(&self, request: &Request, decided: &Decided) {
        if self.redis_is_away.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = self.persist.truths.write(&decided.truth(request)).await {
            self.redis_is_away.store(true, Ordering::Relaxed);
            let error = chain(&error);
            tracing::warn!(error, "redis was not corrected; the rest of the batch goes on without it");
        }
    }

    async fn bury(&self, record: &Record, poison: &Poison) -> Result<(), Failure> {
        let Place { partition, offset } = &record.place;
        tracing::error!(partition, offset, reason = poison.reason(), "a record can never be handled");
        let letter = dead_letter::message(&self.persist.topics.dlq, record, poison);
        self.persist.log.produce(letter).await?;
        counter!(DEAD_LETTERS, REASON => poison.reason()).increment(1);
        Ok(())
    }
}

fn outcome(topic: &str, row: &ReservationRow) -> Message {
    let id = Bytes::copy_from_slice(row.reservation_id.as_str().as_bytes());
    let value = OutcomeMessage {
        version: MESSAGE_VERSION,
        reservation_id: row.reservation_id.clone(),
        customer: row.customer.clone(),
        outcome: row.outcome,
        seats: row.seats.clone(),
        held_at_ms: row.held_at_ms,
    };
    Message {
        topic: topic.to_owned(),
        key: Some(id.clone()),
        value: Some(Bytes::from(serde_json::to_vec(&value).unwrap_or_default())),
        headers: vec![(CORRELATION_ID.to_owned(), id)],
    }
}
