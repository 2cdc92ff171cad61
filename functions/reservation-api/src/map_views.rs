//! Seat maps as callers see them, in both forms, and the layout that the compact one goes by. They are contracts, like all
//! of [`views`](crate::views).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest, Sha256};
use shared::domain::document::{SectionDocument, SectionKind};
use shared::domain::event::{Event, Section, Version};
use shared::domain::ids::{EventId, Label, SeatId};
use shared::redis::seat_map::{Availability, Counts};
use utoipa::ToSchema;

use crate::accept::Form;
use crate::fingerprint;
use crate::seat_map::{Drawn, SeatMap, Seen};

/// A seat map in one of its forms.
pub struct MapView<'a> {
    form: Form,
    map: &'a SeatMap,
    sections: Vec<Statuses<'a>>,
}

/// What there is to say of a section.
struct Statuses<'a> {
    section: &'a Section,
    seen: &'a Seen,
    drawn: Arc<Drawn>,
}

impl Statuses<'_> {
    /// Places of a general section are not listed: nobody chooses one.
    fn are_listed(&self) -> bool {
        self.section.kind == SectionKind::Seated
    }
}

impl<'a> MapView<'a> {
    /// The view of the sections read.
    pub fn new(map: &'a SeatMap, form: Form) -> Self {
        let statuses =
            |(section, seen): (&'a Section, &'a Seen)| Statuses { section, seen, drawn: seen.drawn(section) };
        Self { form, map, sections: map.sections().map(statuses).collect() }
    }

    /// Its strong validator: the same for the same statuses of the same sections under the same publication, in the same
    /// form, and for no others. When they were read makes no difference.
    pub fn tag(&self) -> String {
        let mut digest = Sha256::new();
        let mut add = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        };
        add(self.form.media_type().as_bytes());
        add(self.map.event.id.as_str().as_bytes());
        add(&self.map.event.version.to_be_bytes());
        for statuses in &self.sections {
            add(statuses.section.id.as_str().as_bytes());
            if statuses.are_listed() {
                add(&statuses.drawn.packed);
            } else {
                let Counts { capacity, free, held, sold, blocked } = statuses.drawn.counts;
                for count in [capacity, free, held, sold, blocked] {
                    add(&count.to_be_bytes());
                }
            }
        }
        fingerprint::tag(digest)
    }

    /// Its body.
    ///
    /// # Errors
    /// None that is known: everything in it can be written as JSON.
    pub fn body(&self) -> Result<Vec<u8>, serde_json::Error> {
        let (event_id, version) = (&self.map.event.id, self.map.event.version);
        match self.form {
            Form::Readable => {
                let sections = self.sections.iter().map(ReadableSection::new).collect();
                serde_json::to_vec(&Readable { event_id, version, sections })
            }
            Form::Compact => {
                let sections = self.sections.iter().map(CompactSection::new).collect();
                let layout = format!("/events/{event_id}/layouts/{version}");
                serde_json::to_vec(&Compact { event_id, version, layout, sections })
            }
        }
    }
}

/// A seat map.
#[derive(Serialize, ToSchema)]
#[schema(as = SeatMap)]
pub struct Readable<'a> {
    event_id: &'a EventId,
    #[schema(value_type = u64)]
    version: Version,
    sections: Vec<ReadableSection<'a>>,
}

#[derive(Serialize, ToSchema)]
struct ReadableSection<'a> {
    id: &'a Label,
    kind: SectionKind,
    #[serde(flatten)]
    counts: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    seats: Option<Vec<MapSeat>>,
}

#[derive(Serialize, ToSchema)]
struct MapSeat {
    id: SeatId,
    status: Availability,
}

impl<'a> ReadableSection<'a> {
    fn new(statuses: &Statuses<'a>) -> Self {
        let Statuses { section, seen, drawn } = statuses;
        let seat = |(within, number)| MapSeat { id: SeatId::of(&section.id, within), status: seen.state.seat(number) };
        let seats = statuses.are_listed().then(|| section.layout.seats().map(seat).collect());
        Self { id: &section.id, kind: section.kind, counts: drawn.counts, seats }
    }
}

/// A seat map without the seats' names.
#[derive(Serialize, ToSchema)]
#[schema(as = CompactSeatMap)]
pub struct Compact<'a> {
    event_id: &'a EventId,
    #[schema(value_type = u64)]
    version: Version,
    /// Where the layout is that the statuses go by.
    layout: String,
    sections: Vec<CompactSection<'a>>,
}

#[derive(Serialize, ToSchema)]
struct CompactSection<'a> {
    id: &'a Label,
    kind: SectionKind,
    #[serde(flatten)]
    counts: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    statuses: Option<String>,
}

impl<'a> CompactSection<'a> {
    fn new(statuses: &Statuses<'a>) -> Self {
        let Statuses { section, drawn, .. } = statuses;
        let packed = statuses.are_listed().then(|| STANDARD.encode(&drawn.packed));
        Self { id: &section.id, kind: section.kind, counts: drawn.counts, statuses: packed }
    }
}

/// The layout of a publication: its sections as published.
#[derive(Serialize, ToSchema)]
#[schema(as = Layout)]
pub struct LayoutView<'a> {
    event_id: &'a EventId,
    #[schema(value_type = u64)]
    version: Version,
    sections: &'a [SectionDocument],
}

impl<'a> LayoutView<'a> {
    /// The view of a publication.
    pub fn new(event: &'a Event) -> Self {
        Self { event_id: &event.id, version: event.version, sections: &event.document.sections }
    }
}
