//! Requests for seats, lists and reservations that are refused.

use axum::http::Method;
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Refused, Who};

const KIB: usize = 1_024;

/// A body that asks for these seats.
fn seats(ids: &[&str]) -> String {
    json!({ "seats": ids }).to_string()
}

/// A valid request, padded to at least so many bytes.
fn padded(bytes: usize) -> String {
    format!("{{\"seats\":[\"A-1-1\"]{}}}", " ".repeat(bytes))
}

pub(super) fn refused() -> Vec<Refused> {
    [bodies(), seats_asked_for(), keys(), sizes(), queries(), callers()].into_iter().flatten().collect()
}

fn reserve(what: &'static str, body: impl Into<Bytes>) -> Refused {
    Refused::reserve(what, body)
}

fn bodies() -> Vec<Refused> {
    vec![
        reserve("broken JSON", r#"{"seats":["A-1-1""#).field("body"),
        reserve("something behind the JSON", r#"{"seats":["A-1-1"]}]"#).field("body"),
        reserve("no UTF-8", &b"{\"seats\":[\"A-1-\xff\"]}"[..]),
        reserve("no body", "").field("body"),
        reserve("a list", r#"["A-1-1"]"#).field("body"),
        reserve("a list of the fields' values", r#"[["A-1-1"]]"#).field("body"),
        reserve("a string", r#""A-1-1""#).field("body"),
        reserve("null", "null").field("body"),
        reserve("a body nested too deep", format!("{{\"seats\":{}", "[".repeat(10_000))),
        reserve("an unknown field", r#"{"seats":["A-1-1"],"colour":"red"}"#).field("colour"),
        reserve("a price", r#"{"seats":["A-1-1"],"amount_cents":1}"#).field("amount_cents"),
        reserve("the seats twice", r#"{"seats":["A-1-1"],"seats":["A-1-2"]}"#),
        reserve("no field at all", "{}"),
        reserve("seats of another type", r#"{"seats":"A-1-1"}"#).field("seats"),
        reserve("seats that are null", r#"{"seats":null}"#).field("seats"),
        reserve("a seat of another type", r#"{"seats":["A-1-1",7]}"#).field("seats[1]"),
    ]
}

fn seats_asked_for() -> Vec<Refused> {
    let many: Vec<String> = (1..=21).map(|n| format!("A-1-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let reserve = |what, ids: &[&str]| Refused::reserve(what, seats(ids));
    let unknown = |what, ids: &[&str], named: &[&str]| {
        reserve(what, ids).with(404, "seat-not-found").naming("seats", Value::from(named.to_vec()))
    };
    vec![
        reserve("no seats", &[]).field("seats"),
        reserve("21 seats", &many).field("seats"),
        reserve("a seat twice", &["A-1-1", "A-1-2", "A-1-1"]).field("seats[2]"),
        reserve("a malformed seat", &["A-1-1", "A/1/2"]).field("seats[1]"),
        unknown("an unknown seat", &["A-1-1", "A-1-5"], &["A-1-5"]),
        unknown("a seat with another spelling", &["A-1-01"], &["A-1-01"]),
        unknown("an unknown row and an unknown section", &["A-3-1", "A-1-1", "Z-1-1"], &["A-3-1", "Z-1-1"]),
        reserve("a place of a general section", &["A-1-1", "FLOOR-7"]).field("seats"),
        reserve("an unknown event", &["A-1-1"]).at("/events/nowhere/reservations").with(404, "event-not-found"),
        reserve("an impossible event", &["A-1-1"]).at("/events/HALL/reservations").with(404, "event-not-found"),
        reserve("an event that is no UTF-8", &["A-1-1"]).at("/events/%FF/reservations").with(404, "event-not-found"),
        reserve("a taken seat", &["A-1-1", "A-2-1"]).with(409, "seats-taken").naming("taken", vec!["A-2-1"]),
    ]
}

fn keys() -> Vec<Refused> {
    let reserve = |what| Refused::reserve(what, seats(&["A-1-1"]));
    let missing = Refused { headers: Vec::new(), ..reserve("no key") };
    vec![
        missing.with(400, "idempotency-key-missing"),
        reserve("an empty key").key("").field("Idempotency-Key"),
        reserve("a key of 129 characters").key(&"k".repeat(129)).field("Idempotency-Key"),
        reserve("a key with a space").key("two words").field("Idempotency-Key"),
        reserve("a key beyond ASCII").key("clé").field("Idempotency-Key"),
    ]
}

fn sizes() -> Vec<Refused> {
    vec![
        Refused::reserve("a body of 70 KB", padded(70 * KIB)).with(413, "body-too-large"),
        Refused::reserve("a body of 1 MB", padded(KIB * KIB)).with(413, "body-too-large"),
        Refused::publish("a document of 5 MB", padded(5 * KIB * KIB)).with(413, "body-too-large"),
    ]
}

fn queries() -> Vec<Refused> {
    let get = Refused::get;
    vec![
        get("101 reservations", "/reservations?limit=101").field("limit"),
        get("101 events", "/events?limit=101").field("limit"),
        get("no events", "/events?limit=0").field("limit"),
        get("less than none", "/events?limit=-1").field("limit"),
        get("a limit in words", "/events?limit=all").field("limit"),
        get("a limit twice", "/events?limit=1&limit=2"),
        get("a cursor that is no base64", "/reservations?cursor=%25%25").field("cursor"),
        get("a cursor of something else", "/reservations?cursor=bm90IG91cnM").field("cursor"),
        get("a cursor with other fields", "/reservations?cursor=eyJjdXN0b21lciI6ImFkYSJ9").field("cursor"),
        get("a list's cursor for another list", "/events?cursor=eyJjdXN0b21lciI6ImFkYSJ9").field("cursor"),
        get("a query that is no UTF-8", "/events?cursor=%FF"),
        get("a map of an unknown section", "/events/hall/seats?section=Z").with(404, "seat-not-found"),
        get("a map of two sections", "/events/hall/seats?section=A&section=B"),
        get("a map of an unknown event", "/events/nowhere/seats").with(404, "event-not-found"),
        get("an unknown event", "/events/nowhere").with(404, "event-not-found"),
        get("an unknown reservation", "/reservations/hall.00000000-0000-5000-8000-000000000000")
            .with(404, "reservation-not-found"),
    ]
}

/// What the gateway answers by itself.
fn callers() -> Vec<Refused> {
    let unknown = |method, path| Refused { method, ..Refused::get("an unknown route", path) }.with(404, "");
    vec![
        Refused::reserve("a reservation without a token", seats(&["A-1-1"])).of(Who::Anyone).with(401, ""),
        Refused::get("reservations without a token", "/reservations").of(Who::Anyone).with(401, ""),
        Refused::publish("a publication without a token", "{}").of(Who::Anyone).with(401, ""),
        Refused::publish("a publication of a customer", "{}").of(Who::Ada).with(403, ""),
        unknown(Method::GET, "/tickets"),
        unknown(Method::POST, "/events"),
        unknown(Method::GET, "/admin/events/hall"),
    ]
}
