//! How many requests one process serves at the same time: beyond that the answer is "not now", at once and without asking
//! any store. What a request asks of the stores at a time is bounded, so this bounds what a process asks of them; and a
//! queue would only have them answered when nobody waits for them any more.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use crate::problem::Problem;

/// Requests served at the same time, those that wait for an outcome among them. An environment of classic Lambda has one;
/// a managed instance is given eight a vCPU, unless somebody sets more.
pub const MAX_AT_ONCE: usize = 128;

/// The places there are. Clones share them.
#[derive(Debug, Clone)]
pub struct Crowd(Arc<Semaphore>);

impl Crowd {
    /// So many places.
    pub fn of(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places)))
    }
}

/// Serves a request if there is a place for it.
pub async fn admit(State(crowd): State<Crowd>, request: Request, next: Next) -> Response {
    match crowd.0.try_acquire() {
        Ok(_place) => next.run(request).await,
        Err(_) => Problem::Unavailable("too many requests at once".into()).into_response(),
    }
}
