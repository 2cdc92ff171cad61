//! Refusals as callers see them: RFC 9457 problems with a stable `type` slug. Nothing else knows the status
//! codes of refusals. What is internal goes into the log, once, here.

mod fields;
mod slug;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::causes::chain;
use shared::domain::Invalid;
use shared::domain::ids::{ReservationId, SeatId};

pub use slug::Slug;

use crate::{block, known, list, list_of_event, mine, publish, report, reserve, seat_map, show};

/// Seconds after which a refused caller may try again.
const RETRY_AFTER: u32 = 1;

/// Everything that can be refused.
#[derive(Debug)]
pub enum Problem {
    InvalidRequest(Invalid),
    KeyMissing,
    Unauthorized,
    Forbidden,
    BodyTooLarge { limit: usize },
    NoSuchRoute,
    NoSuchMethod,
    SectionRequired,
    SectionNotFound,
    LayoutNotFound,
    ReservationNotFound,
    PreconditionFailed,
    SeatsInUse(Vec<SeatId>),
    SeatsNotFound(Vec<SeatId>),
    Reserve(reserve::Refusal),
    Change(known::Refusal),
    EventNotFound,
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
}

/// A problem's fixed parts.
struct Kind(Slug, &'static str);

/// A problem on the wire.
#[derive(Serialize)]
struct Body {
    #[serde(rename = "type")]
    slug: &'static str,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl Problem {
    fn kind(&self) -> Kind {
        match self {
            Self::InvalidRequest(_) => Kind(Slug::InvalidRequest, "The request is not valid"),
            Self::KeyMissing => Kind(Slug::IdempotencyKeyMissing, "The Idempotency-Key header is missing"),
            Self::Unauthorized => Kind(Slug::Unauthorized, "A valid token is needed"),
            Self::Forbidden => Kind(Slug::Forbidden, "The token does not allow this"),
            Self::BodyTooLarge { .. } => Kind(Slug::BodyTooLarge, "The body is too large"),
            Self::NoSuchRoute => Kind(Slug::RouteNotFound, "There is no such route"),
            Self::NoSuchMethod => Kind(Slug::MethodNotAllowed, "The route does not take this method"),
            Self::SectionRequired => Kind(Slug::SectionRequired, "The event is too large for one map"),
            Self::SectionNotFound => Kind(Slug::SeatNotFound, "There is no such section"),
            Self::LayoutNotFound => Kind(Slug::LayoutNotFound, "There is no such layout, or no more"),
            Self::ReservationNotFound => Kind(Slug::ReservationNotFound, "There is no such reservation"),
            Self::PreconditionFailed => Kind(Slug::PreconditionFailed, "Another publication stands"),
            Self::SeatsInUse(_) => Kind(Slug::SeatsInUse, "Seats that somebody has would vanish"),
            Self::SeatsNotFound(_) => Kind(Slug::SeatNotFound, "There are no such seats"),
            Self::EventNotFound => Kind(Slug::EventNotFound, "There is no such event"),
            Self::Unavailable(_) => unavailable(),
            Self::Reserve(refusal) => reserve_kind(refusal),
            Self::Change(refusal) => change_kind(refusal),
        }
    }

    /// What this very caller should know.
    fn detail(&self) -> Option<String> {
        match self {
            Self::InvalidRequest(invalid) => Some(invalid.to_string()),
            Self::KeyMissing => {
                Some("Name each logical attempt; a retry with the same key never reserves twice.".into())
            }
            Self::BodyTooLarge { limit } => Some(format!("At most {limit} bytes are taken.")),
            Self::SectionRequired => Some(format!(
                "Ask for one section (?section=) of an event with more than {} seats.",
                seat_map::MAX_SEATS_PER_MAP
            )),
            Self::LayoutNotFound => Some("Read the seat map again: it names the layout it goes by.".into()),
            Self::SeatsInUse(_) => {
                Some("These are claimed, held, sold or blocked. A publication may leave out free seats only.".into())
            }
            Self::Unavailable(_) => Some("Try again.".into()),
            Self::Reserve(reserve::Refusal::Unavailable { .. }) => {
                Some("Try again; the same Idempotency-Key continues where this attempt stopped.".into())
            }
            Self::Reserve(reserve::Refusal::Lapsed { .. }) => {
                Some("The claim ended before it could be stored. Reserve anew under another key.".into())
            }
            Self::Reserve(reserve::Refusal::PlaceChosen(place)) => {
                Some(format!("{place} is a place of a general section; those are handed out, not chosen."))
            }
            Self::Reserve(reserve::Refusal::Contended { .. }) => {
                Some("Others hold what is not sold, or were quicker. Some of it may come back.".into())
            }
            Self::Change(known::Refusal::Unavailable { .. }) => Some("Try again.".into()),
            Self::Change(known::Refusal::Pending { .. }) => Some("It will be decided in a moment. Try again.".into()),
            Self::Change(known::Refusal::NotCancellable { .. }) => {
                Some("It is confirmed, and the event takes nothing back (any more).".into())
            }
            Self::Reserve(reserve::Refusal::KeyReused) => {
                Some("The key belongs to another request. Use a new key for a new request.".into())
            }
            _ => None,
        }
    }

    /// Its stable name.
    pub fn slug(&self) -> &'static str {
        self.kind().0.as_str()
    }

    /// Fields beside the standard ones.
    fn fields(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        match self {
            Self::InvalidRequest(invalid) => {
                fields.insert("field".into(), json!(invalid.field));
            }
            Self::SeatsInUse(seats) | Self::SeatsNotFound(seats) => {
                fields.insert("seats".into(), json!(seats));
            }
            Self::Reserve(refusal) => fields::reserve_fields(refusal, &mut fields),
            Self::Change(refusal) => fields::change_fields(refusal, &mut fields),
            _ => {}
        }
        fields
    }

    fn log(&self) {
        let (id, source) = match self {
            Self::Unavailable(source) => (None, Some(source)),
            Self::Reserve(reserve::Refusal::Unavailable { id, source }) => (id.as_ref(), source.as_ref()),
            Self::Change(known::Refusal::Unavailable { id, source }) => (Some(id), Some(source)),
            _ => return,
        };
        let chain = source.map(|source| chain(source.as_ref())).unwrap_or_default();
        tracing::warn!(reservation_id = id.map(ReservationId::as_str), cause = chain, "answered 503");
    }
}

fn unavailable() -> Kind {
    Kind(Slug::Unavailable, "This cannot be answered right now")
}

fn reserve_kind(refusal: &reserve::Refusal) -> Kind {
    use reserve::Refusal;
    match refusal {
        Refusal::EventNotFound => Kind(Slug::EventNotFound, "There is no such event"),
        Refusal::SeatsNotFound(_) => Kind(Slug::SeatNotFound, "There are no such seats"),
        Refusal::SectionNotFound => Kind(Slug::SeatNotFound, "There is no such section"),
        Refusal::SoldOut { .. } => Kind(Slug::SoldOut, "So many are not to be had any more"),
        Refusal::NoAdjacentSeats => Kind(Slug::NoAdjacentSeats, "There are not so many free seats side by side"),
        Refusal::PlaceChosen(_) => Kind(Slug::InvalidRequest, "The request is not valid"),
        Refusal::SeatsTaken { .. } => Kind(Slug::SeatsTaken, "Seats asked for are taken"),
        Refusal::LimitReached { .. } => Kind(Slug::LimitReached, "The event limits seats per customer"),
        Refusal::SaleNotOpen { .. } => Kind(Slug::SaleNotOpen, "The sale has not begun"),
        Refusal::SaleClosed { .. } => Kind(Slug::SaleClosed, "The sale is over"),
        Refusal::SalePaused => Kind(Slug::SalePaused, "The sale is paused"),
        Refusal::Contended { .. } => Kind(Slug::Contended, "Others were quicker"),
        Refusal::Lapsed { .. } => Kind(Slug::Lapsed, "The claim has ended"),
        Refusal::NotHeld { .. } => Kind(Slug::NotHeld, "The reservation was cancelled"),
        Refusal::HoldExpired { .. } => Kind(Slug::HoldExpired, "The hold has expired"),
        Refusal::KeyReused => Kind(Slug::IdempotencyKeyReused, "The key was used with another body"),
        Refusal::TooManyAttempts { .. } => Kind(Slug::TooManyAttempts, "Too many attempts"),
        Refusal::Unavailable { .. } => unavailable(),
    }
}

fn change_kind(refusal: &known::Refusal) -> Kind {
    use known::Refusal;
    match refusal {
        Refusal::NotFound => Problem::ReservationNotFound.kind(),
        Refusal::Forbidden => Problem::Forbidden.kind(),
        Refusal::Pending { .. } => Kind(Slug::Pending, "The reservation is not decided yet"),
        Refusal::HoldExpired { .. } => Kind(Slug::HoldExpired, "The hold has expired"),
        Refusal::NotHeld { .. } => Kind(Slug::NotHeld, "The reservation is not held"),
        Refusal::NotCancellable { .. } => Kind(Slug::NotHeld, "The reservation cannot be cancelled"),
        Refusal::AlreadyConfirmed { .. } => Kind(Slug::AlreadyConfirmed, "Another payment has confirmed it"),
        Refusal::AlreadyExtended { .. } => Kind(Slug::AlreadyExtended, "The hold was extended before"),
        Refusal::NotExtendable { .. } => Kind(Slug::NotExtendable, "The hold cannot be extended"),
        Refusal::Unavailable { .. } => unavailable(),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.log();
        let Kind(slug, title) = self.kind();
        let status = slug.status();
        let (detail, fields) = (self.detail(), self.fields());
        let body = Body { slug: slug.as_str(), title, status: status.as_u16(), detail, fields };
        let mut response = (status, serde_json::to_vec(&body).unwrap_or_default()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if slug == Slug::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if slug.comes_with_retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
        }
        if slug == Slug::LayoutNotFound {
            // A layout that will never change once it is there must not be missing from a cache for long.
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        response
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::InvalidRequest(invalid)
    }
}

impl From<reserve::Refusal> for Problem {
    fn from(refusal: reserve::Refusal) -> Self {
        Self::Reserve(refusal)
    }
}

impl From<known::Refusal> for Problem {
    fn from(refusal: known::Refusal) -> Self {
        Self::Change(refusal)
    }
}

impl From<block::Refusal> for Problem {
    fn from(refusal: block::Refusal) -> Self {
        match refusal {
            block::Refusal::EventNotFound => Self::EventNotFound,
            block::Refusal::SeatsNotFound(seats) => Self::SeatsNotFound(seats),
            block::Refusal::Stale => Self::Unavailable(refusal.into()),
            block::Refusal::Unavailable(source) => Self::Unavailable(source),
        }
    }
}

impl From<mine::Refusal> for Problem {
    fn from(refusal: mine::Refusal) -> Self {
        match refusal {
            mine::Refusal::EventNotFound => Self::EventNotFound,
            mine::Refusal::Unavailable(source) => Self::Unavailable(source),
        }
    }
}

impl From<report::Refusal> for Problem {
    fn from(refusal: report::Refusal) -> Self {
        match refusal {
            report::Refusal::EventNotFound => Self::EventNotFound,
            report::Refusal::Unavailable(source) => Self::Unavailable(source),
        }
    }
}

impl From<publish::Refusal> for Problem {
    fn from(refusal: publish::Refusal) -> Self {
        match refusal {
            publish::Refusal::Invalid(invalid) => Self::InvalidRequest(invalid),
            publish::Refusal::PreconditionFailed => Self::PreconditionFailed,
            publish::Refusal::SeatsInUse(seats) => Self::SeatsInUse(seats),
            publish::Refusal::Blocking(block::Refusal::Unavailable(source)) => Self::Unavailable(source),
            publish::Refusal::Blocking(_) | publish::Refusal::Overtaken => Self::Unavailable(refusal.into()),
            publish::Refusal::Store(error) => Self::Unavailable(error.into()),
        }
    }
}

impl From<seat_map::Refusal> for Problem {
    fn from(refusal: seat_map::Refusal) -> Self {
        match refusal {
            seat_map::Refusal::EventNotFound => Self::EventNotFound,
            seat_map::Refusal::SectionNotFound => Self::SectionNotFound,
            seat_map::Refusal::SectionRequired => Self::SectionRequired,
            seat_map::Refusal::NoAnswer(error) => Self::Unavailable(error.into()),
            seat_map::Refusal::Unavailable(source) => Self::Unavailable(source),
        }
    }
}

impl From<list_of_event::Refusal> for Problem {
    fn from(refusal: list_of_event::Refusal) -> Self {
        match refusal {
            list_of_event::Refusal::Invalid(invalid) => Self::InvalidRequest(invalid),
            list_of_event::Refusal::EventNotFound => Self::EventNotFound,
            list_of_event::Refusal::Unavailable(source) => Self::Unavailable(source),
        }
    }
}

impl From<show::Refusal> for Problem {
    fn from(refusal: show::Refusal) -> Self {
        match refusal {
            show::Refusal::NotFound => Self::ReservationNotFound,
            show::Refusal::Unavailable(source) => Self::Unavailable(source),
        }
    }
}

impl From<list::Refusal> for Problem {
    fn from(refusal: list::Refusal) -> Self {
        match refusal {
            list::Refusal::Invalid(invalid) => Self::InvalidRequest(invalid),
            list::Refusal::Store(error) => Self::Unavailable(error.into()),
            list::Refusal::Unlisted(error) => Self::Unavailable(error.into()),
        }
    }
}
