//! What an entry of a failure topic keeps: of our dead letters the record with the reason; of the event source's failure
//! topic Lambda's envelope, whose `payload` is a trigger's event of the records given up, or which, where it has none, names
//! their places in `recordsInfo` (AWS Lambda Developer Guide, kafka-on-failure-destination and kafka-on-failure).

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use shared::dead_letter::{
    DETAIL, History, KEPT_AS, KEY_DROPPED, PAYLOAD_RECORD, REASON, REDRIVEN_FROM, SOURCE_OFFSET, SOURCE_PARTITION,
    TRUNCATED_FROM, is_ours, text,
};
use shared::domain::ids::ReservationId;
use shared::kafka::{MAX_MESSAGE_BYTES, Message, Stored};
use shared::message::Request;
use shared::trigger::{self, Undecodable};

use super::order::{EntryId, Topic, topic_and_partition};

/// Records an envelope may name by their places alone: as many as a payload of our event source holds.
const MAX_PLACES: i64 = 100;

/// An entry as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub id: EntryId,
    /// The stable name of why it is here.
    pub reason: String,
    /// The same in words.
    pub detail: String,
    /// Where the record came from, or the records: `<topic>-<n>@<offset>`.
    pub source: String,
    /// How often what it keeps has been given up, and when that was first seen.
    pub history: History,
    /// Bytes of what it keeps.
    pub bytes: usize,
    /// The records it keeps.
    pub records: Vec<Record>,
    /// Where records stand that it only names.
    pub places: Vec<Place>,
    /// Why what it keeps is not enough to replay it.
    pub lost: Option<Lost>,
}

/// A record that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it came from: `<topic>-<n>@<offset>`.
    pub source: String,
    /// How often it has been given up, and when it was first seen.
    pub history: History,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers; of a dead letter, the letter's, too.
    pub headers: Vec<(String, Bytes)>,
}

/// Offsets of a partition of the topic of requests, `first` and `last` included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The partition.
    pub partition: i32,
    /// The first.
    pub first: i64,
    /// The last.
    pub last: i64,
}

/// Why an entry cannot be replayed. Each has a stable name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The value was too large to keep whole.
    #[error("only the beginning of the value's {0} bytes was kept")]
    Truncated(usize),
    /// The key was too large to keep.
    #[error("the key of {0} bytes was not kept")]
    KeyDropped(usize),
    /// Lambda's JSON of the record was kept, and its bytes still cannot be had from it.
    #[error(transparent)]
    Undecodable(Undecodable),
    /// Not Lambda's envelope.
    #[error("the entry is no envelope of the event source")]
    NoEnvelope,
    /// The envelope names records of another topic, or more than a payload holds.
    #[error("the entry names records that are none of ours, or more than {MAX_PLACES} of a partition")]
    NoPlace,
    /// With the headers of a replay it is more than a message may be.
    #[error("the record is too large to be produced again")]
    TooLarge,
    /// It is no longer there, or never was.
    #[error("nothing stands there: the topic's retention has passed it, or it never was")]
    Gone,
}

impl Lost {
    /// The stable name.
    pub fn reason(self) -> &'static str {
        match self {
            Lost::Truncated(_) => "truncated",
            Lost::KeyDropped(_) => "key-dropped",
            Lost::Undecodable(undecodable) => undecodable.reason(),
            Lost::NoEnvelope => "no-envelope",
            Lost::NoPlace => "no-place",
            Lost::TooLarge => "too-large",
            Lost::Gone => "gone",
        }
    }
}

impl Entry {
    /// Reads an entry of one of the failure topics; `requests` is the topic of requests.
    pub fn read(topic: Topic, id: EntryId, stored: Stored, requests: &str) -> Self {
        match topic {
            Topic::Dlq => letter(id, stored),
            Topic::Failed => envelope(id, stored, requests),
        }
    }

    /// The reservation it is about, where that can be read.
    pub fn reservation_id(&self) -> Option<ReservationId> {
        self.records.iter().find_map(Record::reservation_id)
    }
}

impl Record {
    /// A record as it stands in the topic of requests, which the event source has given up.
    pub fn found(source: String, stored: Stored) -> Self {
        let history = History::of_record(&stored.headers, stored.timestamp_ms);
        Self { source, history, key: stored.key, value: stored.value, headers: stored.headers }
    }

    /// The reservation it is about: its key, or what it says itself.
    pub fn reservation_id(&self) -> Option<ReservationId> {
        /// Read alone, so that nothing else in the value can hide it.
        #[derive(Deserialize)]
        struct Named {
            reservation_id: ReservationId,
        }
        let key = self.key.as_ref().and_then(|key| ReservationId::parse(std::str::from_utf8(key).ok()?).ok());
        key.or_else(|| Some(serde_json::from_slice::<Named>(self.value.as_deref()?).ok()?.reservation_id))
    }

    /// What the persisting function would make of its bytes: a request, or the stable name and the words of what is wrong.
    pub fn decoded(&self) -> Result<Request, (&'static str, String)> {
        Request::read(self.key.as_deref(), self.value.as_deref()).map_err(|wrong| (wrong.reason(), wrong.to_string()))
    }

    /// The message that replays it: its bytes and its own headers, and what is remembered of it.
    ///
    /// # Errors
    /// When it is too large.
    pub fn message(&self, requests: &str, from: &EntryId) -> Result<Message, Lost> {
        let own = self.headers.iter().filter(|(name, _)| !is_ours(name) && name != REDRIVEN_FROM);
        let mut headers: Vec<(String, Bytes)> = own.cloned().collect();
        headers.extend(self.history.headers());
        headers.push((REDRIVEN_FROM.to_owned(), Bytes::from(from.to_string())));
        let message = Message { topic: requests.to_owned(), key: self.key.clone(), value: self.value.clone(), headers };
        if message.size() > MAX_MESSAGE_BYTES { Err(Lost::TooLarge) } else { Ok(message) }
    }
}

fn letter(id: EntryId, stored: Stored) -> Entry {
    let header = |name| text(&stored.headers, name).unwrap_or_default().to_owned();
    let number = |name| text(&stored.headers, name).map(|text| text.parse().unwrap_or_default());
    let (reason, detail) = (header(REASON), header(DETAIL));
    let source = format!("{}@{}", header(SOURCE_PARTITION), header(SOURCE_OFFSET));
    let history = History::of_letter(&stored.headers, stored.timestamp_ms);
    let mut lost = number(TRUNCATED_FROM).map(Lost::Truncated).or(number(KEY_DROPPED).map(Lost::KeyDropped));
    let as_delivered = text(&stored.headers, KEPT_AS) == Some(PAYLOAD_RECORD);
    let bytes = stored.value.as_ref().map_or(0, Bytes::len);
    let (mut key, mut value) = (stored.key, stored.value);
    if as_delivered && lost.is_none() {
        let json = serde_json::from_slice(value.as_deref().unwrap_or_default()).unwrap_or(Value::Null);
        match trigger::key_and_value(&json) {
            Ok(decoded) => (key, value) = decoded,
            Err(undecodable) => lost = Some(Lost::Undecodable(undecodable)),
        }
    }
    let record = Record { source: source.clone(), history, key, value, headers: stored.headers };
    Entry { id, reason, detail, source, history, bytes, records: vec![record], places: Vec::new(), lost }
}

/// What is read of Lambda's envelope.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    request_context: RequestContext,
    #[serde(rename = "KafkaBatchInfo")]
    batch: BatchInfo,
    payload: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    condition: String,
    #[serde(default)]
    approximate_invoke_count: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchInfo {
    #[serde(default)]
    records_info: serde_json::Map<String, Value>,
}

fn envelope(id: EntryId, stored: Stored, requests: &str) -> Entry {
    let bytes = stored.value.as_ref().map_or(0, Bytes::len);
    let history = History::of_record(&[], stored.timestamp_ms);
    let (reason, detail, source) = ("unreadable".to_owned(), String::new(), String::new());
    let mut entry =
        Entry { id, reason, detail, source, history, bytes, records: Vec::new(), places: Vec::new(), lost: None };
    let Ok(envelope) = serde_json::from_slice::<Envelope>(stored.value.as_deref().unwrap_or_default()) else {
        entry.lost = Some(Lost::NoEnvelope);
        return entry;
    };
    entry.reason = envelope.request_context.condition;
    entry.detail = format!("delivered {} times", envelope.request_context.approximate_invoke_count);
    let kept = match envelope.payload.as_ref().and_then(|payload| payload.get("records")?.as_object()) {
        Some(partitions) => delivered(partitions).map(|records| entry.records = records),
        None => places(&envelope.batch.records_info, requests).map(|places| entry.places = places),
    };
    entry.lost = kept.err();
    if let Some(first) = entry.records.first() {
        entry.history = first.history;
        entry.bytes = entry.records.iter().map(|record| record.value.as_ref().map_or(0, Bytes::len)).sum();
    }
    let records = entry.records.iter().map(|record| record.source.clone());
    let places = entry.places.iter().map(|place| {
        let Place { partition, first, last } = place;
        if first == last {
            format!("{requests}-{partition}@{first}")
        } else {
            format!("{requests}-{partition}@{first}..{last}")
        }
    });
    entry.source = records.chain(places).collect::<Vec<_>>().join(" ");
    entry
}

fn delivered(partitions: &serde_json::Map<String, Value>) -> Result<Vec<Record>, Lost> {
    let mut records = Vec::new();
    for (partition, list) in partitions {
        for json in list.as_array().ok_or(Lost::NoEnvelope)? {
            let (key, value) = trigger::key_and_value(json).map_err(Lost::Undecodable)?;
            let headers = trigger::headers(json);
            let history = History::of_record(&headers, trigger::timestamp_ms(json));
            let source = format!("{partition}@{}", trigger::offset(json).unwrap_or(-1));
            records.push(Record { source, history, key, value, headers });
        }
    }
    if records.is_empty() { Err(Lost::NoEnvelope) } else { Ok(records) }
}

fn places(partitions: &serde_json::Map<String, Value>, requests: &str) -> Result<Vec<Place>, Lost> {
    let mut places = Vec::new();
    for (partition, range) in partitions {
        let (topic, partition) = topic_and_partition(partition).ok_or(Lost::NoPlace)?;
        let offset = |name: &str| range.get(name).and_then(Value::as_str).and_then(|text| text.parse::<i64>().ok());
        let first = offset("firstRecordOffset").filter(|first| *first >= 0).ok_or(Lost::NoPlace)?;
        let last = offset("lastRecordOffset").filter(|last| *last >= first).ok_or(Lost::NoPlace)?;
        if topic != requests || last - first >= MAX_PLACES {
            return Err(Lost::NoPlace);
        }
        places.push(Place { partition, first, last });
    }
    if places.is_empty() { Err(Lost::NoPlace) } else { Ok(places) }
}
