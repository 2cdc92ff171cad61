//! The redrive: what ended in one of the two failure topics is listed, shown, and produced once more to the topic of
//! requests, after whatever made it fail was mended. Nothing is ever taken out of a failure topic; its retention does that.
//!
//! Replaying is safe to repeat, since one message has one effect however often it comes. So a run that dies, or whose produce
//! is in doubt, is simply run again: the cursor it leaves behind only spares work, and moves behind what was acknowledged.
//!
//! - [`order`]: what may be asked. [`entry`]: what an entry keeps. [`replay`]: producing it again. [`report`]: the answer.

pub mod entry;
pub mod order;
mod replay;
pub mod report;

use std::sync::Arc;

use shared::causes::chain;
use shared::config::{KafkaConfig, Topics};
use shared::dynamodb::job_states::JobStates;
use shared::dynamodb::{StoreError, Table};
use shared::kafka::bootstrap::{self, DiscoverError};
use shared::kafka::krafka_reader::{KrafkaReader, PAGE_RECORDS, ReadError};
use shared::kafka::{Extent, KrafkaLog, RequestLog};
use tokio::time::Instant;

use entry::{Entry, Lost, Place, Record};
use order::{EntryId, NoOrder, Order, Topic, Which};
use report::{Line, Listed, Redriven, Row, Shown, ShownRecord, Stopped};

/// The job's name in the table.
const JOB: &str = "redrive";

/// Why a redrive was not done. What it has replayed stays replayed.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// It asks for what cannot be.
    #[error(transparent)]
    Order(#[from] NoOrder),
    /// The entry to show is no longer there, or never was.
    #[error("nothing stands at {0}")]
    Gone(EntryId),
    /// The brokers' addresses are not known.
    #[error("the brokers are not known")]
    Discover(#[from] DiscoverError),
    /// A topic could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The table gave no usable answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A redrive with its connections, which are made by the first thing it does.
pub struct Redrive {
    topics: Topics,
    log: Arc<dyn RequestLog>,
    /// The log again, where it is to be closed.
    own_log: Option<Arc<KrafkaLog>>,
    reader: KrafkaReader,
    states: JobStates,
    /// What the topic of requests retained when it was first needed.
    requests: Option<Vec<Extent>>,
}

/// Entries of a partition of a failure topic that a run has before it.
struct Stretch {
    topic: Topic,
    name: String,
    partition: i32,
    next: i64,
    end: i64,
    /// Up to where earlier runs have come.
    cursor: Option<i64>,
}

impl Stretch {
    fn scope(&self) -> String {
        format!("{}-{}", self.name, self.partition)
    }

    fn left(&self) -> i64 {
        (self.end - self.next).max(0)
    }

    fn entry(&self, offset: i64) -> EntryId {
        EntryId { topic: self.name.clone(), partition: self.partition, offset }
    }

    /// Whether a run that replays all has passed this offset. A cursor behind the end is one of a topic that was made anew.
    fn has_passed(&self, offset: i64) -> bool {
        self.cursor.is_some_and(|cursor| cursor <= self.end && offset < cursor)
    }
}

impl Redrive {
    /// A redrive on the brokers and the table a function is configured for.
    ///
    /// # Errors
    /// When the brokers' addresses cannot be had.
    pub async fn open(config: &KafkaConfig, table: Table) -> Result<Self, DiscoverError> {
        let settings = bootstrap::settings(config).await?;
        let log = Arc::new(KrafkaLog::new(settings.clone()));
        let own_log = Some(Arc::clone(&log));
        let redrive = Self::new(config.topics.clone(), table, log, KrafkaReader::new(settings));
        Ok(Self { own_log, ..redrive })
    }

    /// Puts a redrive together; the caller closes the log.
    pub fn new(topics: Topics, table: Table, log: Arc<dyn RequestLog>, reader: KrafkaReader) -> Self {
        Self { topics, log, own_log: None, reader, states: JobStates::new(table, JOB), requests: None }
    }

    /// Lets the connections go.
    pub async fn close(mut self) {
        self.reader.close().await;
        if let Some(log) = self.own_log {
            log.close().await;
        }
    }

    /// Carries out an order, as far as it gets until `deadline`.
    ///
    /// # Errors
    /// When nothing could be done, or what was asked for is not there.
    pub async fn run(&mut self, order: Order, deadline: Instant) -> Result<Redriven, RedriveError> {
        Ok(match order {
            Order::List { topic, after, limit } => {
                Redriven::List(self.list(topic, after.as_ref(), limit, deadline).await?)
            }
            Order::Show(id) => Redriven::Show(Box::new(self.show(id, deadline).await?)),
            Order::Replay { which: Which::Named(ids), dry_run } => {
                Redriven::Replay(self.replay_named(ids, dry_run, deadline).await?)
            }
            Order::Replay { which: Which::All { topic, from_start, limit }, dry_run } => {
                Redriven::Replay(self.replay_all(topic, from_start, limit, dry_run, deadline).await?)
            }
        })
    }

    async fn list(
        &mut self,
        topic: Option<Topic>,
        after: Option<&EntryId>,
        limit: usize,
        deadline: Instant,
    ) -> Result<Listed, RedriveError> {
        let mut stretches = self.stretches(topic, deadline).await?;
        if let Some(after) = after {
            let behind = (self.topic_of(after)?, after.partition);
            for stretch in &mut stretches {
                stretch.next = match (stretch.topic, stretch.partition).cmp(&behind) {
                    std::cmp::Ordering::Less => stretch.end,
                    std::cmp::Ordering::Equal => stretch.next.max(after.offset.saturating_add(1)),
                    std::cmp::Ordering::Greater => stretch.next,
                };
            }
        }
        let mut listed = Listed::default();
        'all: for stretch in &mut stretches {
            while stretch.next < stretch.end {
                let room = limit - listed.entries.len();
                if room == 0 {
                    listed.stopped = Some(Stopped::Limit);
                    break 'all;
                }
                match self.page(stretch, room, deadline).await {
                    Ok(entries) => {
                        let row = |entry: &Entry| Row::of(entry, stretch.has_passed(entry.id.offset));
                        listed.entries.extend(entries.iter().map(row));
                    }
                    Err(stopped) => {
                        listed.stopped = Some(stopped);
                        break 'all;
                    }
                }
            }
        }
        listed.left = stretches.iter().map(Stretch::left).sum();
        Ok(listed)
    }

    async fn show(&mut self, id: EntryId, deadline: Instant) -> Result<Shown, RedriveError> {
        let topic = self.topic_of(&id)?;
        let retained = self.reader.extents(&id.topic, deadline).await?;
        let Some(entry) = self.entry(topic, &id, &retained, deadline).await? else {
            return Err(RedriveError::Gone(id));
        };
        let stretches = self.stretches(Some(topic), deadline).await?;
        let of_it = stretches.iter().find(|stretch| stretch.partition == id.partition);
        let row = Row::of(&entry, of_it.is_some_and(|stretch| stretch.has_passed(id.offset)));
        let (found, _) = self.records(&entry, deadline).await?;
        let shown = found.iter().map(|record| {
            let line = match entry.lost {
                None => Line::of(&entry, record),
                Some(lost) => Line::lost(row.entry.clone(), record.source.clone(), row.reservation_id.clone(), lost),
            };
            ShownRecord::of(line, record)
        });
        let records = shown.collect();
        Ok(Shown { row, records })
    }

    /// What each partition of the failure topics retains right now, in order, and how far earlier runs have come.
    async fn stretches(&mut self, topic: Option<Topic>, deadline: Instant) -> Result<Vec<Stretch>, RedriveError> {
        let mut stretches = Vec::new();
        for (topic, name) in [(Topic::Dlq, self.topics.dlq.clone()), (Topic::Failed, self.topics.failed.clone())]
            .into_iter()
            .filter(|(known, _)| topic.is_none_or(|topic| topic == *known))
        {
            for Extent { partition, start, end } in self.reader.extents(&name, deadline).await? {
                let name = name.clone();
                let mut stretch = Stretch { topic, name, partition, next: start, end, cursor: None };
                if stretch.left() > 0 {
                    stretch.cursor = self.states.cursor(&stretch.scope()).await?;
                }
                stretches.push(stretch);
            }
        }
        Ok(stretches)
    }

    /// The next page of a stretch, with `most` entries.
    async fn page(&mut self, stretch: &mut Stretch, most: usize, deadline: Instant) -> Result<Vec<Entry>, Stopped> {
        if Instant::now() >= deadline {
            return Err(Stopped::Deadline);
        }
        let offsets = (stretch.next, stretch.end);
        let page = self.reader.page(&stretch.name, stretch.partition, offsets, most.min(PAGE_RECORDS), deadline).await;
        match page {
            Ok(page) => {
                let read = |stored: shared::kafka::Stored| {
                    Entry::read(stretch.topic, stretch.entry(stored.offset), stored, &self.topics.requests)
                };
                let entries = page.messages.into_iter().map(read).collect();
                stretch.next = page.next;
                Ok(entries)
            }
            Err(_) if Instant::now() >= deadline => Err(Stopped::Deadline),
            Err(error) => {
                tracing::warn!(error = chain(&error), "a failure topic could not be read on");
                Err(Stopped::NotRead)
            }
        }
    }

    /// One entry of a topic that retains these offsets; `None` = it is not there.
    async fn entry(
        &mut self,
        topic: Topic,
        id: &EntryId,
        retained: &[Extent],
        deadline: Instant,
    ) -> Result<Option<Entry>, RedriveError> {
        let offsets =
            |extent: &Extent| extent.partition == id.partition && (extent.start..extent.end).contains(&id.offset);
        if !retained.iter().any(offsets) {
            return Ok(None);
        }
        let page = self.reader.page(&id.topic, id.partition, (id.offset, id.offset + 1), 1, deadline).await?;
        let found = page.messages.into_iter().next();
        Ok(found.map(|stored| Entry::read(topic, id.clone(), stored, &self.topics.requests)))
    }

    /// The records of an entry, and the places of those that are gone. What it only names is read where it stands.
    async fn records(&mut self, entry: &Entry, deadline: Instant) -> Result<(Vec<Record>, Vec<String>), RedriveError> {
        let (mut records, mut gone) = (entry.records.clone(), Vec::new());
        let topic = self.topics.requests.clone();
        for Place { partition, first, last } in entry.places.iter().copied() {
            if self.requests.is_none() {
                self.requests = Some(self.reader.extents(&topic, deadline).await?);
            }
            // What is gone, or not there yet, would be waited for.
            let extent = self.requests.iter().flatten().find(|extent| extent.partition == partition);
            let (mut next, until) =
                extent.map_or((first, first), |extent| (first.max(extent.start), extent.end.min(last + 1)));
            let mut found = Vec::new();
            while next < until {
                let page = self.reader.page(&topic, partition, (next, until), PAGE_RECORDS, deadline).await?;
                next = page.next;
                found.extend(page.messages);
            }
            let place = |offset: i64| format!("{topic}-{partition}@{offset}");
            let missing = (first..=last).filter(|offset| found.iter().all(|stored| stored.offset != *offset));
            gone.extend(missing.map(place));
            records.extend(found.into_iter().map(|stored| Record::found(place(stored.offset), stored)));
        }
        Ok((records, gone))
    }

    /// Which of the failure topics an entry is of.
    fn topic_of(&self, id: &EntryId) -> Result<Topic, NoOrder> {
        match &id.topic {
            topic if *topic == self.topics.dlq => Ok(Topic::Dlq),
            topic if *topic == self.topics.failed => Ok(Topic::Failed),
            topic => Err(NoOrder::new(format!("{topic} is none of the two failure topics"))),
        }
    }
}

/// The lines of records that an entry names and nobody has any more.
fn lines_of_gone(entry: &Entry, gone: Vec<String>) -> impl Iterator<Item = Line> {
    let id = entry.id.to_string();
    gone.into_iter().map(move |source| Line::lost(id.clone(), source, None, Lost::Gone))
}
