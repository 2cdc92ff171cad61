//! The HTTP function: checks and claims seats in Redis, remembers the request in Kafka, answers from what is decided.
//!
//! One reservation, top to bottom: [`routes`] parses → [`reserve`] has all the ifs → `shared::redis::claims` says yes or
//! no → `shared::kafka` remembers. [`problem`] alone knows the status codes of refusals.

mod accept;
mod best;
#[cfg(test)]
mod best_oracle;
mod best_split;
#[cfg(test)]
mod best_tests;
mod block;
mod budget;
mod caller;
mod cancel;
mod catalogue;
mod conditional;
mod confirm;
mod copies;
mod crowd;
mod events_list;
mod extend;
mod fingerprint;
mod hall;
mod known;
mod list;
mod list_of_event;
mod map_views;
mod mine;
mod moment;
pub mod openapi;
mod order;
mod prefer;
mod problem;
mod publish;
mod rebook;
mod report;
mod report_views;
mod reserve;
mod retry;
mod routes;
mod seat_map;
mod show;
mod viewed;
mod views;
mod wait;
mod warm;
mod without_redis;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use lambda_http::{Body, Response};
use shared::causes::chain;
use shared::config::Config;
use shared::dynamodb::Table;
use shared::dynamodb::events::Events;
use shared::dynamodb::reservations::Repository;
use shared::dynamodb::settlement::Settlements;
use shared::dynamodb::view_counts::ViewCounts;
use shared::kafka::RequestLog;
use shared::redis::Redis;
use shared::redis::bell::Bells;
use shared::redis::blocking::Blocking;
use shared::redis::claims::Claims;
use shared::redis::loading::Loading;
use shared::redis::published::PublishedCopies;
use shared::redis::records::Records;
use shared::redis::seat_map::SeatMaps;
use shared::redis::truth::Truths;
use shared::redis::views::Views;
use shared::stores::{OpenError, Stores};
use tower::ServiceExt;

use catalogue::Catalogue;
use copies::Copies;
pub use copies::{RECENT, WAIT_FOR_OTHERS, WAIT_FOR_OWN};
use crowd::Crowd;
pub use crowd::MAX_AT_ONCE;
use events_list::EventsList;
use hall::Halls;
pub use routes::router;
use seat_map::SeenSections;
use viewed::StoredViews;
use wait::Waiters;
pub use wait::{MAX_WAITERS, Polling};
use warm::Warmer;
use without_redis::WithoutRedis;

/// Answers one invocation: the router's answer, whole, as the runtime takes it.
///
/// # Errors
/// When the answer's body breaks off; ours are in memory.
pub async fn answer(router: axum::Router, request: lambda_http::Request) -> Result<Response<Body>, lambda_http::Error> {
    let (parts, body) = router.oneshot(request).await?.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await?;
    let body = match String::from_utf8(bytes.into()) {
        Ok(text) => Body::Text(text),
        Err(binary) => Body::Binary(binary.into_bytes()),
    };
    Ok(Response::from_parts(parts, body))
}

/// What the function works with. Cheap to clone; clones share connections and caches.
#[derive(Clone)]
pub struct App {
    claims: Claims,
    records: Records,
    truths: Truths,
    seat_maps: SeatMaps,
    views: Views,
    view_counts: ViewCounts,
    loading: Loading,
    blocking: Blocking,
    repository: Repository,
    settlements: Settlements,
    events: Events,
    catalogue: Catalogue,
    events_list: EventsList,
    halls: Halls,
    seen_sections: SeenSections,
    stored_views: StoredViews,
    without_redis: WithoutRedis,
    warmer: Warmer,
    waiters: Waiters,
    crowd: Crowd,
    redis: Redis,
    log: Arc<dyn RequestLog>,
    requests_topic: String,
    min_hold_seconds: u32,
    description: Arc<OnceLock<Bytes>>,
}

impl App {
    /// Opens all connections at once. A store that is down is met, and answered for, by the first request.
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub async fn connect(config: &Config) -> Result<Self, OpenError> {
        let Stores { redis, lock, table, log } = Stores::open(config).await?;
        let mut app = Self::new(config, redis, table, log);
        app.warmer.lock = lock;
        Ok(app)
    }

    /// Puts the function together from connections the caller has opened.
    pub fn new(config: &Config, redis: Redis, table: Table, log: Arc<dyn RequestLog>) -> Self {
        let repository = Repository::new(table.clone());
        let events = Events::new(table.clone());
        Self {
            claims: Claims::new(redis.clone()),
            records: Records::new(redis.clone()),
            truths: Truths::new(redis.clone()),
            seat_maps: SeatMaps::new(redis.clone()),
            views: Views::new(redis.clone()),
            settlements: Settlements::new(table.clone()),
            view_counts: ViewCounts::new(table),
            loading: Loading::new(redis.clone()),
            blocking: Blocking::new(redis.clone()),
            catalogue: Catalogue::new(events.clone(), PublishedCopies::new(redis.clone())),
            events_list: EventsList::new(redis.clone()),
            halls: Halls::new(),
            seen_sections: Copies::new(seat_map::MAX_COPIES),
            stored_views: Copies::good_for(Duration::ZERO, viewed::MAX_EVENTS),
            without_redis: WithoutRedis::new(),
            warmer: Warmer::new(redis.clone(), repository.clone(), events.clone()),
            waiters: Waiters::new(Bells::new(redis.clone()), Records::new(redis.clone())),
            crowd: Crowd::of(MAX_AT_ONCE),
            repository,
            events,
            redis,
            log,
            requests_topic: config.kafka.topics.requests.clone(),
            min_hold_seconds: config.min_hold_seconds,
            description: Arc::default(),
        }
    }

    /// Where requests are remembered.
    pub fn log(&self) -> Arc<dyn RequestLog> {
        Arc::clone(&self.log)
    }

    /// The API's description as JSON, written once.
    fn description(&self) -> Result<Bytes, serde_json::Error> {
        if let Some(written) = self.description.get() {
            return Ok(written.clone());
        }
        let written = Bytes::from(openapi::document(self.min_hold_seconds).to_json()?);
        Ok(self.description.get_or_init(|| written).clone())
    }

    /// The same with another pace of looking for an outcome that no bell has announced. For tests.
    #[must_use]
    pub fn polling(mut self, polling: Polling) -> Self {
        self.waiters.polling = polling;
        self
    }

    /// The same serving another number of requests at once. For tests and benches.
    #[must_use]
    pub fn serving(mut self, at_once: usize) -> Self {
        self.crowd = Crowd::of(at_once);
        self
    }

    /// How many requests wait for an outcome now.
    pub fn waiting(&self) -> usize {
        self.waiters.waiting()
    }

    /// Writes DynamoDB's answer into Redis, for whoever has it in hand. Failing to is only worth a line: the claim ends
    /// with its lease, and the condition decides again.
    async fn correct(&self, row: &shared::dynamodb::rows::ReservationRow, claimed: &[shared::domain::event::Seat]) {
        if let Err(error) = self.truths.write(&row.truth(claimed)).await {
            tracing::warn!(reservation_id = %row.reservation_id, error = chain(&error), "redis was not corrected");
        }
    }
}
