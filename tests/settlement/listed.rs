//! What puts a reservation on the job's list: the very transaction that confirms it or takes it back; and nothing else.

use local::servers::ServerSet;
use serde_json::json;
use shared::domain::day::Day;
use shared::domain::ids::ReservationId;
use shared::dynamodb::keys::{SHARDS, shard};
use shared::dynamodb::reservations::Repository;
use shared::dynamodb::settlement::Settlements;

use crate::harness::changing::{assert_answer, cancel, confirm, id_of, rebook};
use crate::harness::{Office, eventually, hall, on_both_sets};

on_both_sets!(
    what_is_paid_is_listed_under_the_end_of_its_day_and_nothing_else_is,
    what_is_booked_once_more_is_listed_and_what_it_was_is_not,
);

/// After every day.
const FOR_EVER: i64 = 4_000_000_000_000;

/// What is listed as due before a moment.
async fn listed(office: &Office, until_ms: i64) -> Vec<ReservationId> {
    let settlements = Settlements::new(office.table().await);
    let mut ids = Vec::new();
    for of in SHARDS {
        let due = settlements.due(of, until_ms, None).await.unwrap();
        assert!(due.next.is_none() && due.ids.iter().all(|id| shard(id) == of));
        ids.extend(due.ids);
    }
    ids.sort();
    ids
}

async fn until_listed(office: &Office, until_ms: i64, wanted: &[&ReservationId]) {
    let mut wanted: Vec<ReservationId> = wanted.iter().map(|id| (*id).clone()).collect();
    wanted.sort();
    eventually("the list to be so", || async { (listed(office, until_ms).await == wanted).then_some(()) }).await;
}

async fn what_is_paid_is_listed_under_the_end_of_its_day_and_nothing_else_is(set: ServerSet) {
    let office = Office::open(set).await;
    let open = hall::with(hall::small(1, 8), "cancellable_until", json!("2098-05-01T00:00:00Z"));
    office.sells("list", &hall::with(open, "time_zone", json!("Pacific/Auckland"))).await;
    let (ada, payments) = (office.customer("ada"), office.payments());
    let paid = office.holds(&ada, "list", "paid", &["A-1-1", "B-1-1"]).await;
    let held = office.holds(&ada, "list", "held", &["A-1-2"]).await;
    let given_up = office.holds(&ada, "list", "given-up", &["A-1-3"]).await;
    assert_answer(&cancel(&ada, &given_up).await, 200, "CANCELLED");
    let block = office.system.organiser().unwrap();
    let path = "/admin/events/list/blocks/press";
    let blocked = block.send(axum::http::Method::PUT, path, &[], Some(&json!({ "seats": ["A-1-8"] }))).await.unwrap();
    assert_eq!(blocked.body["blocked"], json!(["A-1-8"]));
    until_listed(&office, FOR_EVER, &[]).await;

    assert_answer(&confirm(&payments, &paid, "payment-1").await, 200, "CONFIRMED");
    let repository = Repository::new(office.table().await);
    let row = repository.get(&paid).await.unwrap().unwrap();
    assert_eq!(row.time_zone.as_deref(), Some("Pacific/Auckland"));
    assert_eq!(row.by_section(), [("A", (1, 8_900)), ("B", (1, 4_900))].into());
    let day = Day::of(row.confirmed_at_ms.unwrap(), "Pacific/Auckland");
    until_listed(&office, FOR_EVER, &[&paid]).await;
    assert_eq!(listed(&office, day.ends_at_ms).await, []);
    assert_eq!(listed(&office, day.ends_at_ms + 1).await, std::slice::from_ref(&paid));
    // Prices of today are no longer those of then.
    let mut dearer = hall::with(hall::small(1, 8), "cancellable_until", json!("2098-05-01T00:00:00Z"));
    dearer["sections"][0]["price_cents"] = json!(1);
    office.sells("list", &dearer).await;
    // Taken back before its sale was settled, it stays where it is.
    assert_answer(&cancel(&ada, &paid).await, 200, "CANCELLED");
    let row = repository.get(&paid).await.unwrap().unwrap();
    assert_eq!(row.by_section(), [("A", (1, 8_900)), ("B", (1, 4_900))].into());
    until_listed(&office, day.ends_at_ms + 1, &[&paid]).await;
    until_listed(&office, FOR_EVER, &[&paid]).await;
    assert!(repository.get(&held).await.unwrap().unwrap().to_settle().is_none());
    office.close().await;
}

async fn what_is_booked_once_more_is_listed_and_what_it_was_is_not(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("again", &hall::with(hall::small(1, 4), "hold_seconds", json!(1))).await;
    let ada = office.customer("ada");
    let old = office.holds(&ada, "again", "k", &["A-1-1", "B-1-2"]).await;
    office.ran_out(&ada, &old).await;
    let booked = rebook(&office.payments(), &old, "late").await;
    assert_answer(&booked, 200, "CONFIRMED");
    let new = id_of(&booked);
    until_listed(&office, FOR_EVER, &[&new]).await;
    let row = Repository::new(office.table().await).get(&new).await.unwrap().unwrap();
    assert_eq!(row.by_section(), [("A", (1, 8_900)), ("B", (1, 4_900))].into());
    assert_eq!(row.time_zone.as_deref(), Some("Asia/Seoul"));
    office.close().await;
}
