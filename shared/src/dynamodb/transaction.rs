//! Transactions as the repository writes them: how one is sent, how a refusal is read, and the conditional writes that more
//! than one of them is made of.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};

use super::reservations::Repository;
use super::rows::{Item, ReservationRow, SeatItemState};
use super::{StoreError, keys, store_error};
use crate::domain::event::Seat;
use crate::domain::ids::ReservationId;

/// How a seat is to be taken.
pub(super) struct Taking<'a> {
    /// For whom.
    pub(super) row: &'a ReservationRow,
    /// As what.
    pub(super) state: SeatItemState,
}

impl Repository {
    /// Sends a transaction; `Err` inside = it was cancelled, with a reason for each item, in order. The SDK gives each call
    /// a token of its own: a reused one would answer success for what has been undone meanwhile.
    pub(super) async fn transact(
        &self,
        items: Vec<TransactWriteItem>,
    ) -> Result<Result<(), Vec<CancellationReason>>, StoreError> {
        match self.table.client.transact_write_items().set_transact_items(Some(items)).send().await {
            Ok(_) => Ok(Ok(())),
            Err(SdkError::ServiceError(refused)) => match refused.err() {
                TransactWriteItemsError::TransactionCanceledException(cancelled) => {
                    Ok(Err(cancelled.cancellation_reasons().to_vec()))
                }
                _ => Err(store_error(SdkError::ServiceError(refused))),
            },
            Err(error) => Err(store_error(error)),
        }
    }

    /// Puts a row under the condition that there is none.
    pub(super) fn put_once(&self, row: &ReservationRow) -> Result<TransactWriteItem, StoreError> {
        let put = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(row.to_item()?))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(StoreError::corrupt)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Takes a seat that nobody has, or whose hold ended before this claim was granted: one live owner (invariant 2),
    /// whatever Redis has lost and in whatever order messages come.
    pub(super) fn take(&self, taking: &Taking<'_>, seat: &Seat) -> Result<TransactWriteItem, StoreError> {
        let Taking { row, state } = taking;
        let update = self
            .update_seat(&row.reservation_id, seat)
            .update_expression(
                "SET #state = :state, reservation_id = :me, customer = :customer, expires_at_ms = :expires, #number = :number",
            )
            .condition_expression("attribute_not_exists(pk) OR (#state = :held AND expires_at_ms <= :held_at)")
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#number", "number")
            .expression_attribute_values(":state", text(state.as_str()))
            .expression_attribute_values(":held", text(SeatItemState::Held.as_str()))
            .expression_attribute_values(":me", text(row.reservation_id.as_str()))
            .expression_attribute_values(":customer", text(row.customer.as_str()))
            .expression_attribute_values(":expires", number(row.expires_at_ms))
            .expression_attribute_values(":held_at", number(row.held_at_ms))
            .expression_attribute_values(":number", number(seat.number));
        build(update)
    }

    /// Deletes a seat's item, which must be this reservation's.
    pub(super) fn give_up(&self, id: &ReservationId, seat: &Seat) -> Result<TransactWriteItem, StoreError> {
        let (pk, sk) = keys::seat(&id.event(), seat);
        let delete = Delete::builder()
            .table_name(&self.table.name)
            .set_key(Some(keys::primary(pk, sk)))
            .condition_expression("reservation_id = :me")
            .expression_attribute_values(":me", text(id.as_str()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(StoreError::corrupt)?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    /// Adds to (or takes from) what counts for the row's customer; refused where `limit` would be exceeded.
    pub(super) fn count(
        &self,
        row: &ReservationRow,
        seats: i64,
        limit: Option<u32>,
    ) -> Result<TransactWriteItem, StoreError> {
        let mut update = self
            .update(keys::limit(&row.reservation_id.event(), &row.customer), keys::ALONE)
            .update_expression("ADD live :seats")
            .expression_attribute_values(":seats", number(seats));
        if let Some(limit) = limit.filter(|_| seats > 0) {
            update = update
                .condition_expression("attribute_not_exists(live) OR live <= :room")
                .expression_attribute_values(":room", number(i64::from(limit) - seats));
        }
        build(update)
    }

    pub(super) fn update_row(&self, id: &ReservationId) -> UpdateBuilder {
        self.update(keys::reservation(id), keys::ALONE)
    }

    pub(super) fn update_seat(&self, id: &ReservationId, seat: &Seat) -> UpdateBuilder {
        let (pk, sk) = keys::seat(&id.event(), seat);
        self.update(pk, &sk)
    }

    fn update(&self, pk: String, sk: &str) -> UpdateBuilder {
        Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(keys::primary(pk, sk)))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }
}

/// Whether this item's own condition failed.
pub(super) fn failed(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}

/// The stored item behind a failed condition.
pub(super) fn refused_item(reason: &CancellationReason) -> Option<Result<Item, StoreError>> {
    failed(reason).then(|| match reason.item() {
        Some(item) if !item.is_empty() => Ok(item.clone()),
        _ => Err(StoreError::corrupt("a failed condition showed no item")),
    })
}

/// The stored row behind the failed condition of the item at `at`.
pub(super) fn refused_row(reasons: &[CancellationReason], at: usize) -> Result<Option<ReservationRow>, StoreError> {
    reasons.get(at).and_then(refused_item).map(|item| ReservationRow::from_item(item?)).transpose()
}

/// A cancellation that no condition explains: conflict, throttling, or a request the service refuses for good.
pub(super) fn busy(reasons: &[CancellationReason]) -> StoreError {
    let codes: Vec<&str> = reasons.iter().filter_map(CancellationReason::code).filter(|code| *code != "None").collect();
    let code = codes.first().copied().unwrap_or("TransactionCanceled").to_owned();
    let source = format!("transaction cancelled: {}", codes.join(", ")).into();
    if codes.contains(&"ValidationError") {
        StoreError::Refused { code, source }
    } else {
        StoreError::Busy { code, source }
    }
}

pub(super) fn build(update: UpdateBuilder) -> Result<TransactWriteItem, StoreError> {
    Ok(TransactWriteItem::builder().update(update.build().map_err(StoreError::corrupt)?).build())
}

pub(super) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(super) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn seats(row: &ReservationRow) -> Result<AttributeValue, StoreError> {
    serde_dynamo::to_attribute_value(&row.seats).map_err(StoreError::corrupt)
}
