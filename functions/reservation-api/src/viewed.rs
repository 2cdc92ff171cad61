//! The use case: a view of an event is counted, and all of them are told: those the table has, and those that Redis has not
//! written back yet.

use shared::domain::ids::EventId;

use crate::App;

/// Counts a view: one Redis command, and once after Redis was lost a read of the table.
pub async fn viewed(app: &App, event: &EventId) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    let counted = app.views.count(event).await?;
    if let Some(stored) = counted.stored {
        return Ok(stored + counted.pending);
    }
    let total = app.view_counts.total(event).await?;
    app.views.stored(event, total.views, &total.batch, false).await?;
    // Read again: what was on its way may have arrived, and would count twice.
    let counted = app.views.look(event).await?;
    Ok(counted.stored.unwrap_or(total.views) + counted.pending)
}
