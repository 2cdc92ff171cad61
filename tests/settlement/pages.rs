//! Many at once: pages of at most ninety reservations of one event and day, each one transaction, from any shard on.

use std::sync::{Arc, Mutex};

use local::servers::ServerSet;
use scheduled_jobs::{Report, Settled, run_job};
use serde_json::json;
use shared::clock;
use shared::dynamodb::settlement::Settlements;
use tokio::time::Instant;

use super::{Till, books, counted, end_the_lease, expected, jobs, ms, plain_jobs, settle};
use crate::harness::handmade::reservation_id;
use crate::harness::persisting::unreachable_redis;
use crate::harness::wire::{Fate, Wire, cancelled};
use crate::harness::{Office, on_both_sets};

on_both_sets!(
    more_than_a_page_is_counted_in_pages_of_one_event_and_day,
    a_row_that_cannot_be_read_keeps_nobody_else_waiting,
    a_busy_table_is_asked_again_and_a_run_out_of_time_is_gone_on_with,
    without_redis_the_job_rests,
);

/// Keys of one shard.
fn of_one_shard(event: &str) -> impl Iterator<Item = String> {
    let keys = (0..).map(|n| format!("key-{n}"));
    keys.filter(move |key| reservation_id(event, "ada", key).uuid().starts_with('7'))
}

async fn more_than_a_page_is_counted_in_pages_of_one_event_and_day(set: ServerSet) {
    const SOLD: u64 = 95;
    let office = Office::open(set).await;
    let noon = ms("2024-06-01T12:00:00Z");
    let mut many = Till::of(&office, "many", "Asia/Seoul").await;
    for key in of_one_shard("many").take(SOLD as usize) {
        let held = many.holds_under(&key, &[("B", 1)], noon).await;
        many.confirms(&held, noon).await;
    }
    let mut few = Till::of(&office, "few", "Asia/Seoul").await;
    for key in of_one_shard("few").take(3) {
        let held = few.holds_under(&key, &[("A", 1)], noon).await;
        few.confirms(&held, noon).await;
    }
    let longest = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&longest);
    let wire = Wire::new(move |operation, body| {
        if operation == "TransactWriteItems" {
            let length = body["TransactItems"].as_array().unwrap().len();
            let mut longest = seen.lock().unwrap();
            *longest = length.max(*longest);
        }
        Fate::Pass
    });
    let jobs = jobs(&office, wire.under(&office.table().await)).await;
    let done = settle(&jobs).await;
    // 98 in the index's order: 90 and 8, and the few make a page of their own wherever they stand.
    assert!((3..=4).contains(&done.pages_settled), "{done:?}");
    assert_eq!(Settled { pages_settled: 0, ..done }, counted(98, 0, 0));
    assert_eq!(wire.count("TransactWriteItems", |_| true), done.pages_settled);
    assert!((80..=92).contains(&*longest.lock().unwrap()), "{longest:?} of at most 100");
    assert_eq!(books(&office, "many").await, expected(&[("2024-06-01 B", [SOLD, SOLD * 4_900, 0, 0])]));
    assert_eq!(books(&office, "few").await, expected(&[("2024-06-01 A", [3, 26_700, 0, 0])]));
    // The next run begins where this one wrote its last page.
    let turn = Settlements::new(office.table().await).begin().await.unwrap();
    assert_eq!((turn.fence, turn.shard), (2, Some('7')));
    office.close().await;
}

async fn a_row_that_cannot_be_read_keeps_nobody_else_waiting(set: ServerSet) {
    let office = Office::open(set).await;
    let mut till = Till::of(&office, "pill", "Asia/Seoul").await;
    till.sells(&[("A", 1)], ms("2024-06-01T12:00:00Z")).await;
    let table = office.table().await;
    let (client, name) = table.raw();
    for shard in "0123456789abcdef".chars() {
        let broken = format!("RES#pill.{shard}0000000-0000-5000-8000-000000000000");
        let due = format!("settle#{shard}");
        let item = [("pk", broken.as_str()), ("sk", "-"), ("due_shard", &due), ("due_at", "0000000000001")];
        let put = item.iter().fold(client.put_item().table_name(name), |put, (field, value)| {
            put.item(*field, aws_sdk_dynamodb::types::AttributeValue::S((*value).into()))
        });
        put.send().await.unwrap();
    }
    assert_eq!(settle(&plain_jobs(&office).await).await, Settled { failed: 16, ..counted(1, 0, 1) });
    assert_eq!(books(&office, "pill").await, expected(&[("2024-06-01 A", [1, 8_900, 0, 0])]));
    office.close().await;
}

async fn a_busy_table_is_asked_again_and_a_run_out_of_time_is_gone_on_with(set: ServerSet) {
    let office = Office::open(set).await;
    let mut till = Till::of(&office, "busy", "Asia/Seoul").await;
    till.sells(&[("A", 1)], ms("2024-06-01T12:00:00Z")).await;
    let busy_for = |times: usize| {
        let left = Mutex::new(times);
        Wire::new(move |operation, _| {
            let mut left = left.lock().unwrap();
            if operation != "TransactWriteItems" || *left == 0 {
                return Fate::Pass;
            }
            *left -= 1;
            cancelled(&["None", "TransactionConflict", "None"])
        })
    };
    // Too busy: the run says so, and the next goes on.
    let hopeless = jobs(&office, busy_for(usize::MAX).under(&office.table().await)).await;
    assert_eq!(settle(&hopeless).await, Settled { failed: 1, ..counted(0, 0, 0) });
    assert_eq!(books(&office, "busy").await, expected(&[]));
    let late = plain_jobs(&office).await;
    let report = run_job(&late, json!({ "job": "settle" }), clock::wall_ms(), Instant::now()).await.unwrap();
    assert_eq!(report, Report::Settle(Settled { cut_short: true, ..counted(0, 0, 0) }));
    end_the_lease(&office).await;
    let patient = jobs(&office, busy_for(2).under(&office.table().await)).await;
    assert_eq!(settle(&patient).await, counted(1, 0, 1));
    assert_eq!(books(&office, "busy").await, expected(&[("2024-06-01 A", [1, 8_900, 0, 0])]));
    office.close().await;
}

async fn without_redis_the_job_rests(set: ServerSet) {
    let office = Office::open(set).await;
    let wire = Wire::new(|_, _| Fate::Pass);
    let table = wire.under(&office.table().await);
    let jobs = scheduled_jobs::Jobs::new(office.system.config(), unreachable_redis().await, table);
    assert_eq!(settle(&jobs).await, Settled { without_redis: true, ..counted(0, 0, 0) });
    assert_eq!(wire.forget(), [""; 0]);
    office.close().await;
}
