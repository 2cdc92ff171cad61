//! The emulator against a broker over TCP and a handler that records what it is given: what Lambda promises, and what it does not.

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
    EventSourceSettings { pollers: 1, ..EventSourceSettings::new(broker.bootstrap_servers(), TOPIC) }
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

#[tokio::test]
async fn f9_a_reported_failure_comes_again_with_everything_after_it_and_nothing_else() {
    let broker = broker_with(2, 6).await;
    let recorder = Recorder::default();
    let handler =
        recorder.handler(
            |before, records| {
                if before == 0 && records.contains(&(0, 4)) { failed(&[(0, 4), (0, 2)]) } else { success() }
            },
        );
    let mut settings = settings(&broker);
    settings.window = Duration::from_secs(1);
    settings.batch_size = 12;
    let source = EventSource::start(settings, handler).await.unwrap();
    source.drained(SOON).await.unwrap();
    let payloads = recorder.payloads();
    assert_eq!(payloads[0].len(), 12);
    assert_eq!(payloads[1..].concat(), [(0, 2), (0, 3), (0, 4), (0, 5)]);
    source.stop().await;
}

#[tokio::test]
async fn an_answer_without_a_list_is_success() {
    let broker = broker_with(1, 3).await;
    let recorder = Recorder::default();
    let answers = [Value::Null, json!({}), json!({ "batchItemFailures": null })];
    let mut settings = settings(&broker);
    settings.batch_size = 1;
    let source =
        EventSource::start(settings, recorder.handler(move |before, _| Ok(answers[before].clone()))).await.unwrap();
    source.drained(SOON).await.unwrap();
    assert_eq!(recorder.payloads(), [vec![(0, 0)], vec![(0, 1)], vec![(0, 2)]]);
    source.stop().await;
}

#[tokio::test]
async fn an_identifier_of_nothing_fails_the_whole_payload() {
    let unusable = [
        json!({ "batchItemFailures": [{ "itemIdentifier": { "partition": "requests-0", "offset": 99 } }] }),
        json!({ "batchItemFailures": [{ "itemIdentifier": { "partition": "other-0", "offset": 0 } }] }),
        json!({ "batchItemFailures": [{ "itemIdentifier": "" }] }),
    ];
    for answer in unusable {
        let broker = broker_with(1, 1).await;
        let recorder = Recorder::default();
        let handler = recorder.handler(move |before, _| if before == 0 { Ok(answer.clone()) } else { success() });
        let source = EventSource::start(settings(&broker), handler).await.unwrap();
        source.drained(SOON).await.unwrap();
        assert_eq!(recorder.payloads(), [vec![(0, 0)], vec![(0, 0)]]);
        source.stop().await;
    }
}

/// A payload that fails as a whole is halved until the record to blame is alone; it goes to the on-failure topic, its neighbours are done.
#[tokio::test]
async fn f18_a_record_that_fails_whole_payloads_is_isolated_and_given_up_in_lambda_s_envelope() {
    const POISON: Delivery = (1, 13);
    let broker = broker_with(2, 20).await;
    let recorder = Recorder::default();
    let handler =
        recorder.handler(|_, records| if records.contains(&POISON) { Err("cannot".to_owned()) } else { success() });
    let mut settings = settings(&broker);
    settings.on_failure_topic = Some(FAILED.to_owned());
    settings.max_retry_attempts = 2;
    let source = EventSource::start(settings, handler).await.unwrap();
    source.drained(SOON).await.unwrap();

    let alone = recorder.payloads().iter().filter(|payload| **payload == [POISON]).count();
    assert_eq!(alone, 3, "delivered once and retried twice");
    for partition in 0..2 {
        assert!((0..20).all(|offset| recorder.count((partition, offset)) >= 1));
    }
    let given_up = broker.all_records(FAILED).unwrap();
    assert_eq!(given_up.len(), 1);
    assert_eq!(given_up[0].key.as_deref(), Some(&b"1-13"[..]));
    let envelope: Value = serde_json::from_slice(given_up[0].value.as_ref().unwrap()).unwrap();
    assert_eq!(envelope["requestContext"]["condition"], "RetriesExhausted");
    assert_eq!(envelope["requestContext"]["approximateInvokeCount"], 3);
    assert_eq!(envelope["KafkaBatchInfo"]["recordInfo"]["offset"], "13");
    assert_eq!(records_of(&envelope["payload"]), [POISON]);
    assert_eq!(envelope["payload"]["records"]["requests-1"][0]["key"], STANDARD.encode("1-13"));
    source.stop().await;
}

#[tokio::test]
async fn a_reported_failure_is_given_up_after_its_attempts_and_without_a_topic_it_is_dropped() {
    let broker = broker_with(1, 3).await;
    let recorder = Recorder::default();
    let handler = recorder.handler(|_, records| if records.contains(&(0, 1)) { failed(&[(0, 1)]) } else { success() });
    let mut settings = settings(&broker);
    settings.max_retry_attempts = 3;
    let source = EventSource::start(settings, handler).await.unwrap();
    source.drained(SOON).await.unwrap();
    assert_eq!(recorder.count((0, 1)), 4);
    assert!(broker.all_records(FAILED).unwrap().is_empty());
    source.stop().await;
}

#[tokio::test]
async fn a_record_that_cannot_be_written_to_the_on_failure_topic_is_not_acknowledged() {
    let broker = broker_with(1, 1).await;
    let recorder = Recorder::default();
    let mut settings = settings(&broker);
    settings.on_failure_topic = Some("nowhere".to_owned());
    settings.max_retry_attempts = 0;
    let source = EventSource::start(settings, recorder.handler(|_, records| failed(records))).await.unwrap();
    recorder.until("a second delivery", |seen| seen.count((0, 0)) >= 2).await;
    assert!(source.drained(A_WHILE).await.is_err());
    broker.create_topic("nowhere", 1);
    source.drained(SOON).await.unwrap();
    assert_eq!(broker.all_records("nowhere").unwrap().len(), 1);
    source.stop().await;
}

#[tokio::test]
async fn a_failing_handler_is_called_ever_more_rarely_and_soon_again_once_it_works() {
    let broker = broker_with(1, 50).await;
    let recorder = Recorder::default();
    let works = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&works);
    let handler =
        recorder.handler(move |_, _| if switch.load(Ordering::SeqCst) { success() } else { Err("down".to_owned()) });
    let source = EventSource::start(settings(&broker), handler).await.unwrap();
    assert!(source.drained(Duration::from_millis(1500)).await.is_err());
    let calls = recorder.payloads().len();
    assert!((3..=10).contains(&calls), "{calls} calls in 1.5 s");
    works.store(true, Ordering::SeqCst);
    source.drained(Duration::from_secs(3)).await.unwrap();
    assert_eq!(first_deliveries(&recorder)[&0], (0..50).collect::<Vec<i64>>());
    source.stop().await;
}

#[tokio::test]
async fn a_partition_that_fails_does_not_hold_up_the_others() {
    let broker = broker_with(2, 300).await;
    let recorder = Recorder::default();
    let handler =
        recorder.handler(
            |_, records| if records.iter().any(|record| record.0 == 0) { Err("cannot".to_owned()) } else { success() },
        );
    let source = EventSource::start(settings(&broker), handler).await.unwrap();
    recorder.until("all of partition 1", |seen| seen.count((1, 299)) >= 1).await;
    let error = source.drained(A_WHILE).await.unwrap_err().to_string();
    assert!(error.contains("requests-0 at 0 of 300") && !error.contains("requests-1"), "{error}");
    source.stop().await;
}

#[tokio::test]
async fn a_panic_and_a_time_out_are_errors_of_the_function_and_the_payload_comes_again() {
    let broker = broker_with(1, 1).await;
    let recorder = Recorder::default();
    let (seen, calls) = (recorder.handler(|_, _| success()), Arc::new(AtomicUsize::new(0)));
    let handler: Handler = Arc::new(move |event| {
        let answer = seen(event);
        match calls.fetch_add(1, Ordering::SeqCst) {
            0 => panic!("the handler fails on purpose"),
            1 => std::future::pending().boxed(),
            _ => answer,
        }
    });
    let mut settings = settings(&broker);
    settings.invocation_timeout = Duration::from_millis(100);
    let source = EventSource::start(settings, handler).await.unwrap();
    source.drained(SOON).await.unwrap();
    assert_eq!(recorder.count((0, 0)), 3);
    source.stop().await;
}

#[tokio::test]
async fn f20_a_paused_source_delivers_nothing_and_catches_up_in_order() {
    let broker = broker_with(1, 0).await;
    let recorder = Recorder::default();
    let source = EventSource::start(settings(&broker), recorder.handler(|_, _| success())).await.unwrap();
    let log = log_of(&broker);
    log.produce(message("before")).await.unwrap();
    source.drained(SOON).await.unwrap();
    source.pause();
    for answer in join_all((0..300).map(|n| log.produce(message(&format!("key-{n}"))))).await {
        answer.unwrap();
    }
    let error = source.drained(A_WHILE).await.unwrap_err();
    assert!(matches!(error, EventSourceError::NotDrained { .. }), "{error:?}");
    assert_eq!(recorder.deliveries(), [(0, 0)]);
    source.resume();
    source.drained(SOON).await.unwrap();
    assert_eq!(recorder.deliveries(), (0..301).map(|offset| (0, offset)).collect::<Vec<_>>());
    source.stop().await;
}

#[tokio::test]
async fn a_pause_ends_retries_too() {
    let broker = broker_with(1, 1).await;
    let recorder = Recorder::default();
    let source = EventSource::start(settings(&broker), recorder.handler(|_, _| Err("down".to_owned()))).await.unwrap();
    recorder.until("a retry", |seen| seen.payloads().len() >= 2).await;
    source.pause();
    let calls = recorder.payloads().len();
    assert!(source.drained(A_WHILE).await.is_err());
    assert!(recorder.payloads().len() <= calls + 1, "a retry after the pause");
    source.stop().await;
}

#[tokio::test]
async fn f19_a_replay_delivers_the_whole_topic_again() {
    let broker = broker_with(3, 40).await;
    let recorder = Recorder::default();
    let mut settings = settings(&broker);
    settings.pollers = 3;
    let source = EventSource::start(settings, recorder.handler(|_, _| success())).await.unwrap();
    source.drained(SOON).await.unwrap();
    for replays in 1..=3 {
        source.replay_from_start().await;
        source.drained(SOON).await.unwrap();
        for delivery in (0..3).flat_map(|partition| (0..40).map(move |offset| (partition, offset))) {
            assert_eq!(recorder.count(delivery), 1 + replays, "{delivery:?} after {replays} replays");
        }
    }
    source.stop().await;
}

#[tokio::test]
async fn f19_the_answer_of_an_invocation_that_a_replay_overtook_does_not_count() {
    let broker = broker_with(1, 1).await;
    let recorder = Recorder::default();
    let gate = Arc::new(Semaphore::new(0));
    let (seen, held) = (recorder.handler(|_, _| success()), Arc::clone(&gate));
    let handler: Handler = Arc::new(move |event| {
        let (answer, held) = (seen(event), Arc::clone(&held));
        async move {
            held.acquire().await.unwrap().forget();
            answer.await
        }
        .boxed()
    });
    let source = EventSource::start(settings(&broker), handler).await.unwrap();
    recorder.until("the first delivery", |seen| seen.count((0, 0)) == 1).await;
    source.replay_from_start().await;
    gate.add_permits(1);
    recorder.until("the second delivery", |seen| seen.count((0, 0)) == 2).await;
    assert!(source.drained(Duration::ZERO).await.is_err());
    gate.add_permits(1);
    source.drained(SOON).await.unwrap();
    source.stop().await;
}

#[tokio::test]
async fn f7_each_payload_is_delivered_as_often_as_asked() {
    let broker = broker_with(1, 5).await;
    let recorder = Recorder::default();
    let mut settings = settings(&broker);
    settings.deliveries = 4;
    let source = EventSource::start(settings, recorder.handler(|_, _| success())).await.unwrap();
    source.drained(SOON).await.unwrap();
    for four in recorder.payloads().chunks(4) {
        assert!(four.len() == 4 && four.iter().all(|payload| *payload == four[0]), "{four:?}");
    }
    source.stop().await;
}

#[tokio::test]
async fn a_broker_restart_loses_nothing_and_repeats_nothing() {
    let broker = broker_with(2, 10).await;
    let recorder = Recorder::default();
    let source = EventSource::start(settings(&broker), recorder.handler(|_, _| success())).await.unwrap();
    source.drained(SOON).await.unwrap();
    broker.crash(0);
    broker.restart(0);
    let log = log_of(&broker);
    for n in 0..10 {
        log.produce(message(&format!("key-{n}"))).await.unwrap();
    }
    source.drained(SOON).await.unwrap();
    assert_eq!(recorder.deliveries().len(), 30);
    source.stop().await;
}

/// Without the readers' own reconnect this takes krafka's back-off, which has grown to seconds by then.
#[tokio::test]
async fn a_broker_that_was_away_for_a_while_is_read_again_soon_after_it_is_back() {
    let broker = broker_with(2, 10).await;
    let recorder = Recorder::default();
    let source = EventSource::start(settings(&broker), recorder.handler(|_, _| success())).await.unwrap();
    source.drained(SOON).await.unwrap();
    broker.crash(0);
    assert!(
        source.drained(Duration::from_secs(4)).await.is_err(),
        "the end of the topic is not known while the broker is away"
    );
    broker.restart(0);
    let back = Instant::now();
    log_of(&broker).produce(message("after")).await.unwrap();
    recorder.until("the record after the outage", |seen| seen.deliveries().len() == 21).await;
    assert!(back.elapsed() < Duration::from_millis(1500), "{:?}", back.elapsed());
    source.stop().await;
}

#[tokio::test]
async fn a_stopped_source_lets_the_invocation_under_way_end_and_starts_none() {
    let broker = broker_with(1, 3).await;
    let recorder = Recorder::default();
    let (gate, ended) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (seen, held, count) = (recorder.handler(|_, _| success()), Arc::clone(&gate), Arc::clone(&ended));
    let handler: Handler = Arc::new(move |event| {
        let (answer, held, count) = (seen(event), Arc::clone(&held), Arc::clone(&count));
        async move {
            held.acquire().await.unwrap().forget();
            count.fetch_add(1, Ordering::SeqCst);
            answer.await
        }
        .boxed()
    });
    let mut settings = settings(&broker);
    settings.batch_size = 1;
    let source = EventSource::start(settings, handler).await.unwrap();
    recorder.until("an invocation", |seen| !seen.payloads().is_empty()).await;
    tokio::join!(source.stop(), async { gate.add_permits(3) });
    assert_eq!((recorder.payloads().len(), ended.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test]
async fn a_topic_that_is_not_there_and_settings_out_of_bounds_are_refused() {
    let broker = broker_with(1, 0).await;
    let start = |settings| EventSource::start(settings, Recorder::default().handler(|_, _| success()));
    let error = start(EventSourceSettings::new(broker.bootstrap_servers(), "nowhere")).await.unwrap_err();
    assert!(matches!(error, EventSourceError::UnknownTopic(_)), "{error:?}");
    for settings in [
        EventSourceSettings { batch_size: 0, ..settings(&broker) },
        EventSourceSettings { deliveries: 0, ..settings(&broker) },
        EventSourceSettings { pollers: 0, ..settings(&broker) },
        EventSourceSettings { on_failure_topic: Some(TOPIC.to_owned()), ..settings(&broker) },
    ] {
        let error = start(settings).await.unwrap_err();
        assert!(matches!(error, EventSourceError::Settings(_)), "{error:?}");
    }
}
