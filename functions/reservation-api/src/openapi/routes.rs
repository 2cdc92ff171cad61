//! The table of routes: what each takes, answers and refuses. A route of the router that is not here fails a test, and so
//! does one that is here and not there.

use serde_json::{Value, json};
use shared::domain::document::EventDocument;
use shared::domain::ids::{BlockId, EventId, IdempotencyKey, ReservationId};
use utoipa::openapi::path::HttpMethod::{Delete, Get, Post, Put};

use super::operation::{Answer, Door, Route};
use crate::accept::COMPACT;
use crate::problem::Slug;
use crate::routes::sent;
use crate::{caller, map_views, report_views, views};

/// An event and a reservation as they stand in examples.
const EVENT: &str = "club";
const RESERVATION: &str = "club.45177acc-a09a-521b-b131-5729aae0c7f4";

/// Every route of the function.
pub fn routes() -> Vec<Route> {
    [open(), reservations(), changes(), admin(), blocks()].into_iter().flatten().collect()
}

fn open() -> Vec<Route> {
    let about = |path, id, summary| {
        Route::new(Get, path, id, summary, Door::Open)
            .at::<EventId>("event_id", EVENT)
            .refuses(&[Slug::EventNotFound, Slug::Unavailable])
    };
    vec![
        Route::new(Get, "/health", "health", "Say whether the function answers", Door::Open).answers(Answer::json::<
            views::Health,
        >(
            200, "It does."
        ))
        .refuses(&[Slug::Unavailable]),
        Route::new(Get, "/openapi.json", "openapi", "Describe this API", Door::Open).answers(
            Answer::object(200, "This document.").with("Cache-Control", "It stays what it is until the next release."),
        )
        .refuses(&[Slug::Unavailable]),
        Route::new(Get, "/events", "list_events", "List the events, a page by id", Door::Open)
            .query::<sent::PageParameters>()
            .heeds("Cache-Control", "`no-cache` is answered by no copy.")
            .answers(
                Answer::json::<views::Events>(200, "A page.")
                    .leads_to("list_events", &[("cursor", "$response.body#/cursor")])
                    .leads_to("show_event", &[("event_id", "$response.body#/events/0/event_id")])
                    .leads_to("show_seats", &[("event_id", "$response.body#/events/0/event_id")])
                    .leads_to("reserve", &[("event_id", "$response.body#/events/0/event_id")]),
            )
            .refuses(&[Slug::InvalidRequest, Slug::Unavailable]),
        about("/events/{event_id}", "show_event", "Show an event with counts per section")
            .described("Counts a view.")
            .heeds("Cache-Control", "`no-cache` is answered by no copy.")
            .answers(
                Answer::json::<views::EventPage>(200, "The event.")
                    .leads_to("show_seats", &[("event_id", "$response.body#/event_id")])
                    .leads_to("reserve", &[("event_id", "$response.body#/event_id")]),
            ),
        about("/events/{event_id}/seats", "show_seats", "Show the seat map, or one section of it")
            .query::<sent::MapParameters>()
            .heeds("If-None-Match", "Tags of maps that are known.")
            .heeds("Accept", "The compact form is answered only where it is named.")
            .heeds("Cache-Control", "`no-cache` is answered by no copy.")
            .answers(
                cached(Answer::json::<map_views::Readable>(200, "The map."))
                    .or::<map_views::Compact>(COMPACT)
                    .with("ETag", "Another where any status is.")
                    .leads_to("reserve", &[("event_id", "$response.body#/event_id")])
                    .leads_to(
                        "show_layout",
                        &[("event_id", "$response.body#/event_id"), ("version", "$response.body#/version")],
                    ),
            )
            .answers(
                cached(Answer::empty(304, "It is still what the caller knows."))
                    .with("ETag", "The tag that was known."),
            )
            .refuses(&[Slug::InvalidRequest, Slug::SectionRequired, Slug::SeatNotFound]),
        about("/events/{event_id}/layouts/{version}", "show_layout", "Show the seats of a publication")
            .described("What the statuses of a compact map go by, in order. It never changes; a later one has another version.")
            .at::<u64>("version", "1")
            .answers(
                Answer::json::<map_views::LayoutView>(200, "The sections as published.")
                    .with("Cache-Control", "It may be kept for good."),
            )
            .refuses(&[Slug::LayoutNotFound]),
    ]
}

/// An answer with a seat map in it, or the news that it is the same.
fn cached(answer: Answer) -> Answer {
    answer.with("Cache-Control", "A second, for everybody.").with("Vary", "`accept`")
}

/// What can be done with the reservation that an answer names.
fn goes_on(answer: Answer) -> Answer {
    let id = [("reservation_id", "$response.body#/reservation_id")];
    let ids = ["show_reservation", "confirm", "extend", "cancel"];
    ids.into_iter().fold(answer, |answer, operation| answer.leads_to(operation, &id))
}

fn reservations() -> Vec<Route> {
    let key = "Names the attempt: a retry with the same key and body never reserves twice.";
    let token =
        |method, path, id, summary| Route::new(method, path, id, summary, Door::Token).refuses(&[Slug::Unavailable]);
    vec![
        token(Get, "/events/{event_id}/seats/mine", "show_own_seats", "Show the caller's seats of an event")
            .at::<EventId>("event_id", EVENT)
            .answers(
                Answer::json::<views::OwnSeats>(200, "The seats, each with its reservation.")
                    .with("Cache-Control", "`no-store`")
                    .leads_to("show_reservation", &[("reservation_id", "$response.body#/seats/0/reservation_id")]),
            )
            .refuses(&[Slug::EventNotFound]),
        token(Post, "/events/{event_id}/reservations", "reserve", "Reserve seats")
            .described("Named seats, or so many of a section: places of a general one, the best seats of a seated one.")
            .at::<EventId>("event_id", EVENT)
            .needs::<IdempotencyKey>("Idempotency-Key", key, "my-first-reservation")
            .heeds(
                "Prefer",
                "`wait=<seconds>`, at most 10: answer once the outcome is known. What is malformed is ignored.",
            )
            .waits()
            .takes::<sent::ReserveBody>(&[
                ("seats", json!({ "seats": ["BAL_C-A-101", "BAL_C-A-102"] })),
                ("places", json!({ "section": "FLOOR", "quantity": 2 })),
                ("adjacent", json!({ "section": "BAL_C", "quantity": 2, "adjacent": "required" })),
            ])
            .answers(goes_on(Answer::json::<views::Reservation>(
                200,
                "The key's reservation was stored before, and is alive.",
            )))
            .answers(goes_on(
                Answer::json::<views::Reservation>(201, "Held, while the caller waited.")
                    .with("Location", "The reservation."),
            ))
            .answers(goes_on(
                Answer::json::<views::Accepted>(202, "Claimed; it will be decided.")
                    .with("Location", "Where to see what becomes of it.")
                    .with("Retry-After", "Seconds after which to look."),
            ))
            .refuses(&[
                Slug::IdempotencyKeyMissing,
                Slug::EventNotFound,
                Slug::SeatNotFound,
                Slug::SeatsTaken,
                Slug::SoldOut,
                Slug::Contended,
                Slug::NoAdjacentSeats,
                Slug::LimitReached,
                Slug::SaleNotOpen,
                Slug::SaleClosed,
                Slug::SalePaused,
                Slug::Lapsed,
                Slug::HoldExpired,
                Slug::NotHeld,
                Slug::IdempotencyKeyReused,
                Slug::TooManyAttempts,
            ]),
        token(Get, "/reservations", "list_reservations", "List the caller's reservations, newest first")
            .described("Lags by an index, and leaves PENDING ones out.")
            .query::<sent::PageParameters>()
            .answers(
                Answer::json::<views::Reservations>(200, "A page.")
                    .leads_to("list_reservations", &[("cursor", "$response.body#/cursor")])
                    .leads_to(
                        "show_reservation",
                        &[("reservation_id", "$response.body#/reservations/0/reservation_id")],
                    ),
            )
            .refuses(&[Slug::InvalidRequest]),
        token(Get, "/reservations/{reservation_id}", "show_reservation", "Show a reservation to its owner")
            .at::<ReservationId>("reservation_id", RESERVATION)
            .query::<sent::WaitParameters>()
            .waits()
            .answers(goes_on(Answer::json::<views::Reservation>(200, "The reservation.")))
            .refuses(&[Slug::InvalidRequest, Slug::ReservationNotFound]),
    ]
}

fn changes() -> Vec<Route> {
    let change = |method, path, id, summary| {
        Route::new(method, path, id, summary, Door::Token)
            .at::<ReservationId>("reservation_id", RESERVATION)
            .answers(goes_on(Answer::json::<views::Reservation>(200, "The reservation as it is now.")))
            .refuses(&[Slug::ReservationNotFound, Slug::HoldExpired, Slug::Unavailable])
    };
    vec![
        change(Post, "/reservations/{reservation_id}/confirm", "confirm", "Confirm a reservation that is paid")
            .described(
                "The payment side's, and its owner's where it costs nothing: then without `payment_reference`. \
                 The same reference again changes nothing.",
            )
            .takes::<sent::ConfirmBody>(&[
                ("paid", json!({ "payment_reference": "payment-1" })),
                ("late", json!({ "payment_reference": "payment-1", "if_expired": "rebook" })),
            ])
            .refuses(&[Slug::Forbidden, Slug::Pending, Slug::NotHeld, Slug::AlreadyConfirmed]),
        change(Post, "/reservations/{reservation_id}/extend", "extend", "Extend a hold, once").refuses(&[
            Slug::Pending,
            Slug::AlreadyExtended,
            Slug::NotExtendable,
        ]),
        change(Delete, "/reservations/{reservation_id}", "cancel", "Cancel a reservation")
            .described("It stays to be seen, as CANCELLED.")
            .refuses(&[Slug::NotHeld]),
    ]
}

fn admin() -> Vec<Route> {
    let published = |status, text| {
        let event = [("event_id", "$response.body#/event_id")];
        let answer = Answer::json::<views::PublishedEvent>(status, text).with("ETag", "Names this publication.");
        ["show_event", "show_seats", "reserve", "list_reservations_of_event", "report"]
            .into_iter()
            .fold(answer, |answer, operation| answer.leads_to(operation, &event))
    };
    vec![
        organisers(Put, "/admin/events/{event_id}", "publish_event", "Publish an event")
            .at::<EventId>("event_id", "matinee")
            .heeds("If-Match", "The tag of the publication to replace, or `*` for whichever there is.")
            .takes::<EventDocument>(&[("matinee", example_document())])
            .answers(published(200, "Published anew."))
            .answers(published(201, "Published for the first time."))
            .refuses(&[Slug::SeatsInUse, Slug::PreconditionFailed]),
        organisers(
            Get,
            "/admin/events/{event_id}/reservations",
            "list_reservations_of_event",
            "List everybody's reservations of an event, newest first",
        )
        .described(
            "Lags by an index, and leaves PENDING ones out. A page may be short: the end is where there is no cursor.",
        )
        .at::<EventId>("event_id", EVENT)
        .query::<sent::ReservationsParameters>()
        .answers(Answer::json::<views::EventReservations>(200, "A page."))
        .refuses(&[Slug::InvalidRequest, Slug::EventNotFound]),
        organisers(Get, "/admin/events/{event_id}/report", "report", "Show what an event has come to")
            .at::<EventId>("event_id", EVENT)
            .heeds("Accept", "`text/csv` is answered with the settled days as a table.")
            .answers(
                Answer::json::<report_views::Report>(200, "The report.").or_text("text/csv").with("Vary", "`accept`"),
            )
            .refuses(&[Slug::EventNotFound]),
    ]
}

fn blocks() -> Vec<Route> {
    let path = "/admin/events/{event_id}/blocks/{block_id}";
    let block = |method, id, summary| {
        organisers(method, path, id, summary)
            .at::<EventId>("event_id", EVENT)
            .at::<BlockId>("block_id", "press")
            .refuses(&[Slug::InvalidRequest, Slug::EventNotFound])
    };
    vec![
        block(Put, "put_block", "Take seats off sale")
            .described("The block is these seats now, whatever it was.")
            .takes::<sent::BlockBody>(&[("press", json!({ "seats": ["BAL_C-BAR-S8"], "note": "press" }))])
            .answers(Answer::json::<views::BlockView>(200, "The block as it is now.").leads_to(
                "delete_block",
                &[("event_id", "$request.path.event_id"), ("block_id", "$response.body#/block_id")],
            ))
            .refuses(&[Slug::SeatNotFound]),
        block(Delete, "delete_block", "Put a block's seats on sale again")
            .answers(Answer::json::<views::BlockView>(200, "The block, empty.")),
    ]
}

fn organisers(method: utoipa::openapi::path::HttpMethod, path: &'static str, id: &str, summary: &str) -> Route {
    Route::new(method, path, id, summary, Door::Scope(caller::ADMIN)).refuses(&[Slug::Unavailable])
}

fn example_document() -> Value {
    json!({
        "name": "Matinee", "venue": "Kino Aurora, Berlin", "starts_at": "2029-06-03T13:00:00Z",
        "time_zone": "Europe/Berlin", "currency": "EUR", "state": "on_sale",
        "sale": { "opens_at": "2026-01-01T00:00:00Z", "closes_at": "2029-06-03T13:00:00Z" },
        "hold_seconds": 600, "extend_seconds": 300, "max_hold_seconds": 900,
        "cancellable_until": "2029-06-01T00:00:00Z", "max_per_customer": 8,
        "sections": [
            { "id": "A", "name": "Stalls", "kind": "seated", "price_cents": 1900, "rows": [
                { "id": "1", "seats": 12 }, { "id": "2", "seats": ["1", "2", "5"] },
            ] },
            { "id": "FLOOR", "name": "Floor", "kind": "general", "price_cents": 900, "capacity": 50 },
        ],
    })
}
