//! What a refusal shows beside the fields every problem has.

use serde_json::{Map, Value, json};
use shared::domain::ids::{ReservationId, SeatId};

use crate::{known, reserve, views};

/// Of a change that was refused.
pub fn change_fields(refusal: &known::Refusal, fields: &mut Map<String, Value>) {
    use known::Refusal;
    let id = match refusal {
        Refusal::NotFound | Refusal::Forbidden => return,
        Refusal::HoldExpired { id, alternatives } => {
            if !alternatives.is_empty() {
                fields.insert("alternatives".into(), json!(alternatives));
            }
            id
        }
        Refusal::Pending { id }
        | Refusal::NotHeld { id }
        | Refusal::NotCancellable { id }
        | Refusal::AlreadyConfirmed { id }
        | Refusal::AlreadyExtended { id }
        | Refusal::NotExtendable { id }
        | Refusal::Unavailable { id, .. } => id,
    };
    fields.insert("reservation_id".into(), json!(id));
}

/// Of a reservation that was refused.
pub fn reserve_fields(refusal: &reserve::Refusal, fields: &mut Map<String, Value>) {
    use reserve::Refusal;
    let id: Option<&ReservationId> = match refusal {
        Refusal::SeatsTaken { id, taken, held_by_you } => {
            fields.insert("taken".into(), json!(taken));
            if !held_by_you.is_empty() {
                fields.insert("held_by_you".into(), json!(held_by_you));
            }
            id.as_ref()
        }
        Refusal::LimitReached { limit, id } => {
            if let Some(limit) = limit {
                fields.insert("limit".into(), json!(limit));
            }
            id.as_ref()
        }
        Refusal::SaleNotOpen { opens_at_ms, id } => {
            if let Some(ms) = opens_at_ms {
                fields.insert("opens_at".into(), json!(views::moment(*ms)));
            }
            id.as_ref()
        }
        Refusal::SeatsNotFound(seats) => {
            fields.insert("seats".into(), json!(seats.iter().map(SeatId::as_str).collect::<Vec<_>>()));
            None
        }
        Refusal::PlaceChosen(_) => {
            fields.insert("field".into(), json!("seats"));
            None
        }
        Refusal::SaleClosed { id } | Refusal::TooManyAttempts { id } | Refusal::Unavailable { id, .. } => id.as_ref(),
        Refusal::Contended { free, id } => {
            if let Some(free) = free {
                fields.insert("free".into(), json!(free));
            }
            id.as_ref()
        }
        Refusal::SoldOut { left } => {
            fields.insert("left".into(), json!(left));
            None
        }
        Refusal::Lapsed { id } | Refusal::NotHeld { id } | Refusal::HoldExpired { id } => Some(id),
        Refusal::EventNotFound
        | Refusal::SectionNotFound
        | Refusal::NoAdjacentSeats
        | Refusal::SalePaused
        | Refusal::KeyReused => None,
    };
    if let Some(id) = id {
        fields.insert("reservation_id".into(), json!(id));
    }
}
