//! A published event: the document under a version, its seats numbered. Everything a claim needs is answered from here.

use std::collections::HashMap;
use std::sync::Arc;

use super::Invalid;
use super::document::{EventDocument, SectionKind};
use super::ids::{EventId, Label, SeatId};
use super::layout::Layout;
use super::money::Cents;

/// Counts publications of one event, from 1. Redis and DynamoDB both let the greater one win.
pub type Version = u64;

/// A published event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Which event.
    pub id: EventId,
    /// Which publication of it.
    pub version: Version,
    /// What the organiser wrote.
    pub document: EventDocument,
    /// Its sections in the document's order.
    pub sections: Vec<Section>,
    by_id: HashMap<Label, usize>,
}

/// A section of a published event.
#[derive(Debug, Clone)]
pub struct Section {
    /// Names it within the event.
    pub id: Label,
    /// Seated or general.
    pub kind: SectionKind,
    /// Price of each seat.
    pub price: Cents,
    /// The publication that wrote its layout.
    pub layout_version: Version,
    /// Its numbered seats.
    pub layout: Arc<Layout>,
}

/// A seat as it travels and is stored: its name for people, its number for bitmaps and partitions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Seat {
    /// `<section>-<row>-<seat>`, or `<section>-<serial>`.
    pub id: SeatId,
    /// Its number within the section.
    pub number: u32,
}

/// A taken seat, as DynamoDB holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenSeat {
    /// Its number within the section.
    pub number: u32,
    /// How it is taken.
    pub state: TakenState,
}

/// How a seat is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakenState {
    /// Held by the reservation of this uuid until then (ms since the epoch).
    Held {
        /// The owner's uuid.
        owner: String,
        /// End of the hold.
        expires_at_ms: i64,
    },
    /// Paid.
    Sold {
        /// The owner's uuid.
        owner: String,
    },
    /// Taken off sale.
    Blocked {
        /// The uuid of the block's chunk.
        owner: String,
    },
}

impl Event {
    /// Puts a document and the layouts of its sections together.
    ///
    /// # Errors
    /// When a section has no layout: the field names it.
    pub fn new(
        id: EventId,
        version: Version,
        document: EventDocument,
        layouts: &HashMap<Label, (Version, Arc<Layout>)>,
    ) -> Result<Self, Invalid> {
        let mut sections = Vec::with_capacity(document.sections.len());
        for section in &document.sections {
            let (layout_version, layout) = layouts
                .get(&section.id)
                .ok_or_else(|| Invalid::new(format!("sections.{}", section.id), "has no stored layout"))?;
            sections.push(Section {
                id: section.id.clone(),
                kind: section.kind,
                price: Cents::price(section.price_cents)?,
                layout_version: *layout_version,
                layout: Arc::clone(layout),
            });
        }
        let by_id = sections.iter().enumerate().map(|(index, section)| (section.id.clone(), index)).collect();
        Ok(Self { id, version, document, sections, by_id })
    }

    /// The section of that id.
    pub fn section(&self, id: &str) -> Option<&Section> {
        let label = Label::parse(id).ok()?;
        self.by_id.get(&label).and_then(|index| self.sections.get(*index))
    }

    /// The seat of that id with its section, if the event has it.
    pub fn locate(&self, id: &SeatId) -> Option<(Seat, &Section)> {
        let section = self.section(id.section())?;
        let number = section.layout.number(id.within_section())?;
        Some((Seat { id: id.clone(), number }, section))
    }

    /// What all sections hold together.
    pub fn capacity(&self) -> u32 {
        self.sections.iter().map(|section| section.layout.capacity()).sum()
    }
}
