//! The error contract of `RequestLog`, held by the krafka adapter against a broker that can be told how to fail.
//!
//! Names carry the fault they cause: F5 is a produce refused for certain, F6 one in doubt, F17 a socket that died unseen.

mod f5_refused;
mod f6_in_doubt;

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use krafka::error::ErrorCode;
use krafka::producer::murmur2;
use krafka::testing::{ApiKey, Control, FakeBroker};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{KafkaSettings, KrafkaLog, MAX_MESSAGE_BYTES, Message, Position, ProduceError, RequestLog, Security};

const TOPIC: &str = "requests";
const PARTITIONS: i32 = 6;

/// Long enough for a machine that compiles meanwhile, short enough for a test that waits for it.
const DEADLINE: Duration = Duration::from_millis(1500);

/// What a busy machine may add to the deadline before a test calls it broken.
const SLACK: Duration = Duration::from_millis(1000);

fn log_of(servers: &str) -> KrafkaLog {
    let mut settings = KafkaSettings::new(servers, Security::Plaintext);
    settings.produce_deadline = DEADLINE;
    KrafkaLog::new(settings)
}

async fn broker_with(partitions: i32) -> (FakeBroker, KrafkaLog) {
    let broker = FakeBroker::start().await.unwrap();
    broker.create_topic(TOPIC, partitions);
    let log = log_of(&broker.bootstrap_servers());
    (broker, log)
}

/// A broker, a log that has connected and a first message at offset 0: what follows meets a warm producer.
async fn warm() -> (FakeBroker, KrafkaLog) {
    let (broker, log) = broker_with(1).await;
    assert_eq!(log.produce(message("first")).await.unwrap(), Position { partition: 0, offset: 0 });
    (broker, log)
}

fn message(key: &str) -> Message {
    Message {
        topic: TOPIC.to_owned(),
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: Some(Bytes::from_static(b"{}")),
        headers: Vec::new(),
    }
}

/// How often the log holds a key, whatever the producer was told.
fn written(broker: &FakeBroker, key: &str) -> usize {
    broker.all_records(TOPIC).unwrap().iter().filter(|record| record.key.as_deref() == Some(key.as_bytes())).count()
}

async fn produce_in_time(log: &KrafkaLog, message: Message) -> Result<Position, ProduceError> {
    let started = Instant::now();
    let answer = log.produce(message).await;
    let took = started.elapsed();
    assert!(took < DEADLINE + SLACK, "a produce took {took:?} under a deadline of {DEADLINE:?}");
    answer
}

#[track_caller]
fn assert_definite(answer: Result<Position, ProduceError>, reason: &str) {
    let error = answer.unwrap_err();
    assert!(error.is_definite(), "{error:?}");
    assert_eq!(error.reason(), reason, "{error:?}");
}

#[track_caller]
fn assert_in_doubt(answer: Result<Position, ProduceError>) {
    let error = answer.unwrap_err();
    assert!(!error.is_definite(), "{error:?}");
}

/// The broker is well again: one of the next produces succeeds, without a restart and within two deadlines.
async fn assert_recovers(broker: &FakeBroker, log: &KrafkaLog) {
    let healed = Instant::now();
    let mut attempt = 0;
    loop {
        attempt += 1;
        let key = format!("after-{attempt}");
        match produce_in_time(log, message(&key)).await {
            Ok(_) => {
                assert_eq!(written(broker, &key), 1);
                return;
            }
            Err(error) => {
                assert!(healed.elapsed() < DEADLINE * 2, "still failing after {:?}: {error:?}", healed.elapsed())
            }
        }
    }
}

#[tokio::test]
async fn a_message_arrives_with_key_value_and_headers_in_its_key_s_partition() {
    let (broker, log) = broker_with(PARTITIONS).await;
    let mut sent = message("event.8a6e");
    sent.headers =
        vec![("correlation-id".to_owned(), Bytes::from_static(b"event.8a6e")), ("empty".to_owned(), Bytes::new())];
    let position = log.produce(sent).await.unwrap();

    let expected = (murmur2(b"event.8a6e") & 0x7fff_ffff) % u32::try_from(PARTITIONS).unwrap();
    assert_eq!(position, Position { partition: i32::try_from(expected).unwrap(), offset: 0 });
    let records = broker.all_records(TOPIC).unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].key.as_deref(), Some(&b"event.8a6e"[..]));
    assert_eq!(records[0].value.as_deref(), Some(&b"{}"[..]));
    let headers: Vec<_> =
        records[0].headers.iter().map(|(name, value)| (name.to_string(), value.clone().unwrap())).collect();
    assert_eq!(
        headers,
        [("correlation-id".to_owned(), Bytes::from_static(b"event.8a6e")), ("empty".to_owned(), Bytes::new())]
    );
}

#[tokio::test]
async fn a_message_without_key_or_value_arrives_so() {
    let (broker, log) = broker_with(1).await;
    log.produce(Message { topic: TOPIC.to_owned(), key: None, value: None, headers: Vec::new() }).await.unwrap();
    let records = broker.all_records(TOPIC).unwrap();
    assert_eq!((records[0].key.clone(), records[0].value.clone()), (None, None));
}

#[tokio::test]
async fn many_produces_at_once_share_one_producer_and_one_connection_each_answered_with_its_own_position() {
    const AT_ONCE: usize = 300;
    let (broker, log) = broker_with(PARTITIONS).await;
    let keys: Vec<String> = (0..AT_ONCE).map(|n| format!("key-{n}")).collect();
    let answers = join_all(keys.iter().map(|key| log.produce(message(key)))).await;

    let records = broker.all_records(TOPIC).unwrap();
    assert_eq!(records.len(), AT_ONCE);
    for (key, answer) in keys.iter().zip(answers) {
        let position = answer.unwrap();
        let there = records.iter().find(|r| (r.partition, r.offset) == (position.partition, position.offset)).unwrap();
        assert_eq!(there.key.as_deref(), Some(key.as_bytes()));
    }
    assert_eq!(broker.request_count(ApiKey::InitProducerId), 1);
    assert!(broker.request_count(ApiKey::Produce) < AT_ONCE / 2, "messages on their way at once were not batched");
}

#[tokio::test]
async fn f17_a_socket_that_died_without_a_word_costs_one_resend_and_no_error() {
    let (broker, log) = warm().await;
    broker.on_once(ApiKey::Produce, |_| Control::Silence);
    assert_eq!(produce_in_time(&log, message("a")).await.unwrap(), Position { partition: 0, offset: 1 });
}

#[tokio::test]
async fn f17_a_broker_restarted_between_two_produces_costs_no_error() {
    let (broker, log) = warm().await;
    broker.crash(0);
    broker.restart(0);
    assert_eq!(produce_in_time(&log, message("a")).await.unwrap(), Position { partition: 0, offset: 1 });
}

#[tokio::test]
async fn a_moved_leader_is_followed_without_an_error() {
    let broker = FakeBroker::start_cluster(2).await.unwrap();
    broker.create_topic(TOPIC, 1);
    let log = log_of(&broker.bootstrap_servers());
    log.produce(message("a")).await.unwrap();
    let leader = broker.with_state(|state| state.partition(TOPIC, 0).unwrap().leader);
    assert!(broker.set_leader(TOPIC, 0, 1 - leader));
    assert_eq!(produce_in_time(&log, message("b")).await.unwrap(), Position { partition: 0, offset: 1 });
}

#[tokio::test]
async fn warm_up_leaves_nothing_to_connect_for_the_first_produce() {
    let (broker, log) = broker_with(1).await;
    log.warm_up().await;
    let before = (broker.request_count(ApiKey::Metadata), broker.request_count(ApiKey::InitProducerId));
    log.produce(message("a")).await.unwrap();
    assert_eq!((broker.request_count(ApiKey::Metadata), broker.request_count(ApiKey::InitProducerId)), before);
    assert_eq!(before.1, 1);
}

#[tokio::test]
async fn a_closed_log_lets_its_connections_go_and_connects_anew_when_used_again() {
    let (broker, log) = warm().await;
    log.close().await;
    let closed = Instant::now();
    while broker.open_connections() > 0 {
        assert!(closed.elapsed() < DEADLINE, "{} connections left open", broker.open_connections());
        tokio::task::yield_now().await;
    }
    log.produce(message("a")).await.unwrap();
}
