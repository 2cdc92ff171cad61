//! Redis answering "not now", or having forgotten the scripts (F4).

use local::servers::ServerSet;

use super::{assert_held_once, assert_unavailable, timed};
use crate::harness::monitor::Monitor;
use crate::harness::{Office, hall, redis, storm};

async fn selling() -> (Office, fred::clients::Client) {
    let office = Office::open(ServerSet::Embedded).await;
    office.sells("refusing", &hall::small(1, 8)).await;
    assert_eq!(office.customer("early").reserve("refusing", "k", &["A-1-1"]).await.unwrap().status, 202);
    office.drained().await;
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    (office, redis)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_scripts_are_sent_again_for_exactly_one_command_more() {
    let (office, redis) = selling().await;
    office.system.event_source().pause();
    redis::command::<String>(&redis, &["SCRIPT", "FLUSH"]).await;
    let mut monitor = Monitor::start(&office.system.servers().redis_url()).await;
    for (seat, expected) in [("A-1-2", 2), ("A-1-3", 1)] {
        assert_eq!(office.customer("bob").reserve("refusing", seat, &[seat]).await.unwrap().status, 202);
        let commands = monitor.commands().await;
        assert_eq!(commands.len(), expected, "{seat}: {commands:?}");
    }
    office.close().await;
}

/// Refused while `spoil` holds, accepted after `mend`, and one reservation in the end.
async fn not_now(spoil: &[&str], mend: &[&str]) {
    let (office, redis) = selling().await;
    let messages = office.produced().await.len();
    let bob = office.customer("bob");
    redis::command::<String>(&redis, spoil).await;
    for _ in 0..3 {
        assert_unavailable(&timed(&bob, "refusing", "k", "A-1-2").await);
    }
    assert_eq!(office.produced().await.len(), messages, "a message without a claim");
    redis::command::<String>(&redis, mend).await;
    let accepted = storm::insist(&bob, "refusing", "k", &["A-1-2"]).await;
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    assert_held_once(&office, &bob, accepted.text("reservation_id").unwrap(), "A-1-2").await;
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_became_a_replica_means_not_now() {
    // Of a primary that nobody is: port 1 is closed.
    not_now(&["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_without_memory_means_not_now() {
    not_now(&["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]).await;
}
