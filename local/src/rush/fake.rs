//! An API in memory that keeps the contract, or breaks one promise on demand: a check that cannot fail checks nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    routing::{get, post, put},
};
use tokio::{net::TcpListener, task::JoinHandle};

mod routes;

use routes::{event, list, look, publish, reserve, seats};

/// The promise this API breaks, once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Misdeed {
    /// None at all.
    None,
    /// Sells a seat that somebody else holds.
    TwoOwners,
    /// Never decides an accepted reservation.
    Forget,
    /// Answers 404 for an accepted reservation.
    Lose,
    /// Rejects after it has said HELD.
    ChangeMind,
    /// Makes two reservations of one key.
    SplitKey,
    /// Leaves a held reservation out of the list.
    Unlist,
    /// Refuses and holds all the same.
    HoldUntold,
    /// Counts one seat twice.
    Miscount,
    /// Not a breach: rejects an accepted reservation, as when Redis was flushed.
    RejectLate,
    /// Not a breach: is unavailable at the first attempt of every key.
    Unavailable,
    /// Refuses to publish.
    Unpublished,
}

struct Row {
    customer: String,
    seats: Vec<String>,
    /// How often it was looked at.
    looks: usize,
    listed: usize,
    status: &'static str,
}

struct Fake {
    misdeed: Misdeed,
    /// Whether the misdeed is done.
    done: bool,
    /// Seats by id, with their owner.
    seats: BTreeMap<String, Option<String>>,
    event_id: String,
    rows: BTreeMap<String, Row>,
    keys: BTreeSet<String>,
    /// How many looks at the seat map were answered 304.
    maps_saved: usize,
}

type Shared = Arc<Mutex<Fake>>;

/// The API on a free port, stopped when it is dropped.
pub(super) struct FakeApi {
    pub(super) url: String,
    task: JoinHandle<()>,
    state: Shared,
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeApi {
    pub(super) async fn start(misdeed: Misdeed) -> Self {
        let state = Arc::new(Mutex::new(Fake {
            misdeed,
            done: false,
            seats: BTreeMap::new(),
            event_id: String::new(),
            rows: BTreeMap::new(),
            keys: BTreeSet::new(),
            maps_saved: 0,
        }));
        let router = Router::new()
            .route("/admin/events/{event_id}", put(publish))
            .route("/events/{event_id}", get(event))
            .route("/events/{event_id}/seats", get(seats))
            .route("/events/{event_id}/reservations", post(reserve))
            .route("/reservations", get(list))
            .route("/reservations/{id}", get(look))
            .with_state(state.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, task, state }
    }

    /// Seats that somebody holds.
    pub(super) fn seats_held(&self) -> u64 {
        locked(&self.state).seats.values().flatten().count() as u64
    }

    /// How many looks at the seat map were answered 304.
    pub(super) fn maps_saved(&self) -> usize {
        locked(&self.state).maps_saved
    }

    /// Whether the misdeed was done.
    pub(super) fn misdeed_done(&self) -> bool {
        locked(&self.state).done
    }
}

/// The token a customer is known by: name and scopes, unsigned.
pub(super) fn token(customer: &str, scopes: &[&str]) -> String {
    format!("{customer}|{}", scopes.join(" "))
}

fn locked(state: &Shared) -> MutexGuard<'_, Fake> {
    state.lock().unwrap()
}
