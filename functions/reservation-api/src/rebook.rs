//! The use case: a payment that came after the hold had ended books the very same seats once more, if nobody has them: a
//! new reservation, confirmed at once, under an id derived from the old one. Never other seats, and always an answer that
//! a retry hears again: what cannot be booked is stored as rejected under that id.

use std::sync::Arc;

use shared::clock;
use shared::domain::event::Event;
use shared::domain::ids::{ReservationId, SeatId};
use shared::domain::reservation::{Decision, Outcome, Reason, Status};
use shared::dynamodb::changes::Rebook;
use shared::dynamodb::rows::{ReservationRow, SeatItem};
use shared::message::{Draft, Request, Terms};
use shared::redis::claims::{Choice, Claim, Claimed};

use crate::best::Adjacent;
use crate::confirm::Payment;
use crate::hall::{Freshness, View};
use crate::known::{Known, MAX_ROUNDS, Patience, Refusal};
use crate::{App, fingerprint, order};

/// Books `old`'s seats once more for a payment.
pub async fn rebook(
    app: &App,
    known: &Known,
    old: ReservationRow,
    payment: &Payment,
) -> Result<ReservationRow, Refusal> {
    let id = old.reservation_id.rebooked();
    let unavailable = |error| Refusal::unavailable(&id, error);
    if let Some(stored) = app.repository.get(&id).await.map_err(unavailable)? {
        return answer(app, &known.event, &old, stored, payment).await;
    }
    // A look in the hold's last moments has kept its claim for a while: it must not stand in the way of its own seats.
    if old.status.read_at(old.expires_at_ms, known.now_ms) == Status::Expired {
        app.correct(&old, &[]).await;
    }
    let stored = match claim(app, Arc::clone(&known.event), &old, &id).await? {
        Ok(request) => {
            let zone = &known.event.document.time_zone;
            book(app, old.clone(), &request, payment, zone).await?
        }
        Err((reason, taken)) => {
            let at_ms = known.now_ms.unwrap_or_else(clock::wall_ms);
            let outcome = Decision { outcome: Outcome::Rejected(reason), taken };
            let rejected = old.rebooking(&id, outcome, at_ms, at_ms);
            app.repository.put_unless_stored(rejected).await.map_err(unavailable)?
        }
    };
    app.correct(&stored, &old.seats).await;
    if stored.status == Status::Confirmed {
        known.settle(app, &old.expired(stored.held_at_ms)).await;
    }
    answer(app, &known.event, &old, stored, payment).await
}

/// Claims the same seats under the new id: the request, or why it cannot be.
async fn claim(
    app: &App,
    mut event: Arc<Event>,
    old: &ReservationRow,
    id: &ReservationId,
) -> Result<Result<Request, (Reason, Vec<SeatId>)>, Refusal> {
    let unavailable = |error| Refusal::unavailable(id, error);
    let fingerprint = fingerprint::of_rebooking(&old.reservation_id);
    let mut fresh = false;
    for _ in 0..MAX_ROUNDS {
        let gone: Vec<SeatId> = old
            .seats
            .iter()
            .filter(|seat| event.locate(&seat.id).is_none_or(|(found, _)| found != **seat))
            .map(|seat| seat.id.clone())
            .collect();
        if !gone.is_empty() {
            return Ok(Err((Reason::SeatsTaken, gone)));
        }
        let terms = Terms {
            layout_version: event.version,
            // What was promised then, and has been paid by now.
            amount: old.amount_cents,
            currency: old.currency,
            section_cents: old.section_cents.clone(),
            max_per_customer: event.document.max_per_customer,
            sale: event.document.sale,
        };
        let draft = Draft::new(id.clone(), old.customer.clone(), fingerprint.clone(), &terms);
        let choice = Choice::Seats(&old.seats);
        let claim = Claim {
            event: &event,
            fresh,
            id,
            customer: &old.customer,
            fingerprint: &fingerprint,
            queued: false,
            choice,
            draft: &draft,
        };
        let claimed = app.claims.claim(claim).await.map_err(|error| Refusal::unavailable(id, error))?;
        let reason = match claimed {
            Claimed::Granted { message, .. } | Claimed::Ended { message, .. } | Claimed::Decided { message, .. } => {
                let request = Request::from_value(message.as_bytes());
                return request.map(Ok).map_err(|error| Refusal::unavailable(id, error));
            }
            Claimed::Stale => {
                let read = app.catalogue.read_again(&event.id).await.map_err(unavailable)?;
                (event, fresh) = (read.ok_or(Refusal::NotFound)?, true);
                continue;
            }
            Claimed::Cold(sections) => {
                let loaded = app.warmer.warm(&event, &sections).await;
                loaded.map_err(|error| Refusal::unavailable(id, error))?;
                continue;
            }
            Claimed::Taken { taken, .. } => {
                let taken = taken.iter().filter_map(|at| old.seats.get(*at)).map(|seat| seat.id.clone()).collect();
                return Ok(Err((Reason::SeatsTaken, taken)));
            }
            Claimed::LimitReached { .. } => Reason::LimitReached,
            Claimed::Closed | Claimed::Paused => Reason::SaleClosed,
            Claimed::NotOpen { .. } => Reason::SaleNotOpen,
            other => return Err(Refusal::unavailable(id, format!("rebooking was answered {other:?}"))),
        };
        return Ok(Err((reason, Vec::new())));
    }
    Err(Refusal::unavailable(id, "the event kept changing or its sections kept getting lost"))
}

/// The transaction, and the rejection where its conditions refuse.
async fn book(
    app: &App,
    mut old: ReservationRow,
    request: &Request,
    payment: &Payment,
    zone: &str,
) -> Result<ReservationRow, Refusal> {
    let id = &request.reservation_id;
    let held = Decision::plain(Outcome::Held);
    let new = old.rebooking(id, held, request.held_at_ms, request.expires_at_ms);
    let new = new.confirmed(payment.reference(), zone, request.held_at_ms);
    let (mut patience, mut swept) = (Patience::default(), false);
    for _ in 0..MAX_ROUNDS {
        let (reason, seen) = match app.repository.rebook(&old, &new, request.max_per_customer).await {
            Ok(Rebook::Stored(stored)) => return Ok(stored),
            Ok(Rebook::Refused(stored)) if matches!(stored.status, Status::Held | Status::Expired) => {
                old = stored;
                continue;
            }
            // Somebody has confirmed or cancelled it in the meantime.
            Ok(Rebook::Refused(_)) => (Reason::Lapsed, Vec::new()),
            Ok(Rebook::Taken(seen)) => (Reason::SeatsTaken, seen),
            Ok(Rebook::LimitReached) if !swept => {
                let event = id.event();
                let ended = app.repository.end_what_ran_out(&event, &old.customer, request.held_at_ms).await;
                ended.map_err(|error| Refusal::unavailable(id, error))?;
                swept = true;
                continue;
            }
            Ok(Rebook::LimitReached) => (Reason::LimitReached, Vec::new()),
            Err(error) => {
                if patience.again(&error).await {
                    continue;
                }
                return Err(Refusal::unavailable(id, error));
            }
        };
        let taken = seen.iter().map(|item: &SeatItem| item.seat.id.clone()).collect();
        let outcome = Decision { outcome: Outcome::Rejected(reason), taken };
        let rejected = old.rebooking(id, outcome, request.held_at_ms, request.expires_at_ms);
        let stored = app.repository.put_unless_stored(rejected).await;
        return stored.map_err(|error| Refusal::unavailable(id, error));
    }
    Err(Refusal::unavailable(id, "the reservation kept changing"))
}

async fn answer(
    app: &App,
    event: &Event,
    old: &ReservationRow,
    stored: ReservationRow,
    payment: &Payment,
) -> Result<ReservationRow, Refusal> {
    match stored.status {
        Status::Confirmed => payment.confirmed_before(stored),
        Status::Rejected if stored.outcome == Outcome::Rejected(Reason::Lapsed) => {
            let id = &old.reservation_id;
            let now = app.repository.get(id).await.map_err(|error| Refusal::unavailable(id, error))?;
            match now.filter(|now| now.status == Status::Confirmed) {
                Some(confirmed) => payment.confirmed_before(confirmed),
                None => Err(Refusal::NotHeld { id: id.clone() }),
            }
        }
        Status::Rejected => {
            let alternatives = alternatives(app, event, old).await;
            Err(Refusal::HoldExpired { id: old.reservation_id.clone(), alternatives })
        }
        _ => Err(Refusal::NotHeld { id: stored.reservation_id }),
    }
}

/// As many seats of the same section that are free right now, the best first; none where they came from several sections,
/// or are places, of which one is like the other.
async fn alternatives(app: &App, event: &Event, old: &ReservationRow) -> Vec<Vec<SeatId>> {
    let Some(first) = old.seats.first() else { return Vec::new() };
    let Some(section) = event.section(first.id.section()) else { return Vec::new() };
    if first.id.is_place() || old.seats.iter().any(|seat| seat.id.section() != first.id.section()) {
        return Vec::new();
    }
    let seen = app.halls.section(app, event, &section.id, Freshness::Recent).await;
    let Ok(View { map, .. }) = seen else { return Vec::new() };
    let Some((section, seen)) = map.sections().next() else { return Vec::new() };
    let quantity = u32::try_from(old.seats.len()).unwrap_or(0);
    let options = order::best_seats(section, &seen.state, quantity, Adjacent::Preferred);
    options.into_iter().map(|seats| seats.into_iter().map(|seat| seat.id).collect()).collect()
}
