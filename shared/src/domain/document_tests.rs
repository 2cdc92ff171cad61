//! The event document's rules, each broken once, and what every accepted document has in common.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::document::{
    EventDocument, MAX_SEATS_PER_EVENT, MAX_SECTIONS, MIN_HOLD_SECONDS, SaleState, SeatsDocument, SectionKind,
};
use super::layout::Layout;
use super::money::MAX_PRICE_CENTS;

fn document() -> Value {
    json!({
        "name": "Night", "venue": "Hall", "starts_at": "2030-01-01T20:00:00Z", "time_zone": "Asia/Seoul", "currency": "KRW",
        "sale": { "opens_at": "2029-01-01T00:00:00Z", "closes_at": "2030-01-01T20:00:00Z" },
        "hold_seconds": 600,
        "sections": [
            { "id": "A", "name": "Stalls", "kind": "seated", "price_cents": 8900,
              "rows": [{ "id": "1", "seats": 3 }, { "id": "2", "seats": ["1", "2", "5"] }] },
            { "id": "FLOOR", "name": "Floor", "kind": "general", "price_cents": 4900, "capacity": 50 },
        ],
    })
}

/// The field a document is refused for after the value at a JSON pointer was set (`null` in place of `remove`).
fn refused(pointer: &str, value: Value) -> String {
    let mut document = document();
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Array(list) => list[last.parse::<usize>().unwrap()] = value,
        parent => parent[last] = value,
    }
    let body = serde_json::to_vec(&document).unwrap();
    EventDocument::parse(&body, MIN_HOLD_SECONDS).map(|_| "accepted".into()).unwrap_or_else(|invalid| invalid.field)
}

#[test]
fn what_is_left_out_gets_its_default() {
    let body = serde_json::to_vec(&document()).unwrap();
    let parsed = EventDocument::parse(&body, MIN_HOLD_SECONDS).unwrap();
    assert_eq!((parsed.state, parsed.extend_seconds, parsed.longest_hold_seconds()), (SaleState::OnSale, 0, 600));
    assert_eq!((parsed.cancellable_until, parsed.max_per_customer), (None, None));
    assert_eq!(parsed.sections[1].kind, SectionKind::General);
}

#[test]
fn every_broken_rule_names_its_field() {
    let row = |id: &str, seats: Value| json!({ "id": id, "seats": seats });
    for (pointer, value, field) in [
        ("/name", json!(" "), "name"),
        ("/name", json!("x".repeat(201)), "name"),
        ("/venue", json!("a\u{7}b"), "venue"),
        ("/starts_at", json!("tomorrow"), "starts_at"),
        ("/time_zone", json!("Mars/Olympus"), "time_zone"),
        ("/currency", json!("won"), "currency"),
        ("/state", json!("open"), "state"),
        ("/sale/closes_at", json!("2029-01-01T00:00:00Z"), "sale.closes_at"),
        ("/sale/until", json!(1), "sale.until"),
        ("/hold_seconds", json!(59), "hold_seconds"),
        ("/hold_seconds", json!(3_601), "hold_seconds"),
        ("/hold_seconds", json!(-1), "hold_seconds"),
        ("/extend_seconds", json!(3_601), "extend_seconds"),
        ("/max_hold_seconds", json!(599), "max_hold_seconds"),
        ("/max_per_customer", json!(0), "max_per_customer"),
        ("/price", json!(1), "price"),
        ("/sections", json!([]), "sections"),
        ("/sections/0/id", json!("A-1"), "sections[0].id"),
        ("/sections/1/id", json!("A"), "sections[1].id"),
        ("/sections/0/name", json!(""), "sections[0].name"),
        ("/sections/0/kind", json!("standing"), "sections[0].kind"),
        ("/sections/0/price_cents", json!(MAX_PRICE_CENTS + 1), "sections[0].price_cents"),
        ("/sections/0/price_cents", json!(-1), "sections[0].price_cents"),
        ("/sections/0/price_cents", json!(89.5), "sections[0].price_cents"),
        ("/sections/0/rows", json!([]), "sections[0].rows"),
        ("/sections/0/rows", json!(null), "sections[0].rows"),
        ("/sections/0/capacity", json!(5), "sections[0].capacity"),
        ("/sections/0/rows/1/id", json!("1"), "sections[0].rows[1].id"),
        ("/sections/0/rows/1", row("2", json!(0)), "sections[0].rows[1].seats"),
        ("/sections/0/rows/1", row("2", json!([])), "sections[0].rows[1].seats"),
        ("/sections/0/rows/1", row("2", json!(["1", "1"])), "sections[0].rows[1].seats[1]"),
        ("/sections/0/rows/1", row("2", json!(["1", "é"])), "sections[0].rows[1].seats[1]"),
        ("/sections/0/rows/1", row("2", json!(4_000_000_000u32)), "sections[0].rows[1].seats"),
        ("/sections/0/rows/1", row("2", json!(1.5)), "sections[0].rows[1].seats"),
        ("/sections/1/capacity", json!(0), "sections[1].capacity"),
        ("/sections/1/capacity", json!(MAX_SEATS_PER_EVENT + 1), "sections[1].capacity"),
        ("/sections/1/capacity", json!(MAX_SEATS_PER_EVENT), "sections"),
        ("/sections/1/rows", json!([row("1", json!(1))]), "sections[1].rows"),
    ] {
        assert_eq!(refused(pointer, value.clone()), field, "{pointer} = {value}");
    }
}

#[test]
fn what_a_later_version_adds_is_read_over_where_it_is_stored_and_refused_where_it_is_sent() {
    let mut later = document();
    for (pointer, field) in
        [("", "encore"), ("/sale", "by"), ("/sections/0", "colour"), ("/sections/0/rows/0", "width")]
    {
        later.pointer_mut(pointer).unwrap()[field] = json!({ "new": [1] });
    }
    let stored: EventDocument = serde_json::from_value(later.clone()).unwrap();
    assert_eq!(stored, serde_json::from_value(document()).unwrap());
    assert_eq!(EventDocument::parse(later.to_string().as_bytes(), MIN_HOLD_SECONDS).unwrap_err().field, "encore");
}

#[test]
fn more_sections_than_a_script_takes_are_refused() {
    let section =
        |n: usize| json!({ "id": format!("S{n}"), "name": "S", "kind": "general", "price_cents": 1, "capacity": 1 });
    let sections: Vec<Value> = (0..=MAX_SECTIONS).map(section).collect();
    assert_eq!(refused("/sections", json!(sections[..MAX_SECTIONS])), "accepted");
    assert_eq!(refused("/sections", json!(sections)), "sections");
}

#[test]
fn bytes_that_are_no_document_name_the_body() {
    for body in [&b""[..], b"{", b"[]", b"null", b"\xff\xfe"] {
        let invalid = EventDocument::parse(body, MIN_HOLD_SECONDS).unwrap_err();
        assert_eq!(invalid.field, "body", "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn the_sample_venues_are_real_halls() {
    let read = |text: &str| EventDocument::parse(text.as_bytes(), MIN_HOLD_SECONDS).unwrap();
    let arena = read(include_str!("../../../local/venues/arena.json"));
    let seats = |document: &EventDocument, kind| -> u32 {
        let of_kind = document.sections.iter().filter(|section| section.kind == kind);
        of_kind.map(|section| Layout::first(section).capacity()).sum()
    };
    let prices: std::collections::BTreeSet<u64> = arena.sections.iter().map(|section| section.price_cents).collect();
    let seated: Vec<_> = arena.sections.iter().filter(|section| section.kind == SectionKind::Seated).collect();
    let lengths: std::collections::BTreeSet<usize> =
        seated.iter().flat_map(|section| section.rows.iter().flatten()).map(|row| row.seats.len()).collect();
    assert!(seats(&arena, SectionKind::Seated) >= 15_000 && arena.sections.len() >= 60);
    assert_eq!(arena.sections.len() - seated.len(), 2);
    assert!(prices.len() >= 4 && lengths.len() >= 10, "{prices:?} {lengths:?}");
    let club = read(include_str!("../../../local/venues/club.json"));
    let all = seats(&club, SectionKind::Seated) + seats(&club, SectionKind::General);
    assert!((250..=350).contains(&all), "{all}");
}

proptest! {
    #[test]
    fn an_accepted_document_survives_being_written_and_read(hold in 60u32..3_600, extend in 0u32..3_600, limit in prop::option::of(1u32..10_000), seats in 1u32..40, labels in prop::collection::hash_set("[A-Za-z0-9_]{1,16}", 1..20)) {
        let mut value = document();
        value["hold_seconds"] = json!(hold);
        value["extend_seconds"] = json!(extend);
        value["max_per_customer"] = json!(limit);
        value["sections"][0]["rows"][0]["seats"] = json!(seats);
        value["sections"][0]["rows"][1]["seats"] = json!(labels);
        let parsed = EventDocument::parse(&serde_json::to_vec(&value).unwrap(), MIN_HOLD_SECONDS).unwrap();
        let again = EventDocument::parse(&serde_json::to_vec(&parsed).unwrap(), MIN_HOLD_SECONDS).unwrap();
        prop_assert_eq!(&parsed, &again);
        let rows = parsed.sections[0].rows.as_ref().unwrap();
        prop_assert_eq!(&rows[0].seats, &SeatsDocument::Count(seats));
        prop_assert_eq!(rows[1].seats.len(), labels.len());
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(EventDocument::parse(&bytes, MIN_HOLD_SECONDS).is_err());
    }
}
