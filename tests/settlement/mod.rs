//! Settlement: what days have come to, by hand-made cases and by chance, whoever dies wherever and however many run.
//!
//! [`days`]: which day is whose. [`pages`]: many at once. [`deaths`], [`runners`]: that nothing is counted twice or missed.
//! [`random`]: sums of anything. [`listed`]: what puts a reservation on the job's list. [`report`]: how it is read.

mod days;
mod deaths;
mod listed;
mod pages;
mod random;
mod report;
mod runners;

use std::collections::BTreeMap;

use scheduled_jobs::{Jobs, Report, Settled, run_job};
use serde_json::json;
use shared::clock;
use shared::domain::ids::{EventId, Label};
use shared::domain::money::Cents;
use shared::domain::reservation::Step;
use shared::dynamodb::Table;
use shared::dynamodb::changes::{Change, End};
use shared::dynamodb::reservations::{Hold, Repository};
use shared::dynamodb::rows::ReservationRow;
use shared::dynamodb::settlement::Settlements;
use shared::redis::{Redis, keys};
use tokio::time::Instant;

use crate::harness::handmade::Asked;
use crate::harness::{Office, PATIENCE, redis};

/// Prices of the sections that are sold here, in cents.
const PRICES: [(&str, u64); 3] = [("A", 8_900), ("B", 4_900), ("F", 0)];

/// A moment, in milliseconds since the epoch.
fn ms(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// Seats of a till's next reservation: sections and how many of each.
type Wish<'a> = &'a [(&'a str, u32)];

/// Sells seats of one event at moments of the test's choice.
struct Till {
    repository: Repository,
    event: String,
    zone: String,
    sold: u32,
}

impl Till {
    async fn of(office: &Office, event: &str, zone: &str) -> Self {
        let repository = Repository::new(office.table().await);
        Self { repository, event: event.to_owned(), zone: zone.to_owned(), sold: 0 }
    }

    /// A hold of seats that nobody had, a minute before a moment.
    async fn holds(&mut self, wish: Wish<'_>, at_ms: i64) -> ReservationRow {
        let key = format!("key-{}", self.sold);
        self.holds_under(&key, wish, at_ms).await
    }

    async fn holds_under(&mut self, key: &str, wish: Wish<'_>, at_ms: i64) -> ReservationRow {
        let (mut seats, mut amount, mut split) = (Vec::new(), Cents::ZERO, BTreeMap::new());
        for (section, quantity) in wish {
            self.sold += quantity;
            seats.extend((0..*quantity).map(|n| format!("{section}-1-{}", self.sold - n)));
            let price = PRICES.iter().find(|(id, _)| id == section).unwrap().1;
            let cents = Cents::price(price * u64::from(*quantity)).unwrap();
            amount = amount.checked_add(cents).unwrap();
            split.insert(Label::parse(section).unwrap(), cents);
        }
        let seats: Vec<&str> = seats.iter().map(String::as_str).collect();
        let held = (at_ms - 60_000, at_ms + 600_000);
        let asked = Asked { event: &self.event, customer: "ada", key, seats: &seats, limit: None, held };
        let mut request = asked.request();
        request.amount_cents = amount;
        if split.len() > 1 {
            request.section_cents = split;
        }
        match self.repository.hold(&request).await.unwrap() {
            Hold::Made(row) => row,
            other => panic!("{other:?}"),
        }
    }

    /// A sale at a moment.
    async fn sells(&mut self, wish: Wish<'_>, at_ms: i64) -> ReservationRow {
        let held = self.holds(wish, at_ms).await;
        self.confirms(&held, at_ms).await
    }

    async fn confirms(&self, held: &ReservationRow, at_ms: i64) -> ReservationRow {
        match self.repository.confirm(held, Some("payment"), &self.zone, at_ms, None).await.unwrap() {
            Change::Done(row) => row,
            other => panic!("{other:?}"),
        }
    }

    /// Takes a reservation back at a moment.
    async fn takes_back(&self, row: &ReservationRow, at_ms: i64) -> ReservationRow {
        match self.repository.end(row, Step::Cancel, at_ms).await.unwrap() {
            End::Ended(row) => row,
            other => panic!("{other:?}"),
        }
    }

    /// A row as it is stored.
    async fn row(&self, row: &ReservationRow) -> ReservationRow {
        self.repository.get(&row.reservation_id).await.unwrap().unwrap()
    }
}

async fn jobs(office: &Office, table: Table) -> Jobs {
    let config = office.system.config();
    Jobs::new(config, Redis::connect(&config.redis_url, 1).await.unwrap(), table)
}

async fn plain_jobs(office: &Office) -> Jobs {
    jobs(office, office.table().await).await
}

/// A run of the job by a clock that says so.
async fn settle_at(jobs: &Jobs, wall_ms: i64) -> Settled {
    match run_job(jobs, json!({ "job": "settle" }), wall_ms, Instant::now() + PATIENCE).await.unwrap() {
        Report::Settle(settled) => settled,
        other => panic!("{other:?}"),
    }
}

async fn settle(jobs: &Jobs) -> Settled {
    settle_at(jobs, clock::wall_ms()).await
}

/// What a run counts that nobody disturbs.
fn counted(sales: usize, refunds: usize, pages: usize) -> Settled {
    Settled { sales_settled: sales, refunds_settled: refunds, pages_settled: pages, ..Settled::default() }
}

/// Sold, revenue, refunded and refunds of a section on a day, as `<date> <section>`.
type Books = BTreeMap<String, [u64; 4]>;

/// An event's books as the table has them.
async fn books(office: &Office, event: &str) -> Books {
    let days = Settlements::new(office.table().await).days(&EventId::parse(event).unwrap()).await.unwrap().unwrap();
    let lines = days.into_iter().flat_map(|day| day.sections.into_iter().map(move |line| (day.date, line)));
    let line = |(date, (section, sums)): (_, (String, shared::dynamodb::to_settle::Sums))| {
        (format!("{date} {section}"), [sums.sold, sums.revenue_cents, sums.refunded, sums.refunds_cents])
    };
    lines.map(line).collect()
}

fn expected(lines: &[(&str, [u64; 4])]) -> Books {
    lines.iter().map(|(day, sums)| ((*day).to_owned(), *sums)).collect()
}

/// Lets the lock's lease end.
async fn end_the_lease(office: &Office) {
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    redis::command::<i64>(&redis, &["DEL", &keys::job_lock("settle")]).await;
}
