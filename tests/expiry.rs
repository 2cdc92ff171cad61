//! The job that ends holds. It ends what ran out longer ago than the grace, by the slower of two clocks, and nothing else;
//! and what ran out counts for nobody even before the job comes by.

use std::time::Duration;

use local::servers::ServerSet;
use scheduled_jobs::{Expired, Jobs, Report, run_job};
use serde_json::json;
use shared::clock;
use shared::domain::reservation::Status;
use shared::dynamodb::reservations::{Hold, Repository};
use shared::message::Request;
use shared::redis::{Redis, keys};
use tokio::time::Instant;

use crate::harness::handmade::{Asked, asks, reservation_id};
use crate::harness::persisting::unreachable_redis;
use crate::harness::wire::{Fate, Wire};
use crate::harness::{Office, eventually, hall, on_both_sets, redis, storm};

on_both_sets!(
    a_row_that_cannot_be_read_keeps_nobody_else_waiting,
    what_ran_out_before_the_grace_ends_is_uncounted_and_is_free_and_the_rest_stays,
    more_than_a_page_of_one_shard_ends_in_one_run,
    a_seat_that_was_taken_over_stays_with_its_new_owner,
    without_redis_the_job_rests,
    the_slower_of_two_clocks_counts,
    a_run_whose_deadline_is_over_begins_nothing,
    a_hold_that_ran_out_counts_for_nobody_before_the_job_has_come_by,
);

/// Holds from so many seconds before now to so many: the grace is 15.
async fn held(office: &Office, request: &Request) {
    let repository = Repository::new(office.table().await);
    assert!(matches!(repository.hold(request).await.unwrap(), Hold::Made(_)), "{}", request.reservation_id);
}

/// The times of a hold, in seconds from now.
fn from_now(held_at: i64, expires_at: i64) -> (i64, i64) {
    let now_ms = clock::wall_ms();
    (now_ms + held_at * 1_000, now_ms + expires_at * 1_000)
}

async fn status(office: &Office, request: &Request) -> Status {
    let row = Repository::new(office.table().await).get(&request.reservation_id).await.unwrap();
    row.unwrap().status
}

fn done(report: Report) -> Expired {
    let Report::Expire(done) = report else { panic!("{report:?}") };
    done
}

async fn expired(office: &Office) -> Expired {
    done(office.system.expire().await.unwrap())
}

/// The job over stores of the test's own, once.
async fn run(office: &Office, redis: Redis, table: shared::dynamodb::Table, wall_ms: i64, within: Duration) -> Expired {
    let jobs = Jobs::new(office.system.config(), redis, table);
    done(run_job(&jobs, json!({ "job": "expire" }), wall_ms, Instant::now() + within).await.unwrap())
}

async fn what_ran_out_before_the_grace_ends_is_uncounted_and_is_free_and_the_rest_stays(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("grace", &hall::with(hall::small(1, 6), "max_per_customer", json!(2))).await;
    let old = asks("grace", "alice", &["A-1-1", "A-1-2"], from_now(-100, -20));
    let fresh = asks("grace", "bob", &["A-1-3"], from_now(-100, -5));
    let live = asks("grace", "carol", &["A-1-4"], from_now(-100, 500));
    for request in [&old, &fresh, &live] {
        held(&office, request).await;
    }
    // Redis still has a claim of the old one that it believes in, as after a promotion to a clock that is behind.
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    let event = old.reservation_id.event();
    let claim = format!("{}:{}", clock::wall_ms() + 500_000, old.reservation_id.uuid());
    let claims = keys::claims(&event, "A");
    redis::command::<i64>(&redis, &["HSET", &claims, "0", &claim, "1", &claim]).await;
    let (customer, entry) = (keys::customer(&event, &old.customer), format!("{}:2", clock::wall_ms() + 500_000));
    redis::command::<i64>(&redis, &["HSET", &customer, old.reservation_id.uuid(), &entry]).await;
    assert_eq!(office.seat_status("grace", "A-1-1").await, "held");
    let alice = office.customer("alice");
    assert_eq!(storm::insist(&alice, "grace", "2", &["A-1-5"]).await.text("type"), Some("limit-reached"));

    assert_eq!(expired(&office).await, Expired { expired: 1, ..Expired::default() });
    assert_eq!(status(&office, &old).await, Status::Expired);
    assert_eq!((status(&office, &fresh).await, status(&office, &live).await), (Status::Held, Status::Held));
    let seat_items: Vec<String> = office.scan().await.into_iter().filter(|item| item.contains("pk=\"SEATS#")).collect();
    assert_eq!(seat_items.len(), 2, "{seat_items:#?}");
    for seat in ["A-1-1", "A-1-2"] {
        eventually("the seat to show as free", || async {
            (office.seat_status("grace", seat).await == "free").then_some(())
        })
        .await;
    }
    // Neither in Redis nor in the table does the old hold count towards the limit of two.
    let again = storm::insist(&alice, "grace", "2", &["A-1-1", "A-1-5"]).await;
    assert_eq!(again.status, 202, "{}", again.body);
    office.drained().await;
    let shown = alice.get(&format!("/reservations/{}", again.text("reservation_id").unwrap())).await.unwrap();
    assert_eq!(shown.text("status"), Some("HELD"), "{}", shown.body);
    assert_eq!(expired(&office).await, Expired::default());
    office.close().await;
}

async fn more_than_a_page_of_one_shard_ends_in_one_run(set: ServerSet) {
    /// A page is 100.
    const HOLDS: usize = 105;
    let office = Office::open(set).await;
    let times = from_now(-100, -20);
    let keys = (0..).map(|n| format!("key-{n}"));
    let of_one_shard = keys.filter(|key| reservation_id("page", "alice", key).uuid().starts_with('7'));
    for (key, n) in of_one_shard.take(HOLDS).zip(1..) {
        let seat = format!("A-{}-{}", n / 100 + 1, n % 100 + 1);
        let asked = Asked { event: "page", customer: "alice", key: &key, seats: &[&seat], limit: None, held: times };
        held(&office, &asked.request()).await;
    }
    assert_eq!(expired(&office).await, Expired { expired: HOLDS, ..Expired::default() });
    let items = office.scan().await;
    assert!(!items.iter().any(|item| item.contains("pk=\"SEATS#") || item.contains("status=\"HELD\"")));
    let limit: Vec<&String> = items.iter().filter(|item| item.contains("pk=\"LIMIT#")).collect();
    assert!(limit.len() == 1 && limit[0].contains("live=0"), "{limit:?}");
    office.close().await;
}

async fn a_row_that_cannot_be_read_keeps_nobody_else_waiting(set: ServerSet) {
    let office = Office::open(set).await;
    held(&office, &asks("pill", "alice", &["A-1-1"], from_now(-100, -20))).await;
    office.has_an_unreadable_hold("pill").await;
    assert_eq!(expired(&office).await, Expired { expired: 1, failed: 1, ..Expired::default() });
    office.close().await;
}

async fn a_seat_that_was_taken_over_stays_with_its_new_owner(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("heir", &hall::small(1, 4)).await;
    let old = asks("heir", "alice", &["A-1-1", "A-1-2"], from_now(-100, -20));
    held(&office, &old).await;
    let heir = storm::insist(&office.customer("bob"), "heir", "k", &["A-1-1"]).await;
    assert_eq!(heir.status, 202, "{}", heir.body);
    office.drained().await;
    assert_eq!(expired(&office).await, Expired { expired: 1, ..Expired::default() });
    assert_eq!(status(&office, &old).await, Status::Expired);
    let bob = office.customer("bob");
    let shown = bob.get(&format!("/reservations/{}", heir.text("reservation_id").unwrap())).await.unwrap();
    assert_eq!(shown.text("status"), Some("HELD"), "{}", shown.body);
    assert_eq!(office.seat_status("heir", "A-1-1").await, "held");
    assert_eq!(office.seat_status("heir", "A-1-2").await, "free");
    let refused = storm::insist(&office.customer("carol"), "heir", "k", &["A-1-1"]).await;
    assert_eq!(refused.text("type"), Some("seats-taken"), "{}", refused.body);
    office.close().await;
}

async fn without_redis_the_job_rests(set: ServerSet) {
    let office = Office::open(set).await;
    held(&office, &asks("rest", "alice", &["A-1-1"], from_now(-100, -50))).await;
    let stored = office.scan().await;
    let wire = Wire::new(|_, _| Fate::Pass);
    let table = wire.under(&office.table().await);
    let rested = run(&office, unreachable_redis().await, table, clock::wall_ms(), Duration::from_secs(20)).await;
    assert_eq!(rested, Expired { without_clock: true, ..Expired::default() });
    assert_eq!((wire.count("Query", |_| true), wire.count("TransactWriteItems", |_| true)), (0, 0));
    assert_eq!(office.scan().await, stored);
    assert_eq!(expired(&office).await, Expired { expired: 1, ..Expired::default() });
    office.close().await;
}

async fn the_slower_of_two_clocks_counts(set: ServerSet) {
    const HOUR_MS: i64 = 3_600_000;
    let office = Office::open(set).await;
    held(&office, &asks("clock", "alice", &["A-1-1"], from_now(-100, -50))).await;
    let within_grace = asks("clock", "bob", &["A-1-2"], from_now(-100, -2));
    held(&office, &within_grace).await;
    let at = async |wall_ms| {
        let redis = Redis::connect(&office.system.servers().redis_url(), 1).await.unwrap();
        run(&office, redis, office.table().await, wall_ms, Duration::from_secs(20)).await
    };
    // Our own clock is behind: to it, nothing has run out. It is ahead: Redis' clock knows better.
    assert_eq!(at(clock::wall_ms() - HOUR_MS).await, Expired::default());
    assert_eq!(at(clock::wall_ms() + HOUR_MS).await, Expired { expired: 1, ..Expired::default() });
    assert_eq!(status(&office, &within_grace).await, Status::Held);
    office.close().await;
}

async fn a_run_whose_deadline_is_over_begins_nothing(set: ServerSet) {
    let office = Office::open(set).await;
    held(&office, &asks("cut", "alice", &["A-1-1"], from_now(-100, -50))).await;
    let stored = office.scan().await;
    let redis = Redis::connect(&office.system.servers().redis_url(), 1).await.unwrap();
    let cut = run(&office, redis, office.table().await, clock::wall_ms(), Duration::ZERO).await;
    assert_eq!(cut, Expired { cut_short: true, ..Expired::default() });
    assert_eq!(office.scan().await, stored);
    office.close().await;
}

async fn a_hold_that_ran_out_counts_for_nobody_before_the_job_has_come_by(set: ServerSet) {
    let office = Office::open(set).await;
    let hall = hall::with(hall::small(1, 4), "hold_seconds", json!(1));
    office.sells("swift", &hall::with(hall, "max_per_customer", json!(1))).await;
    let alice = office.customer("alice");
    let first = storm::insist(&alice, "swift", "1", &["A-1-1"]).await;
    assert_eq!(first.status, 202, "{}", first.body);
    let path = format!("/reservations/{}", first.text("reservation_id").unwrap());
    eventually("the hold to run out", || async {
        (alice.get(&path).await.unwrap().text("status") == Some("EXPIRED")).then_some(())
    })
    .await;
    let stored = Repository::new(office.table().await).get(&reservation_id("swift", "alice", "1")).await.unwrap();
    assert_eq!(stored.unwrap().status, Status::Held, "nobody has ended it");
    let second = storm::insist(&alice, "swift", "2", &["A-1-2"]).await;
    assert_eq!(second.status, 202, "{}", second.body);
    office.drained().await;
    let row = Repository::new(office.table().await).get(&reservation_id("swift", "alice", "2")).await.unwrap();
    assert_eq!(row.unwrap().status, Status::Held);
    let swept = Repository::new(office.table().await).get(&reservation_id("swift", "alice", "1")).await.unwrap();
    assert_eq!(swept.unwrap().status, Status::Expired, "the limit was made room for");
    office.close().await;
}
