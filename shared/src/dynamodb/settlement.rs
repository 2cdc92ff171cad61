//! What days have come to. Of each confirmed reservation the sale counts on the day of its confirmation and the refund on
//! that of its cancelling, both in the zone of the event, and both once: a page of reservations is marked in the very
//! transaction that adds it to its day.
//!
//! Two conditions stand in it. The marks refuse whatever has been counted, or has changed since it was read. The fence,
//! a number that each run takes from the job's item, refuses the pages of an older run, whenever they arrive.
//!
//! What is to be settled stands in the index `due` under the moment its day ends, so nothing is looked at before. It is put
//! there by the transaction that confirms or cancels, and taken out by the page that counts it: the index is the job's list
//! and its cursor; what is written late is found by the next run. Beside it the job's item keeps the shard it worked in.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, TransactWriteItem, Update};
use jiff::civil::Date;

use super::reservations::Repository;
use super::rows::{Item, ReservationRow, Settled};
use super::to_settle::{MAX_PAGE, NUMBERS, Page, Sums};
use super::transaction::{build, busy, failed, number, text};
use super::{StoreError, Table, keys, store_error};
use crate::domain::ids::{EventId, ReservationId};
use crate::domain::money::Currency;

/// The job under whose name the fence stands.
const JOB: &str = "settle";
/// It is one for all events.
const SCOPE: &str = "all";
/// Sections of days that one report reads, all days together: as JSON or CSV they stay below a Lambda's answer of 6 MB.
pub const MAX_LINES: usize = 30_000;

/// A day of an event, in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledDay {
    /// Its date in the event's zone.
    pub date: Date,
    /// In which currency.
    pub currency: Currency,
    /// What each section has come to.
    pub sections: BTreeMap<String, Sums>,
}

/// A run of the job: what it took with the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Refuses the pages of earlier runs.
    pub fence: u64,
    /// The shard in which the last page was written; `None` = none ever was.
    pub shard: Option<char>,
}

/// Where an index page ends.
#[derive(Debug, Clone)]
pub struct Place(Item);

/// A page of what is due.
#[derive(Debug)]
pub struct Due {
    /// Which reservations.
    pub ids: Vec<ReservationId>,
    /// Where the next page begins; `None` = the end.
    pub next: Option<Place>,
}

/// What counting a page says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counted {
    /// It is counted; the rows as they are now.
    Done(Vec<ReservationRow>),
    /// A row has changed since it was read, or has been counted. Nothing is.
    Changed,
    /// A later run has begun. Nothing is counted.
    Overtaken,
}

/// Reads and writes what days have come to. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Settlements {
    table: Table,
    repository: Repository,
}

impl Settlements {
    /// Over this table.
    pub fn new(table: Table) -> Self {
        Self { repository: Repository::new(table.clone()), table }
    }

    /// Begins a run: whoever began an earlier one counts nothing any more. To be called under the lock, before anything is
    /// read.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn begin(&self) -> Result<Turn, StoreError> {
        let request = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(keys::primary(keys::job(JOB, SCOPE), keys::ALONE)))
            .update_expression("ADD fence :one")
            .expression_attribute_values(":one", number(1))
            .return_values(ReturnValue::AllNew);
        let item = request.send().await.map_err(store_error)?.attributes.unwrap_or_default();
        let fence = item.get("fence").and_then(|value| value.as_n().ok()).and_then(|fence| fence.parse().ok());
        let fence = fence.ok_or_else(|| StoreError::corrupt("the job's item has no fence"))?;
        let shard = item.get("cursor").and_then(|value| value.as_s().ok()).and_then(|shard| shard.chars().next());
        Ok(Turn { fence, shard })
    }

    /// Reservations of one shard of which something is of a day that ended before `until_ms`, the oldest day first, at most
    /// [`MAX_PAGE`]. Lags by the index: the rows decide.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn due(&self, shard: char, until_ms: i64, after: Option<Place>) -> Result<Due, StoreError> {
        let (limit, from) = (i32::try_from(MAX_PAGE).unwrap_or(i32::MAX), after.map(|Place(key)| key));
        let (ids, next) = self.table.due(keys::due_settle(shard), until_ms, limit, from).await?;
        Ok(Due { ids, next: next.map(Place) })
    }

    /// Counts a page: one transaction over its day, its reservations, and the job's item with fence and shard.
    ///
    /// # Errors
    /// When the table gives no usable answer; it may be counted then, and the rows tell.
    pub async fn count(&self, turn: Turn, shard: char, page: &Page) -> Result<Counted, StoreError> {
        let mut items = vec![self.step(turn, shard)?, self.add_to_day(page)?];
        let mut after = Vec::with_capacity(page.rows.len());
        for (row, settling) in &page.rows {
            let settled = row.after(*settling);
            items.push(self.mark(row, &settled)?);
            after.push(settled);
        }
        match self.repository.transact(items).await? {
            Ok(()) => Ok(Counted::Done(after)),
            Err(reasons) if reasons.first().is_some_and(failed) => Ok(Counted::Overtaken),
            Err(reasons) if reasons.iter().any(failed) => Ok(Counted::Changed),
            Err(reasons) => Err(busy(&reasons)),
        }
    }

    fn step(&self, turn: Turn, shard: char) -> Result<TransactWriteItem, StoreError> {
        let update = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(keys::primary(keys::job(JOB, SCOPE), keys::ALONE)))
            .update_expression("SET #cursor = :shard")
            .condition_expression("fence = :fence")
            .expression_attribute_names("#cursor", "cursor")
            .expression_attribute_values(":shard", text(&shard.to_string()))
            .expression_attribute_values(":fence", number(turn.fence));
        build(update)
    }

    fn add_to_day(&self, page: &Page) -> Result<TransactWriteItem, StoreError> {
        let mut update = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(keys::primary(keys::settled(&page.event), keys::settled_day(page.date, page.currency))));
        let mut added = Vec::new();
        for (section, mut sums) in page.sums() {
            for (name, value) in NUMBERS.into_iter().zip(sums.numbers()) {
                if *value > 0 {
                    let at = added.len();
                    update = update
                        .expression_attribute_names(format!("#{at}"), format!("{section}.{name}"))
                        .expression_attribute_values(format!(":{at}"), number(*value));
                    added.push(format!("#{at} :{at}"));
                }
            }
        }
        build(update.update_expression(format!("ADD {}", added.join(","))))
    }

    /// Marks a row, if it is as it was read: not counted further, and neither cancelled meanwhile.
    fn mark(&self, row: &ReservationRow, after: &ReservationRow) -> Result<TransactWriteItem, StoreError> {
        let mut update = self
            .repository
            .update_row(&row.reservation_id)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":status", text(row.status.as_str()))
            .expression_attribute_values(":settled", text(after.settled.map_or("", Settled::as_str)));
        let condition = match row.settled {
            None => "#status = :status AND attribute_not_exists(settled)",
            Some(before) => {
                update = update.expression_attribute_values(":before", text(before.as_str()));
                "#status = :status AND settled = :before"
            }
        };
        let expression = match &after.due_at {
            None => "SET settled = :settled REMOVE due_shard, due_at",
            Some(due_at) => {
                update = update.expression_attribute_values(":due_at", text(due_at));
                "SET settled = :settled, due_at = :due_at"
            }
        };
        build(update.update_expression(expression).condition_expression(condition))
    }

    /// The settled days of an event, the earliest first; `None` = they have more than [`MAX_LINES`] sections together.
    /// Strongly consistent.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn days(&self, event: &EventId) -> Result<Option<Vec<SettledDay>>, StoreError> {
        let (mut days, mut lines, mut from): (Vec<SettledDay>, usize, Option<HashMap<String, AttributeValue>>) =
            (Vec::new(), 0, None);
        loop {
            let answer = self
                .table
                .client
                .query()
                .table_name(&self.table.name)
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", text(&keys::settled(event)))
                .consistent_read(true)
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(store_error)?;
            for item in answer.items.unwrap_or_default() {
                let day = settled_day(&item)?;
                lines += day.sections.len();
                days.push(day);
            }
            if lines > MAX_LINES {
                return Ok(None);
            }
            from = answer.last_evaluated_key;
            if from.is_none() {
                return Ok(Some(days));
            }
        }
    }
}

fn settled_day(item: &Item) -> Result<SettledDay, StoreError> {
    let sk = item.get("sk").and_then(|value| value.as_s().ok()).ok_or_else(|| StoreError::corrupt("no sk"))?;
    let (date, currency) = keys::day_of(sk).map_err(StoreError::corrupt)?;
    let mut sections: BTreeMap<String, Sums> = BTreeMap::new();
    for (attribute, value) in item {
        let Some((section, name)) = attribute.rsplit_once('.') else { continue };
        let at = NUMBERS.iter().position(|number| *number == name);
        let value = value.as_n().ok().and_then(|value| value.parse().ok());
        let (Some(at), Some(value)) = (at, value) else {
            return Err(StoreError::corrupt(format!("a settled day has {attribute}")));
        };
        *sections.entry(section.to_owned()).or_default().numbers()[at] = value;
    }
    Ok(SettledDay { date, currency, sections })
}
