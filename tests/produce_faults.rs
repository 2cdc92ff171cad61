//! A produce that fails, seen through HTTP. Failed for certain (F5), the claim is given back and the seat is free at once;
//! in doubt (F6), the claim stays and the same key continues; and a give-back looks at the other attempts (F23).

use std::sync::Arc;

use axum::http::header::RETRY_AFTER;
use krafka::error::ErrorCode;
use krafka::testing::{ApiKey, Control};
use local::client::Answer;
use local::config::cache_dir;
use local::servers::{RealPair, ServerSet, Servers};
use serde_json::json;
use shared::domain::reservation::{Outcome, Reason, Status};
use shared::dynamodb::reservations::Repository;
use tokio::sync::Semaphore;

use crate::harness::handmade::reservation_id;
use crate::harness::logs::{Mood, Moody};
use crate::harness::{Office, Wishes, eventually, hall, on_both_sets, signal};

on_both_sets!(
    f5_a_definite_failure_gives_everything_back_and_the_seat_is_sold_at_once,
    f6_in_doubt_and_written_the_claim_stays_and_the_key_continues,
    f6_in_doubt_and_lost_the_claim_stays_and_the_key_continues,
    f6_in_doubt_and_written_the_customer_need_not_come_back,
    f23_a_definite_failure_after_a_doubt_releases_nothing,
    f23_a_definite_failure_releases_nothing_once_a_second_attempt_has_joined,
    a_key_that_comes_back_after_its_claim_is_closed_and_the_late_message_makes_nothing,
);

/// An office whose API produces as the test wishes, with a small hall on sale under this id.
async fn moody_office(set: ServerSet, event: &str) -> (Office, Arc<Moody>) {
    let moody = Moody::new();
    let office = Office::open_with(Wishes { wrap_log: Some(moody.wrap()), ..Wishes::plain(set) }).await;
    office.sells(event, &hall::with(hall::small(1, 4), "max_per_customer", json!(2))).await;
    (office, moody)
}

/// 503 with a time to come back; answers the id it carries.
#[track_caller]
fn unavailable(answer: &Answer) -> Option<&str> {
    assert_eq!((answer.status, answer.text("type")), (503, Some("unavailable")), "{}", answer.body);
    assert!(answer.headers.contains_key(RETRY_AFTER));
    answer.text("reservation_id")
}

#[track_caller]
fn assert_refused(answer: &Answer, slug: &str) {
    assert_eq!((answer.status, answer.text("type")), (409, Some(slug)), "{}", answer.body);
}

/// Fails unless this reservation is the only one stored, and holds.
async fn assert_alone_and_held(office: &Office, event: &str, id: &str) {
    office.drained().await;
    let answer = office.customer("alice").get(&format!("/reservations/{id}")).await.unwrap();
    assert_eq!(answer.text("status"), Some("HELD"), "{}", answer.body);
    let rows: Vec<String> = office.scan().await.into_iter().filter(|item| item.contains("pk=\"RES#")).collect();
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert_eq!(office.seat_status(event, "A-1-1").await, "held");
}

async fn f5_a_definite_failure_gives_everything_back_and_the_seat_is_sold_at_once(set: ServerSet) {
    let (office, moody) = moody_office(set, "definite").await;
    let (alice, bob) = (office.customer("alice"), office.customer("bob"));
    moody.set(|_| Mood::Definite);
    let refused = alice.reserve("definite", "k", &["A-1-1", "A-1-2"]).await.unwrap();
    assert_eq!(unavailable(&refused), None, "the key is bound to nothing");
    assert_eq!(office.seat_status("definite", "A-1-1").await, "free");
    moody.set(|_| Mood::Well);
    let sold = bob.reserve("definite", "k", &["A-1-1", "A-1-2"]).await.unwrap();
    assert_eq!(sold.status, 202, "{}", sold.body);
    // Nothing is left of the attempt: neither its body under the key, nor its seats in the limit of two.
    let other = alice.reserve("definite", "k", &["A-1-3", "A-1-4"]).await.unwrap();
    assert_eq!(other.status, 202, "{}", other.body);
    office.drained().await;
    assert_eq!(office.produced().await.len(), 2);
    office.close().await;
}

async fn in_doubt(set: ServerSet, event: &'static str, mood: Mood, messages: usize) {
    let (office, moody) = moody_office(set, event).await;
    office.system.event_source().pause();
    let (alice, bob) = (office.customer("alice"), office.customer("bob"));
    moody.set(move |_| mood.clone());
    let doubted = alice.reserve(event, "k", &["A-1-1"]).await.unwrap();
    let id = unavailable(&doubted).unwrap();
    assert_eq!(id, reservation_id(event, "alice", "k").as_str());
    assert_eq!(alice.get(&format!("/reservations/{id}")).await.unwrap().text("status"), Some("PENDING"));
    moody.set(|_| Mood::Well);
    assert_refused(&bob.reserve(event, "k", &["A-1-1"]).await.unwrap(), "seats-taken");
    let again = alice.reserve(event, "k", &["A-1-1"]).await.unwrap();
    assert_eq!((again.status, again.text("reservation_id")), (202, Some(id)), "{}", again.body);
    office.system.event_source().resume();
    assert_alone_and_held(&office, event, id).await;
    let produced = office.produced().await;
    assert_eq!(produced.len(), messages);
    assert!(produced.iter().all(|message| *message == produced[0]), "a retry produces the same bytes");
    office.close().await;
}

async fn f6_in_doubt_and_written_the_claim_stays_and_the_key_continues(set: ServerSet) {
    in_doubt(set, "doubt", Mood::InDoubtAndWritten, 2).await;
}

async fn f6_in_doubt_and_lost_the_claim_stays_and_the_key_continues(set: ServerSet) {
    in_doubt(set, "doubt", Mood::InDoubtAndLost, 1).await;
}

async fn f6_in_doubt_and_written_the_customer_need_not_come_back(set: ServerSet) {
    let (office, moody) = moody_office(set, "gone").await;
    moody.set(|_| Mood::InDoubtAndWritten);
    let doubted = office.customer("alice").reserve("gone", "k", &["A-1-1"]).await.unwrap();
    let id = unavailable(&doubted).unwrap();
    assert_alone_and_held(&office, "gone", id).await;
    let again = office.customer("alice").reserve("gone", "k", &["A-1-1"]).await.unwrap();
    assert_eq!((again.status, again.text("reservation_id")), (200, Some(id)), "{}", again.body);
    office.close().await;
}

async fn f23_a_definite_failure_after_a_doubt_releases_nothing(set: ServerSet) {
    let (office, moody) = moody_office(set, "mixed").await;
    office.system.event_source().pause();
    let (alice, bob) = (office.customer("alice"), office.customer("bob"));
    moody.set(|_| Mood::InDoubtAndWritten);
    let doubted = alice.reserve("mixed", "k", &["A-1-1"]).await.unwrap();
    let id = unavailable(&doubted).unwrap();
    moody.set(|_| Mood::Definite);
    let refused = alice.reserve("mixed", "k", &["A-1-1"]).await.unwrap();
    assert_eq!(unavailable(&refused), Some(id), "the key stays bound: the first message is written");
    moody.set(|_| Mood::Well);
    assert_refused(&bob.reserve("mixed", "k", &["A-1-1"]).await.unwrap(), "seats-taken");
    office.system.event_source().resume();
    assert_alone_and_held(&office, "mixed", id).await;
    office.close().await;
}

async fn f23_a_definite_failure_releases_nothing_once_a_second_attempt_has_joined(set: ServerSet) {
    let (office, moody) = moody_office(set, "joined").await;
    let (alice, bob) = (office.customer("alice"), office.customer("bob"));
    let gate = Arc::new(Semaphore::new(0));
    let behind = Arc::clone(&gate);
    moody.set(move |_| Mood::RefusedBehind(Arc::clone(&behind)));
    let first = tokio::spawn({
        let alice = alice.clone();
        async move { alice.reserve("joined", "k", &["A-1-1"]).await.unwrap() }
    });
    eventually("the first attempt to produce", || async { (!moody.seen().is_empty()).then_some(()) }).await;
    moody.set(|_| Mood::Well);
    let second = alice.reserve("joined", "k", &["A-1-1"]).await.unwrap();
    assert_eq!(second.status, 202, "{}", second.body);
    gate.add_permits(1);
    let first = first.await.unwrap();
    assert_eq!(unavailable(&first), second.text("reservation_id"));
    assert_refused(&bob.reserve("joined", "k", &["A-1-1"]).await.unwrap(), "seats-taken");
    assert_alone_and_held(&office, "joined", second.text("reservation_id").unwrap()).await;
    office.close().await;
}

async fn a_key_that_comes_back_after_its_claim_is_closed_and_the_late_message_makes_nothing(set: ServerSet) {
    let (office, moody) = moody_office(set, "late").await;
    office.sells("late", &hall::with(hall::small(1, 4), "hold_seconds", json!(1))).await;
    let (alice, bob) = (office.customer("alice"), office.customer("bob"));
    moody.set(|_| Mood::InDoubtAndLost);
    let doubted = alice.reserve("late", "k", &["A-1-1", "A-1-2"]).await.unwrap();
    let id = unavailable(&doubted).unwrap();
    let closed = eventually("the claim to end", || async {
        let answer = alice.reserve("late", "k", &["A-1-1", "A-1-2"]).await.unwrap();
        (answer.status != 503).then_some(answer)
    })
    .await;
    assert_refused(&closed, "lapsed");
    assert_eq!(closed.text("reservation_id"), Some(id));

    let lost = moody.seen();
    assert!(lost.iter().all(|message| *message == lost[0]));
    moody.write(lost[0].clone()).await;
    office.drained().await;
    let repository = Repository::new(office.table().await);
    let row = repository.get(&reservation_id("late", "alice", "k")).await.unwrap().unwrap();
    assert_eq!((row.status, row.outcome), (Status::Rejected, Outcome::Rejected(Reason::Lapsed)));
    let items = office.scan().await;
    assert!(!items.iter().any(|item| item.contains("pk=\"SEATS#") || item.contains("pk=\"LIMIT#")), "{items:#?}");
    assert_refused(&alice.reserve("late", "k", &["A-1-1", "A-1-2"]).await.unwrap(), "lapsed");

    assert_eq!(office.seat_status("late", "A-1-1").await, "free");
    moody.set(|_| Mood::Well);
    assert_eq!(bob.reserve("late", "k", &["A-1-1"]).await.unwrap().status, 202);
    office.drained().await;
    let row = repository.get(&reservation_id("late", "bob", "k")).await.unwrap().unwrap();
    assert_eq!(row.outcome, Outcome::Held);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f5_a_broker_down_before_the_first_connect_binds_no_key_and_is_met_again_when_it_is_back() {
    let office = Office::open(ServerSet::Embedded).await;
    office.sells("down", &hall::small(1, 4)).await;
    let broker = office.system.servers().broker().unwrap();
    broker.crash(0);
    let refused = office.customer("bob").reserve("down", "k", &["A-1-1"]).await.unwrap();
    assert_eq!(unavailable(&refused), None);
    assert_eq!(office.seat_status("down", "A-1-1").await, "free");
    broker.restart(0);
    let sold = office.customer("alice").reserve("down", "k", &["A-1-1"]).await.unwrap();
    assert_eq!(sold.status, 202, "{}", sold.body);
    assert_alone_and_held(&office, "down", sold.text("reservation_id").unwrap()).await;
    office.close().await;
}

/// The broker does this with every produce until it is well again; a doubt must come of it, and one hold in the end.
async fn a_broker_in_doubt(event: &str, control: Control) {
    let office = Office::open(ServerSet::Embedded).await;
    office.sells(event, &hall::small(1, 4)).await;
    let (alice, bob) = (office.customer("alice"), office.customer("bob"));
    // The outcomes are produced through the same broker: what is tested is the way in.
    office.system.event_source().pause();
    let warm = alice.reserve(event, "warm", &["B-1-1"]).await.unwrap();
    assert_eq!(warm.status, 202);
    let broker = office.system.servers().broker().unwrap();
    broker.on(ApiKey::Produce, move |_| control.clone());
    let doubted = alice.reserve(event, "k", &["A-1-1"]).await.unwrap();
    let id = unavailable(&doubted).unwrap();
    assert_refused(&bob.reserve(event, "k", &["A-1-1"]).await.unwrap(), "seats-taken");
    broker.clear_hooks();
    let again = eventually("the key to continue", || async {
        let answer = alice.reserve(event, "k", &["A-1-1"]).await.unwrap();
        (answer.status != 503).then_some(answer)
    })
    .await;
    assert_eq!((again.status, again.text("reservation_id")), (202, Some(id)), "{}", again.body);
    office.system.event_source().resume();
    office.drained().await;
    let shown = alice.get(&format!("/reservations/{id}")).await.unwrap();
    assert_eq!(shown.text("status"), Some("HELD"), "{}", shown.body);
    let listed = alice.get("/reservations").await.unwrap();
    assert_eq!(listed.body["reservations"].as_array().unwrap().len(), 2, "{}", listed.body);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_a_broker_that_appends_and_hangs_up_is_in_doubt_and_the_key_continues() {
    a_broker_in_doubt("reset", Control::ApplyThen(Box::new(Control::Disconnect))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_a_broker_that_appends_and_says_not_leader_is_in_doubt_and_the_key_continues() {
    let not_leader = Control::Error(ErrorCode::NotLeaderForPartition);
    a_broker_in_doubt("leader", Control::ApplyThen(Box::new(not_leader))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_a_broker_that_never_answers_is_in_doubt_and_the_key_continues() {
    a_broker_in_doubt("silence", Control::Silence).await;
}

/// Sends a signal to a process of the test's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f6_on_apache_kafka_a_frozen_broker_is_in_doubt_and_the_key_continues_after_the_thaw() {
    let pair = Arc::new(RealPair::start(&cache_dir()).await.unwrap());
    let servers = Servers::start_on(pair).await.unwrap();
    let office = Office::open_on(servers, Wishes::plain(ServerSet::Real)).await;
    office.sells("frozen", &hall::small(1, 4)).await;
    let (alice, bob) = (office.customer("alice"), office.customer("bob"));
    let kafka = office.system.servers().kafka_pid().unwrap();
    assert_eq!(bob.reserve("frozen", "warm", &["B-1-1"]).await.unwrap().status, 202);
    office.drained().await;

    signal("-STOP", kafka);
    let doubted = alice.reserve("frozen", "k", &["A-1-1"]).await.unwrap();
    let taken = bob.reserve("frozen", "k", &["A-1-1"]).await.unwrap();
    signal("-CONT", kafka);
    let id = unavailable(&doubted).unwrap();
    assert_refused(&taken, "seats-taken");
    let again = eventually("the key to continue", || async {
        let answer = alice.reserve("frozen", "k", &["A-1-1"]).await.unwrap();
        (answer.status != 503).then_some(answer)
    })
    .await;
    assert!([200, 202].contains(&again.status), "{}", again.body);
    assert_eq!(again.text("reservation_id"), Some(id));
    office.drained().await;
    let shown = alice.get(&format!("/reservations/{id}")).await.unwrap();
    assert_eq!(shown.text("status"), Some("HELD"), "{}", shown.body);
    office.close().await;
}
