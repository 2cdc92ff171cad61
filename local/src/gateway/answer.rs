//! What API Gateway says by itself, and what it adds to what the function says.

use axum::http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use bytes::Bytes;
use http_body_util::Full;
use serde_json::json;

/// What goes back to the client.
pub(super) type Answer = Response<Full<Bytes>>;

/// `Content-Type` is not for the asking: without it no browser sends a JSON body.
const ALLOWED_HEADERS: &str = "authorization,content-type,idempotency-key,if-match,if-none-match,prefer";
const ALLOWED_METHODS: &str = "DELETE,GET,POST,PUT";
const EXPOSED_HEADERS: &str = "etag,location,retry-after";

/// How long a browser may keep the answer to a preflight, in seconds.
const PREFLIGHT_MAX_AGE: u16 = 600;

/// An answer of the gateway's own.
pub(super) fn message(status: StatusCode, message: &str) -> Answer {
    let mut answer = Response::new(Full::from(json!({ "message": message }).to_string()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

/// 503: the function failed, or took too long.
pub(super) fn unavailable() -> Answer {
    message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
}

/// Whether a browser asks for permission, which needs neither route nor token.
pub(super) fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(header::ORIGIN)
        && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The permission.
pub(super) fn preflight() -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED_HEADERS));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(ALLOWED_METHODS));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE.into());
    answer
}

/// Lets a page of any origin see the answer; for requests that name one.
pub(super) fn let_pages_see(answer: &mut Answer) {
    let headers = answer.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
}
