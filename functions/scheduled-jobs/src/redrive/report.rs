//! What a redrive answers: the job's JSON, of which `local redrive` makes its tables.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;

use super::entry::{Entry, Lost, Record};

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Redriven {
    /// Entries were listed.
    List(Listed),
    /// An entry was shown.
    Show(Box<Shown>),
    /// Entries were replayed, or it was said what would be done.
    Replay(Replayed),
}

/// Entries of the failure topics.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Listed {
    /// In the order of topic, partition and offset.
    pub entries: Vec<Row>,
    /// Entries behind the last of these.
    pub left: i64,
    /// Why it ends before the last entry.
    pub stopped: Option<Stopped>,
}

/// An entry in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// `<topic>-<partition>@<offset>`.
    pub entry: String,
    /// The stable name of why it is here.
    pub reason: String,
    /// The same in words.
    pub detail: String,
    /// Where what it keeps came from: `<topic>-<n>@<offset>`.
    pub source: String,
    /// How often that has been given up.
    pub attempt: u32,
    /// When that was first seen, in RFC 3339.
    pub first_seen_at: Option<String>,
    /// The reservation it is about, where that can be read.
    pub reservation_id: Option<String>,
    /// Bytes of what it keeps.
    pub bytes: usize,
    /// Why it cannot be replayed.
    pub lost: Option<&'static str>,
    /// Whether a run that replays all has passed it.
    pub passed: bool,
}

/// All of one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// As in a list.
    #[serde(flatten)]
    pub row: Row,
    /// Its records.
    pub records: Vec<ShownRecord>,
}

/// All of one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownRecord {
    /// What replaying it would come to.
    #[serde(flatten)]
    pub line: Line,
    /// Its headers, in order.
    pub headers: Vec<(String, Content)>,
    /// Its key.
    pub key: Option<Content>,
    /// Its value.
    pub value: Option<Content>,
}

/// Bytes as a person reads them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// They are UTF-8.
    Text(String),
    /// They are not.
    Base64(String),
}

impl Content {
    /// Of these bytes.
    pub fn of(bytes: &Bytes) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(STANDARD.encode(bytes)),
        }
    }
}

/// What became of entries, record by record.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Replayed {
    /// Whether nothing was produced.
    pub dry_run: bool,
    /// Records that were produced again.
    pub replayed: usize,
    /// Records that the persisting function can read now, whether they were produced again or would be.
    pub readable: usize,
    /// Entries and records that cannot be replayed.
    pub lost: usize,
    /// Records that the topic did not take; the next run tries them again.
    pub failed: usize,
    /// Every record that was looked at, and every entry without one.
    pub lines: Vec<Line>,
    /// Entries that were not looked at.
    pub left: i64,
    /// Why it ends before the last entry.
    pub stopped: Option<Stopped>,
}

/// What becomes of one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The entry that keeps it.
    pub entry: String,
    /// Where it came from.
    pub source: String,
    /// The reservation it is about, where that can be read.
    pub reservation_id: Option<String>,
    /// `readable`, or the stable name of what is still wrong with it.
    pub decodes: &'static str,
    /// What is wrong, in words.
    pub detail: Option<String>,
    /// What was done.
    #[serde(flatten)]
    pub done: Done,
}

/// What was done with a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "done", rename_all = "snake_case")]
pub enum Done {
    /// Nothing: it was only looked at, and can be replayed.
    Nothing,
    /// Nothing, and nothing can be.
    Lost,
    /// It was produced again.
    Replayed {
        /// Where it stands now.
        now_at: String,
    },
    /// The topic did not take it, or did not say so.
    Failed {
        /// The stable word for why.
        why: &'static str,
    },
}

/// Why a run ends early. The next one goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// As many entries as were asked for.
    Limit,
    /// The invocation has no time left.
    Deadline,
    /// A record was not taken: nothing is skipped.
    NotProduced,
    /// A topic could not be read on.
    NotRead,
    /// How far the run came could not be written.
    NotRemembered,
}

/// What replaying a record can be called when it can be read.
pub const READABLE: &str = "readable";

impl Row {
    /// Of an entry.
    pub fn of(entry: &Entry, passed: bool) -> Self {
        Self {
            entry: entry.id.to_string(),
            reason: entry.reason.clone(),
            detail: entry.detail.clone(),
            source: entry.source.clone(),
            attempt: entry.history.attempt,
            first_seen_at: entry.history.first_seen_at(),
            reservation_id: entry.reservation_id().map(|id| id.to_string()),
            bytes: entry.bytes,
            lost: entry.lost.map(Lost::reason),
            passed,
        }
    }
}

impl Line {
    /// Of a record that can be replayed and has not been.
    pub fn of(entry: &Entry, record: &Record) -> Self {
        let wrong = record.decoded().err();
        Self {
            entry: entry.id.to_string(),
            source: record.source.clone(),
            reservation_id: record.reservation_id().map(|id| id.to_string()),
            decodes: wrong.as_ref().map_or(READABLE, |(reason, _)| reason),
            detail: wrong.map(|(_, words)| words),
            done: Done::Nothing,
        }
    }

    /// Of what cannot be replayed.
    pub fn lost(entry: String, source: String, reservation_id: Option<String>, lost: Lost) -> Self {
        Self { entry, source, reservation_id, decodes: lost.reason(), detail: Some(lost.to_string()), done: Done::Lost }
    }
}

impl ShownRecord {
    /// Of a record.
    pub fn of(line: Line, record: &Record) -> Self {
        Self {
            line,
            headers: record.headers.iter().map(|(name, value)| (name.clone(), Content::of(value))).collect(),
            key: record.key.as_ref().map(Content::of),
            value: record.value.as_ref().map(Content::of),
        }
    }
}

impl Replayed {
    /// Counts a line in.
    pub fn add(&mut self, line: Line) {
        match line.done {
            Done::Nothing => {}
            Done::Lost => self.lost += 1,
            Done::Replayed { .. } => self.replayed += 1,
            Done::Failed { .. } => self.failed += 1,
        }
        if line.decodes == READABLE {
            self.readable += 1;
        }
        self.lines.push(line);
    }
}

impl Redriven {
    /// One line for the log: counts alone, since what was given up may be anything.
    pub fn summary(&self) -> String {
        match self {
            Self::List(listed) => format!("listed {}, {} left", listed.entries.len(), listed.left),
            Self::Show(shown) => format!("showed {}", shown.row.entry),
            Self::Replay(done) => format!(
                "dry run: {}, replayed {}, readable {}, lost {}, failed {}, {} left",
                done.dry_run, done.replayed, done.readable, done.lost, done.failed, done.left
            ),
        }
    }
}
