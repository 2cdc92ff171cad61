//! An API of the test's own beside the office's, on the same stores: one whose waiters can be counted and slowed down.

use std::time::Duration;

use axum::Router;
use axum::http::Method;
use local::client::{Answer, ApiClient};
use local::config::DEVELOPMENT_KEY;
use local::gateway::Gateway;
use local::system;
use reservation_api::{App, Polling};
use serde_json::json;
use tokio::net::TcpListener;

use crate::harness::Office;

/// So rarely that it never happens: only the bell is left.
pub const NEVER: Polling = Polling { first: Duration::from_secs(3_600), longest: Duration::from_secs(3_600) };

/// The API. Dropping it cuts its connections.
pub struct Desk {
    /// What answers.
    pub app: App,
    _gateway: Gateway,
    anyone: ApiClient,
}

impl Desk {
    /// Opens one on the office's stores; `None` = looking as often as it is deployed.
    pub async fn open(office: &Office, polling: Option<Polling>) -> Self {
        let app = App::connect(office.system.config()).await.unwrap();
        let app = match polling {
            Some(polling) => app.polling(polling),
            None => app,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway =
            Gateway::start(listener, DEVELOPMENT_KEY.to_owned(), reservation_api::router(app.clone())).unwrap();
        let anyone = ApiClient::new(&format!("http://{}", gateway.addr())).unwrap();
        Self { app, _gateway: gateway, anyone }
    }

    /// A client with that customer's token.
    pub fn customer(&self, name: &str) -> ApiClient {
        self.anyone.with_token(&system::token(name, &[]).unwrap())
    }

    /// What the gateway would hand its requests to.
    pub fn router(&self) -> Router {
        reservation_api::router(self.app.clone())
    }
}

/// Reserves a seat with this `Prefer` header.
pub async fn reserve_waiting(client: &ApiClient, event: &str, key: &str, seat: &str, prefer: &str) -> Answer {
    let path = format!("/events/{event}/reservations");
    let headers = [("idempotency-key", key), ("prefer", prefer)];
    client.send(Method::POST, &path, &headers, Some(&json!({ "seats": [seat] }))).await.unwrap()
}

/// Which preference was heeded.
pub fn applied(answer: &Answer) -> Option<&str> {
    answer.header("preference-applied")
}
