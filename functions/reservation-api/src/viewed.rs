//! The use case: a view of an event is counted, and all of them are told: those the table has, and those that Redis has not
//! written back yet. While Redis is away nothing is counted.

use shared::causes::chain;
use shared::domain::ids::EventId;
use shared::dynamodb::StoreError;
use shared::redis::RedisError;

use crate::copies::{Copies, Missed};
use crate::moment::Moment;
use crate::seat_map::{Refusal, unavailable};
use crate::{App, without_redis};

/// Events whose stored views are remembered for a moment.
pub const MAX_EVENTS: usize = 1_000;

/// Views the table has of events of which Redis does not know it: a crowd that finds that shares one read, and nobody an
/// earlier one, since Redis was lost after that.
pub type StoredViews = Copies<EventId, u64, Unlearned>;

/// Why Redis has not learned what the table has.
#[derive(Debug, thiserror::Error)]
pub enum Unlearned {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// Counts a view: one Redis command, and once after Redis was lost a read of the table. Without the table only what Redis
/// knows is told: a page is not refused for a number.
pub async fn viewed(app: &App, event: &EventId) -> Result<u64, Refusal> {
    if app.without_redis.is_away() {
        return without_redis::views(app, event).await;
    }
    let counted = match app.views.count(event).await {
        Err(error) if without_redis::begins(app, &error) => return without_redis::views(app, event).await,
        counted => counted.map_err(unavailable)?,
    };
    if let Some(stored) = counted.stored {
        return Ok(stored + counted.pending);
    }
    let learn = |events: Vec<EventId>| {
        let app = app.clone();
        async move { learn(&app, &events).await }
    };
    let stored = match app.stored_views.get(std::slice::from_ref(event), 1, learn).await {
        Ok(copies) => copies.first().map_or(0, |copy| *copy.value),
        Err(missed) => {
            let why = match &missed {
                Missed::TooLate => "another one's read was not done in time".to_owned(),
                Missed::Failed(error) => chain(error),
            };
            tracing::warn!(event_id = %event, error = why, "views of before are not told");
            return Ok(counted.pending);
        }
    };
    // Read again: what was on its way may have arrived, and would count twice.
    let counted = app.views.look(event).await.map_err(unavailable)?;
    Ok(counted.stored.unwrap_or(stored) + counted.pending)
}

/// Reads what the table has, and tells Redis; unless somebody has told it meanwhile.
async fn learn(app: &App, events: &[EventId]) -> Result<(Vec<u64>, Moment), Unlearned> {
    let at = Moment::now();
    let mut stored = Vec::with_capacity(events.len());
    for event in events {
        if let Some(told) = app.views.look(event).await?.stored {
            stored.push(told);
            continue;
        }
        let total = app.view_counts.total(event).await?;
        app.views.stored(event, total.views, &total.batch, false).await?;
        stored.push(total.views);
    }
    Ok((stored, at))
}
