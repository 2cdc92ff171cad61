//! The use case: decide one request. The conditional transaction says what is so; a refusal is looked at, never believed.

use std::time::Duration;

use rand::Rng;
use shared::causes::chain;
use shared::domain::ids::SeatId;
use shared::domain::reservation::{Decision, Outcome, Reason};
use shared::dynamodb::StoreError;
use shared::dynamodb::reservations::{Hold, Put};
use shared::dynamodb::rows::{ReservationRow, SeatItem};
use shared::message::Request;
use shared::redis::truth::Truth;
use tokio::time::{Instant, sleep_until};

use crate::Persist;

/// First and longest pause before a busy table is asked again; the pause is drawn at random below a doubling bound.
const FIRST_PAUSE: Duration = Duration::from_millis(40);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What was decided, and what was seen on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The stored row: what this decision made, or what an earlier one had made.
    pub row: ReservationRow,
    /// Seats that others own.
    pub seen: Vec<SeatItem>,
    /// Whether it had not been decided before.
    pub is_new: bool,
}

impl Decided {
    /// The truth for Redis: the row's, with what was seen of the seats others own.
    pub fn truth(&self, request: &Request) -> Truth {
        let mut truth = self.row.truth(&request.seats);
        for (seat, state) in &mut truth.seats {
            if let Some(other) = self.seen.iter().find(|item| item.seat == *seat) {
                *state = other.seat_state();
            }
        }
        truth
    }
}

/// Decides a request, asking a busy table again until `deadline`.
pub async fn decide(persist: &Persist, request: &Request, deadline: Instant) -> Result<Decided, StoreError> {
    let mut bound = FIRST_PAUSE;
    loop {
        let busy = match attempt(persist, request).await {
            Err(error) if error.is_busy() => error,
            decided => return decided,
        };
        let pause = bound.mul_f64(rand::rng().random_range(0.5..1.0));
        let next = Instant::now() + pause;
        if next >= deadline {
            return Err(busy);
        }
        tracing::debug!(reservation_id = %request.reservation_id, error = chain(&busy), "asking again");
        sleep_until(next).await;
        bound = (bound * 2).min(LONGEST_PAUSE);
    }
}

async fn attempt(persist: &Persist, request: &Request) -> Result<Decided, StoreError> {
    if let Some(reason) = request.refusal() {
        return reject(persist, request, reason, Vec::new()).await;
    }
    let mut held = persist.repository.hold(request).await?;
    if held == Hold::LimitReached {
        // What this customer let run out still counts until somebody ends it; nobody may be refused for that.
        let event = request.reservation_id.event();
        persist.repository.end_what_ran_out(&event, &request.customer, request.held_at_ms).await?;
        held = persist.repository.hold(request).await?;
    }
    match held {
        Hold::Made(row) => Ok(Decided { row, seen: Vec::new(), is_new: true }),
        Hold::Stored(row) => Ok(Decided { row, seen: Vec::new(), is_new: false }),
        Hold::Taken(seen) => {
            // Nobody chose his place: another was given it first.
            let drawn = request.seats.iter().any(|seat| seat.id.is_place());
            let reason = if drawn { Reason::Contended } else { Reason::SeatsTaken };
            reject(persist, request, reason, seen).await
        }
        Hold::LimitReached => reject(persist, request, Reason::LimitReached, Vec::new()).await,
    }
}

async fn reject(
    persist: &Persist,
    request: &Request,
    reason: Reason,
    seen: Vec<SeatItem>,
) -> Result<Decided, StoreError> {
    let taken: Vec<SeatId> = seen.iter().map(|item| item.seat.id.clone()).collect();
    let rejected = ReservationRow::new(request, Decision { outcome: Outcome::Rejected(reason), taken });
    let put = persist.repository.put(rejected).await?;
    let is_new = matches!(put, Put::Made(_));
    let row = put.row();
    // An adopted row of a hold owns its seats whatever was seen of them before.
    let seen = if row.outcome == Outcome::Held { Vec::new() } else { seen };
    Ok(Decided { row, seen, is_new })
}
