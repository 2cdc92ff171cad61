//! The use case: reserve named seats. All the ifs of a reservation stand here; nothing here knows HTTP.
//!
//! Claim (one Redis command) → produce (acks = all) → accepted. Everything else is a [`retry`], a refusal, or a doubt, and
//! doubt never releases: only a produce that definitely failed gives the claim back.

use bytes::Bytes;
use shared::domain::document::SectionKind;
use shared::domain::event::{Event, Seat, Section};
use shared::domain::ids::{CustomerId, EventId, IdempotencyKey, ReservationId, SeatId};
use shared::domain::money::Cents;
use shared::dynamodb::rows::ReservationRow;
use shared::kafka::Message;
use shared::message::{CORRELATION_ID, Draft, Request, Terms};
use shared::redis::claims::{Claim, Claimed};

use crate::retry::{self, Retry};
use crate::{App, fingerprint};

/// Claims one request may try: the first, one after the event was read again, one after a cold section was loaded, and one
/// for what happened meanwhile.
const MAX_ROUNDS: usize = 4;

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
    TooManyAttempts { id: Option<ReservationId> },
    #[error("not now")]
    Unavailable { id: Option<ReservationId>, source: Option<Box<dyn std::error::Error + Send + Sync>> },
}

impl Refusal {
    /// Not now, for a reason of ours; the key is bound to `id` where there is one.
    pub fn unavailable(
        id: Option<&ReservationId>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable { id: id.cloned(), source: Some(source.into()) }
    }
}

/// Reserves seats, or continues what an earlier attempt under the same key began.
pub async fn reserve(app: &App, asked: &Reserve) -> Result<Reserved, Refusal> {
    let id = ReservationId::derive(&asked.event_id, &asked.customer, &asked.key);
    let fingerprint = fingerprint::of_seats(&asked.seats);
    let unavailable = |error| Refusal::unavailable(Some(&id), error);
    let known = app.catalogue.get(&asked.event_id).await.map_err(unavailable)?;
    let mut event = known.ok_or(Refusal::EventNotFound)?;
    let mut fresh = false;

    for _ in 0..MAX_ROUNDS {
        let order = match order(&event, &asked.seats) {
            Err(Refusal::SeatsNotFound(seats)) => match app.catalogue.look_again(&event).await.map_err(unavailable)? {
                Some(newer) if newer.version > event.version => {
                    (event, fresh) = (newer, true);
                    continue;
                }
                _ => return Err(Refusal::SeatsNotFound(seats)),
            },
            order => order?,
        };
        let draft = draft(&event, &id, asked, &fingerprint, &order);
        let claim = Claim {
            event: &event,
            fresh,
            id: &id,
            customer: &asked.customer,
            fingerprint: &fingerprint,
            seats: &order.seats,
            draft: &draft,
        };
        let retry = |now_ms| Retry { app, event: &event, id: &id, fingerprint: &fingerprint, now_ms };
        // A claim without an answer may have been granted: the id goes along, so that the same key continues it.
        match app.claims.claim(claim).await.map_err(|error| Refusal::unavailable(Some(&id), error))? {
            Claimed::Granted { message, attempts, now_ms } => {
                return produce(app, &id, message, attempts, now_ms).await;
            }
            Claimed::Stale => {
                let read = app.catalogue.read_again(&asked.event_id).await.map_err(unavailable)?;
                (event, fresh) = (read.ok_or(Refusal::EventNotFound)?, true);
            }
            Claimed::Cold(sections) => {
                let loaded = app.warmer.warm(&event, &sections).await;
                loaded.map_err(|error| Refusal::unavailable(Some(&id), error))?;
            }
            Claimed::Decided { message, outcome, now_ms } => return retry(now_ms).decided(&message, outcome).await,
            Claimed::Ended { message, now_ms } => return retry(now_ms).close(&message).await,
            Claimed::Own { now_ms } => return retry(now_ms).own().await,
            Claimed::KeyReused { now_ms } => return retry(now_ms).reused().await,
            refused => return Err(refusal(refused, &id, &asked.seats)),
        }
    }
    Err(Refusal::unavailable(Some(&id), "the event kept changing or its sections kept getting lost"))
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

/// Remembers a claimed request. Only here is a claim ever given back, and only when nothing can have been written.
async fn produce(
    app: &App,
    id: &ReservationId,
    value: String,
    attempts: u32,
    now_ms: i64,
) -> Result<Reserved, Refusal> {
    let request = retry::read(id, &value)?;
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

/// What the claim script refused, without having bound the key.
fn refusal(refused: Claimed, id: &ReservationId, asked: &[SeatId]) -> Refusal {
    let seats = |positions: Vec<usize>| positions.iter().filter_map(|at| asked.get(*at).cloned()).collect();
    match refused {
        Claimed::Taken { taken, held_by_you } => {
            Refusal::SeatsTaken { taken: seats(taken), held_by_you: seats(held_by_you), id: None }
        }
        Claimed::LimitReached { limit } => Refusal::LimitReached { limit: Some(limit), id: None },
        Claimed::NotOpen { opens_at_ms } => Refusal::SaleNotOpen { opens_at_ms: Some(opens_at_ms), id: None },
        Claimed::Closed => Refusal::SaleClosed { id: None },
        Claimed::Paused => Refusal::SalePaused,
        Claimed::TooManyAttempts => Refusal::TooManyAttempts { id: Some(id.clone()) },
        Claimed::TooManyClaims => Refusal::TooManyAttempts { id: None },
        Claimed::Granted { .. }
        | Claimed::Ended { .. }
        | Claimed::Decided { .. }
        | Claimed::Own { .. }
        | Claimed::KeyReused { .. }
        | Claimed::Stale
        | Claimed::Cold(_) => Refusal::unavailable(None, "a claim was answered twice"),
    }
}
