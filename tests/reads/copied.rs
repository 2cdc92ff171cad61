//! The copy of an event in Redis: one read of the table for all processes, void with a publication, renewed before it ends, and
//! never what a late or broken reader left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use local::servers::ServerSet;
use reservation_api::RECENT;
use serde_json::{Value, json};
use shared::domain::document::EventDocument;
use shared::domain::ids::EventId;
use shared::dynamodb::events::{Events, Published};
use shared::redis::keys;
use shared::redis::published::{KEPT_FOR, RENEWED_BEFORE};
use tokio::time::Instant;

use super::SLACK;
use crate::harness::process::Process;
use crate::harness::wire::{Fate, Gate, Wire, error};
use crate::harness::{Office, all_at_once, eventually, hall, on_both_sets, redis};

on_both_sets!(
    a_crowd_in_processes_that_know_nothing_reads_an_event_once,
    a_publication_is_read_once_and_shown_by_every_process_within_a_second,
    what_was_read_before_a_publication_is_not_kept_after_it,
    who_was_told_to_fill_and_is_late_keeps_nothing,
    a_read_of_an_event_that_failed_keeps_nobody_away,
    a_copy_is_renewed_by_one_before_it_ends,
    a_publisher_who_dies_between_the_stores_costs_no_more_than_the_copy_lasts,
    an_unknown_event_is_looked_for_once_and_known_when_it_is_published,
    a_copy_that_cannot_be_read_or_has_no_layouts_is_none,
);

/// What was read of the table.
#[derive(Clone, Default)]
struct Reads {
    events: Arc<AtomicUsize>,
    layouts: Arc<AtomicUsize>,
}

impl Reads {
    fn so_far(&self) -> (usize, usize) {
        (self.events.load(Ordering::SeqCst), self.layouts.load(Ordering::SeqCst))
    }

    /// A wire that counts them, and brings each event through a gate.
    fn through(&self, gate: &Gate) -> Wire {
        let (reads, gate) = (self.clone(), gate.clone());
        Wire::new(move |operation, body| {
            if operation == "BatchGetItem" && body.to_string().contains("LAYOUT") {
                reads.layouts.fetch_add(1, Ordering::SeqCst);
            }
            if operation != "GetItem" || !body["Key"]["pk"]["S"].as_str().unwrap().starts_with("EVENT#") {
                return Fate::Pass;
            }
            reads.events.fetch_add(1, Ordering::SeqCst);
            Fate::HoldReply(gate.clone())
        })
    }

    fn wire(&self) -> Wire {
        let gate = Gate::shut();
        gate.open();
        self.through(&gate)
    }
}

async fn processes(office: &Office, wire: &Wire, how_many: usize) -> Vec<Process> {
    join_all((0..how_many).map(|_| Process::of(office, wire))).await
}

async fn redis_of(office: &Office) -> fred::clients::Client {
    redis::connect(&office.system.servers().redis_url()).await
}

fn id() -> EventId {
    EventId::parse("news").unwrap()
}

fn named(name: &str) -> Value {
    hall::with(hall::small(1, 1), "name", json!(name))
}

async fn name(process: &Process) -> Value {
    process.get("/events/news", &[]).await.json()["name"].clone()
}

/// An event whose publisher's own process knows it, and nobody else.
async fn published(set: ServerSet) -> Office {
    let office = Office::open(set).await;
    office.sells("news", &named("first")).await;
    office
}

async fn a_crowd_in_processes_that_know_nothing_reads_an_event_once(set: ServerSet) {
    let office = published(set).await;
    let reads = Reads::default();
    let processes = processes(&office, &reads.wire(), 8).await;
    let crowd = (0..800).map(|n| {
        let process = processes[n % processes.len()].clone();
        async move {
            let path = ["/events/news", "/events/news/seats", "/events/news/layouts/1"][n % 3];
            eventually("an answer", || async {
                let status = process.get(path, &[]).await.status;
                assert!([200, 503].contains(&status), "{status}");
                (status == 200).then_some(())
            })
            .await;
        }
    });
    all_at_once(crowd).await;
    assert_eq!(reads.so_far(), (1, 1));
    office.close().await;
}

async fn a_publication_is_read_once_and_shown_by_every_process_within_a_second(set: ServerSet) {
    let office = published(set).await;
    let reads = Reads::default();
    let processes = processes(&office, &reads.wire(), 4).await;
    for process in &processes {
        assert_eq!(name(process).await, "first");
    }
    office.sells("news", &named("second")).await;
    let published = Instant::now();
    join_all(processes.iter().map(|process| async move {
        eventually("the publication", || async { (name(process).await == "second").then_some(()) }).await;
    }))
    .await;
    assert!(published.elapsed() <= RECENT + SLACK, "{:?}", published.elapsed());
    // The layouts are what they were.
    assert_eq!(reads.so_far(), (2, 1));
    office.close().await;
}

async fn what_was_read_before_a_publication_is_not_kept_after_it(set: ServerSet) {
    let office = published(set).await;
    let (gate, reads) = (Gate::shut(), Reads::default());
    let slow = Process::of(&office, &reads.through(&gate)).await;
    let quick = Process::of(&office, &reads.wire()).await;
    let publishing = async {
        gate.reached().await;
        office.sells("news", &named("second")).await;
        gate.open();
    };
    let (before, ()) = tokio::join!(slow.get("/events/news/layouts/1", &[]), publishing);
    assert_eq!(before.json()["version"], 1, "what it had read by then");
    assert_eq!(name(&quick).await, "second");
    assert_eq!(name(&slow).await, "second");
    office.close().await;
}

async fn who_was_told_to_fill_and_is_late_keeps_nothing(set: ServerSet) {
    let office = published(set).await;
    let (redis, [_, copy, filler]) = (redis_of(&office).await, keys::copy_of_event(&id()));
    let (gate, reads) = (Gate::shut(), Reads::default());
    let slow = Process::of(&office, &reads.through(&gate)).await;
    let meanwhile = async {
        gate.reached().await;
        // His time is over, and it is another one's turn.
        redis::command::<String>(&redis, &["SET", &filler, "another"]).await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(slow.get("/events/news/layouts/1", &[]), meanwhile);
    assert_eq!(answer.status, 200);
    assert_eq!(redis::command::<i64>(&redis, &["EXISTS", &copy]).await, 0, "kept by who was late");
    assert_eq!(redis::command::<String>(&redis, &["GET", &filler]).await, "another", "and not in his way");
    office.close().await;
}

async fn a_read_of_an_event_that_failed_keeps_nobody_away(set: ServerSet) {
    let office = published(set).await;
    let refusing =
        Wire::new(|operation, _| if operation == "GetItem" { error(400, "ValidationException") } else { Fate::Pass });
    let reads = Reads::default();
    let (failing, sound) = (Process::of(&office, &refusing).await, Process::of(&office, &reads.wire()).await);
    assert_eq!(failing.get("/events/news/layouts/1", &[]).await.status, 503);
    assert_eq!(sound.get("/events/news/layouts/1", &[]).await.status, 200, "at once, not after the other one's time");
    assert_eq!(failing.get("/events/news/layouts/1", &[]).await.status, 200, "from the copy");
    assert_eq!(reads.so_far(), (1, 1));
    office.close().await;
}

async fn a_copy_is_renewed_by_one_before_it_ends(set: ServerSet) {
    let office = published(set).await;
    let (redis, [_, copy, _]) = (redis_of(&office).await, keys::copy_of_event(&id()));
    let reads = Reads::default();
    assert_eq!(name(&processes(&office, &reads.wire(), 1).await[0]).await, "first");
    let left = Duration::from_millis(redis::command(&redis, &["PTTL", &copy]).await);
    assert!(left <= KEPT_FOR && left > KEPT_FOR - Duration::from_secs(5), "{left:?}");
    let soon = (RENEWED_BEFORE - Duration::from_millis(500)).as_millis().to_string();
    redis::command::<i64>(&redis, &["PEXPIRE", &copy, &soon]).await;
    // One reads the table, and while it does the others are content with what is there.
    let (gate, reads) = (Gate::shut(), Reads::default());
    let renewing = Process::of(&office, &reads.through(&gate)).await;
    let others = processes(&office, &reads.wire(), 4).await;
    let content = async {
        gate.reached().await;
        for other in &others {
            assert_eq!(name(other).await, "first");
        }
        gate.open();
    };
    let (renewed, ()) = tokio::join!(name(&renewing), content);
    assert_eq!((renewed, reads.so_far()), (json!("first"), (1, 1)), "layouts only by who has never seen them");
    let left = Duration::from_millis(redis::command(&redis, &["PTTL", &copy]).await);
    assert!(left > RENEWED_BEFORE, "{left:?}");
    office.close().await;
}

async fn a_publisher_who_dies_between_the_stores_costs_no_more_than_the_copy_lasts(set: ServerSet) {
    let office = published(set).await;
    let (redis, [_, copy, _]) = (redis_of(&office).await, keys::copy_of_event(&id()));
    let reads = Reads::default();
    let processes = processes(&office, &reads.wire(), 3).await;
    assert_eq!(name(&processes[0]).await, "first");
    // The table has the publication, and Redis is never told.
    let events = Events::new(office.table().await);
    let stands = events.get(&id()).await.unwrap();
    let document: EventDocument = serde_json::from_value(named("second")).unwrap();
    let done = events.publish(&id(), document, stands.as_ref(), None).await.unwrap();
    assert!(matches!(done, Published::Done(_)));
    assert_eq!(name(&processes[1]).await, "first", "as long as there is a copy");
    redis::command::<i64>(&redis, &["DEL", &copy]).await;
    assert_eq!(name(&processes[2]).await, "second", "when it has ended");
    office.close().await;
}

async fn an_unknown_event_is_looked_for_once_and_known_when_it_is_published(set: ServerSet) {
    let office = Office::open(set).await;
    let reads = Reads::default();
    let processes = processes(&office, &reads.wire(), 4).await;
    let began = Instant::now();
    let crowd = (0..400).map(|n| {
        let process = processes[n % processes.len()].clone();
        async move { process.get("/events/news", &[]).await.status }
    });
    let unknown = all_at_once(crowd).await;
    // Who waits for another process that is too slow is told to come again.
    assert!(unknown.iter().all(|status| [404, 503].contains(status)) && unknown.contains(&404));
    let (events, layouts) = reads.so_far();
    let at_most = 1 + began.elapsed().as_secs() as usize;
    assert!((1..=at_most).contains(&events) && layouts == 0, "{events} in {:?}", began.elapsed());
    office.sells("news", &named("first")).await;
    let published = Instant::now();
    for process in &processes {
        eventually("the event", || async { (process.get("/events/news", &[]).await.status == 200).then_some(()) })
            .await;
    }
    assert!(published.elapsed() <= RECENT + SLACK, "{:?}", published.elapsed());
    office.close().await;
}

async fn a_copy_that_cannot_be_read_or_has_no_layouts_is_none(set: ServerSet) {
    let office = published(set).await;
    let (redis, [_, copy, _]) = (redis_of(&office).await, keys::copy_of_event(&id()));
    let reads = Reads::default();
    let processes = processes(&office, &reads.wire(), 4).await;
    assert_eq!(name(&processes[0]).await, "first");
    let published: Value =
        serde_json::from_str(&redis::command::<String>(&redis, &["HGET", &copy, "published"]).await).unwrap();
    let layout = keys::copy_of_layout(&id(), published["layouts"]["A"].as_str().unwrap());
    redis::command::<i64>(&redis, &["DEL", &layout]).await;
    assert_eq!((name(&processes[1]).await, reads.so_far()), (json!("first"), (1, 2)), "the layout from the table");
    redis::command::<String>(&redis, &["SET", &layout, "rubbish"]).await;
    assert_eq!((name(&processes[2]).await, reads.so_far()), (json!("first"), (2, 3)), "all from the table");
    redis::command::<i64>(&redis, &["HSET", &copy, "published", "rubbish"]).await;
    assert_eq!((name(&processes[3]).await, reads.so_far()), (json!("first"), (3, 4)), "all from the table");
    office.close().await;
}
