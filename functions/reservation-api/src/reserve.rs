//! The use case: reserve named seats. All the ifs of a reservation stand here; nothing here knows HTTP.
//!
//! Claim (one Redis command) → produce (acks = all) → accepted. Everything else is a retry, a refusal, or a doubt, and
//! doubt never releases: only a produce that definitely failed gives the claim back.

use std::sync::Arc;

use bytes::Bytes;
use shared::domain::document::SectionKind;
use shared::domain::event::{Event, Seat, Section};
use shared::domain::ids::{CustomerId, EventId, IdempotencyKey, ReservationId, SeatId};
use shared::domain::money::Cents;
use shared::domain::reservation::{Decision, Outcome, Reason, Status};
use shared::dynamodb::rows::ReservationRow;
use shared::kafka::Message;
use shared::message::{Draft, Request, Terms};
use shared::redis::claims::{Claim, Claimed};

use crate::{App, fingerprint};

/// Header of every message: what an outcome is matched with.
const CORRELATION_ID: &str = "correlation-id";
/// Claims one request may try: the first, one after a newer publication was read, one after a cold section was loaded.
const MAX_ROUNDS: usize = 3;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Reserve {
    /// Of which event.
    pub event_id: EventId,
    /// By whom.
    pub customer: CustomerId,
    /// The caller's name for this attempt.
    pub key: IdempotencyKey,
    /// Which seats, all or none.
    pub seats: Vec<SeatId>,
}

/// What was promised.
#[derive(Debug, Clone)]
pub enum Reserved {
    /// Claimed and remembered; DynamoDB decides next.
    Accepted {
        /// The request as it was produced.
        request: Request,
        /// Redis' time, in milliseconds since the epoch.
        now_ms: i64,
    },
    /// Decided earlier, and the seats are the customer's.
    Owned(ReservationRow),
}

/// Why there is no reservation. The id is there where the key is, or may be, bound to it.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("no such event")]
    EventNotFound,
    #[error("no such seats")]
    SeatsNotFound(Vec<SeatId>),
    #[error("places of a general section are handed out, not chosen")]
    PlaceChosen(SeatId),
    #[error("the seats are taken")]
    SeatsTaken { taken: Vec<SeatId>, held_by_you: Vec<SeatId>, id: Option<ReservationId> },
    #[error("over the customer's limit")]
    LimitReached { limit: Option<u32>, id: Option<ReservationId> },
    #[error("the sale has not begun")]
    SaleNotOpen { opens_at_ms: Option<i64>, id: Option<ReservationId> },
    #[error("the sale is over")]
    SaleClosed { id: Option<ReservationId> },
    #[error("the sale is paused")]
    SalePaused,
    #[error("somebody else was given the place")]
    Contended { id: ReservationId },
    #[error("the claim ended before anything was stored")]
    Lapsed { id: ReservationId },
    #[error("the reservation was cancelled")]
    NotHeld { id: ReservationId },
    #[error("the hold has expired")]
    HoldExpired { id: ReservationId },
    #[error("the key was used with another body")]
    KeyReused,
    #[error("too many attempts")]
    TooManyAttempts,
    #[error("not now")]
    Unavailable { id: Option<ReservationId>, source: Option<Box<dyn std::error::Error + Send + Sync>> },
}

impl Refusal {
    /// Not now, for a reason of ours; the key is bound to `id` where there is one.
    fn unavailable(id: Option<&ReservationId>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable { id: id.cloned(), source: Some(source.into()) }
    }
}

/// Reserves seats, or continues what an earlier attempt under the same key began.
pub async fn reserve(app: &App, asked: &Reserve) -> Result<Reserved, Refusal> {
    let id = ReservationId::derive(&asked.event_id, &asked.customer, &asked.key);
    let fingerprint = fingerprint::of_seats(&asked.seats);
    let known = app.catalogue.get(&asked.event_id).await.map_err(|error| Refusal::unavailable(None, error))?;
    let mut event = known.ok_or(Refusal::EventNotFound)?;

    for _ in 0..MAX_ROUNDS {
        let order = order(&event, &asked.seats)?;
        let draft = draft(&event, &id, asked, &fingerprint, &order);
        let claim = Claim {
            event: &event,
            id: &id,
            customer: &asked.customer,
            fingerprint: &fingerprint,
            seats: &order.seats,
            draft: &draft,
        };
        // A claim without an answer may have been granted: the id goes along, so that the same key continues it.
        match app.claims.claim(claim).await.map_err(|error| Refusal::unavailable(Some(&id), error))? {
            Claimed::Granted { message, attempts, now_ms } => {
                return produce(app, &id, message, attempts, now_ms).await;
            }
            Claimed::Stale => event = newer(app, &event).await?,
            Claimed::Cold(sections) => {
                let loaded = app.warmer.warm(&event, &sections).await;
                loaded.map_err(|error| Refusal::unavailable(None, error))?;
            }
            Claimed::Decided { message, outcome, now_ms } => return decided(app, &id, &message, outcome, now_ms).await,
            Claimed::Ended { message, now_ms } => return close(app, &id, &message, now_ms).await,
            Claimed::Own { now_ms } => return own(app, &id, &fingerprint, now_ms).await,
            refused => return Err(refusal(refused, &asked.seats)),
        }
    }
    Err(Refusal::unavailable(None, "the event kept changing or its sections kept getting lost"))
}

/// The seats asked for, located and priced.
struct Order {
    seats: Vec<Seat>,
    amount: Cents,
}

fn order(event: &Event, asked: &[SeatId]) -> Result<Order, Refusal> {
    let located: Vec<Option<(Seat, &Section)>> = asked.iter().map(|seat| event.locate(seat)).collect();
    let unknown: Vec<SeatId> =
        asked.iter().zip(&located).filter(|(_, found)| found.is_none()).map(|(seat, _)| seat.clone()).collect();
    if !unknown.is_empty() {
        return Err(Refusal::SeatsNotFound(unknown));
    }
    let mut order = Order { seats: Vec::with_capacity(asked.len()), amount: Cents::ZERO };
    for (seat, section) in located.into_iter().flatten() {
        if section.kind == SectionKind::General {
            return Err(Refusal::PlaceChosen(seat.id));
        }
        order.seats.push(seat);
        let sum = order.amount.checked_add(section.price);
        order.amount = sum.ok_or_else(|| Refusal::unavailable(None, "a price does not fit"))?;
    }
    Ok(order)
}

fn draft(event: &Event, id: &ReservationId, asked: &Reserve, fingerprint: &str, order: &Order) -> Draft {
    let terms = Terms {
        layout_version: event.version,
        amount: order.amount,
        currency: event.document.currency,
        max_per_customer: event.document.max_per_customer,
        sale: event.document.sale,
    };
    Draft::new(id.clone(), asked.customer.clone(), fingerprint.to_owned(), order.seats.clone(), &terms)
}

async fn newer(app: &App, event: &Event) -> Result<Arc<Event>, Refusal> {
    let newer = app.catalogue.newer_than(event).await.map_err(|error| Refusal::unavailable(None, error))?;
    newer.ok_or(Refusal::EventNotFound)
}

/// Remembers a claimed request. Only here is a claim ever given back, and only when nothing can have been written.
async fn produce(
    app: &App,
    id: &ReservationId,
    value: String,
    attempts: u32,
    now_ms: i64,
) -> Result<Reserved, Refusal> {
    let request = read(id, &value)?;
    let message = Message {
        topic: app.requests_topic.clone(),
        key: Some(Bytes::copy_from_slice(id.as_str().as_bytes())),
        value: Some(Bytes::from(value)),
        headers: vec![(CORRELATION_ID.to_owned(), Bytes::copy_from_slice(id.as_str().as_bytes()))],
    };
    let Err(error) = app.log.produce(message).await else {
        return Ok(Reserved::Accepted { request, now_ms });
    };
    if error.is_definite() && attempts == 1 {
        match app.claims.give_back(&request).await {
            Ok(true) => return Err(Refusal::unavailable(None, error)),
            Ok(false) => tracing::info!(reservation_id = %id, "another attempt has joined; its claim stays"),
            Err(lost) => {
                let error = &lost as &dyn std::error::Error;
                tracing::warn!(reservation_id = %id, error, "the claim was not given back; it ends with its lease");
            }
        }
    }
    Err(Refusal::unavailable(Some(id), error))
}

/// Answers an attempt whose outcome the record knows.
async fn decided(
    app: &App,
    id: &ReservationId,
    message: &str,
    decision: Decision,
    now_ms: i64,
) -> Result<Reserved, Refusal> {
    if let Outcome::Rejected(reason) = decision.outcome {
        let request = read(id, message)?;
        return Err(rejected(id, reason, decision.taken, request.max_per_customer));
    }
    match stored(app, id).await? {
        Some(row) => answer(row, now_ms),
        None => Err(Refusal::unavailable(Some(id), "a decided reservation has no row")),
    }
}

/// Answers an attempt whose claim has ended: from the row, or, when there is none, by closing the id for good.
async fn close(app: &App, id: &ReservationId, message: &str, now_ms: i64) -> Result<Reserved, Refusal> {
    let request = read(id, message)?;
    let row = match stored(app, id).await? {
        Some(row) => row,
        None => {
            let lapsed = Decision::plain(Outcome::Rejected(Reason::Lapsed));
            let closed = app.repository.reject(&request, lapsed).await;
            closed.map_err(|error| Refusal::unavailable(Some(id), error))?
        }
    };
    app.correct(&row, &request.seats).await;
    answer(row, now_ms)
}

/// Answers an attempt whose record is gone, but which owns a seat: Redis was lost and loaded again.
async fn own(app: &App, id: &ReservationId, fingerprint: &str, now_ms: i64) -> Result<Reserved, Refusal> {
    match stored(app, id).await? {
        Some(row) if row.fingerprint == fingerprint => answer(row, now_ms),
        Some(_) => Err(Refusal::KeyReused),
        None => Err(Refusal::unavailable(Some(id), "a claim without a record has no row yet")),
    }
}

async fn stored(app: &App, id: &ReservationId) -> Result<Option<ReservationRow>, Refusal> {
    app.repository.get(id).await.map_err(|error| Refusal::unavailable(Some(id), error))
}

fn read(id: &ReservationId, message: &str) -> Result<Request, Refusal> {
    Request::from_value(message.as_bytes()).map_err(|error| Refusal::unavailable(Some(id), error))
}

/// What a stored reservation answers to a retry.
fn answer(row: ReservationRow, now_ms: i64) -> Result<Reserved, Refusal> {
    let id = row.reservation_id.clone();
    match row.status.read_at(row.expires_at_ms, Some(now_ms)) {
        Status::Held | Status::Confirmed => Ok(Reserved::Owned(row)),
        Status::Expired => Err(Refusal::HoldExpired { id }),
        Status::Cancelled => Err(Refusal::NotHeld { id }),
        Status::Rejected => {
            let reason = row.outcome.reason().unwrap_or(Reason::Lapsed);
            Err(rejected(&id, reason, row.taken, None))
        }
        Status::Pending => Err(Refusal::unavailable(Some(&id), "a row is never pending")),
    }
}

fn rejected(id: &ReservationId, reason: Reason, taken: Vec<SeatId>, limit: Option<u32>) -> Refusal {
    let (id, bound) = (id.clone(), Some(id.clone()));
    match reason {
        Reason::SeatsTaken => Refusal::SeatsTaken { taken, held_by_you: Vec::new(), id: bound },
        Reason::Contended => Refusal::Contended { id },
        Reason::LimitReached => Refusal::LimitReached { limit, id: bound },
        Reason::SaleNotOpen => Refusal::SaleNotOpen { opens_at_ms: None, id: bound },
        Reason::SaleClosed => Refusal::SaleClosed { id: bound },
        Reason::Lapsed => Refusal::Lapsed { id },
    }
}

/// What the claim script refused, without having bound the key.
fn refusal(refused: Claimed, asked: &[SeatId]) -> Refusal {
    let seats = |positions: Vec<usize>| positions.iter().filter_map(|at| asked.get(*at).cloned()).collect();
    match refused {
        Claimed::Taken { taken, held_by_you } => {
            Refusal::SeatsTaken { taken: seats(taken), held_by_you: seats(held_by_you), id: None }
        }
        Claimed::LimitReached { limit } => Refusal::LimitReached { limit: Some(limit), id: None },
        Claimed::NotOpen { opens_at_ms } => Refusal::SaleNotOpen { opens_at_ms: Some(opens_at_ms), id: None },
        Claimed::Closed => Refusal::SaleClosed { id: None },
        Claimed::Paused => Refusal::SalePaused,
        Claimed::KeyReused => Refusal::KeyReused,
        Claimed::TooManyAttempts | Claimed::TooManyClaims => Refusal::TooManyAttempts,
        Claimed::Granted { .. }
        | Claimed::Ended { .. }
        | Claimed::Decided { .. }
        | Claimed::Own { .. }
        | Claimed::Stale
        | Claimed::Cold(_) => Refusal::unavailable(None, "a claim was answered twice"),
    }
}
