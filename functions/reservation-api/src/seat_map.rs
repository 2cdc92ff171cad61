//! The use case: an event's sections as they are now. A cold section is loaded first: nobody is shown a taken seat as free
//! because Redis was lost.
//!
//! Whoever looks gets a copy of this process, at most a second old ([`Copies`]); who asks past caches, and whoever is about
//! to claim, reads Redis. While Redis is away, who looks is shown what the table has ([`without_redis`]).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use shared::domain::event::{Event, Section, Version};
use shared::domain::ids::{EventId, Label};
use shared::redis::RedisError;
use shared::redis::seat_map::{Counts, Look, Read, SECTIONS_PER_READ, SectionState};
use tokio::time::Instant;

use crate::copies::{Copies, Copy, Missed};
use crate::moment::Moment;
use crate::{App, without_redis};

/// Seats of an event above which one section at a time is shown: what one answer of a Lambda carries well.
pub const MAX_SEATS_PER_MAP: u32 = 20_000;
/// Reads of one request: the first, one after a newer publication, one after cold sections were loaded.
const MAX_ROUNDS: usize = 3;
/// Sections this process keeps copies of: a section of 20,000 seats takes 8 KB.
pub const MAX_COPIES: usize = 2_000;

/// Why there is no map.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("no such event")]
    EventNotFound,
    #[error("no such section")]
    SectionNotFound,
    #[error("the event is too large for one map")]
    SectionRequired,
    #[error("redis gives no answer")]
    NoAnswer(#[source] Arc<RedisError>),
    #[error("not now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// How new a map has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// At most [`RECENT`](crate::copies::RECENT) old.
    Recent,
    /// Not older than the question, and read every [`PACE`](shared::redis::seat_map::PACE) at most.
    Asked,
    /// Read now.
    Now,
}

/// A section at a moment, and the publication that Redis knew then. What it says goes by seat numbers, so that it is true
/// for any publication.
pub struct Seen {
    version: Version,
    /// Status of each seat.
    pub state: SectionState,
    drawn: OnceLock<Arc<Drawn>>,
}

/// What a layout makes of a state: worked out once for all who are shown it.
pub struct Drawn {
    layout_version: Version,
    /// Seats by status.
    pub counts: Counts,
    /// Each seat's status, as [`SectionState::packed`] writes them.
    pub packed: Vec<u8>,
}

impl Seen {
    /// A section as it was seen when that publication was known.
    pub fn new(version: Version, state: SectionState) -> Self {
        Self { version, state, drawn: OnceLock::new() }
    }

    /// What this section, as one publication or another lays it out, makes of it.
    pub fn drawn(&self, section: &Section) -> Arc<Drawn> {
        let draw = || {
            let (counts, packed) = (self.state.counts(section), self.state.packed(section));
            Arc::new(Drawn { layout_version: section.layout_version, counts, packed })
        };
        let drawn = self.drawn.get_or_init(draw);
        if drawn.layout_version == section.layout_version { Arc::clone(drawn) } else { draw() }
    }
}

/// The sections this process has seen within the last second.
pub type SeenSections = Copies<(EventId, Label), Seen, Refusal>;

/// An event and the states of the sections asked for, in the document's order.
pub struct SeatMap {
    /// The publication the sections belong to.
    pub event: Arc<Event>,
    /// How old they are at most.
    pub age: Duration,
    sections: Vec<(usize, Copy<Seen>)>,
}

impl SeatMap {
    /// The sections at these places of the event, as they were seen.
    pub fn new(event: Arc<Event>, places: Vec<usize>, seen: Vec<Copy<Seen>>) -> Self {
        let now = Moment::now();
        let age = seen.iter().map(|seen| seen.at.age_at(now)).max().unwrap_or_default();
        Self { event, age, sections: places.into_iter().zip(seen).collect() }
    }

    /// The sections as they were seen.
    pub fn sections(&self) -> impl Iterator<Item = (&Section, &Seen)> {
        self.sections.iter().filter_map(|(at, seen)| Some((self.event.sections.get(*at)?, seen.value.as_ref())))
    }
}

/// The state of every section, however many seats they have: for counts.
pub async fn all_sections(app: &App, id: &EventId, freshness: Freshness) -> Result<SeatMap, Refusal> {
    shown(app, id, None, freshness).await
}

/// The seat map of an event, or of one section of it.
pub async fn seat_map(
    app: &App,
    id: &EventId,
    section: Option<&str>,
    freshness: Freshness,
) -> Result<SeatMap, Refusal> {
    if section.is_none() && event(app, id).await?.capacity() > MAX_SEATS_PER_MAP {
        return Err(Refusal::SectionRequired);
    }
    shown(app, id, section, freshness).await
}

/// For who only looks: what Redis says, or in its stead the table.
async fn shown(app: &App, id: &EventId, section: Option<&str>, freshness: Freshness) -> Result<SeatMap, Refusal> {
    if app.without_redis.asks_redis(Instant::now()) {
        match in_redis(app, id, section, freshness).await {
            Err(Refusal::NoAnswer(error)) if without_redis::begins(app, &error) => {}
            Ok(map) => {
                app.without_redis.has_answered();
                return Ok(map);
            }
            refused => return refused,
        }
    }
    // Boxed: rarely needed, and large.
    Box::pin(async move { without_redis::sections(app, &event(app, id).await?, section).await }).await
}

/// The publication of that version, which is the one that stands: of those before it nothing is kept.
pub async fn publication(app: &App, id: &EventId, version: Version) -> Result<Option<Arc<Event>>, Refusal> {
    let mut event = event(app, id).await?;
    if event.version < version
        && let Some(newer) = app.catalogue.look_again(&event).await.map_err(unavailable)?
    {
        event = newer;
    }
    Ok((event.version == version).then_some(event))
}

async fn event(app: &App, id: &EventId) -> Result<Arc<Event>, Refusal> {
    app.catalogue.look(id).await.map_err(unavailable)?.ok_or(Refusal::EventNotFound)
}

/// The places of an event's sections, or of the one of that name.
pub fn in_event(event: &Event, section: Option<&str>) -> Result<Vec<usize>, Refusal> {
    let is_asked = |of: &Section| section.is_none_or(|name| of.id.as_str() == name);
    let places: Vec<usize> = (0..event.sections.len()).filter(|at| is_asked(&event.sections[*at])).collect();
    if places.is_empty() { Err(Refusal::SectionNotFound) } else { Ok(places) }
}

/// What Redis says of an event's sections, or of one.
pub async fn in_redis(
    app: &App,
    id: &EventId,
    section: Option<&str>,
    freshness: Freshness,
) -> Result<SeatMap, Refusal> {
    let mut event = event(app, id).await?;
    for _ in 0..MAX_ROUNDS {
        let asked = in_event(&event, section)?;
        let seen = see(app, &event, &asked, freshness).await?;
        let known = seen.iter().map(|seen| seen.value.version).max().unwrap_or(0);
        if known <= event.version {
            return Ok(SeatMap::new(event, asked, seen));
        }
        let newer = app.catalogue.newer_than(&event).await.map_err(unavailable)?;
        event = newer.ok_or(Refusal::EventNotFound)?;
    }
    Err(Refusal::Unavailable("the event kept changing".into()))
}

/// The sections at these places of the event.
async fn see(
    app: &App,
    event: &Arc<Event>,
    places: &[usize],
    freshness: Freshness,
) -> Result<Vec<Copy<Seen>>, Refusal> {
    let sections = places.iter().filter_map(|at| event.sections.get(*at));
    let keys: Vec<(EventId, Label)> = sections.map(|section| (event.id.clone(), section.id.clone())).collect();
    let look = match freshness {
        Freshness::Recent => {
            let read = |keys: Vec<(EventId, Label)>| {
                let (app, event) = (app.clone(), Arc::clone(event));
                async move { look(&app, &event, &keys, Look::Shared).await }
            };
            let copies = app.seen_sections.get(&keys, SECTIONS_PER_READ, read).await;
            return copies.map_err(missed);
        }
        Freshness::Asked => Look::Paced,
        Freshness::Now => Look::Anew,
    };
    let (seen, at) = self::look(app, event, &keys, look).await?;
    let copies: Vec<Copy<Seen>> = seen.into_iter().map(|seen| Copy { value: Arc::new(seen), at }).collect();
    for (key, copy) in keys.iter().zip(&copies) {
        app.seen_sections.keep(key, copy);
    }
    Ok(copies)
}

/// Reads sections from Redis, and loads those that are cold.
async fn look(app: &App, event: &Event, keys: &[(EventId, Label)], look: Look) -> Result<(Vec<Seen>, Moment), Refusal> {
    let sections: Vec<&Section> = keys.iter().filter_map(|(_, label)| event.section(label.as_str())).collect();
    for _ in 0..MAX_ROUNDS {
        let asked = Moment::now();
        let read = app.seat_maps.look(event, &sections, look).await;
        let Read { version, age, sections: states } = read.map_err(|error| match error.is_no_answer() {
            true => Refusal::NoAnswer(Arc::new(error)),
            false => unavailable(error),
        })?;
        let cold: Vec<String> =
            sections.iter().zip(&states).filter(|(_, state)| state.is_none()).map(|(s, _)| s.id.to_string()).collect();
        if cold.is_empty() {
            let seen = states.into_iter().flatten().map(|state| Seen::new(version, state));
            // What was no older than that when Redis was asked has aged since.
            return Ok((seen.collect(), asked.earlier_by(age)));
        }
        app.warmer.warm(event, &cold).await.map_err(unavailable)?;
    }
    Err(Refusal::Unavailable("its sections kept getting lost".into()))
}

/// Why there is no copy of what was asked for.
pub fn missed(missed: Missed<Refusal>) -> Refusal {
    match missed {
        Missed::TooLate => unavailable("others' read of the same was not done in time"),
        Missed::Failed(refusal) => match &*refusal {
            Refusal::NoAnswer(error) => Refusal::NoAnswer(Arc::clone(error)),
            _ => unavailable(refusal),
        },
    }
}

/// Not now.
pub fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Refusal {
    Refusal::Unavailable(error.into())
}
