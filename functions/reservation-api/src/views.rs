//! The shapes callers see. They are contracts: a change here is a visible diff in the snapshots.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use shared::domain::document::EventDocument;
use shared::domain::event::{Event, Seat, Version};
use shared::domain::ids::{BlockId, CustomerId, EventId, Label, ReservationId, SeatId};
use shared::domain::money::{Cents, Currency};
use shared::domain::reservation::{Reason, Status};
use shared::dynamodb::events::EventSummary;
use shared::dynamodb::rows::ReservationRow;
use shared::message::Request;
use shared::redis::records::Having;
use shared::redis::seat_map::Counts;
use utoipa::ToSchema;

use crate::seat_map::SeatMap;
use crate::{block, mine};

/// A moment as callers read it: RFC 3339 in UTC.
pub fn moment(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or_default()
}

/// That the function answers.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `ok`
    pub status: &'static str,
}

/// 202: accepted, to be decided.
#[derive(Serialize, ToSchema)]
pub struct Accepted {
    reservation_id: ReservationId,
    event_id: EventId,
    status: Status,
    seats: Vec<SeatId>,
    amount_cents: Cents,
    currency: Currency,
    hold_expires_at: Timestamp,
    hold_expires_in_seconds: i64,
}

impl Accepted {
    /// What is promised with this request at `now_ms`.
    pub fn new(request: Request, now_ms: i64) -> Self {
        Self {
            event_id: request.reservation_id.event(),
            reservation_id: request.reservation_id,
            status: Status::Pending,
            seats: ids(&request.seats),
            amount_cents: request.amount_cents,
            currency: request.currency,
            hold_expires_at: moment(request.expires_at_ms),
            hold_expires_in_seconds: ((request.expires_at_ms - now_ms) / 1_000).max(0),
        }
    }
}

/// A reservation as its owner sees it.
#[derive(Serialize, ToSchema)]
pub struct Reservation {
    reservation_id: ReservationId,
    event_id: EventId,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    seats: Vec<SeatId>,
    amount_cents: Cents,
    currency: Currency,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold_expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmed_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rebooked_from: Option<ReservationId>,
}

impl Reservation {
    /// A stored reservation whose status reads as `status`.
    pub fn stored(row: ReservationRow, status: Status) -> Self {
        Self {
            event_id: row.reservation_id.event(),
            reservation_id: row.reservation_id,
            status,
            reason: row.outcome.reason(),
            seats: ids(&row.seats),
            amount_cents: row.amount_cents,
            currency: row.currency,
            created_at: moment(row.held_at_ms),
            hold_expires_at: (status == Status::Held || status == Status::Expired).then(|| moment(row.expires_at_ms)),
            confirmed_at: row.confirmed_at_ms.map(moment),
            payment_reference: row.payment_reference,
            rebooked_from: row.rebooked_from,
        }
    }

    /// A stored reservation, as it stands.
    pub fn standing(row: ReservationRow) -> Self {
        let status = row.status;
        Self::stored(row, status)
    }

    /// A reservation that nothing is stored of yet.
    pub fn pending(request: Request) -> Self {
        Self {
            event_id: request.reservation_id.event(),
            reservation_id: request.reservation_id,
            status: Status::Pending,
            reason: None,
            seats: ids(&request.seats),
            amount_cents: request.amount_cents,
            currency: request.currency,
            created_at: moment(request.held_at_ms),
            hold_expires_at: Some(moment(request.expires_at_ms)),
            confirmed_at: None,
            payment_reference: None,
            rebooked_from: None,
        }
    }
}

fn ids(seats: &[Seat]) -> Vec<SeatId> {
    seats.iter().map(|seat| seat.id.clone()).collect()
}

/// The caller's own seats.
#[derive(Serialize, ToSchema)]
pub struct OwnSeats {
    seats: Vec<OwnSeat>,
}

#[derive(Serialize, ToSchema)]
struct OwnSeat {
    id: SeatId,
    status: Having,
    reservation_id: ReservationId,
}

impl OwnSeats {
    /// The view of what was found.
    pub fn new(own: Vec<(mine::OwnSeat, Having)>) -> Self {
        let seat =
            |(own, status): (mine::OwnSeat, Having)| OwnSeat { id: own.seat, status, reservation_id: own.reservation };
        Self { seats: own.into_iter().map(seat).collect() }
    }
}

/// A block as it is now.
#[derive(Serialize, ToSchema)]
pub struct BlockView {
    block_id: BlockId,
    note: String,
    blocked: Vec<SeatId>,
    not_blocked: Vec<SeatId>,
}

impl BlockView {
    /// The view of what was set.
    pub fn new(block_id: BlockId, note: String, set: block::Set) -> Self {
        Self { block_id, note, blocked: set.blocked, not_blocked: set.not_blocked }
    }
}

/// A page of reservations.
#[derive(Serialize, ToSchema)]
pub struct Reservations {
    /// The page.
    pub reservations: Vec<Reservation>,
    /// Where the next begins; null = the end.
    #[schema(required)]
    pub cursor: Option<String>,
}

/// A reservation as the organiser sees it: with its customer, without whom nothing could be done about it.
#[derive(Serialize, ToSchema)]
pub struct CustomersReservation {
    customer: CustomerId,
    #[serde(flatten)]
    reservation: Reservation,
}

impl CustomersReservation {
    /// A stored reservation whose status reads as `status`.
    pub fn stored(row: ReservationRow, status: Status) -> Self {
        Self { customer: row.customer.clone(), reservation: Reservation::stored(row, status) }
    }
}

/// A page of an event's reservations.
#[derive(Serialize, ToSchema)]
pub struct EventReservations {
    /// The page.
    pub reservations: Vec<CustomersReservation>,
    /// Where the next begins; null = the end.
    #[schema(required)]
    pub cursor: Option<String>,
}

/// A page of events.
#[derive(Serialize, ToSchema)]
pub struct Events<'a> {
    /// The page.
    pub events: &'a [EventSummary],
    /// Where the next begins; null = the end.
    #[schema(required)]
    pub cursor: Option<String>,
}

/// An event as published.
#[derive(Serialize, ToSchema)]
pub struct PublishedEvent<'a> {
    event_id: &'a EventId,
    #[schema(value_type = u64)]
    version: Version,
    #[serde(flatten)]
    document: &'a EventDocument,
}

impl<'a> PublishedEvent<'a> {
    /// The view of a publication.
    pub fn new(event: &'a Event) -> Self {
        Self { event_id: &event.id, version: event.version, document: &event.document }
    }
}

/// An event with what is left of it.
#[derive(Serialize, ToSchema)]
pub struct EventPage<'a> {
    #[serde(flatten)]
    event: PublishedEvent<'a>,
    views: u64,
    availability: BTreeMap<&'a Label, Counts>,
}

impl<'a> EventPage<'a> {
    /// The view of an event whose every section was read.
    pub fn new(map: &'a SeatMap, views: u64) -> Self {
        let availability = map.sections().map(|(section, seen)| (&section.id, seen.drawn(section).counts)).collect();
        Self { event: PublishedEvent::new(&map.event), views, availability }
    }
}
