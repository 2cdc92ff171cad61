//! An API in memory that keeps the contract, or breaks one promise on demand: a check that cannot fail checks nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// The promise this API breaks, once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Misdeed {
    /// None at all.
    None,
    /// Sells a seat that somebody else holds.
    TwoOwners,
    /// Never decides an accepted reservation.
    Forget,
    /// Answers 404 for an accepted reservation.
    Lose,
    /// Rejects after it has said HELD.
    ChangeMind,
    /// Makes two reservations of one key.
    SplitKey,
    /// Leaves a held reservation out of the list.
    Unlist,
    /// Refuses and holds all the same.
    HoldUntold,
    /// Counts one seat twice.
    Miscount,
    /// Not a breach: rejects an accepted reservation, as when Redis was flushed.
    RejectLate,
    /// Not a breach: is unavailable at the first attempt of every key.
    Unavailable,
    /// Refuses to publish.
    Unpublished,
}

struct Row {
    customer: String,
    seats: Vec<String>,
    /// How often it was looked at.
    looks: usize,
    listed: usize,
    status: &'static str,
}

struct Fake {
    misdeed: Misdeed,
    /// Whether the misdeed is done.
    done: bool,
    /// Seats by id, with their owner.
    seats: BTreeMap<String, Option<String>>,
    event_id: String,
    rows: BTreeMap<String, Row>,
    keys: BTreeSet<String>,
}

type Shared = Arc<Mutex<Fake>>;

/// The API on a free port, stopped when it is dropped.
pub(super) struct FakeApi {
    pub(super) url: String,
    task: JoinHandle<()>,
    state: Shared,
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeApi {
    pub(super) async fn start(misdeed: Misdeed) -> Self {
        let state = Arc::new(Mutex::new(Fake {
            misdeed,
            done: false,
            seats: BTreeMap::new(),
            event_id: String::new(),
            rows: BTreeMap::new(),
            keys: BTreeSet::new(),
        }));
        let router = Router::new()
            .route("/admin/events/{event_id}", put(publish))
            .route("/events/{event_id}", get(event))
            .route("/events/{event_id}/seats", get(seats))
            .route("/events/{event_id}/reservations", post(reserve))
            .route("/reservations", get(list))
            .route("/reservations/{id}", get(look))
            .with_state(state.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, task, state }
    }

    /// Seats that somebody holds.
    pub(super) fn seats_held(&self) -> u64 {
        locked(&self.state).seats.values().flatten().count() as u64
    }

    /// Whether the misdeed was done.
    pub(super) fn misdeed_done(&self) -> bool {
        locked(&self.state).done
    }
}

/// The token a customer is known by: his name and scopes, unsigned.
pub(super) fn token(customer: &str, scopes: &[&str]) -> String {
    format!("{customer}|{}", scopes.join(" "))
}

fn locked(state: &Shared) -> MutexGuard<'_, Fake> {
    state.lock().unwrap()
}

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

async fn publish(
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

async fn event(State(state): State<Shared>) -> Json<Value> {
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

async fn seats(State(state): State<Shared>) -> Json<Value> {
    let fake = locked(&state);
    let status = |owner: &Option<String>| if owner.is_some() { "held" } else { "free" };
    let seats: Vec<Value> = fake.seats.iter().map(|(id, owner)| json!({ "id": id, "status": status(owner) })).collect();
    Json(json!({ "event_id": fake.event_id, "sections": [{ "id": "101", "kind": "seated", "seats": seats }] }))
}

async fn reserve(State(state): State<Shared>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
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
async fn look(State(state): State<Shared>, Path(id): Path<String>, headers: HeaderMap) -> Response {
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

/// Pages of one reservation; the first time a customer asks, his reservations are not in the index yet.
async fn list(
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
