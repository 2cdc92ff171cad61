//! What a thousand people look at for every ticket sold: an event, its seat map, and the layout the map goes by.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use shared::domain::ids::Label;
use utoipa::IntoParams;

use super::{Answer, Named, PageParameters, Parameters, event_id, header_value, json, parameters};
use crate::accept::Form;
use crate::map_views::{LayoutView, MapView};
use crate::problem::Problem;
use crate::seat_map::{self, Freshness};
use crate::{App, conditional, list, views};

/// How a shared cache may keep a seat map: for as long as this process would, and a little longer while it asks again. There
/// is nothing of any customer in it.
const MAP_CACHING: HeaderValue = HeaderValue::from_static("public, max-age=1, stale-while-revalidate=2");
/// How anybody may keep a layout: for good, since another publication has another version, and so another address.
const LAYOUT_CACHING: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// Who says `no-cache` (RFC 9111, 5.2.1.4) is answered by no copy.
fn freshness(headers: &HeaderMap) -> Freshness {
    let lines = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let mut directives = lines.flat_map(|line| line.split(','));
    let past_caches = directives.any(|directive| directive.trim().eq_ignore_ascii_case("no-cache"));
    if past_caches { Freshness::Asked } else { Freshness::Recent }
}

/// `GET /events`
pub(super) async fn list_events(
    State(app): State<App>,
    query: Parameters<PageParameters>,
    headers: HeaderMap,
) -> Answer {
    let listed = list::events(&app, &parameters(query)?.into(), freshness(&headers)).await?;
    Ok(json(
        StatusCode::OK,
        &views::Events { events: &listed.events, cursor: list::cursor_after(listed.next.as_ref()) },
    ))
}

/// `GET /events/{event_id}`: counts a view.
pub(super) async fn show_event(State(app): State<App>, event: Named, headers: HeaderMap) -> Answer {
    let id = event_id(event)?;
    let map = seat_map::all_sections(&app, &id, freshness(&headers)).await?;
    let views = crate::viewed::viewed(&app, &map.event.id).await?;
    Ok(json(StatusCode::OK, &views::EventPage::new(&map, views)))
}

#[derive(Deserialize, IntoParams)]
pub(crate) struct MapParameters {
    /// The section to show.
    #[param(inline, value_type = Option<Label>, nullable = false)]
    section: Option<String>,
}

/// `GET /events/{event_id}/seats[?section=]`, in the form that `Accept` asks for.
pub(super) async fn show_seats(
    State(app): State<App>,
    event: Named,
    query: Parameters<MapParameters>,
    headers: HeaderMap,
) -> Answer {
    let id = event_id(event)?;
    let section = parameters(query)?.section;
    let map = seat_map::seat_map(&app, &id, section.as_deref(), freshness(&headers)).await?;
    let form = Form::of(&headers);
    let view = MapView::new(&map, form);
    let tag = view.tag();
    let mut response = if conditional::is_known(&headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let body = view.body().map_err(|error| Problem::Unavailable(error.into()))?;
        ([(header::CONTENT_TYPE, form.media_type())], body).into_response()
    };
    let answered = response.headers_mut();
    answered.insert(header::ETAG, header_value(&tag));
    answered.insert(header::CACHE_CONTROL, MAP_CACHING);
    answered.insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// `GET /events/{event_id}/layouts/{version}`
pub(super) async fn show_layout(
    State(app): State<App>,
    named: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let Path((event, version)) = named.map_err(|_| Problem::LayoutNotFound)?;
    let id = event_id(Ok(Path(event)))?;
    // One spelling each: `+1` and `01` would be other addresses of the same.
    let number = version.parse().ok().filter(|number: &u64| number.to_string() == version);
    let found = seat_map::publication(&app, &id, number.ok_or(Problem::LayoutNotFound)?).await?;
    let event = found.ok_or(Problem::LayoutNotFound)?;
    let mut response = json(StatusCode::OK, &LayoutView::new(&event));
    response.headers_mut().insert(header::CACHE_CONTROL, LAYOUT_CACHING);
    Ok(response)
}
