//! What the event source gave up: in its envelope with the bytes, or only with their places.

use std::sync::Arc;

use krafka::Kafka;
use krafka::admin::DeleteRecordsOptions;
use krafka::consumer::TopicPartition;
use local::event_source::{EventSource, EventSourceSettings, Handler};
use local::servers::ServerSet;
use serde_json::{Value, json};

use super::{header, key, lines};
use crate::harness::handmade::asks;
use crate::harness::{Office, PATIENCE, on_both_sets};

on_both_sets!(
    what_the_event_source_gave_up_is_replayed_from_its_envelope_and_becomes_held,
    what_an_envelope_only_names_is_read_where_it_stands_and_what_is_gone_is_said,
    what_is_no_envelope_of_ours_is_refused_and_said,
);

async fn what_the_event_source_gave_up_is_replayed_from_its_envelope_and_becomes_held(set: ServerSet) {
    let office = Office::open(set).await;
    let topics = office.system.config().kafka.topics.clone();
    // A topic of its own, so that nobody but the redrive brings the request to the topic of requests.
    let elsewhere = format!("{}-elsewhere", topics.requests);
    let servers = office.system.servers();
    servers.create_topics(&[(&elsewhere, 1)]).await.unwrap();
    let request = asks("given-up", "alice", &["A-1-1"], (1, 2));
    let value = request.to_value();
    let source = office.produce(&elsewhere, Some(key(&request)), Some(&value), &[("correlation-id", "ä")]).await;
    let mut settings = EventSourceSettings::new(servers.kafka_bootstrap(), &elsewhere);
    settings.max_retry_attempts = Some(0);
    settings.on_failure_destination = Some(format!("kafka://{}", topics.failed));
    let down: Handler = Arc::new(|_: Value| Box::pin(async { Err("the function is broken".to_owned()) }));
    let giving_up = EventSource::start(settings, down).await.unwrap();
    giving_up.drained(PATIENCE).await.unwrap();
    giving_up.stop().await;

    let listed = office.redrive(json!({ "action": "list" })).await;
    let row = &listed["entries"][0];
    assert_eq!((&row["reason"], &row["source"]), (&json!("RetriesExhausted"), &json!(source)), "{listed}");
    assert_eq!((&row["attempt"], &row["bytes"]), (&json!(1), &json!(value.len())));
    assert_eq!(row["reservation_id"], json!(request.reservation_id));
    let first_seen = row["first_seen_at"].as_str().unwrap().to_owned();

    for (dry_run, done) in [(true, "nothing"), (false, "replayed")] {
        let report = office.redrive(json!({ "action": "replay", "all": true, "dry_run": dry_run })).await;
        assert_eq!((lines(&report), &report["left"]), (vec![(done, "readable")], &json!(0)), "{report}");
        assert_eq!(office.produced().await.len(), usize::from(!dry_run));
    }
    office.drained().await;
    assert!(office.scan().await.iter().any(|item| item.contains("outcome=\"HELD\"")));
    let replayed = office.produced().await.remove(0);
    assert_eq!((replayed.key.as_deref(), replayed.value.as_deref()), (Some(key(&request)), Some(&value[..])));
    let kept = ["attempt", "first-seen-at", "redriven-from", "correlation-id"].map(|name| header(&replayed, name));
    assert_eq!(kept, [Some("1"), Some(first_seen.as_str()), row["entry"].as_str(), Some("ä")]);
    office.close().await;
}

/// Lambda's envelope for a queue: the places of records, without them. `range` is the first and the last offset.
fn naming(partition: &str, range: (i64, i64)) -> Value {
    json!({
        "requestContext": { "requestId": "r", "functionArn": "f", "condition": "MaximumPayloadSizeExceeded", "approximateInvokeCount": 0 },
        "responseContext": null, "version": "1.0", "timestamp": "2026-11-22T13:50:49.392Z",
        "KafkaBatchInfo": {
            "batchSize": 1, "eventSourceArn": "a", "bootstrapServers": "b", "payloadSize": 1,
            "recordsInfo": { partition: {
                "firstRecordOffset": range.0.to_string(), "lastRecordOffset": range.1.to_string(),
                "firstRecordTimestamp": "2026-11-22T13:50:49.392Z", "lastRecordTimestamp": "2026-11-22T13:50:49.392Z",
            } },
        },
    })
}

async fn what_an_envelope_only_names_is_read_where_it_stands_and_what_is_gone_is_said(set: ServerSet) {
    let office = Office::open(set).await;
    let topics = office.system.config().kafka.topics.clone();
    office.system.event_source().pause();
    let requests = super::of_one_partition("named", 3);
    let mut sources = Vec::new();
    for request in &requests {
        sources.push(office.produce(&topics.requests, Some(key(request)), Some(&request.to_value()), &[]).await);
    }
    let partition = format!("{}-0", topics.requests);
    assert_eq!(sources, [0, 1, 2].map(|offset| format!("{partition}@{offset}")));
    let envelope = naming(&partition, (0, 1)).to_string();
    let entry = office.produce(&topics.failed, None, Some(envelope.as_bytes()), &[]).await;

    let done = office.redrive(json!({ "action": "replay", "entries": [entry], "dry_run": true })).await;
    assert_eq!(lines(&done), [("nothing", "readable"); 2], "{done}");
    assert_eq!(done["lines"][1]["source"], json!(sources[1]));
    forget(&office, &topics.requests, 1).await;
    let done = office.redrive(json!({ "action": "replay", "entries": [entry] })).await;
    assert_eq!(lines(&done), [("replayed", "readable"), ("lost", "gone")], "{done}");
    assert_eq!((&done["lines"][0]["source"], &done["lines"][1]["source"]), (&json!(sources[1]), &json!(sources[0])));
    let produced = office.produced().await;
    let again: Vec<_> = produced.iter().filter(|seen| header(seen, "redriven-from").is_some()).collect();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].value.as_deref(), Some(&requests[1].to_value()[..]));

    forget(&office, &topics.requests, 4).await;
    let done = office.redrive(json!({ "action": "replay", "entries": [entry] })).await;
    assert_eq!(lines(&done), [("lost", "gone"); 2], "all of it is gone: {done}");
    office.close().await;
}

async fn what_is_no_envelope_of_ours_is_refused_and_said(set: ServerSet) {
    let office = Office::open(set).await;
    let topics = office.system.config().kafka.topics.clone();
    let partition = format!("{}-0", topics.requests);
    let mut undecodable = naming(&partition, (0, 0));
    undecodable["payload"] = json!({ "records": { "t-0": [{ "offset": 1, "key": "%%%" }] } });
    let mut nameless = naming(&partition, (0, 0));
    nameless["KafkaBatchInfo"]["recordsInfo"] = Value::Null;
    for (value, expected) in [
        (b"\xff".to_vec(), "no-envelope"),
        (b"{}".to_vec(), "no-envelope"),
        (nameless.to_string().into_bytes(), "no-envelope"),
        (undecodable.to_string().into_bytes(), "base64"),
        (naming("somewhere-0", (0, 0)).to_string().into_bytes(), "no-place"),
        (naming("", (0, 0)).to_string().into_bytes(), "no-place"),
        (naming(&partition, (0, 100)).to_string().into_bytes(), "no-place"),
        (naming(&partition, (2, 1)).to_string().into_bytes(), "no-place"),
        (naming(&partition, (0, i64::MAX)).to_string().into_bytes(), "no-place"),
        // Nothing was ever there: it is said at once, and not waited for.
        (naming(&partition, (7, 7)).to_string().into_bytes(), "gone"),
        (naming(&format!("{}-77", topics.requests), (0, 0)).to_string().into_bytes(), "gone"),
    ] {
        let entry = office.produce(&topics.failed, None, Some(&value), &[]).await;
        let done = office.redrive(json!({ "action": "replay", "entries": [entry] })).await;
        assert_eq!(lines(&done), [("lost", expected)], "{}", String::from_utf8_lossy(&value));
    }
    assert_eq!(office.produced().await, []);
    office.close().await;
}

/// Lets partition 0 retain nothing before `offset`, as a topic's retention does.
async fn forget(office: &Office, topic: &str, offset: i64) {
    if let Some(broker) = office.system.servers().broker() {
        return broker.with_state(|state| {
            let partition = state.partition_mut(topic, 0).unwrap();
            // Each message of this test is a batch of its own.
            let gone = usize::try_from(offset - partition.log_start_offset).unwrap();
            partition.log.drain(..gone.min(partition.log.len()));
            partition.log_start_offset = offset.min(partition.next_offset);
        });
    }
    let kafka = Kafka::builder(office.system.servers().kafka_bootstrap()).connect().await.unwrap();
    let admin = kafka.admin();
    let before = [(TopicPartition::new(topic, 0), offset)];
    let answers = admin.delete_records(before, DeleteRecordsOptions::default()).await.unwrap();
    assert!(answers.values().all(Result::is_ok), "{answers:?}");
    admin.close().await.unwrap();
}
