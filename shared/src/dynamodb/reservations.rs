//! The repository of reservations: the conditional writes that make, refuse and end them, and nothing else
//! does (invariant 1). Its reads are in `reads`.
//! A refused condition is never taken at its word: what is stored (`ALL_OLD`) says whether it was our own earlier write.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};

use super::rows::{Item, ReservationRow, SeatItem};
use super::{StoreError, Table, keys, store_error};
use crate::domain::event::Seat;
use crate::domain::ids::ReservationId;
use crate::domain::reservation::{Decision, Outcome, Status, Step};
use crate::message::Request;

/// Transactions one `end` may need: it drops the seats others have taken over, all it learns of at a time.
const MAX_END_ROUNDS: usize = 4;

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

/// What ending a reservation says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It is ended; the row as it is now.
    Ended(ReservationRow),
    /// It could not be ended that way any more; the row as it is.
    Unchanged(ReservationRow),
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
        let mut items = vec![self.put_once(&row)?, self.count(request)?];
        for seat in &request.seats {
            items.push(self.take(request, seat)?);
        }
        let sent = self.table.client.transact_write_items().set_transact_items(Some(items)).send().await;
        match sent {
            Ok(_) => Ok(Hold::Made(row)),
            Err(error) => match cancellation(error) {
                Cancelled::Reasons(reasons) => read_hold_refusal(&request.reservation_id, &reasons),
                Cancelled::Other(error) => Err(error),
            },
        }
    }

    /// Stores a rejection, unless the id has a row already: one outcome for ever (invariant 3). Answers the row that is stored in the end.
    ///
    /// # Errors
    /// When the table gives no usable answer; calling again is safe.
    pub async fn reject(&self, request: &Request, rejection: Decision) -> Result<ReservationRow, StoreError> {
        let row = ReservationRow::new(request, rejection);
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
            Ok(_) => Ok(row),
            Err(SdkError::ServiceError(refused)) => match refused.err() {
                PutItemError::ConditionalCheckFailedException(failed) => match failed.item() {
                    Some(item) => ReservationRow::from_item(item.clone()),
                    None => Err(StoreError::corrupt("a refused put showed no row")),
                },
                _ => Err(store_error(SdkError::ServiceError(refused))),
            },
            Err(error) => Err(store_error(error)),
        }
    }

    /// Ends a reservation: one transaction that moves its status, gives its seats up and uncounts them. Seats another
    /// reservation has taken over meanwhile stay with that one. `now_ms` guards an expiry: a hold that was prolonged stays.
    ///
    /// # Errors
    /// When the table gives no usable answer; calling again is safe.
    pub async fn end(&self, row: &ReservationRow, step: Step, now_ms: i64) -> Result<End, StoreError> {
        let Some(status) = row.status.after(step) else {
            return Ok(End::Unchanged(row.clone()));
        };
        let mut mine: Vec<&Seat> = row.seats.iter().collect();
        for _ in 0..MAX_END_ROUNDS {
            let mut items = vec![self.move_status(row, status, now_ms)?, self.uncount(row)?];
            for seat in &mine {
                items.push(self.give_up(row, seat)?);
            }
            let sent = self.table.client.transact_write_items().set_transact_items(Some(items)).send().await;
            let reasons = match sent {
                Ok(_) => return Ok(End::Ended(row.ended(status))),
                Err(error) => match cancellation(error) {
                    Cancelled::Reasons(reasons) => reasons,
                    Cancelled::Other(error) => return Err(error),
                },
            };
            if let Some(stored) = reasons.first().and_then(refused_item) {
                let stored = ReservationRow::from_item(stored?)?;
                return Ok(if stored.status == status { End::Ended(stored) } else { End::Unchanged(stored) });
            }
            let kept: Vec<&Seat> = mine
                .iter()
                .zip(reasons.iter().skip(2))
                .filter(|(_, reason)| !failed(reason))
                .map(|(seat, _)| *seat)
                .collect();
            if kept.len() == mine.len() {
                return Err(busy(&reasons));
            }
            mine = kept;
        }
        let source = "a reservation's seats kept changing hands while it was ended".into();
        Err(StoreError::Busy { code: "Contended".into(), source })
    }

    fn put_once(&self, row: &ReservationRow) -> Result<TransactWriteItem, StoreError> {
        let put = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(row.to_item()?))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(StoreError::corrupt)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Counts the seats on the limit item, always; refused where the event limits and the count would exceed it.
    fn count(&self, request: &Request) -> Result<TransactWriteItem, StoreError> {
        let seats = request.seats.len();
        let mut update = self
            .update(keys::limit(&request.reservation_id.event(), &request.customer), keys::ALONE)
            .update_expression("ADD live :seats")
            .expression_attribute_values(":seats", number(seats));
        if let Some(limit) = request.max_per_customer {
            let room = i64::from(limit) - i64::try_from(seats).unwrap_or(i64::MAX);
            update = update
                .condition_expression("attribute_not_exists(live) OR live <= :room")
                .expression_attribute_values(":room", number(room));
        }
        build(update)
    }

    /// Takes a seat that nobody has, or whose hold ended before this claim was granted: one live owner (invariant 2),
    /// whatever Redis has lost and in whatever order messages come.
    fn take(&self, request: &Request, seat: &Seat) -> Result<TransactWriteItem, StoreError> {
        let update = self
            .update(keys::seat(&request.reservation_id.event(), seat), seat.id.as_str())
            .update_expression(
                "SET #state = :held, reservation_id = :me, customer = :customer, expires_at_ms = :expires, #number = :number",
            )
            .condition_expression("attribute_not_exists(pk) OR (#state = :held AND expires_at_ms <= :held_at)")
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#number", "number")
            .expression_attribute_values(":held", text("HELD"))
            .expression_attribute_values(":me", text(request.reservation_id.as_str()))
            .expression_attribute_values(":customer", text(request.customer.as_str()))
            .expression_attribute_values(":expires", number(request.expires_at_ms))
            .expression_attribute_values(":held_at", number(request.held_at_ms))
            .expression_attribute_values(":number", number(seat.number));
        build(update)
    }

    fn move_status(&self, row: &ReservationRow, to: Status, now_ms: i64) -> Result<TransactWriteItem, StoreError> {
        let mut update = self
            .update(keys::reservation(&row.reservation_id), keys::ALONE)
            .update_expression("SET #status = :to, counted = :none REMOVE due_shard, due_at")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":to", text(to.as_str()))
            .expression_attribute_values(":none", number(0))
            .expression_attribute_values(":from", text(row.status.as_str()))
            .expression_attribute_values(
                ":seats",
                serde_dynamo::to_attribute_value(&row.seats).map_err(StoreError::corrupt)?,
            );
        let mut condition = "#status = :from AND seats = :seats".to_owned();
        if to == Status::Expired {
            condition.push_str(" AND expires_at_ms <= :now");
            update = update.expression_attribute_values(":now", number(now_ms));
        }
        build(update.condition_expression(condition))
    }

    fn uncount(&self, row: &ReservationRow) -> Result<TransactWriteItem, StoreError> {
        let counted = i64::try_from(row.counted).unwrap_or(0);
        build(
            self.update(keys::limit(&row.reservation_id.event(), &row.customer), keys::ALONE)
                .update_expression("ADD live :less")
                .expression_attribute_values(":less", number(-counted)),
        )
    }

    fn give_up(&self, row: &ReservationRow, seat: &Seat) -> Result<TransactWriteItem, StoreError> {
        let delete = Delete::builder()
            .table_name(&self.table.name)
            .set_key(Some(keys::primary(keys::seat(&row.reservation_id.event(), seat), seat.id.as_str())))
            .condition_expression("reservation_id = :me")
            .expression_attribute_values(":me", text(row.reservation_id.as_str()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(StoreError::corrupt)?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    fn update(&self, pk: String, sk: &str) -> aws_sdk_dynamodb::types::builders::UpdateBuilder {
        Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(keys::primary(pk, sk)))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }
}

/// Why a transaction was not carried out.
enum Cancelled {
    /// It was cancelled: a reason for each item, in order.
    Reasons(Vec<CancellationReason>),
    /// Something else.
    Other(StoreError),
}

fn cancellation(error: SdkError<TransactWriteItemsError>) -> Cancelled {
    match error {
        SdkError::ServiceError(refused) => match refused.err() {
            TransactWriteItemsError::TransactionCanceledException(cancelled) => {
                Cancelled::Reasons(cancelled.cancellation_reasons().to_vec())
            }
            _ => Cancelled::Other(store_error(SdkError::ServiceError(refused))),
        },
        error => Cancelled::Other(store_error(error)),
    }
}

/// Reads a cancelled hold: our own row first, then the seats, then the limit, then whatever else stood in the way.
fn read_hold_refusal(me: &ReservationId, reasons: &[CancellationReason]) -> Result<Hold, StoreError> {
    if let Some(stored) = reasons.first().and_then(refused_item) {
        return Ok(Hold::Stored(ReservationRow::from_item(stored?)?));
    }
    let mut taken = Vec::new();
    for item in reasons.iter().skip(2).filter_map(refused_item) {
        taken.push(SeatItem::from_item(item?)?);
    }
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

fn failed(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}

/// The stored item behind a failed condition.
fn refused_item(reason: &CancellationReason) -> Option<Result<Item, StoreError>> {
    failed(reason).then(|| match reason.item() {
        Some(item) if !item.is_empty() => Ok(item.clone()),
        _ => Err(StoreError::corrupt("a failed condition showed no item")),
    })
}

/// A cancellation that no condition explains: conflict, throttling, or a request the service refuses for good.
fn busy(reasons: &[CancellationReason]) -> StoreError {
    let codes: Vec<&str> = reasons.iter().filter_map(CancellationReason::code).filter(|code| *code != "None").collect();
    let code = codes.first().copied().unwrap_or("TransactionCanceled").to_owned();
    let source = format!("transaction cancelled: {}", codes.join(", ")).into();
    if codes.contains(&"ValidationError") {
        StoreError::Refused { code, source }
    } else {
        StoreError::Busy { code, source }
    }
}

fn build(update: aws_sdk_dynamodb::types::builders::UpdateBuilder) -> Result<TransactWriteItem, StoreError> {
    Ok(TransactWriteItem::builder().update(update.build().map_err(StoreError::corrupt)?).build())
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
