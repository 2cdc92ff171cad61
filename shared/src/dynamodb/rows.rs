//! What is stored of a reservation and of a taken seat.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use super::{StoreError, keys};
use crate::domain::event::{Seat, Version};
use crate::domain::ids::{CustomerId, ReservationId, SeatId};
use crate::domain::money::{Cents, Currency};
use crate::domain::reservation::{Decision, Outcome, Status};
use crate::message::Request;
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
    /// Tells another body under the same key.
    pub fingerprint: String,
    /// The publication the seats were located in.
    pub layout_version: Version,
    /// When the claim was granted.
    pub held_at_ms: i64,
    /// When the hold ends.
    pub expires_at_ms: i64,
    /// Seats it counts towards its customer's limit.
    pub counted: usize,
    created_at_id: String,
    event_shard: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_shard: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at: Option<String>,
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
            fingerprint: request.fingerprint.clone(),
            layout_version: request.layout_version,
            held_at_ms: request.held_at_ms,
            expires_at_ms: request.expires_at_ms,
            counted: if held { request.seats.len() } else { 0 },
            created_at_id: keys::created_at_id(request.held_at_ms, id),
            event_shard: keys::event_shard(&id.event(), shard),
            due_shard: held.then(|| keys::due_expire(shard)),
            due_at: held.then(|| keys::sortable(request.expires_at_ms)),
        }
    }

    /// The truth this row is, for Redis. `claimed` are seats the id may have claimed beyond the row's: they are given back.
    pub fn truth(&self, claimed: &[Seat]) -> Truth {
        let state = match self.status {
            Status::Held => SeatState::Held { owner: self.reservation_id.clone(), expires_at_ms: self.expires_at_ms },
            Status::Confirmed => SeatState::Sold,
            Status::Pending | Status::Rejected | Status::Cancelled | Status::Expired => SeatState::Free,
        };
        let counts = match self.status {
            Status::Held => Some((self.expires_at_ms, self.counted)),
            Status::Confirmed => Some((0, self.counted)),
            Status::Pending | Status::Rejected | Status::Cancelled | Status::Expired => None,
        };
        let mut seats: Vec<_> = self.seats.iter().map(|seat| (seat.clone(), state.clone())).collect();
        let beyond = claimed.iter().filter(|seat| !self.seats.contains(seat));
        seats.extend(beyond.map(|seat| (seat.clone(), SeatState::Free)));
        Truth {
            id: self.reservation_id.clone(),
            customer: self.customer.clone(),
            outcome: self.decision(),
            counts,
            seats,
        }
    }

    /// Its sort key in the indexes of customers and events; never changes.
    pub fn created_at_id(&self) -> &str {
        &self.created_at_id
    }

    /// The outcome as the record in Redis keeps it.
    pub fn decision(&self) -> Decision {
        Decision { outcome: self.outcome, taken: self.taken.clone() }
    }

    /// The row after it was ended: it counts for nobody and nothing is due.
    pub(crate) fn ended(&self, status: Status) -> Self {
        Self { status, counted: 0, due_shard: None, due_at: None, ..self.clone() }
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

/// A taken seat as stored; a free one has no item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeatItem {
    /// The seat's id.
    pub sk: SeatId,
    /// Its number within the section.
    pub number: u32,
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
        serde_dynamo::from_item(item).map_err(StoreError::corrupt)
    }
}
