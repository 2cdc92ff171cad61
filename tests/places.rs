//! Places of a general section: handed out first come first served, each to one, and again when they are given back.

use std::collections::BTreeSet;

use axum::http::Method;
use local::client::{Answer, ApiClient};
use local::servers::ServerSet;
use serde_json::{Value, json};
use shared::redis::keys;

use crate::harness::monitor::Monitor;
use crate::harness::scripts::{Scripts, event};
use crate::harness::storm::insist_on;
use crate::harness::{Office, all_at_once, eventually, hall, on_both_sets, redis};

on_both_sets!(
    three_customers_for_every_place_get_each_place_once,
    a_place_given_back_is_handed_out_again,
    places_that_ran_out_are_handed_out_again_unswept,
    what_is_only_held_is_contended_and_what_is_sold_is_sold_out,
    after_a_flush_no_place_is_handed_out_that_somebody_has,
    the_limit_counts_places_like_seats,
    an_accept_is_one_command_and_one_message,
    more_places_by_a_republish_sell_at_once,
);

fn wish(quantity: usize) -> Value {
    json!({ "section": "FLOOR", "quantity": quantity })
}

fn seats(answer: &Answer) -> Vec<String> {
    answer.body["seats"].as_array().unwrap().iter().map(|seat| seat.as_str().unwrap().to_owned()).collect()
}

async fn floor(office: &Office, event: &str) -> Value {
    let page = office.fresh(&format!("/events/{event}")).await;
    let counts = page.body["availability"]["FLOOR"].clone();
    let sum: u64 = ["free", "held", "sold", "blocked"].iter().map(|name| counts[name].as_u64().unwrap()).sum();
    assert_eq!(counts["capacity"], json!(sum), "{counts}");
    counts
}

async fn accepted(client: &ApiClient, event: &str, key: &str, quantity: usize) -> Answer {
    let answer = insist_on(client, event, key, &wish(quantity)).await;
    assert!([200, 202].contains(&answer.status), "{} {}", answer.status, answer.body);
    answer
}

async fn pay(office: &Office, id: &str) {
    let payments = office.system.anyone().with_token(&local::system::token("till", &["tickets/payments"]).unwrap());
    let path = format!("/reservations/{id}/confirm");
    let paid = payments.send(Method::POST, &path, &[], Some(&json!({ "payment_reference": "p" }))).await.unwrap();
    assert_eq!(paid.status, 200, "{}", paid.body);
}

async fn three_customers_for_every_place_get_each_place_once(set: ServerSet) {
    const PLACES: usize = 60;
    let office = Office::open(set).await;
    office.sells("crowd", &hall::standing(PLACES)).await;
    let asked = (0..3 * PLACES).map(|n| {
        let client = office.customer(&format!("customer-{n}"));
        async move { insist_on(&client, "crowd", "k", &wish(1)).await }
    });
    let answers = all_at_once(asked).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| [200, 202].contains(&answer.status));
    let places: Vec<String> = won.iter().flat_map(|answer| seats(answer)).collect();
    assert_eq!(places.len(), PLACES);
    let distinct: BTreeSet<&String> = places.iter().collect();
    assert_eq!(distinct, (1..=PLACES).map(|serial| format!("FLOOR-{serial}")).collect::<Vec<_>>().iter().collect());
    for answer in lost {
        // Held is not sold: nobody is told that there will be none.
        assert_eq!((answer.status, answer.text("type")), (409, Some("contended")), "{}", answer.body);
        assert_eq!((answer.header("retry-after"), &answer.body["free"]), (Some("1"), &json!(0)));
        assert!(answer.body.get("reservation_id").is_none());
    }
    office.drained().await;
    assert_eq!(floor(&office, "crowd").await["held"], json!(PLACES));
    office.close().await;
}

async fn a_place_given_back_is_handed_out_again(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("back", &hall::standing(3)).await;
    let (alice, bob) = (office.customer("alice"), office.customer("bob"));
    let two = accepted(&alice, "back", "k", 2).await;
    let one = accepted(&bob, "back", "k", 1).await;
    assert_eq!((seats(&two), seats(&one)), (vec!["FLOOR-1".into(), "FLOOR-2".into()], vec!["FLOOR-3".into()]));
    let path = format!("/reservations/{}", two.text("reservation_id").unwrap());
    assert_eq!(alice.send(Method::DELETE, &path, &[], None).await.unwrap().status, 200);
    let again = accepted(&bob, "back", "k2", 2).await;
    assert_eq!(seats(&again), ["FLOOR-1", "FLOOR-2"]);
    office.drained().await;
    // Sold, and given back by its buyer, it is free once more.
    office.sells("back", &hall::with(hall::standing(3), "cancellable_until", json!("2098-01-01T00:00:00Z"))).await;
    let id = one.text("reservation_id").unwrap();
    pay(&office, id).await;
    assert_eq!(floor(&office, "back").await["sold"], json!(1));
    assert_eq!(bob.send(Method::DELETE, &format!("/reservations/{id}"), &[], None).await.unwrap().status, 200);
    assert_eq!(floor(&office, "back").await["free"], json!(1));
    assert_eq!(seats(&accepted(&alice, "back", "k3", 1).await), ["FLOOR-3"]);
    office.close().await;
}

async fn places_that_ran_out_are_handed_out_again_unswept(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("short", &hall::with(hall::standing(4), "hold_seconds", json!(1))).await;
    let first = office.customer("first");
    assert_eq!(seats(&accepted(&first, "short", "k", 4).await).len(), 4);
    office.drained().await;
    let second = office.customer("second");
    let taken_over = eventually("the places being free again", || async {
        let answer = insist_on(&second, "short", "k", &wish(4)).await;
        [200, 202].contains(&answer.status).then_some(answer)
    })
    .await;
    assert_eq!(seats(&taken_over).len(), 4);
    office.drained().await;
    office.close().await;
}

async fn what_is_only_held_is_contended_and_what_is_sold_is_sold_out(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("gone", &hall::standing(5)).await;
    let (alice, bob) = (office.customer("alice"), office.customer("bob"));
    let four = accepted(&alice, "gone", "k", 4).await;
    let refused = insist_on(&bob, "gone", "k", &wish(2)).await;
    assert_eq!((refused.text("type"), &refused.body["free"]), (Some("contended"), &json!(1)), "{}", refused.body);
    office.drained().await;
    pay(&office, four.text("reservation_id").unwrap()).await;
    let refused = insist_on(&bob, "gone", "k", &wish(2)).await;
    assert_eq!((refused.text("type"), &refused.body["left"]), (Some("sold-out"), &json!(1)), "{}", refused.body);
    assert_eq!(refused.header("retry-after"), None);
    // The key was bound by neither.
    assert_eq!(seats(&accepted(&bob, "gone", "k", 1).await), ["FLOOR-5"]);
    office.close().await;
}

async fn after_a_flush_no_place_is_handed_out_that_somebody_has(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("flush", &hall::standing(40)).await;
    for n in 0..5 {
        accepted(&office.customer(&format!("early-{n}")), "flush", "k", 4).await;
    }
    office.drained().await;
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    redis::command::<String>(&redis, &["FLUSHALL"]).await;
    let asked = (0..20).map(|n| {
        let client = office.customer(&format!("late-{n}"));
        async move { accepted(&client, "flush", "k", 1).await }
    });
    let late: BTreeSet<String> = all_at_once(asked).await.iter().flat_map(seats).collect();
    assert_eq!(late, (21..=40).map(|serial| format!("FLOOR-{serial}")).collect());
    // Drawn at random, since what is still in Kafka names the first ones.
    office.drained().await;
    assert_eq!(floor(&office, "flush").await["held"], json!(40));
    office.close().await;
}

async fn the_limit_counts_places_like_seats(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("limit", &hall::with(hall::standing(10), "max_per_customer", json!(3))).await;
    let alice = office.customer("alice");
    let over = insist_on(&alice, "limit", "k", &wish(4)).await;
    assert_eq!((over.text("type"), &over.body["limit"]), (Some("limit-reached"), &json!(3)));
    accepted(&alice, "limit", "k", 2).await;
    let over = insist_on(&alice, "limit", "k2", &json!({ "seats": ["A-1-1", "A-1-2"] })).await;
    assert_eq!(over.text("type"), Some("limit-reached"));
    accepted(&alice, "limit", "k3", 1).await;
    office.drained().await;
    assert_eq!(floor(&office, "limit").await["held"], json!(3));
    office.close().await;
}

async fn an_accept_is_one_command_and_one_message(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("cost", &hall::standing(10)).await;
    office.system.event_source().pause();
    accepted(&office.customer("warm"), "cost", "k", 1).await;
    let mut monitor = Monitor::start(&office.system.servers().redis_url()).await;
    let before = office.produced().await.len();
    let first = accepted(&office.customer("alice"), "cost", "k", 3).await;
    assert_eq!(monitor.commands().await.len(), 1);
    let again = accepted(&office.customer("alice"), "cost", "k", 3).await;
    assert_eq!((monitor.commands().await.len(), seats(&again)), (1, seats(&first)));
    assert_eq!(office.produced().await.len(), before + 2);
    let refused = insist_on(&office.customer("bob"), "cost", "k", &wish(7)).await;
    assert_eq!((refused.status, monitor.commands().await.len()), (409, 1));
    office.close().await;
}

async fn more_places_by_a_republish_sell_at_once(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("more", &hall::standing(2)).await;
    accepted(&office.customer("alice"), "more", "k", 2).await;
    office.sells("more", &hall::standing(4)).await;
    assert_eq!(seats(&accepted(&office.customer("bob"), "more", "k", 2).await), ["FLOOR-3", "FLOOR-4"]);
    office.close().await;
}

/// Bits and ends hold no more and no less than what is claimed.
#[tokio::test]
async fn a_claim_of_places_weighs_within_its_budget() {
    const CUSTOMERS: usize = 2_000;
    const BYTES_A_PLACE: i64 = 260;
    let scripts = Scripts::start().await;
    let event = event("weight", 1, &hall::standing(CUSTOMERS));
    scripts.publish_first(&event).await;
    for n in 0..CUSTOMERS {
        scripts.draw(&event, &format!("customer-{n}"), 1).await;
    }
    let mut bytes = 0;
    for key in keys::section_keys(&event.id, "FLOOR") {
        bytes += scripts.command::<Option<i64>>(&["MEMORY", "USAGE", &key, "SAMPLES", "0"]).await.unwrap_or(0);
    }
    println!("places: {bytes} B for {CUSTOMERS}, {} B each", bytes / CUSTOMERS as i64);
    assert!(bytes <= BYTES_A_PLACE * CUSTOMERS as i64, "{bytes} B");
}
