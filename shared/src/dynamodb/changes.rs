//! What becomes of a stored reservation: confirmed, prolonged, ended, booked once more. Each is one conditional transaction
//! over the row, its seats and what it counts; a refusal brings the row as it is stored.

use aws_sdk_dynamodb::types::{
    CancellationReason, ConditionCheck, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};

use super::reads::MAX_PAGE;
use super::reservations::Repository;
use super::rows::{ReservationRow, SeatItem, SeatItemState};
use super::transaction::{Taking, build, busy, failed, number, refused_item, refused_row, seats, text};
use super::{StoreError, keys};
use crate::domain::event::Seat;
use crate::domain::ids::{CustomerId, EventId};
use crate::domain::reservation::{Status, Step};

/// Transactions one `end` may need: it drops the seats others have taken over, all it learns of at a time.
const MAX_END_ROUNDS: usize = 4;
/// Pages of a customer's reservations, of 100 each, that are looked through for holds that ran out: more than a person has.
const MAX_PAGES: usize = 5;

/// What ending a reservation says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It is ended; the row as it is now.
    Ended(ReservationRow),
    /// It could not be ended that way any more; the row as it is.
    Unchanged(ReservationRow),
}

/// What confirming or prolonging says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is done, now or by an earlier call; the row as it is now.
    Done(ReservationRow),
    /// The row is not as the caller thought; as it is stored.
    Refused(ReservationRow),
    /// The hold had ended, and others have taken seats of it over.
    Lost,
}

/// What booking once more says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebook {
    /// The new reservation is stored, now or by an earlier call; as it is now.
    Stored(ReservationRow),
    /// The old row is not as the caller thought; as it is stored.
    Refused(ReservationRow),
    /// Others own these seats.
    Taken(Vec<SeatItem>),
    /// The customer has as many live seats as the event allows.
    LimitReached,
}

impl Repository {
    /// Confirms a hold that has not ended at `now_ms`; without a clock (`None`) on ownership alone: where nobody has taken
    /// the seats over, nobody is harmed. `zone` is the event's: the sale is settled on its day there.
    ///
    /// # Errors
    /// When the table gives no usable answer; calling again is safe.
    pub async fn confirm(
        &self,
        row: &ReservationRow,
        reference: Option<&str>,
        zone: &str,
        confirmed_at_ms: i64,
        now_ms: Option<i64>,
    ) -> Result<Change, StoreError> {
        let confirmed = row.confirmed(reference, zone, confirmed_at_ms);
        // The amount too: what is paid is what is stored, whatever a record made of a later body says.
        let mut condition = "#status = :held AND seats = :seats AND amount_cents = :amount".to_owned();
        let mut update = self
            .update_row(&row.reservation_id)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":amount", number(row.amount_cents.get()))
            .expression_attribute_values(":confirmed", text(Status::Confirmed.as_str()))
            .expression_attribute_values(":held", text(Status::Held.as_str()))
            .expression_attribute_values(":at", number(confirmed_at_ms))
            .expression_attribute_values(":zone", text(zone))
            .expression_attribute_values(":due_shard", text(confirmed.due_shard.as_deref().unwrap_or_default()))
            .expression_attribute_values(":due_at", text(confirmed.due_at.as_deref().unwrap_or_default()))
            .expression_attribute_values(":seats", seats(row)?);
        let mut expression = "SET #status = :confirmed, confirmed_at_ms = :at, time_zone = :zone, \
                              due_shard = :due_shard, due_at = :due_at"
            .to_owned();
        if let Some(reference) = reference {
            expression.push_str(", payment_reference = :reference");
            update = update.expression_attribute_values(":reference", text(reference));
        }
        if let Some(now_ms) = now_ms {
            condition.push_str(" AND expires_at_ms > :now");
            update = update.expression_attribute_values(":now", number(now_ms));
        }
        update = update.update_expression(expression).condition_expression(condition);
        let mut items = vec![build(update)?];
        for seat in &row.seats {
            let update = self
                .update_seat(&row.reservation_id, seat)
                .update_expression("SET #state = :confirmed")
                .expression_attribute_values(":confirmed", text(SeatItemState::Confirmed.as_str()));
            items.push(build(owned(update, row))?);
        }
        let same = |stored: &ReservationRow| {
            stored.status == Status::Confirmed && stored.payment_reference.as_deref() == reference
        };
        self.change(items, confirmed, same).await
    }

    /// Prolongs a hold that has not ended at `now_ms`, once, to `expires_at_ms`.
    ///
    /// # Errors
    /// When the table gives no usable answer; calling again is safe.
    pub async fn extend(&self, row: &ReservationRow, expires_at_ms: i64, now_ms: i64) -> Result<Change, StoreError> {
        let update = self
            .update_row(&row.reservation_id)
            .update_expression("SET expires_at_ms = :expires, #extended = :true, due_at = :due")
            .condition_expression(
                "#status = :held AND seats = :seats AND expires_at_ms > :now AND attribute_not_exists(#extended)",
            )
            .expression_attribute_names("#status", "status")
            // A reserved word.
            .expression_attribute_names("#extended", "extended")
            .expression_attribute_values(":held", text(Status::Held.as_str()))
            .expression_attribute_values(":seats", seats(row)?)
            .expression_attribute_values(":expires", number(expires_at_ms))
            .expression_attribute_values(":true", aws_sdk_dynamodb::types::AttributeValue::Bool(true))
            .expression_attribute_values(":due", text(&keys::sortable(expires_at_ms)))
            .expression_attribute_values(":now", number(now_ms));
        let mut items = vec![build(update)?];
        for seat in &row.seats {
            let update = self
                .update_seat(&row.reservation_id, seat)
                .update_expression("SET expires_at_ms = :expires")
                .expression_attribute_values(":expires", number(expires_at_ms));
            items.push(build(owned(update, row))?);
        }
        // The SDK may have asked twice, and been answered by its own first write.
        let same = |stored: &ReservationRow| stored.extended && stored.expires_at_ms == expires_at_ms;
        self.change(items, row.prolonged(expires_at_ms), same).await
    }

    async fn change(
        &self,
        items: Vec<TransactWriteItem>,
        changed: ReservationRow,
        is_ours: impl Fn(&ReservationRow) -> bool,
    ) -> Result<Change, StoreError> {
        let Err(reasons) = self.transact(items).await? else { return Ok(Change::Done(changed)) };
        match refused_row(&reasons, 0)? {
            Some(stored) if is_ours(&stored) => Ok(Change::Done(stored)),
            Some(stored) => Ok(Change::Refused(stored)),
            None if reasons.iter().any(failed) => Ok(Change::Lost),
            None => Err(busy(&reasons)),
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
        let counted = i64::try_from(row.counted).unwrap_or(0);
        let mut mine: Vec<&Seat> = row.seats.iter().collect();
        for _ in 0..MAX_END_ROUNDS {
            let mut items = vec![self.move_status(row, status, now_ms)?, self.count(row, -counted, None)?];
            for seat in &mine {
                items.push(self.give_up(&row.reservation_id, seat)?);
            }
            let Err(reasons) = self.transact(items).await? else { return Ok(End::Ended(row.ended(status, now_ms))) };
            if let Some(stored) = refused_row(&reasons, 0)? {
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

    /// Expires the holds of a customer that had ended at `now_ms`, among his newest [`MAX_PAGES`] pages: they count towards
    /// his limit until somebody ends them, and nobody may be refused for that.
    ///
    /// # Errors
    /// When the table gives no usable answer; calling again is safe.
    pub async fn end_what_ran_out(
        &self,
        event: &EventId,
        customer: &CustomerId,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let mut after = None;
        for _ in 0..MAX_PAGES {
            let page = self.of_customer(customer, MAX_PAGE, after).await?;
            let ran_out = page.rows.iter().filter(|row| {
                row.reservation_id.event() == *event
                    && row.status.after(Step::Expire).is_some()
                    && row.expires_at_ms <= now_ms
            });
            for row in ran_out {
                self.end(row, Step::Expire, now_ms).await?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn move_status(&self, row: &ReservationRow, to: Status, now_ms: i64) -> Result<TransactWriteItem, StoreError> {
        let mut update = self
            .update_row(&row.reservation_id)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":to", text(to.as_str()))
            .expression_attribute_values(":none", number(0))
            .expression_attribute_values(":from", text(row.status.as_str()))
            .expression_attribute_values(":now", number(now_ms))
            .expression_attribute_values(":seats", seats(row)?);
        let mut condition = "#status = :from AND seats = :seats".to_owned();
        if to == Status::Expired {
            condition.push_str(" AND expires_at_ms <= :now");
        }
        let mut expression = "SET #status = :to, counted = :none, ended_at_ms = :now".to_owned();
        if let Some((shard, at)) = row.refund_due(to, now_ms) {
            // Where something is due, that is the sale, and comes first; how far the job has come, only the table knows.
            expression.push_str(", due_shard = :due_shard, due_at = if_not_exists(due_at, :due_at)");
            update = update.expression_attribute_values(":due_shard", text(&shard));
            update = update.expression_attribute_values(":due_at", text(&at));
        } else {
            expression.push_str(" REMOVE due_shard, due_at");
        }
        build(update.update_expression(expression).condition_expression(condition))
    }

    /// Books a reservation whose hold ran out once more, as `new`, which is confirmed at once: the seats move where nobody
    /// has taken them over, the old row ends, and the customer's count moves by the difference. `limit` is the event's.
    ///
    /// # Errors
    /// When the table gives no usable answer; calling again is safe.
    pub async fn rebook(
        &self,
        old: &ReservationRow,
        new: &ReservationRow,
        limit: Option<u32>,
    ) -> Result<Rebook, StoreError> {
        let end = match old.status {
            Status::Held => self.move_status(old, Status::Expired, new.held_at_ms)?,
            _ => self.still(old)?,
        };
        let more = i64::try_from(new.counted).unwrap_or(0) - i64::try_from(old.counted).unwrap_or(0);
        let mut items = vec![self.put_once(new)?, end, self.count(new, more, limit)?];
        for seat in &new.seats {
            items.push(self.take(&Taking { row: new, state: SeatItemState::Confirmed }, seat)?);
        }
        let Err(reasons) = self.transact(items).await? else { return Ok(Rebook::Stored(new.clone())) };
        if let Some(stored) = refused_row(&reasons, 0)? {
            return Ok(Rebook::Stored(stored));
        }
        if let Some(stored) = refused_row(&reasons, 1)? {
            return Ok(Rebook::Refused(stored));
        }
        let taken = taken_seats(&reasons, 3)?;
        if !taken.is_empty() {
            return Ok(Rebook::Taken(taken));
        }
        if reasons.get(2).is_some_and(failed) { Ok(Rebook::LimitReached) } else { Err(busy(&reasons)) }
    }

    /// The condition that a row still stands where it stood.
    fn still(&self, row: &ReservationRow) -> Result<TransactWriteItem, StoreError> {
        let check = ConditionCheck::builder()
            .table_name(&self.table.name)
            .set_key(Some(keys::primary(keys::reservation(&row.reservation_id), keys::ALONE)))
            .condition_expression("#status = :status")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":status", text(row.status.as_str()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(StoreError::corrupt)?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }
}

/// Under the condition that the seat is held by this very reservation.
fn owned(
    update: aws_sdk_dynamodb::types::builders::UpdateBuilder,
    row: &ReservationRow,
) -> aws_sdk_dynamodb::types::builders::UpdateBuilder {
    update
        .condition_expression("reservation_id = :me AND #state = :held")
        .expression_attribute_names("#state", "state")
        .expression_attribute_values(":me", text(row.reservation_id.as_str()))
        .expression_attribute_values(":held", text(SeatItemState::Held.as_str()))
}

/// The seats that others own, of a cancelled transaction whose seats stand from `first` on.
pub(super) fn taken_seats(reasons: &[CancellationReason], first: usize) -> Result<Vec<SeatItem>, StoreError> {
    reasons.iter().skip(first).filter_map(refused_item).map(|item| SeatItem::from_item(item?)).collect()
}
