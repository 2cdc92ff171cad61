//! A request's seats as scripts take them: keys by section, seats by the section's index and their number.

use fred::types::Value;

use super::keys;
use crate::domain::event::{Event, Seat, Section};
use crate::domain::ids::EventId;

/// The distinct sections of some seats, in order of appearance.
pub(super) struct Sections<'a> {
    labels: Vec<&'a str>,
    /// A letter for each: g(eneral) or s(eated).
    pub(super) kinds: String,
}

impl<'a> Sections<'a> {
    pub(super) fn of_seats(seats: impl IntoIterator<Item = &'a Seat>) -> Self {
        let mut sections = Self { labels: Vec::new(), kinds: String::new() };
        for seat in seats {
            if !sections.labels.contains(&seat.id.section()) {
                sections.labels.push(seat.id.section());
                sections.kinds.push(if seat.id.is_place() { 'g' } else { 's' });
            }
        }
        sections
    }

    pub(super) fn one(section: &'a Section) -> Self {
        Self { labels: vec![section.id.as_str()], kinds: kind(section).to_owned() }
    }

    /// The five keys of each.
    pub(super) fn keys(&self, event: &EventId) -> impl Iterator<Item = String> {
        self.labels.iter().flat_map(|label| keys::section_keys(event, label))
    }

    /// Their labels, separated by commas.
    pub(super) fn labels(&self) -> String {
        self.labels.join(",")
    }

    /// The index of a seat's section, from 1 as Lua counts.
    pub(super) fn index(&self, seat: &Seat) -> Value {
        let at = self.labels.iter().position(|label| *label == seat.id.section());
        at.map_or(0, |at| at as i64 + 1).into()
    }
}

/// The letter of a section's kind.
pub(super) fn kind(section: &Section) -> &'static str {
    match section.kind {
        crate::domain::document::SectionKind::General => "g",
        crate::domain::document::SectionKind::Seated => "s",
    }
}

/// What scripts are told of the event as the caller knows it: version, state, window, limit, and the lease of a
/// claim in ms.
pub(super) fn terms(event: &Event) -> [Value; 6] {
    let document = &event.document;
    [
        integer(event.version),
        document.state.as_str().into(),
        document.sale.opens_at.as_millisecond().into(),
        document.sale.closes_at.as_millisecond().into(),
        document.max_per_customer.map_or_else(|| "".into(), |limit| i64::from(limit).into()),
        (i64::from(document.hold_seconds) * 1_000).into(),
    ]
}

pub(super) fn integer(number: u64) -> Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}
