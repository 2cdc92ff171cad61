//! The negative control: with the seat's condition taken away from what is sent to DynamoDB, the very scenario that ends
//! with one owner ends with two. So it is the condition that the other tests see, and not luck.

use std::collections::BTreeMap;

use local::servers::ServerSet;
use serde_json::{Value, json};
use shared::domain::reservation::Status;
use shared::dynamodb::reservations::Repository;

use crate::harness::wire::{Fate, Wire};
use crate::harness::{Office, Wishes, hall, on_both_sets, redis, storm};

on_both_sets!(
    without_the_condition_a_flush_between_two_customers_gives_a_seat_two_owners,
    with_the_condition_a_flush_between_two_customers_leaves_one_owner,
);

/// The seat's condition; its values must stay in use, or the table refuses the request.
const ALWAYS_TRUE: &str =
    "attribute_not_exists(pk) OR attribute_exists(pk) OR (#state = :held AND expires_at_ms <= :held_at)";

/// The transaction with the condition of each of its seats taken away; `None` where it takes no seat.
pub fn unguarded(body: &Value) -> Option<Value> {
    let mut body = body.clone();
    let mut changed = false;
    for item in body["TransactItems"].as_array_mut()? {
        let update = &mut item["Update"];
        let takes_a_seat = update["Key"]["pk"]["S"].as_str().is_some_and(|pk| pk.starts_with("SEATS#"));
        if takes_a_seat && update["ConditionExpression"].is_string() {
            update["ConditionExpression"] = json!(ALWAYS_TRUE);
            changed = true;
        }
    }
    changed.then_some(body)
}

/// Sells a seat, loses all of Redis while the first message waits, sells it again, and counts who holds it in the end.
async fn owners_after_a_flush(set: ServerSet, wire: &Wire) -> usize {
    let under = wire.clone();
    let wrap_table = Some(Box::new(move |table: shared::dynamodb::Table| under.under(&table)) as Box<_>);
    let office = Office::open_with(Wishes { wrap_table, ..Wishes::plain(set) }).await;
    office.sells("control", &hall::small(1, 4)).await;
    office.system.event_source().pause();
    let accepted = storm::insist(&office.customer("first"), "control", "k", &["A-1-1"]).await;
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    redis::command::<String>(&redis, &["FLUSHALL"]).await;
    let late = storm::insist(&office.customer("second"), "control", "k", &["A-1-1"]).await;
    assert_eq!((accepted.status, late.status), (202, 202), "{} {}", accepted.body, late.body);
    office.system.event_source().resume();
    office.drained().await;

    let repository = Repository::new(office.table().await);
    let mut statuses = BTreeMap::new();
    for answer in [&accepted, &late] {
        let id = shared::domain::ids::ReservationId::parse(answer.text("reservation_id").unwrap()).unwrap();
        let row = repository.get(&id).await.unwrap().unwrap();
        assert_eq!(row.seats[0].id.as_str(), "A-1-1");
        statuses.insert(id.to_string(), row.status);
    }
    assert_eq!(statuses.len(), 2);
    office.close().await;
    statuses.values().filter(|status| **status == Status::Held).count()
}

async fn without_the_condition_a_flush_between_two_customers_gives_a_seat_two_owners(set: ServerSet) {
    let wire = Wire::new(|operation, body| match unguarded(body) {
        Some(body) if operation == "TransactWriteItems" => Fate::Send(body),
        _ => Fate::Pass,
    });
    assert_eq!(owners_after_a_flush(set, &wire).await, 2, "the control shows no race: what do the other tests show?");
    assert_eq!(wire.count("TransactWriteItems", |fate| matches!(fate, Fate::Send(_))), 2);
}

async fn with_the_condition_a_flush_between_two_customers_leaves_one_owner(set: ServerSet) {
    let wire = Wire::new(|_, _| Fate::Pass);
    assert_eq!(owners_after_a_flush(set, &wire).await, 1);
    assert_eq!(wire.count("TransactWriteItems", |_| true), 2);
}
