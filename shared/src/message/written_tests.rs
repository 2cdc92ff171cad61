//! Every form in which a message was ever written is still read, and today's is written byte for byte as its file says: a
//! change of the wire format cannot come in by accident.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::domain::ids::SeatId;

/// The files that are written today; older ones stay in the folder and in the tests below.
const TODAY: [&str; 6] = [
    "outcome-v1-cancelled.json",
    "outcome-v1-held.json",
    "outcome-v1-rejected.json",
    "request-v1-sections.json",
    "request-v1-unlimited.json",
    "request-v1.json",
];

fn written(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/message/written");
    std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn seat(id: &str, number: u32) -> Seat {
    Seat { id: SeatId::parse(id).unwrap(), number }
}

fn id() -> ReservationId {
    ReservationId::parse("club.2c5ea4c0-4067-51f9-8f6d-2b7a4f3f7c11").unwrap()
}

fn request() -> Request {
    Request {
        version: 1,
        reservation_id: id(),
        customer: CustomerId::parse("alice").unwrap(),
        fingerprint: "f0".into(),
        layout_version: 3,
        amount_cents: Cents::price(8_900).unwrap(),
        currency: Currency::parse("EUR").unwrap(),
        section_cents: SectionCents::new(),
        max_per_customer: Some(8),
        opens_at_ms: 1,
        closes_at_ms: 9_000,
        seats: vec![seat("A-1-12", 11)],
        held_at_ms: 1_000,
        expires_at_ms: 2_000,
    }
}

fn outcome(outcome: Outcome) -> OutcomeMessage {
    let Request { reservation_id, customer, seats, held_at_ms, .. } = request();
    OutcomeMessage { version: 1, reservation_id, customer, outcome, seats, held_at_ms }
}

/// Every request ever written, and what it means today.
fn requests() -> Vec<(&'static str, Request)> {
    let seats = vec![seat("FLOOR-1", 0), seat("FLOOR-2", 1)];
    let amount_cents = Cents::price(9_800).unwrap();
    let cents = |cents| Cents::price(cents).unwrap();
    let several = Request {
        seats: vec![seat("A-1-12", 11), seat("B-1-1", 0)],
        amount_cents: cents(13_800),
        section_cents: [("A", 8_900), ("B", 4_900)].map(|(id, of)| (Label::parse(id).unwrap(), cents(of))).into(),
        ..request()
    };
    vec![
        ("request-v1.json", request()),
        ("request-v1-sections.json", several),
        ("request-v1-unlimited.json", Request { max_per_customer: None, seats, amount_cents, ..request() }),
    ]
}

/// Every outcome ever written, and what it means today.
fn outcomes() -> Vec<(&'static str, OutcomeMessage)> {
    vec![
        ("outcome-v1-held.json", outcome(Outcome::Held)),
        ("outcome-v1-rejected.json", outcome(Outcome::Rejected(Reason::SeatsTaken))),
        ("outcome-v1-cancelled.json", outcome(Outcome::Cancelled)),
    ]
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn every_form_ever_written_is_read() {
    for (name, meant) in requests() {
        assert_eq!(Request::read(Some(id().as_str().as_bytes()), Some(&written(name))), Ok(meant), "{name}");
    }
    for (name, meant) in outcomes() {
        assert_eq!(serde_json::from_slice::<OutcomeMessage>(&written(name)).unwrap(), meant, "{name}");
    }
}

#[test]
fn what_is_written_today_is_written_byte_for_byte() {
    let mut today = BTreeSet::new();
    for (name, request) in requests().into_iter().filter(|(name, _)| TODAY.contains(name)) {
        assert_eq!(text(request.to_value()), text(written(name)), "{name}");
        today.insert(name);
    }
    for (name, outcome) in outcomes().into_iter().filter(|(name, _)| TODAY.contains(name)) {
        assert_eq!(text(serde_json::to_vec(&outcome).unwrap()), text(written(name)), "{name}");
        today.insert(name);
    }
    assert_eq!(today, BTreeSet::from(TODAY));
    assert!(TODAY.iter().all(|name| name.contains(&format!("-v{MESSAGE_VERSION}"))), "another version, another file");
}

#[test]
fn every_file_of_the_folder_is_read_by_these_tests() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/message/written");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let named = requests().into_iter().map(|(name, _)| name).chain(outcomes().into_iter().map(|(name, _)| name));
    assert_eq!(files.collect::<BTreeSet<_>>(), named.map(str::to_owned).collect::<BTreeSet<_>>());
}

#[test]
fn what_a_later_writer_adds_is_read_over_wherever_it_stands() {
    let later = [
        ("{\"version\":1", "{\"version\":1,\"channel\":\"app\""),
        ("{\"version\":1", "{\"trace\":{\"a\":[1,{\"b\":null}],\"c\":-1.5e300},\"version\":1"),
        ("\"expires_at_ms\":2000", "\"expires_at_ms\":2000,\"expires\":\"2033\""),
    ];
    let value = text(written("request-v1.json"));
    for (from, to) in later {
        assert!(value.contains(from));
        assert_eq!(Request::from_value(value.replace(from, to).as_bytes()), Ok(request()), "{to}");
    }
    // An outcome's kind is flattened into its message, where serde collects what it does not know.
    let value =
        text(written("outcome-v1-rejected.json")).replace("{\"version\":1", "{\"version\":1,\"by\":{\"a\":[2]}");
    let read: OutcomeMessage = serde_json::from_str(&value).unwrap();
    assert_eq!(read, outcome(Outcome::Rejected(Reason::SeatsTaken)));
}

#[test]
fn another_version_is_called_by_its_name_whatever_its_fields_are() {
    for (value, version) in [
        (r#"{"version":2}"#, 2),
        (r#"{"id":7,"version":0,"seats":"all"}"#, 0),
        (r#"{"version":18446744073709551615,"reservation_id":[]}"#, u64::MAX),
    ] {
        assert_eq!(Request::from_value(value.as_bytes()), Err(Malformed::Version(version)));
        assert_eq!(Malformed::Version(version).reason(), "version");
    }
    for value in [r#"{"version":"1"}"#, r#"{"version":-1}"#, r#"{"version":1.5}"#, r#"{"version":null}"#, "{}"] {
        assert_eq!(Request::from_value(value.as_bytes()).unwrap_err().reason(), "schema", "{value}");
    }
}
