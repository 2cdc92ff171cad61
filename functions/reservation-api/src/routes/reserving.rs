//! Reserving: what a customer sends becomes a wish, and what becomes of it an answer.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use metrics::counter;
use serde::Deserialize;
use shared::domain::Invalid;
use shared::domain::document::MAX_SEATS_PER_RESERVATION;
use shared::domain::ids::{IdempotencyKey, Label, ReservationId, SeatId};
use shared::domain::json::from_json;
use shared::domain::reservation::Status;
use shared::telemetry::{REASON, REFUSED};
use utoipa::ToSchema;

use super::{Answer, MAX_BODY, Named, applied, body, event_id, header_value, json};
use crate::best::Adjacent;
use crate::caller::Caller;
use crate::problem::Problem;
use crate::reserve::{Reserve, Reserved, Wish};
use crate::wait::{Began, Wait};
use crate::{App, prefer, views, wait};

/// When to look at an accepted reservation, in seconds.
const LOOK_AFTER: u32 = 1;

/// What a customer sends: `seats`, or `section` and `quantity`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReserveBody {
    #[schema(value_type = Option<HashSet<SeatId>>, min_items = 1, max_items = 20)]
    seats: Option<Vec<SeatId>>,
    section: Option<Label>,
    #[schema(minimum = 1, maximum = 20)]
    quantity: Option<u32>,
    adjacent: Option<Adjacent>,
}

impl ReserveBody {
    fn wish(self) -> Result<Wish, Invalid> {
        let Self { seats, section, quantity, adjacent } = self;
        match (seats, section, quantity) {
            (Some(seats), None, None) if adjacent.is_none() => check_seats(&seats).map(|()| Wish::Seats(seats)),
            (None, Some(section), Some(quantity)) => {
                if !(1..=MAX_SEATS_PER_RESERVATION as u32).contains(&quantity) {
                    return Err(Invalid::new("quantity", format!("must be 1 to {MAX_SEATS_PER_RESERVATION}")));
                }
                Ok(Wish::Section { section, quantity, adjacent: adjacent.unwrap_or_default() })
            }
            (None, Some(_), None) => Err(Invalid::new("quantity", "is missing")),
            (None, None, Some(_)) => Err(Invalid::new("section", "is missing")),
            (None, None, None) => Err(Invalid::new("seats", "is missing; or ask for a section and a quantity")),
            (Some(_), ..) => Err(Invalid::new("seats", "cannot be chosen together with section, quantity or adjacent")),
        }
    }
}

/// `POST /events/{event_id}/reservations`
pub(super) async fn reserve(
    State(app): State<App>,
    began: Began,
    caller: Caller,
    event: Named,
    headers: HeaderMap,
    request: Request,
) -> Answer {
    let key = headers.get("idempotency-key").ok_or(Problem::KeyMissing)?;
    let key = IdempotencyKey::parse(key.to_str().unwrap_or_default())?;
    let event_id = event_id(event)?;
    let wish = from_json::<ReserveBody>(&body(request, MAX_BODY).await?)?.wish()?;
    let asked = Reserve { event_id, customer: caller.customer, key, wish };
    let wait = prefer::wait(&headers).and_then(|seconds| Wait::new(seconds, began));
    let (reserved, waited) = wait::reserve(&app, &asked, wait).await;
    let refused = |refusal| {
        let problem = Problem::from(refusal);
        counter!(REFUSED, REASON => problem.slug()).increment(1);
        problem
    };
    let answer = reserved.map_err(refused).map(|reserved| match reserved {
        Reserved::Accepted { request, now_ms } => {
            let location = location(&request.reservation_id);
            let mut response = json(StatusCode::ACCEPTED, &views::Accepted::new(request, now_ms));
            let headers = response.headers_mut();
            headers.insert(header::LOCATION, location);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(LOOK_AFTER));
            response
        }
        Reserved::Owned(row) => {
            let location = location(&row.reservation_id);
            // Made while the caller waited; what stood before him is no creation of this request.
            let made = waited.is_some() && row.status == Status::Held;
            let status = if made { StatusCode::CREATED } else { StatusCode::OK };
            let mut response = json(status, &views::Reservation::standing(row));
            if made {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        }
    });
    Ok(applied(answer, waited))
}

fn location(id: &ReservationId) -> HeaderValue {
    header_value(&format!("/reservations/{id}"))
}

fn check_seats(seats: &[SeatId]) -> Result<(), Invalid> {
    if seats.is_empty() || seats.len() > MAX_SEATS_PER_RESERVATION {
        return Err(Invalid::new("seats", format!("must be 1 to {MAX_SEATS_PER_RESERVATION} seats")));
    }
    match seats.iter().enumerate().find(|(at, seat)| seats[..*at].contains(seat)) {
        Some((at, seat)) => Err(Invalid::new(format!("seats[{at}]"), format!("names {seat} a second time"))),
        None => Ok(()),
    }
}
