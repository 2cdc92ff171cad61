//! Views and their write-back: counted once, added to the table once, whoever dies wherever and whoever sleeps past his lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use local::servers::ServerSet;
use scheduled_jobs::{Jobs, Report, run_job};
use serde_json::json;
use shared::clock;
use shared::domain::ids::EventId;
use shared::dynamodb::Table;
use shared::dynamodb::view_counts::ViewCounts;
use shared::redis::views::Views;
use shared::redis::{Redis, keys};
use tokio::time::Instant;

use crate::harness::process::Process;
use crate::harness::runner::Runner;
use crate::harness::wire::{Fate, Gate, Wire};
use crate::harness::{Office, PATIENCE, all_at_once, dropped_after, eventually, hall, on_both_sets, redis};

on_both_sets!(
    five_hundred_looks_at_once_are_five_hundred_views,
    views_are_told_whole_before_during_and_after_their_write_back,
    a_request_delayed_past_its_runners_lock_adds_nothing_any_more,
    a_process_frozen_past_its_lease_adds_nothing_when_it_goes_on,
    a_lost_answer_adds_a_batch_once,
    a_write_back_that_dies_anywhere_loses_no_view_and_counts_none_twice,
);

async fn jobs(office: &Office, table: Table) -> Jobs {
    let config = office.system.config();
    Jobs::new(config, Redis::connect(&config.redis_url, 1).await.unwrap(), table)
}

async fn write_back(jobs: &Jobs) -> serde_json::Value {
    let payload = json!({ "job": "write_back" });
    let report = run_job(jobs, payload, clock::wall_ms(), Instant::now() + PATIENCE).await.unwrap();
    assert!(matches!(report, Report::WriteBack(_)));
    serde_json::to_value(report).unwrap()
}

fn event() -> EventId {
    EventId::parse("seen").unwrap()
}

/// Looks at the event's page.
async fn view(office: &Office) -> u64 {
    office.system.anyone().get("/events/seen").await.unwrap().body["views"].as_u64().unwrap()
}

async fn stored(office: &Office) -> u64 {
    ViewCounts::new(office.table().await).total(&event()).await.unwrap().views
}

/// Lets a lock's lease end.
async fn end_the_lease(office: &Office) {
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    redis::command::<i64>(&redis, &["DEL", &keys::job_lock("write_back")]).await;
}

async fn five_hundred_looks_at_once_are_five_hundred_views(set: ServerSet) {
    const PROCESSES: usize = 4;
    const LOOKS: usize = 500;
    const ROUNDS: usize = 10;
    let office = Office::open(set).await;
    office.sells("seen", &hall::small(1, 2)).await;
    let totals = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&totals);
    let wire = Wire::new(move |operation, body| {
        let is_total = operation == "GetItem" && body.to_string().contains("write_back");
        counted.fetch_add(usize::from(is_total), Ordering::SeqCst);
        Fate::Pass
    });
    let processes = join_all((0..PROCESSES).map(|_| Process::of(&office, &wire))).await;
    for process in &processes {
        // Knows the event, so that nobody waits for another one's read of it.
        assert_eq!(process.get("/events/seen/seats", &[]).await.status, 200);
    }
    let jobs = jobs(&office, office.table().await).await;
    let mut before = 0;
    // Whom a machine too busy for so many at once tells to come again may have been counted or not; nobody twice.
    for _ in 0..ROUNDS {
        let looks = (0..LOOKS).map(|n| {
            let process = processes[n % PROCESSES].clone();
            async move {
                let answer = process.get("/events/seen", &[]).await;
                assert!([200, 503].contains(&answer.status));
                answer.json()["views"].as_u64()
            }
        });
        let told: Vec<u64> = all_at_once(looks).await.into_iter().flatten().collect();
        assert!((1..=PROCESSES).contains(&totals.load(Ordering::SeqCst)), "{totals:?} reads of what is stored");
        let counted = write_back(&jobs).await["views_written"].as_u64().unwrap();
        assert!(told.len() as u64 <= counted && counted <= LOOKS as u64, "{} pages, {counted} views", told.len());
        assert!(told.iter().all(|views| (before + 1..=before + counted).contains(views)), "{told:?}");
        before += counted;
        assert_eq!(stored(&office).await, before);
        if told.len() == LOOKS {
            assert_eq!((counted, view(&office).await), (LOOKS as u64, before + 1));
            office.close().await;
            return;
        }
    }
    panic!("never were {LOOKS} answered");
}

async fn views_are_told_whole_before_during_and_after_their_write_back(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("seen", &hall::small(1, 2)).await;
    let jobs = jobs(&office, office.table().await).await;
    assert_eq!((view(&office).await, view(&office).await), (1, 2));
    assert_eq!(write_back(&jobs).await["views_written"], json!(2));
    assert_eq!((stored(&office).await, view(&office).await), (2, 3));
    assert_eq!(write_back(&jobs).await["views_written"], json!(1));
    // Nothing to do costs no write.
    assert_eq!(write_back(&jobs).await["events_written"], json!(0));
    assert_eq!((stored(&office).await, view(&office).await), (3, 4));
    // A batch under way: neither in the counter nor in the table.
    let views = Views::new(Redis::connect(&office.system.config().redis_url, 1).await.unwrap());
    assert_eq!(views.take(&event(), "under-way").await.unwrap().unwrap().count, 1);
    assert_eq!(view(&office).await, 5);
    assert_eq!(write_back(&jobs).await["views_written"], json!(1), "the one under way comes first");
    assert_eq!(write_back(&jobs).await["views_written"], json!(1));
    // Redis lost: what the table has is all there is, and goes on.
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    redis::command::<String>(&redis, &["FLUSHALL"]).await;
    assert_eq!((view(&office).await, view(&office).await), (6, 7));
    office.close().await;
}

async fn a_request_delayed_past_its_runners_lock_adds_nothing_any_more(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("seen", &hall::small(1, 2)).await;
    view(&office).await;
    let (gate, held) = (Gate::shut(), AtomicBool::new(false));
    let fate = Fate::Hold(gate.clone());
    let wire = Wire::new(move |operation, body| {
        let is_add = operation == "UpdateItem" && body.to_string().contains(":count");
        if is_add && !held.swap(true, Ordering::Relaxed) { fate.clone() } else { Fate::Pass }
    });
    let frozen = jobs(&office, wire.under(&office.table().await)).await;
    let others = async {
        gate.reached().await;
        end_the_lease(&office).await;
        let awake = jobs(&office, office.table().await).await;
        assert_eq!(write_back(&awake).await["views_written"], json!(1), "the batch the frozen one had taken");
        view(&office).await;
        assert_eq!(write_back(&awake).await["views_written"], json!(1), "and the next, so the last batch is another");
        gate.open();
    };
    let (report, ()) = tokio::join!(write_back(&frozen), others);
    assert_eq!((&report["views_written"], &report["overtaken"]), (&json!(0), &json!(true)), "{report}");
    assert_eq!(stored(&office).await, 2);
    office.close().await;
}

async fn a_process_frozen_past_its_lease_adds_nothing_when_it_goes_on(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("seen", &hall::small(1, 2)).await;
    view(&office).await;
    let runner = Runner::about_to_add(&office).await;
    runner.freeze();
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    let lock = keys::job_lock("write_back");
    // The lease of a process that renews nothing runs out, only sooner than after its whole 15 s.
    assert_eq!(redis::command::<i64>(&redis, &["PEXPIRE", &lock, "100"]).await, 1);
    eventually("the lease to run out", || async {
        (redis::command::<i64>(&redis, &["EXISTS", &lock]).await == 0).then_some(())
    })
    .await;
    let awake = jobs(&office, office.table().await).await;
    assert_eq!(write_back(&awake).await["views_written"], json!(1), "the batch the frozen one has in hand");
    view(&office).await;
    assert_eq!(write_back(&awake).await["views_written"], json!(1), "and the next, so the last batch is another");
    let report = runner.thaw().await;
    assert_eq!((&report["views_written"], &report["overtaken"]), (&json!(0), &json!(true)), "{report}");
    assert_eq!(stored(&office).await, 2);
    assert_eq!((view(&office).await, write_back(&awake).await["views_written"].clone()), (3, json!(1)));
    assert_eq!(stored(&office).await, 3);
    office.close().await;
}

async fn a_lost_answer_adds_a_batch_once(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("seen", &hall::small(1, 2)).await;
    for _ in 0..3 {
        view(&office).await;
    }
    let lost = AtomicBool::new(false);
    let wire = Wire::new(move |operation, body| {
        let is_add = operation == "UpdateItem" && body.to_string().contains(":count");
        if is_add && !lost.swap(true, Ordering::Relaxed) { Fate::LoseReply } else { Fate::Pass }
    });
    let jobs = jobs(&office, wire.under(&office.table().await)).await;
    assert_eq!(write_back(&jobs).await["views_written"], json!(3));
    assert_eq!((stored(&office).await, view(&office).await), (3, 4));
    office.close().await;
}

async fn a_write_back_that_dies_anywhere_loses_no_view_and_counts_none_twice(set: ServerSet) {
    let lives: usize = if set == ServerSet::Embedded { 2_500 } else { 500 };
    let office = Office::open(set).await;
    office.sells("seen", &hall::small(1, 2)).await;
    let table = office.table().await;
    let views = Views::new(Redis::connect(&office.system.config().redis_url, 1).await.unwrap());
    let raw = redis::connect(&office.system.servers().redis_url()).await;
    let (mut counted, mut waits, mut died, mut survived) = (0, 0, 0, 0);
    for _ in 0..lives {
        // The runner is dropped wherever he waits, one wait later each time until he comes to the end; what he has sent may
        // still be carried out.
        waits += 1;
        let jobs = jobs(&office, table.clone()).await;
        let (done, ()) = tokio::join!(dropped_after(waits, write_back(&jobs)), async {
            for _ in 0..2 {
                views.count(&event()).await.unwrap();
                counted += 1;
            }
        });
        match done {
            Some(_) => (waits, survived) = (0, survived + 1),
            None => died += 1,
        }
        redis::command::<i64>(&raw, &["DEL", &keys::job_lock("write_back")]).await;
    }
    println!("{died} died, {survived} came to the end");
    assert!(died > lives / 2 && survived > 1, "{died} of {lives} died, {survived} came to the end");
    let jobs = jobs(&office, table).await;
    // The last words of a dead one may still overtake this one.
    let last = eventually("all views to be written back", || async {
        write_back(&jobs).await;
        Some(views.look(&event()).await.unwrap()).filter(|counted| counted.pending == 0)
    })
    .await;
    assert_eq!((last.pending, last.stored), (0, Some(counted)), "as Redis knows it");
    assert_eq!(stored(&office).await, counted);
    office.close().await;
}
