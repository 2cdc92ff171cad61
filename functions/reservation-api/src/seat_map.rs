//! The use case: an event's sections as they are now. A cold section is loaded first: nobody is shown a taken seat as free
//! because Redis was lost.

use std::sync::Arc;

use shared::domain::event::{Event, Section};
use shared::domain::ids::EventId;
use shared::redis::seat_map::{Read, SectionState};

use crate::App;

/// Seats of an event above which one section at a time is shown: what one answer of a Lambda carries well.
pub const MAX_SEATS_PER_MAP: u32 = 20_000;
/// Reads of one request: the first, one after a newer publication, one after cold sections were loaded.
const MAX_ROUNDS: usize = 3;

/// Why there is no map.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("no such event")]
    EventNotFound,
    #[error("no such section")]
    SectionNotFound,
    #[error("the event is too large for one map")]
    SectionRequired,
    #[error("not now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An event and the states of the sections asked for, in the document's order.
pub struct SeatMap {
    /// The publication the sections belong to.
    pub event: Arc<Event>,
    /// Position of each section in the event, and its state.
    pub sections: Vec<(usize, SectionState)>,
}

impl SeatMap {
    /// The sections with their states.
    pub fn sections(&self) -> impl Iterator<Item = (&Section, &SectionState)> {
        self.sections.iter().filter_map(|(at, state)| Some((self.event.sections.get(*at)?, state)))
    }
}

/// The state of every section, however many seats they have: for counts.
pub async fn all_sections(app: &App, id: &EventId) -> Result<SeatMap, Refusal> {
    read(app, id, None).await
}

/// The seat map of an event, or of one section of it.
pub async fn seat_map(app: &App, id: &EventId, section: Option<&str>) -> Result<SeatMap, Refusal> {
    if section.is_none() && event(app, id).await?.capacity() > MAX_SEATS_PER_MAP {
        return Err(Refusal::SectionRequired);
    }
    read(app, id, section).await
}

async fn event(app: &App, id: &EventId) -> Result<Arc<Event>, Refusal> {
    app.catalogue.get(id).await.map_err(unavailable)?.ok_or(Refusal::EventNotFound)
}

async fn read(app: &App, id: &EventId, section: Option<&str>) -> Result<SeatMap, Refusal> {
    let mut event = event(app, id).await?;
    for _ in 0..MAX_ROUNDS {
        let asked: Vec<(usize, &Section)> = match section {
            None => event.sections.iter().enumerate().collect(),
            Some(name) => {
                event.sections.iter().enumerate().filter(|(_, section)| section.id.as_str() == name).collect()
            }
        };
        if asked.is_empty() {
            return Err(Refusal::SectionNotFound);
        }
        let sections: Vec<&Section> = asked.iter().map(|(_, section)| *section).collect();
        let Read { version, sections: states } = app.seat_maps.read(&event, &sections).await.map_err(unavailable)?;
        let cold: Vec<String> =
            sections.iter().zip(&states).filter(|(_, state)| state.is_none()).map(|(s, _)| s.id.to_string()).collect();
        if version > event.version {
            let newer = app.catalogue.read_again(id).await.map_err(unavailable)?;
            event = newer.ok_or(Refusal::EventNotFound)?;
        } else if !cold.is_empty() {
            app.warmer.warm(&event, &cold).await.map_err(unavailable)?;
        } else {
            let positions = asked.iter().map(|(at, _)| *at);
            let sections = positions.zip(states).filter_map(|(at, state)| Some((at, state?))).collect();
            return Ok(SeatMap { event: Arc::clone(&event), sections });
        }
    }
    Err(Refusal::Unavailable("the event kept changing or its sections kept getting lost".into()))
}

fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Refusal {
    Refusal::Unavailable(error.into())
}
