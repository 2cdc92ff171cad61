//! What a process does when it is asked for twice as much as it can: requests to reserve arrive at twice the rate at which
//! clients that wait for their answers keep it busy; with the bound on requests at once, and without it. Nobody who was
//! told "accepted" may be missing from the table afterwards.
//!
//!     cargo bench --profile dev --bench overload [-- SECONDS]

#![expect(clippy::unwrap_used, reason = "what a run cannot go on without ends it where it is missing")]

#[path = "../tests/harness/mod.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "the tests' harness, of which a run needs a part")]
mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::functions::events;
use harness::{Office, hall};
use lambda_http::Body;
use local::servers::ServerSet;
use reservation_api::{App, MAX_AT_ONCE, answer, router};
use serde_json::{Value, json};
use shared::domain::ids::ReservationId;
use shared::dynamodb::reservations::Repository;
use shared::redis::Redis;
use tokio::task::JoinSet;
use tokio::time::interval;

/// Clients that find out how much one process serves.
const CLIENTS: usize = 128;
/// An answer later than this is as good as none: the client has gone.
const USEFUL_WITHIN: Duration = Duration::from_secs(1);
/// How often arrivals are let in, as many as are due.
const ARRIVALS_EVERY: Duration = Duration::from_millis(5);
/// Places on sale: more than a run can take.
const PLACES: usize = 150_000;

/// What one request came to.
struct Served {
    accepted: Option<ReservationId>,
    took: Duration,
}

struct Desk {
    office: Office,
    router: axum::Router,
    /// A request as Lambda hands it over, but for the customer.
    request: Value,
    asked: AtomicUsize,
}

impl Desk {
    async fn open(at_once: usize) -> Arc<Self> {
        let office = Office::open(ServerSet::Embedded).await;
        office.sells("rush", &hall::standing(PLACES)).await;
        let config = office.system.config();
        let redis = Redis::connect(&config.redis_url, 8).await.unwrap();
        let app = App::new(config, redis, office.table().await, office.log()).serving(at_once);
        let mut request: Value = events().remove("http-reserve-accepted.json").unwrap();
        request["rawPath"] = json!("/events/rush/reservations");
        request["requestContext"]["http"]["path"] = request["rawPath"].clone();
        request["pathParameters"]["event_id"] = json!("rush");
        request["body"] = json!(json!({ "section": "FLOOR", "quantity": 1 }).to_string());
        Arc::new(Self { router: router(app), office, request, asked: AtomicUsize::new(0) })
    }

    /// One customer's only request.
    async fn ask(&self) -> Served {
        let customer = format!("customer-{}", self.asked.fetch_add(1, Ordering::Relaxed));
        let mut event = self.request.clone();
        event["requestContext"]["authorizer"]["jwt"]["claims"]["sub"] = json!(customer);
        let request = lambda_http::request::from_str(&event.to_string()).unwrap();
        let began = Instant::now();
        let answer = answer(self.router.clone(), request).await.unwrap();
        let took = began.elapsed();
        let accepted = (answer.status() == 202).then(|| {
            let Body::Text(body) = answer.body() else { panic!("{:?}", answer.body()) };
            let body: Value = serde_json::from_str(body).unwrap();
            ReservationId::parse(body["reservation_id"].as_str().unwrap()).unwrap()
        });
        Served { accepted, took }
    }

    /// Nobody who was accepted is missing.
    async fn close(self: Arc<Self>, served: &[Served]) {
        self.office.drained().await;
        let repository = Repository::new(self.office.table().await);
        for id in served.iter().filter_map(|served| served.accepted.as_ref()) {
            assert!(repository.get(id).await.unwrap().is_some(), "{id} was accepted and is forgotten");
        }
        Arc::into_inner(self).unwrap().office.close().await;
    }
}

/// Requests a second that are accepted where every client waits for its answer.
async fn saturation(seconds: u64) -> f64 {
    let desk = Desk::open(usize::MAX >> 4).await;
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let desk = Arc::clone(&desk);
        clients.spawn(async move {
            let mut served = Vec::new();
            while Instant::now() < until {
                served.push(desk.ask().await);
            }
            served
        });
    }
    let served: Vec<Served> = clients.join_all().await.into_iter().flatten().collect();
    let accepted = served.iter().filter(|served| served.accepted.is_some()).count();
    desk.close(&served).await;
    accepted as f64 / seconds as f64
}

/// Lets requests arrive at this rate, whether or not earlier ones were answered, and prints what became of them.
async fn overload(name: &str, at_once: usize, rate: f64, seconds: u64) -> f64 {
    let desk = Desk::open(at_once).await;
    let (began, mut arrivals, mut pace) = (Instant::now(), JoinSet::new(), interval(ARRIVALS_EVERY));
    while began.elapsed() < Duration::from_secs(seconds) {
        pace.tick().await;
        while (arrivals.len() as f64) < began.elapsed().as_secs_f64() * rate {
            let desk = Arc::clone(&desk);
            arrivals.spawn(async move { desk.ask().await });
        }
    }
    let served = arrivals.join_all().await;
    let useful = served.iter().filter(|served| served.accepted.is_some() && served.took <= USEFUL_WITHIN).count();
    let late = served.iter().filter(|served| served.accepted.is_some() && served.took > USEFUL_WITHIN).count();
    let mut refused: Vec<Duration> =
        served.iter().filter(|served| served.accepted.is_none()).map(|served| served.took).collect();
    refused.sort();
    let median = refused.get(refused.len() / 2).map_or(0.0, |took| took.as_secs_f64() * 1_000.0);
    let goodput = useful as f64 / seconds as f64;
    println!(
        "{name:<24}{:>8.0} arrive/s{goodput:>8.0} accepted/s{:>8} late{:>8} refused (median {median:.1} ms)",
        served.len() as f64 / seconds as f64,
        late,
        refused.len(),
    );
    desk.close(&served).await;
    goodput
}

#[tokio::main]
async fn main() {
    // Cargo itself adds `--bench`.
    let seconds = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(5);
    let most = saturation(seconds).await;
    println!("{CLIENTS} clients, each waiting: {most:.0} accepted/s");
    let with = overload(&format!("at most {MAX_AT_ONCE} at once"), MAX_AT_ONCE, 2.0 * most, seconds).await;
    let without = overload("without a bound", usize::MAX >> 4, 2.0 * most, seconds).await;
    println!("of saturation: {:.0} % with the bound, {:.0} % without", 100.0 * with / most, 100.0 * without / most);
}
