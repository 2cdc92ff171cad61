//! The trigger's payload, decoded record by record: one bad record fails alone. Shape:
//! `{"eventSource":"aws:kafka","records":{"<topic>-<n>":[{"topic","partition","offset","timestamp","key","value",…}]}}`,
//! key and value in base64 (AWS Lambda Developer Guide, "Using Lambda with Amazon MSK").

use bytes::Bytes;
use serde_json::Value;
use shared::message::{Malformed, Request};
use shared::trigger::{self, Undecodable};

/// The payload as a whole is no Kafka event: nothing in it can be acknowledged or reported one by one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the payload is no Kafka event: {0}")]
pub struct NotKafka(&'static str);

impl From<NotKafka> for lambda_runtime::Diagnostic {
    fn from(error: NotKafka) -> Self {
        Self { error_type: "NotKafka".into(), error_message: error.to_string() }
    }
}

/// Where a record stands, as the answer names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The payload's key, `<topic>-<n>`: what a failure is reported under.
    pub partition: String,
    /// The record's offset; -1 where the record does not say.
    pub offset: i64,
}

/// A record of the payload.
#[derive(Debug, Clone)]
pub struct Record {
    /// Where it stands.
    pub place: Place,
    /// The key's bytes; for a record that cannot be decoded, none.
    pub key: Option<Bytes>,
    /// The value's bytes; for a record that cannot be decoded, its JSON.
    pub value: Option<Bytes>,
    /// Its headers, as far as they can be read.
    pub headers: Vec<(String, Bytes)>,
    /// When it was produced, in milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
    /// The request it carries, or why it carries none.
    pub request: Result<Request, Poison>,
}

/// Why a record can never be handled. Each has a stable name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Poison {
    /// Its bytes cannot be had from its JSON.
    #[error(transparent)]
    Undecodable(#[from] Undecodable),
    /// Not a request.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Handling it panicked.
    #[error("handling the record panicked")]
    Panic,
    /// The table refuses what the record asks for, and always will.
    #[error("the table refuses the request")]
    Refused,
}

impl Poison {
    /// The stable name.
    pub fn reason(&self) -> &'static str {
        match self {
            Poison::Undecodable(undecodable) => undecodable.reason(),
            Poison::Malformed(malformed) => malformed.reason(),
            Poison::Panic => "panic",
            Poison::Refused => "refused",
        }
    }
}

/// Decodes a payload; records stand in the order of partition and offset, whatever order the map had.
///
/// # Errors
/// When there is no map of records at all.
pub fn decode(payload: &Value) -> Result<Vec<Record>, NotKafka> {
    let partitions = payload.get("records").ok_or(NotKafka("it has no records"))?;
    let partitions = partitions.as_object().ok_or(NotKafka("its records are no map"))?;
    let mut records = Vec::new();
    for (partition, list) in partitions {
        let list = list.as_array().ok_or(NotKafka("a partition's records are no list"))?;
        records.extend(list.iter().map(|record| decode_record(partition, record)));
    }
    records.sort_by(|a, b| a.place.cmp(&b.place));
    Ok(records)
}

fn decode_record(partition: &str, record: &Value) -> Record {
    let place = Place { partition: partition.to_owned(), offset: trigger::offset(record).unwrap_or(-1) };
    let (key, value, request) = match trigger::key_and_value(record) {
        Ok((key, value)) => {
            let request = Request::read(key.as_deref(), value.as_deref()).map_err(Poison::from);
            (key, value, request)
        }
        Err(undecodable) => (None, Some(Bytes::from(record.to_string())), Err(undecodable.into())),
    };
    let (headers, timestamp_ms) = (trigger::headers(record), trigger::timestamp_ms(record));
    Record { place, key, value, headers, timestamp_ms, request }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reasons(records: Value) -> Vec<(String, i64, &'static str)> {
        let decoded = decode(&json!({ "eventSource": "aws:kafka", "records": records })).unwrap();
        let reason = |record: &Record| record.request.as_ref().err().map_or("ok", Poison::reason);
        decoded.iter().map(|record| (record.place.partition.clone(), record.place.offset, reason(record))).collect()
    }

    #[test]
    fn a_bad_record_fails_alone_and_keeps_its_place() {
        let records = json!({
            "t-1": [{ "offset": 7, "key": "%%%", "value": "" }, { "offset": 6, "key": "YQ==" }],
            "t-0": [{ "offset": 3, "key": "YQ==", "value": "bm8=" }, { "offset": 4, "value": "bm8=" }, 5],
        });
        let place = |partition: &str, offset, reason| (partition.to_owned(), offset, reason);
        assert_eq!(
            reasons(records),
            [
                place("t-0", -1, "record"),
                place("t-0", 3, "schema"),
                place("t-0", 4, "no-key"),
                place("t-1", 6, "no-value"),
                place("t-1", 7, "base64"),
            ]
        );
    }

    #[test]
    fn a_payload_without_a_map_of_records_is_no_kafka_event() {
        for payload in [json!(null), json!({}), json!({ "records": [] }), json!({ "records": { "t-0": {} } })] {
            assert!(decode(&payload).is_err(), "{payload}");
        }
        assert_eq!(decode(&json!({ "records": {} })).unwrap().len(), 0);
    }
}
