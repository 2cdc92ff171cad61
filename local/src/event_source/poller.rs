//! One poller: builds payloads from its lanes, invokes the handler, one at a time, and takes the answer back into the lanes.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use serde_json::Value;
use shared::kafka::{KrafkaLog, Message, RequestLog};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::lane::Lane;
use super::reader::Arrival;
use super::{Control, EventSourceSettings, Handler, Progress, payload};

/// Lambda's bound on a synchronous payload, in bytes.
const MAX_PAYLOAD_BYTES: usize = 6 * 1024 * 1024;

/// Where records go that were given up.
pub(super) struct Graveyard {
    pub(super) topic: String,
    pub(super) log: KrafkaLog,
}

/// What all pollers of an event source share.
pub(super) struct Shared {
    pub(super) settings: EventSourceSettings,
    pub(super) handler: Handler,
    pub(super) progress: Arc<watch::Sender<Progress>>,
    pub(super) graveyard: Option<Graveyard>,
}

pub(super) struct Poller {
    shared: Arc<Shared>,
    lanes: Vec<Lane>,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    control: watch::Receiver<Control>,
    epoch: u64,
    /// The lane that is asked first; moves on with every payload, so that no lane starves.
    first: usize,
}

/// Records taken from the front of one lane.
struct Taken {
    lane: usize,
    records: usize,
}

enum Next {
    Deliver(Vec<Taken>),
    /// Nothing to deliver before this, or before another record comes.
    Wait(Option<Instant>),
}

impl Poller {
    pub(super) fn new(
        shared: Arc<Shared>,
        partitions: &[i32],
        arrivals: mpsc::UnboundedReceiver<Arrival>,
        control: watch::Receiver<Control>,
    ) -> Self {
        let lanes = partitions.iter().map(|partition| Lane::new(*partition)).collect();
        Self { shared, lanes, arrivals, control, epoch: 0, first: 0 }
    }

    /// Delivers until stopped.
    pub(super) async fn run(mut self) {
        loop {
            let control = *self.control.borrow_and_update();
            if control.stopping {
                return;
            }
            self.turn_to(control.epoch);
            while let Ok(arrival) = self.arrivals.try_recv() {
                self.take_in(arrival);
            }
            let next = if control.paused { Next::Wait(None) } else { self.next(Instant::now()) };
            match next {
                Next::Deliver(taken) => self.deliver(taken).await,
                Next::Wait(until) => self.wait(until).await,
            }
        }
    }

    async fn wait(&mut self, until: Option<Instant>) {
        let due = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.control.changed() => if changed.is_err() {
                // The event source is gone, and aborts this task with it.
                std::future::pending::<()>().await;
            },
            arrival = self.arrivals.recv() => match arrival {
                Some(arrival) => self.take_in(arrival),
                // The readers only end before us when all are told to stop.
                None => if self.control.changed().await.is_err() { std::future::pending::<()>().await },
            },
            () = due => {}
        }
    }

    /// Forgets what belongs to an earlier start. A reader may be told of a new one before we are.
    fn turn_to(&mut self, epoch: u64) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.lanes.iter_mut().for_each(Lane::clear);
        }
    }

    fn take_in(&mut self, Arrival { record, epoch, room }: Arrival) {
        self.turn_to(epoch);
        if epoch < self.epoch {
            return;
        }
        let lane = self.lanes.iter_mut().find(|lane| lane.partition() == record.partition);
        if let Some(lane) = lane {
            lane.push(record, Instant::now(), room);
        }
    }

    /// What to deliver now. A suspect lane is delivered alone; all others share a payload.
    fn next(&mut self, now: Instant) -> Next {
        let count = self.lanes.len();
        let order: Vec<usize> = (0..count).map(|n| (self.first + n) % count).collect();
        let due = |lane: &usize| self.lanes[*lane].due(now) > 0;
        if let Some(&lane) = order.iter().find(|lane| due(lane) && self.lanes[**lane].is_suspect()) {
            self.first = lane + 1;
            let records = self.lanes[lane].due(now);
            return Next::Deliver(self.within_bounds(&[(lane, records)]));
        }
        let ready: Vec<(usize, usize)> =
            order.iter().filter(|lane| due(lane)).map(|lane| (*lane, self.lanes[*lane].due(now))).collect();
        let waiting: usize = ready.iter().map(|(_, records)| records).sum();
        let oldest = ready.iter().filter_map(|(lane, _)| self.lanes[*lane].oldest()).min();
        let window_ends = oldest.map(|oldest| oldest + self.shared.settings.window);
        if waiting >= self.shared.settings.batch_size || window_ends.is_some_and(|end| end <= now) {
            self.first += 1;
            return Next::Deliver(self.within_bounds(&ready));
        }
        let backing_off = self.lanes.iter().filter_map(Lane::due_at).filter(|then| *then > now).min();
        Next::Wait(window_ends.into_iter().chain(backing_off).min())
    }

    /// Cuts what is ready to the batch size and to the bytes of a payload; one record always fits.
    fn within_bounds(&self, ready: &[(usize, usize)]) -> Vec<Taken> {
        let (mut records_left, mut bytes_left) = (self.shared.settings.batch_size, MAX_PAYLOAD_BYTES);
        let mut taken: Vec<Taken> = Vec::new();
        for &(lane, due) in ready {
            let fitting = self.lanes[lane].records().take(due.min(records_left)).take_while(|record| {
                let size = payload::size(record);
                let fits = size <= bytes_left || bytes_left == MAX_PAYLOAD_BYTES;
                bytes_left = if fits { bytes_left.saturating_sub(size) } else { 0 };
                fits
            });
            let records = fitting.count();
            records_left -= records;
            if records > 0 {
                taken.push(Taken { lane, records });
            }
        }
        taken
    }

    async fn deliver(&mut self, taken: Vec<Taken>) {
        let records = taken.iter().flat_map(|taken| self.lanes[taken.lane].records().take(taken.records));
        let event = payload::event(&self.shared.settings, records);
        let mut answer = Err("never delivered".to_owned());
        for _ in 0..self.shared.settings.deliveries {
            answer = self.invoke(event.clone()).await.and_then(payload::failures);
        }
        if self.control.borrow().epoch != self.epoch {
            return;
        }
        match answer.and_then(|failed| self.settle(&taken, failed)) {
            Ok(()) => {}
            Err(reason) => {
                tracing::warn!(topic = self.shared.settings.topic, reason, "a payload failed as a whole");
                let alone = taken.iter().map(|taken| taken.records).sum::<usize>() == 1;
                let now = Instant::now();
                for taken in &taken {
                    self.lanes[taken.lane].fail_whole(taken.records, alone, self.shared.settings.bisect, now);
                }
            }
        }
        for taken in &taken {
            self.bury(taken.lane).await;
        }
    }

    /// One invocation; a panic or a time-out is an error of the function, as it is in Lambda.
    async fn invoke(&self, event: Value) -> Result<Value, payload::Reason> {
        let handler = Arc::clone(&self.shared.handler);
        let invocation = AssertUnwindSafe(async move { handler(event).await }).catch_unwind();
        match tokio::time::timeout(self.shared.settings.invocation_timeout, invocation).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err("the function panicked".to_owned()),
            Err(_) => Err("the function timed out".to_owned()),
        }
    }

    /// Takes the answer into the lanes: all done, or from the lowest failed offset of a partition again.
    ///
    /// # Errors
    /// An identifier of nothing in this payload fails all of it, and nothing is acknowledged.
    fn settle(&mut self, taken: &[Taken], mut failed: BTreeMap<String, Vec<i64>>) -> Result<(), payload::Reason> {
        let mut of_lane: Vec<Vec<i64>> = Vec::with_capacity(taken.len());
        for Taken { lane, records } in taken {
            let lane = &self.lanes[*lane];
            let key = payload::partition_key(&self.shared.settings.topic, lane.partition());
            let offsets = failed.remove(&key).unwrap_or_default();
            if let Some(offset) =
                offsets.iter().find(|offset| !lane.records().take(*records).any(|record| record.offset == **offset))
            {
                return Err(format!("{key} at {offset} was reported as failed and is not in the payload"));
            }
            of_lane.push(offsets);
        }
        if let Some(key) = failed.keys().next() {
            return Err(format!("{key} was reported as failed and is not in the payload"));
        }
        let now = Instant::now();
        for (Taken { lane, records }, offsets) in taken.iter().zip(of_lane) {
            let batch_size = self.shared.settings.batch_size;
            let lane = &mut self.lanes[*lane];
            let next =
                if offsets.is_empty() { lane.acknowledge(*records, batch_size) } else { lane.fail(&offsets, now) };
            let partition = lane.partition();
            self.record_progress(partition, next);
        }
        Ok(())
    }

    /// Gives up the heads of a lane that failed too often. One that cannot be written to the on-failure topic stays, and comes again.
    async fn bury(&mut self, lane: usize) {
        while let Some((record, deliveries)) = self.lanes[lane].exhausted(self.shared.settings.max_retry_attempts) {
            let (partition, offset) = (record.partition, record.offset);
            if let Some(graveyard) = &self.shared.graveyard {
                let envelope = payload::on_failure(&self.shared.settings, record, deliveries, uuid::Uuid::new_v4());
                let message = Message {
                    topic: graveyard.topic.clone(),
                    key: record.key.clone(),
                    value: Some(Bytes::from(envelope.to_string())),
                    headers: Vec::new(),
                };
                if let Err(error) = graveyard.log.produce(message).await {
                    tracing::warn!(
                        partition,
                        offset,
                        error = &error as &dyn std::error::Error,
                        "on-failure topic not written, the record comes again"
                    );
                    self.lanes[lane].back_off(Instant::now());
                    return;
                }
            }
            tracing::error!(topic = self.shared.settings.topic, partition, offset, deliveries, "a record was given up");
            let next = self.lanes[lane].give_up_head();
            self.record_progress(partition, next);
        }
    }

    fn record_progress(&self, partition: i32, next: Option<i64>) {
        let (Some(next), Ok(index)) = (next, usize::try_from(partition)) else { return };
        self.shared.progress.send_modify(|progress| {
            if progress.epoch == self.epoch {
                progress.next[index] = next;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use krafka::consumer::ConsumerRecord;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn a_record_of_a_start_the_poller_was_not_told_of_yet_is_kept_and_one_of_an_earlier_start_is_not() {
        let settings = EventSourceSettings::new("", "requests");
        let handler: Handler = Arc::new(|_| std::future::ready(Ok(Value::Null)).boxed());
        let progress = Arc::new(watch::channel(Progress { epoch: 0, next: vec![0] }).0);
        let shared = Arc::new(Shared { settings, handler, progress, graveyard: None });
        let control = watch::channel(Control { paused: false, stopping: false, epoch: 0 }).1;
        let mut poller = Poller::new(shared, &[0], mpsc::unbounded_channel().1, control);
        let room = Arc::new(Semaphore::new(10));
        for (epoch, offset) in [(0, 7), (1, 0), (0, 8), (1, 1)] {
            let room = Arc::clone(&room).acquire_owned().await.unwrap();
            poller.take_in(Arrival { record: ConsumerRecord::new("requests", 0, offset, None, None), epoch, room });
        }
        let kept: Vec<i64> = poller.lanes[0].records().map(|record| record.offset).collect();
        assert_eq!(kept, [0, 1]);
        assert_eq!(room.available_permits(), 8, "what is forgotten leaves its room");
    }
}
