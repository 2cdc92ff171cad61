//! The repository of reservations: the conditional writes that make and refuse them, and nothing else does (invariant 1).
//! What becomes of them later is in `changes`, reads are in `reads`.
//! A refused condition is never taken at its word: what is stored (`ALL_OLD`) says whether it was our own earlier write.
//!
//! What it costs, as `tests/persist/cost.rs` measures it: a hold is one round trip. It writes a row, a count and an item for
//! each seat at two write units a kilobyte begun, and the row's three indexes at one: 9 units for one seat, 15 for four, and
//! 55 for twenty seats with the longest names there can be (only then is the row larger than a kilobyte). A replay is one
//! refused transaction, which is charged, too. A rejection is that and a put; for the limit, a query and a second one before.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{CancellationReason, ReturnValuesOnConditionCheckFailure};

use super::changes::taken_seats;
use super::rows::{ReservationRow, SeatItem, SeatItemState};
use super::transaction::{Taking, busy, failed, refused_row};
use super::{StoreError, Table, store_error};
use crate::domain::ids::ReservationId;
use crate::domain::reservation::{Decision, Outcome};
use crate::message::Request;

/// What the hold transaction says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// The seats are held.
    Made(ReservationRow),
    /// This reservation is stored already: a replay, or our own write whose answer was lost.
    Stored(ReservationRow),
    /// Others own these seats.
    Taken(Vec<SeatItem>),
    /// The customer has as many live seats as the event allows.
    LimitReached,
}

/// What putting a row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// It is stored now.
    Made(ReservationRow),
    /// The id has this row already.
    Stored(ReservationRow),
}

impl Put {
    /// The row that is stored in the end.
    pub fn row(self) -> ReservationRow {
        match self {
            Put::Made(row) | Put::Stored(row) => row,
        }
    }
}

/// Reads and writes reservations. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Repository {
    pub(super) table: Table,
}

impl Repository {
    /// A repository over this table.
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// Holds all seats of a request or none: one transaction over the reservation, the customer's limit and each seat.
    /// Safe to call any number of times: what is stored under the id is answered, and nothing changes.
    ///
    /// # Errors
    /// When the table gives no usable answer; it may have been done then, and calling again tells.
    pub async fn hold(&self, request: &Request) -> Result<Hold, StoreError> {
        let row = ReservationRow::new(request, Decision::plain(Outcome::Held));
        let counted = i64::try_from(row.counted).unwrap_or(i64::MAX);
        let mut items = vec![self.put_once(&row)?, self.count(&row, counted, request.max_per_customer)?];
        for seat in &row.seats {
            items.push(self.take(&Taking { row: &row, state: SeatItemState::Held }, seat)?);
        }
        match self.transact(items).await? {
            Ok(()) => Ok(Hold::Made(row)),
            Err(reasons) => read_hold_refusal(&request.reservation_id, &reasons),
        }
    }

    /// Stores a row, unless the id has one already, and answers the row that is stored in the end: see [`put`](Self::put).
    ///
    /// # Errors
    /// When the table gives no usable answer; calling again is safe.
    pub async fn put_unless_stored(&self, row: ReservationRow) -> Result<ReservationRow, StoreError> {
        self.put(row).await.map(Put::row)
    }

    /// Stores a row, unless the id has one already: one outcome for ever (invariant 3).
    ///
    /// # Errors
    /// When the table gives no usable answer; calling again is safe.
    pub async fn put(&self, row: ReservationRow) -> Result<Put, StoreError> {
        let sent = self
            .table
            .client
            .put_item()
            .table_name(&self.table.name)
            .set_item(Some(row.to_item()?))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match sent {
            Ok(_) => Ok(Put::Made(row)),
            Err(SdkError::ServiceError(refused)) => match refused.err() {
                PutItemError::ConditionalCheckFailedException(failed) => match failed.item() {
                    Some(item) => ReservationRow::from_item(item.clone()).map(Put::Stored),
                    None => Err(StoreError::corrupt("a refused put showed no row")),
                },
                _ => Err(store_error(SdkError::ServiceError(refused))),
            },
            Err(error) => Err(store_error(error)),
        }
    }
}

/// Reads a cancelled hold: our own row first, then the seats, then the limit, then whatever else stood in the way.
fn read_hold_refusal(me: &ReservationId, reasons: &[CancellationReason]) -> Result<Hold, StoreError> {
    if let Some(stored) = refused_row(reasons, 0)? {
        return Ok(Hold::Stored(stored));
    }
    let taken = taken_seats(reasons, 2)?;
    if taken.iter().any(|seat| seat.reservation_id == *me) {
        // A twin of this very transaction is just being carried out: its row will be there the next time.
        return Err(busy(reasons));
    }
    if !taken.is_empty() {
        return Ok(Hold::Taken(taken));
    }
    if reasons.get(1).is_some_and(failed) {
        return Ok(Hold::LimitReached);
    }
    Err(busy(reasons))
}
