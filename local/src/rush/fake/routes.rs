//! The routes of the API in memory.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{Fake, Misdeed, Row, Shared, locked};

fn caller(headers: &HeaderMap) -> (String, String) {
    let token = headers["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap();
    let (customer, scopes) = token.split_once('|').unwrap();
    (customer.to_owned(), scopes.to_owned())
}

fn problem(status: u16, kind: &str, more: Value) -> Response {
    let mut body = json!({ "type": kind, "title": kind, "status": status, "detail": "" });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let kind = [("content-type", "application/problem+json")];
    (StatusCode::from_u16(status).unwrap(), kind, body.to_string()).into_response()
}

pub(super) async fn publish(
    State(state): State<Shared>,
    Path(event_id): Path<String>,
    headers: HeaderMap,
    Json(document): Json<Value>,
) -> Response {
    let mut fake = locked(&state);
    if fake.misdeed == Misdeed::Unpublished || caller(&headers).1 != "tickets/admin" {
        return problem(400, "invalid-request", json!({}));
    }
    fake.event_id = event_id;
    for section in document["sections"].as_array().unwrap() {
        for row in section["rows"].as_array().unwrap() {
            for seat in 1..=row["seats"].as_u64().unwrap() {
                let row = format!("{}-{}", section["id"].as_str().unwrap(), row["id"].as_str().unwrap());
                fake.seats.insert(format!("{row}-{seat}"), None);
            }
        }
    }
    StatusCode::CREATED.into_response()
}

pub(super) async fn event(State(state): State<Shared>) -> Json<Value> {
    let mut fake = locked(&state);
    let miscounted = u64::from(fake.misdeed == Misdeed::Miscount);
    fake.done |= miscounted > 0;
    let (capacity, held) = (fake.seats.len() as u64, fake.seats.values().flatten().count() as u64);
    let free = capacity - held + miscounted;
    Json(json!({
        "event_id": fake.event_id,
        "availability": { "101": { "capacity": capacity, "free": free, "held": held, "sold": 0, "blocked": 0 } },
    }))
}

/// Seats are only ever taken here, so their number names the version of the map.
pub(super) async fn seats(State(state): State<Shared>, headers: HeaderMap) -> Response {
    let mut fake = locked(&state);
    let etag = format!("\"{}\"", fake.seats.values().flatten().count());
    if headers.get("if-none-match").is_some_and(|known| known == etag.as_str()) {
        fake.maps_saved += 1;
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let status = |owner: &Option<String>| if owner.is_some() { "held" } else { "free" };
    let seats: Vec<Value> = fake.seats.iter().map(|(id, owner)| json!({ "id": id, "status": status(owner) })).collect();
    let map = json!({ "event_id": fake.event_id, "sections": [{ "id": "101", "kind": "seated", "seats": seats }] });
    ([("etag", etag)], Json(map)).into_response()
}

pub(super) async fn reserve(State(state): State<Shared>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let mut fake = locked(&state);
    let customer = caller(&headers).0;
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let wanted: Vec<String> =
        body["seats"].as_array().unwrap().iter().map(|seat| seat.as_str().unwrap().into()).collect();
    let again = !fake.keys.insert(key.clone());
    let mut id = format!("{}.{key}", fake.event_id);
    if fake.misdeed == Misdeed::Unavailable && !again {
        fake.done = true;
        let mut response = problem(503, "unavailable", json!({}));
        response.headers_mut().insert("retry-after", "0".parse().unwrap());
        return response;
    }
    let splits = fake.may(Misdeed::SplitKey) && fake.rows.contains_key(&id);
    if splits {
        fake.done = true;
        id.push_str("-twin");
        fake.rows.insert(id.clone(), Row { customer, seats: Vec::new(), looks: 0, listed: 0, status: "REJECTED" });
        return accepted(&id);
    }
    if fake.rows.contains_key(&id) {
        return accepted(&id);
    }
    let owner = |seat: &String| fake.seats[seat].clone();
    let taken: Vec<&String> = wanted.iter().filter(|seat| owner(seat).is_some()).collect();
    let mut status = "HELD";
    if !taken.is_empty() {
        if fake.may(Misdeed::TwoOwners) {
            fake.done = true;
        } else if fake.may(Misdeed::HoldUntold) && taken.len() < wanted.len() {
            fake.done = true;
            let left = wanted.iter().filter(|seat| !taken.contains(seat)).cloned().collect();
            fake.hold(id, customer, left, "HELD");
            return problem(409, "seats-taken", json!({}));
        } else {
            return problem(409, "seats-taken", json!({ "taken": taken }));
        }
    } else if fake.may(Misdeed::RejectLate) {
        fake.done = true;
        status = "REJECTED";
    } else if fake.may(Misdeed::Forget) {
        fake.done = true;
        status = "PENDING";
    } else if fake.may(Misdeed::Lose) {
        fake.done = true;
        return accepted(&id);
    }
    fake.hold(id.clone(), customer, wanted, status);
    accepted(&id)
}

fn accepted(id: &str) -> Response {
    (StatusCode::ACCEPTED, Json(json!({ "reservation_id": id, "status": "PENDING" }))).into_response()
}

impl Fake {
    /// Whether this misdeed is this API's, and still to be done.
    fn may(&self, misdeed: Misdeed) -> bool {
        self.misdeed == misdeed && !self.done
    }

    fn hold(&mut self, id: String, customer: String, seats: Vec<String>, status: &'static str) {
        if status != "REJECTED" {
            self.seats.extend(seats.iter().map(|seat| (seat.clone(), Some(id.clone()))));
        }
        self.rows.insert(id, Row { customer, seats, looks: 0, listed: 0, status });
    }

    fn show(&self, id: &str, row: &Row, status: &str) -> Value {
        let mut shown = json!({
            "reservation_id": id, "event_id": self.event_id, "status": status, "seats": row.seats,
            "amount_cents": 100, "currency": "EUR", "created_at": "2026-01-01T00:00:00Z",
        });
        if status == "REJECTED" {
            shown["reason"] = "seats-taken".into();
        }
        shown
    }
}

/// The first look at a reservation finds it pending.
pub(super) async fn look(State(state): State<Shared>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let mut fake = locked(&state);
    let customer = caller(&headers).0;
    let changes = fake.may(Misdeed::ChangeMind);
    let Some(row) = fake.rows.get_mut(&id).filter(|row| row.customer == customer) else {
        return problem(404, "not-found", json!({}));
    };
    row.looks += 1;
    let looks = row.looks;
    if changes && looks > 2 {
        row.status = "REJECTED";
        fake.done = true;
    }
    let row = &fake.rows[&id];
    let status = if looks == 1 { "PENDING" } else { row.status };
    Json(fake.show(&id, row, status)).into_response()
}

/// Pages of one reservation; the first time a customer asks, they are not in the index yet.
pub(super) async fn list(
    State(state): State<Shared>,
    headers: HeaderMap,
    Query(query): Query<BTreeMap<String, String>>,
) -> Json<Value> {
    let mut fake = locked(&state);
    let customer = caller(&headers).0;
    let after =
        query.get("cursor").map(|cursor| cursor.strip_prefix("after +&=").unwrap().to_owned()).unwrap_or_default();
    let mine = |row: &Row| row.customer == customer && row.status != "PENDING";
    let lags = !query.contains_key("cursor") && fake.rows.values().any(|row| mine(row) && row.listed == 0);
    if lags {
        fake.rows.values_mut().filter(|row| row.customer == customer).for_each(|row| row.listed += 1);
        return Json(json!({ "reservations": [], "cursor": null }));
    }
    let held = |row: &Row| mine(row) && row.status == "HELD";
    let next = fake.rows.iter().find(|(id, row)| **id > after && mine(row)).map(|(id, row)| (id.clone(), held(row)));
    let Some((id, held)) = next else { return Json(json!({ "reservations": [], "cursor": null })) };
    let cursor = format!("after +&={id}");
    // Once left out, a reservation stays out, or the list would only be late.
    let unlisted = fake.misdeed == Misdeed::Unlist && held;
    fake.done |= unlisted;
    let row = &fake.rows[&id];
    let page = if unlisted { json!([]) } else { json!([fake.show(&id, row, row.status)]) };
    Json(json!({ "reservations": page, "cursor": cursor }))
}
