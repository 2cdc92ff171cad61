//! What is stored of a reservation and of a taken seat.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use super::{StoreError, keys};
use crate::domain::day::Day;
use crate::domain::event::{Event, Seat, Version};
use crate::domain::ids::{CustomerId, ReservationId, SeatId};
use crate::domain::money::{Cents, Currency, SectionCents};
use crate::domain::reservation::{Decision, Outcome, Status, Told};
use crate::message::{MESSAGE_VERSION, Request};
use crate::redis::truth::{SeatState, Truth};

/// An item as the SDK has it.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// A reservation as stored. Times are milliseconds since the epoch by Redis' clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationRow {
    pk: String,
    sk: String,
    /// Names it.
    pub reservation_id: ReservationId,
    /// Whose it is; partition of `by_customer`.
    pub customer: CustomerId,
    /// What became of the request; never changes.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The seats somebody else owned, where that was the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<SeatId>,
    /// Where it stands.
    pub status: Status,
    /// Its seats.
    pub seats: Vec<Seat>,
    /// What it costs.
    pub amount_cents: Cents,
    /// In which currency.
    pub currency: Currency,
    /// What of it each section costs, where there are several.
    #[serde(default, skip_serializing_if = "SectionCents::is_empty")]
    pub section_cents: SectionCents,
    /// Tells another body under the same key.
    pub fingerprint: String,
    /// The publication the seats were located in.
    pub layout_version: Version,
    /// When the claim was granted.
    pub held_at_ms: i64,
    /// When the hold ends.
    pub expires_at_ms: i64,
    /// Whether the hold was prolonged: that is done once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extended: bool,
    /// When it was confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_at_ms: Option<i64>,
    /// The event's zone by then, in which its days are settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// By which payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_reference: Option<String>,
    /// When it was cancelled or expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at_ms: Option<i64>,
    /// The reservation whose late payment made this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebooked_from: Option<ReservationId>,
    /// The organiser's block whose chunk it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<Block>,
    /// What of it has been settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Settled>,
    /// Seats it counts towards its customer's limit.
    pub counted: usize,
    created_at_id: String,
    event_shard: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) due_shard: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) due_at: Option<String>,
}

/// How far a reservation has been settled: its sale comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Settled {
    /// Its sale is counted.
    Sold,
    /// Its sale and its refund are.
    Refunded,
}

impl Settled {
    /// The name it is stored under.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sold => "SOLD",
            Self::Refunded => "REFUNDED",
        }
    }
}

/// What only the chunk of a block has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The block's name.
    pub block_id: String,
    /// What the organiser noted.
    pub note: String,
    /// Seats given up that Redis has not been told of yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub releasing: Vec<Seat>,
}

impl ReservationRow {
    /// The row that `outcome` makes of a request.
    pub fn new(request: &Request, outcome: Decision) -> Self {
        let id = &request.reservation_id;
        let shard = keys::shard(id);
        let held = outcome.outcome == Outcome::Held;
        Self {
            pk: keys::reservation(id),
            sk: keys::ALONE.into(),
            reservation_id: id.clone(),
            customer: request.customer.clone(),
            outcome: outcome.outcome,
            taken: outcome.taken,
            status: Status::Pending.after(outcome.outcome.step()).unwrap_or(Status::Pending),
            seats: request.seats.clone(),
            amount_cents: request.amount_cents,
            currency: request.currency,
            section_cents: request.section_cents.clone(),
            fingerprint: request.fingerprint.clone(),
            layout_version: request.layout_version,
            held_at_ms: request.held_at_ms,
            expires_at_ms: request.expires_at_ms,
            extended: false,
            confirmed_at_ms: None,
            time_zone: None,
            payment_reference: None,
            ended_at_ms: None,
            rebooked_from: None,
            settled: None,
            block: None,
            counted: if held { request.seats.len() } else { 0 },
            created_at_id: keys::created_at_id(request.held_at_ms, id),
            event_shard: keys::event_shard(&id.event(), shard),
            due_shard: held.then(|| keys::due_expire(shard)),
            due_at: held.then(|| keys::sortable(request.expires_at_ms)),
        }
    }

    /// The row of a hold as its request knows it, and until when it was prolonged, if it was.
    pub fn held(request: &Request, prolonged_to_ms: Option<i64>) -> Self {
        let row = Self::new(request, Decision::plain(Outcome::Held));
        match prolonged_to_ms {
            Some(expires_at_ms) => row.prolonged(expires_at_ms),
            None => row,
        }
    }

    /// A chunk of a block that takes `seats` off sale from `at_ms` on: for good, at no price, and it counts for nobody.
    pub fn chunk(id: ReservationId, block: Block, seats: Vec<Seat>, event: &Event, at_ms: i64) -> Self {
        let created = keys::created_at_id(at_ms, &id);
        let event_shard = keys::event_shard(&event.id, keys::shard(&id));
        Self {
            pk: keys::reservation(&id),
            sk: keys::ALONE.into(),
            reservation_id: id,
            customer: CustomerId::organiser(),
            outcome: Outcome::Held,
            taken: Vec::new(),
            status: Status::Confirmed,
            seats,
            amount_cents: Cents::ZERO,
            currency: event.document.currency,
            section_cents: SectionCents::new(),
            fingerprint: String::new(),
            layout_version: event.version,
            held_at_ms: at_ms,
            expires_at_ms: at_ms,
            extended: false,
            confirmed_at_ms: None,
            time_zone: None,
            payment_reference: None,
            ended_at_ms: None,
            rebooked_from: None,
            settled: None,
            block: Some(block),
            counted: 0,
            created_at_id: created,
            event_shard,
            due_shard: None,
            due_at: None,
        }
    }

    /// The truth this row is, for Redis. `claimed` are seats the id may have claimed beyond the row's: they are given back.
    pub fn truth(&self, claimed: &[Seat]) -> Truth {
        let owner = || self.reservation_id.clone();
        let state = match self.status {
            Status::Held => SeatState::Held { owner: owner(), expires_at_ms: self.expires_at_ms },
            Status::Confirmed if self.block.is_some() => SeatState::Blocked { owner: owner() },
            Status::Confirmed => SeatState::Sold { owner: owner() },
            Status::Cancelled if self.confirmed_at_ms.is_some() => SeatState::Freed,
            Status::Pending | Status::Rejected | Status::Cancelled | Status::Expired => SeatState::Free,
        };
        let mut seats: Vec<_> = self.seats.iter().map(|seat| (seat.clone(), state.clone())).collect();
        let beyond = claimed.iter().filter(|seat| !self.seats.contains(seat));
        seats.extend(beyond.map(|seat| (seat.clone(), SeatState::Free)));
        let told = Told::new(self.decision(), self.status, self.extended.then_some(self.expires_at_ms));
        let ends_at_ms = if self.status == Status::Held { self.expires_at_ms } else { 0 };
        Truth { id: owner(), customer: self.customer.clone(), told, ends_at_ms, seats }
    }

    /// Its sort key in the indexes of customers and events; never changes.
    pub fn created_at_id(&self) -> &str {
        &self.created_at_id
    }

    /// Its outcome with what belongs to it.
    pub fn decision(&self) -> Decision {
        Decision { outcome: self.outcome, taken: self.taken.clone() }
    }

    /// The row after it was ended: it counts for nobody, and nothing is due but what is still to be settled of it.
    pub(crate) fn ended(&self, status: Status, ended_at_ms: i64) -> Self {
        let refund = self.refund_due(status, ended_at_ms);
        let due_at = refund.as_ref().map(|(_, at)| self.due_at.clone().unwrap_or_else(|| at.clone()));
        let ended = Self { status, counted: 0, ended_at_ms: Some(ended_at_ms), ..self.clone() };
        Self { due_shard: refund.map(|(shard, _)| shard), due_at, ..ended }
    }

    /// The row after its hold ran out.
    pub fn expired(&self, ended_at_ms: i64) -> Self {
        self.ended(Status::Expired, ended_at_ms)
    }

    /// The row under which this reservation's seats are booked once more, at the same price, with this outcome.
    pub fn rebooking(&self, id: &ReservationId, outcome: Decision, held_at_ms: i64, expires_at_ms: i64) -> Self {
        let request = Request {
            version: MESSAGE_VERSION,
            reservation_id: id.clone(),
            customer: self.customer.clone(),
            fingerprint: self.fingerprint.clone(),
            layout_version: self.layout_version,
            amount_cents: self.amount_cents,
            currency: self.currency,
            section_cents: self.section_cents.clone(),
            max_per_customer: None,
            opens_at_ms: 0,
            closes_at_ms: i64::MAX,
            seats: self.seats.clone(),
            held_at_ms,
            expires_at_ms,
        };
        let row = Self::new(&request, outcome);
        Self { rebooked_from: Some(self.reservation_id.clone()), ..row }
    }

    /// The row after it was confirmed, in the event's zone: its expiry no longer matters, and its day is to be settled.
    pub fn confirmed(&self, reference: Option<&str>, zone: &str, confirmed_at_ms: i64) -> Self {
        let (payment_reference, time_zone) = (reference.map(str::to_owned), Some(zone.to_owned()));
        let due_shard = Some(keys::due_settle(keys::shard(&self.reservation_id)));
        let due_at = Some(keys::sortable(Day::of(confirmed_at_ms, zone).ends_at_ms));
        let confirmed_at_ms = Some(confirmed_at_ms);
        let confirmed =
            Self { status: Status::Confirmed, payment_reference, time_zone, confirmed_at_ms, ..self.clone() };
        Self { due_shard, due_at, ..confirmed }
    }

    /// The row after its hold was prolonged.
    pub(crate) fn prolonged(&self, expires_at_ms: i64) -> Self {
        let due_at = Some(keys::sortable(expires_at_ms));
        Self { extended: true, expires_at_ms, due_at, ..self.clone() }
    }

    /// The chunk with further seats and another note, claimed at `at_ms`.
    #[must_use]
    pub fn with_more(&self, added: &[Seat], note: &str, at_ms: i64) -> Self {
        let seats = self.seats.iter().chain(added).cloned().collect();
        let changed = self.with_chunk(seats, |block| note.clone_into(&mut block.note));
        Self { held_at_ms: at_ms, ..changed }
    }

    /// The chunk with other seats and its block changed.
    #[must_use]
    pub fn with_chunk(&self, seats: Vec<Seat>, change: impl FnOnce(&mut Block)) -> Self {
        let mut changed = Self { seats, ..self.clone() };
        if let Some(block) = &mut changed.block {
            change(block);
        }
        changed
    }

    pub(crate) fn to_item(&self) -> Result<Item, StoreError> {
        serde_dynamo::to_item(self).map_err(StoreError::corrupt)
    }

    pub(crate) fn from_item(item: Item) -> Result<Self, StoreError> {
        serde_dynamo::from_item(item).map_err(StoreError::corrupt)
    }
}

/// How a seat is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SeatItemState {
    /// By a hold, until `expires_at_ms`.
    Held,
    /// By a paid reservation.
    Confirmed,
    /// By the organiser.
    Blocked,
}

impl SeatItemState {
    /// The name it is stored under.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "HELD",
            Self::Confirmed => "CONFIRMED",
            Self::Blocked => "BLOCKED",
        }
    }
}

/// A taken seat as stored; a free one has no item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatItem {
    /// The seat.
    pub seat: Seat,
    /// How it is taken.
    pub state: SeatItemState,
    /// By which reservation.
    pub reservation_id: ReservationId,
    /// Whose that is.
    pub customer: CustomerId,
    /// When the hold ends, in milliseconds since the epoch by Redis' clock.
    pub expires_at_ms: i64,
}

impl SeatItem {
    pub(crate) fn from_item(item: Item) -> Result<Self, StoreError> {
        #[derive(Deserialize)]
        struct Stored {
            sk: String,
            state: SeatItemState,
            reservation_id: ReservationId,
            customer: CustomerId,
            expires_at_ms: i64,
        }
        let stored: Stored = serde_dynamo::from_item(item).map_err(StoreError::corrupt)?;
        let Stored { sk, state, reservation_id, customer, expires_at_ms } = stored;
        let seat = keys::seat_of(&sk).map_err(StoreError::corrupt)?;
        Ok(Self { seat, state, reservation_id, customer, expires_at_ms })
    }

    /// What Redis is to know of the seat.
    pub fn seat_state(&self) -> SeatState {
        let owner = self.reservation_id.clone();
        match self.state {
            SeatItemState::Held => SeatState::Held { owner, expires_at_ms: self.expires_at_ms },
            SeatItemState::Confirmed => SeatState::Sold { owner },
            SeatItemState::Blocked => SeatState::Blocked { owner },
        }
    }
}
