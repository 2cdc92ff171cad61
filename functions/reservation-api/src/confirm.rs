//! The use case: a reservation is paid. The hold must not have ended; whether the job has swept it or not makes no
//! difference. A payment that comes too late may ask to book the same seats once more.

use shared::clock;
use shared::domain::ids::{CustomerId, PaymentReference, ReservationId};
use shared::domain::money::Cents;
use shared::domain::reservation::Status;
use shared::dynamodb::changes::Change;
use shared::dynamodb::rows::ReservationRow;

use crate::App;
use crate::known::{self, Known, MAX_ROUNDS, Patience, Refusal, State, Whose};
use crate::rebook;

/// A payment.
#[derive(Debug, Clone)]
pub struct Payment {
    /// Who says so.
    pub caller: CustomerId,
    /// Whether the caller is the payment side: everybody else confirms only what is his own and costs nothing.
    pub is_payment_side: bool,
    /// The payment side's name for it.
    pub reference: Option<PaymentReference>,
    /// Whether to book once more where the hold has ended.
    pub rebook: bool,
}

impl Payment {
    fn may_confirm(&self, amount: Cents) -> Result<(), Refusal> {
        if self.is_payment_side || amount == Cents::ZERO { Ok(()) } else { Err(Refusal::Forbidden) }
    }

    /// The reference as it is stored.
    pub fn reference(&self) -> Option<&str> {
        self.reference.as_ref().map(PaymentReference::as_str)
    }

    /// What a row that is confirmed already answers.
    pub fn confirmed_before(&self, row: ReservationRow) -> Result<ReservationRow, Refusal> {
        if row.payment_reference.as_deref() == self.reference() {
            Ok(row)
        } else {
            Err(Refusal::AlreadyConfirmed { id: row.reservation_id })
        }
    }
}

/// Confirms; the same payment again changes nothing and is no error.
pub async fn confirm(app: &App, id: &ReservationId, payment: &Payment) -> Result<ReservationRow, Refusal> {
    let whose = if payment.is_payment_side { Whose::Anybodys } else { Whose::Owner };
    let known = known::find(app, id, &payment.caller, whose).await?;
    let mut row = match &known.state {
        State::Stored(row) => row.clone(),
        State::Pending(request) => {
            payment.may_confirm(request.amount_cents)?;
            return Err(Refusal::Pending { id: id.clone() });
        }
    };
    let mut patience = Patience::default();
    for _ in 0..MAX_ROUNDS {
        if let Err(forbidden) = payment.may_confirm(row.amount_cents) {
            known.remind(app, &row).await;
            return Err(forbidden);
        }
        match row.status.read_at(row.expires_at_ms, known.now_ms) {
            Status::Held => {}
            Status::Expired => {
                if !payment.rebook {
                    known.remind(app, &row).await;
                }
                return expired(app, &known, row, payment).await;
            }
            status => {
                known.remind(app, &row).await;
                return match status {
                    Status::Confirmed => payment.confirmed_before(row),
                    _ => Err(Refusal::NotHeld { id: id.clone() }),
                };
            }
        }
        let confirmed_at_ms = known.now_ms.unwrap_or_else(clock::wall_ms);
        let zone = &known.event.document.time_zone;
        let confirming = app.repository.confirm(&row, payment.reference(), zone, confirmed_at_ms, known.now_ms);
        match confirming.await {
            Ok(Change::Done(confirmed)) => {
                known.settle(app, &confirmed).await;
                return Ok(confirmed);
            }
            Ok(Change::Refused(stored)) => row = stored,
            Ok(Change::Lost) => return expired(app, &known, row, payment).await,
            Err(error) => {
                if !patience.again(&error).await {
                    return Err(Refusal::unavailable(id, error));
                }
            }
        }
    }
    Err(Refusal::unavailable(id, "the reservation kept changing"))
}

async fn expired(app: &App, known: &Known, row: ReservationRow, payment: &Payment) -> Result<ReservationRow, Refusal> {
    if payment.rebook {
        return Box::pin(rebook::rebook(app, known, row, payment)).await;
    }
    // Who has asked to book once more and now only asks again has paid all the same.
    let id = row.reservation_id.rebooked();
    let rebooked = app.repository.get(&id).await.map_err(|error| Refusal::unavailable(&id, error))?;
    match rebooked.filter(|rebooked| rebooked.status == Status::Confirmed) {
        Some(rebooked) if rebooked.payment_reference.as_deref() == payment.reference() => Ok(rebooked),
        _ => Err(Refusal::expired(&row.reservation_id)),
    }
}
