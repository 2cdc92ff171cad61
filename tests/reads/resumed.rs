//! A load that broke off half way is gone on with: what was read of the table is not read again, and what changed between is
//! as it is now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use local::servers::ServerSet;

use crate::harness::process::Process;
use crate::harness::wire::{Fate, Wire, error};
use crate::harness::{Office, changing, hall, on_both_sets, redis};

on_both_sets!(a_load_that_broke_off_is_gone_on_with_and_shows_what_changed_between);

/// Partitions of section A, a row each.
const PARTITIONS: usize = 20;
/// How many are read at the same time: so many may be under way when a load breaks off.
const AT_ONCE: usize = 16;

async fn a_load_that_broke_off_is_gone_on_with_and_shows_what_changed_between(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("half", &hall::small(PARTITIONS, 200)).await;
    let (ada, bob) = (office.customer("ada"), office.customer("bob"));
    let given_up = office.holds(&ada, "half", "k", &["A-1-1"]).await;
    office.holds(&bob, "half", "k", &["A-1-2"]).await;
    let raw = redis::connect(&office.system.servers().redis_url()).await;
    redis::command::<String>(&raw, &["FLUSHALL"]).await;

    let queries: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let counted = Arc::clone(&queries);
    let last = format!("#A#{}", PARTITIONS - 1);
    let process = Process::of(
        &office,
        &Wire::new(move |operation, body| {
            let partition = body["ExpressionAttributeValues"][":pk"]["S"].as_str().unwrap_or_default();
            if operation != "Query" || !partition.starts_with("SEATS#") {
                return Fate::Pass;
            }
            let mut queries = counted.lock().unwrap();
            let times = queries.entry(partition.to_owned()).or_default();
            *times += 1;
            let breaks = partition.ends_with(&last) && *times == 1;
            if breaks { error(400, "ValidationException") } else { Fate::Pass }
        }),
    )
    .await;
    let path = "/events/half/seats?section=A";
    assert_eq!(process.get(path, &[]).await.status, 503, "the last partition could not be read");
    let read = queries.lock().unwrap().clone();
    assert_eq!(read.values().sum::<usize>(), PARTITIONS);
    assert_eq!(changing::cancel(&ada, &given_up).await.status, 200);

    let map = process.get(path, &[]).await;
    assert_eq!(map.status, 200);
    let again = queries.lock().unwrap().values().filter(|times| **times > 1).count();
    assert!(again <= AT_ONCE, "{again} partitions were read again");
    let shown = super::readable(&map.json());
    assert_eq!((shown["A-1-1"].as_str(), shown["A-1-2"].as_str()), ("free", "held"));
    office.close().await;
}
