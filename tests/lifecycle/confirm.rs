//! Confirming: a hold that has not ended is paid for once, and is sold from then on.

use axum::http::Method;
use local::servers::ServerSet;
use serde_json::json;
use shared::clock;
use shared::domain::ids::ReservationId;
use shared::domain::reservation::{Status, Step};
use shared::dynamodb::changes::Change;
use shared::dynamodb::reservations::Repository;

use super::{assert_unchanged, brief, counts, free_of_charge, mine, row, stored};
use crate::harness::changing::{assert_answer, confirm, confirm_for_nothing, id_of, show};
use crate::harness::handmade::asks;
use crate::harness::{Office, eventually, hall, on_both_sets, storm};

on_both_sets!(
    a_payment_confirms_once_and_again_changes_nothing,
    a_confirmed_seat_is_sold_in_every_view_and_to_its_owner,
    what_was_confirmed_before_its_hold_ended_is_never_expired,
    an_owner_confirms_what_costs_nothing_and_nothing_else,
    what_is_not_decided_yet_is_not_confirmed_yet,
    a_hold_that_has_ended_is_not_confirmed_whether_or_not_the_job_came_by,
    a_hold_that_redis_never_heard_of_is_confirmed_by_its_row,
    a_hold_that_has_lost_one_seat_is_neither_confirmed_nor_extended,
);

async fn a_payment_confirms_once_and_again_changes_nothing(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("pay", &hall::small(1, 4)).await;
    let (ada, payments) = (office.customer("ada"), office.payments());
    let id = office.holds(&ada, "pay", "k", &["A-1-1", "A-1-2"]).await;
    let confirmed = confirm(&payments, &id, "payment-1").await;
    assert_answer(&confirmed, 200, "CONFIRMED");
    let body = &confirmed.body;
    assert_eq!((&body["amount_cents"], &body["payment_reference"]), (&json!(17_800), &json!("payment-1")));
    assert_eq!((&body["reservation_id"], &body["seats"]), (&json!(id), &json!(["A-1-1", "A-1-2"])));
    assert!(body["confirmed_at"].is_string() && body.get("hold_expires_at").is_none(), "{body}");

    let before = office.scan().await;
    let again = confirm(&payments, &id, "payment-1").await;
    assert_eq!((again.status, &again.body), (200, body));
    assert_answer(&confirm(&payments, &id, "payment-2").await, 409, "already-confirmed");
    assert_unchanged(&office, &before).await;
    let shown = show(&ada, &id).await;
    assert_eq!((shown.status, &shown.body), (200, body));
    eventually("the list to show it as confirmed", || async {
        let list = ada.get("/reservations").await.unwrap();
        (list.body["reservations"][0] == *body).then_some(())
    })
    .await;
    // The key that made it is told so, too.
    assert_answer(&storm::insist(&ada, "pay", "k", &["A-1-1", "A-1-2"]).await, 200, "CONFIRMED");
    office.close().await;
}

async fn a_confirmed_seat_is_sold_in_every_view_and_to_its_owner(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("sold", &hall::small(1, 4)).await;
    let ada = office.customer("ada");
    let paid = office.holds(&ada, "sold", "1", &["A-1-1"]).await;
    let held = office.holds(&ada, "sold", "2", &["A-1-2"]).await;
    office.system.event_source().pause();
    let pending = id_of(&storm::insist(&ada, "sold", "3", &["A-1-3"]).await);
    assert_answer(&confirm(&office.payments(), &paid, "payment-1").await, 200, "CONFIRMED");
    let mut statuses = Vec::new();
    for seat in ["A-1-1", "A-1-2", "A-1-3", "A-1-4"] {
        statuses.push(office.seat_status("sold", seat).await);
    }
    assert_eq!(statuses, ["sold", "held", "held", "free"]);
    let counted = counts(&office, "sold", "A").await;
    assert_eq!(counted, json!({ "capacity": 4, "free": 1, "held": 2, "sold": 1, "blocked": 0 }));
    let seat = |seat: &str, status: &str, id: &ReservationId| [seat.to_owned(), status.to_owned(), id.to_string()];
    let own = [seat("A-1-1", "sold", &paid), seat("A-1-2", "held", &held), seat("A-1-3", "claimed", &pending)];
    assert_eq!(mine(&ada, "sold").await, own);
    assert_eq!(mine(&office.customer("bob"), "sold").await, [] as [[String; 3]; 0]);
    let refused = storm::insist(&office.customer("bob"), "sold", "k", &["A-1-1"]).await;
    assert_answer(&refused, 409, "seats-taken");
    office.close().await;
}

async fn what_was_confirmed_before_its_hold_ended_is_never_expired(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("ever", &hall::small(1, 4)).await;
    let now_ms = clock::wall_ms();
    let request = asks("ever", "ada", &["A-1-1"], (now_ms - 100_000, now_ms - 20_000));
    let held = stored(&office, &request).await;
    let repository = Repository::new(office.table().await);
    let in_time = request.expires_at_ms - 1;
    repository.confirm(&held, Some("payment-1"), "Asia/Seoul", in_time, Some(in_time)).await.unwrap();
    let before = office.scan().await;
    let shard = office.system.expire().await.unwrap();
    assert_eq!(shard, scheduled_jobs::Report::Expire(scheduled_jobs::Expired::default()));
    assert_unchanged(&office, &before).await;
    assert_answer(&show(&office.customer("ada"), &request.reservation_id).await, 200, "CONFIRMED");
    assert_answer(&confirm(&office.payments(), &request.reservation_id, "payment-1").await, 200, "CONFIRMED");
    office.close().await;
}

async fn an_owner_confirms_what_costs_nothing_and_nothing_else(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("gratis", &free_of_charge(4)).await;
    office.sells("priced", &hall::small(1, 4)).await;
    let (ada, eve) = (office.customer("ada"), office.customer("eve"));
    let gratis = office.holds(&ada, "gratis", "k", &["A-1-1"]).await;
    let priced = office.holds(&ada, "priced", "k", &["A-1-1"]).await;
    let before = office.scan().await;
    assert_answer(&confirm(&ada, &priced, "payment-1").await, 403, "forbidden");
    assert_answer(&confirm_for_nothing(&ada, &priced).await, 403, "forbidden");
    for id in [&gratis, &priced] {
        assert_answer(&confirm_for_nothing(&eve, id).await, 404, "reservation-not-found");
    }
    // The payment side names its payment, always.
    assert_answer(&confirm_for_nothing(&office.payments(), &gratis).await, 400, "invalid-request");
    let wrong = json!({ "payment_reference": "p", "amount_cents": 1 });
    let path = format!("/reservations/{priced}/confirm");
    let refused = office.payments().send(Method::POST, &path, &[], Some(&wrong)).await.unwrap();
    assert_answer(&refused, 400, "invalid-request");
    assert_unchanged(&office, &before).await;

    let confirmed = confirm_for_nothing(&ada, &gratis).await;
    assert_answer(&confirmed, 200, "CONFIRMED");
    assert!(confirmed.body.get("payment_reference").is_none(), "{}", confirmed.body);
    assert_eq!(confirm_for_nothing(&ada, &gratis).await.body, confirmed.body);
    assert_answer(&confirm(&office.payments(), &gratis, "payment-1").await, 409, "already-confirmed");
    assert_eq!(office.seat_status("gratis", "A-1-1").await, "sold");
    office.close().await;
}

async fn what_is_not_decided_yet_is_not_confirmed_yet(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("soon", &hall::small(1, 4)).await;
    let (ada, payments) = (office.customer("ada"), office.payments());
    office.system.event_source().pause();
    let id = id_of(&storm::insist(&ada, "soon", "k", &["A-1-1"]).await);
    let before = office.scan().await;
    let refused = confirm(&payments, &id, "payment-1").await;
    assert_answer(&refused, 409, "pending");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_unchanged(&office, &before).await;
    office.system.event_source().resume();
    office.drained().await;
    assert_answer(&confirm(&payments, &id, "payment-1").await, 200, "CONFIRMED");
    office.close().await;
}

async fn a_hold_that_has_ended_is_not_confirmed_whether_or_not_the_job_came_by(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("ended", &brief(4)).await;
    let (ada, payments) = (office.customer("ada"), office.payments());
    let id = office.holds(&ada, "ended", "k", &["A-1-1"]).await;
    office.ran_out(&ada, &id).await;
    let before = office.scan().await;
    assert_eq!(row(&office, &id).await.status, Status::Held, "nobody has swept it");
    assert_answer(&confirm(&payments, &id, "payment-1").await, 409, "hold-expired");
    // By the row's own condition as well, for who has looked a moment too early.
    let held = row(&office, &id).await;
    let repository = Repository::new(office.table().await);
    let late =
        repository.confirm(&held, Some("payment-1"), "Asia/Seoul", held.expires_at_ms, Some(held.expires_at_ms)).await;
    assert_eq!(late.unwrap(), Change::Refused(held));
    assert_unchanged(&office, &before).await;
    assert_eq!(office.seat_status("ended", "A-1-1").await, "free");

    // Swept, it is the same.
    let held = row(&office, &id).await;
    repository.end(&held, Step::Expire, clock::wall_ms()).await.unwrap();
    assert_answer(&confirm(&payments, &id, "payment-1").await, 409, "hold-expired");
    assert_eq!(row(&office, &id).await.status, Status::Expired);
    office.close().await;
}

async fn a_hold_that_redis_never_heard_of_is_confirmed_by_its_row(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("unheard", &hall::small(1, 4)).await;
    let now_ms = clock::wall_ms();
    let request = asks("unheard", "ada", &["A-1-1"], (now_ms - 100_000, now_ms + 500_000));
    stored(&office, &request).await;
    let id = &request.reservation_id;
    assert_answer(&confirm(&office.payments(), id, "payment-1").await, 200, "CONFIRMED");
    assert_eq!(row(&office, id).await.payment_reference.as_deref(), Some("payment-1"));
    assert_eq!(office.seat_status("unheard", "A-1-1").await, "sold");
    office.close().await;
}

async fn a_hold_that_has_lost_one_seat_is_neither_confirmed_nor_extended(set: ServerSet) {
    let office = Office::open(set).await;
    let repository = Repository::new(office.table().await);
    let old = stored(&office, &asks("lost", "ada", &["A-1-1", "A-1-2"], (1_000, 2_000))).await;
    let heir = stored(&office, &asks("lost", "bob", &["A-1-2"], (2_000, 9_000))).await;
    let before = office.scan().await;
    // Whatever clock is believed: one that is behind, or none.
    for now_ms in [Some(1_999), None] {
        assert_eq!(
            repository.confirm(&old, Some("payment-1"), "Asia/Seoul", 1_999, now_ms).await.unwrap(),
            Change::Lost
        );
    }
    assert_eq!(repository.extend(&old, 5_000, 1_999).await.unwrap(), Change::Lost);
    assert_unchanged(&office, &before).await;
    assert!(matches!(
        repository.confirm(&heir, None, "Asia/Seoul", 2_500, Some(2_500)).await.unwrap(),
        Change::Done(_)
    ));
    // Nor does a second confirmation of a seat that is paid for go through.
    assert_eq!(repository.confirm(&old, Some("payment-1"), "Asia/Seoul", 1_999, None).await.unwrap(), Change::Lost);
    office.close().await;
}
