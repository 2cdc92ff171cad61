//! The use case: a view of an event is counted, and all of them are told: those the table has, and those that Redis has not
//! written back yet. While Redis is away nothing is counted.

use shared::causes::chain;
use shared::domain::ids::EventId;

use crate::seat_map::{Refusal, unavailable};
use crate::{App, without_redis};

/// Counts a view: one Redis command, and once after Redis was lost a read of the table. Without the table only what Redis
/// knows is told: a page is not refused for a number.
pub async fn viewed(app: &App, event: &EventId) -> Result<u64, Refusal> {
    if app.without_redis.is_away() {
        return without_redis::views(app, event).await;
    }
    let counted = match app.views.count(event).await {
        Err(error) if without_redis::begins(app, &error) => {
            return without_redis::views(app, event).await;
        }
        counted => counted.map_err(unavailable)?,
    };
    if let Some(stored) = counted.stored {
        return Ok(stored + counted.pending);
    }
    let total = match app.view_counts.total(event).await {
        Ok(total) => total,
        Err(error) => {
            tracing::warn!(event_id = %event, error = chain(&error), "views of before are not told");
            return Ok(counted.pending);
        }
    };
    app.views.stored(event, total.views, &total.batch, false).await.map_err(unavailable)?;
    // Read again: what was on its way may have arrived, and would count twice.
    let counted = app.views.look(event).await.map_err(unavailable)?;
    Ok(counted.stored.unwrap_or(total.views) + counted.pending)
}
