//! The list of events under a crowd: one read of the table for all processes, void with a publication, bounded without Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use local::servers::ServerSet;
use reservation_api::RECENT;
use serde_json::json;
use tokio::time::Instant;

use super::{NO_CACHE, SLACK};
use crate::harness::persisting::unreachable_redis;
use crate::harness::process::Process;
use crate::harness::wire::{Fate, Gate, Wire, error};
use crate::harness::{Office, all_at_once, eventually, hall, on_both_sets};

on_both_sets!(
    a_crowd_in_several_processes_reads_a_page_once,
    a_publication_is_listed_by_every_process_within_a_second,
    a_page_that_was_read_before_a_publication_is_not_kept_after_it,
    a_read_that_failed_keeps_nobody_away,
    without_redis_the_table_is_asked_at_a_bounded_rate,
);

/// A wire that counts the pages read of the table, each through a gate.
fn counting(gate: &Gate) -> (Wire, Arc<AtomicUsize>) {
    let pages = Arc::new(AtomicUsize::new(0));
    let (counted, gate) = (Arc::clone(&pages), gate.clone());
    let wire = Wire::new(move |operation, body| {
        if operation != "Query" || body["ExpressionAttributeValues"][":pk"]["S"] != "EVENTS" {
            return Fate::Pass;
        }
        counted.fetch_add(1, Ordering::SeqCst);
        Fate::HoldReply(gate.clone())
    });
    (wire, pages)
}

fn open_gate() -> Gate {
    let gate = Gate::shut();
    gate.open();
    gate
}

async fn a_crowd_in_several_processes_reads_a_page_once(set: ServerSet) {
    let office = Office::open(set).await;
    for id in ["one", "two", "three"] {
        office.sells(id, &hall::small(1, 1)).await;
    }
    let (wire, pages) = counting(&open_gate());
    let processes = join_all((0..4).map(|_| Process::of(&office, &wire))).await;
    let crowd = (0..800).map(|n| {
        let process = processes[n % processes.len()].clone();
        async move {
            eventually("a page", || async {
                let answer = process.get("/events", &[]).await;
                assert!([200, 503].contains(&answer.status));
                (answer.status == 200).then(|| answer.json()["events"].as_array().unwrap().len())
            })
            .await
        }
    });
    assert!(all_at_once(crowd).await.iter().all(|events| *events == 3));
    assert_eq!(pages.load(Ordering::SeqCst), 1);
    // Another page is another one, and a cursor leads to the rest.
    let first = processes[0].get("/events?limit=2", &[]).await.json();
    let cursor = first["cursor"].as_str().unwrap();
    let rest = processes[1].get(&format!("/events?limit=2&cursor={cursor}"), &[]).await.json();
    assert_eq!((rest["events"].as_array().unwrap().len(), &rest["cursor"]), (1, &json!(null)));
    assert_eq!(pages.load(Ordering::SeqCst), 3);
    office.close().await;
}

async fn a_publication_is_listed_by_every_process_within_a_second(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("news", &hall::small(1, 1)).await;
    let (wire, _) = counting(&open_gate());
    let processes = join_all((0..2).map(|_| Process::of(&office, &wire))).await;
    for process in &processes {
        assert_eq!(process.get("/events", &[]).await.json()["events"][0]["name"], "A small hall");
    }
    office.sells("news", &hall::with(hall::small(1, 1), "name", json!("Another name"))).await;
    let published = Instant::now();
    for process in &processes {
        let past_copies = process.get("/events", &[NO_CACHE]).await.json();
        assert_eq!(past_copies["events"][0]["name"], "Another name");
        eventually("the publication in the list", || async {
            (process.get("/events", &[]).await.json()["events"][0]["name"] == "Another name").then_some(())
        })
        .await;
    }
    assert!(published.elapsed() <= RECENT + SLACK, "{:?}", published.elapsed());
    office.close().await;
}

async fn a_page_that_was_read_before_a_publication_is_not_kept_after_it(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("news", &hall::small(1, 1)).await;
    let gate = Gate::shut();
    let (slow, quick) = (counting(&gate).0, counting(&open_gate()).0);
    let (slow, quick) = (Process::of(&office, &slow).await, Process::of(&office, &quick).await);
    let publishing = async {
        gate.reached().await;
        office.sells("news", &hall::with(hall::small(1, 1), "name", json!("Another name"))).await;
        gate.open();
    };
    let (before, ()) = tokio::join!(slow.get("/events", &[]), publishing);
    assert_eq!(before.json()["events"][0]["name"], "A small hall", "what it had read by then");
    assert_eq!(quick.get("/events", &[]).await.json()["events"][0]["name"], "Another name");
    office.close().await;
}

async fn a_read_that_failed_keeps_nobody_away(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("news", &hall::small(1, 1)).await;
    let refusing =
        Wire::new(|operation, _| if operation == "Query" { error(400, "ValidationException") } else { Fate::Pass });
    let (failing, sound) =
        (Process::of(&office, &refusing).await, Process::of(&office, &counting(&open_gate()).0).await);
    assert_eq!(failing.get("/events", &[]).await.status, 503);
    assert_eq!(sound.get("/events", &[]).await.status, 200, "at once, and not after the other one's time");
    assert_eq!(failing.get("/events", &[]).await.status, 200, "from the copy");
    office.close().await;
}

async fn without_redis_the_table_is_asked_at_a_bounded_rate(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("news", &hall::small(1, 1)).await;
    let (wire, pages) = counting(&open_gate());
    let process = Process::with(&office, &wire, unreachable_redis().await).await;
    let began = Instant::now();
    // Each asks for a page that nobody else asks for.
    let crowd = (1..=100).map(|limit| {
        let process = process.clone();
        async move { process.get(&format!("/events?limit={limit}"), &[]).await }
    });
    let answers = all_at_once(crowd).await;
    let (served, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    let read = pages.load(Ordering::SeqCst);
    assert_eq!(served.len(), read);
    assert!(read >= 1 && read <= 2 * (2 + began.elapsed().as_secs() as usize), "{read} in {:?}", began.elapsed());
    assert!(refused.iter().all(|answer| (answer.status, answer.header("retry-after")) == (503, Some("1"))));
    office.close().await;
}
