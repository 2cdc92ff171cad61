//! The use case: a page of all reservations of an event, for its organiser. A block is one of them. Lags by an index.
//!
//! The index keeps an event in 16 shards, each in the order of time, and a page merges them, newest first. That costs 16
//! small queries at once where going shard by shard would cost one; but the organiser reads what was sold last first, an
//! event of a few reservations is one page after one round trip instead of 16, and a cursor is one place in one order.
//! An event's whole list reads some rows twice, which is cents.
//!
//! No page skips or repeats a row: a row never moves in that order, whatever becomes of it, and a page ends at a place
//! down to which every shard was read. What is written meanwhile is mostly newer than any page to come, so that paging
//! ends while the sale goes on.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use shared::domain::Invalid;
use shared::domain::ids::EventId;
use shared::domain::reservation::Status;
use shared::dynamodb::StoreError;
use shared::dynamodb::keys;
use shared::dynamodb::reads::MAX_PAGE;
use shared::dynamodb::reservations::Repository;
use shared::dynamodb::rows::ReservationRow;

use crate::App;
use crate::list::{PageQuery, bad_cursor};

/// Rounds of one page, each of at most a query a shard. One fills most pages, and three fill any page without a filter;
/// with one that little passes, the page is short.
const ROUNDS: u32 = 3;
/// Time after which a page begins no other round: with the last one's time-out well inside the invocation's.
const BUDGET: Duration = Duration::from_secs(3);
/// Rows a shard is asked for beyond twice its share of the page, so that the fullest shard seldom needs another round.
const SLACK: i32 = 4;
/// Rows a shard is asked for first where a filter drops some: at most 1,792 are read for a page, doubling each round.
const FILTERED: i32 = 16;
/// What can be asked for. A PENDING reservation has no row.
const LISTED: [Status; 5] = [Status::Held, Status::Confirmed, Status::Cancelled, Status::Expired, Status::Rejected];

/// [`LISTED`] in the API's description.
pub struct Listed;

impl utoipa::PartialSchema for Listed {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        let names = LISTED.map(Status::as_str);
        utoipa::openapi::Object::builder().schema_type(utoipa::openapi::Type::String).enum_values(Some(names)).into()
    }
}

impl utoipa::ToSchema for Listed {}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("no such event")]
    EventNotFound,
    #[error("not now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a cursor carries. It comes from outside, and is taken for this event and this filter only.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    status: Option<Status>,
    /// The `created_at_id` of the last row that was looked at; it names the event.
    before: String,
}

/// One page of an event's reservations, newest first, each with its status as it reads now; where `status` is given, only
/// those that read so. A page may be short, or empty: the end is where there is no cursor.
pub async fn reservations(
    app: &App,
    event: &EventId,
    status: Option<&str>,
    query: &PageQuery,
) -> Result<(Vec<(ReservationRow, Status)>, Option<String>), Refusal> {
    let wanted = status.map(listed).transpose()?;
    let limit = query.limit()?;
    let mut reached = query.cursor()?.map(|bytes| place(&bytes, event, wanted)).transpose()?;
    let (known, now) = tokio::join!(app.catalogue.get(event), app.redis.now_ms());
    if known.map_err(unavailable)?.is_none() {
        return Err(Refusal::EventNotFound);
    }
    // One clock for the filter and for what is shown. Without Redis there is none, and a hold reads as it is stored.
    let now_ms = now.ok();
    let began = Instant::now();
    let share = limit / keys::SHARDS.len() as i32;
    let mut batch = if wanted.is_some() { FILTERED } else { limit.min(2 * share + SLACK) };
    let mut merge = Merge::from(reached.as_deref());
    let mut page = Vec::new();
    for round in 0..ROUNDS {
        if round > 0 && began.elapsed() > BUDGET {
            break;
        }
        merge.read(&app.repository, event, batch).await.map_err(unavailable)?;
        while let Some(row) = merge.newest() {
            reached = Some(row.created_at_id().to_owned());
            let status = row.status.read_at(row.expires_at_ms, now_ms);
            if wanted.is_none_or(|wanted| wanted == status) {
                page.push((row, status));
            }
            if page.len() as i32 == limit {
                return Ok((page, if merge.is_over() { None } else { cursor(wanted, reached) }));
            }
        }
        if merge.is_over() {
            return Ok((page, None));
        }
        batch = (2 * batch).min(MAX_PAGE);
    }
    // A cursor left out would be an end that is none.
    let next =
        cursor(wanted, reached).ok_or_else(|| unavailable("the index said there was more and showed nothing"))?;
    Ok((page, Some(next)))
}

fn listed(text: &str) -> Result<Status, Invalid> {
    let status = LISTED.into_iter().find(|status| status.as_str() == text);
    status.ok_or_else(|| {
        let names = LISTED.map(Status::as_str).join(", ");
        Invalid::new("status", format!("must be one of {names}"))
    })
}

fn place(bytes: &[u8], event: &EventId, wanted: Option<Status>) -> Result<String, Invalid> {
    let Place { status, before } = serde_json::from_slice(bytes).map_err(|_| bad_cursor())?;
    let id = keys::created(&before).map_err(|_| bad_cursor())?;
    if id.event() == *event && status == wanted { Ok(before) } else { Err(bad_cursor()) }
}

fn cursor(status: Option<Status>, reached: Option<String>) -> Option<String> {
    let place = Place { status, before: reached? };
    Some(URL_SAFE_NO_PAD.encode(serde_json::to_vec(&place).unwrap_or_default()))
}

fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Refusal {
    Refusal::Unavailable(error.into())
}

/// An event's shards side by side.
struct Merge(Vec<Shard>);

/// One shard from its newest row on.
struct Shard {
    name: char,
    /// Rows read and not yet taken, newest first.
    ahead: VecDeque<ReservationRow>,
    /// The place down to which it was read.
    read_to: Option<String>,
    /// Nothing is left to read.
    ended: bool,
}

impl Merge {
    /// The rows before this place, none of them read yet.
    fn from(before: Option<&str>) -> Self {
        let shard = |name| Shard { name, ahead: VecDeque::new(), read_to: before.map(str::to_owned), ended: false };
        Self(keys::SHARDS.map(shard).into())
    }

    /// Reads on, until every shard has so many rows ahead or has ended.
    async fn read(&mut self, repository: &Repository, event: &EventId, batch: i32) -> Result<(), StoreError> {
        let short = self.0.iter_mut().filter(|shard| !shard.ended && (shard.ahead.len() as i32) < batch);
        let reads: Vec<_> = short.map(|shard| shard.read(repository, event, batch)).collect();
        try_join_all(reads).await?;
        Ok(())
    }

    /// Takes the newest row, where it is known: a shard with nothing ahead and more to read may have a newer one.
    fn newest(&mut self) -> Option<ReservationRow> {
        if self.0.iter().any(|shard| shard.ahead.is_empty() && !shard.ended) {
            return None;
        }
        let newest = self.0.iter_mut().max_by(|one, other| one.head().cmp(&other.head()))?;
        newest.ahead.pop_front()
    }

    /// Whether every row was taken.
    fn is_over(&self) -> bool {
        self.0.iter().all(|shard| shard.ended && shard.ahead.is_empty())
    }
}

impl Shard {
    /// Where its newest row stands; nothing is less than any row.
    fn head(&self) -> Option<&str> {
        self.ahead.front().map(ReservationRow::created_at_id)
    }

    async fn read(&mut self, repository: &Repository, event: &EventId, batch: i32) -> Result<(), StoreError> {
        let missing = batch - self.ahead.len() as i32;
        let page = repository.of_event(event, self.name, self.read_to.as_deref(), missing).await?;
        self.ahead.extend(page.rows);
        self.ended = page.next.is_none();
        self.read_to = page.next;
        Ok(())
    }
}
