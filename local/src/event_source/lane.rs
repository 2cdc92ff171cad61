//! What waits of one partition, in order, and what a failure means for it: which record is to blame, when it may come again, and how many at once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use krafka::consumer::ConsumerRecord;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// Pause after the first failure; each further one in a row doubles it.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause: a store that is back should not wait for us.
pub(super) const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// One partition's records that have not been acknowledged.
#[derive(Debug)]
pub(super) struct Lane {
    partition: i32,
    queue: VecDeque<Waiting>,
    /// Failed deliveries of single records, by offset.
    failures: BTreeMap<i64, u32>,
    /// Failures in a row without progress.
    streak: u32,
    not_before: Option<Instant>,
    /// Set while the lane is suspect: it is delivered alone and at most this many records at once.
    limit: Option<usize>,
    /// Set while its first records are in an invocation, or kept together for the next one.
    busy: bool,
    /// Bytes that wait, as they count in a payload.
    bytes: usize,
}

/// A record that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) record: ConsumerRecord,
    pub(super) since: Instant,
    /// Bytes it takes in a payload.
    pub(super) size: usize,
    /// Whether no payload can hold it.
    pub(super) too_large: bool,
    /// The room it takes among the records that were read.
    pub(super) _room: OwnedSemaphorePermit,
}

/// Why a record is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// It failed more often than it may be retried: so many deliveries.
    Exhausted(u32),
    /// It is older than records may be.
    TooOld,
    /// No payload can hold it.
    TooLarge,
}

impl Lane {
    pub(super) fn new(partition: i32) -> Self {
        Self {
            partition,
            queue: VecDeque::new(),
            failures: BTreeMap::new(),
            streak: 0,
            not_before: None,
            limit: None,
            busy: false,
            bytes: 0,
        }
    }

    pub(super) fn partition(&self) -> i32 {
        self.partition
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.size;
        self.queue.push_back(waiting);
    }

    /// Marks the lane as in an invocation, or no longer.
    pub(super) fn set_busy(&mut self, busy: bool) {
        self.busy = busy;
    }

    /// Whether the lane is neither in an invocation nor backing off.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        !self.busy && self.rests_until().is_none_or(|then| then <= now)
    }

    /// When the lane stops backing off.
    pub(super) fn rests_until(&self) -> Option<Instant> {
        self.not_before
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Records that may be delivered now: none while the lane is in an invocation or backs off.
    pub(super) fn due(&self, now: Instant) -> usize {
        if !self.is_idle(now) { 0 } else { self.queue.len().min(self.limit.unwrap_or(usize::MAX)) }
    }

    /// Whether the lane has failed as a whole and is delivered alone until it has proved itself.
    pub(super) fn is_suspect(&self) -> bool {
        self.limit.is_some()
    }

    /// When the lane stops backing off, if it does and has anything to deliver.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.not_before.filter(|_| !self.busy && !self.queue.is_empty())
    }

    /// Since when the oldest record waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.queue.front().map(|waiting| waiting.since)
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.queue.iter()
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &ConsumerRecord> {
        self.waiting().map(|waiting| &waiting.record)
    }

    /// The first `count` records are done. The next offset to read, if any was.
    pub(super) fn acknowledge(&mut self, count: usize, batch_size: usize) -> Option<i64> {
        let next = self.remove(count)?;
        self.streak = 0;
        self.not_before = None;
        // A lane that works again doubles what it takes until it is like the others.
        self.limit = self.limit.map(|limit| limit * 2).filter(|limit| *limit < batch_size);
        Some(next)
    }

    /// The handler named failed offsets of this lane: what precedes the lowest is done, it and everything after comes again.
    /// The next offset to read, if there was progress.
    pub(super) fn fail(&mut self, offsets: &[i64], now: Instant) -> Option<i64> {
        let lowest = offsets.iter().copied().min()?;
        let done = self.records().take_while(|record| record.offset < lowest).count();
        let next = self.remove(done);
        for offset in offsets {
            *self.failures.entry(*offset).or_default() += 1;
        }
        if next.is_some() {
            self.streak = 0;
        }
        self.back_off(now);
        next
    }

    /// The payload failed as a whole. Of several records a half comes again, alone (`bisect`), which is no attempt of theirs; a record that was alone,
    /// or all of a payload that is not cut, have failed once more.
    pub(super) fn fail_whole(&mut self, taken: usize, alone: bool, bisect: bool, now: Instant) {
        if bisect && !alone {
            self.limit = Some((taken / 2).max(1));
        } else {
            for waiting in self.queue.iter().take(taken) {
                *self.failures.entry(waiting.record.offset).or_default() += 1;
            }
        }
        self.back_off(now);
    }

    /// The head, if it failed more often than it may be retried, with the number of its deliveries.
    pub(super) fn exhausted(&self, retries: Option<u32>) -> Option<(&ConsumerRecord, Condition)> {
        let head = &self.queue.front()?.record;
        let failures = *self.failures.get(&head.offset)?;
        (failures > retries?).then_some((head, Condition::Exhausted(failures)))
    }

    /// The head, if it must not be delivered at all; records with a timestamp before `oldest_ms` are too old.
    pub(super) fn undeliverable(&self, oldest_ms: i64) -> Option<(&ConsumerRecord, Condition)> {
        let head = self.queue.front()?;
        let condition = head.undeliverable(oldest_ms)?;
        Some((&head.record, condition))
    }

    /// Gives the head up. The next offset to read.
    pub(super) fn give_up_head(&mut self) -> Option<i64> {
        self.streak = 0;
        self.not_before = None;
        self.remove(1)
    }

    /// Waits before the next delivery, longer with each failure in a row.
    pub(super) fn back_off(&mut self, now: Instant) {
        let pause = RETRY_PAUSE.saturating_mul(1 << self.streak.min(16)).min(RETRY_PAUSE_MAX);
        self.streak = self.streak.saturating_add(1);
        self.not_before = Some(now + pause);
    }

    fn remove(&mut self, count: usize) -> Option<i64> {
        let bytes = &mut self.bytes;
        let next = self.queue.drain(..count).inspect(|waiting| *bytes -= waiting.size).last()?.record.offset + 1;
        self.failures = self.failures.split_off(&next);
        Some(next)
    }
}

impl Waiting {
    /// Why the record must not be delivered, if so.
    pub(super) fn undeliverable(&self, oldest_ms: i64) -> Option<Condition> {
        if self.too_large {
            Some(Condition::TooLarge)
        } else {
            (self.record.timestamp < oldest_ms).then_some(Condition::TooOld)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    async fn lane_of(records: i64) -> Lane {
        let (mut lane, room) = (Lane::new(0), Arc::new(Semaphore::new(100)));
        for offset in 0..records {
            let record = ConsumerRecord::new("requests", 0, offset, None, None);
            let room = Arc::clone(&room).acquire_owned().await.unwrap();
            lane.push(Waiting { record, since: Instant::now(), size: 1, too_large: false, _room: room });
        }
        lane
    }

    #[tokio::test]
    async fn the_pause_doubles_with_each_failure_in_a_row_up_to_its_bound_and_starts_over_after_progress() {
        let (mut lane, now) = (lane_of(3).await, Instant::now());
        for doublings in 0..12 {
            lane.fail(&[0], now);
            let pause = lane.due_at().unwrap() - now;
            assert_eq!(pause, (RETRY_PAUSE * (1 << doublings)).min(RETRY_PAUSE_MAX));
            assert_eq!((lane.due(now), lane.due(now + pause)), (0, 3));
        }
        assert_eq!(lane.fail(&[1], now), Some(1));
        assert_eq!(lane.due_at(), Some(now + RETRY_PAUSE));
    }

    #[tokio::test]
    async fn a_lane_that_failed_as_a_whole_is_halved_to_one_and_grows_back_as_it_works() {
        let (mut lane, now) = (lane_of(20).await, Instant::now());
        for halved in [5, 2, 1, 1] {
            let taken = lane.due(now + RETRY_PAUSE_MAX).min(10);
            lane.fail_whole(taken, false, true, now);
            assert_eq!(lane.due(now + RETRY_PAUSE_MAX), halved);
        }
        assert!(lane.exhausted(Some(0)).is_none(), "a payload of several blames nobody");
        for (grown, suspect) in [(2, true), (4, true), (8, true), (5, false)] {
            let due = lane.due(now + RETRY_PAUSE_MAX);
            assert!(lane.acknowledge(due, 10).is_some());
            assert_eq!((lane.due(now), lane.is_suspect()), (grown, suspect));
        }
    }

    #[tokio::test]
    async fn only_the_head_is_given_up_and_only_after_its_retries() {
        let (mut lane, now) = (lane_of(2).await, Instant::now());
        lane.fail(&[0, 1], now);
        assert!(lane.exhausted(Some(1)).is_none());
        lane.fail(&[0, 1], now);
        assert_eq!(lane.exhausted(Some(1)).map(|(head, why)| (head.offset, why)), Some((0, Condition::Exhausted(2))));
        assert_eq!(lane.give_up_head(), Some(1));
        assert_eq!(lane.exhausted(Some(1)).map(|(head, _)| head.offset), Some(1), "its own failures count on");
    }
}
