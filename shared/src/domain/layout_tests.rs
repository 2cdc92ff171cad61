//! Seat numbers are append-only: shown by any sequence of republications, and by the stored form.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::document::{RowDocument, SeatsDocument, SectionDocument, SectionKind};
use super::ids::Label;
use super::layout::Layout;

fn section(rows: &[(u8, Vec<u8>)]) -> SectionDocument {
    let label = |number: &u8| Label::parse(&number.to_string()).unwrap();
    let rows = rows.iter().map(|(row, seats)| RowDocument {
        id: label(row),
        seats: SeatsDocument::Labels(seats.iter().map(label).collect()),
    });
    SectionDocument {
        id: Label::parse("A").unwrap(),
        name: "A".into(),
        kind: SectionKind::Seated,
        price_cents: 1,
        rows: Some(rows.collect()),
        capacity: None,
    }
}

fn general(capacity: u32) -> SectionDocument {
    SectionDocument { kind: SectionKind::General, rows: None, capacity: Some(capacity), ..section(&[]) }
}

/// Rows with distinct ids and distinct seats, in any order.
fn rows() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let seats = prop::collection::hash_set(0u8..12, 1..8).prop_map(|seats| seats.into_iter().collect::<Vec<_>>());
    prop::collection::hash_map(0u8..6, seats, 1..6).prop_map(|rows| rows.into_iter().collect())
}

fn numbers(layout: &Layout) -> HashMap<String, u32> {
    layout.seats().map(|(seat, number)| (seat.to_owned(), number)).collect()
}

#[test]
fn a_general_section_numbers_its_serials_and_may_grow() {
    let first = Layout::first(&general(3));
    assert_eq!((first.number("1"), first.number("3"), first.number("4")), (Some(0), Some(2), None));
    let grown = first.followed_by(&general(5));
    assert_eq!((grown.number("1"), grown.number("5"), grown.capacity()), (Some(0), Some(4), 5));
    assert!(grown.rows().is_none());
    assert_eq!(Layout::from_json(&grown.to_json()).unwrap(), grown);
    assert!(grown.to_json().len() < 40, "serials are not written out");
}

#[test]
fn partitions_hold_two_hundred_seats_each() {
    let partitions = |capacity| Layout::first(&general(capacity)).partitions();
    assert_eq!([1, 200, 201, 5_000].map(partitions), [1, 1, 2, 25]);
}

proptest! {
    #[test]
    fn numbers_are_kept_never_shared_and_never_given_twice(publications in prop::collection::vec(rows(), 1..6)) {
        let mut layout = Layout::first(&section(&publications[0]));
        let mut ever: HashMap<u32, String> = HashMap::new();
        for rows in &publications {
            let next = layout.followed_by(&section(rows));
            let (before, after) = (numbers(&layout), numbers(&next));
            let asked: usize = rows.iter().map(|(_, seats)| seats.len()).sum();
            prop_assert_eq!(after.len(), asked);
            prop_assert_eq!(after.values().collect::<HashSet<_>>().len(), after.len(), "two seats share a number");
            for (seat, number) in &after {
                if let Some(kept) = before.get(seat) {
                    prop_assert_eq!(kept, number);
                }
                prop_assert_eq!(next.seat(*number), Some(seat.as_str()));
                prop_assert!(*number < next.numbered());
            }
            for (seat, number) in &after {
                if !before.contains_key(seat) {
                    prop_assert!(!ever.contains_key(number), "a number was given twice");
                }
                ever.insert(*number, seat.clone());
            }
            let removed: HashSet<String> = layout.removed_in(&next).into_iter().map(|(seat, _)| seat.to_owned()).collect();
            let gone: HashSet<String> = before.keys().filter(|seat| !after.contains_key(*seat)).cloned().collect();
            prop_assert_eq!(removed, gone);
            layout = next;
        }
    }

    #[test]
    fn the_stored_form_brings_back_the_same_layout_and_rows(first in rows(), second in rows()) {
        let layout = Layout::first(&section(&first)).followed_by(&section(&second));
        let read = Layout::from_json(&layout.to_json()).unwrap();
        prop_assert_eq!(&read, &layout);
        prop_assert_eq!(Layout::first(&section(&second)).rows(), layout.rows());
    }
}
