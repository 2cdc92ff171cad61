//! What all of it weighs in Redis, against the budget: 1 bit a seat, 110 B an active claim, 600 B a record.

use fred::types::Value;
use serde_json::json;
use shared::domain::reservation::Outcome;
use shared::redis::keys;

use super::{held, sold, truth};
use crate::harness::hall;
use crate::harness::scripts::{Attempt, Scripts, request};

/// Seats of the section that is weighed.
const SEATS: usize = 10_000;
/// What one active claim may weigh, in bytes.
const CLAIM_BYTES: usize = 110;
/// What one record may weigh, in bytes, its key and its outcome included.
const RECORD_BYTES: usize = 600;
/// What a key weighs besides its contents, in bytes: name, object, entry of the keyspace.
const KEY_BYTES: usize = 256;
/// Seats of one request.
const AT_ONCE: usize = 20;

async fn weight(scripts: &Scripts, key: &str) -> usize {
    let bytes: Value = scripts.command(&["MEMORY", "USAGE", key, "SAMPLES", "0"]).await;
    usize::try_from(bytes.as_i64().unwrap()).unwrap()
}

#[tokio::test]
async fn a_section_with_every_seat_claimed_and_then_sold_stays_within_its_budget() {
    let document = hall::with(hall::small(SEATS / 500, 500), "name", json!("A large hall"));
    let (scripts, event) = Scripts::selling(&document).await;
    let seats: Vec<String> = event.sections[0].layout.seats().map(|(within, _)| format!("A-{within}")).collect();
    assert_eq!(seats.len(), SEATS);
    let mut attempts = Vec::new();
    for (n, chunk) in seats.chunks(AT_ONCE).enumerate() {
        let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
        let attempt = Attempt::new(&event, &format!("customer-{n}"), "k", &chunk);
        scripts.granted(&event, &attempt).await;
        attempts.push(attempt);
    }
    let claims = weight(&scripts, &keys::claims(&event.id, "A")).await;
    println!("claims of {SEATS} seats: {claims} B, {:.1} B each", claims as f64 / SEATS as f64);
    assert!(claims <= CLAIM_BYTES * SEATS, "{claims} B");

    for attempt in &attempts {
        let paid = truth(attempt, Outcome::Held, &sold(attempt));
        scripts.truths.write(&paid).await.unwrap();
    }
    // Redis grows a string ahead of its need by as much again; what a section of all its seats needs is a bit each.
    let taken = weight(&scripts, &keys::taken(&event.id, "A")).await;
    let bits: i64 = scripts.command(&["STRLEN", &keys::taken(&event.id, "A")]).await;
    println!("bitmap of {SEATS} seats: {taken} B in memory, {bits} B of bits");
    assert_eq!(bits, SEATS.div_ceil(8) as i64);
    assert!(taken <= 2 * SEATS.div_ceil(8) + KEY_BYTES, "{taken} B");
    // Sold seats have no claim any more.
    assert_eq!(scripts.command::<i64>(&["HLEN", &keys::claims(&event.id, "A")]).await, 1);
}

#[tokio::test]
async fn a_record_of_two_seats_stays_within_its_budget() {
    let (scripts, event) = Scripts::selling(&hall::small(20, 40)).await;
    // As a token names its customer and the API digests a body.
    let mut attempt = Attempt::new(&event, "7f3c1f0e-2f7a-4f0c-9a51-6a2f9d1c8e11", "k", &["A-12-31", "A-12-32"]);
    attempt.fingerprint = "0123456789abcdef0123456789abcdef".to_owned();
    let (message, _) = scripts.granted(&event, &attempt).await;
    let mut truth = held(&attempt, request(&message).expires_at_ms);
    truth.told.prolonged_to_ms = None;
    scripts.truths.write(&truth).await.unwrap();
    let record = weight(&scripts, &keys::record(&attempt.id)).await;
    let customer = weight(&scripts, &keys::customer(&event.id, &attempt.customer)).await;
    println!(
        "record of two seats: {record} B, of which the message is {} B; its customer's entry: {customer} B",
        message.len()
    );
    assert!(record <= RECORD_BYTES, "{record} B");
}
