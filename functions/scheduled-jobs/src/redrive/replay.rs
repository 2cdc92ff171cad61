//! Producing again what entries keep. A record goes to the topic of requests with its own bytes, key and headers, and with
//! what is remembered of it: should it be given up again, its next dead letter counts on.

use std::collections::{BTreeSet, HashMap};

use futures_util::{StreamExt, stream};
use shared::causes::chain;
use shared::kafka::Message;
use tokio::time::{Instant, timeout_at};

use super::entry::{Entry, Lost, Record};
use super::order::{EntryId, Topic};
use super::report::{Done, Line, Replayed, Stopped};
use super::{Redrive, RedriveError, Stretch, lines_of_gone};

/// Entries replayed at the same time: enough to hide the brokers' latency.
const AT_ONCE: usize = 16;

/// A line, and the message that is still to be produced for it.
struct Ready {
    line: Line,
    message: Option<Message>,
}

/// How far replaying some entries came.
struct Came {
    /// How many of them, from the first, need not be looked at again.
    settled: usize,
    /// Why the others were not settled.
    stopped: Option<Stopped>,
}

impl Redrive {
    pub(super) async fn replay_named(
        &mut self,
        ids: Vec<EntryId>,
        dry_run: bool,
        deadline: Instant,
    ) -> Result<Replayed, RedriveError> {
        let mut done = Replayed { dry_run, ..Replayed::default() };
        let topics: Vec<Topic> = ids.iter().map(|id| self.topic_of(id)).collect::<Result<_, _>>()?;
        let mut retained = HashMap::new();
        for name in ids.iter().map(|id| id.topic.as_str()).collect::<BTreeSet<_>>() {
            retained.insert(name, self.reader.extents(name, deadline).await?);
        }
        let mut left = ids.len();
        for (topic, id) in topics.into_iter().zip(&ids) {
            if Instant::now() >= deadline {
                done.stopped = Some(Stopped::Deadline);
                break;
            }
            let retained = retained.get(id.topic.as_str()).map(Vec::as_slice).unwrap_or_default();
            match self.entry(topic, id, retained, deadline).await? {
                Some(entry) => {
                    let came = self.replay(vec![entry], &mut done, deadline).await;
                    done.stopped = came.stopped;
                    if done.stopped.is_some() {
                        break;
                    }
                }
                None => done.add(Line::lost(id.to_string(), String::new(), None, Lost::Gone)),
            }
            left -= 1;
        }
        done.left = i64::try_from(left).unwrap_or(i64::MAX);
        Ok(done)
    }

    pub(super) async fn replay_all(
        &mut self,
        topic: Option<Topic>,
        from_start: bool,
        limit: usize,
        dry_run: bool,
        deadline: Instant,
    ) -> Result<Replayed, RedriveError> {
        let mut done = Replayed { dry_run, ..Replayed::default() };
        // The ends as of now: what is given up once more because of this run is not part of it, or it would never end.
        let mut stretches = self.stretches(topic, deadline).await?;
        if !from_start {
            for stretch in &mut stretches {
                let passed = stretch.cursor.filter(|cursor| *cursor <= stretch.end);
                stretch.next = stretch.next.max(passed.unwrap_or(stretch.next));
            }
        }
        let mut room = limit;
        for stretch in &mut stretches {
            done.stopped = self.replay_stretch(stretch, &mut room, &mut done, deadline).await;
            if done.stopped.is_some() {
                break;
            }
        }
        done.left = stretches.iter().map(Stretch::left).sum();
        Ok(done)
    }

    /// Replays a partition, page by page; `None` = all of it.
    async fn replay_stretch(
        &mut self,
        stretch: &mut Stretch,
        room: &mut usize,
        done: &mut Replayed,
        deadline: Instant,
    ) -> Option<Stopped> {
        while stretch.left() > 0 {
            if *room == 0 {
                return Some(Stopped::Limit);
            }
            let entries = match self.page(stretch, *room, deadline).await {
                Ok(entries) => entries,
                Err(stopped) => return Some(stopped),
            };
            let offsets: Vec<i64> = entries.iter().map(|entry| entry.id.offset).collect();
            let came = self.replay(entries, done, deadline).await;
            *room -= came.settled;
            // Only behind what was acknowledged, and what can never be: the next run begins there.
            if let Some(unsettled) = offsets.get(came.settled) {
                stretch.next = *unsettled;
            }
            if !done.dry_run && !self.remember(stretch).await {
                return Some(Stopped::NotRemembered);
            }
            if came.stopped.is_some() {
                return came.stopped;
            }
        }
        None
    }

    /// Moves the cursor up to where the stretch has come; `false` = that could not be written.
    async fn remember(&self, stretch: &mut Stretch) -> bool {
        let (seen, to) = (stretch.cursor, stretch.next);
        if stretch.has_passed(to - 1) || seen == Some(to) {
            return true;
        }
        match self.states.advance(&stretch.scope(), seen, to).await {
            // Where another run has come further, this one goes on and repeats what that one did: it changes nothing.
            Ok(moved) => {
                if moved {
                    stretch.cursor = Some(to);
                }
                true
            }
            Err(error) => {
                let (scope, error) = (stretch.scope(), chain(&error));
                tracing::warn!(scope, to, error, "how far the redrive came was not written; the next one repeats some");
                false
            }
        }
    }

    /// Replays entries in their order, some at a time, up to the first that was not taken.
    async fn replay(&mut self, entries: Vec<Entry>, done: &mut Replayed, deadline: Instant) -> Came {
        let mut settled = 0;
        for chunk in entries.chunks(AT_ONCE) {
            if Instant::now() >= deadline {
                return Came { settled, stopped: Some(Stopped::Deadline) };
            }
            let mut ready: Vec<Ready> = Vec::new();
            let mut sizes = Vec::new();
            let mut stopped = None;
            for entry in chunk {
                match self.prepare(entry, done.dry_run, deadline).await {
                    Ok(mut of_entry) => {
                        sizes.push(of_entry.len());
                        ready.append(&mut of_entry);
                    }
                    Err(error) => {
                        let error = chain(&error);
                        tracing::warn!(entry = %entry.id, error, "what an entry names could not be read");
                        stopped = Some(Stopped::NotRead);
                        break;
                    }
                }
            }
            let mut lines = self.produce(ready, deadline).await.into_iter();
            for size in sizes {
                let of_entry: Vec<Line> = lines.by_ref().take(size).collect();
                if of_entry.iter().any(|line| matches!(line.done, Done::Failed { .. })) {
                    stopped = Some(Stopped::NotProduced);
                }
                of_entry.into_iter().for_each(|line| done.add(line));
                // Behind one that was not taken nothing is settled, even where it was taken.
                if stopped != Some(Stopped::NotProduced) {
                    settled += 1;
                }
            }
            if stopped.is_some() {
                return Came { settled, stopped };
            }
        }
        Came { settled, stopped: None }
    }

    /// A line for each record of an entry, with the message where there is one to produce.
    async fn prepare(&mut self, entry: &Entry, dry_run: bool, deadline: Instant) -> Result<Vec<Ready>, RedriveError> {
        let (id, only) = (entry.id.to_string(), |line| Ready { line, message: None });
        if let Some(lost) = entry.lost {
            let reservation_id = entry.reservation_id().map(|id| id.to_string());
            return Ok(vec![only(Line::lost(id, entry.source.clone(), reservation_id, lost))]);
        }
        let (records, gone) = self.records(entry, deadline).await?;
        let requests = &self.topics.requests;
        let ready = |record: &Record| match record.message(requests, &entry.id) {
            Ok(message) => Ready { line: Line::of(entry, record), message: Some(message).filter(|_| !dry_run) },
            Err(lost) => {
                let reservation_id = record.reservation_id().map(|id| id.to_string());
                only(Line::lost(id.clone(), record.source.clone(), reservation_id, lost))
            }
        };
        let mut all: Vec<Ready> = records.iter().map(ready).collect();
        all.extend(lines_of_gone(entry, gone).map(only));
        Ok(all)
    }

    /// Produces what is ready; the lines say what came of it.
    async fn produce(&self, ready: Vec<Ready>, deadline: Instant) -> Vec<Line> {
        let requests = &self.topics.requests;
        let produce = |Ready { mut line, message }: Ready| async move {
            let Some(message) = message else { return line };
            line.done = match timeout_at(deadline, self.log.produce(message)).await {
                Ok(Ok(at)) => Done::Replayed { now_at: format!("{requests}-{}@{}", at.partition, at.offset) },
                Ok(Err(error)) => {
                    let why = error.reason();
                    tracing::warn!(entry = line.entry, error = chain(&error), "not replayed");
                    Done::Failed { why }
                }
                Err(_) => Done::Failed { why: "deadline" },
            };
            line
        };
        stream::iter(ready).map(produce).buffered(AT_ONCE).collect().await
    }
}
