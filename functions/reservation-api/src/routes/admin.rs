//! The organiser's routes. Each asks for [`Admin`], whatever the gateway has let through.

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use shared::domain::Invalid;
use shared::domain::document::EventDocument;
use shared::domain::ids::EventId;

use super::{Answer, Named, Parameters, body, event_id, header_value, json, parameters};
use crate::caller::Admin;
use crate::list::PageQuery;
use crate::publish::Expected;
use crate::{App, list_of_event, publish, report, views};

/// Largest body of the organiser, in bytes: 200,000 seats with labels of their own.
const MAX_ADMIN_BODY: usize = 4 * 1024 * 1024;

/// `PUT /admin/events/{event_id}`
pub(super) async fn publish_event(
    State(app): State<App>,
    _: Admin,
    event: Named,
    headers: HeaderMap,
    request: Request,
) -> Answer {
    let Path(id) = event.map_err(|_| Invalid::new("event_id", "must be UTF-8"))?;
    let id = EventId::parse(&id)?;
    let document = EventDocument::parse(&body(request, MAX_ADMIN_BODY).await?, app.min_hold_seconds)?;
    let expected = match headers.get(header::IF_MATCH).map(|value| value.to_str().unwrap_or_default().trim()) {
        None => Expected::Any,
        Some("*") => Expected::Existing,
        Some(tag) => Expected::Tag(tag.to_owned()),
    };
    let event = publish::publish(&app, &id, &document, &expected).await?;
    let status = if event.version == 1 { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = json(status, &views::PublishedEvent::new(&event));
    response.headers_mut().insert(header::ETAG, header_value(&publish::etag(&event)));
    Ok(response)
}

#[derive(Deserialize)]
pub(super) struct ReservationsParameters {
    status: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// `GET /admin/events/{event_id}/reservations`
pub(super) async fn list_reservations(
    State(app): State<App>,
    _: Admin,
    event: Named,
    query: Parameters<ReservationsParameters>,
) -> Answer {
    let id = event_id(event)?;
    let ReservationsParameters { status, limit, cursor } = parameters(query)?;
    let query = PageQuery { limit, cursor };
    let (rows, cursor) = list_of_event::reservations(&app, &id, status.as_deref(), &query).await?;
    let entry = |(row, status)| views::CustomersReservation::stored(row, status);
    let reservations = rows.into_iter().map(entry).collect();
    Ok(json(StatusCode::OK, &views::EventReservations { reservations, cursor }))
}

/// `GET /admin/events/{event_id}/report`
pub(super) async fn report(State(app): State<App>, _: Admin, event: Named) -> Answer {
    let id = event_id(event)?;
    let refunds = report::refunds(&app, &id).await?;
    Ok(json(StatusCode::OK, &views::Report::new(id, refunds)))
}
