//! What becomes of a reservation: confirmed, cancelled, extended, booked once more by a late payment.
//!
//! [`others`]: that it is nobody else's business. [`cost`]: what a change costs. [`order`]: truths that land in another order
//! than the table's, and changes whose maker died. [`away`]: what can be changed while Redis is away.

mod away;
mod cancel;
mod confirm;
mod cost;
mod extend;
mod order;
mod others;
mod rebook;

use local::client::ApiClient;
use serde_json::{Value, json};
use shared::domain::ids::{EventId, ReservationId};
use shared::dynamodb::reservations::{Hold, Repository};
use shared::dynamodb::rows::ReservationRow;
use shared::message::Request;
use shared::redis::keys;

use crate::harness::{Office, hall, redis, table};

/// A row as it is stored.
async fn row(office: &Office, id: &ReservationId) -> ReservationRow {
    Repository::new(office.table().await).get(id).await.unwrap().unwrap()
}

/// Stores a hold that Redis has never heard of: its times are the test's own.
async fn stored(office: &Office, request: &Request) -> ReservationRow {
    match Repository::new(office.table().await).hold(request).await.unwrap() {
        Hold::Made(row) => row,
        other => panic!("not made: {other:?}"),
    }
}

/// Fails unless `left` is the whole table.
async fn assert_unchanged(office: &Office, left: &[String]) {
    let now = office.scan().await;
    assert!(now == left, "{:#?}", table::difference(left, &now));
}

/// The caller's own seats, as `[seat, status, reservation]`.
async fn mine(client: &ApiClient, event: &str) -> Vec<[String; 3]> {
    let answer = client.get(&format!("/events/{event}/seats/mine")).await.unwrap();
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{}", answer.body);
    let seats = answer.body["seats"].as_array().unwrap().iter();
    seats.map(|seat| ["id", "status", "reservation_id"].map(|field| seat[field].as_str().unwrap().to_owned())).collect()
}

/// A section's counts, which add up.
async fn counts(office: &Office, event: &str, section: &str) -> Value {
    let page = office.fresh(&format!("/events/{event}")).await;
    let counts = page.body["availability"][section].clone();
    let sum: u64 = ["free", "held", "sold", "blocked"].iter().map(|name| counts[name].as_u64().unwrap()).sum();
    assert_eq!(json!(sum), counts["capacity"], "{counts}");
    counts
}

/// Live seats of a customer, as the table counts them.
async fn live(office: &Office, event: &str, customer: &str) -> String {
    let pk = format!("pk=\"LIMIT#{event}#{customer}\"");
    let item = office.scan().await.into_iter().find(|item| item.contains(&pk)).unwrap_or_default();
    item.split("live=").nth(1).unwrap_or_default().split([' ', '}']).next().unwrap_or_default().to_owned()
}

/// What Redis has claimed of a seat of section A: until when (ms since the epoch), and whose uuid.
async fn claim(office: &Office, event: &str, number: u32) -> Option<(i64, String)> {
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    let key = keys::claims(&EventId::parse(event).unwrap(), "A");
    let entry: Option<String> = redis::command(&redis, &["HGET", &key, &number.to_string()]).await;
    entry.map(|entry| (entry[..13].parse().unwrap(), entry[14..].to_owned()))
}

/// A hall of one row whose holds end after a second.
fn brief(seats: usize) -> Value {
    hall::with(hall::small(1, seats), "hold_seconds", json!(1))
}

/// A hall of one row that costs nothing.
fn free_of_charge(seats: usize) -> Value {
    let mut document = hall::small(1, seats);
    document["sections"][0]["price_cents"] = json!(0);
    document
}
