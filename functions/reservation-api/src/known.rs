//! The reservation somebody wants to change, as Redis' record or the table knows it, and what stands in the way. Every
//! change begins here: Redis is asked for the time and the record in one command, which also announces the change.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use shared::causes::chain;
use shared::domain::event::Event;
use shared::domain::ids::{CustomerId, ReservationId, SeatId};
use shared::domain::reservation::Status;
use shared::dynamodb::StoreError;
use shared::dynamodb::rows::ReservationRow;
use shared::message::Request;
use shared::redis::moving::Token;

use crate::App;

/// Times a change is tried: the row may turn out to be another than the record said, and may change once more meanwhile.
pub const MAX_ROUNDS: usize = 4;
/// Times a busy table is asked again within one change.
const MAX_TRIES: u32 = 4;
/// Shortest and longest pause before that, in ms; each further one may be as much longer.
const PAUSE_MS: std::ops::RangeInclusive<u64> = 10..=40;

/// Why a reservation was not changed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("no such reservation")]
    NotFound,
    #[error("only the payment side may do this")]
    Forbidden,
    #[error("it is not decided yet")]
    Pending { id: ReservationId },
    #[error("the hold has expired")]
    HoldExpired { id: ReservationId, alternatives: Vec<Vec<SeatId>> },
    #[error("it is not held")]
    NotHeld { id: ReservationId },
    #[error("it is confirmed and cannot be cancelled any more")]
    NotCancellable { id: ReservationId },
    #[error("it was confirmed by another payment")]
    AlreadyConfirmed { id: ReservationId },
    #[error("it was extended before")]
    AlreadyExtended { id: ReservationId },
    #[error("it cannot be extended")]
    NotExtendable { id: ReservationId },
    #[error("not now")]
    Unavailable { id: ReservationId, source: Box<dyn std::error::Error + Send + Sync> },
}

impl Refusal {
    /// Not now, for a reason of ours.
    pub fn unavailable(id: &ReservationId, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable { id: id.clone(), source: source.into() }
    }

    /// Its hold has ended.
    pub fn expired(id: &ReservationId) -> Self {
        Self::HoldExpired { id: id.clone(), alternatives: Vec::new() }
    }
}

/// How a reservation is known.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a request has one, and moves it twice")]
pub enum State {
    /// Accepted, and nothing stored yet.
    Pending(Request),
    /// Stored; or told to be held, which the transaction will see to.
    Stored(ReservationRow),
}

/// A reservation about to be changed.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its event.
    pub event: Arc<Event>,
    /// How it stands.
    pub state: State,
    /// Redis' time, in milliseconds since the epoch; `None` = Redis is away.
    pub now_ms: Option<i64>,
    /// Of the announcement.
    token: Token,
    has_record: bool,
}

/// Who may change a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Its owner.
    Owner,
    /// Anybody with this caller's scope.
    Anybodys,
}

/// Finds the reservation that `caller` wants to change.
pub async fn find(app: &App, id: &ReservationId, caller: &CustomerId, whose: Whose) -> Result<Known, Refusal> {
    let unavailable = |error| Refusal::unavailable(id, error);
    let event = app.catalogue.get(&id.event()).await.map_err(unavailable)?.ok_or(Refusal::NotFound)?;
    let is_theirs = |owner: &CustomerId| whose == Whose::Anybodys || owner == caller;
    let asked = app.records.ask(id, (whose == Whose::Owner).then_some(caller)).await;
    let (look, token, lost) = match asked {
        Ok((look, token)) => (Some(look), token, None),
        Err(error) => (None, Token::default(), Some(error)),
    };
    let now_ms = look.as_ref().map(|look| look.now_ms);
    let request = look.as_ref().and_then(|look| look.request.clone());
    if request.as_ref().is_some_and(|request| !is_theirs(&request.customer)) {
        return Err(Refusal::NotFound);
    }
    let has_record = request.is_some();
    let known = |state| Ok(Known { event, state, now_ms, token, has_record });
    // A hold that ends is read from the table: it may have been confirmed or prolonged, and nobody told Redis.
    let told = look.as_ref().and_then(|look| look.told.as_ref()).filter(|told| told.status() == Status::Held);
    if let (Some(request), Some(told)) = (&request, told) {
        let row = ReservationRow::held(request, told.prolonged_to_ms);
        if row.status.read_at(row.expires_at_ms, now_ms) == Status::Held {
            return known(State::Stored(row));
        }
    }
    match app.repository.get(id).await.map_err(|error| Refusal::unavailable(id, error))? {
        Some(row) if row.block.is_none() && is_theirs(&row.customer) => known(State::Stored(row)),
        Some(_) => Err(Refusal::NotFound),
        None => match (request, look, lost) {
            (Some(request), ..) => known(State::Pending(request)),
            (None, Some(look), _) if look.absence_is_known() => Err(Refusal::NotFound),
            (None, _, Some(error)) => Err(Refusal::unavailable(id, error)),
            (None, ..) => Err(Refusal::unavailable(id, "redis has lost the event's records lately")),
        },
    }
}

impl Known {
    /// Writes what became of the change into Redis. Failing to is healed by a job, and costs nobody a seat.
    pub async fn settle(&self, app: &App, row: &ReservationRow) {
        let claimed = match &self.state {
            State::Pending(request) => request.seats.as_slice(),
            State::Stored(row) => row.seats.as_slice(),
        };
        if let Err(error) = app.truths.settle(&row.truth(claimed), &self.token).await {
            let error = chain(&error);
            tracing::warn!(reservation_id = %row.reservation_id, error, "redis was not told of a change; it will be healed");
        }
    }

    /// The same for a row that was only looked at. Without a record to order it by, an old truth might undo a newer one.
    pub async fn remind(&self, app: &App, row: &ReservationRow) {
        if self.has_record {
            self.settle(app, row).await;
        }
    }
}

/// Patience with a busy table: a few pauses, drawn at random and growing.
#[derive(Debug, Default)]
pub struct Patience(u32);

impl Patience {
    /// Whether to try again, after a pause, in view of this error.
    pub async fn again(&mut self, error: &StoreError) -> bool {
        self.0 += 1;
        if !error.is_busy() || self.0 > MAX_TRIES {
            return false;
        }
        let pause = rand::rng().random_range(PAUSE_MS) * u64::from(self.0);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        true
    }
}
