//! What a retry is told: an attempt under a key that Redis or the table already knows. It never claims a second time; at
//! most it closes an attempt whose claim has ended with nothing stored, so that its message, if it still comes, finds that.

use shared::causes::without_values;
use shared::domain::event::Event;
use shared::domain::ids::{ReservationId, SeatId};
use shared::domain::reservation::{Decision, Outcome, Reason, Status};
use shared::dynamodb::rows::ReservationRow;
use shared::message::Request;

use crate::App;
use crate::reserve::{Refusal, Reserved};

/// An attempt that is not the first under its key.
pub struct Retry<'a> {
    /// Where to look.
    pub app: &'a App,
    /// The event as it is published now.
    pub event: &'a Event,
    /// The attempt's id.
    pub id: &'a ReservationId,
    /// What is asked for this time.
    pub fingerprint: &'a str,
    /// Redis' time, in milliseconds since the epoch.
    pub now_ms: i64,
}

impl Retry<'_> {
    /// The record knows the outcome.
    pub async fn decided(&self, message: &str, decision: Decision) -> Result<Reserved, Refusal> {
        if let Outcome::Rejected(reason) = decision.outcome {
            let request = read(self.id, message)?;
            return Err(self.rejected(reason, decision.taken, request.max_per_customer));
        }
        match self.stored().await? {
            Some(row) => self.answer(row),
            None => Err(Refusal::unavailable(Some(self.id), "a decided reservation has no row")),
        }
    }

    /// The claim has ended and the record knows no outcome: the row answers, or the id is closed for good.
    pub async fn close(&self, message: &str) -> Result<Reserved, Refusal> {
        let request = read(self.id, message)?;
        let row = match self.stored().await? {
            Some(row) => row,
            None => {
                let lapsed = Decision::plain(Outcome::Rejected(Reason::Lapsed));
                let closed = self.app.repository.put_unless_stored(ReservationRow::new(&request, lapsed)).await;
                closed.map_err(|error| Refusal::unavailable(Some(self.id), error))?
            }
        };
        self.app.correct(&row, &request.seats).await;
        self.answer(row)
    }

    /// The record is gone, but the id owns a seat: Redis was lost and loaded again.
    pub async fn own(&self) -> Result<Reserved, Refusal> {
        match self.stored().await? {
            Some(row) => self.answer(row),
            None => Err(Refusal::unavailable(Some(self.id), "a claim without a record has no row yet")),
        }
    }

    /// The record holds another body. After a loss of Redis that may be the later one, and this the one that was stored.
    pub async fn reused(&self) -> Result<Reserved, Refusal> {
        match self.stored().await? {
            Some(row) => self.answer(row),
            None => Err(Refusal::KeyReused),
        }
    }

    async fn stored(&self) -> Result<Option<ReservationRow>, Refusal> {
        self.app.repository.get(self.id).await.map_err(|error| Refusal::unavailable(Some(self.id), error))
    }

    /// What a stored reservation answers. The row has the last word on what the key stands for, too.
    pub fn answer(&self, row: ReservationRow) -> Result<Reserved, Refusal> {
        if row.fingerprint != self.fingerprint {
            return Err(Refusal::KeyReused);
        }
        let id = self.id.clone();
        match row.status.read_at(row.expires_at_ms, Some(self.now_ms)) {
            Status::Held | Status::Confirmed => Ok(Reserved::Owned(row)),
            Status::Expired => Err(Refusal::HoldExpired { id }),
            Status::Cancelled => Err(Refusal::NotHeld { id }),
            Status::Rejected => {
                let reason = row.outcome.reason().unwrap_or(Reason::Lapsed);
                Err(self.rejected(reason, row.taken, self.event.document.max_per_customer))
            }
            Status::Pending => Err(Refusal::unavailable(Some(&id), "a row is never pending")),
        }
    }

    fn rejected(&self, reason: Reason, taken: Vec<SeatId>, limit: Option<u32>) -> Refusal {
        let (id, bound) = (self.id.clone(), Some(self.id.clone()));
        match reason {
            Reason::SeatsTaken => Refusal::SeatsTaken { taken, held_by_you: Vec::new(), id: bound },
            Reason::Contended => Refusal::Contended { free: None, id: bound },
            Reason::LimitReached => Refusal::LimitReached { limit, id: bound },
            Reason::SaleNotOpen => {
                let opens_at_ms = Some(self.event.document.sale.opens_at.as_millisecond());
                Refusal::SaleNotOpen { opens_at_ms, id: bound }
            }
            Reason::SaleClosed => Refusal::SaleClosed { id: bound },
            Reason::Lapsed => Refusal::Lapsed { id },
        }
    }
}

/// Reads what a record holds.
pub fn read(id: &ReservationId, message: &str) -> Result<Request, Refusal> {
    let read = Request::from_value(message.as_bytes());
    // Whatever is wrong with it, whose it is stays here.
    read.map_err(|error| Refusal::unavailable(Some(id), without_values(error)))
}
