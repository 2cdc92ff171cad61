//! The use case: the caller's own seats of an event. Redis knows what was claimed a moment ago; the table knows what was
//! stored before Redis was lost. Both are asked, and Redis is believed where both know.

use shared::domain::ids::{CustomerId, EventId, ReservationId, SeatId};
use shared::domain::reservation::Status;
use shared::dynamodb::reads::MAX_PAGE;
use shared::redis::records::Having;

use crate::App;

/// Pages of the caller's reservations, of 100 each, that are looked through: more than a person has.
const MAX_PAGES: usize = 5;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("no such event")]
    EventNotFound,
    #[error("not now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// One of the caller's seats.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnSeat {
    /// The seat.
    pub seat: SeatId,
    /// Of which reservation.
    pub reservation: ReservationId,
}

/// The caller's claimed, held and sold seats, by id.
pub async fn mine(app: &App, caller: &CustomerId, event: &EventId) -> Result<Vec<(OwnSeat, Having)>, Refusal> {
    let known = app.catalogue.get(event).await.map_err(unavailable)?;
    known.ok_or(Refusal::EventNotFound)?;
    // Without Redis' clock nobody can say what is still held.
    let (claimed, now_ms) = app.records.of_customer(event, caller).await.map_err(unavailable)?;
    let mut own = Vec::new();
    let mut seen: Vec<ReservationId> = Vec::new();
    for mine in claimed {
        for seat in mine.seats {
            own.push((OwnSeat { seat, reservation: mine.id.clone() }, mine.having));
        }
        seen.push(mine.id);
    }
    let mut after = None;
    for _ in 0..MAX_PAGES {
        let page = app.repository.of_customer(caller, MAX_PAGE, after).await.map_err(unavailable)?;
        for row in page.rows.into_iter().filter(|row| row.block.is_none() && row.reservation_id.event() == *event) {
            let having = match row.status.read_at(row.expires_at_ms, Some(now_ms)) {
                Status::Held => Having::Held,
                Status::Confirmed => Having::Sold,
                _ => continue,
            };
            if !seen.contains(&row.reservation_id) {
                let seat = |seat: shared::domain::event::Seat| OwnSeat {
                    seat: seat.id,
                    reservation: row.reservation_id.clone(),
                };
                own.extend(row.seats.into_iter().map(|s| (seat(s), having)));
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    own.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(own)
}

fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Refusal {
    Refusal::Unavailable(error.into())
}
