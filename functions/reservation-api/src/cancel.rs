//! The use case: the owner gives a reservation up, before it is stored, while it is held, or after it was paid for as long
//! as the event allows.

use shared::clock;
use shared::domain::ids::{CustomerId, ReservationId};
use shared::domain::reservation::{Decision, Outcome, Status, Step};
use shared::dynamodb::changes::End;
use shared::dynamodb::rows::ReservationRow;

use crate::App;
use crate::known::{self, MAX_ROUNDS, Patience, Refusal, State, Whose};

/// Cancels; cancelling again changes nothing and is no error.
pub async fn cancel(app: &App, caller: &CustomerId, id: &ReservationId) -> Result<ReservationRow, Refusal> {
    let known = known::find(app, id, caller, Whose::Owner).await?;
    let now_ms = known.now_ms.unwrap_or_else(clock::wall_ms);
    let mut row = match &known.state {
        State::Stored(row) => row.clone(),
        // A row where there was none: the message that comes finds it, and makes nothing.
        State::Pending(request) => {
            let cancelled = ReservationRow::new(request, Decision::plain(Outcome::Cancelled));
            let stored = app.repository.put_unless_stored(cancelled).await;
            stored.map_err(|error| Refusal::unavailable(id, error))?
        }
    };
    let mut patience = Patience::default();
    for _ in 0..MAX_ROUNDS {
        match row.status.read_at(row.expires_at_ms, known.now_ms) {
            Status::Held => {}
            Status::Confirmed => {
                let until = known.event.document.cancellable_until;
                if until.is_none_or(|until| until.as_millisecond() <= now_ms) {
                    known.remind(app, &row).await;
                    return Err(Refusal::NotCancellable { id: id.clone() });
                }
            }
            status => {
                known.remind(app, &row).await;
                return match status {
                    Status::Cancelled => Ok(row),
                    Status::Expired => Err(Refusal::expired(id)),
                    _ => Err(Refusal::NotHeld { id: id.clone() }),
                };
            }
        }
        match app.repository.end(&row, Step::Cancel, now_ms).await {
            Ok(End::Ended(ended)) => {
                known.settle(app, &ended).await;
                return Ok(ended);
            }
            Ok(End::Unchanged(stored)) => row = stored,
            Err(error) => {
                if !patience.again(&error).await {
                    return Err(Refusal::unavailable(id, error));
                }
            }
        }
    }
    Err(Refusal::unavailable(id, "the reservation kept changing"))
}
