//! What becomes of a reservation after it was accepted, asked for as a customer's or the payment side's program would.

use axum::http::Method;
use local::client::{Answer, ApiClient};
use serde_json::{Value, json};
use shared::domain::ids::ReservationId;

use super::{Office, eventually, storm};

/// The id an answer names.
pub fn id_of(answer: &Answer) -> ReservationId {
    ReservationId::parse(answer.text("reservation_id").unwrap_or_else(|| panic!("{}", answer.body))).unwrap()
}

async fn post(client: &ApiClient, id: &ReservationId, what: &str, body: Option<&Value>) -> Answer {
    client.send(Method::POST, &format!("/reservations/{id}/{what}"), &[], body).await.unwrap()
}

/// Confirms.
pub async fn confirm(client: &ApiClient, id: &ReservationId, reference: &str) -> Answer {
    post(client, id, "confirm", Some(&json!({ "payment_reference": reference }))).await
}

/// Confirms, and books once more where the hold has ended.
pub async fn rebook(client: &ApiClient, id: &ReservationId, reference: &str) -> Answer {
    let body = json!({ "payment_reference": reference, "if_expired": "rebook" });
    post(client, id, "confirm", Some(&body)).await
}

/// Confirms what costs nothing.
pub async fn confirm_for_nothing(client: &ApiClient, id: &ReservationId) -> Answer {
    post(client, id, "confirm", Some(&json!({}))).await
}

/// Extends.
pub async fn extend(client: &ApiClient, id: &ReservationId) -> Answer {
    post(client, id, "extend", None).await
}

/// Cancels.
pub async fn cancel(client: &ApiClient, id: &ReservationId) -> Answer {
    client.send(Method::DELETE, &format!("/reservations/{id}"), &[], None).await.unwrap()
}

/// Shows.
pub async fn show(client: &ApiClient, id: &ReservationId) -> Answer {
    client.get(&format!("/reservations/{id}")).await.unwrap()
}

/// Asks for so many of a section.
pub async fn reserve_of(client: &ApiClient, event: &str, key: &str, wish: &Value) -> Answer {
    let path = format!("/events/{event}/reservations");
    client.send(Method::POST, &path, &[("idempotency-key", key)], Some(wish)).await.unwrap()
}

/// Fails unless it was answered so.
#[track_caller]
pub fn assert_answer(answer: &Answer, status: u16, says: &str) {
    let said = if status < 300 { answer.text("status") } else { answer.text("type") };
    assert_eq!((answer.status, said), (status, Some(says)), "{}", answer.body);
}

impl Office {
    /// Reserves seats that must be accepted, and returns whose they are once they are stored.
    pub async fn holds(&self, client: &ApiClient, event: &str, key: &str, seats: &[&str]) -> ReservationId {
        let accepted = storm::insist(client, event, key, seats).await;
        assert_answer(&accepted, 202, "PENDING");
        self.drained().await;
        id_of(&accepted)
    }

    /// The payment side.
    pub fn payments(&self) -> ApiClient {
        self.system.payments().unwrap()
    }

    /// Waits until a reservation reads as expired.
    pub async fn ran_out(&self, client: &ApiClient, id: &ReservationId) {
        eventually("the hold to run out", || async {
            (show(client, id).await.text("status") == Some("EXPIRED")).then_some(())
        })
        .await;
    }
}
