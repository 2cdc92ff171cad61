//! The use cases: a page of a customer's reservations, and a page of events.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared::domain::Invalid;
use shared::domain::ids::{CustomerId, EventId};
use shared::domain::reservation::Status;
use shared::dynamodb::StoreError;
use shared::dynamodb::keys;
use shared::dynamodb::rows::ReservationRow;

use crate::App;
use crate::events_list::{Listed, Unlisted};
use crate::seat_map::Freshness;

/// Entries of a page where the caller does not say, and at most.
const DEFAULT_LIMIT: i32 = 50;
const MAX_LIMIT: i32 = 100;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Unlisted(#[from] Unlisted),
}

/// Which page is asked for.
#[derive(Debug, Clone, Default)]
pub struct PageQuery {
    /// Entries wanted.
    pub limit: Option<String>,
    /// Where the page begins: what an earlier one answered.
    pub cursor: Option<String>,
}

impl PageQuery {
    /// How many entries, within bounds.
    pub fn limit(&self) -> Result<i32, Invalid> {
        let Some(text) = &self.limit else { return Ok(DEFAULT_LIMIT) };
        let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit.ok_or_else(|| Invalid::new("limit", format!("must be 1 to {MAX_LIMIT}")))
    }

    /// What the cursor carries; the lists say whether it is one of theirs.
    pub fn cursor(&self) -> Result<Option<Vec<u8>>, Invalid> {
        let decoded = self.cursor.as_deref().map(|text| URL_SAFE_NO_PAD.decode(text));
        decoded.transpose().map_err(|_| bad_cursor())
    }
}

/// Any cursor that this list has not answered.
pub fn bad_cursor() -> Invalid {
    Invalid::new("cursor", "must be one that an earlier page answered")
}

/// One page of a customer's reservations, newest first, each with its status as it reads now. Lags by an index.
pub async fn reservations(
    app: &App,
    caller: &CustomerId,
    query: &PageQuery,
) -> Result<(Vec<(ReservationRow, Status)>, Option<String>), Refusal> {
    let after: Option<HashMap<String, String>> = match query.cursor()? {
        Some(json) => Some(serde_json::from_slice(&json).map_err(|_| bad_cursor())?),
        None => None,
    };
    if after.as_ref().is_some_and(|key| !is_key_of(caller, key)) {
        return Err(bad_cursor().into());
    }
    let (page, now) = tokio::join!(app.repository.of_customer(caller, query.limit()?, after), app.redis.now_ms());
    let page = page?;
    // Without Redis there is no clock to read by, and a hold reads as it is stored.
    let now_ms = now.ok();
    let next = page.next.map(|key| URL_SAFE_NO_PAD.encode(serde_json::to_vec(&key).unwrap_or_default()));
    let read = |row: ReservationRow| {
        let status = row.status.read_at(row.expires_at_ms, now_ms);
        (row, status)
    };
    // The organiser's blocks are nobody's reservations.
    let rows = page.rows.into_iter().filter(|row| row.block.is_none());
    Ok((rows.map(read).collect(), next))
}

/// Whether a cursor is a key of the index, and of this caller's part of it: it comes from outside.
fn is_key_of(caller: &CustomerId, key: &HashMap<String, String>) -> bool {
    let field = |name: &str| key.get(name).map_or("", String::as_str);
    key.len() == 4
        && keys::reservation_id(field("pk")).is_ok()
        && field("sk") == keys::ALONE
        && field("customer") == caller.as_str()
        && !field("created_at_id").is_empty()
}

/// One page of events, by id.
pub async fn events(app: &App, query: &PageQuery, freshness: Freshness) -> Result<Arc<Listed>, Refusal> {
    let after = match query.cursor()? {
        Some(bytes) => {
            let id = String::from_utf8(bytes).map_err(|_| bad_cursor())?;
            Some(EventId::parse(&id).map_err(|_| bad_cursor())?)
        }
        None => None,
    };
    Ok(app.events_list.page(app, query.limit()?, after, freshness).await?)
}

/// The cursor of the page that begins after this event.
pub fn cursor_after(last: Option<&EventId>) -> Option<String> {
    last.map(|id| URL_SAFE_NO_PAD.encode(id.as_str()))
}
