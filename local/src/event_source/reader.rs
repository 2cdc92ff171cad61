//! Reads one partition into memory: in order, from wherever it stands, bounded by what its lane may hold.

use std::sync::Arc;
use std::time::Duration;

use krafka::CloseOptions;
use krafka::consumer::{AutoOffsetReset, Consumer, ConsumerRecord};
use krafka::error::KrafkaError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::{Control, EventSourceSettings};

/// Time to reach a broker; both run on this machine.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Time for an answer, above [`FETCH_MAX_WAIT`], which a broker spends waiting for records.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// How long a broker holds a fetch that has nothing to return. An append answers it at once, so this is no latency, only the idle traffic.
const FETCH_MAX_WAIT: Duration = Duration::from_secs(1);

/// Pause after a connection or a fetch that failed.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// Records fetched ahead of the lane. Large, because a fetch behind a long lag may return all of it, and what is not kept is fetched again.
const FETCH_AHEAD: i32 = 20_000;

/// Records one lane may hold, in payloads: the one under way and the next.
const LANE_PAYLOADS: usize = 2;

/// A record on its way, with the room it takes in its lane; the room is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) record: ConsumerRecord,
    pub(super) room: OwnedSemaphorePermit,
}

/// One partition as it is read.
pub(super) struct Source {
    servers: String,
    topic: String,
    partition: i32,
    room: Arc<Semaphore>,
    records: mpsc::UnboundedSender<Arrival>,
    control: watch::Receiver<Control>,
    epoch: u64,
    next: i64,
    failing: bool,
}

impl Source {
    pub(super) fn new(
        settings: &EventSourceSettings,
        partition: i32,
        next: i64,
        records: mpsc::UnboundedSender<Arrival>,
        control: watch::Receiver<Control>,
    ) -> Self {
        let epoch = control.borrow().epoch;
        Self {
            servers: settings.bootstrap_servers.clone(),
            topic: settings.topic.clone(),
            partition,
            room: Arc::new(Semaphore::new(settings.batch_size * LANE_PAYLOADS)),
            records,
            control,
            epoch,
            next,
            failing: false,
        }
    }

    /// Reads until stopped, or until others have taken over. Whatever fails is tried again from the next offset, on a new connection, after a pause.
    pub(super) async fn run(mut self) {
        let (mut control, epoch) = (self.control.clone(), self.epoch);
        let over = async move {
            let over = control.wait_for(|control| control.stopping || control.epoch != epoch).await;
            if over.is_err() {
                tracing::debug!("the event source is gone");
            }
        };
        tokio::pin!(over);
        loop {
            let error = match self.connect().await {
                Ok(consumer) => {
                    let error = tokio::select! {
                        biased;
                        () = &mut over => None,
                        error = self.read(&consumer) => Some(error),
                    };
                    close(&consumer).await;
                    error
                }
                Err(error) => Some(error),
            };
            let Some(error) = error else { return };
            // One line an outage, not one an attempt.
            if !std::mem::replace(&mut self.failing, true) {
                let (partition, cause) = (self.partition, &error as &dyn std::error::Error);
                tracing::warn!(
                    topic = self.topic,
                    partition,
                    error = cause,
                    "reading failed, trying again until it works"
                );
            }
            tokio::select! {
                biased;
                () = &mut over => return,
                () = tokio::time::sleep(RECONNECT_PAUSE) => {}
            }
        }
    }

    /// Reads; returns only with an error.
    async fn read(&mut self, consumer: &Consumer) -> KrafkaError {
        loop {
            match consumer.poll(FETCH_MAX_WAIT).await {
                // A fetch that failed is no error of `poll`: the consumer waits by itself, up to 10 s, which is longer than a broker's restart takes.
                Ok(records) if records.is_empty() && consumer.metrics().consumer.errors > 0 => {
                    return KrafkaError::network(std::io::Error::other("a fetch failed"));
                }
                Ok(records) => {
                    self.failing = false;
                    for record in records {
                        if let Err(closed) = self.hand_on(record).await {
                            return closed;
                        }
                    }
                }
                Err(error) => return error,
            }
        }
    }

    async fn hand_on(&mut self, record: ConsumerRecord) -> Result<(), KrafkaError> {
        let closed = || KrafkaError::illegal_state("nobody takes the records any more");
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| closed())?;
        let next = record.offset + 1;
        self.records.send(Arrival { record, room }).map_err(|_| closed())?;
        self.next = next;
        Ok(())
    }

    async fn connect(&self) -> Result<Consumer, KrafkaError> {
        let consumer = super::kafka(&self.servers)
            .await?
            .consumer_without_group()
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .fetch_min_bytes(1)
            .fetch_max_wait(FETCH_MAX_WAIT)
            .max_buffered_records(FETCH_AHEAD)
            .metrics_push(false)
            .build()
            .await?;
        consumer.assign(&self.topic, vec![self.partition]).await?;
        consumer.seek(&self.topic, self.partition, self.next).await?;
        Ok(consumer)
    }
}

/// Says goodbye without waiting for it: the connection may be held up by a fetch.
pub(super) async fn close(consumer: &Consumer) {
    if let Err(error) = consumer.close_with(CloseOptions::new().timeout(Duration::ZERO)).await {
        tracing::debug!(error = &error as &dyn std::error::Error, "consumer closed without an answer");
    }
}
