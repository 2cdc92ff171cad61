//! The JSON between an event source and a function: the payload as Lambda builds it for MSK, the partial batch response, the on-failure envelope.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use krafka::consumer::{ConsumerRecord, TimestampType};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::EventSourceSettings;
use super::lane::Condition;

/// Lambda's bound on a synchronous payload, in bytes.
pub(super) const MAX_BYTES: usize = 6 * 1024 * 1024;

/// The failed offsets by partition key.
pub(super) type Failed = BTreeMap<String, Vec<i64>>;

/// What is wrong with an answer, or with the invocation: the whole payload comes again.
pub(super) type Reason = String;

/// The key of a partition in `records` and in an item identifier.
pub(super) fn partition_key(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// Bytes a record takes in the payload, framing and its partition's key guessed generously. Headers are numbers in decimal: up to five characters a byte.
pub(super) fn size(record: &ConsumerRecord) -> usize {
    const FRAMING: usize = 256;
    let base64 = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.len().div_ceil(3) * 4);
    let headers: usize = record
        .headers
        .iter()
        .map(|(name, value)| name.len() + 8 + 5 * value.as_ref().map_or(0, |value| value.len()))
        .sum();
    FRAMING + 2 * record.topic.len() + base64(&record.key) + base64(&record.value) + headers
}

/// Bytes that are left for records in a payload.
pub(super) fn budget(settings: &EventSourceSettings) -> usize {
    MAX_BYTES.saturating_sub(event(settings, std::iter::empty()).to_string().len())
}

/// Whether a record is larger than a payload of its own may be; counted exactly where the guess leaves a doubt.
pub(super) fn is_too_large(settings: &EventSourceSettings, record: &ConsumerRecord) -> bool {
    size(record) > budget(settings) && event(settings, std::iter::once(record)).to_string().len() > MAX_BYTES
}

/// The payload for these records; the order inside a partition is theirs.
pub(super) fn event<'a>(settings: &EventSourceSettings, records: impl Iterator<Item = &'a ConsumerRecord>) -> Value {
    let mut partitions: Map<String, Value> = Map::new();
    for record in records {
        let entry = partitions
            .entry(partition_key(&settings.topic, record.partition))
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = entry {
            list.push(record_json(record));
        }
    }
    json!({
        "eventSource": "aws:kafka",
        "eventSourceArn": settings.event_source_arn,
        "bootstrapServers": settings.bootstrap_servers,
        "records": partitions,
    })
}

fn record_json(record: &ConsumerRecord) -> Value {
    let base64 = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map(|bytes| STANDARD.encode(bytes));
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(|(name, value)| {
            // Java's bytes: -128 to 127.
            let signed: Vec<i8> = value.iter().flat_map(|value| value.iter().map(|byte| byte.cast_signed())).collect();
            let mut header = Map::new();
            header.insert(name.clone(), json!(signed));
            Value::Object(header)
        })
        .collect();
    json!({
        "topic": *record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "timestampType": match record.timestamp_type {
            TimestampType::LogAppendTime => "LOG_APPEND_TIME",
            _ => "CREATE_TIME",
        },
        "key": base64(&record.key),
        "value": base64(&record.value),
        "headers": headers,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    batch_item_failures: Option<Vec<Failure>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: Item,
}

#[derive(Deserialize)]
struct Item {
    partition: String,
    offset: i64,
}

/// The failed offsets by partition key; none is success. `null`, `""` and an answer without the list (or with `null` for it) are success too.
///
/// # Errors
/// An answer that cannot be read fails the whole payload, as an identifier of nothing does.
pub(super) fn failures(answer: Value) -> Result<Failed, Reason> {
    if answer.is_null() || answer.as_str() == Some("") {
        return Ok(Failed::new());
    }
    // A struct could be read from a list, too.
    if !answer.is_object() {
        return Err("the answer is no batch response: not an object".to_owned());
    }
    let answer: Answer =
        serde_json::from_value(answer).map_err(|error| format!("the answer is no batch response: {error}"))?;
    let mut failed = Failed::new();
    for failure in answer.batch_item_failures.unwrap_or_default() {
        failed.entry(failure.item_identifier.partition).or_default().push(failure.item_identifier.offset);
    }
    Ok(failed)
}

/// The envelope of one record that was given up, as Lambda writes it to a Kafka destination: `payload` is an event of this record alone.
/// Its times are the record's own. What was never delivered has no response; what no payload can hold is told by its place, as for a queue.
pub(super) fn on_failure(
    settings: &EventSourceSettings,
    record: &ConsumerRecord,
    why: Condition,
    request_id: uuid::Uuid,
) -> Value {
    let (condition, deliveries) = match why {
        Condition::Exhausted(deliveries) => ("RetriesExhausted", deliveries),
        Condition::TooOld => ("MaximumRecordAgeExceeded", 0),
        Condition::TooLarge => ("MaximumPayloadSizeExceeded", 0),
    };
    let response = json!({ "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" });
    let payload = event(settings, std::iter::once(record));
    let timestamp =
        jiff::Timestamp::from_millisecond(record.timestamp).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string();
    let offset = record.offset.to_string();
    let mut envelope = json!({
        "requestContext": {
            "requestId": request_id.to_string(),
            "functionArn": "arn:aws:lambda:local:000000000000:function:local:$LATEST",
            "condition": condition,
            "approximateInvokeCount": deliveries,
        },
        "responseContext": if deliveries > 0 { response } else { Value::Null },
        "version": "1.0",
        "timestamp": timestamp,
        "KafkaBatchInfo": {
            "batchSize": 1,
            "eventSourceArn": settings.event_source_arn,
            "bootstrapServers": settings.bootstrap_servers,
            "payloadSize": payload.to_string().len(),
        },
    });
    if why == Condition::TooLarge {
        let place = json!({
            "firstRecordOffset": offset, "lastRecordOffset": offset,
            "firstRecordTimestamp": timestamp, "lastRecordTimestamp": timestamp,
        });
        envelope["KafkaBatchInfo"]["recordsInfo"] = json!({ partition_key(&record.topic, record.partition): place });
    } else {
        envelope["KafkaBatchInfo"]["recordInfo"] = json!({ "offset": offset, "timestamp": timestamp });
        envelope["payload"] = payload;
    }
    envelope
}
