//! What becomes of a reservation after it was accepted: the routes that confirm, extend and cancel it.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::Deserialize;
use shared::domain::ids::PaymentReference;
use shared::domain::json::from_json;
use utoipa::ToSchema;

use super::{Answer, MAX_BODY, Named, body, json, reservation_id};
use crate::caller::Caller;
use crate::confirm::{self, Payment};
use crate::{App, cancel, extend, views};

/// What to do where the hold has ended.
#[derive(Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum IfExpired {
    /// Nothing.
    #[default]
    Refuse,
    /// Book the same seats once more, if nobody has them.
    Rebook,
}

/// What the payment side sends.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfirmBody {
    payment_reference: Option<PaymentReference>,
    #[serde(default)]
    if_expired: IfExpired,
}

/// `POST /reservations/{reservation_id}/confirm`
pub(super) async fn confirm(State(app): State<App>, caller: Caller, id: Named, request: Request) -> Answer {
    let id = reservation_id(id)?;
    let ConfirmBody { payment_reference, if_expired } = from_json(&body(request, MAX_BODY).await?)?;
    if payment_reference.is_none() && caller.is_payment_side {
        return Err(shared::domain::Invalid::new("payment_reference", "is missing").into());
    }
    let Caller { customer, is_payment_side } = caller;
    let rebook = if_expired == IfExpired::Rebook;
    let payment = Payment { caller: customer, is_payment_side, reference: payment_reference, rebook };
    let row = confirm::confirm(&app, &id, &payment).await?;
    Ok(json(StatusCode::OK, &views::Reservation::standing(row)))
}

/// `POST /reservations/{reservation_id}/extend`
pub(super) async fn extend(State(app): State<App>, caller: Caller, id: Named) -> Answer {
    let row = extend::extend(&app, &caller.customer, &reservation_id(id)?).await?;
    Ok(json(StatusCode::OK, &views::Reservation::standing(row)))
}

/// `DELETE /reservations/{reservation_id}`
pub(super) async fn cancel(State(app): State<App>, caller: Caller, id: Named) -> Answer {
    let row = cancel::cancel(&app, &caller.customer, &reservation_id(id)?).await?;
    Ok(json(StatusCode::OK, &views::Reservation::standing(row)))
}
