//! One thing that cannot be read keeps no other from being compared, and a run that is out of time loses nothing of what it did.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use local::servers::ServerSet;
use scheduled_jobs::{Jobs, run_job};
use serde_json::json;
use shared::clock;
use shared::domain::ids::EventId;
use shared::dynamodb::keys as keys_of_table;
use shared::redis::{Redis, keys};
use tokio::time::{Instant, sleep_until};

use super::{Desk, kinds, reconciled};
use crate::harness::wire::{Fate, Gate, Wire};
use crate::harness::{PATIENCE, hall, on_both_sets, redis};

on_both_sets!(
    what_cannot_be_read_keeps_no_other_section_and_no_other_event_waiting,
    a_run_that_is_out_of_time_says_what_it_did_and_the_next_goes_on_there,
);

async fn what_cannot_be_read_keeps_no_other_section_and_no_other_event_waiting(set: ServerSet) {
    let desk = Desk::selling(set, "b-whole", &hall::small(1, 4)).await;
    desk.sold("alice", "B-1-1").await;
    desk.office.sells("a-spoilt", &hall::small(1, 1)).await;
    let spoilt = EventId::parse("a-spoilt").unwrap();
    let read = desk.office.system.anyone().get("/events/a-spoilt/seats").await.unwrap();
    assert_eq!(read.status, 200, "{}", read.body);
    desk.office.has_rubbish(keys_of_table::DIRECTORY, "a-rubbish").await;
    desk.office.has_rubbish(&keys_of_table::event(&spoilt), "-").await;
    desk.office.has_rubbish(&keys_of_table::seats(&desk.event, "A", 0), "rubbish").await;
    desk.redis(&["SADD", &keys::dirty(&spoilt), "A"]).await;
    desk.redis(&["SADD", &keys::dirty(&desk.event), "A", "B"]).await;
    desk.redis(&["SETBIT", &desk.key("B", "taken"), "0", "0"]).await;
    let done = desk.reconcile().await;
    assert_eq!((&done.repaired, done.in_doubt), (&kinds([("sold-as-free", 1)]), 2), "{done:?}");
    // In doubt and in turn: the spoilt event, whose customers cannot be compared either, and the section with the rubbish.
    assert_eq!((done.unsettled, done.in_turn), (5, 2), "{done:?}");
    // In doubt is what was, but for what was repaired.
    let doubts = async |event: &EventId| {
        let doubts: Vec<String> =
            redis::command(&desk.raw, &["SUNION", &keys::dirty(event), &keys::dirty_at_work(event)]).await;
        doubts
    };
    assert_eq!((doubts(&spoilt).await, doubts(&desk.event).await), (vec!["A".into()], vec!["A".into()]));
    desk.office.close().await;
}

async fn a_run_that_is_out_of_time_says_what_it_did_and_the_next_goes_on_there(set: ServerSet) {
    let desk = Desk::selling(set, "a-turn", &hall::small(1, 4)).await;
    desk.office.sells("b-turn", &hall::small(1, 4)).await;
    let (gate, asked) = (Gate::shut(), Arc::new(Mutex::new(Vec::new())));
    let (held, seen) = (gate.clone(), Arc::clone(&asked));
    let at_the_gate = keys_of_table::seats(&EventId::parse("b-turn").unwrap(), "A", 0);
    let wire = Wire::new(move |operation, body| match body["ExpressionAttributeValues"][":pk"]["S"].as_str() {
        Some(partition) if operation == "Query" && partition.starts_with("SEATS#") => {
            seen.lock().unwrap().push(partition.to_owned());
            if partition == at_the_gate { Fate::HoldReply(held.clone()) } else { Fate::Pass }
        }
        _ => Fate::Pass,
    });
    let config = desk.office.system.config();
    let redis = Redis::connect(&config.redis_url, 1).await.unwrap();
    let jobs = Jobs::new(config, redis, wire.under(&desk.office.table().await));
    let run = async |deadline: Instant| {
        reconciled(run_job(&jobs, json!({ "job": "reconcile" }), clock::wall_ms(), deadline).await.unwrap())
    };
    // The last two seconds are for ending what was begun, and for writing down how far that is.
    let deadline = Instant::now() + Duration::from_secs(5);
    let (done, ()) = tokio::join!(run(deadline), async {
        sleep_until(deadline - Duration::from_millis(1_800)).await;
        gate.open();
    });
    assert!(done.cut_short && !done.overtaken && done.in_turn == 3, "{done:?}");
    asked.lock().unwrap().clear();
    let done = run(Instant::now() + PATIENCE).await;
    assert!(!done.cut_short && !done.overtaken, "{done:?}");
    let behind_it = keys_of_table::seats(&EventId::parse("b-turn").unwrap(), "B", 0);
    assert_eq!(asked.lock().unwrap().first(), Some(&behind_it));
    desk.office.close().await;
}
