//! Waiting for the outcome: `Prefer: wait` and `?wait`, by whatever way the outcome is learnt.

mod bell;
mod bounds;
mod desk;

use local::servers::ServerSet;
use serde_json::json;
use shared::clock;
use shared::dynamodb::reservations::{Hold, Repository};

use crate::harness::handmade::asks;
use crate::harness::{Office, eventually, hall, on_both_sets};
use desk::{Desk, applied, reserve_waiting};

on_both_sets!(
    whoever_waits_is_told_that_the_seats_are_held,
    whoever_waits_is_told_that_somebody_else_owns_the_seat,
    two_who_wait_for_one_reservation_and_one_who_watches_it_are_all_told,
    a_wait_without_an_outcome_ends_as_it_began,
);

/// The event that is for sale.
const HALL: &str = "waiting";

async fn selling(set: ServerSet) -> Office {
    let office = Office::open(set).await;
    office.sells(HALL, &hall::small(1, 40)).await;
    office
}

async fn whoever_waits_is_told_that_the_seats_are_held(set: ServerSet) {
    let office = selling(set).await;
    let alice = office.customer("alice");
    let made = reserve_waiting(&alice, HALL, "k", "A-1-1", "respond-async, Wait=60").await;
    assert_eq!((made.status, made.text("status")), (201, Some("HELD")), "{}", made.body);
    assert_eq!(applied(&made), Some("wait=10"), "more than there is is clamped");
    let id = made.text("reservation_id").unwrap();
    let location = made.header("location").unwrap();
    assert_eq!(location, format!("/reservations/{id}"));
    assert_eq!(made.body, alice.get(location).await.unwrap().body, "the shape is that of the reservation");
    // Nothing is made by asking again, and nobody has to wait for what is known.
    let again = reserve_waiting(&alice, HALL, "k", "A-1-1", "wait=10").await;
    assert_eq!((again.status, applied(&again)), (200, None), "{}", again.body);
    assert_eq!(again.body, made.body);
    let watched = alice.get(&format!("{location}?wait=10")).await.unwrap();
    assert_eq!((watched.status, applied(&watched)), (200, None), "{}", watched.body);
    office.close().await;
}

async fn whoever_waits_is_told_that_somebody_else_owns_the_seat(set: ServerSet) {
    let office = selling(set).await;
    // A hold of which Redis knows nothing: it says yes, and the table no.
    let now_ms = clock::wall_ms();
    let rival = asks(HALL, "rival", &["A-1-1"], (now_ms, now_ms + 600_000));
    assert!(matches!(Repository::new(office.table().await).hold(&rival).await.unwrap(), Hold::Made(_)));
    let alice = office.customer("alice");
    let refused = reserve_waiting(&alice, HALL, "k", "A-1-1", "wait=10").await;
    assert_eq!((refused.status, refused.text("type")), (409, Some("seats-taken")), "{}", refused.body);
    assert_eq!(refused.body["taken"], json!(["A-1-1"]));
    assert_eq!(applied(&refused), Some("wait=10"));
    let again = reserve_waiting(&alice, HALL, "k", "A-1-1", "wait=10").await;
    assert_eq!((again.status, again.body), (409, refused.body.clone()), "a retry is told the same");
    let id = refused.text("reservation_id").unwrap();
    let shown = alice.get(&format!("/reservations/{id}")).await.unwrap();
    assert_eq!((shown.text("status"), shown.text("reason")), (Some("REJECTED"), Some("seats-taken")));
    office.close().await;
}

async fn two_who_wait_for_one_reservation_and_one_who_watches_it_are_all_told(set: ServerSet) {
    let office = selling(set).await;
    let desk = Desk::open(&office, None).await;
    office.system.event_source().pause();
    let alice = desk.customer("alice");
    let accepted = alice.reserve(HALL, "k", &["A-1-1"]).await.unwrap();
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    let path = format!("/reservations/{}?wait=10", accepted.text("reservation_id").unwrap());
    let told = async {
        tokio::join!(
            reserve_waiting(&alice, HALL, "k", "A-1-1", "wait=10"),
            reserve_waiting(&alice, HALL, "k", "A-1-1", "wait=10"),
            alice.get(&path),
        )
    };
    let decided = async {
        eventually("three who wait", || async { (desk.app.waiting() == 3).then_some(()) }).await;
        office.system.event_source().resume();
    };
    let ((first, second, watched), ()) = tokio::join!(told, decided);
    let watched = watched.unwrap();
    for (answer, status) in [(&first, 201), (&second, 201), (&watched, 200)] {
        assert_eq!((answer.status, answer.text("status")), (status, Some("HELD")), "{}", answer.body);
        assert_eq!((&answer.body, applied(answer)), (&first.body, Some("wait=10")));
    }
    assert_eq!(desk.app.waiting(), 0);
    office.close().await;
}

async fn a_wait_without_an_outcome_ends_as_it_began(set: ServerSet) {
    let office = selling(set).await;
    office.system.event_source().pause();
    let alice = office.customer("alice");
    let accepted = reserve_waiting(&alice, HALL, "k", "A-1-1", "wait=1").await;
    assert_eq!((accepted.status, accepted.text("status")), (202, Some("PENDING")), "{}", accepted.body);
    assert_eq!((applied(&accepted), accepted.header("retry-after")), (Some("wait=1"), Some("1")));
    let left = accepted.body["hold_expires_in_seconds"].as_i64().unwrap();
    assert!(left < 600, "the wait counts: {left}");
    let path = accepted.header("location").unwrap();
    let pending = alice.get(&format!("{path}?wait=1")).await.unwrap();
    assert_eq!((pending.status, pending.text("status")), (200, Some("PENDING")), "{}", pending.body);
    assert_eq!(applied(&pending), Some("wait=1"));
    office.close().await;
}
