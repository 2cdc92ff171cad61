//! The routes: parse, call the use case, shape the answer. No decision is made here.

mod admin;
mod changes;
mod reading;
mod reserving;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use bytes::Bytes;
use lambda_http::RequestExt;
use serde::Deserialize;
use shared::domain::Invalid;
use shared::domain::ids::{EventId, ReservationId};
use shared::trace;
use utoipa::IntoParams;

use crate::caller::Caller;
use crate::crowd::admit;
use crate::list::PageQuery;
use crate::problem::Problem;
use crate::show::Shown;
use crate::wait::{Began, Wait};
use crate::{App, list, mine, prefer, views, wait};

/// Largest body of a customer, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// Largest answer, in bytes: Lambda takes 6 MB of JSON, in which each quote of ours takes two bytes.
const MAX_ANSWER: usize = 5_000_000;

/// How long the API's description may be kept: it changes with a release only.
const DESCRIPTION_CACHED: &str = "public, max-age=3600";

/// The function's routes over what it works with.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/openapi.json", get(describe))
        .route("/events", get(reading::list_events))
        .route("/events/{event_id}", get(reading::show_event))
        .route("/events/{event_id}/seats", get(reading::show_seats))
        .route("/events/{event_id}/layouts/{version}", get(reading::show_layout))
        .route("/events/{event_id}/seats/mine", get(show_own_seats))
        .route("/events/{event_id}/reservations", post(reserving::reserve))
        .route("/reservations", get(list_reservations))
        .route("/reservations/{reservation_id}", get(show_reservation).delete(changes::cancel))
        .route("/reservations/{reservation_id}/confirm", post(changes::confirm))
        .route("/reservations/{reservation_id}/extend", post(changes::extend))
        .route("/admin/events/{event_id}", put(admin::publish_event))
        .route("/admin/events/{event_id}/reservations", get(admin::list_reservations))
        .route("/admin/events/{event_id}/blocks/{block_id}", put(admin::put_block).delete(admin::delete_block))
        .route("/admin/events/{event_id}/report", get(admin::report))
        .fallback(|| async { Problem::NoSuchRoute })
        .method_not_allowed_fallback(|| async { Problem::NoSuchMethod })
        .layer(from_fn_with_state(app.crowd.clone(), admit))
        .layer(from_fn(traced))
        .with_state(app)
}

/// Answers as a part of the trace that Lambda began for the invocation.
async fn traced(request: Request, next: Next) -> Response {
    let trace = request.lambda_context_ref().and_then(|context| context.xray_trace_id.clone());
    trace::invocation(trace.as_deref(), next.run(request)).await
}

/// What callers send, for the API's description.
pub(crate) mod sent {
    pub(crate) use super::admin::{BlockBody, ReservationsParameters};
    pub(crate) use super::changes::ConfirmBody;
    pub(crate) use super::reading::MapParameters;
    pub(crate) use super::reserving::ReserveBody;
    pub(crate) use super::{PageParameters, WaitParameters};
}

type Answer = Result<Response, Problem>;
/// A path's one parameter; what is not UTF-8 names nothing.
type Named = Result<Path<String>, PathRejection>;
/// A query's parameters; the rejection's own words are axum's, not ours.
type Parameters<T> = Result<Query<T>, QueryRejection>;

fn event_id(named: Named) -> Result<EventId, Problem> {
    let Path(text) = named.map_err(|_| Problem::EventNotFound)?;
    EventId::parse(&text).map_err(|_| Problem::EventNotFound)
}

fn reservation_id(named: Named) -> Result<ReservationId, Problem> {
    let Path(text) = named.map_err(|_| Problem::ReservationNotFound)?;
    ReservationId::parse(&text).map_err(|_| Problem::ReservationNotFound)
}

fn parameters<T>(query: Parameters<T>) -> Result<T, Problem> {
    let Query(parameters) = query.map_err(|_| Invalid::new("query", "must be UTF-8 and name each parameter once"))?;
    Ok(parameters)
}

async fn health() -> Response {
    json(StatusCode::OK, &views::Health { status: "ok" })
}

/// `GET /openapi.json`
async fn describe(State(app): State<App>) -> Answer {
    let description = app.description().map_err(|error| Problem::Unavailable(error.into()))?;
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, DESCRIPTION_CACHED)];
    Ok((headers, description).into_response())
}

/// An answer or refusal, with the preference that was heeded.
fn applied(answer: Answer, waited: Option<Wait>) -> Response {
    let mut response = answer.into_response();
    if let Some(wait) = waited {
        prefer::applied(response.headers_mut(), wait.seconds);
    }
    response
}

/// `GET /reservations/{reservation_id}[?wait=]`
async fn show_reservation(
    State(app): State<App>,
    began: Began,
    caller: Caller,
    id: Named,
    query: Parameters<WaitParameters>,
) -> Answer {
    let id = reservation_id(id)?;
    let seconds = parameters(query)?.wait.as_deref().map(prefer::asked).transpose()?;
    let wait = seconds.and_then(|seconds| Wait::new(seconds, began));
    let (shown, waited) = wait::show(&app, &caller.customer, &id, wait).await;
    let answer = shown.map_err(Problem::from).map(|shown| match shown {
        Shown::Pending(request) => views::Reservation::pending(request),
        Shown::Stored(row, status) => views::Reservation::stored(row, status),
    });
    Ok(applied(answer.map(|view| json(StatusCode::OK, &view)), waited))
}

#[derive(Deserialize, IntoParams)]
pub(crate) struct WaitParameters {
    /// Seconds to wait while it is PENDING.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 10, nullable = false)]
    wait: Option<String>,
}

/// `GET /events/{event_id}/seats/mine`
async fn show_own_seats(State(app): State<App>, caller: Caller, event: Named) -> Answer {
    let own = mine::mine(&app, &caller.customer, &event_id(event)?).await?;
    let mut response = json(StatusCode::OK, &views::OwnSeats::new(own));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// `GET /reservations`
async fn list_reservations(State(app): State<App>, caller: Caller, query: Parameters<PageParameters>) -> Answer {
    let (rows, cursor) = list::reservations(&app, &caller.customer, &parameters(query)?.into()).await?;
    let reservations = rows.into_iter().map(|(row, status)| views::Reservation::stored(row, status)).collect();
    Ok(json(StatusCode::OK, &views::Reservations { reservations, cursor }))
}

#[derive(Deserialize, IntoParams)]
pub(crate) struct PageParameters {
    /// Most entries of the page; 50 where it is left out.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, nullable = false)]
    limit: Option<String>,
    /// Where the page begins: what an earlier one answered.
    #[param(nullable = false)]
    cursor: Option<String>,
}

impl From<PageParameters> for PageQuery {
    fn from(parameters: PageParameters) -> Self {
        Self { limit: parameters.limit, cursor: parameters.cursor }
    }
}

async fn body(request: Request<Body>, limit: usize) -> Result<Bytes, Problem> {
    to_bytes(request.into_body(), limit).await.map_err(|_| Problem::BodyTooLarge { limit })
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) if body.len() > MAX_ANSWER => {
            Problem::Unavailable("larger than an answer may be".into()).into_response()
        }
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => Problem::Unavailable(error.into()).into_response(),
    }
}

/// A header of our own making; what does not fit into one is left out.
fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_than_an_answer_may_be_is_refused() {
        assert_eq!(json(StatusCode::OK, &"x".repeat(MAX_ANSWER - 2)).status(), StatusCode::OK);
        let refused = json(StatusCode::OK, &"x".repeat(MAX_ANSWER));
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key(header::RETRY_AFTER));
    }
}
