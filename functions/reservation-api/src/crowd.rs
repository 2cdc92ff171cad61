//! How many requests one process serves at the same time: beyond that the answer is "not now", at once and without asking
//! any store. What a request asks of the stores at a time is bounded, so this bounds what a process asks of them; and a
//! queue would only have them answered when nobody waits for them any more.

use std::cell::Cell;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

/// Requests served at the same time, beside those that only wait for an outcome. An environment of classic Lambda is given
/// one, a managed instance eight a vCPU. Most of a request is waiting for the brokers, so a process keeps busy with many; at
/// twice what it can do, this many still have their answers in time (`bench/overload.rs`).
pub const MAX_AT_ONCE: usize = 128;

tokio::task_local! {
    static PLACE: Cell<Option<OwnedSemaphorePermit>>;
}

/// How many places there are. Clones share them.
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
    match crowd.0.try_acquire_owned() {
        Ok(place) => PLACE.scope(Cell::new(Some(place)), next.run(request)).await,
        Err(_) => Problem::Unavailable("too many requests at once".into()).into_response(),
    }
}

/// Gives the place of this request to another: it does nothing from here on but wait, which has a bound of its own.
pub fn step_aside() {
    // Whoever is served without a place, as in a test, has none to give.
    if let Ok(place) = PLACE.try_with(Cell::take) {
        drop(place);
    }
}
