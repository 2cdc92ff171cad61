//! A process of the API without a socket in front, so that a crowd in it costs no connections; on an office's stores.

use axum::Router;
use axum::http::HeaderMap;
use lambda_http::Body;
use lambda_http::http::Request;
use reservation_api::App;
use serde_json::Value;
use shared::redis::Redis;

use super::Office;
use super::wire::Wire;

/// The process.
#[derive(Clone)]
pub struct Process(Router);

/// What it answers.
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// More than any crowd of the tests.
const CROWD: usize = 10_000;

impl Process {
    /// On an office's stores, and this wire to the table.
    pub async fn of(office: &Office, wire: &Wire) -> Self {
        let config = office.system.config();
        Self::with(office, wire, Redis::connect(&config.redis_url, 1).await.unwrap()).await
    }

    /// The same on this Redis.
    pub async fn with(office: &Office, wire: &Wire, redis: Redis) -> Self {
        let app = App::new(office.system.config(), redis, wire.under(&office.table().await), office.log());
        Self(reservation_api::router(app.serving(CROWD)))
    }

    /// What anybody is answered.
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answered {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = reservation_api::answer(self.0.clone(), request.body(Body::Empty).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        Answered { status: parts.status.as_u16(), headers: parts.headers, body: body.to_vec() }
    }
}

impl Answered {
    /// The body; null where it is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as it came.
    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}
