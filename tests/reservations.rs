//! Reserving named seats, end to end: one winner, all or nothing, one key one effect, and the truth after every loss.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use local::client::{Answer, ApiClient};
use local::servers::ServerSet;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::harness::{Office, Wishes, all_at_once, eventually, hall, on_both_sets, redis, storm, table};

on_both_sets!(
    of_300_customers_for_one_seat_exactly_one_holds_it,
    overlapping_requests_never_share_a_seat_and_never_hold_a_part,
    a_key_used_200_times_at_once_has_one_id_one_row_and_one_message,
    another_body_under_a_key_is_refused,
    a_flush_between_two_customers_disappoints_the_second_and_leaves_the_truth,
    after_a_flush_a_stored_hold_is_loaded_again_and_refuses_at_once,
    deliveries_repeated_and_a_topic_replayed_change_nothing,
    a_hold_that_ran_out_goes_to_the_next_customer,
);

/// What became of a reservation, once it is decided.
async fn outcome(client: &ApiClient, id: &str) -> Answer {
    eventually("a decided reservation", || async {
        let answer = client.get(&format!("/reservations/{id}")).await.unwrap();
        (answer.status == 200 && answer.body["status"] != "PENDING").then_some(answer)
    })
    .await
}

async fn of_300_customers_for_one_seat_exactly_one_holds_it(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("storm", &hall::small(1, 4)).await;
    let answers = storm::on_one_seat(&office, "storm", "A-1-1", 300).await;
    let (winner, won) = storm::one_winner(&answers, "A-1-1").unwrap();
    let held = outcome(winner, won.text("reservation_id").unwrap()).await;
    assert_eq!(held.body["status"], "HELD");
    assert_eq!(office.seat_status("storm", "A-1-1").await, "held");
    office.close().await;
}

async fn overlapping_requests_never_share_a_seat_and_never_hold_a_part(set: ServerSet) {
    const ROUNDS: usize = 40;
    let office = Office::open(set).await;
    office.sells("triangle", &hall::small(ROUNDS, 3)).await;
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for row in 1..=ROUNDS {
        storm::triangle(&office, "triangle", row, &mut random).await.unwrap();
    }
    office.drained().await;
    let map = office.fresh("/events/triangle").await;
    assert_eq!(map.body["availability"]["A"]["held"], json!(2 * ROUNDS));
    office.close().await;
}

async fn a_key_used_200_times_at_once_has_one_id_one_row_and_one_message(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("keys", &hall::small(1, 4)).await;
    let client = office.customer("impatient");
    let answers = all_at_once((0..200).map(|_| {
        let client = client.clone();
        async move { storm::insist(&client, "keys", "one-key", &["A-1-1", "A-1-2"]).await }
    }))
    .await;
    let mut ids = BTreeSet::new();
    for answer in &answers {
        assert!([200, 202].contains(&answer.status), "{} {}", answer.status, answer.body);
        ids.insert(answer.text("reservation_id").unwrap().to_owned());
    }
    assert_eq!(ids.len(), 1, "{ids:?}");
    office.drained().await;

    let messages = office.produced().await;
    assert!(!messages.is_empty());
    let distinct: BTreeSet<_> = messages.iter().map(|message| (message.key.clone(), message.value.clone())).collect();
    assert_eq!(distinct.len(), 1, "every message of a key is byte-equal");

    let listed = client.get("/reservations").await.unwrap();
    assert_eq!(listed.body["reservations"].as_array().unwrap().len(), 1);
    assert_eq!(listed.body["reservations"][0]["status"], "HELD");
    office.close().await;
}

async fn another_body_under_a_key_is_refused(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("bodies", &hall::small(1, 4)).await;
    let client = office.customer("alice");
    assert_eq!(storm::insist(&client, "bodies", "k", &["A-1-1"]).await.status, 202);
    let refused = storm::insist(&client, "bodies", "k", &["A-1-2"]).await;
    assert_eq!((refused.status, refused.text("type")), (422, Some("idempotency-key-reused")));
    assert!(refused.body.get("reservation_id").is_none());
    assert_eq!(office.seat_status("bodies", "A-1-2").await, "free");
    // The same key of another customer, and of the same customer in another order, is another and the same thing.
    assert_eq!(storm::insist(&office.customer("bob"), "bodies", "k", &["A-1-2"]).await.status, 202);
    let pretty = b"{ \"seats\" : [\"A-1-1\"] }".to_vec();
    let again =
        client.send_raw(Method::POST, "/events/bodies/reservations", &[("idempotency-key", "k")], pretty.into());
    assert!([200, 202].contains(&again.await.unwrap().status));
    office.close().await;
}

async fn a_flush_between_two_customers_disappoints_the_second_and_leaves_the_truth(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("flush", &hall::small(1, 4)).await;
    office.system.event_source().pause();
    let (first, second) = (office.customer("first"), office.customer("second"));
    let accepted = storm::insist(&first, "flush", "k", &["A-1-1"]).await;
    assert_eq!(accepted.status, 202);
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    redis::command::<String>(&redis, &["FLUSHALL"]).await;
    let late = storm::insist(&second, "flush", "k", &["A-1-1", "A-1-2"]).await;
    assert_eq!(late.status, 202, "{}", late.body);
    office.system.event_source().resume();

    let (won, lost) = (accepted.text("reservation_id").unwrap(), late.text("reservation_id").unwrap());
    let statuses: BTreeMap<&str, Answer> =
        BTreeMap::from([(won, outcome(&first, won).await), (lost, outcome(&second, lost).await)]);
    let held: Vec<_> = statuses.iter().filter(|(_, answer)| answer.body["status"] == "HELD").collect();
    let rejected: Vec<_> = statuses.iter().filter(|(_, answer)| answer.body["status"] == "REJECTED").collect();
    assert_eq!((held.len(), rejected.len()), (1, 1), "{statuses:?}");
    assert_eq!(rejected[0].1.body["reason"], "seats-taken");
    office.drained().await;
    assert_eq!(office.seat_status("flush", "A-1-1").await, "held");
    let other = if *held[0].0 == won { "free" } else { "held" };
    assert_eq!(office.seat_status("flush", "A-1-2").await, other);
    office.close().await;
}

async fn after_a_flush_a_stored_hold_is_loaded_again_and_refuses_at_once(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("reload", &hall::small(1, 4)).await;
    let accepted = storm::insist(&office.customer("first"), "reload", "k", &["A-1-1"]).await;
    outcome(&office.customer("first"), accepted.text("reservation_id").unwrap()).await;
    office.drained().await;
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    redis::command::<String>(&redis, &["FLUSHALL"]).await;
    let refused = storm::insist(&office.customer("second"), "reload", "k", &["A-1-1"]).await;
    assert_eq!((refused.status, refused.text("type")), (409, Some("seats-taken")), "{}", refused.body);
    // The first customer's own retry is answered from the row, although its record is gone.
    let again = storm::insist(&office.customer("first"), "reload", "k", &["A-1-1"]).await;
    assert_eq!((again.status, again.text("status")), (200, Some("HELD")), "{}", again.body);
    office.close().await;
}

async fn deliveries_repeated_and_a_topic_replayed_change_nothing(set: ServerSet) {
    let office = Office::open_with(Wishes {
        shape_source: Some(Box::new(|source| source.deliveries = 3)),
        ..Wishes::plain(set)
    })
    .await;
    office.sells("replay", &hall::small(4, 6)).await;
    let asked = (0..40).map(|n| {
        let client = office.customer(&format!("customer-{n}"));
        let seats = [format!("A-{}-{}", n % 4 + 1, n % 6 + 1), format!("A-{}-{}", n % 4 + 1, (n + 1) % 6 + 1)];
        async move { storm::insist(&client, "replay", "k", &[&seats[0], &seats[1]]).await.status }
    });
    let accepted = all_at_once(asked).await.into_iter().filter(|status| *status == 202).count();
    assert!(accepted > 0);
    office.drained().await;
    let before = office.scan().await;
    office.system.event_source().replay_from_start().await;
    office.drained().await;
    let after = office.scan().await;
    assert!(after == before, "{:#?}", table::difference(&before, &after));
    office.close().await;
}

async fn a_hold_that_ran_out_goes_to_the_next_customer(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("short", &hall::with(hall::small(1, 4), "hold_seconds", json!(1))).await;
    let (first, second) = (office.customer("first"), office.customer("second"));
    let accepted = storm::insist(&first, "short", "k", &["A-1-1"]).await;
    let id = accepted.text("reservation_id").unwrap();
    outcome(&first, id).await;
    let taken_over = eventually("the seat being free again", || async {
        let answer = storm::insist(&second, "short", "k", &["A-1-1"]).await;
        (answer.status == 202).then_some(answer)
    })
    .await;
    let next = outcome(&second, taken_over.text("reservation_id").unwrap()).await;
    assert!(["HELD", "EXPIRED"].contains(&next.text("status").unwrap()), "{}", next.body);
    assert_eq!(outcome(&first, id).await.body["status"], "EXPIRED");
    let again = storm::insist(&first, "short", "k", &["A-1-1"]).await;
    assert_eq!((again.status, again.text("type")), (409, Some("hold-expired")), "{}", again.body);
    office.close().await;
}
