//! The use case: reserve seats. All the ifs of a reservation stand here; nothing here knows HTTP.
//!
//! Claim (one Redis command) → produce (acks = all) → accepted. Everything else is a [`retry`], a refusal, or a doubt, and
//! doubt never releases: only a produce that definitely failed gives the claim back.

use bytes::Bytes;
use metrics::counter;
use rand::Rng;
use shared::causes::chain;
use shared::domain::event::Event;
use shared::domain::ids::{CustomerId, EventId, IdempotencyKey, Label, ReservationId, SeatId};
use shared::dynamodb::rows::ReservationRow;
use shared::kafka::Message;
use shared::message::{CORRELATION_ID, Draft, Request, Terms};
use shared::redis::claims::{Choice, Claim, Claimed};
use shared::telemetry::{ACCEPTED, CLAIMS_GIVEN_BACK, PRODUCES_IN_DOUBT};

use crate::best::Adjacent;
use crate::hall::Freshness;
use crate::order::{self, Order, Pick};
use crate::retry::{self, Retry};
use crate::{App, fingerprint};

/// Claims one request may try: the first, one after the event was read again, one after a cold section was loaded, and one
/// for what happened meanwhile.
const MAX_ROUNDS: usize = 4;
/// Rounds among them for which the best seats are looked for: after the first, others were quicker.
const MAX_BEST_ROUNDS: usize = 3;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Reserve {
    /// Of which event.
    pub event_id: EventId,
    /// By whom.
    pub customer: CustomerId,
    /// The caller's name for this attempt.
    pub key: IdempotencyKey,
    /// What, all or nothing.
    pub wish: Wish,
}

/// Which seats are asked for.
#[derive(Debug, Clone)]
pub enum Wish {
    /// These.
    Seats(Vec<SeatId>),
    /// So many of a section: places where it is general, the best seats where it is seated.
    Section {
        /// The section.
        section: Label,
        /// How many.
        quantity: u32,
        /// Whether they must be next to each other.
        adjacent: Adjacent,
    },
}

impl Wish {
    /// Tells another body under the same key.
    pub fn fingerprint(&self) -> String {
        match self {
            Wish::Seats(seats) => fingerprint::of_seats(seats),
            Wish::Section { section, quantity, adjacent } => fingerprint::of_section(section, *quantity, *adjacent),
        }
    }
}

/// What was promised.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a request has one, and moves it twice")]
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
    #[error("no such section")]
    SectionNotFound,
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
    #[error("others hold what is not sold, or were quicker")]
    Contended { free: Option<u32>, id: Option<ReservationId> },
    #[error("so many are not to be had")]
    SoldOut { left: u32 },
    #[error("so many are free, and not next to each other")]
    NoAdjacentSeats,
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
    let fingerprint = asked.wish.fingerprint();
    let unavailable = |error| Refusal::unavailable(Some(&id), error);
    let known = app.catalogue.get(&asked.event_id).await.map_err(unavailable)?;
    let mut event = known.ok_or(Refusal::EventNotFound)?;
    let (mut fresh, mut best_rounds, mut freshness) = (false, 0, Freshness::Recent);

    for _ in 0..MAX_ROUNDS {
        let order = match order::order(app, &mut event, &asked.wish, freshness).await {
            Err(missing @ (Refusal::SeatsNotFound(_) | Refusal::SectionNotFound)) => {
                match app.catalogue.look_again(&event).await.map_err(unavailable)? {
                    Some(newer) if newer.version > event.version => {
                        (event, fresh) = (newer, true);
                        continue;
                    }
                    _ => return Err(missing),
                }
            }
            order => order?,
        };
        let section = |label: &Label| event.section(label.as_str()).ok_or(Refusal::SectionNotFound);
        let choice = match &order.pick {
            Pick::Seats(seats) => Choice::Seats(seats),
            Pick::Best { section: label, options, .. } => Choice::Best { section: section(label)?, options },
            Pick::Places { section: label, quantity } => {
                let random = rand::rng().random_range(0..u32::from(u16::MAX));
                Choice::Places { section: section(label)?, quantity: *quantity, random }
            }
        };
        let draft = draft(&event, &id, asked, &fingerprint, &order);
        let claim = Claim {
            event: &event,
            fresh,
            id: &id,
            customer: &asked.customer,
            fingerprint: &fingerprint,
            queued: true,
            choice,
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
            Claimed::Decided { message, told, now_ms } => return retry(now_ms).decided(&message, told.decision).await,
            Claimed::Ended { message, now_ms } => return retry(now_ms).close(&message).await,
            Claimed::Own { now_ms } => return retry(now_ms).own().await,
            Claimed::KeyReused { now_ms } => return retry(now_ms).reused().await,
            Claimed::Contended { free: None } => {
                best_rounds += 1;
                match order.pick {
                    // Nothing was tried: the map itself says why.
                    Pick::Best { otherwise: Some(refusal), .. } => return Err(refusal),
                    Pick::Best { seen_at, .. } if best_rounds < MAX_BEST_ROUNDS => {
                        freshness = Freshness::NewerThan(seen_at);
                    }
                    _ => return Err(Refusal::Contended { free: None, id: None }),
                }
            }
            refused => return Err(refusal(refused, &id, &asked.wish)),
        }
    }
    Err(Refusal::unavailable(Some(&id), "the event kept changing or its sections kept getting lost"))
}

fn draft(event: &Event, id: &ReservationId, asked: &Reserve, fingerprint: &str, order: &Order) -> Draft {
    let terms = Terms {
        layout_version: event.version,
        amount: order.amount,
        currency: event.document.currency,
        section_cents: order.section_cents.clone(),
        max_per_customer: event.document.max_per_customer,
        sale: event.document.sale,
    };
    Draft::new(id.clone(), asked.customer.clone(), fingerprint.to_owned(), &terms)
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
        counter!(ACCEPTED).increment(1);
        return Ok(Reserved::Accepted { request, now_ms });
    };
    if !error.is_definite() {
        counter!(PRODUCES_IN_DOUBT).increment(1);
    }
    if error.is_definite() && attempts == 1 {
        match app.claims.give_back(&request).await {
            Ok(true) => {
                counter!(CLAIMS_GIVEN_BACK).increment(1);
                return Err(Refusal::unavailable(None, error));
            }
            Ok(false) => tracing::info!(reservation_id = %id, "another attempt has joined; its claim stays"),
            Err(lost) => {
                let error = chain(&lost);
                tracing::warn!(reservation_id = %id, error, "the claim was not given back; it ends with its lease");
            }
        }
    }
    Err(Refusal::unavailable(Some(id), error))
}

/// What the claim script refused, without having bound the key.
fn refusal(refused: Claimed, id: &ReservationId, wish: &Wish) -> Refusal {
    let named = |at: &usize| match wish {
        Wish::Seats(seats) => seats.get(*at).cloned(),
        Wish::Section { .. } => None,
    };
    let seats = |positions: Vec<usize>| positions.iter().filter_map(named).collect();
    match refused {
        Claimed::Taken { taken, held_by_you } => {
            Refusal::SeatsTaken { taken: seats(taken), held_by_you: seats(held_by_you), id: None }
        }
        Claimed::SoldOut { left } => Refusal::SoldOut { left },
        Claimed::Contended { free } => Refusal::Contended { free, id: None },
        Claimed::LimitReached { limit } => Refusal::LimitReached { limit: Some(limit), id: None },
        Claimed::NotOpen { opens_at_ms } => Refusal::SaleNotOpen { opens_at_ms: Some(opens_at_ms), id: None },
        Claimed::Closed => Refusal::SaleClosed { id: None },
        Claimed::Paused => Refusal::SalePaused,
        Claimed::TooManyAttempts => Refusal::TooManyAttempts { id: Some(id.clone()) },
        Claimed::TooManyClaims => Refusal::TooManyAttempts { id: None },
        Claimed::Lagging => Refusal::unavailable(None, "too many claims wait too long to be decided"),
        Claimed::Granted { .. }
        | Claimed::Ended { .. }
        | Claimed::Decided { .. }
        | Claimed::Own { .. }
        | Claimed::KeyReused { .. }
        | Claimed::Stale
        | Claimed::Cold(_) => Refusal::unavailable(None, "the claim has no such refusal"),
    }
}
