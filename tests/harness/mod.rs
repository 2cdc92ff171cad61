//! What every test stands on: a system of its own, an event to sell, and waiting for conditions instead of sleeping.
//!
//! - [`Office`]: a running system. [`hall`]: small events. [`redis`]: a plain connection to look at Redis with.
//! - [`changing`]: what becomes of a reservation after it was accepted.
//! - [`scripts`]: Redis alone with the product's scripts. [`monitor`]: what Redis was asked. [`proxy`]: the wire to Redis,
//!   to be cut and tampered with. [`storm`]: crowds, and what must hold after them.
//! - [`functions`]: the functions by themselves, and the payloads of `events/`.
//! - [`table`]: reads the whole table. [`topic`]: reads a whole topic. [`handmade`]: requests and payloads.
//! - [`wire`]: the connection to DynamoDB, told how to fail. [`logs`]: a request log, told how to fail.
//! - [`runner`]: a job in a process of its own, to be frozen.
//! - [`persisting`]: the persisting function over stores of the test's own. [`process`]: a process of the API without a socket.
//! - [`eventually`]: polls a condition with a bound. [`dropped_after`]: ends a future wherever it waits.

pub mod changing;
pub mod functions;
pub mod hall;
pub mod handmade;
pub mod logs;
pub mod metrics;
pub mod monitor;
pub mod persisting;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod runner;
pub mod scripts;
pub mod second;
pub mod storm;
pub mod table;
pub mod topic;
pub mod wire;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::http::Method;
use futures_util::FutureExt;
use local::client::{Answer, ApiClient};
use local::config::cache_dir;
use local::servers::{ServerSet, Servers};
use local::system::{FrontRedis, ShapeSource, System, SystemSettings, WrapLog, WrapTable};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::{Instant, interval};

/// How long a condition may take to come true before the test fails: far beyond what a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Makes a test of each named function for each set of servers: `embedded::name` and `real::name`.
macro_rules! on_both_sets {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(local::servers::ServerSet::Embedded).await;
            })+
        }
        mod real {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(local::servers::ServerSet::Real).await;
            })+
        }
    };
}
pub(crate) use on_both_sets;

/// A running system of one test.
pub struct Office {
    /// The system.
    pub system: System,
}

/// How a test wants its system.
pub struct Wishes {
    /// Which servers.
    pub set: ServerSet,
    /// Whether holds are expired in the background.
    pub ticking: bool,
    /// What the event source is to do otherwise.
    pub shape_source: Option<ShapeSource>,
    /// Put around the API's request log.
    pub wrap_log: Option<WrapLog>,
    /// Put in front of Redis.
    pub front_redis: Option<FrontRedis>,
    /// Put around the table of the persisting function.
    pub wrap_table: Option<WrapTable>,
    /// Put around the API's table.
    pub wrap_api_table: Option<WrapTable>,
}

impl Wishes {
    /// Nothing unusual.
    pub fn plain(set: ServerSet) -> Self {
        Self {
            set,
            ticking: false,
            shape_source: None,
            wrap_log: None,
            front_redis: None,
            wrap_table: None,
            wrap_api_table: None,
        }
    }
}

impl Office {
    /// Opens a system in a fresh namespace.
    pub async fn open(set: ServerSet) -> Self {
        Self::open_with(Wishes::plain(set)).await
    }

    /// Opens a system as wished.
    pub async fn open_with(wishes: Wishes) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let system = System::start(settings(wishes), listener).await.unwrap_or_else(|error| panic!("{error}"));
        Self { system }
    }

    /// Opens a system on servers of the test's own.
    pub async fn open_on(servers: Servers, wishes: Wishes) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let system = System::start_on(servers, settings(wishes), listener).await;
        Self { system: system.unwrap_or_else(|error| panic!("{error}")) }
    }

    /// A client with that customer's token.
    pub fn customer(&self, name: &str) -> ApiClient {
        self.system.customer(name).unwrap()
    }

    /// Publishes an event document.
    pub async fn publish(&self, id: &str, document: &Value) -> Answer {
        let path = format!("/admin/events/{id}");
        self.system.organiser().unwrap().send(Method::PUT, &path, &[], Some(document)).await.unwrap()
    }

    /// Publishes a document that must be taken.
    pub async fn sells(&self, id: &str, document: &Value) {
        let answer = self.publish(id, document).await;
        assert!([200, 201].contains(&answer.status), "{} {}", answer.status, answer.body);
    }

    /// Waits until everything produced so far has been decided.
    pub async fn drained(&self) {
        self.system.event_source().drained(PATIENCE).await.unwrap();
    }

    /// What anybody is answered who asks past every copy.
    pub async fn fresh(&self, path: &str) -> Answer {
        fresh(&self.system.anyone(), path).await
    }

    /// The seat map's status of one seat.
    pub async fn seat_status(&self, event: &str, seat: &str) -> String {
        let map = self.fresh(&format!("/events/{event}/seats")).await;
        assert_eq!(map.status, 200, "{}", map.body);
        let sections = map.body["sections"].as_array().unwrap();
        let mut seats = sections.iter().flat_map(|section| section["seats"].as_array().into_iter().flatten());
        let found = seats.find(|entry| entry["id"] == seat).unwrap_or_else(|| panic!("no seat {seat}"));
        found["status"].as_str().unwrap().to_owned()
    }

    /// Stops the system in order.
    pub async fn close(self) {
        self.system.stop().await.unwrap();
    }
}

fn settings(wishes: Wishes) -> SystemSettings {
    static OPENED: AtomicU32 = AtomicU32::new(0);
    SystemSettings {
        servers: wishes.set,
        cache_dir: cache_dir(),
        namespace: format!("test-{}-{}", std::process::id(), OPENED.fetch_add(1, Ordering::Relaxed)),
        ticking: wishes.ticking,
        shape_source: wishes.shape_source,
        wrap_log: wishes.wrap_log,
        front_redis: wishes.front_redis,
        wrap_table: wishes.wrap_table,
        wrap_api_table: wishes.wrap_api_table,
    }
}

/// What this caller is answered who asks past every copy.
pub async fn fresh(client: &ApiClient, path: &str) -> Answer {
    client.send(Method::GET, path, &[("cache-control", "no-cache")], None).await.unwrap()
}

/// Sends a signal (`-STOP`, `-CONT`, `-KILL`) to a server of the test's own.
pub fn signal(name: &str, pid: u32) {
    assert!(std::process::Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

/// Waits until `look` brings something, for [`PATIENCE`] at most; `what` says what was waited for.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let until = Instant::now() + PATIENCE;
    let mut ticks = interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
    }
}

/// Runs all futures at once on tasks of their own and returns what they bring, in order.
pub async fn all_at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    futures: impl IntoIterator<Item = F>,
) -> Vec<T> {
    let tasks: Vec<_> = futures.into_iter().map(tokio::spawn).collect();
    let mut brought = Vec::with_capacity(tasks.len());
    for task in tasks {
        brought.push(task.await.unwrap());
    }
    brought
}

/// Polls a future so often, each time that what it waits for has come, and drops it; `None` = it was not done by then.
pub async fn dropped_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut left) = (pin!(future), polls);
    poll_fn(|context| {
        left -= 1;
        match future.poll_unpin(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
