//! The organiser's routes. Each asks for [`Admin`], whatever the gateway has let through.

use std::collections::HashSet;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use shared::domain::Invalid;
use shared::domain::document::EventDocument;
use shared::domain::ids::{BlockId, EventId, SeatId};
use shared::domain::json::from_json;
use utoipa::{IntoParams, ToSchema};

use super::{Answer, Named, Parameters, body, event_id, header_value, json, parameters};
use crate::caller::Admin;
use crate::list::PageQuery;
use crate::problem::Problem;
use crate::publish::Expected;
use crate::{App, block, list_of_event, publish, report, report_views, views};

/// Largest body of the organiser, in bytes: 200,000 seats with labels of their own.
const MAX_ADMIN_BODY: usize = 4 * 1024 * 1024;
/// Longest note of a block, in characters.
const MAX_NOTE: usize = 500;

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

#[derive(Deserialize, IntoParams)]
pub(crate) struct ReservationsParameters {
    /// Only those that read so.
    #[param(inline, value_type = Option<list_of_event::Listed>, nullable = false)]
    status: Option<String>,
    /// Most entries of the page; 50 where it is left out.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, nullable = false)]
    limit: Option<String>,
    /// Where the page begins: what an earlier one answered.
    #[param(nullable = false)]
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
pub(super) async fn report(State(app): State<App>, _: Admin, event: Named, headers: HeaderMap) -> Answer {
    let id = event_id(event)?;
    let (event, days) = report::days(&app, &id).await?;
    let mut response = if report_views::prefers_csv(&headers) {
        (StatusCode::OK, [(header::CONTENT_TYPE, report_views::CSV)], report_views::csv(&id, &days)).into_response()
    } else {
        let refunds = report::refunds(&app, &id).await?;
        json(StatusCode::OK, &report_views::Report::new(id, event.document.currency, days, refunds))
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// What an organiser sends of a block.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlockBody {
    #[schema(value_type = HashSet<SeatId>)]
    seats: Vec<SeatId>,
    #[serde(default)]
    #[schema(max_length = 500, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    note: String,
}

type Two = Result<Path<(String, String)>, PathRejection>;

fn block_id(named: Two) -> Result<(EventId, BlockId), Problem> {
    let Path((event, block)) = named.map_err(|_| Problem::EventNotFound)?;
    Ok((EventId::parse(&event).map_err(|_| Problem::EventNotFound)?, BlockId::parse(&block)?))
}

/// `PUT /admin/events/{event_id}/blocks/{block_id}`
pub(super) async fn put_block(State(app): State<App>, _: Admin, named: Two, request: Request) -> Answer {
    let (event, block) = block_id(named)?;
    let BlockBody { seats, note } = from_json(&body(request, MAX_ADMIN_BODY).await?)?;
    if note.chars().count() > MAX_NOTE || note.chars().any(char::is_control) {
        let reason = format!("must be at most {MAX_NOTE} characters, none of them control characters");
        return Err(Invalid::new("note", reason).into());
    }
    let mut seen = HashSet::new();
    if let Some((at, seat)) = seats.iter().enumerate().find(|(_, seat)| !seen.insert(*seat)) {
        return Err(Invalid::new(format!("seats[{at}]"), format!("names {seat} a second time")).into());
    }
    let set = block::put(&app, &event, block.as_str(), &note, &seats).await?;
    Ok(json(StatusCode::OK, &views::BlockView::new(block, note, set)))
}

/// `DELETE /admin/events/{event_id}/blocks/{block_id}`
pub(super) async fn delete_block(State(app): State<App>, _: Admin, named: Two) -> Answer {
    let (event, block) = block_id(named)?;
    let set = block::put(&app, &event, block.as_str(), "", &[]).await?;
    Ok(json(StatusCode::OK, &views::BlockView::new(block, String::new(), set)))
}
