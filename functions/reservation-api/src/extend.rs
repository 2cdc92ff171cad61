//! The use case: the owner prolongs a hold, once, because paying takes longer; never past the total the event names.

use shared::domain::ids::{CustomerId, ReservationId};
use shared::domain::reservation::Status;
use shared::dynamodb::changes::Change;
use shared::dynamodb::rows::ReservationRow;

use crate::App;
use crate::known::{self, MAX_ROUNDS, Patience, Refusal, State, Whose};

/// Prolongs a hold.
pub async fn extend(app: &App, caller: &CustomerId, id: &ReservationId) -> Result<ReservationRow, Refusal> {
    let known = known::find(app, id, caller, Whose::Owner).await?;
    let State::Stored(mut row) = known.state.clone() else { return Err(Refusal::Pending { id: id.clone() }) };
    // A hold is prolonged by the clock that ends it, and by no other.
    let now_ms = known.now_ms.ok_or_else(|| Refusal::unavailable(id, "redis is away, and the clock with it"))?;
    let document = &known.event.document;
    let mut patience = Patience::default();
    for _ in 0..MAX_ROUNDS {
        let longest = row.held_at_ms + i64::from(document.longest_hold_seconds()) * 1_000;
        let expires_at_ms = longest.min(row.expires_at_ms + i64::from(document.extend_seconds) * 1_000);
        let refusal = match row.status.read_at(row.expires_at_ms, Some(now_ms)) {
            Status::Expired => Some(Refusal::expired(id)),
            Status::Held if row.extended => Some(Refusal::AlreadyExtended { id: id.clone() }),
            Status::Held if expires_at_ms > row.expires_at_ms => None,
            _ => Some(Refusal::NotExtendable { id: id.clone() }),
        };
        if let Some(refusal) = refusal {
            known.remind(app, &row).await;
            return Err(refusal);
        }
        match app.repository.extend(&row, expires_at_ms, now_ms).await {
            Ok(Change::Done(prolonged)) => {
                known.settle(app, &prolonged).await;
                return Ok(prolonged);
            }
            Ok(Change::Refused(stored)) => row = stored,
            Ok(Change::Lost) => return Err(Refusal::expired(id)),
            Err(error) => {
                if !patience.again(&error).await {
                    return Err(Refusal::unavailable(id, error));
                }
            }
        }
    }
    Err(Refusal::unavailable(id, "the reservation kept changing"))
}
