//! Seats taken off sale. A block is the organiser's reservation, in chunks that one transaction can carry; which chunk a
//! seat belongs to follows from its number alone, so a block is found, repeated and continued without a list of it.

use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};

use super::changes::taken_seats;
use super::removing::Removing;
use super::reservations::Repository;
use super::rows::{ReservationRow, SeatItem, SeatItemState};
use super::transaction::{Taking, busy, failed, refused_row, seats};
use super::{StoreError, keys};
use crate::domain::event::Seat;
use crate::domain::ids::ReservationId;

/// Numbers one chunk spans: with its row and the check of a removal its seats stay below the 100 items of a transaction.
pub const SEATS_PER_CHUNK: u32 = 90;

/// What taking seats off sale says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// Done.
    Done,
    /// The chunk is not as the caller thought: read it again.
    Overtaken,
    /// Another removal has begun: this one is over.
    Superseded,
    /// Others have these seats.
    Taken(Vec<SeatItem>),
}

/// What putting seats back says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// Done; the chunk as it is now.
    Done(Box<ReservationRow>),
    /// The chunk is not as the caller thought: read it again.
    Overtaken,
    /// Another removal has begun: this one is over.
    Superseded,
}

impl Repository {
    /// The chunks of these ids, those that block anything or are just giving it up. Strongly consistent.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn chunks(&self, ids: &[ReservationId]) -> Result<Vec<ReservationRow>, StoreError> {
        let wanted = ids.iter().map(|id| keys::primary(keys::reservation(id), keys::ALONE)).collect();
        let items = self.table.batch_get(wanted).await?;
        items.into_iter().map(ReservationRow::from_item).collect()
    }

    /// Takes `added` off sale: they stand in `after`, and the chunk was `before` until now. `during` a removal, only while
    /// it is the one under way.
    ///
    /// # Errors
    /// When the table gives no usable answer; calling again is safe.
    pub async fn block(
        &self,
        before: Option<&ReservationRow>,
        after: &ReservationRow,
        added: &[Seat],
        during: Option<&Removing>,
    ) -> Result<Blocked, StoreError> {
        let mut items = vec![self.replace_chunk(before, after)?];
        for seat in added {
            items.push(self.take(&Taking { row: after, state: SeatItemState::Blocked }, seat)?);
        }
        let Err(reasons) = self.chunk_transaction(items, during).await? else { return Ok(Blocked::Done) };
        if during.is_some() && reasons.last().is_some_and(failed) {
            return Ok(Blocked::Superseded);
        }
        if reasons.first().is_some_and(failed) {
            // Without a row to show, a chunk that was expected is gone.
            let stored = if before.is_some() { None } else { refused_row(&reasons, 0)? };
            return Ok(if stored.as_ref() == Some(after) { Blocked::Done } else { Blocked::Overtaken });
        }
        let taken = taken_seats(&reasons, 1)?;
        if taken.is_empty() { Err(busy(&reasons)) } else { Ok(Blocked::Taken(taken)) }
    }

    /// Puts `given_up` back: their items go, and the chunk notes them as being released until
    /// [`released`](Self::released). `during` a removal, only while it is the one under way.
    ///
    /// # Errors
    /// When the table gives no usable answer; calling again is safe.
    pub async fn release(
        &self,
        row: &ReservationRow,
        given_up: &[Seat],
        during: Option<&Removing>,
    ) -> Result<Released, StoreError> {
        let kept = row.seats.iter().filter(|seat| !given_up.contains(seat)).cloned().collect();
        let after = row.with_chunk(kept, |block| block.releasing.extend(given_up.iter().cloned()));
        let mut items = vec![self.replace_chunk(Some(row), &after)?];
        for seat in given_up {
            items.push(self.give_up(&row.reservation_id, seat)?);
        }
        match self.chunk_transaction(items, during).await? {
            Ok(()) => Ok(Released::Done(Box::new(after))),
            Err(reasons) if during.is_some() && reasons.last().is_some_and(failed) => Ok(Released::Superseded),
            Err(reasons) if reasons.iter().any(failed) => Ok(Released::Overtaken),
            Err(reasons) => Err(busy(&reasons)),
        }
    }

    /// Forgets what was released, once Redis knows it; a chunk with nothing left goes. A chunk that has changed stays as it
    /// is, for the next to look at.
    ///
    /// # Errors
    /// When the table gives no usable answer; calling again is safe.
    pub async fn released(&self, row: &ReservationRow) -> Result<(), StoreError> {
        let item = if row.seats.is_empty() {
            let delete = aws_sdk_dynamodb::types::Delete::builder()
                .table_name(&self.table.name)
                .set_key(Some(keys::primary(keys::reservation(&row.reservation_id), keys::ALONE)))
                .condition_expression("seats = :seats AND #block = :block")
                .expression_attribute_names("#block", "block")
                .expression_attribute_values(":seats", seats(row)?)
                .expression_attribute_values(":block", block(row)?);
            let delete = delete.build().map_err(StoreError::corrupt)?;
            TransactWriteItem::builder().delete(delete).build()
        } else {
            self.replace_chunk(Some(row), &row.with_chunk(row.seats.clone(), |block| block.releasing.clear()))?
        };
        match self.transact(vec![item]).await? {
            Ok(()) => Ok(()),
            Err(reasons) if reasons.iter().any(failed) => Ok(()),
            Err(reasons) => Err(busy(&reasons)),
        }
    }

    async fn chunk_transaction(
        &self,
        mut items: Vec<TransactWriteItem>,
        during: Option<&Removing>,
    ) -> Result<Result<(), Vec<CancellationReason>>, StoreError> {
        if let Some(removing) = during {
            items.push(self.still_removing(removing)?);
        }
        self.transact(items).await
    }

    fn replace_chunk(
        &self,
        before: Option<&ReservationRow>,
        after: &ReservationRow,
    ) -> Result<TransactWriteItem, StoreError> {
        let Some(before) = before else { return self.put_once(after) };
        let put = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(after.to_item()?))
            .condition_expression("seats = :seats AND #block = :block")
            .expression_attribute_names("#block", "block")
            .expression_attribute_values(":seats", seats(before)?)
            .expression_attribute_values(":block", block(before)?)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(StoreError::corrupt)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}

fn block(row: &ReservationRow) -> Result<AttributeValue, StoreError> {
    serde_dynamo::to_attribute_value(&row.block).map_err(StoreError::corrupt)
}
