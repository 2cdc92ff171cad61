//! Seats that a publication leaves out: they are blocked before they go, so that nobody on his way to one ever owns what is
//! not there any more; and what is published again later is another seat.

use local::client::Answer;
use local::servers::ServerSet;
use serde_json::{Value, json};
use shared::domain::ids::{EventId, Label, ReservationId};
use shared::dynamodb::blocks::Released;
use shared::dynamodb::events::Events;
use shared::dynamodb::reservations::Repository;
use shared::dynamodb::rows::ReservationRow;

use crate::harness::storm::{insist, insist_on};
use crate::harness::{Office, all_at_once, eventually, hall, on_both_sets, redis};

on_both_sets!(
    free_seats_go_and_leave_the_capacity,
    seats_that_somebody_has_do_not_go,
    a_message_under_way_loses_to_the_removal,
    a_seat_published_again_is_another_and_sells,
    a_section_that_goes_and_comes_back_sells,
    fewer_places_are_handed_out_after_a_republish_and_more_after_the_next,
    what_was_blocked_in_vain_goes_back_on_sale_with_the_next_publication,
    while_a_crowd_buys_no_seat_is_both_sold_and_gone,
);

pub(super) async fn counts(office: &Office, event: &str, section: &str) -> Value {
    let page = office.fresh(&format!("/events/{event}")).await;
    let counts = page.body["availability"][section].clone();
    let sum: u64 = ["free", "held", "sold", "blocked"].iter().map(|name| counts[name].as_u64().unwrap()).sum();
    assert_eq!(counts["capacity"], json!(sum), "{counts}");
    counts
}

/// The status of a reservation once it is decided.
async fn decided(office: &Office, customer: &str, accepted: &Answer) -> Answer {
    let path = format!("/reservations/{}", accepted.text("reservation_id").unwrap());
    eventually("a decided reservation", || async {
        let answer = office.customer(customer).get(&path).await.unwrap();
        (answer.status == 200 && answer.body["status"] != "PENDING").then_some(answer)
    })
    .await
}

async fn free_seats_go_and_leave_the_capacity(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("go", &hall::small(2, 3)).await;
    office.sells("go", &hall::small(1, 3)).await;
    assert_eq!(counts(&office, "go", "A").await["capacity"], json!(3));
    let gone = insist(&office.customer("alice"), "go", "k", &["A-2-1"]).await;
    assert_eq!((gone.status, gone.text("type")), (404, Some("seat-not-found")), "{}", gone.body);
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    redis::command::<String>(&redis, &["FLUSHALL"]).await;
    assert_eq!(counts(&office, "go", "A").await["free"], json!(3));
    assert_eq!(insist(&office.customer("alice"), "go", "k", &["A-1-1"]).await.status, 202);
    office.drained().await;
    office.close().await;
}

async fn seats_that_somebody_has_do_not_go(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("stay", &hall::small(2, 4)).await;
    insist(&office.customer("alice"), "stay", "k", &["A-2-1"]).await;
    office.drained().await;
    office.system.event_source().pause();
    insist(&office.customer("bob"), "stay", "k", &["A-2-3"]).await;
    let path = "/admin/events/stay/blocks/x";
    let block = json!({ "seats": ["A-2-4"] });
    office.system.organiser().unwrap().send(axum::http::Method::PUT, path, &[], Some(&block)).await.unwrap();
    let refused = office.publish("stay", &hall::small(1, 4)).await;
    assert_eq!((refused.status, refused.text("type")), (409, Some("seats-in-use")), "{}", refused.body);
    assert_eq!(refused.body["seats"], json!(["A-2-1", "A-2-3", "A-2-4"]));
    // The one that was free is free again.
    let counts = counts(&office, "stay", "A").await;
    assert_eq!((&counts["capacity"], &counts["free"], &counts["blocked"]), (&json!(8), &json!(5), &json!(1)));
    assert_eq!(insist(&office.customer("carol"), "stay", "k", &["A-2-2"]).await.status, 202);
    office.system.event_source().resume();
    office.drained().await;
    office.close().await;
}

async fn a_message_under_way_loses_to_the_removal(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("late", &hall::small(2, 3)).await;
    office.system.event_source().pause();
    let accepted = insist(&office.customer("alice"), "late", "k", &["A-2-1", "A-1-1"]).await;
    // Redis loses the claim, so nothing there stands in the way of the removal.
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    redis::command::<String>(&redis, &["FLUSHALL"]).await;
    office.sells("late", &hall::small(1, 3)).await;
    office.system.event_source().resume();
    let rejected = decided(&office, "alice", &accepted).await;
    assert_eq!((rejected.text("status"), rejected.text("reason")), (Some("REJECTED"), Some("seats-taken")));
    assert_eq!(counts(&office, "late", "A").await["free"], json!(3));
    office.close().await;
}

async fn a_seat_published_again_is_another_and_sells(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("again", &hall::small(2, 3)).await;
    for rows in [1, 2, 1, 2] {
        office.sells("again", &hall::small(rows, 3)).await;
    }
    assert_eq!(counts(&office, "again", "A").await["free"], json!(6));
    let bought = insist(&office.customer("alice"), "again", "k", &["A-2-1", "A-2-2", "A-2-3"]).await;
    assert_eq!(decided(&office, "alice", &bought).await.body["status"], "HELD");
    office.drained().await;
    assert_eq!(counts(&office, "again", "A").await["held"], json!(3));
    office.close().await;
}

async fn a_section_that_goes_and_comes_back_sells(set: ServerSet) {
    let office = Office::open(set).await;
    let both = hall::small(1, 3);
    let mut without = both.clone();
    without["sections"].as_array_mut().unwrap().pop();
    for document in [&both, &without, &both] {
        office.sells("section", document).await;
    }
    assert_eq!(counts(&office, "section", "B").await["free"], json!(3));
    let bought = insist(&office.customer("alice"), "section", "k", &["B-1-1"]).await;
    assert_eq!(decided(&office, "alice", &bought).await.body["status"], "HELD");
    office.close().await;
}

async fn fewer_places_are_handed_out_after_a_republish_and_more_after_the_next(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("places", &hall::standing(6)).await;
    let alice = office.customer("alice");
    let wish = |quantity: usize| json!({ "section": "FLOOR", "quantity": quantity });
    let two = insist_on(&alice, "places", "k", &wish(2)).await;
    assert_eq!(two.body["seats"], json!(["FLOOR-1", "FLOOR-2"]));
    office.sells("places", &hall::standing(3)).await;
    assert_eq!(insist_on(&alice, "places", "k2", &wish(2)).await.text("type"), Some("contended"));
    assert_eq!(insist_on(&alice, "places", "k2", &wish(1)).await.body["seats"], json!(["FLOOR-3"]));
    office.sells("places", &hall::standing(5)).await;
    let more = insist_on(&alice, "places", "k3", &wish(2)).await;
    assert_eq!(more.body["seats"], json!(["FLOOR-4", "FLOOR-5"]));
    assert_eq!(decided(&office, "alice", &more).await.body["status"], "HELD");
    office.drained().await;
    assert_eq!(counts(&office, "places", "FLOOR").await["held"], json!(5));
    office.close().await;
}

async fn what_was_blocked_in_vain_goes_back_on_sale_with_the_next_publication(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("vain", &hall::small(2, 3)).await;
    // A publisher blocked the seats that were to go, and died.
    let event = EventId::parse("vain").unwrap();
    let chunk = ReservationId::block(&event, "~removed", &Label::parse("A").unwrap(), 0);
    let path = "/admin/events/vain/blocks/stand-in";
    let block = json!({ "seats": ["A-2-1"] });
    office.system.organiser().unwrap().send(axum::http::Method::PUT, path, &[], Some(&block)).await.unwrap();
    let repository = Repository::new(office.table().await);
    let stand_in = ReservationId::block(&event, "stand-in", &Label::parse("A").unwrap(), 0);
    let made = repository.chunks(&[stand_in]).await.unwrap().pop().unwrap();
    let seats = made.seats.clone();
    let Released::Done(released) = repository.release(&made, &seats, None).await.unwrap() else { panic!("overtaken") };
    repository.released(&released).await.unwrap();
    let published = Events::new(office.table().await).get(&event).await.unwrap().unwrap();
    let block = made.block.clone().unwrap();
    let mut removed = ReservationRow::chunk(chunk, block, seats.clone(), &published, made.held_at_ms);
    removed.held_at_ms = made.held_at_ms;
    repository.block(None, &removed, &seats, None).await.unwrap();
    assert_eq!(office.seat_status("vain", "A-2-1").await, "blocked");

    office.sells("vain", &hall::small(2, 3)).await;
    assert_eq!(office.seat_status("vain", "A-2-1").await, "free");
    assert_eq!(insist(&office.customer("alice"), "vain", "k", &["A-2-1"]).await.status, 202);
    office.drained().await;
    office.close().await;
}

async fn while_a_crowd_buys_no_seat_is_both_sold_and_gone(set: ServerSet) {
    const ROUNDS: usize = 6;
    let office = Office::open(set).await;
    office.sells("crowd", &hall::small(2, 6)).await;
    for round in 0..ROUNDS {
        let organiser = async {
            let rows = if round % 2 == 0 { 1 } else { 2 };
            office.publish("crowd", &hall::small(rows, 6)).await
        };
        let crowd = (1..=6).map(|seat| {
            let client = office.customer(&format!("round-{round}-{seat}"));
            async move {
                let seat = format!("A-2-{seat}");
                insist(&client, "crowd", "k", &[&seat]).await
            }
        });
        let (published, answers) = tokio::join!(organiser, all_at_once(crowd));
        assert!([200, 409].contains(&published.status), "{}", published.body);
        office.drained().await;
        let map = office.fresh("/events/crowd/seats?section=A").await;
        let shown = map.body["sections"][0]["seats"].as_array().unwrap().clone();
        for (at, answer) in answers.iter().enumerate().filter(|(_, answer)| answer.status == 202) {
            let customer = format!("round-{round}-{}", at + 1);
            let row = decided(&office, &customer, answer).await;
            let seat = format!("A-2-{}", at + 1);
            let there = shown.iter().any(|entry| entry["id"] == json!(seat));
            assert!(there || row.body["status"] == "REJECTED", "{seat} is gone and {}", row.body);
            // Whoever has one gives it back, for the next round.
            let path = format!("/reservations/{}", answer.text("reservation_id").unwrap());
            office.customer(&customer).send(axum::http::Method::DELETE, &path, &[], None).await.unwrap();
        }
        counts(&office, "crowd", "A").await;
    }
    office.close().await;
}
