//! The emulator against a broker over TCP and a handler that records what it is given: what Lambda promises, and what it does not.

mod batching;
mod control;
mod failure;
mod giving_up;
mod rebalance;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use krafka::testing::FakeBroker;
use krafka::{Kafka, Record};
use serde_json::{Value, json};
use shared::kafka::{KafkaSettings, KrafkaLog, Message, RequestLog, Security};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{EventSource, EventSourceError, EventSourceSettings, Handler};

const TOPIC: &str = "requests";
const FAILED: &str = "requests-failed";

/// Patience for what should happen at once on a machine that compiles meanwhile.
const SOON: Duration = Duration::from_secs(10);

/// Time in which something must not happen.
const A_WHILE: Duration = Duration::from_millis(400);

type Delivery = (i32, i64);

/// What the handler was given: each payload as its records' partition and offset, in the order of the payload.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Vec<Delivery>>>>);

impl Recorder {
    fn payloads(&self) -> Vec<Vec<Delivery>> {
        self.0.lock().unwrap().clone()
    }

    fn deliveries(&self) -> Vec<Delivery> {
        self.payloads().concat()
    }

    fn count(&self, delivery: Delivery) -> usize {
        self.deliveries().iter().filter(|seen| **seen == delivery).count()
    }

    async fn until(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !reached(self) {
            assert!(started.elapsed() < SOON, "not within {SOON:?}: {what}; payloads: {:?}", self.payloads());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// A handler that records, then answers as told: by the payload's records and the number of payloads before it.
    fn handler(&self, answer: impl Fn(usize, &[Delivery]) -> Result<Value, String> + Send + Sync + 'static) -> Handler {
        let recorder = self.clone();
        Arc::new(move |event| {
            let seen = records_of(&event);
            let before = {
                let mut payloads = recorder.0.lock().unwrap();
                payloads.push(seen.clone());
                payloads.len() - 1
            };
            std::future::ready(answer(before, &seen)).boxed()
        })
    }
}

fn records_of(event: &Value) -> Vec<Delivery> {
    let partitions = event["records"].as_object().unwrap();
    let all = partitions.values().flat_map(|list| list.as_array().unwrap());
    all.map(|record| {
        (i32::try_from(record["partition"].as_i64().unwrap()).unwrap(), record["offset"].as_i64().unwrap())
    })
    .collect()
}

fn success() -> Result<Value, String> {
    Ok(json!({ "batchItemFailures": [] }))
}

fn failed(deliveries: &[Delivery]) -> Result<Value, String> {
    let failures: Vec<Value> = deliveries
        .iter()
        .map(|(partition, offset)| json!({ "itemIdentifier": { "partition": format!("{TOPIC}-{partition}"), "offset": offset } }))
        .collect();
    Ok(json!({ "batchItemFailures": failures }))
}

/// A broker with records already in the topic: `per_partition` in each of `partitions`, keyed `<partition>-<offset>`.
async fn broker_with(partitions: i32, per_partition: usize) -> FakeBroker {
    let broker = FakeBroker::start().await.unwrap();
    broker.create_topic(TOPIC, partitions);
    broker.create_topic(FAILED, 1);
    let producer =
        Kafka::builder(broker.bootstrap_servers()).connect().await.unwrap().producer().build().await.unwrap();
    for partition in 0..partitions {
        let sends = (0..per_partition)
            .map(|n| producer.send(Record::new(TOPIC, "{}").key(format!("{partition}-{n}")).partition(partition)));
        for sent in join_all(sends).await {
            assert_eq!(sent.unwrap().partition, partition);
        }
    }
    producer.close().await.unwrap();
    broker
}

/// One poller, so that payloads come one after the other.
fn settings(broker: &FakeBroker) -> EventSourceSettings {
    EventSourceSettings {
        pollers: 1,
        invocations_per_poller: 1,
        ..EventSourceSettings::new(broker.bootstrap_servers(), TOPIC)
    }
}

fn log_of(broker: &FakeBroker) -> KrafkaLog {
    KrafkaLog::new(KafkaSettings::new(broker.bootstrap_servers(), Security::Plaintext))
}

fn message(key: &str) -> Message {
    Message {
        topic: TOPIC.to_owned(),
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: Some(Bytes::from_static(b"{}")),
        headers: Vec::new(),
    }
}

/// Each partition's offsets in the order they were first delivered.
fn first_deliveries(recorder: &Recorder) -> BTreeMap<i32, Vec<i64>> {
    let mut orders: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for (partition, offset) in recorder.deliveries() {
        let order = orders.entry(partition).or_default();
        if !order.contains(&offset) {
            order.push(offset);
        }
    }
    orders
}

#[tokio::test]
async fn the_payload_is_the_one_lambda_builds() {
    let broker = broker_with(2, 0).await;
    let producer =
        Kafka::builder(broker.bootstrap_servers()).connect().await.unwrap().producer().build().await.unwrap();
    let full =
        Record::new(TOPIC, &b"{\"a\":1}"[..]).key("key").header("id", &[104u8, 200, 255, 0][..]).header("id", &b""[..]);
    let sent = producer.send(full.partition(1).timestamp(1_595_035_749_700)).await.unwrap();
    assert_eq!(sent.offset, 0);
    let bare = Record::new(TOPIC, "").without_value().partition(1).timestamp(1_595_035_749_701);
    assert_eq!(producer.send(bare).await.unwrap().offset, 1);

    let (sent, mut received) = tokio::sync::mpsc::unbounded_channel();
    let handler: Handler = Arc::new(move |event| {
        sent.send(event).unwrap();
        std::future::ready(success()).boxed()
    });
    let mut settings = settings(&broker);
    settings.event_source_arn = "arn:aws:kafka:x".to_owned();
    settings.window = Duration::from_millis(50);
    let source = EventSource::start(settings, handler).await.unwrap();

    let event = tokio::time::timeout(SOON, received.recv()).await.unwrap().unwrap();
    let expected = json!({
        "eventSource": "aws:kafka",
        "eventSourceArn": "arn:aws:kafka:x",
        "bootstrapServers": broker.bootstrap_servers(),
        "records": { "requests-1": [
            {
                "topic": "requests", "partition": 1, "offset": 0, "timestamp": 1_595_035_749_700_i64, "timestampType": "CREATE_TIME",
                "key": STANDARD.encode("key"), "value": STANDARD.encode("{\"a\":1}"),
                "headers": [{ "id": [104, -56, -1, 0] }, { "id": [] }],
            },
            {
                "topic": "requests", "partition": 1, "offset": 1, "timestamp": 1_595_035_749_701_i64, "timestampType": "CREATE_TIME",
                "key": null, "value": null, "headers": [],
            },
        ] },
    });
    assert_eq!(event, expected);
    source.stop().await;
}

#[tokio::test]
async fn every_record_is_delivered_once_in_its_partition_s_order_and_payloads_hold_several_partitions() {
    let broker = broker_with(6, 150).await;
    let recorder = Recorder::default();
    let mut settings = settings(&broker);
    settings.pollers = 3;
    settings.window = Duration::from_millis(20);
    let source = EventSource::start(settings, recorder.handler(|_, _| success())).await.unwrap();
    source.drained(SOON).await.unwrap();

    let all: Vec<i64> = (0..150).collect();
    assert_eq!(first_deliveries(&recorder), (0..6).map(|partition| (partition, all.clone())).collect());
    assert_eq!(recorder.deliveries().len(), 900, "something was delivered twice");
    assert!(recorder.payloads().iter().all(|payload| payload.len() <= 100));
    assert!(recorder.payloads().iter().any(|payload| payload.iter().any(|record| record.0 != payload[0].0)));
    source.stop().await;
}

#[tokio::test]
async fn a_record_produced_while_nothing_happens_is_handed_over_at_once() {
    let broker = broker_with(3, 0).await;
    let recorder = Recorder::default();
    let source = EventSource::start(settings(&broker), recorder.handler(|_, _| success())).await.unwrap();
    let log = log_of(&broker);
    // The first one waits for the readers to connect.
    log.produce(message("first")).await.unwrap();
    recorder.until("the first record", |seen| seen.deliveries().len() == 1).await;

    let mut waits: Vec<Duration> = Vec::new();
    for n in 2..=20 {
        log.produce(message(&format!("key-{n}"))).await.unwrap();
        let produced = Instant::now();
        recorder.until("the next record", |seen| seen.deliveries().len() == n).await;
        waits.push(produced.elapsed());
    }
    waits.sort();
    let median = waits[waits.len() / 2];
    assert!(median < Duration::from_millis(20), "median {median:?} of {waits:?}");
    source.stop().await;
}

#[tokio::test]
async fn a_window_collects_what_comes_within_it() {
    let broker = broker_with(1, 0).await;
    let recorder = Recorder::default();
    let mut settings = settings(&broker);
    settings.window = Duration::from_secs(1);
    let source = EventSource::start(settings, recorder.handler(|_, _| success())).await.unwrap();
    let log = log_of(&broker);
    for n in 0..5 {
        log.produce(message(&format!("key-{n}"))).await.unwrap();
    }
    source.drained(SOON).await.unwrap();
    assert_eq!(recorder.payloads(), [vec![(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)]]);
    source.stop().await;
}

#[test]
fn every_line_of_the_behaviour_table_has_its_test() {
    let tests = [
        include_str!("mod.rs"),
        include_str!("batching.rs"),
        include_str!("control.rs"),
        include_str!("failure.rs"),
        include_str!("giving_up.rs"),
        include_str!("rebalance.rs"),
    ];
    let rows = include_str!("../mod.rs").lines().filter_map(|line| line.strip_prefix("//! | ")).skip(1);
    let named: Vec<&str> = rows.filter_map(|row| row.rsplit(" | ").next()?.strip_suffix(" |")).collect();
    assert!(named.len() > 25, "{named:?}");
    for name in named {
        let test = format!("async fn {}()", name.trim_matches('`'));
        assert!(tests.iter().any(|text| text.contains(&test)), "no test is called {name}");
    }
}
