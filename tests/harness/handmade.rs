//! Requests and trigger payloads made by hand: what the API and the event source would have made, and what they never would.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use shared::domain::event::Seat;
use shared::domain::ids::{CustomerId, EventId, IdempotencyKey, ReservationId, SeatId};
use shared::message::Request;

/// Seats a row counts for when a seat's number is made up: seat `A-2-3` has number 102 + 100.
const SEATS_PER_ROW: u32 = 100;

/// A request as the claim script would have completed it; times are milliseconds since the epoch.
pub struct Asked<'a> {
    /// Of which event.
    pub event: &'a str,
    /// By whom.
    pub customer: &'a str,
    /// Under which key.
    pub key: &'a str,
    /// Which seats, `A-<row>-<seat>` with numbers for both.
    pub seats: &'a [&'a str],
    /// The event's limit.
    pub limit: Option<u32>,
    /// When it was claimed, and when the hold ends.
    pub held: (i64, i64),
}

impl Asked<'_> {
    /// The message.
    pub fn request(&self) -> Request {
        let id = reservation_id(self.event, self.customer, self.key);
        let seats: Vec<Seat> = self.seats.iter().map(|id| seat(id)).collect();
        let (held_at_ms, expires_at_ms) = self.held;
        let mut message = json!({
            "version": 1, "reservation_id": id, "customer": self.customer, "fingerprint": self.key,
            "layout_version": 1, "seats": seats, "amount_cents": 8900 * seats.len(), "currency": "EUR",
            "opens_at_ms": 0, "closes_at_ms": i64::MAX, "held_at_ms": held_at_ms, "expires_at_ms": expires_at_ms,
        });
        if let Some(limit) = self.limit {
            message["max_per_customer"] = json!(limit);
        }
        Request::from_value(message.to_string().as_bytes()).unwrap()
    }
}

/// A request of `customer` for `seats`, held from `held.0` to `held.1`.
pub fn asks(event: &str, customer: &str, seats: &[&str], held: (i64, i64)) -> Request {
    Asked { event, customer, key: "key", seats, limit: None, held }.request()
}

/// The id of an attempt.
pub fn reservation_id(event: &str, customer: &str, key: &str) -> ReservationId {
    let (event, customer) = (EventId::parse(event).unwrap(), CustomerId::parse(customer).unwrap());
    ReservationId::derive(&event, &customer, &IdempotencyKey::parse(key).unwrap())
}

/// A seat with its number, as a section of one row numbers it.
pub fn seat(id: &str) -> Seat {
    let parts: Vec<&str> = id.split('-').collect();
    let [_, row, seat] = parts[..] else { panic!("{id} is no seat") };
    let number = (row.parse::<u32>().unwrap() - 1) * SEATS_PER_ROW + seat.parse::<u32>().unwrap() - 1;
    Seat { id: SeatId::parse(id).unwrap(), number }
}

/// A record of the trigger's payload.
pub fn record(offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Value {
    let encoded = |bytes: Option<&[u8]>| bytes.map(|bytes| STANDARD.encode(bytes));
    json!({
        "topic": "t", "partition": 0, "offset": offset, "timestamp": 0, "timestampType": "CREATE_TIME",
        "key": encoded(key), "value": encoded(value), "headers": [],
    })
}

/// The record that carries a request.
pub fn carrying(offset: i64, request: &Request) -> Value {
    record(offset, Some(request.reservation_id.as_str().as_bytes()), Some(&request.to_value()))
}

/// A payload of partitions (`<topic>-<n>`) with their records.
pub fn payload<const N: usize>(partitions: [(&str, Vec<Value>); N]) -> Value {
    let records: serde_json::Map<String, Value> =
        partitions.into_iter().map(|(name, records)| (name.to_owned(), json!(records))).collect();
    json!({ "eventSource": "aws:kafka", "bootstrapServers": "b-1:9098", "records": records })
}
