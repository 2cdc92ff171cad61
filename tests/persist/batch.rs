//! Whole payloads: what is done is done once and before the deadline, and what was not done is reported, byte for byte as
//! the event source reads it.

use std::sync::Arc;
use std::time::Duration;

use local::servers::ServerSet;
use reservation_persist::{Persist, persist_batch};
use serde_json::Value;
use shared::domain::reservation::Status;
use shared::dynamodb::reservations::Repository;
use shared::kafka::RequestLog;
use shared::message::Request;
use shared::redis::Redis;
use tokio::time::Instant;

use crate::harness::handmade::{asks, carrying, payload, record};
use crate::harness::logs::{Mood, Moody};
use crate::harness::monitor::Monitor;
use crate::harness::proxy::Proxy;
use crate::harness::topic::Seen;
use crate::harness::wire::{Fate, Wire};
use crate::harness::{Office, PATIENCE, on_both_sets};

on_both_sets!(
    a_message_is_done_only_when_its_outcome_is_out,
    a_message_that_comes_several_times_in_a_payload_is_decided_once,
    a_payload_that_comes_after_its_deadline_is_reported_whole_and_nothing_is_begun,
    a_dead_letter_topic_that_never_answers_holds_nothing_up_beyond_the_deadline,
    a_message_whose_handling_panics_is_poison_and_its_neighbours_are_stored,
    without_redis_everything_is_stored_and_done,
    a_redis_that_never_answers_is_waited_for_once_a_payload,
);

/// What the event source reads as "all done".
pub const DONE: &str = r#"{"batchItemFailures":[]}"#;

/// Hands a payload in and returns the answer's bytes.
pub async fn answered(persist: &Persist, payload: Value, within: Duration) -> String {
    let response = persist_batch(persist, payload, Instant::now() + within).await.unwrap();
    serde_json::to_string(&response).unwrap()
}

/// The answer that reports these records.
pub fn reporting(places: &[(&str, i64)]) -> String {
    let failure = |(partition, offset): &(&str, i64)| {
        format!(r#"{{"itemIdentifier":{{"partition":"{partition}","offset":{offset}}}}}"#)
    };
    format!(r#"{{"batchItemFailures":[{}]}}"#, places.iter().map(failure).collect::<Vec<_>>().join(","))
}

/// Fails unless the request is stored and held.
pub async fn assert_held(office: &Office, request: &Request) {
    let row = Repository::new(office.table().await).get(&request.reservation_id).await.unwrap();
    assert_eq!(row.map(|row| row.status), Some(Status::Held), "{}", request.reservation_id);
}

/// A header's value.
pub fn header<'a>(seen: &'a Seen, name: &str) -> Option<&'a str> {
    seen.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

impl Office {
    /// What was kept of records that can never be handled.
    pub async fn dead_letters(&self) -> Vec<Seen> {
        self.topic(&self.system.config().kafka.topics.dlq).await
    }

    /// The outcomes sent so far.
    pub async fn outcomes(&self) -> Vec<Seen> {
        self.topic(&self.system.config().kafka.topics.outcomes).await
    }

    /// The function over the office's stores and this log.
    pub async fn persisting_to(&self, log: Arc<dyn RequestLog>) -> Persist {
        self.persist(self.table().await, log).await
    }
}

async fn a_message_is_done_only_when_its_outcome_is_out(set: ServerSet) {
    let office = Office::open(set).await;
    let (lost, well) = (asks("out", "alice", &["A-1-1"], (1, 2)), asks("out", "bob", &["A-1-2"], (1, 2)));
    let id = lost.reservation_id.as_str().to_owned();
    let moody = Moody::over(office.log(), move |message| {
        if message.key.as_deref() == Some(id.as_bytes()) { Mood::InDoubtAndLost } else { Mood::Well }
    });
    let persist = office.persisting_to(moody).await;
    let batch = payload([
        ("requests-1", vec![carrying(4, &lost), carrying(5, &well)]),
        ("requests-0", vec![carrying(9, &lost)]),
    ]);
    let reported = reporting(&[("requests-0", 9), ("requests-1", 4)]);
    assert_eq!(answered(&persist, batch.clone(), PATIENCE).await, reported);
    assert_held(&office, &lost).await;
    let stored = office.scan().await;
    let persist = office.persisting_to(office.log()).await;
    assert_eq!(answered(&persist, batch, PATIENCE).await, DONE);
    let outcomes = office.outcomes().await;
    assert!(outcomes.iter().any(|seen| seen.key.as_deref() == Some(lost.reservation_id.as_str().as_bytes())));
    assert_eq!(office.scan().await, stored);
    office.close().await;
}

async fn a_message_that_comes_several_times_in_a_payload_is_decided_once(set: ServerSet) {
    let office = Office::open(set).await;
    let wire = Wire::new(|_, _| Fate::Pass);
    let persist = office.persist(wire.under(&office.table().await), office.log()).await;
    let request = asks("twice", "alice", &["A-1-1"], (1, 2));
    // Another message under the same id is no duplicate: it is decided by itself, and finds what is stored.
    let forged = asks("twice", "alice", &["A-1-2"], (1, 2));
    let batch = payload([
        ("requests-0", vec![carrying(1, &request), carrying(2, &request)]),
        ("requests-5", vec![carrying(1, &request)]),
    ]);
    assert_eq!(answered(&persist, batch, PATIENCE).await, DONE);
    assert_eq!(wire.count("TransactWriteItems", |_| true), 1);
    assert_eq!(office.outcomes().await.len(), 1);
    let stored = office.scan().await;
    let batch = payload([("requests-0", vec![carrying(3, &request), carrying(4, &forged)])]);
    assert_eq!(answered(&persist, batch, PATIENCE).await, DONE);
    assert_eq!(wire.count("TransactWriteItems", |_| true), 3);
    assert_eq!(office.scan().await, stored);
    office.close().await;
}

async fn a_payload_that_comes_after_its_deadline_is_reported_whole_and_nothing_is_begun(set: ServerSet) {
    let office = Office::open(set).await;
    let wire = Wire::new(|_, _| Fate::Pass);
    let moody = Moody::over(office.log(), |_| Mood::Well);
    let log: Arc<dyn RequestLog> = moody.clone();
    let persist = office.persist(wire.under(&office.table().await), log).await;
    let request = asks("late", "alice", &["A-1-1"], (1, 2));
    let batch =
        payload([("t-0", vec![carrying(1, &request), record(2, None, None)]), ("t-1", vec![carrying(3, &request)])]);
    assert_eq!(
        answered(&persist, batch.clone(), Duration::ZERO).await,
        reporting(&[("t-0", 1), ("t-0", 2), ("t-1", 3)])
    );
    assert_eq!((wire.count("TransactWriteItems", |_| true), moody.seen().len()), (0, 0));
    assert_eq!(office.scan().await, Vec::<String>::new());
    assert_eq!(answered(&persist, batch, PATIENCE).await, DONE);
    assert_held(&office, &request).await;
    office.close().await;
}

async fn a_dead_letter_topic_that_never_answers_holds_nothing_up_beyond_the_deadline(set: ServerSet) {
    /// What a deadline is overrun by on a loaded machine.
    const SLACK: Duration = Duration::from_secs(2);
    let office = Office::open(set).await;
    let dlq = office.system.config().kafka.topics.dlq.clone();
    let moody = Moody::over(office.log(), move |message| if message.topic == dlq { Mood::Silent } else { Mood::Well });
    let persist = office.persisting_to(moody).await;
    let good = asks("silent", "alice", &["A-1-1"], (1, 2));
    let records = vec![record(1, None, None), record(2, None, None), carrying(3, &good)];
    let (began, within) = (Instant::now(), Duration::from_secs(3));
    assert_eq!(answered(&persist, payload([("t-0", records)]), within).await, reporting(&[("t-0", 1), ("t-0", 2)]));
    assert!(began.elapsed() < within + SLACK, "{:?}", began.elapsed());
    assert_held(&office, &good).await;
    office.close().await;
}

async fn a_message_whose_handling_panics_is_poison_and_its_neighbours_are_stored(set: ServerSet) {
    let office = Office::open(set).await;
    let (bad, good) = (asks("panic", "alice", &["A-1-1"], (1, 2)), asks("panic", "bob", &["A-1-2"], (1, 2)));
    let (id, outcomes) = (bad.reservation_id.clone(), office.system.config().kafka.topics.outcomes.clone());
    let moody = Moody::over(office.log(), move |message| {
        let its_outcome = message.topic == outcomes && message.key.as_deref() == Some(id.as_str().as_bytes());
        if its_outcome { Mood::Panic } else { Mood::Well }
    });
    let persist = office.persisting_to(moody).await;
    let batch = payload([("t-2", vec![carrying(1, &bad), carrying(2, &good), carrying(3, &bad)])]);
    assert_eq!(answered(&persist, batch, PATIENCE).await, DONE);
    assert_held(&office, &good).await;
    let kept = office.dead_letters().await;
    let offsets: Vec<_> =
        kept.iter().map(|letter| (header(letter, "reason"), header(letter, "source-offset"))).collect();
    assert_eq!(offsets, [(Some("panic"), Some("1")), (Some("panic"), Some("3"))]);
    for letter in &kept {
        assert_eq!(letter.key.as_deref(), Some(bad.reservation_id.as_str().as_bytes()));
        assert_eq!(letter.value.as_deref(), Some(bad.to_value().as_slice()));
    }
    office.close().await;
}

async fn without_redis_everything_is_stored_and_done(set: ServerSet) {
    let office = Office::open(set).await;
    let persist = office.persist_without_redis(office.table().await, office.log()).await;
    let seats: Vec<String> = (1..=40).map(|n| format!("A-1-{n}")).collect();
    let requests: Vec<Request> =
        seats.iter().map(|seat| asks("away", &format!("of-{seat}"), &[seat.as_str()], (1, 2))).collect();
    let records = requests.iter().zip(0..).map(|(request, offset)| carrying(offset, request)).collect();
    assert_eq!(answered(&persist, payload([("t-0", records)]), PATIENCE).await, DONE);
    for request in &requests {
        assert_held(&office, request).await;
    }
    office.close().await;
}

async fn a_redis_that_never_answers_is_waited_for_once_a_payload(set: ServerSet) {
    /// Messages decided side by side, each of which may meet the silence before one of them has told the others.
    const AT_ONCE: usize = 16;
    let office = Office::open(set).await;
    let proxy = Proxy::listen().await;
    let url = (proxy.front())(&office.system.servers().redis_url());
    let redis = Redis::connect(&url, 1).await.unwrap();
    let persist = Persist::new(office.system.config(), redis, office.table().await, office.log());
    let mut monitor = Monitor::start(&office.system.servers().redis_url()).await;
    proxy.hold(true);
    let ask = |n: usize| asks("silent", &format!("customer-{n}"), &[&format!("A-1-{n}")], (1, 2));
    let requests: Vec<Request> = (1..=80).map(ask).collect();
    let records = requests.iter().zip(0..).map(|(request, offset)| carrying(offset, request)).collect();
    assert_eq!(answered(&persist, payload([("t-0", records)]), PATIENCE).await, DONE);
    let asked = monitor.commands().await.iter().filter(|command| command.contains("EVALSHA")).count();
    assert!((1..=AT_ONCE).contains(&asked), "{asked} messages waited for it");
    for request in &requests {
        assert_held(&office, request).await;
    }
    office.close().await;
}
