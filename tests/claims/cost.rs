//! What a request costs, end to end: an accept is one Redis command and one message, a reject is one Redis command.

use local::servers::ServerSet;
use serde_json::json;

use crate::harness::monitor::Monitor;
use crate::harness::{Office, hall, on_both_sets};

on_both_sets!(an_accept_is_one_command_and_one_message_and_a_reject_is_one_command);

async fn an_accept_is_one_command_and_one_message_and_a_reject_is_one_command(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("cost", &hall::with(hall::small(1, 8), "max_per_customer", json!(3))).await;
    // Only the API asks Redis from here on.
    office.system.event_source().pause();
    let (alice, bob) = (office.customer("alice"), office.customer("bob"));
    assert_eq!(alice.reserve("cost", "warm", &["A-1-1"]).await.unwrap().status, 202);
    let mut monitor = Monitor::start(&office.system.servers().redis_url()).await;
    let messages = office.produced().await.len();
    assert_eq!(messages, 1);

    for (n, seats) in [&["A-1-2"][..], &["A-1-3", "B-1-1"]].into_iter().enumerate() {
        let accepted = bob.reserve("cost", &n.to_string(), seats).await.unwrap();
        assert_eq!(accepted.status, 202, "{}", accepted.body);
        let commands = monitor.commands().await;
        assert_eq!(commands.len(), 1, "{commands:?}");
        assert_eq!(office.produced().await.len(), messages + n + 1);
    }

    let over = [409, 409, 422];
    let refused: [(&str, &[&str]); 3] = [("a", &["A-1-1", "A-1-4"]), ("b", &["B-1-4"]), ("0", &["A-1-5"])];
    for ((key, seats), status) in refused.into_iter().zip(over) {
        let refused = bob.reserve("cost", key, seats).await.unwrap();
        assert_eq!(refused.status, status, "{}", refused.body);
        let commands = monitor.commands().await;
        assert_eq!(commands.len(), 1, "{}: {commands:?}", refused.body);
    }
    assert_eq!(office.produced().await.len(), messages + 2);
    office.close().await;
}
