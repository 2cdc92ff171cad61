//! The JSON between an event source and a function: the payload as Lambda builds it for MSK, the partial batch response, the on-failure envelope.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use krafka::consumer::{ConsumerRecord, TimestampType};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::EventSourceSettings;

/// What is wrong with an answer, or with the invocation: the whole payload comes again.
pub(super) type Reason = String;

/// The key of a partition in `records` and in an item identifier.
pub(super) fn partition_key(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// Bytes a record takes in the payload, framing guessed generously. Headers are numbers in decimal: up to five characters a byte.
pub(super) fn size(record: &ConsumerRecord) -> usize {
    const FRAMING: usize = 256;
    let base64 = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.len().div_ceil(3) * 4);
    let headers: usize = record
        .headers
        .iter()
        .map(|(name, value)| name.len() + 8 + 5 * value.as_ref().map_or(0, |value| value.len()))
        .sum();
    FRAMING + base64(&record.key) + base64(&record.value) + headers
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

/// The failed offsets by partition key; none is success. An answer without the list (or `null`) is success too.
///
/// # Errors
/// An answer that cannot be read fails the whole payload, as an identifier of nothing does.
pub(super) fn failures(answer: Value) -> Result<BTreeMap<String, Vec<i64>>, Reason> {
    if !answer.is_object() {
        return Ok(BTreeMap::new());
    }
    let answer: Answer =
        serde_json::from_value(answer).map_err(|error| format!("the answer is no batch response: {error}"))?;
    let mut failed: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for failure in answer.batch_item_failures.unwrap_or_default() {
        failed.entry(failure.item_identifier.partition).or_default().push(failure.item_identifier.offset);
    }
    Ok(failed)
}

/// The envelope of one record that was given up, as Lambda writes it to a Kafka destination: `payload` is an event of this record alone.
/// Its times are the record's own.
pub(super) fn on_failure(
    settings: &EventSourceSettings,
    record: &ConsumerRecord,
    deliveries: u32,
    request_id: uuid::Uuid,
) -> Value {
    let payload = event(settings, std::iter::once(record));
    let timestamp =
        jiff::Timestamp::from_millisecond(record.timestamp).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string();
    json!({
        "requestContext": {
            "requestId": request_id.to_string(),
            "functionArn": "arn:aws:lambda:local:000000000000:function:local:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": deliveries,
        },
        "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
        "version": "1.0",
        "timestamp": timestamp,
        "KafkaBatchInfo": {
            "batchSize": 1,
            "eventSourceArn": settings.event_source_arn,
            "bootstrapServers": settings.bootstrap_servers,
            "payloadSize": payload.to_string().len(),
            "recordInfo": { "offset": record.offset.to_string(), "timestamp": timestamp },
        },
        "payload": payload,
    })
}
