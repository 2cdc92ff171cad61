//! What a publication means to a sale under way: new seats, another price, a pause, an end, a window, a limit; and that a
//! process which has not heard of it yet sells by it all the same.

use local::client::Answer;
use local::servers::ServerSet;
use serde_json::{Value, json};
use shared::domain::event::TakenState;
use shared::domain::ids::EventId;
use shared::dynamodb::reservations::Repository;

use crate::harness::second::Second;
use crate::harness::wire::{Fate, Wire};
use crate::harness::{Office, hall, on_both_sets, redis, storm};

on_both_sets!(
    added_rows_and_sections_sell_at_once_and_known_seats_keep_their_numbers,
    a_process_that_knows_an_older_publication_reads_again_and_sells_by_the_new_one,
    a_new_price_is_paid_by_later_reservations_only,
    a_process_with_an_old_copy_sells_new_seats_at_once_and_after_a_flush_nothing_by_that_copy,
    a_paused_sale_refuses_a_resumed_one_sells_and_an_ended_one_is_closed,
    outside_its_window_a_sale_refuses_and_says_when_it_opens,
    the_limit_binds_over_all_reservations_of_a_customer_and_a_higher_one_gives_room,
);

#[track_caller]
fn assert_accepted(answer: &Answer) {
    assert_eq!(answer.status, 202, "{}", answer.body);
}

#[track_caller]
fn assert_refused(answer: &Answer, slug: &str) {
    assert_eq!((answer.status, answer.text("type")), (409, Some(slug)), "{}", answer.body);
    assert!(answer.body.get("reservation_id").is_none(), "the key is bound to nothing");
}

/// The numbers of the taken seats of section A.
async fn taken_numbers(office: &Office, event: &str) -> Vec<u32> {
    let repository = Repository::new(office.table().await);
    let taken = repository.taken(&EventId::parse(event).unwrap(), "A", 0).await.unwrap();
    assert!(taken.iter().all(|seat| matches!(seat.state, TakenState::Held { .. })));
    let mut numbers: Vec<u32> = taken.into_iter().map(|seat| seat.number).collect();
    numbers.sort_unstable();
    numbers
}

async fn added_rows_and_sections_sell_at_once_and_known_seats_keep_their_numbers(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("grow", &hall::small(1, 4)).await;
    let (alice, bob) = (office.customer("alice"), office.customer("bob"));
    assert_accepted(&storm::insist(&alice, "grow", "1", &["A-1-1", "A-1-4"]).await);
    office.drained().await;
    assert_eq!(taken_numbers(&office, "grow").await, [0, 3]);

    // A row in front, a seat to the left of the known ones, and a section before them all.
    let mut larger = hall::small(1, 4);
    larger["sections"][0]["rows"] =
        json!([{ "id": "0", "seats": 2 }, { "id": "1", "seats": ["0", "1", "2", "3", "4"] }]);
    let balcony = json!({ "id": "C", "name": "Balcony", "kind": "seated", "price_cents": 100, "rows": [{ "id": "1", "seats": 2 }] });
    larger["sections"].as_array_mut().unwrap().insert(0, balcony);
    office.sells("grow", &larger).await;
    for (seat, status) in
        [("A-1-1", "held"), ("A-1-4", "held"), ("A-1-2", "free"), ("A-0-1", "free"), ("C-1-1", "free")]
    {
        assert_eq!(office.seat_status("grow", seat).await, status, "{seat}");
    }
    let added = storm::insist(&bob, "grow", "1", &["A-0-1", "A-1-0", "C-1-1", "A-1-2"]).await;
    assert_accepted(&added);
    assert_eq!(added.body["amount_cents"], json!(3 * 8900 + 100));
    let again = storm::insist(&alice, "grow", "2", &["A-0-1"]).await;
    assert_refused(&again, "seats-taken");
    office.drained().await;
    // The known ones as they were; the new ones after them, in their order.
    assert_eq!(taken_numbers(&office, "grow").await, [0, 1, 3, 4, 6]);
    let path = format!("/reservations/{}", added.text("reservation_id").unwrap());
    assert_eq!(bob.get(&path).await.unwrap().text("status"), Some("HELD"));

    // Loaded again from the table alone, the map is the same.
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    redis::command::<String>(&redis, &["FLUSHALL"]).await;
    assert_refused(&storm::insist(&alice, "grow", "3", &["A-1-0", "C-1-2"]).await, "seats-taken");
    let shown = office.fresh("/events/grow").await;
    let counts = |section: &str| {
        let of = |state: &str| shown.body["availability"][section][state].as_u64().unwrap();
        (of("capacity"), of("free"), of("held"), of("sold"), of("blocked"))
    };
    assert_eq!((counts("A"), counts("B"), counts("C")), ((7, 2, 5, 0, 0), (4, 4, 0, 0, 0), (2, 1, 1, 0, 0)));
    office.close().await;
}

async fn a_process_that_knows_an_older_publication_reads_again_and_sells_by_the_new_one(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("stale", &hall::small(1, 4)).await;
    let wire = Wire::new(|_, _| Fate::Pass);
    let second = Second::start(&office, &wire).await;
    let version = async || second.bob.get("/events/stale").await.unwrap().body["version"].clone();
    assert_eq!(version().await, json!(1));

    let mut dearer = hall::small(1, 4);
    dearer["sections"][0]["price_cents"] = json!(9900);
    office.sells("stale", &dearer).await;
    let reads = wire.count("GetItem", |_| true);
    let sold = storm::insist(&second.bob, "stale", "k", &["A-1-1"]).await;
    assert_accepted(&sold);
    assert_eq!(sold.body["amount_cents"], json!(9900));
    assert_eq!(wire.count("GetItem", |_| true), reads + 1, "it knew the old one, and has read again");

    office.sells("stale", &hall::with(dearer, "state", json!("paused"))).await;
    assert_refused(&storm::insist(&second.bob, "stale", "k2", &["A-1-2"]).await, "sale-paused");
    // What it promised before stands, and a retry is answered by it.
    office.drained().await;
    let again = storm::insist(&second.bob, "stale", "k", &["A-1-1"]).await;
    assert_eq!((again.status, again.text("status")), (200, Some("HELD")), "{}", again.body);
    second.stop().await;
    office.close().await;
}

async fn a_process_with_an_old_copy_sells_new_seats_at_once_and_after_a_flush_nothing_by_that_copy(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("copy", &hall::small(1, 4)).await;
    let wire = Wire::new(|_, _| Fate::Pass);
    let second = Second::start(&office, &wire).await;
    assert_accepted(&storm::insist(&second.bob, "copy", "1", &["A-1-1"]).await);

    // Two hundred seats more: the last of them are in another partition, which the old copy knows nothing of.
    office.sells("copy", &hall::small(60, 4)).await;
    assert_accepted(&storm::insist(&second.bob, "copy", "2", &["A-60-4"]).await);
    office.drained().await;
    office.sells("copy", &hall::with(hall::small(60, 4), "state", json!("paused"))).await;
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    redis::command::<String>(&redis, &["FLUSHALL"]).await;
    assert_refused(&storm::insist(&second.bob, "copy", "3", &["A-1-2"]).await, "sale-paused");
    assert_eq!(office.seat_status("copy", "A-60-4").await, "held");
    // A paused sale keeps nobody from hearing of what is his.
    let again = storm::insist(&second.bob, "copy", "2", &["A-60-4"]).await;
    assert_eq!((again.status, again.text("status")), (200, Some("HELD")), "{}", again.body);
    second.stop().await;
    office.close().await;
}

async fn a_new_price_is_paid_by_later_reservations_only(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("price", &hall::small(1, 4)).await;
    office.system.event_source().pause();
    let alice = office.customer("alice");
    let early = storm::insist(&alice, "price", "early", &["A-1-1", "B-1-1"]).await;
    let mut dearer = hall::small(1, 4);
    dearer["sections"][0]["price_cents"] = json!(10_000);
    office.sells("price", &dearer).await;
    let late = storm::insist(&alice, "price", "late", &["A-1-2", "B-1-2"]).await;
    let retried = storm::insist(&alice, "price", "early", &["A-1-1", "B-1-1"]).await;
    let amounts = [&early, &late, &retried].map(|answer| answer.body["amount_cents"].clone());
    assert_eq!(amounts, [json!(8900 + 4900), json!(10_000 + 4900), json!(8900 + 4900)]);
    office.system.event_source().resume();
    office.drained().await;
    for (answer, amount) in [(&early, 13_800), (&late, 14_900)] {
        let path = format!("/reservations/{}", answer.text("reservation_id").unwrap());
        let shown = alice.get(&path).await.unwrap();
        assert_eq!((shown.text("status"), &shown.body["amount_cents"]), (Some("HELD"), &json!(amount)));
    }
    office.close().await;
}

async fn a_paused_sale_refuses_a_resumed_one_sells_and_an_ended_one_is_closed(set: ServerSet) {
    let office = Office::open(set).await;
    let in_state = |state: &str| hall::with(hall::small(1, 4), "state", json!(state));
    office.sells("state", &in_state("on_sale")).await;
    let alice = office.customer("alice");
    let accepted = storm::insist(&alice, "state", "first", &["A-1-1"]).await;
    assert_accepted(&accepted);

    office.sells("state", &in_state("paused")).await;
    assert_refused(&storm::insist(&alice, "state", "k", &["A-1-2"]).await, "sale-paused");
    assert_eq!(office.seat_status("state", "A-1-2").await, "free");
    office.drained().await;
    let again = storm::insist(&alice, "state", "first", &["A-1-1"]).await;
    assert_eq!((again.status, again.text("status")), (200, Some("HELD")), "{}", again.body);

    office.sells("state", &in_state("on_sale")).await;
    assert_accepted(&storm::insist(&alice, "state", "k", &["A-1-2"]).await);
    assert_eq!(office.seat_status("state", "A-1-1").await, "held");

    office.sells("state", &in_state("ended")).await;
    assert_refused(&storm::insist(&alice, "state", "k3", &["A-1-3"]).await, "sale-closed");
    let listed = office.system.anyone().get("/events").await.unwrap();
    let entry = listed.body["events"].as_array().unwrap().iter().find(|event| event["event_id"] == "state").unwrap();
    assert_eq!(entry["state"], "ended");
    office.close().await;
}

async fn outside_its_window_a_sale_refuses_and_says_when_it_opens(set: ServerSet) {
    let office = Office::open(set).await;
    let between = |opens: &str, closes: &str| {
        let sale = json!({ "opens_at": opens, "closes_at": closes });
        hall::with(hall::small(1, 4), "sale", sale)
    };
    let alice = office.customer("alice");
    office.sells("window", &between("2090-01-02T03:04:05Z", "2098-01-01T00:00:00Z")).await;
    let early = storm::insist(&alice, "window", "k", &["A-1-1"]).await;
    assert_refused(&early, "sale-not-open");
    assert_eq!(early.text("opens_at"), Some("2090-01-02T03:04:05Z"));
    office.sells("window", &between("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z")).await;
    assert_refused(&storm::insist(&alice, "window", "k", &["A-1-1"]).await, "sale-closed");
    office.sells("window", &between("2020-01-01T00:00:00Z", "2098-01-01T00:00:00Z")).await;
    assert_accepted(&storm::insist(&alice, "window", "k", &["A-1-1"]).await);
    office.close().await;
}

async fn the_limit_binds_over_all_reservations_of_a_customer_and_a_higher_one_gives_room(set: ServerSet) {
    let office = Office::open(set).await;
    let limited = |limit: Value| hall::with(hall::small(1, 8), "max_per_customer", limit);
    office.sells("limit", &limited(json!(2))).await;
    let (alice, bob) = (office.customer("alice"), office.customer("bob"));
    let over = |answer: &Answer| {
        assert_refused(answer, "limit-reached");
        assert_eq!(answer.body["limit"], json!(2));
    };
    over(&storm::insist(&alice, "limit", "0", &["A-1-1", "A-1-2", "B-1-1"]).await);
    assert_accepted(&storm::insist(&alice, "limit", "1", &["A-1-1", "B-1-1"]).await);
    over(&storm::insist(&alice, "limit", "2", &["A-1-2"]).await);
    assert_eq!(office.seat_status("limit", "A-1-2").await, "free");
    assert_accepted(&storm::insist(&bob, "limit", "1", &["A-1-2", "A-1-3"]).await);

    office.sells("limit", &limited(json!(3))).await;
    assert_accepted(&storm::insist(&alice, "limit", "2", &["A-1-4"]).await);
    // A message carries the limit of its claim: it has to be stored before others are let in by a higher one.
    office.drained().await;
    office.sells("limit", &limited(Value::Null)).await;
    assert_accepted(&storm::insist(&alice, "limit", "3", &["A-1-5", "A-1-6", "A-1-7"]).await);
    office.drained().await;
    let listed = alice.get("/reservations").await.unwrap();
    let statuses: Vec<_> = listed.body["reservations"].as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, ["HELD"; 3], "{}", listed.body);
    office.close().await;
}
