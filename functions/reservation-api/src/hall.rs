//! Sections as this process has seen them lately, for ranking seats: whatever they say, the claim has the last word.
//! However many ask at once, a section is read once for all of them.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use shared::domain::event::Event;
use shared::domain::ids::{EventId, Label};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::App;
use crate::reserve::Refusal;
use crate::seat_map::{self, SeatMap};

/// How old what is ranked may be.
const RECENT: Duration = Duration::from_secs(1);
/// How long a map stands at least, also where it has turned out to be out of date: a section is read no more often.
const PAUSE: Duration = Duration::from_millis(50);
/// Sections remembered.
const REMEMBERED: u64 = 2_000;

/// How new a section's map has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// At most [`RECENT`] old.
    Recent,
    /// Newer than the one that was read then, and was of no use.
    NewerThan(Instant),
}

/// A section as it was at a moment.
#[derive(Clone)]
pub struct View {
    /// When it was read.
    pub at: Instant,
    /// The section.
    pub map: Arc<SeatMap>,
}

type Seen = Arc<Mutex<Option<View>>>;

/// The sections this process has read. Cheap to clone.
#[derive(Clone)]
pub struct Halls {
    seen: Cache<(EventId, Label), Seen>,
}

impl Halls {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self { seen: Cache::builder().max_capacity(REMEMBERED).time_to_idle(RECENT).build() }
    }

    /// One section, of no older publication than `event`. Whoever waits for another's read waits no longer than that takes.
    pub async fn section(
        &self,
        app: &App,
        event: &Event,
        section: &Label,
        freshness: Freshness,
    ) -> Result<View, Refusal> {
        let seen = self.seen.get_with((event.id.clone(), section.clone()), Seen::default);
        let mut seen = seen.lock().await;
        if let Some(view) = seen.as_ref() {
            let is_new = match freshness {
                Freshness::Recent => view.at.elapsed() <= RECENT,
                Freshness::NewerThan(tried) => view.at > tried,
            };
            if is_new && view.map.event.version >= event.version {
                return Ok(view.clone());
            }
            tokio::time::sleep_until(view.at + PAUSE).await;
        }
        let needed = match freshness {
            Freshness::Recent => seat_map::Freshness::Recent,
            Freshness::NewerThan(_) => seat_map::Freshness::Now,
        };
        let read = seat_map::in_redis(app, &event.id, Some(section.as_str()), needed).await;
        let map = Arc::new(read.map_err(|refusal| match refusal {
            seat_map::Refusal::EventNotFound => Refusal::EventNotFound,
            seat_map::Refusal::SectionNotFound | seat_map::Refusal::SectionRequired => Refusal::SectionNotFound,
            seat_map::Refusal::NoAnswer(error) => Refusal::unavailable(None, error),
            seat_map::Refusal::Unavailable(source) => Refusal::unavailable(None, source),
        })?);
        let now = Instant::now();
        let view = View { at: now.checked_sub(map.age).unwrap_or(now), map };
        *seen = Some(view.clone());
        Ok(view)
    }
}
