//! The use case: what an event has come to. Its days are read as they have been settled, and the refunds that are owed from
//! its reservations.

use std::sync::Arc;

use shared::domain::event::Event;
use shared::domain::ids::EventId;
use shared::domain::reservation::Status;
use shared::dynamodb::keys::SHARDS;
use shared::dynamodb::reads::MAX_PAGE;
use shared::dynamodb::rows::ReservationRow;
use shared::dynamodb::settlement::SettledDay;

use crate::App;

use futures_util::{StreamExt, TryStreamExt, stream};

/// Shards of the event's index read at the same time.
const SHARDS_AT_ONCE: usize = 8;
/// Pages of one shard, of 100 reservations each: 16 shards of so many are an event's 200,000 seats sold one by one.
const MAX_PAGES: usize = 130;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("no such event")]
    EventNotFound,
    #[error("not now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The event, and its settled days, the earliest first.
pub async fn days(app: &App, event: &EventId) -> Result<(Arc<Event>, Vec<SettledDay>), Refusal> {
    let known = app.catalogue.get(event).await.map_err(|error| Refusal::Unavailable(error.into()))?;
    let known = known.ok_or(Refusal::EventNotFound)?;
    let days = app.settlements.days(event).await.map_err(|error| Refusal::Unavailable(error.into()))?;
    let days = days.ok_or_else(|| Refusal::Unavailable("the event has more days than a report reads".into()))?;
    Ok((known, days))
}

/// The reservations that were paid and then cancelled, the earliest first.
pub async fn refunds(app: &App, event: &EventId) -> Result<Vec<ReservationRow>, Refusal> {
    let shards: Vec<_> = SHARDS.into_iter().map(|shard| of_shard(app, event, shard)).collect();
    let found: Vec<Vec<ReservationRow>> = stream::iter(shards).buffer_unordered(SHARDS_AT_ONCE).try_collect().await?;
    let mut refunds: Vec<ReservationRow> = found.into_iter().flatten().collect();
    refunds.sort_by(|a, b| (a.ended_at_ms, a.created_at_id()).cmp(&(b.ended_at_ms, b.created_at_id())));
    Ok(refunds)
}

async fn of_shard(app: &App, event: &EventId, shard: char) -> Result<Vec<ReservationRow>, Refusal> {
    let mut refunds = Vec::new();
    let mut before: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let page = app.repository.of_event(event, shard, before.as_deref(), MAX_PAGE).await;
        let page = page.map_err(|error| Refusal::Unavailable(error.into()))?;
        if page.unreadable > 0 {
            // What may be owed is not left out silently.
            return Err(Refusal::Unavailable("a reservation of the event cannot be read".into()));
        }
        let paid_back = |row: &ReservationRow| row.status == Status::Cancelled && row.confirmed_at_ms.is_some();
        refunds.extend(page.rows.into_iter().filter(paid_back));
        before = page.next;
        if before.is_none() {
            return Ok(refunds);
        }
    }
    Err(Refusal::Unavailable("the event has more reservations than a report reads".into()))
}
