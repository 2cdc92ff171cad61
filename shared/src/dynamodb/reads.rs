//! What is read of reservations: one by its id, a page of a customer's or of one shard of an event's, what is due, and the
//! taken seats of a partition.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::reservations::Repository;
use super::rows::{Item, ReservationRow, SeatItem, SeatItemState};
use super::{StoreError, keys, store_error};
use crate::causes::chain;
use crate::domain::event::{Seat, TakenSeat, TakenState};
use crate::domain::ids::{CustomerId, EventId, ReservationId};
use crate::domain::reservation::Status;
use crate::redis::truth::{SeatState, Truth};

/// Rows one page of a list or of a job's query reads at most.
pub const MAX_PAGE: i32 = 100;

/// Rows of one page, and where the next begins.
#[derive(Debug, Clone)]
pub struct Page {
    /// The rows that can be read.
    pub rows: Vec<ReservationRow>,
    /// Key after which the next page begins; `None` = the end.
    pub next: Option<HashMap<String, String>>,
}

/// Rows of one shard of an event's reservations.
#[derive(Debug, Clone)]
pub struct ShardPage {
    /// The rows that can be read.
    pub rows: Vec<ReservationRow>,
    /// How many cannot.
    pub unreadable: usize,
    /// The `created_at_id` before which it goes on; `None` = the end.
    pub next: Option<String>,
}

impl Repository {
    /// The row of a reservation, if there is one. Strongly consistent.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn get(&self, id: &ReservationId) -> Result<Option<ReservationRow>, StoreError> {
        let item = self.table.get(keys::reservation(id), keys::ALONE, true).await?;
        item.map(ReservationRow::from_item).transpose()
    }

    /// The rows of these reservations: those there are; `None` = one that cannot be read, which keeps nobody else waiting.
    /// Strongly consistent.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn get_all(
        &self,
        ids: Vec<ReservationId>,
    ) -> Result<HashMap<ReservationId, Option<ReservationRow>>, StoreError> {
        let keys = ids.iter().map(|id| keys::primary(keys::reservation(id), keys::ALONE)).collect();
        let items = self.table.batch_get(keys).await?;
        items.into_iter().map(|item| Ok((id_of(&item)?, readable(item)))).collect()
    }

    /// A customer's reservations, newest first, of at most `limit` rows. Lags by the index.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn of_customer(
        &self,
        customer: &CustomerId,
        limit: i32,
        after: Option<HashMap<String, String>>,
    ) -> Result<Page, StoreError> {
        let start = after.map(|key| key.into_iter().map(|(name, value)| (name, AttributeValue::S(value))).collect());
        let answer = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .index_name(keys::BY_CUSTOMER)
            .key_condition_expression("customer = :customer")
            .expression_attribute_values(":customer", AttributeValue::S(customer.to_string()))
            .scan_index_forward(false)
            .limit(limit.clamp(1, MAX_PAGE))
            .set_exclusive_start_key(start)
            .send()
            .await
            .map_err(store_error)?;
        let rows = answer.items.unwrap_or_default().into_iter().filter_map(readable).collect();
        Ok(Page { rows, next: answer.last_evaluated_key.map(text_key) })
    }

    /// One shard of an event's reservations, newest first, at most `limit` of those that stand before the `created_at_id`
    /// `before` (`None` = from the newest on). Lags by the index.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn of_event(
        &self,
        event: &EventId,
        shard: char,
        before: Option<&str>,
        limit: i32,
    ) -> Result<ShardPage, StoreError> {
        let condition = match before {
            Some(_) => "event_shard = :shard AND created_at_id < :before",
            None => "event_shard = :shard",
        };
        let before = before.map(|before| (":before".to_owned(), AttributeValue::S(before.to_owned())));
        let mut values = HashMap::from_iter(before);
        values.insert(":shard".to_owned(), AttributeValue::S(keys::event_shard(event, shard)));
        let answer = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .index_name(keys::BY_EVENT)
            .key_condition_expression(condition)
            .set_expression_attribute_values(Some(values))
            .scan_index_forward(false)
            .limit(limit.clamp(1, MAX_PAGE))
            .send()
            .await
            .map_err(store_error)?;
        let items = answer.items.unwrap_or_default();
        let count = items.len();
        let rows: Vec<ReservationRow> = items.into_iter().filter_map(readable).collect();
        let unreadable = count - rows.len();
        let next = match answer.last_evaluated_key.map(text_key) {
            Some(mut key) => {
                Some(key.remove("created_at_id").ok_or_else(|| StoreError::corrupt("a key without created_at_id"))?)
            }
            None => None,
        };
        Ok(ShardPage { rows, unreadable, next })
    }

    /// Reservations of one shard whose hold ended before `until_ms`, the oldest first, at most [`MAX_PAGE`].
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn due_to_expire(&self, shard: char, until_ms: i64) -> Result<Vec<ReservationId>, StoreError> {
        let (due, _) = self.table.due(keys::due_expire(shard), until_ms, MAX_PAGE, None).await?;
        Ok(due)
    }

    /// The items of these seats, at most 100: those that are taken. Strongly consistent.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn seat_items(&self, event: &EventId, seats: &[Seat]) -> Result<Vec<SeatItem>, StoreError> {
        let key = |seat: &Seat| {
            let (pk, sk) = keys::seat(event, seat);
            keys::primary(pk, sk)
        };
        let items = self.table.batch_get(seats.iter().map(key).collect()).await?;
        items.into_iter().map(SeatItem::from_item).collect()
    }

    /// The truth of a reservation, with each seat as it is stored right now: for who cannot know what came after it.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn truth_of(&self, row: &ReservationRow) -> Result<Truth, StoreError> {
        let mut truth = row.truth(&[]);
        let stored = self.seat_items(&row.reservation_id.event(), &row.seats).await?;
        for (seat, state) in &mut truth.seats {
            match stored.iter().find(|item| item.seat == *seat) {
                Some(item) => *state = item.seat_state(),
                None if row.status == Status::Cancelled => {}
                None => *state = SeatState::Free,
            }
        }
        Ok(truth)
    }

    /// The taken seats of one load partition. Strongly consistent; reads only what is taken.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn taken(&self, event: &EventId, section: &str, partition: u32) -> Result<Vec<TakenSeat>, StoreError> {
        self.taken_seats(event, section, partition, true).await
    }

    /// The same for who only looks: may lag, and costs half.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn taken_lately(
        &self,
        event: &EventId,
        section: &str,
        partition: u32,
    ) -> Result<Vec<TakenSeat>, StoreError> {
        self.taken_seats(event, section, partition, false).await
    }

    async fn taken_seats(
        &self,
        event: &EventId,
        section: &str,
        partition: u32,
        strongly: bool,
    ) -> Result<Vec<TakenSeat>, StoreError> {
        let answer = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(keys::seats(event, section, partition)))
            .consistent_read(strongly)
            .send()
            .await
            .map_err(store_error)?;
        // 200 items of some 200 bytes: one page by far (1 MB), so a second one means the table is not what we think.
        if answer.last_evaluated_key.is_some() {
            return Err(StoreError::corrupt("a seat partition has more than one page"));
        }
        let seats = answer.items.unwrap_or_default().into_iter().map(|item| SeatItem::from_item(item).map(taken_seat));
        seats.collect()
    }
}

/// The reservation an item is of.
pub(super) fn id_of(item: &Item) -> Result<ReservationId, StoreError> {
    let pk = item.get("pk").and_then(|value| value.as_s().ok()).ok_or_else(|| StoreError::corrupt("no pk"))?;
    keys::reservation_id(pk).map_err(StoreError::corrupt)
}

/// The row, where it can be read: one that cannot keeps nobody else waiting.
fn readable(item: Item) -> Option<ReservationRow> {
    let pk = item.get("pk").and_then(|value| value.as_s().ok()).cloned();
    let row = ReservationRow::from_item(item);
    row.inspect_err(|error| tracing::error!(pk, error = chain(error), "a reservation cannot be read")).ok()
}

fn taken_seat(item: SeatItem) -> TakenSeat {
    let owner = item.reservation_id.uuid().to_owned();
    let state = match item.state {
        SeatItemState::Held => TakenState::Held { owner, expires_at_ms: item.expires_at_ms },
        SeatItemState::Confirmed => TakenState::Sold { owner },
        SeatItemState::Blocked => TakenState::Blocked { owner },
    };
    TakenSeat { number: item.seat.number, state }
}

fn text_key(key: Item) -> HashMap<String, String> {
    key.into_iter().filter_map(|(name, value)| value.as_s().ok().cloned().map(|value| (name, value))).collect()
}
