//! An on-sale through the HTTP API: many customers want few seats at once, and afterwards the books are checked.
//!
//! Everything here is seen from outside, as a customer would see it: a defect that no answer of the API shows is not found
//! by this, and one that it finds needs no knowledge of the inside to be believed.
//!
//! `venue` is what is sold, `seat_map` what is seen of it, `customer` buys, `audit` and `topic` check, `report` is the table
//! at the end, `progress` what is shown meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::http::Method;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::client::{Answer, ApiClient, ClientError};
use crate::outcomes::Outcomes;

mod audit;
mod customer;
#[cfg(test)]
mod fake;
mod progress;
mod report;
mod seat_map;
#[cfg(test)]
mod tests;
mod topic;
mod venue;

pub use audit::Findings;
pub use report::RushReport;

use customer::{Customer, CustomerLog};
use progress::Progress;
use seat_map::SeatMap;
use venue::Venue;

/// Customers in one rush. Each is a task and a token in memory; far above it the machine is measured, not the system.
pub const MAX_CUSTOMERS: usize = 200_000;

/// Seats in one rush: the largest event whose seat map the API gives in one answer.
pub const MAX_SEATS: usize = 20_000;

/// Requests under way at once. An embedded system has both ends of every connection in this process, so this stays well
/// below half of the 1,024 descriptors that most systems allow.
const CONCURRENCY: usize = 200;

/// Until when an accepted reservation must have its outcome. An outcome usually takes a fraction of a second; a broker or
/// table that is being restarted takes some ten, and this is the time after which one calls the customer forgotten.
const OUTCOME_DEADLINE: Duration = Duration::from_secs(60);

/// How long a customer's list may lag behind the reservations it is an index of.
const LIST_DEADLINE: Duration = Duration::from_secs(30);

/// The share of customers who send every request a second time in parallel under the same key, as double clicks do.
const IMPATIENT: f64 = 0.2;

/// How often what is shown is brought up to date.
const REDRAW: Duration = Duration::from_millis(100);

/// What an on-sale is to be like.
#[derive(Clone, Debug)]
pub struct RushSettings {
    /// How many want seats: 1 to [`MAX_CUSTOMERS`].
    pub customers: usize,
    /// How many seats there are: 1 to [`MAX_SEATS`].
    pub seats: usize,
    /// Requests under way at once, at least 1.
    pub concurrency: usize,
    /// Decides who wants which seats and who is impatient; who comes first is up to the machine.
    pub seed: u64,
    /// Until when an accepted reservation must have its outcome.
    pub outcome_deadline: Duration,
    /// Until when a held reservation must be in its owner's list.
    pub list_deadline: Duration,
    /// Whether progress is written to standard output: a bar on a terminal, else a line now and then.
    pub show_progress: bool,
}

impl Default for RushSettings {
    /// 2,000 customers for 500 seats, with a seed of their own.
    fn default() -> Self {
        Self {
            customers: 2_000,
            seats: 500,
            concurrency: CONCURRENCY,
            seed: rand::rng().random(),
            outcome_deadline: OUTCOME_DEADLINE,
            list_deadline: LIST_DEADLINE,
            show_progress: true,
        }
    }
}

/// Why a rush has no report. What the system under it does wrong is in the report instead.
#[derive(Debug, thiserror::Error)]
pub enum RushError {
    /// A setting is out of its bounds.
    #[error("{name} must be {low} to {high}, not {value}")]
    Setting {
        /// Which setting.
        name: &'static str,
        /// The least allowed.
        low: usize,
        /// The most allowed.
        high: usize,
        /// What was asked for.
        value: usize,
    },
    /// The event could not be published, so nothing was sold.
    #[error("the event was not published: status {status}, {body}")]
    Publish {
        /// The HTTP status.
        status: u16,
        /// The body of the answer.
        body: String,
    },
    /// A question of the audit was not answered, so the books are unchecked.
    #[error("the books cannot be checked: GET {path} was answered with status {status}, {body}")]
    Audit {
        /// The path asked for.
        path: String,
        /// The HTTP status.
        status: u16,
        /// The body of the answer.
        body: String,
    },
    /// The API could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A customer's task panicked: a defect of the rush itself.
    #[error("a customer's task failed")]
    Customer(#[from] tokio::task::JoinError),
}

/// What all customers of one on-sale share.
struct OnSale {
    event_id: String,
    venue: Venue,
    seat_map: SeatMap,
    /// One permit a request under way.
    requests: Semaphore,
    outcome_deadline: Duration,
    counters: Counters,
}

/// What has happened so far, for those who watch.
#[derive(Default)]
struct Counters {
    asked: AtomicU64,
    won: AtomicU64,
    refused: AtomicU64,
}

impl OnSale {
    /// A hall of these settings, under an event id nobody has used.
    fn new(settings: &RushSettings) -> Self {
        let fresh = uuid::Uuid::new_v4().simple().to_string();
        Self {
            event_id: format!("rush-{}", &fresh[..12]),
            venue: Venue::with_seats(settings.seats),
            seat_map: SeatMap::default(),
            requests: Semaphore::new(settings.concurrency),
            outcome_deadline: settings.outcome_deadline,
            counters: Counters::default(),
        }
    }

    /// Waits for its turn, then asks; the time is that of the question alone.
    async fn ask(
        &self,
        question: impl Future<Output = Result<Answer, ClientError>>,
    ) -> (Result<Answer, ClientError>, Duration) {
        let _permit = self.requests.acquire().await.expect("nobody closes this semaphore");
        let begun = Instant::now();
        let answer = question.await;
        (answer, begun.elapsed())
    }
}

/// Publishes an event of its own, lets the customers at it and checks the books.
///
/// `tokens` gives the bearer token of a customer with these scopes. With `outcomes`, the books are held against what the
/// topic says, too. The event stays in the system afterwards, under the id
/// the report names.
///
/// # Errors
/// [`RushError`] where there is nothing to report: wrong settings, an event that is not published, or an API that does not
/// answer the audit. A system that breaks its promises is not an error but [`RushReport::exit_code`] 1.
pub async fn run(
    settings: RushSettings,
    client: ApiClient,
    tokens: impl Fn(&str, &[&str]) -> String,
    outcomes: Option<&Outcomes>,
) -> Result<RushReport, RushError> {
    within("customers", 1, MAX_CUSTOMERS, settings.customers)?;
    within("seats", 1, MAX_SEATS, settings.seats)?;
    within("concurrency", 1, Semaphore::MAX_PERMITS, settings.concurrency)?;
    let sale = Arc::new(OnSale::new(&settings));
    publish(&sale, &client.with_token(&tokens("rush-organiser", &["tickets/admin"]))).await?;

    let begun = Instant::now();
    let progress = Progress::begin(&settings, &sale.event_id);
    let mut customers = JoinSet::new();
    for number in 0..settings.customers {
        let name = format!("{}-{number}", sale.event_id);
        // A stream of random numbers for each customer, so that the order in which they run changes nobody's wishes.
        let mut rng = StdRng::seed_from_u64(settings.seed.wrapping_add(number as u64));
        let impatient = rng.random_bool(IMPATIENT);
        let customer = Customer { client: client.with_token(&tokens(&name, &[])), name, impatient, rng };
        let sale = sale.clone();
        customers.spawn(async move { customer.buy(&sale).await });
    }
    let logs = gather(customers, &sale, &progress, settings.customers).await?;
    let elapsed = begun.elapsed();

    progress.checking();
    let mut findings = audit::audit(&sale, &logs, &settings).await?;
    if let Some(outcomes) = outcomes {
        topic::check(&sale.event_id, &logs, outcomes, &mut findings).await;
    }
    progress.end();
    Ok(RushReport::new(&settings, &sale.event_id, elapsed, &logs, findings))
}

/// Waits for every customer, and shows how far they are.
async fn gather(
    mut customers: JoinSet<CustomerLog>,
    sale: &OnSale,
    progress: &Progress,
    expected: usize,
) -> Result<Vec<CustomerLog>, RushError> {
    let mut logs = Vec::with_capacity(expected);
    let mut redraw = tokio::time::interval(REDRAW);
    loop {
        tokio::select! {
            done = customers.join_next() => match done {
                Some(log) => logs.push(log?),
                None => break,
            },
            _ = redraw.tick() => progress.show(logs.len(), &sale.counters),
        }
    }
    progress.show(logs.len(), &sale.counters);
    Ok(logs)
}

/// Puts the event on sale.
async fn publish(sale: &OnSale, organiser: &ApiClient) -> Result<(), RushError> {
    let path = format!("/admin/events/{}", sale.event_id);
    let answer = organiser.send(Method::PUT, &path, &[], Some(&sale.venue.document)).await?;
    if answer.status == 201 {
        return Ok(());
    }
    Err(RushError::Publish { status: answer.status, body: String::from_utf8_lossy(&answer.raw).into_owned() })
}

/// Refuses a setting outside its bounds.
fn within(name: &'static str, low: usize, high: usize, value: usize) -> Result<(), RushError> {
    if (low..=high).contains(&value) { Ok(()) } else { Err(RushError::Setting { name, low, high, value }) }
}

impl Counters {
    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
