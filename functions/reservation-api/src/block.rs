//! The use case: take seats off sale and put them back. A block is set to what it shall block, chunk by chunk, so that the
//! same call repeated continues where an earlier one died, and a smaller one gives back the difference.

use std::collections::{BTreeMap, HashMap};

use futures_util::{StreamExt, TryStreamExt, stream};
use shared::domain::event::{Event, Seat, Section};
use shared::domain::ids::{CustomerId, ReservationId, SeatId};
use shared::domain::reservation::{Decision, Outcome, Status, Told};
use shared::dynamodb::blocks::{Blocked, Released, SEATS_PER_CHUNK};
use shared::dynamodb::removing::Removing;
use shared::dynamodb::rows::{Block, ReservationRow};
use shared::redis::blocking::Claimed;
use shared::redis::moving::Token;
use shared::redis::truth::{SeatState, Truth};

use crate::App;
use crate::known::Patience;

/// Chunks set at the same time.
const CHUNKS_AT_ONCE: usize = 8;
/// Rounds one chunk may need: it was loaded, or changed meanwhile, or some of its seats turned out to be taken.
const MAX_ROUNDS: usize = 8;

/// Why a block was not set. What was set of it stays; the same call continues.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("no such event")]
    EventNotFound,
    #[error("no such seats")]
    SeatsNotFound(Vec<SeatId>),
    #[error("the event was published anew, or is about to be")]
    Stale,
    #[error("not now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What became of a block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set {
    /// Everything it blocks now.
    pub blocked: Vec<SeatId>,
    /// What it was to block and others have.
    pub not_blocked: Vec<SeatId>,
}

/// What a block is to be.
pub struct Wanted<'a> {
    /// Its name.
    pub block_id: &'a str,
    /// What the organiser notes.
    pub note: &'a str,
    /// What it shall block.
    pub seats: Vec<Seat>,
    /// Whether it keeps a seat that it blocks already and that is not among them.
    pub keeps: &'a (dyn Fn(&Seat) -> bool + Sync),
    /// The removal of seats it is part of: over once another one begins.
    pub during: Option<&'a Removing>,
}

/// Sets an organiser's block to these seats of the event as it is published now.
pub async fn put(
    app: &App,
    event_id: &shared::domain::ids::EventId,
    block_id: &str,
    note: &str,
    seats: &[SeatId],
) -> Result<Set, Refusal> {
    let mut event = app.catalogue.get(event_id).await.map_err(unavailable)?.ok_or(Refusal::EventNotFound)?;
    for is_last in [false, true] {
        let located: Vec<Option<Seat>> = seats.iter().map(|id| event.locate(id).map(|(seat, _)| seat)).collect();
        let unknown: Vec<SeatId> =
            seats.iter().zip(&located).filter(|(_, seat)| seat.is_none()).map(|(id, _)| id.clone()).collect();
        if !is_last || unknown.is_empty() {
            let seats = located.into_iter().flatten().collect();
            let wanted = Wanted { block_id, note, seats, keeps: &|_| false, during: None };
            match if unknown.is_empty() { set(app, &event, &wanted).await } else { Err(Refusal::Stale) } {
                Err(Refusal::Stale) => {}
                done => return done,
            }
        } else {
            return Err(Refusal::SeatsNotFound(unknown));
        }
        let newer = app.catalogue.read_again(event_id).await.map_err(unavailable)?;
        event = newer.ok_or(Refusal::EventNotFound)?;
    }
    Err(Refusal::Unavailable("the event kept changing".into()))
}

/// Sets a block, chunk by chunk.
pub async fn set(app: &App, event: &Event, wanted: &Wanted<'_>) -> Result<Set, Refusal> {
    let mut chunks: BTreeMap<(usize, u32), Vec<Seat>> = BTreeMap::new();
    for (at, section) in event.sections.iter().enumerate() {
        for chunk in 0..section.layout.numbered().div_ceil(SEATS_PER_CHUNK) {
            chunks.insert((at, chunk), Vec::new());
        }
    }
    let position: HashMap<&str, usize> =
        event.sections.iter().enumerate().map(|(at, section)| (section.id.as_str(), at)).collect();
    for seat in &wanted.seats {
        if let Some(at) = position.get(seat.id.section()) {
            chunks.entry((*at, seat.number / SEATS_PER_CHUNK)).or_default().push(seat.clone());
        }
    }
    let id =
        |(at, chunk): &(usize, u32)| ReservationId::block(&event.id, wanted.block_id, &event.sections[*at].id, *chunk);
    let ids: Vec<ReservationId> = chunks.keys().map(id).collect();
    let stored = app.repository.chunks(&ids).await.map_err(unavailable)?;
    let mut stored: HashMap<ReservationId, ReservationRow> =
        stored.into_iter().map(|row| (row.reservation_id.clone(), row)).collect();
    let work: Vec<_> = chunks
        .into_iter()
        .zip(ids)
        .filter_map(|(((at, _), seats), id)| {
            let row = stored.remove(&id);
            let chunk = Chunk { app, event, section: &event.sections[at], id, wanted };
            (row.is_some() || !seats.is_empty()).then(|| chunk.set(row, seats))
        })
        .collect();
    let sets: Vec<Set> = stream::iter(work).buffered(CHUNKS_AT_ONCE).try_collect().await?;
    let mut all = Set::default();
    for set in sets {
        all.blocked.extend(set.blocked);
        all.not_blocked.extend(set.not_blocked);
    }
    Ok(all)
}

/// One chunk of a block.
struct Chunk<'a> {
    app: &'a App,
    event: &'a Event,
    section: &'a Section,
    id: ReservationId,
    wanted: &'a Wanted<'a>,
}

impl Chunk<'_> {
    async fn set(self, mut row: Option<ReservationRow>, seats: Vec<Seat>) -> Result<Set, Refusal> {
        let mut others: Vec<Seat> = Vec::new();
        for _ in 0..MAX_ROUNDS {
            if let Some(known) = &row {
                let kept = |seat: &Seat| seats.contains(seat) || (self.wanted.keeps)(seat);
                let given_up: Vec<Seat> = known.seats.iter().filter(|seat| !kept(seat)).cloned().collect();
                let is_releasing = known.block.as_ref().is_some_and(|block| !block.releasing.is_empty());
                if is_releasing || !given_up.is_empty() {
                    self.give_back(known, &given_up).await?;
                    row = self.read().await?;
                    continue;
                }
            }
            let has = |seat: &Seat| row.as_ref().is_some_and(|row| row.seats.contains(seat));
            let missing: Vec<Seat> =
                seats.iter().filter(|seat| !has(seat) && !others.contains(seat)).cloned().collect();
            let is_noted =
                row.as_ref().and_then(|row| row.block.as_ref()).is_none_or(|block| block.note == self.wanted.note);
            if missing.is_empty() && is_noted {
                let ids = |seats: Vec<Seat>| seats.into_iter().map(|seat| seat.id).collect();
                return Ok(Set { blocked: ids(row.map_or_else(Vec::new, |row| row.seats)), not_blocked: ids(others) });
            }
            match self.add(row.as_ref(), &missing).await? {
                Added::Done(after) => row = Some(after),
                Added::Others(seen) => others.extend(seen),
                Added::Again => row = self.read().await?,
            }
        }
        Err(Refusal::Unavailable("a chunk kept changing while it was blocked".into()))
    }

    async fn read(&self) -> Result<Option<ReservationRow>, Refusal> {
        let mut rows = self.app.repository.chunks(std::slice::from_ref(&self.id)).await.map_err(unavailable)?;
        Ok(rows.pop())
    }

    /// Claims and blocks `missing`; nobody is promised any of them in between.
    async fn add(&self, before: Option<&ReservationRow>, missing: &[Seat]) -> Result<Added, Refusal> {
        let claimed =
            self.app.blocking.claim(self.event, self.section, &self.id, missing).await.map_err(unavailable)?;
        let (now_ms, others) = match claimed {
            Claimed::Done { now_ms, others } => (now_ms, others),
            Claimed::Stale => return Err(Refusal::Stale),
            Claimed::Cold => {
                let section = [self.section.id.to_string()];
                self.app.warmer.warm(self.event, &section).await.map_err(unavailable)?;
                return Ok(Added::Again);
            }
        };
        if !others.is_empty() {
            return Ok(Added::Others(others.iter().filter_map(|at| missing.get(*at)).cloned().collect()));
        }
        let after = self.after(before, missing, now_ms);
        let mut patience = Patience::default();
        let blocked = loop {
            match self.app.repository.block(before, &after, missing, self.wanted.during).await {
                Ok(blocked) => break blocked,
                Err(error) => {
                    if !patience.again(&error).await {
                        return Err(unavailable(error));
                    }
                }
            }
        };
        match blocked {
            Blocked::Done => {
                self.app.truths.write(&after.truth(&[])).await.map_err(unavailable)?;
                self.settle(&after, missing).await
            }
            Blocked::Overtaken => Ok(Added::Again),
            Blocked::Superseded => Err(Refusal::Stale),
            Blocked::Taken(seen) => {
                // Redis did not know; now it does, and what was claimed beside these goes back until the next round.
                let state = |seat: &Seat| {
                    seen.iter().find(|item| item.seat == *seat).map_or(SeatState::Free, |item| item.seat_state())
                };
                self.tell(missing.iter().map(|seat| (seat.clone(), state(seat))).collect()).await?;
                Ok(Added::Others(seen.into_iter().map(|item| item.seat).collect()))
            }
        }
    }

    fn after(&self, before: Option<&ReservationRow>, added: &[Seat], now_ms: i64) -> ReservationRow {
        let Wanted { block_id, note, .. } = self.wanted;
        let new = || {
            let block = Block { block_id: block_id.to_string(), note: note.to_string(), releasing: Vec::new() };
            ReservationRow::chunk(self.id.clone(), block, added.to_vec(), self.event, now_ms)
        };
        before.map_or_else(new, |before| before.with_more(added, note, now_ms))
    }

    /// Puts `given_up` back on sale, and whatever an earlier call was about to.
    async fn give_back(&self, row: &ReservationRow, given_up: &[Seat]) -> Result<(), Refusal> {
        let mut row = row.clone();
        if !given_up.is_empty() {
            row = match self.app.repository.release(&row, given_up, self.wanted.during).await.map_err(unavailable)? {
                Released::Done(after) => *after,
                Released::Overtaken => return Ok(()),
                Released::Superseded => return Err(Refusal::Stale),
            };
        }
        let releasing = row.block.as_ref().map(|block| block.releasing.clone()).unwrap_or_default();
        // An earlier call may have died long ago: what is stored now counts, and not what it was about to say.
        self.tell_as_stored(&releasing).await?;
        self.app.repository.released(&row).await.map_err(unavailable)
    }

    /// Whoever put seats back between this call's transaction and its word to Redis was told to be wrong by it: as long as
    /// the chunk is found changed, Redis is told anew.
    async fn settle(&self, after: &ReservationRow, added: &[Seat]) -> Result<Added, Refusal> {
        let mut told = Some(after.clone());
        for _ in 0..MAX_ROUNDS {
            let row = self.read().await?;
            if row == told {
                return Ok(if row.as_ref() == Some(after) { Added::Done(after.clone()) } else { Added::Again });
            }
            self.tell_as_stored(added).await?;
            told = row;
        }
        Err(Refusal::Unavailable("a chunk kept changing after it was blocked".into()))
    }

    async fn tell_as_stored(&self, seats: &[Seat]) -> Result<(), Refusal> {
        let stored = self.app.repository.seat_items(&self.event.id, seats).await.map_err(unavailable)?;
        let state = |seat: &Seat| {
            stored.iter().find(|item| item.seat == *seat).map_or(SeatState::Freed, |item| item.seat_state())
        };
        self.tell(seats.iter().map(|seat| (seat.clone(), state(seat))).collect()).await
    }

    async fn tell(&self, seats: Vec<(Seat, SeatState)>) -> Result<(), Refusal> {
        let told = Told::new(Decision::plain(Outcome::Held), Status::Cancelled, None);
        let truth = Truth { id: self.id.clone(), customer: CustomerId::organiser(), told, ends_at_ms: 0, seats };
        // Read anew by the caller, or refused this very moment.
        self.app.truths.heal(&truth, &Token::default()).await.map_err(unavailable)
    }
}

/// What came of adding seats to a chunk.
#[expect(clippy::large_enum_variant, reason = "a chunk has one at a time")]
enum Added {
    /// They are blocked; the chunk as it is now.
    Done(ReservationRow),
    /// Others have these of them; nothing is blocked yet.
    Others(Vec<Seat>),
    /// The chunk has changed, or its section was loaded: look again.
    Again,
}

fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Refusal {
    Refusal::Unavailable(error.into())
}
