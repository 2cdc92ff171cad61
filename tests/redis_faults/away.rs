//! Redis dead, frozen, or pausing its clients (F2).

use std::time::Duration;

use local::servers::ServerSet;
use tokio::time::Instant;

use super::{assert_held_once, assert_unavailable, timed};
use crate::harness::{Office, eventually, hall, redis, signal};

/// The contract is a second from Redis' return; the rest is for a machine that builds beside the test.
const BACK_WITHIN: Duration = Duration::from_millis(2_500);
/// How long Redis lets its clients wait, in ms: longer than the refusals take.
const PAUSE_MS: u64 = 2_000;

async fn selling() -> Office {
    let office = Office::open(ServerSet::Embedded).await;
    office.sells("away", &hall::small(1, 8)).await;
    assert_eq!(office.customer("early").reserve("away", "k", &["A-1-1"]).await.unwrap().status, 202);
    office.drained().await;
    office
}

/// While Redis is away, several customers are refused in time and nothing is produced.
async fn everybody_is_refused(office: &Office) {
    let messages = office.produced().await.len();
    for (customer, key, seat) in [("bob", "k", "A-1-2"), ("carol", "k", "A-1-3"), ("bob", "k", "A-1-2")] {
        assert_unavailable(&timed(&office.customer(customer), "away", key, seat).await);
    }
    assert_eq!(office.produced().await.len(), messages, "a message without a claim");
}

/// Redis is back: the same key is accepted soon, and stands for one reservation.
async fn the_same_key_continues(office: &Office, back: Instant) {
    let bob = office.customer("bob");
    let accepted = eventually("an accept after Redis came back", || async {
        let answer = bob.reserve("away", "k", &["A-1-2"]).await.unwrap();
        assert!([202, 503].contains(&answer.status), "{} {}", answer.status, answer.body);
        (answer.status == 202).then_some(answer)
    })
    .await;
    println!("accepted {:?} after Redis was back", back.elapsed());
    assert!(back.elapsed() < BACK_WITHIN, "{:?}", back.elapsed());
    assert_held_once(office, &bob, accepted.text("reservation_id").unwrap(), "A-1-2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_refuses_in_time_and_sells_again_when_it_is_back_and_empty() {
    let office = selling().await;
    signal("-KILL", office.system.servers().redis_pid());
    everybody_is_refused(&office).await;
    office.system.servers().restart_redis().await.unwrap();
    the_same_key_continues(&office, Instant::now()).await;
    // It came back empty, and what was stored before is known again.
    let taken = office.customer("dave").reserve("away", "k", &["A-1-1"]).await.unwrap();
    assert_eq!(taken.text("type"), Some("seats-taken"), "{}", taken.body);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_refuses_in_time_and_sells_again_when_it_thaws() {
    let office = selling().await;
    let pid = office.system.servers().redis_pid();
    signal("-STOP", pid);
    everybody_is_refused(&office).await;
    signal("-CONT", pid);
    the_same_key_continues(&office, Instant::now()).await;
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_pauses_its_clients_refuses_in_time_and_sells_again_afterwards() {
    let office = selling().await;
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    let began = Instant::now();
    redis::command::<String>(&redis, &["CLIENT", "PAUSE", &PAUSE_MS.to_string()]).await;
    everybody_is_refused(&office).await;
    assert!(began.elapsed() < Duration::from_millis(PAUSE_MS), "the pause was over before the refusals were");
    redis::command::<String>(&redis, &["PING"]).await;
    the_same_key_continues(&office, Instant::now()).await;
    office.close().await;
}
