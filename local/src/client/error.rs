//! Why a request has no answer: what a caller must tell apart is whether the API may have done what was asked.

use std::time::Duration;

use axum::http::Method;

/// Why there is no answer. Each names the request, since callers have many under way.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The base URL is not one this client can use.
    #[error("{url}: not the address of an API: {reason}")]
    BaseUrl {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The request could not be built: a path, header or token with characters that HTTP does not allow.
    #[error("{method} {path}: not a valid request")]
    Request {
        /// The method asked with.
        method: Method,
        /// The path asked for.
        path: String,
        /// What HTTP objects to.
        #[source]
        source: axum::http::Error,
    },
    /// Nobody accepts connections at the address, so the request was certainly not received.
    #[error("{url}: cannot connect; is the local system running?")]
    Connect {
        /// The base URL.
        url: String,
        /// The connector's error.
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    /// The connection ended before the answer began. The API may have done what was asked.
    #[error("{method} {path}: the connection ended before an answer")]
    Lost {
        /// The method asked with.
        method: Method,
        /// The path asked for.
        path: String,
        /// The connection's error.
        #[source]
        source: hyper_util::client::legacy::Error,
    },
    /// No complete answer within the time-out. The API may have done what was asked.
    #[error("{method} {path}: no answer within {limit:?}")]
    TimedOut {
        /// The method asked with.
        method: Method,
        /// The path asked for.
        path: String,
        /// The time-out that passed.
        limit: Duration,
    },
    /// The answer broke off, or is longer than a Lambda can send.
    #[error("{method} {path}: status {status}, but its body could not be read")]
    Body {
        /// The method asked with.
        method: Method,
        /// The path asked for.
        path: String,
        /// The HTTP status.
        status: u16,
        /// The reader's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer claims to be JSON and is not.
    #[error("{method} {path}: status {status}, but its body is not the JSON it claims to be")]
    NotJson {
        /// The method asked with.
        method: Method,
        /// The path asked for.
        path: String,
        /// The HTTP status.
        status: u16,
        /// The parser's error.
        #[source]
        source: serde_json::Error,
    },
}
