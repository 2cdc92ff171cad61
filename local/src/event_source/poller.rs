//! One event poller: builds payloads from its lanes, has some under way at a time, each lane in one of them at most, and takes the answers back into the lanes.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use krafka::consumer::ConsumerRecord;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use shared::clock;
use shared::kafka::{KrafkaLog, Message, ProduceError, RequestLog};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::lane::{Condition, Lane, Waiting};
use super::payload::{self, Failed, Reason};
use super::reader::Arrival;
use super::{Control, EventSourceSettings, Handler, Progress, invocation};

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
    /// Invocations that began.
    pub(super) invocations: AtomicU64,
}

impl Shared {
    /// Records with a timestamp before this are too old.
    fn oldest_ms(&self) -> i64 {
        let age = self.settings.max_record_age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        age.map_or(i64::MIN, |age| clock::wall_ms().saturating_sub(age))
    }

    async fn write_off(&self, record: &ConsumerRecord, why: Condition) -> Result<(), ProduceError> {
        let Some(graveyard) = &self.graveyard else { return Ok(()) };
        let envelope = payload::on_failure(&self.settings, record, why, uuid::Uuid::new_v4());
        let (topic, key) = (graveyard.topic.clone(), record.key.clone());
        let value = Some(Bytes::from(envelope.to_string()));
        graveyard.log.produce(Message { topic, key, value, headers: Vec::new() }).await?;
        Ok(())
    }
}

pub(super) struct Poller {
    shared: Arc<Shared>,
    lanes: Vec<Lane>,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    control: watch::Receiver<Control>,
    epoch: u64,
    /// The lane that is asked first; moves on with every payload, so that no lane starves.
    first: usize,
    /// Bytes for records in a payload.
    budget: usize,
    under_way: JoinSet<Answered>,
    /// Payloads that failed and come again as they were; their lanes stay busy.
    kept: Vec<Vec<Taken>>,
    shuffler: Option<StdRng>,
}

/// Records taken from the front of one lane.
struct Taken {
    lane: usize,
    records: usize,
}

/// What became of a payload.
struct Answered {
    taken: Vec<Taken>,
    answer: Result<Failed, Reason>,
}

enum Next {
    Deliver(Vec<Taken>),
    /// Nothing to deliver before this, or before another record or an answer comes.
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
        let epoch = control.borrow().epoch;
        let own = partitions.first().copied().unwrap_or_default();
        let seed = shared.settings.chaos.shuffle_partitions;
        let shuffler = seed.map(|seed| StdRng::seed_from_u64(seed ^ u64::from(own.unsigned_abs())));
        let budget = payload::budget(&shared.settings);
        let (under_way, kept) = (JoinSet::new(), Vec::new());
        Self { shared, lanes, arrivals, control, epoch, first: 0, budget, under_way, kept, shuffler }
    }

    /// Delivers until stopped, or until others have taken over; what is under way then runs to its end, and its answer counts only if nobody has.
    pub(super) async fn run(mut self) {
        loop {
            let control = *self.control.borrow_and_update();
            if control.stopping || control.epoch != self.epoch {
                break;
            }
            while let Ok(arrival) = self.arrivals.try_recv() {
                self.take_in(arrival);
            }
            let next = if control.paused { Next::Wait(None) } else { self.next().await };
            match next {
                Next::Deliver(taken) => self.start(taken),
                Next::Wait(until) => self.wait(until).await,
            }
        }
        while let Some(answered) = self.under_way.join_next().await {
            self.take_back(answered).await;
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
            Some(answered) = self.under_way.join_next() => self.take_back(answered).await,
            Some(arrival) = self.arrivals.recv() => self.take_in(arrival),
            () = due => {}
        }
    }

    fn take_in(&mut self, Arrival { record, room }: Arrival) {
        let size = payload::size(&record);
        let too_large = size > self.budget && payload::is_too_large(&self.shared.settings, &record);
        let lane = self.lanes.iter_mut().find(|lane| lane.partition() == record.partition);
        if let Some(lane) = lane {
            lane.push(Waiting { record, since: Instant::now(), size, too_large, _room: room });
        }
    }

    /// What to deliver now, if another invocation may begin. A payload that is kept goes before others; a suspect lane is delivered alone; all others share one.
    async fn next(&mut self) -> Next {
        if self.under_way.len() >= self.shared.settings.invocations_per_poller {
            return Next::Wait(None);
        }
        let (now, oldest_ms) = (Instant::now(), self.shared.oldest_ms());
        self.release_kept(oldest_ms);
        for lane in 0..self.lanes.len() {
            while self.lanes[lane].is_idle(now)
                && let Some((record, why)) = self.lanes[lane].undeliverable(oldest_ms)
            {
                let written = self.shared.write_off(record, why).await;
                self.give_up(lane, why, written);
            }
        }
        let rested = |taken: &Taken| self.lanes[taken.lane].rests_until().is_none_or(|then| then <= now);
        if let Some(at) = self.kept.iter().position(|taken| taken.iter().all(rested)) {
            return Next::Deliver(self.kept.swap_remove(at));
        }
        let count = self.lanes.len();
        let order: Vec<usize> = (0..count).map(|n| (self.first + n) % count).collect();
        let due = |lane: &usize| self.lanes[*lane].due(now) > 0;
        if let Some(&lane) = order.iter().find(|lane| due(lane) && self.lanes[**lane].is_suspect()) {
            self.first = lane + 1;
            let records = self.lanes[lane].due(now);
            return Next::Deliver(self.within_bounds(&[(lane, records)], oldest_ms));
        }
        let mut ready: Vec<(usize, usize)> =
            order.iter().filter(|lane| due(lane)).map(|lane| (*lane, self.lanes[*lane].due(now))).collect();
        let waiting: usize = ready.iter().map(|(_, records)| records).sum();
        let bytes: usize = ready.iter().map(|(lane, _)| self.lanes[*lane].bytes()).sum();
        let oldest = ready.iter().filter_map(|(lane, _)| self.lanes[*lane].oldest()).min();
        let window_ends = oldest.map(|oldest| oldest + self.shared.settings.window);
        let full = waiting >= self.shared.settings.batch_size || bytes > self.budget;
        if full || window_ends.is_some_and(|end| end <= now) {
            self.first += 1;
            if let Some(shuffler) = &mut self.shuffler {
                ready.shuffle(shuffler);
                ready.truncate(shuffler.random_range(1..=ready.len()));
            }
            return Next::Deliver(self.within_bounds(&ready, oldest_ms));
        }
        let kept = self.kept.iter().flatten().filter_map(|taken| self.lanes[taken.lane].rests_until());
        let backing_off = self.lanes.iter().filter_map(Lane::due_at).chain(kept).filter(|then| *then > now).min();
        Next::Wait(window_ends.into_iter().chain(backing_off).min())
    }

    /// Lets go of payloads that hold what must no longer be delivered: what is left of them is collected anew.
    fn release_kept(&mut self, oldest_ms: i64) {
        let lanes = &mut self.lanes;
        self.kept.retain(|taken| {
            let waiting = |taken: &Taken| lanes[taken.lane].waiting().take(taken.records);
            let whole = taken.iter().flat_map(waiting).all(|waiting| waiting.undeliverable(oldest_ms).is_none());
            if !whole {
                taken.iter().for_each(|taken| lanes[taken.lane].set_busy(false));
            }
            whole
        });
    }

    /// Cuts what is ready to the batch size and to the bytes of a payload, and before a record that must not be delivered; one record always fits.
    fn within_bounds(&self, ready: &[(usize, usize)], oldest_ms: i64) -> Vec<Taken> {
        let (mut records_left, mut bytes_left) = (self.shared.settings.batch_size, self.budget);
        let mut taken: Vec<Taken> = Vec::new();
        for &(lane, due) in ready {
            let fitting = self.lanes[lane].waiting().take(due.min(records_left)).take_while(|waiting| {
                if waiting.undeliverable(oldest_ms).is_some() {
                    return false;
                }
                let fits = waiting.size <= bytes_left || bytes_left == self.budget;
                bytes_left = if fits { bytes_left.saturating_sub(waiting.size) } else { 0 };
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

    fn start(&mut self, taken: Vec<Taken>) {
        let records = taken.iter().flat_map(|taken| self.lanes[taken.lane].records().take(taken.records));
        let event = payload::event(&self.shared.settings, records);
        taken.iter().for_each(|taken| self.lanes[taken.lane].set_busy(true));
        let shared = Arc::clone(&self.shared);
        self.under_way.spawn(async move {
            let answer = invocation::deliver(&shared, event).await;
            Answered { taken, answer }
        });
    }

    /// Takes an answer into the lanes. One that comes when others have taken the partitions over does not count.
    async fn take_back(&mut self, answered: Result<Answered, tokio::task::JoinError>) {
        let Ok(Answered { taken, answer }) = answered else { return };
        if self.control.borrow().epoch != self.epoch {
            return;
        }
        taken.iter().for_each(|taken| self.lanes[taken.lane].set_busy(false));
        let lanes: Vec<usize> = taken.iter().map(|taken| taken.lane).collect();
        if let Err(reason) = answer.and_then(|failed| self.settle(&taken, failed)) {
            tracing::warn!(topic = self.shared.settings.topic, reason, "a payload failed as a whole");
            self.fail_whole(taken);
        }
        for lane in lanes {
            while let Some((record, why)) = self.lanes[lane].exhausted(self.shared.settings.retries()) {
                let written = self.shared.write_off(record, why).await;
                if !self.give_up(lane, why, written) {
                    break;
                }
            }
        }
    }

    fn fail_whole(&mut self, taken: Vec<Taken>) {
        let (now, settings) = (Instant::now(), &self.shared.settings);
        let alone = taken.iter().map(|taken| taken.records).sum::<usize>() == 1;
        for taken in &taken {
            self.lanes[taken.lane].fail_whole(taken.records, alone, settings.bisect, now);
        }
        let exhausted = taken.iter().any(|taken| self.lanes[taken.lane].exhausted(settings.retries()).is_some());
        if !settings.bisect && !exhausted {
            taken.iter().for_each(|taken| self.lanes[taken.lane].set_busy(true));
            self.kept.push(taken);
        }
    }

    /// Takes the answer into the lanes: all done, or from the lowest failed offset of a partition again.
    ///
    /// # Errors
    /// An identifier of nothing in this payload fails all of it, and nothing is acknowledged.
    fn settle(&mut self, taken: &[Taken], mut failed: Failed) -> Result<(), Reason> {
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
            self.commit(partition, next);
        }
        Ok(())
    }

    /// Gives up the head of a lane, if the destination took it. Otherwise it stays, and the lane backs off.
    fn give_up(&mut self, lane: usize, why: Condition, written: Result<(), ProduceError>) -> bool {
        let (topic, lane) = (&self.shared.settings.topic, &mut self.lanes[lane]);
        let partition = lane.partition();
        if let Err(error) = written {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(topic, partition, error, "on-failure topic not written, the record stays");
            lane.back_off(Instant::now());
            return false;
        }
        let next = lane.give_up_head();
        tracing::error!(topic, partition, next, ?why, "a record was given up");
        self.commit(partition, next);
        true
    }

    /// Commits an offset, unless others have taken the partitions over.
    fn commit(&self, partition: i32, next: Option<i64>) {
        let (Some(next), Ok(index)) = (next, usize::try_from(partition)) else { return };
        self.shared.progress.send_modify(|progress| {
            if progress.epoch == self.epoch {
                progress.next[index] = next;
            }
        });
    }
}
