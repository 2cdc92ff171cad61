//! The jobs that expire, heal and reconcile die wherever they wait, and the next run comes to the same end as if nothing had
//! happened. Those that count have tests of their own: `settlement::deaths`, `views`.

use fred::clients::Client;
use local::servers::ServerSet;
use scheduled_jobs::{Jobs, Report, run_job};
use serde_json::{Value, json};
use shared::clock;
use shared::domain::ids::{EventId, ReservationId};
use shared::domain::reservation::Status;
use shared::dynamodb::changes::Change;
use shared::dynamodb::reservations::{Hold, Repository};
use shared::redis::records::Records;
use shared::redis::{Redis, keys};
use tokio::time::Instant;

use crate::harness::changing::confirm;
use crate::harness::handmade::asks;
use crate::harness::{Office, PATIENCE, dropped_after, eventually, hall, on_both_sets, redis};

on_both_sets!(
    an_expiry_that_dies_anywhere_and_runs_again_has_ended_every_hold_once,
    a_healing_that_dies_anywhere_and_runs_again_has_told_every_change,
    a_reconciling_that_dies_anywhere_and_runs_again_has_repaired_everything,
);

/// Seats of the hall: more than any job waits times.
const ROWS: usize = 40;
const SEATS: usize = 20;

struct Site {
    office: Office,
    raw: Client,
    event: EventId,
    repository: Repository,
    set: ServerSet,
}

impl Site {
    async fn open(set: ServerSet, event: &str) -> Self {
        let office = Office::open(set).await;
        office.sells(event, &hall::small(ROWS, SEATS)).await;
        let raw = redis::connect(&office.system.servers().redis_url()).await;
        let repository = Repository::new(office.table().await);
        Self { office, raw, event: EventId::parse(event).unwrap(), repository, set }
    }

    /// A process that runs jobs, as one that has just begun, and its one connection to Redis.
    async fn process(&self) -> (Jobs, Redis) {
        let config = self.office.system.config();
        let redis = Redis::connect(&config.redis_url, 1).await.unwrap();
        (Jobs::new(config, redis.clone(), self.office.table().await), redis)
    }

    async fn run(&self, job: &str) -> Value {
        let (jobs, _) = self.process().await;
        let report = run(&jobs, job).await;
        let report = serde_json::to_value(report).unwrap();
        assert!([&report["overtaken"], &report["without_redis"]].iter().all(|halt| **halt != json!(true)), "{report}");
        report
    }

    /// Has a job die after so many waits, for every number of them until it comes to its end; each time `prepare` leaves it
    /// something to do, of the seat of that index, and `check` sees it done by the runs after. On slow servers four of five are
    /// left out, but of the first ten.
    async fn dies_everywhere<T>(
        &self,
        job: &str,
        prepare: impl AsyncFn(&Self, usize) -> T,
        check: impl AsyncFn(&Self, usize, T),
    ) {
        let is_tried = |waits: &usize| self.set == ServerSet::Embedded || *waits <= 10 || waits.is_multiple_of(5);
        let mut deaths = 0;
        for waits in (1..).filter(is_tried) {
            let prepared = prepare(self, waits).await;
            let (mortal, redis) = self.process().await;
            let done = dropped_after(waits, run(&mortal, job)).await;
            drop(mortal);
            // What it had sent comes before whatever is sent after it on its connection: nothing of the dead comes late.
            eventually("what the dead one had sent to arrive", || async { redis.now_ms().await.ok() }).await;
            // As time does.
            redis::command::<i64>(&self.raw, &["DEL", &keys::job_lock(job)]).await;
            check(self, waits, prepared).await;
            if done.is_some() {
                break;
            }
            deaths += 1;
        }
        println!("{job}: {deaths} deaths");
        assert!(deaths >= 5, "{job} waits more often: {deaths}");
    }

    fn seat(&self, at: usize) -> String {
        assert!(at < ROWS * SEATS, "the job waits too often for the hall");
        format!("A-{}-{}", at / SEATS + 1, at % SEATS + 1)
    }

    async fn status(&self, seat: &str) -> String {
        self.office.seat_status(self.event.as_str(), seat).await
    }
}

async fn run(jobs: &Jobs, job: &str) -> Report {
    run_job(jobs, json!({ "job": job }), clock::wall_ms(), Instant::now() + PATIENCE).await.unwrap()
}

async fn an_expiry_that_dies_anywhere_and_runs_again_has_ended_every_hold_once(set: ServerSet) {
    let site = Site::open(set, "expire").await;
    let prepare = async |site: &Site, at: usize| {
        let now_ms = clock::wall_ms();
        let times = (now_ms - 100_000, now_ms - 20_000);
        let request = asks("expire", &format!("customer-{at}"), &[&site.seat(at)], times);
        assert!(matches!(site.repository.hold(&request).await.unwrap(), Hold::Made(_)));
        request.reservation_id
    };
    let check = async |site: &Site, at: usize, id: ReservationId| {
        // The index may show a moment later what was put into it.
        eventually("the hold to be ended", || async {
            site.run("expire").await;
            let row = site.repository.get(&id).await.unwrap().unwrap();
            (row.status == Status::Expired && row.counted == 0).then_some(())
        })
        .await;
        assert_eq!(site.run("expire").await["expired"], 0, "once, killed after {at} waits");
        assert_eq!(site.status(&site.seat(at)).await, "free");
    };
    site.dies_everywhere("expire", prepare, check).await;
    let left: Vec<String> = site.office.scan().await.into_iter().filter(|item| item.contains("pk=\"SEATS#")).collect();
    assert!(left.is_empty(), "{left:#?}");
    site.office.close().await;
}

async fn a_healing_that_dies_anywhere_and_runs_again_has_told_every_change(set: ServerSet) {
    let site = Site::open(set, "heal").await;
    let records = Records::new(Redis::connect(&site.office.system.config().redis_url, 1).await.unwrap());
    let moving = keys::moving(&site.event);
    let together = |at: usize| 4 * at..4 * at + 4;
    let prepare = async |site: &Site, at: usize| {
        // Announced a minute ago, confirmed, and never told.
        for seat in together(at) {
            let seat = site.seat(seat);
            let id = site.office.holds(&site.office.customer(&seat), "heal", "k", &[&seat]).await;
            let (look, _) = records.ask(&id, None).await.unwrap();
            let row = site.repository.get(&id).await.unwrap().unwrap();
            let now_ms = look.now_ms;
            let confirmed = site.repository.confirm(&row, Some("p"), "UTC", now_ms, Some(now_ms)).await.unwrap();
            assert!(matches!(confirmed, Change::Done(_)), "{confirmed:?}");
        }
        let members: Vec<String> = redis::command(&site.raw, &["ZRANGE", &moving, "0", "-1"]).await;
        for member in &members {
            redis::command::<i64>(&site.raw, &["ZADD", &moving, "XX", "1", member]).await;
        }
        assert_eq!((members.len(), site.status(&site.seat(together(at).start)).await.as_str()), (4, "held"));
    };
    let check = async |site: &Site, at: usize, (): ()| {
        site.run("heal").await;
        for seat in together(at) {
            assert_eq!(site.status(&site.seat(seat)).await, "sold", "killed after {at} waits");
        }
        assert_eq!(redis::command::<i64>(&site.raw, &["ZCARD", &moving]).await, 0, "killed after {at} waits");
        assert_eq!(site.run("heal").await["healed"], 0);
    };
    site.dies_everywhere("heal", prepare, check).await;
    site.office.close().await;
}

async fn a_reconciling_that_dies_anywhere_and_runs_again_has_repaired_everything(set: ServerSet) {
    let site = Site::open(set, "reconcile").await;
    let [_, taken, ..] = keys::section_keys(&site.event, "A");
    let prepare = async |site: &Site, at: usize| {
        let client = site.office.customer(&format!("c-{at}"));
        let id = site.office.holds(&client, "reconcile", "k", &[&site.seat(at)]).await;
        assert_eq!(confirm(&site.office.payments(), &id, "p").await.status, 200);
        let row = site.repository.get(&id).await.unwrap().unwrap();
        let entries = keys::customer(&site.event, &row.customer);
        // Lost are the mark of the seat, whose section is in doubt, and what counts for the customer.
        redis::command::<i64>(&site.raw, &["SETBIT", &taken, &at.to_string(), "0"]).await;
        redis::command::<i64>(&site.raw, &["HDEL", &entries, id.uuid()]).await;
        redis::command::<i64>(&site.raw, &["SADD", &keys::dirty(&site.event), "A"]).await;
        (id, entries)
    };
    let check = async |site: &Site, at: usize, (id, entries): (ReservationId, String)| {
        // Who died may have come to the end of a turn, and the next run begins where he was.
        eventually("everything to be repaired", || async {
            site.run("reconcile").await;
            let entry: Option<String> = redis::command(&site.raw, &["HGET", &entries, id.uuid()]).await;
            let marked: i64 = redis::command(&site.raw, &["GETBIT", &taken, &at.to_string()]).await;
            (entry == Some(format!("0:1:s:{}", site.seat(at))) && marked == 1).then_some(())
        })
        .await;
        let doubts = ["EXISTS", &keys::dirty(&site.event), &keys::dirty_at_work(&site.event)];
        assert_eq!(redis::command::<i64>(&site.raw, &doubts).await, 0, "killed after {at} waits");
        assert_eq!(site.run("reconcile").await["repaired"], json!({}), "killed after {at} waits");
        assert_eq!(site.status(&site.seat(at)).await, "sold");
    };
    site.dies_everywhere("reconcile", prepare, check).await;
    site.office.close().await;
}
