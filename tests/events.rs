//! Every payload of `events/` through the function it is for, in the order of `make invoke`, against the same goldens.
//! That command proves the processes; this proves that the payloads parse and mean what their names say.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::{Body, Response};
use local::servers::ServerSet;
use serde_json::{Value, json};
use shared::domain::ids::ReservationId;
use shared::dynamodb::reservations::Repository;

use crate::harness::functions::{Functions, events, goldens, json_files, root};
use crate::harness::{Office, on_both_sets};

on_both_sets!(every_event_is_answered_as_its_golden_says);

/// Fields and headers that differ between two honest runs; goldens carry their names instead.
const VOLATILE: [&str; 15] = [
    "confirmed_at",
    "created_at",
    "hold_expires_at",
    "hold_expires_in_seconds",
    "cursor",
    "undecided_ms",
    "events_written",
    "views_written",
    "in_doubt",
    "in_turn",
    "entries_in_turn",
    "overtaken",
    "sales_settled",
    "refunds_settled",
    "pages_settled",
];

async fn every_event_is_answered_as_its_golden_says(set: ServerSet) {
    let office = Office::open(set).await;
    for (file, document) in json_files(&root().join("local/venues")) {
        office.sells(file.trim_end_matches(".json"), &document).await;
    }
    let functions = Functions::of(&office).await;
    let (events, mut goldens) = (events(), goldens());
    assert!(events.len() > 50, "only {} events", events.len());
    let mut became: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, event) in &events {
        let golden = goldens.remove(name).unwrap_or_else(|| panic!("{name} has no golden: make invoke UPDATE=1"));
        match name.split('-').next() {
            Some("http") => {
                // A reservation is looked at once it is decided.
                office.drained().await;
                assert_http(name, &functions.http(event).await, &golden);
            }
            Some("kafka") => {
                assert_eq!(functions.kafka(event.clone()).await, golden, "{name}");
                became.insert(name.clone(), statuses(&office, event).await);
            }
            Some("schedule") => {
                assert_eq!(steady("", functions.schedule(event.clone()).await), golden, "{name}");
            }
            _ => panic!("{name} is for no function"),
        }
    }
    assert!(goldens.is_empty(), "goldens without an event: {:?}", goldens.keys());
    assert_decided(&became);
    assert_buried(&office).await;
    assert_eq!(office.seat_status("club", "BAL_C-BAR-S3").await, "held", "the truth came back to the seat map");
    assert_eq!(office.seat_status("club", "BAL_L-C-1").await, "free", "a refused seat is nobody's");
    office.close().await;
}

fn assert_http(name: &str, response: &Response<Body>, golden: &Value) {
    assert_eq!(json!(response.status().as_u16()), golden["statusCode"], "{name}");
    let text = std::str::from_utf8(response.body().as_ref()).unwrap();
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(text).unwrap() };
    let expected = if golden["body"] == "" { &Value::Null } else { &golden["body"] };
    assert_eq!(&steady("", body), expected, "{name}");
    for header in ["content-type", "etag", "location", "retry-after"] {
        let sent = response.headers().get(header).map(|value| json!(value.to_str().unwrap()));
        assert_eq!(sent.unwrap_or_default(), golden["headers"][header], "{name}: {header}");
    }
}

/// The value with what is volatile replaced by its name.
fn steady(name: &str, value: Value) -> Value {
    match value {
        Value::Null => Value::Null,
        _ if VOLATILE.contains(&name) => json!(format!("<{name}>")),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name.clone(), steady(&name, value))).collect(),
        Value::Array(values) => values.into_iter().map(|value| steady("", value)).collect(),
        other => other,
    }
}

/// The status of every row that the payload's keys name, each once, sorted.
async fn statuses(office: &Office, event: &Value) -> Vec<String> {
    let repository = Repository::new(office.table().await);
    let records = event["records"].as_object().into_iter().flatten().flat_map(|(_, records)| records.as_array());
    let mut ids: Vec<String> = records
        .flatten()
        .filter_map(|record| String::from_utf8(STANDARD.decode(record["key"].as_str()?).ok()?).ok())
        .collect();
    ids.sort();
    ids.dedup();
    let mut statuses = Vec::new();
    for id in ids.iter().filter_map(|id| ReservationId::parse(id).ok()) {
        if let Some(row) = repository.get(&id).await.unwrap() {
            let reason = row.outcome.reason().map(|reason| format!(" {}", reason.as_str())).unwrap_or_default();
            statuses.push(format!("{}{reason}", row.status.as_str()));
        }
    }
    statuses.sort();
    statuses
}

fn assert_decided(became: &BTreeMap<String, Vec<String>>) {
    for (name, expected) in [
        ("kafka-duplicate.json", &["HELD"][..]),
        ("kafka-headers-absent.json", &["HELD"]),
        ("kafka-headers-signed.json", &["HELD"]),
        ("kafka-not-kafka.json", &[]),
        ("kafka-overlap.json", &["HELD", "REJECTED seats-taken"]),
        ("kafka-poison.json", &["HELD"]),
        ("kafka-reservation.json", &["HELD"]),
        ("kafka-sale-over.json", &["REJECTED sale-closed"]),
        ("kafka-several-partitions.json", &["HELD", "HELD", "HELD", "HELD"]),
        ("kafka-take-over.json", &["HELD"]),
    ] {
        assert_eq!(became[name], expected, "{name}");
    }
}

/// Each poisonous record is kept with its reason, in the order of its offset.
async fn assert_buried(office: &Office) {
    let letters = office.topic(&office.system.config().kafka.topics.dlq).await;
    let header = |letter: &crate::harness::topic::Seen, name: &str| {
        letter.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let mut reasons: Vec<(u64, String)> = letters
        .iter()
        .map(|letter| (header(letter, "source-offset").parse().unwrap(), header(letter, "reason")))
        .collect();
    reasons.sort();
    let reasons: Vec<&str> = reasons.iter().map(|(_, reason)| reason.as_str()).collect();
    let expected = ["base64", "schema", "schema", "schema", "version", "no-key", "no-value", "key", "schema"];
    assert_eq!(reasons, expected);
}
