//! Event documents that are refused: each is a valid one with one thing wrong, and the answer names that thing.

use serde_json::{Value, json};

use super::Refused;
use crate::harness::hall;

/// A valid document with the value at a JSON pointer replaced, or added.
fn with(what: &'static str, pointer: &str, value: Value) -> Refused {
    let mut document = hall::small(2, 4);
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Array(list) => list[name.parse::<usize>().unwrap()] = value,
        parent => parent[name] = value,
    }
    Refused::publish(what, document.to_string())
}

fn without(what: &'static str, field: &str) -> Refused {
    let mut document = hall::small(2, 4);
    document.as_object_mut().unwrap().remove(field).unwrap();
    Refused::publish(what, document.to_string())
}

/// As [`with`], but for what is no [`Value`]: a number beyond them.
fn spelled(what: &'static str, from: &str, to: &str) -> Refused {
    let text = hall::small(2, 4).to_string();
    assert!(text.contains(from));
    Refused::publish(what, text.replacen(from, to, 1))
}

pub(super) fn refused() -> Vec<Refused> {
    [shapes(), heads(), sections(), rows(), prices(), publications()].into_iter().flatten().collect()
}

fn shapes() -> Vec<Refused> {
    vec![
        Refused::publish("broken JSON", "{").field("body"),
        Refused::publish("a list", "[]").field("body"),
        without("no name", "name"),
        without("no sections", "sections"),
        with("an unknown field", "/colour", json!("red")).field("colour"),
        with("an unknown field of the sale", "/sale/by", json!("me")).field("sale.by"),
        with("an unknown field of a section", "/sections/1/colour", json!("red")).field("sections[1].colour"),
        with("an unknown field of a row", "/sections/0/rows/1/width", json!(3)).field("sections[0].rows[1].width"),
        with("a section of another type", "/sections/0", json!(5)).field("sections[0]"),
        with("a name of another type", "/name", json!(5)).field("name"),
    ]
}

fn heads() -> Vec<Refused> {
    vec![
        with("an empty name", "/name", json!(" ")).field("name"),
        with("a name too long", "/name", json!("n".repeat(201))).field("name"),
        with("a name of two lines", "/venue", json!("a\nb")).field("venue"),
        with("a day without a time", "/starts_at", json!("2098-06-01")).field("starts_at"),
        with("an unknown time zone", "/time_zone", json!("Mars/Olympus")).field("time_zone"),
        with("a small currency", "/currency", json!("eur")).field("currency"),
        with("an unknown state", "/state", json!("open")).field("state"),
        with("a sale that ends before", "/sale/closes_at", json!("2019-01-01T00:00:00Z")).field("sale.closes_at"),
        with("no hold", "/hold_seconds", json!(0)).field("hold_seconds"),
        with("a hold too long", "/hold_seconds", json!(3_601)).field("hold_seconds"),
        with("a hold of a fraction", "/hold_seconds", json!(60.5)).field("hold_seconds"),
        with("a longest hold below the hold", "/max_hold_seconds", json!(599)).field("max_hold_seconds"),
        with("an extension too long", "/extend_seconds", json!(3_601)).field("extend_seconds"),
        with("a limit of nothing", "/max_per_customer", json!(0)).field("max_per_customer"),
    ]
}

fn sections() -> Vec<Refused> {
    let general = |capacity: u32| json!({ "id": "F", "name": "Floor", "kind": "general", "price_cents": 1, "capacity": capacity });
    vec![
        with("no section", "/sections", json!([])).field("sections"),
        with("an empty section id", "/sections/0/id", json!("")).field("sections[0].id"),
        with("a section id with a hyphen", "/sections/0/id", json!("A-1")).field("sections[0].id"),
        with("a section twice", "/sections/1/id", json!("A")).field("sections[1].id"),
        with("an unknown kind", "/sections/1/kind", json!("lying")).field("sections[1].kind"),
        with("a seated section with a capacity", "/sections/1/capacity", json!(5)).field("sections[1].capacity"),
        with("a seated section without rows", "/sections/1/rows", Value::Null).field("sections[1].rows"),
        with("a general section with rows", "/sections/1/kind", json!("general")).field("sections[1].capacity"),
        with("no places", "/sections/1", general(0)).field("sections[1].capacity"),
        with("too many places", "/sections/1", general(200_001)).field("sections[1].capacity"),
        with("too many seats together", "/sections/1", general(199_993)).field("sections"),
    ]
}

fn rows() -> Vec<Refused> {
    let row = |seats: Value| json!({ "id": "9", "seats": seats });
    vec![
        with("no rows", "/sections/0/rows", json!([])).field("sections[0].rows"),
        with("a row twice", "/sections/0/rows/1/id", json!("1")).field("sections[0].rows[1].id"),
        with("a row without seats", "/sections/0/rows/1", row(json!(0))).field("sections[0].rows[1].seats"),
        with("a row with an empty list", "/sections/0/rows/1", row(json!([]))).field("sections[0].rows[1].seats"),
        with("less than no seats", "/sections/0/rows/1", row(json!(-1))).field("sections[0].rows[1].seats"),
        with("too many seats", "/sections/0/rows/1", row(json!(200_001))).field("sections[0].rows[1].seats"),
        with("a seat twice", "/sections/0/rows/1", row(json!(["1", "2", "1"]))).field("sections[0].rows[1].seats[2]"),
        with("a seat with a space", "/sections/0/rows/1", row(json!(["1", "a b"])))
            .field("sections[0].rows[1].seats[1]"),
    ]
}

fn prices() -> Vec<Refused> {
    let field = "sections[0].price_cents";
    vec![
        with("a price below nothing", "/sections/0/price_cents", json!(-1)).field(field),
        with("a price with a fraction", "/sections/0/price_cents", json!(12.5)).field(field),
        with("a price in words", "/sections/0/price_cents", json!("8900")).field(field),
        with("a price beyond exact numbers", "/sections/0/price_cents", json!(10_000_000_001_u64)).field(field),
        with("the largest number there is", "/sections/0/price_cents", json!(u64::MAX)).field(field),
        spelled("a number larger than that", ":8900", ":18446744073709551616").field(field),
    ]
}

/// Valid documents in the wrong place.
fn publications() -> Vec<Refused> {
    let document = || hall::small(2, 4).to_string();
    let matched = |what, tag: &str| Refused {
        headers: vec![("if-match", tag.to_owned())],
        ..Refused::publish(what, document()).with(412, "precondition-failed")
    };
    vec![
        Refused::publish("a malformed event id", document()).at("/admin/events/UPPER").field("event_id"),
        Refused::publish("an event id that is no UTF-8", document()).at("/admin/events/%FF").field("event_id"),
        matched("another version", "\"v7\""),
        matched("an event that must exist", "*").at("/admin/events/new"),
        matched("an event that must be this version", "\"v1\"").at("/admin/events/new"),
    ]
}
