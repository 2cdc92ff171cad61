//! A cold event and a crowd that looks at it: each partition of it is read from the table once, whoever asks and in whichever
//! process, and nobody waits for others longer than the bound that has a name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use local::servers::ServerSet;
use reservation_api::{WAIT_FOR_OTHERS, WAIT_FOR_OWN};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::changing::reserve_of;
use crate::harness::process::Process;
use crate::harness::wire::{Fate, Wire};
use crate::harness::{Office, PATIENCE, Wishes, all_at_once, eventually, hall, redis};

/// Seats of a row, as many as a partition has.
const ROW: usize = 200;
const COMPACT: (&str, &str) = ("accept", "application/vnd.event-tickets.seatmap+json");

/// What a crowd has met.
pub struct Run {
    /// How often each partition was asked for.
    pub queries: BTreeMap<String, usize>,
    /// How long each answer took, 503 included, the longest first.
    pub waited: Vec<Duration>,
    /// After how long each section sold again.
    pub sells_again: Vec<Duration>,
    /// How many were told to come again.
    pub refused: usize,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { queries, waited, sells_again, refused } = self;
        let slowest = sells_again.iter().max().copied().unwrap_or_default();
        writeln!(f, "{} partitions, {} queries", queries.len(), queries.values().sum::<usize>())?;
        writeln!(f, "sections sell again after {sells_again:.2?}, the last after {slowest:.2?}")?;
        let share = |hundredths: usize| waited[(waited.len() - 1) * (100 - hundredths) / 100];
        write!(f, "{} answers, {refused} of them 503; ", waited.len())?;
        write!(f, "p50 {:.2?}, p99 {:.2?}, longest {:.2?}", share(50), share(99), waited[0])
    }
}

/// A wire to the table that counts how often each partition was asked for.
pub fn counting_partitions() -> (Wire, Arc<Mutex<BTreeMap<String, usize>>>) {
    let queries: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let counted = Arc::clone(&queries);
    let wire = Wire::new(move |operation, body| {
        let partition = body["ExpressionAttributeValues"][":pk"]["S"].as_str().unwrap_or_default();
        if operation == "Query" && partition.starts_with("SEATS#") {
            *counted.lock().unwrap().entry(partition.to_owned()).or_default() += 1;
        }
        Fate::Pass
    });
    (wire, queries)
}

/// An event of so many sections of so many rows, lost by Redis; then `readers` look at once, each at one section, and one
/// customer a section buys at another process, until all have what they want.
pub async fn on_a_cold_event(set: ServerSet, sections: usize, rows: usize, readers: usize) -> Run {
    let (wire, queries) = counting_partitions();
    let under = wire.clone();
    let wishes = Wishes { wrap_api_table: Some(Box::new(move |table| under.under(&table))), ..Wishes::plain(set) };
    let office = Office::open_with(wishes).await;
    let rows: Vec<Value> = (1..=rows).map(|row| json!({ "id": row.to_string(), "seats": ROW })).collect();
    let section = |n| json!({ "id": format!("S{n}"), "name": "S", "kind": "seated", "price_cents": 1, "rows": rows });
    let document = hall::with(hall::small(1, 1), "sections", (0..sections).map(section).collect());
    office.sells("cold", &document).await;
    office.holds(&office.customer("early"), "cold", "k", &["S0-1-1"]).await;
    let raw = redis::connect(&office.system.servers().redis_url()).await;
    redis::command::<String>(&raw, &["FLUSHALL"]).await;
    let process = Process::of(&office, &wire).await;

    let began = Instant::now();
    let looking = (0..readers).map(|n| look(process.clone(), n % sections));
    let buying = (0..sections).map(|n| {
        let client = office.customer(&format!("buyer-{n}"));
        async move {
            let wish = json!({ "section": format!("S{n}"), "quantity": 1 });
            eventually("the section to sell again", || async {
                let answer = reserve_of(&client, "cold", "k", &wish).await;
                assert!([202, 503].contains(&answer.status), "{}", answer.body);
                (answer.status == 202).then(|| began.elapsed())
            })
            .await
        }
    });
    let (looked, sells_again) = tokio::join!(all_at_once(looking), all_at_once(buying));
    let refused = looked.iter().map(|waited| waited.len() - 1).sum();
    let mut waited: Vec<Duration> = looked.into_iter().flatten().collect();
    waited.sort_unstable_by(|one, other| other.cmp(one));
    office.close().await;
    let queries = queries.lock().unwrap().clone();
    Run { queries, waited, sells_again, refused }
}

/// Looks at a section until it is shown, with what was stored before; how long each answer took.
async fn look(process: Process, section: usize) -> Vec<Duration> {
    let path = format!("/events/cold/seats?section=S{section}");
    let mut waited = Vec::new();
    loop {
        let asked = Instant::now();
        let answer = process.get(&path, &[COMPACT]).await;
        waited.push(asked.elapsed());
        if answer.status == 503 {
            assert!(waited.len() < PATIENCE.as_secs() as usize, "no map yet: {waited:?}");
            // As it is asked to.
            let again: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            tokio::time::sleep(Duration::from_secs(again)).await;
            continue;
        }
        let map = answer.json();
        let section_map = &map["sections"][0];
        let count = |name: &str| section_map[name].as_u64().unwrap();
        assert_eq!(count("capacity"), count("free") + count("held") + count("sold") + count("blocked"));
        assert!(count("held") >= u64::from(section == 0), "nothing that is stored is shown as free");
        return waited;
    }
}

/// Every partition was read once, and nobody waited longer than he may.
pub fn assert_bounded(run: &Run, sections: usize, rows: usize, slack: Duration) {
    assert_eq!(run.queries.len(), sections * rows, "a partition a row");
    let again: Vec<_> = run.queries.iter().filter(|(_, times)| **times != 1).take(10).collect();
    assert!(again.is_empty(), "asked for more than once: {again:?} …");
    assert!(run.waited[0] <= WAIT_FOR_OWN + slack, "{:?}", run.waited[0]);
    // One reads the event, and of those who look at a section one reads it; all others only wait for them, once for each.
    let readers = sections + 1;
    assert!(run.waited[readers] <= 2 * WAIT_FOR_OTHERS + slack, "{:?}", &run.waited[..=readers]);
}
