//! Cancelling: the owner gives seats up, and they are free at once.

use local::servers::ServerSet;
use serde_json::{Value, json};
use shared::domain::ids::ReservationId;
use shared::domain::reservation::{Decision, Outcome, Reason, Status};
use shared::dynamodb::reservations::Repository;
use shared::dynamodb::rows::ReservationRow;

use super::{assert_unchanged, brief, counts, live, mine, row};
use crate::harness::changing::{assert_answer, cancel, confirm, extend, id_of, show};
use crate::harness::handmade::asks;
use crate::harness::{Office, eventually, hall, on_both_sets, storm};

on_both_sets!(
    what_is_cancelled_before_it_is_stored_takes_no_seat_when_its_message_comes,
    a_held_seat_that_is_given_up_is_free_at_once,
    a_paid_reservation_is_taken_back_and_owed_as_long_as_the_event_allows,
    a_paid_reservation_stays_where_the_event_takes_nothing_back_or_no_longer,
    what_has_ended_otherwise_is_not_cancelled,
    what_is_cancelled_no_longer_counts_towards_the_limit,
);

/// The outcome that was told of a reservation, each that there is.
async fn outcomes(office: &Office, id: &ReservationId) -> Vec<String> {
    let told = office.topic(&office.system.config().kafka.topics.outcomes).await;
    let of = told.into_iter().filter(|seen| seen.key.as_deref() == Some(id.as_str().as_bytes()));
    let read = of.map(|seen| serde_json::from_slice::<Value>(&seen.value.unwrap()).unwrap());
    read.map(|told| told["outcome"].as_str().unwrap().to_owned()).collect()
}

async fn what_is_cancelled_before_it_is_stored_takes_no_seat_when_its_message_comes(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("early", &hall::small(1, 4)).await;
    let (ada, bob) = (office.customer("ada"), office.customer("bob"));
    office.system.event_source().pause();
    let id = id_of(&storm::insist(&ada, "early", "k", &["A-1-1", "A-1-2"]).await);
    let cancelled = cancel(&ada, &id).await;
    assert_answer(&cancelled, 200, "CANCELLED");
    assert_eq!(cancelled.body["seats"], json!(["A-1-1", "A-1-2"]));
    assert_eq!(office.seat_status("early", "A-1-1").await, "free");
    assert_eq!(mine(&ada, "early").await, [] as [[String; 3]; 0]);
    let next = id_of(&storm::insist(&bob, "early", "k", &["A-1-1"]).await);
    office.system.event_source().resume();
    office.drained().await;

    assert_eq!(outcomes(&office, &id).await, ["CANCELLED"]);
    assert_eq!(outcomes(&office, &next).await, ["HELD"]);
    assert_eq!((row(&office, &id).await.outcome, row(&office, &id).await.counted), (Outcome::Cancelled, 0));
    let seats: Vec<String> = office.scan().await.into_iter().filter(|item| item.contains("pk=\"SEATS#")).collect();
    assert!(seats.len() == 1 && seats[0].contains(next.as_str()), "{seats:#?}");
    assert_eq!(live(&office, "early", "ada").await, "");
    let before = office.scan().await;
    assert_eq!(cancel(&ada, &id).await.body, cancelled.body);
    let again = storm::insist(&ada, "early", "k", &["A-1-1", "A-1-2"]).await;
    assert_answer(&again, 409, "not-held");
    assert_answer(&confirm(&office.payments(), &id, "payment-1").await, 409, "not-held");
    assert_answer(&show(&ada, &id).await, 200, "CANCELLED");
    assert_unchanged(&office, &before).await;
    office.close().await;
}

async fn a_held_seat_that_is_given_up_is_free_at_once(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("held", &hall::small(1, 4)).await;
    let (ada, bob) = (office.customer("ada"), office.customer("bob"));
    let id = office.holds(&ada, "held", "k", &["A-1-1", "A-1-2"]).await;
    let cancelled = cancel(&ada, &id).await;
    assert_answer(&cancelled, 200, "CANCELLED");
    assert_eq!(counts(&office, "held", "A").await["free"], json!(4));
    assert_eq!(live(&office, "held", "ada").await, "0");
    assert!(!office.scan().await.iter().any(|item| item.contains("pk=\"SEATS#")));
    assert_eq!(mine(&ada, "held").await, [] as [[String; 3]; 0]);
    let before = office.scan().await;
    let again = cancel(&ada, &id).await;
    assert_eq!((again.status, &again.body), (200, &cancelled.body));
    assert_answer(&confirm(&office.payments(), &id, "payment-1").await, 409, "not-held");
    assert_answer(&extend(&ada, &id).await, 409, "not-extendable");
    assert_unchanged(&office, &before).await;
    let next = office.holds(&bob, "held", "k", &["A-1-2"]).await;
    assert_answer(&show(&bob, &next).await, 200, "HELD");
    // Cancelling once more takes nothing from who has the seat by now.
    assert_answer(&cancel(&ada, &id).await, 200, "CANCELLED");
    assert_eq!(office.seat_status("held", "A-1-2").await, "held");
    assert_eq!(row(&office, &next).await.status, Status::Held);
    office.close().await;
}

async fn refunds(office: &Office, event: &str) -> Value {
    let report = office.system.organiser().unwrap().get(&format!("/admin/events/{event}/report")).await.unwrap();
    assert_eq!(report.status, 200, "{}", report.body);
    report.body["refunds"].clone()
}

async fn a_paid_reservation_is_taken_back_and_owed_as_long_as_the_event_allows(set: ServerSet) {
    let office = Office::open(set).await;
    let until = json!("2098-05-01T00:00:00Z");
    office.sells("back", &hall::with(hall::small(1, 4), "cancellable_until", until)).await;
    let (ada, bob) = (office.customer("ada"), office.customer("bob"));
    let id = office.holds(&ada, "back", "k", &["A-1-1", "A-1-2"]).await;
    let unpaid = office.holds(&ada, "back", "unpaid", &["A-1-3"]).await;
    assert_answer(&confirm(&office.payments(), &id, "payment-1").await, 200, "CONFIRMED");
    assert_eq!(refunds(&office, "back").await, json!([]));
    assert_answer(&cancel(&ada, &unpaid).await, 200, "CANCELLED");
    let cancelled = cancel(&ada, &id).await;
    assert_answer(&cancelled, 200, "CANCELLED");
    assert_eq!(counts(&office, "back", "A").await["free"], json!(4));
    let owed = json!([{ "reservation_id": id, "payment_reference": "payment-1", "amount_cents": 17_800 }]);
    eventually("the refund to be reported", || async { (refunds(&office, "back").await == owed).then_some(()) }).await;
    let before = office.scan().await;
    assert_eq!(cancel(&ada, &id).await.body, cancelled.body);
    assert_answer(&confirm(&office.payments(), &id, "payment-1").await, 409, "not-held");
    assert_unchanged(&office, &before).await;

    let next = office.holds(&bob, "back", "k", &["A-1-1"]).await;
    assert_answer(&confirm(&office.payments(), &next, "payment-2").await, 200, "CONFIRMED");
    assert_answer(&cancel(&ada, &id).await, 200, "CANCELLED");
    assert_eq!(office.seat_status("back", "A-1-1").await, "sold");
    office.close().await;
}

async fn a_paid_reservation_stays_where_the_event_takes_nothing_back_or_no_longer(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("never", &hall::small(1, 4)).await;
    office.sells("past", &hall::with(hall::small(1, 4), "cancellable_until", json!("2021-01-01T00:00:00Z"))).await;
    let ada = office.customer("ada");
    for event in ["never", "past"] {
        let id = office.holds(&ada, event, "k", &["A-1-1"]).await;
        assert_answer(&confirm(&office.payments(), &id, "payment-1").await, 200, "CONFIRMED");
        let before = office.scan().await;
        assert_answer(&cancel(&ada, &id).await, 409, "not-held");
        assert_unchanged(&office, &before).await;
        assert_eq!(office.seat_status(event, "A-1-1").await, "sold");
        // What is only held may be given up at any time.
        let held = office.holds(&ada, event, "held", &["A-1-2"]).await;
        assert_answer(&cancel(&ada, &held).await, 200, "CANCELLED");
    }
    office.close().await;
}

async fn what_has_ended_otherwise_is_not_cancelled(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("over", &brief(4)).await;
    let ada = office.customer("ada");
    let expired = office.holds(&ada, "over", "k", &["A-1-1"]).await;
    office.ran_out(&ada, &expired).await;
    let rejected = asks("over", "ada", &["A-1-2"], (1_000, 2_000));
    let reason = Decision::plain(Outcome::Rejected(Reason::SeatsTaken));
    let repository = Repository::new(office.table().await);
    repository.put_unless_stored(ReservationRow::new(&rejected, reason)).await.unwrap();
    let before = office.scan().await;
    assert_answer(&cancel(&ada, &expired).await, 409, "hold-expired");
    assert_answer(&cancel(&ada, &rejected.reservation_id).await, 409, "not-held");
    assert_unchanged(&office, &before).await;
    office.close().await;
}

async fn what_is_cancelled_no_longer_counts_towards_the_limit(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("limit", &hall::with(hall::small(1, 6), "max_per_customer", json!(2))).await;
    let ada = office.customer("ada");
    let held = office.holds(&ada, "limit", "1", &["A-1-1", "A-1-2"]).await;
    assert_answer(&storm::insist(&ada, "limit", "2", &["A-1-3"]).await, 409, "limit-reached");
    assert_answer(&cancel(&ada, &held).await, 200, "CANCELLED");
    office.system.event_source().pause();
    let pending = id_of(&storm::insist(&ada, "limit", "3", &["A-1-3", "A-1-4"]).await);
    assert_answer(&storm::insist(&ada, "limit", "4", &["A-1-5"]).await, 409, "limit-reached");
    assert_answer(&cancel(&ada, &pending).await, 200, "CANCELLED");
    let last = id_of(&storm::insist(&ada, "limit", "5", &["A-1-5", "A-1-6"]).await);
    office.system.event_source().resume();
    office.drained().await;
    assert_answer(&show(&ada, &last).await, 200, "HELD");
    assert_eq!(live(&office, "limit", "ada").await, "2");
    office.close().await;
}
