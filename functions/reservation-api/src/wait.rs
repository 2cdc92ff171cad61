//! Waiting for the outcome. A waiter looks at the record, soon at first and then four times a second, and is woken by the
//! bell where this process can hear it; whatever ended the wait, the table has the last word. A waiter is one future: when
//! it goes away, so does all that it had.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use lambda_http::RequestExt;
use shared::causes::chain;
use shared::clock;
use shared::domain::ids::{CustomerId, ReservationId};
use shared::message::Request;
use shared::redis::bell::Bells;
use shared::redis::records::Records;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};

use crate::App;
use crate::crowd::step_aside;
use crate::reserve::{self, Reserve, Reserved};
use crate::retry::Retry;
use crate::show::{self, Shown};

/// Requests of a process that may wait at once. The local gateway passes 32 on at once, and a crowd of waiters must leave
/// room for whoever does not wait; an environment of classic Lambda has one request at a time.
pub const MAX_WAITERS: usize = 24;

/// How often a record is looked at while no bell rings.
#[derive(Debug, Clone, Copy)]
pub struct Polling {
    /// After this at first, and then after twice as long each time.
    pub first: Duration,
    /// But never after longer than this: what a lost bell costs.
    pub longest: Duration,
}

impl Default for Polling {
    fn default() -> Self {
        Self { first: Duration::from_millis(50), longest: Duration::from_millis(250) }
    }
}

/// When a request began, and by when its answer has to be under way.
#[derive(Debug, Clone, Copy)]
pub struct Began {
    at: Instant,
    deadline: Option<Instant>,
}

impl<S: Sync> FromRequestParts<S> for Began {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let deadline = parts.extensions.lambda_context_ref().map(|context| clock::deadline(context.deadline));
        Ok(Self { at: Instant::now(), deadline })
    }
}

/// A wait that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    /// How long.
    pub seconds: u64,
    until: Instant,
}

impl Wait {
    /// Of so many seconds from the beginning of the request, or less where the invocation has to end before. Waiting for
    /// no time is not waiting.
    pub fn new(seconds: u64, began: Began) -> Option<Self> {
        let until = began.at + Duration::from_secs(seconds);
        let until = began.deadline.map_or(until, |deadline| until.min(deadline));
        (seconds > 0).then_some(Self { seconds, until })
    }
}

/// Those who wait. Cheap to clone; clones share the bound and the ear.
#[derive(Clone)]
pub struct Waiters {
    bells: Bells,
    records: Records,
    slots: Arc<Semaphore>,
    pub(crate) polling: Polling,
}

impl Waiters {
    /// Nobody yet.
    pub fn new(bells: Bells, records: Records) -> Self {
        Self { bells, records, slots: Arc::new(Semaphore::new(MAX_WAITERS)), polling: Polling::default() }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        MAX_WAITERS - self.slots.available_permits()
    }

    /// Waits until the reservation is decided, or for as long as it may. `false` = too many wait already, nobody waited.
    async fn wait(&self, id: &ReservationId, wait: Wait) -> bool {
        let Ok(_slot) = self.slots.try_acquire() else { return false };
        step_aside();
        let look = Notify::new();
        tokio::select! {
            () = self.bells.rung(id, &look) => {}
            () = self.recorded(id, &look) => {}
            () = sleep_until(wait.until) => {}
        }
        true
    }

    /// Ends when the record has an outcome. What Redis does not say now, it may say next time; the table is asked in the end.
    async fn recorded(&self, id: &ReservationId, look: &Notify) {
        let mut pause = self.polling.first;
        loop {
            tokio::select! {
                () = look.notified() => {}
                () = sleep(pause) => pause = (pause * 2).min(self.polling.longest),
            }
            match self.records.look(id).await {
                Ok(look) if look.told.is_some() => return,
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(reservation_id = %id, error = chain(&error), "asking again")
                }
            }
        }
    }
}

/// An answer, and the wait that came before it, where there was one.
pub type Waited<T, E> = (Result<T, E>, Option<Wait>);

/// Reserves, and where that is accepted waits for the outcome: what a retry would be told then.
pub async fn reserve(app: &App, asked: &Reserve, wait: Option<Wait>) -> Waited<Reserved, reserve::Refusal> {
    let (request, now_ms, wait) = match (reserve::reserve(app, asked).await, wait) {
        (Ok(Reserved::Accepted { request, now_ms }), Some(wait)) => (request, now_ms, wait),
        (answer, _) => return (answer, None),
    };
    let accepted_at = Instant::now();
    if !app.waiters.wait(&request.reservation_id, wait).await {
        return (Ok(Reserved::Accepted { request, now_ms }), None);
    }
    // Redis' time went on as this process' did: nobody asks for it again to say how long a hold still is.
    let waited_ms = i64::try_from(accepted_at.elapsed().as_millis()).unwrap_or(i64::MAX);
    (decided(app, asked, request, now_ms.saturating_add(waited_ms)).await, Some(wait))
}

/// What the table says after a wait. While it says nothing, what was promised stands.
async fn decided(app: &App, asked: &Reserve, request: Request, now_ms: i64) -> Result<Reserved, reserve::Refusal> {
    let id = request.reservation_id.clone();
    let (row, event) = tokio::join!(app.repository.get(&id), app.catalogue.get(&asked.event_id));
    match (row, event) {
        (Ok(Some(row)), Ok(Some(event))) => {
            let fingerprint = asked.wish.fingerprint();
            Retry { app, event: &event, id: &id, fingerprint: &fingerprint, now_ms }.answer(row)
        }
        (row, event) => {
            if let Err(error) = &row {
                still_pending(&id, error);
            }
            if let Err(error) = &event {
                still_pending(&id, error);
            }
            Ok(Reserved::Accepted { request, now_ms })
        }
    }
}

/// Shows a reservation, and where it is pending waits until it no longer is.
pub async fn show(
    app: &App,
    caller: &CustomerId,
    id: &ReservationId,
    wait: Option<Wait>,
) -> Waited<Shown, show::Refusal> {
    let (request, wait) = match (show::show(app, caller, id).await, wait) {
        (Ok(Shown::Pending(request)), Some(wait)) => (request, wait),
        (shown, _) => return (shown, None),
    };
    if !app.waiters.wait(id, wait).await {
        return (Ok(Shown::Pending(request)), None);
    }
    let shown = match show::show(app, caller, id).await {
        Err(show::Refusal::Unavailable(error)) => {
            still_pending(id, error.as_ref());
            Ok(Shown::Pending(request))
        }
        shown => shown,
    };
    (shown, Some(wait))
}

fn still_pending(id: &ReservationId, error: &(dyn std::error::Error + 'static)) {
    let error = chain(error);
    tracing::warn!(reservation_id = %id, error, "nothing could be read after a wait; it is answered as pending");
}
