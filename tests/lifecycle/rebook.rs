//! A payment that comes too late: the same seats once more, if nobody has them, and the same answer ever after.

use std::sync::{Arc, Mutex};

use local::servers::ServerSet;
use serde_json::json;
use shared::clock;

use shared::domain::ids::ReservationId;
use shared::domain::reservation::{Outcome, Reason, Status, Step};
use shared::dynamodb::reservations::Repository;
use shared::dynamodb::rows::ReservationRow;
use shared::dynamodb::{Table, TableSettings};
use shared::redis::keys;

use super::{assert_unchanged, brief, live, mine, row};
use crate::harness::changing::{assert_answer, cancel, confirm, extend, id_of, rebook, show};
use crate::harness::wire::{Fate, Wire};
use crate::harness::{Office, Wishes, hall, on_both_sets, redis, storm};

on_both_sets!(
    a_late_payment_books_the_same_seats_once_more,
    a_payment_in_time_books_nothing_anew,
    a_late_payment_for_seats_that_somebody_has_is_refused_for_ever,
    who_does_not_ask_for_it_is_not_booked_once_more,
    the_limit_moves_by_what_is_booked_more,
    a_hold_that_was_swept_is_booked_once_more_as_well,
    a_look_just_before_the_end_does_not_stand_in_the_way_of_a_late_payment,
    a_payment_that_was_confirmed_meanwhile_is_told_so,
);

/// A hold of ada's that has run out.
async fn ran_out(office: &Office, event: &str, seats: &[&str]) -> ReservationId {
    let ada = office.customer("ada");
    let id = office.holds(&ada, event, "k", seats).await;
    office.ran_out(&ada, &id).await;
    id
}

async fn a_late_payment_books_the_same_seats_once_more(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("anew", &brief(4)).await;
    let (ada, payments) = (office.customer("ada"), office.payments());
    let old = ran_out(&office, "anew", &["A-1-1", "A-1-2"]).await;
    let booked = rebook(&payments, &old, "payment-1").await;
    assert_answer(&booked, 200, "CONFIRMED");
    let new = id_of(&booked);
    assert_eq!(new, old.rebooked());
    let body = &booked.body;
    assert_eq!((&body["rebooked_from"], &body["payment_reference"]), (&json!(old), &json!("payment-1")));
    assert_eq!((&body["seats"], &body["amount_cents"]), (&json!(["A-1-1", "A-1-2"]), &json!(17_800)));
    assert_eq!(show(&ada, &new).await.body, *body);
    assert_answer(&show(&ada, &old).await, 200, "EXPIRED");
    assert_eq!(row(&office, &old).await.status, Status::Expired);
    assert_eq!(office.seat_status("anew", "A-1-1").await, "sold");
    let own = |seat: &str| [seat.to_owned(), "sold".to_owned(), new.to_string()];
    assert_eq!(mine(&ada, "anew").await, [own("A-1-1"), own("A-1-2")]);

    let before = office.scan().await;
    let again = rebook(&payments, &old, "payment-1").await;
    assert_eq!((again.status, &again.body), (200, body));
    assert_answer(&rebook(&payments, &old, "payment-2").await, 409, "already-confirmed");
    // Who only asks again has paid all the same; another payment is late.
    assert_eq!(confirm(&payments, &old, "payment-1").await.body, *body);
    assert_answer(&confirm(&payments, &old, "payment-2").await, 409, "hold-expired");
    assert_answer(&confirm(&payments, &new, "payment-1").await, 200, "CONFIRMED");
    assert_answer(&extend(&ada, &new).await, 409, "not-extendable");
    // The key of the hold stands for the hold.
    let retry = storm::insist(&ada, "anew", "k", &["A-1-1", "A-1-2"]).await;
    assert_answer(&retry, 409, "hold-expired");
    office.system.expire().await.unwrap();
    assert_unchanged(&office, &before).await;
    assert_answer(&storm::insist(&office.customer("bob"), "anew", "k", &["A-1-2"]).await, 409, "seats-taken");
    office.close().await;
}

async fn a_payment_in_time_books_nothing_anew(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("intime", &hall::small(1, 4)).await;
    let ada = office.customer("ada");
    let id = office.holds(&ada, "intime", "k", &["A-1-1"]).await;
    let confirmed = rebook(&office.payments(), &id, "payment-1").await;
    assert_answer(&confirmed, 200, "CONFIRMED");
    assert_eq!(id_of(&confirmed), id);
    assert!(confirmed.body.get("rebooked_from").is_none(), "{}", confirmed.body);
    let cancelled = office.holds(&ada, "intime", "2", &["A-1-2"]).await;
    assert_answer(&cancel(&ada, &cancelled).await, 200, "CANCELLED");
    assert_answer(&rebook(&office.payments(), &cancelled, "payment-2").await, 409, "not-held");
    office.close().await;
}

async fn a_late_payment_for_seats_that_somebody_has_is_refused_for_ever(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("gone", &brief(8)).await;
    let (ada, bob, payments) = (office.customer("ada"), office.customer("bob"), office.payments());
    let old = ran_out(&office, "gone", &["A-1-1", "A-1-2"]).await;
    office.sells("gone", &hall::small(1, 8)).await;
    let rival = office.holds(&bob, "gone", "k", &["A-1-2"]).await;
    let refused = rebook(&payments, &old, "payment-1").await;
    assert_answer(&refused, 409, "hold-expired");
    assert_eq!(refused.text("reservation_id"), Some(old.as_str()));
    let alternatives = refused.body["alternatives"].as_array().unwrap();
    assert!(!alternatives.is_empty(), "{}", refused.body);
    for seats in alternatives {
        assert_eq!(seats.as_array().unwrap().len(), 2, "{}", refused.body);
        assert!(!seats.as_array().unwrap().contains(&json!("A-1-2")), "{}", refused.body);
    }
    let stored = row(&office, &old.rebooked()).await;
    assert_eq!((stored.status, stored.outcome), (Status::Rejected, Outcome::Rejected(Reason::SeatsTaken)));
    assert_eq!(stored.taken.iter().map(ToString::to_string).collect::<Vec<_>>(), ["A-1-2"]);
    let shown = show(&ada, &old.rebooked()).await;
    assert_answer(&shown, 200, "REJECTED");
    assert_eq!(shown.text("reason"), Some("seats-taken"));

    // What was refused stays refused: the money may be on its way back by now.
    assert_answer(&cancel(&bob, &rival).await, 200, "CANCELLED");
    let before = office.scan().await;
    assert_answer(&rebook(&payments, &old, "payment-1").await, 409, "hold-expired");
    assert_answer(&rebook(&payments, &old, "payment-2").await, 409, "hold-expired");
    assert_unchanged(&office, &before).await;
    assert_eq!(office.seat_status("gone", "A-1-1").await, "free");
    assert_answer(&storm::insist(&bob, "gone", "2", &["A-1-1", "A-1-2"]).await, 202, "PENDING");
    office.close().await;
}

async fn who_does_not_ask_for_it_is_not_booked_once_more(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("plain", &brief(4)).await;
    let old = ran_out(&office, "plain", &["A-1-1"]).await;
    let before = office.scan().await;
    assert_answer(&confirm(&office.payments(), &old, "payment-1").await, 409, "hold-expired");
    assert_unchanged(&office, &before).await;
    assert_eq!(office.seat_status("plain", "A-1-1").await, "free");
    // Asked for later, it still is.
    assert_answer(&rebook(&office.payments(), &old, "payment-1").await, 200, "CONFIRMED");
    office.close().await;
}

async fn the_limit_moves_by_what_is_booked_more(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("limit", &hall::with(brief(6), "max_per_customer", json!(2))).await;
    let (ada, payments) = (office.customer("ada"), office.payments());
    // The old hold still counts two in the table, and then the new reservation does.
    let old = ran_out(&office, "limit", &["A-1-1", "A-1-2"]).await;
    assert_eq!(live(&office, "limit", "ada").await, "2");
    assert_answer(&rebook(&payments, &old, "payment-1").await, 200, "CONFIRMED");
    assert_eq!(live(&office, "limit", "ada").await, "2");
    office.system.expire().await.unwrap();
    assert_eq!(live(&office, "limit", "ada").await, "2");
    assert_answer(&storm::insist(&ada, "limit", "3", &["A-1-3"]).await, 409, "limit-reached");

    // What took its place counts, and there is room for one.
    let bob = office.customer("bob");
    let old = office.holds(&bob, "limit", "k", &["A-1-3", "A-1-4"]).await;
    office.ran_out(&bob, &old).await;
    office.sells("limit", &hall::with(hall::small(1, 6), "max_per_customer", json!(2))).await;
    office.holds(&bob, "limit", "2", &["A-1-5"]).await;
    assert_eq!(live(&office, "limit", "bob").await, "1");
    assert_answer(&rebook(&payments, &old, "payment-2").await, 409, "hold-expired");
    assert_eq!(row(&office, &old.rebooked()).await.outcome, Outcome::Rejected(Reason::LimitReached));
    assert_eq!(live(&office, "limit", "bob").await, "1");
    office.close().await;
}

async fn a_hold_that_was_swept_is_booked_once_more_as_well(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("swept", &hall::with(brief(4), "max_per_customer", json!(2))).await;
    let old = ran_out(&office, "swept", &["A-1-1", "A-1-2"]).await;
    let repository = Repository::new(office.table().await);
    repository.end(&row(&office, &old).await, Step::Expire, clock::wall_ms()).await.unwrap();
    assert_eq!(live(&office, "swept", "ada").await, "0");
    let swept = row(&office, &old).await;
    let booked = rebook(&office.payments(), &old, "payment-1").await;
    assert_answer(&booked, 200, "CONFIRMED");
    assert_eq!(id_of(&booked), old.rebooked());
    assert_eq!((live(&office, "swept", "ada").await.as_str(), row(&office, &old).await), ("2", swept));
    assert_eq!(office.seat_status("swept", "A-1-2").await, "sold");
    office.close().await;
}

async fn a_look_just_before_the_end_does_not_stand_in_the_way_of_a_late_payment(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("look", &brief(4)).await;
    let old = ran_out(&office, "look", &["A-1-1"]).await;
    // So a look leaves the claim that comes in the last moment of the hold, and of which nothing comes.
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    let lifted = format!("{:013}:{}", clock::wall_ms() + 15_000, old.uuid());
    redis::command::<i64>(&redis, &["HSET", &keys::claims(&old.event(), "A"), "0", &lifted]).await;
    let booked = rebook(&office.payments(), &old, "payment-1").await;
    assert_answer(&booked, 200, "CONFIRMED");
    assert_eq!(office.seat_status("look", "A-1-1").await, "sold");
    office.close().await;
}

/// What confirms a hold while another transaction is on its way, once it is armed.
type Rival = Arc<Mutex<Option<(TableSettings, ReservationRow)>>>;

/// A wire on which the rival is quicker than a rebooking.
fn overtaken(rival: &Rival) -> Wire {
    let rival = Arc::clone(rival);
    Wire::new(move |operation, body| {
        let rebooks = operation == "TransactWriteItems" && body.to_string().contains("\"rebooked_from\"");
        if rebooks && let Some((settings, row)) = rival.lock().unwrap().take() {
            let confirms = async move {
                let repository = Repository::new(Table::new(&settings).await);
                repository.confirm(&row, Some("payment-1"), "Asia/Seoul", clock::wall_ms(), None).await.unwrap();
            };
            let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            std::thread::spawn(move || runtime().block_on(confirms)).join().unwrap();
        }
        Fate::Pass
    })
}

async fn a_payment_that_was_confirmed_meanwhile_is_told_so(set: ServerSet) {
    let rival = Rival::default();
    let wire = overtaken(&rival);
    let wrap_api_table = Some(Box::new(move |table: Table| wire.under(&table)) as Box<_>);
    let office = Office::open_with(Wishes { wrap_api_table, ..Wishes::plain(set) }).await;
    office.sells("race", &brief(4)).await;
    let old = ran_out(&office, "race", &["A-1-1"]).await;
    *rival.lock().unwrap() = Some((office.system.config().table.clone(), row(&office, &old).await));
    let confirmed = rebook(&office.payments(), &old, "payment-1").await;
    assert_answer(&confirmed, 200, "CONFIRMED");
    assert_eq!(id_of(&confirmed), old);
    assert!(rival.lock().unwrap().is_none());
    assert_answer(&rebook(&office.payments(), &old, "payment-1").await, 200, "CONFIRMED");
    assert_eq!(office.seat_status("race", "A-1-1").await, "sold");
    assert_eq!(live(&office, "race", "ada").await, "1");
    office.close().await;
}
