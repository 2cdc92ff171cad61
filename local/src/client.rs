//! A small HTTP client for the local API, shared by `rush`, the tests and the load generator, so that all of them ask the
//! way a customer's program would: over a socket, with kept-alive connections and a time-out.

use std::{fmt, sync::Arc, time::Duration};

use axum::http::{
    HeaderMap, Method, Request, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::{Value, json};

mod error;
#[cfg(test)]
mod tests;

pub use error::ClientError;

/// A whole exchange, connecting and reading the body included. API Gateway cuts a request at 30 s, and the longest wait a
/// caller may ask for (`Prefer: wait=10`) lies well inside it.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Connecting alone. The API is on this machine, where a connection is made at once or never.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an unused connection is kept: shorter than the minute after which servers usually hang up themselves.
const IDLE_TIMEOUT: Duration = Duration::from_secs(45);

/// Idle connections kept. Those over it are closed when their answer is in, so that a burst does not hold descriptors.
const IDLE_CONNECTIONS: usize = 256;

/// The longest body read, in bytes. A Lambda answers at most 6 MB, so a longer one is not from this system.
const ANSWER_BYTES: usize = 6 * 1024 * 1024;

/// A client of one API, for one caller. Cloning it is cheap, and clones share their connections.
#[derive(Clone)]
pub struct ApiClient {
    /// `http://host:port` and a path prefix, without a slash at the end.
    base_url: Arc<str>,
    /// The value of the `Authorization` header.
    authorization: Option<Arc<str>>,
    connections: Client<HttpConnector, Full<Bytes>>,
    timeout: Duration,
}

/// What the API answered, whatever the status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers of the answer.
    pub headers: HeaderMap,
    /// The body where its content type is JSON; `Null` where it is empty or something else.
    pub body: Value,
    /// The body as it came.
    pub raw: Bytes,
}

impl ApiClient {
    /// A client without a token, for `http://host:port`, with or without a path in front of every route. Nothing is
    /// connected yet.
    ///
    /// # Errors
    /// [`ClientError::BaseUrl`] for anything but such a URL; `https` is refused, because the local API speaks none.
    pub fn new(base_url: &str) -> Result<Self, ClientError> {
        let refuse = |reason| ClientError::BaseUrl { url: base_url.to_owned(), reason };
        let uri: Uri = base_url.parse().map_err(|_| refuse("it does not parse as a URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(refuse("it must begin with http://"));
        }
        if uri.query().is_some() {
            return Err(refuse("it must not have a query"));
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // Without it a small request waits for the acknowledgement of the one before, which spoils every latency.
        connector.set_nodelay(true);
        let connections = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector);
        let base_url = base_url.trim_end_matches('/').into();
        Ok(Self { base_url, authorization: None, connections, timeout: REQUEST_TIMEOUT })
    }

    /// The same API and connections, asked with this bearer token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { authorization: Some(format!("Bearer {token}").into()), ..self.clone() }
    }

    /// The same API and connections with another time-out than [`REQUEST_TIMEOUT`].
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// The base URL, without a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// `GET path`; the path begins with a slash and carries its query.
    ///
    /// # Errors
    /// [`ClientError`] where there is no complete answer; a refusal is an answer.
    pub async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.send_raw(Method::GET, path, &[], Bytes::new()).await
    }

    /// Sends `body` as JSON, or no body at all.
    ///
    /// # Errors
    /// As [`ApiClient::get`].
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, ClientError> {
        let Some(body) = body else {
            return self.send_raw(method, path, headers, Bytes::new()).await;
        };
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        self.send_raw(method, path, &all, Bytes::from(body.to_string())).await
    }

    /// Sends these bytes as they are, with no header but the given ones and the token: also for bodies no JSON value can
    /// be, such as a broken one.
    ///
    /// # Errors
    /// As [`ApiClient::get`].
    pub async fn send_raw(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let mut request = Request::builder().method(method.clone()).uri(format!("{}{path}", self.base_url));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, &**authorization);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|source| ClientError::Request {
            method: method.clone(),
            path: path.to_owned(),
            source,
        })?;
        match tokio::time::timeout(self.timeout, self.exchange(&method, path, request)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(ClientError::TimedOut { method, path: path.to_owned(), limit: self.timeout }),
        }
    }

    /// `POST /events/{event_id}/reservations` for these seats under this `Idempotency-Key`.
    ///
    /// # Errors
    /// As [`ApiClient::get`].
    pub async fn reserve(&self, event_id: &str, key: &str, seats: &[&str]) -> Result<Answer, ClientError> {
        let path = format!("/events/{event_id}/reservations");
        self.send(Method::POST, &path, &[("idempotency-key", key)], Some(&json!({ "seats": seats }))).await
    }

    /// One request and its whole answer, without a time-out.
    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, ClientError> {
        let response = self.connections.request(request).await.map_err(|source| {
            if source.is_connect() {
                ClientError::Connect { url: self.base_url.to_string(), source }
            } else {
                ClientError::Lost { method: method.clone(), path: path.to_owned(), source }
            }
        })?;
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        let raw = match Limited::new(body, ANSWER_BYTES).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(source) => {
                return Err(ClientError::Body { method: method.clone(), path: path.to_owned(), status, source });
            }
        };
        let body = if raw.is_empty() || !is_json(&head.headers) {
            Value::Null
        } else {
            serde_json::from_slice(&raw).map_err(|source| ClientError::NotJson {
                method: method.clone(),
                path: path.to_owned(),
                status,
                source,
            })?
        };
        Ok(Answer { status, headers: head.headers, body, raw })
    }
}

/// Leaves the token out.
impl fmt::Debug for ApiClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiClient")
            .field("base_url", &self.base_url)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Answer {
    /// A header's value, where it is there and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A field of the body that is a string.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.body.get(field).and_then(Value::as_str)
    }

    /// Why this is a refusal: the problem's `type`, or `http-<status>` for what the gateway in front answered without one.
    /// `None` below 400.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        (self.status >= 400).then(|| self.text("type").map_or_else(|| format!("http-{}", self.status), str::to_owned))
    }
}

/// `application/json` and `application/problem+json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json") || kind.to_ascii_lowercase().ends_with("+json")
}
