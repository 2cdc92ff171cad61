//! The use case: one reservation as its owner sees it. The row is the truth; before there is one, the record is.

use shared::domain::ids::{CustomerId, ReservationId};
use shared::domain::reservation::Status;
use shared::dynamodb::rows::ReservationRow;
use shared::message::Request;

use crate::App;

/// What is known of a reservation.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a request has one, and moves it twice")]
pub enum Shown {
    /// Accepted, and nothing stored yet.
    Pending(Request),
    /// Stored; the status is as it reads now.
    Stored(ReservationRow, Status),
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is none, or it is somebody else's.
    #[error("no such reservation")]
    NotFound,
    /// There may be one: Redis has lost its records, or cannot be asked, and the message may still be on its way.
    #[error("not now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Shows a reservation to its owner.
pub async fn show(app: &App, caller: &CustomerId, id: &ReservationId) -> Result<Shown, Refusal> {
    if app.catalogue.get(&id.event()).await.map_err(unavailable)?.is_none() {
        return Err(Refusal::NotFound);
    }
    let look = app.records.look(id).await;
    if let Some(row) = app.repository.get(id).await.map_err(unavailable)? {
        if row.customer != *caller || row.block.is_some() {
            return Err(Refusal::NotFound);
        }
        let now_ms = look.as_ref().ok().map(|look| look.now_ms);
        let status = row.status.read_at(row.expires_at_ms, now_ms);
        return Ok(Shown::Stored(row, status));
    }
    let look = look.map_err(unavailable)?;
    let known = look.absence_is_known();
    match look.request {
        Some(request) if request.customer == *caller => Ok(Shown::Pending(request)),
        Some(_) => Err(Refusal::NotFound),
        None if known => Err(Refusal::NotFound),
        None => Err(unavailable("redis has lost the event's records lately")),
    }
}

fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Refusal {
    Refusal::Unavailable(error.into())
}
