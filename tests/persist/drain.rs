//! A long run through the event source, with what a bad day has: duplicates, poison, and a table that throttles. It drains,
//! and the table is the very one of a run without any of that. `bench/drain.rs` makes the same run ten times as long.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use local::servers::ServerSet;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use shared::dynamodb::Table;
use shared::kafka::Message;
use shared::message::Request;
use tokio::time::Instant;

use crate::harness::handmade::asks;
use crate::harness::table::difference;
use crate::harness::wire::{Fate, Wire, cancelled, error};
use crate::harness::{Office, Wishes};

/// Of a hundred records, so many are poison, and so many come a second time.
const POISON: usize = 1;
const TWICE: usize = 20;
/// The part of transactions the table has no time for.
const THROTTLED: f64 = 0.05;
/// Messages produced at the same time.
const AT_ONCE: usize = 64;
/// How long a record may take at most, on the machine and in the build that are slowest.
const A_RECORD: Duration = Duration::from_millis(60);

/// What a run was like.
#[derive(Debug)]
pub struct Run {
    /// Records delivered.
    pub records: usize,
    /// Transactions that were throttled.
    pub throttled: usize,
    /// Items in the table in the end.
    pub items: usize,
    /// From the first delivery until nothing was left.
    pub took: Duration,
    /// The same records, good ones alone and once each, over a table that is well.
    pub took_clean: Duration,
}

/// A request of its own for each number, no two of which want the same seat.
fn request(n: usize) -> Request {
    asks("drain", &format!("customer-{n}"), &[&format!("A-{}-{}", n / 100 + 1, n % 100 + 1)], (1_000, 2_000))
}

fn value(request: &Request) -> Message {
    Message {
        topic: String::new(),
        key: Some(Bytes::from(request.reservation_id.to_string())),
        value: Some(Bytes::from(request.to_value())),
        headers: Vec::new(),
    }
}

/// Produces all, then lets them be delivered in full batches; how long that took.
async fn deliver(office: &Office, messages: Vec<Message>) -> Duration {
    let (log, source, bound) = (office.log(), office.system.event_source(), A_RECORD * messages.len() as u32);
    let topic = &office.system.config().kafka.topics.requests;
    source.pause();
    let produced = stream::iter(messages).map(|message| log.produce(Message { topic: topic.clone(), ..message }));
    produced
        .buffer_unordered(AT_ONCE)
        .for_each(|produced| async move { assert!(produced.is_ok(), "{produced:?}") })
        .await;
    let began = Instant::now();
    source.resume();
    source.drained(bound).await.unwrap();
    began.elapsed()
}

/// Delivers so many records on a bad day and on a good one, and fails unless the tables are the same.
pub async fn drain(records: usize, seed: u64) -> Run {
    let mut random = StdRng::seed_from_u64(seed);
    let (poison, twice) = (records * POISON / 100, records * TWICE / 100);
    let good: Vec<Message> = (0..records - poison - twice).map(|n| value(&request(n))).collect();
    let mut messages = good.clone();
    for _ in 0..twice {
        messages.push(good[random.random_range(0..good.len())].clone());
    }
    for n in 0..poison {
        let broken = value(&request(records + n));
        let cut = random.random_range(0..broken.value.as_ref().unwrap().len());
        messages.push(Message { value: broken.value.map(|value| value.slice(..cut)), ..broken });
    }
    messages.shuffle(&mut random);

    let random = Mutex::new(random);
    let wire = Wire::new(move |operation, _| {
        let mut random = random.lock().unwrap();
        if operation != "TransactWriteItems" || !random.random_bool(THROTTLED) {
            return Fate::Pass;
        }
        match random.random_range(0..3) {
            0 => error(400, "ThrottlingException"),
            1 => error(400, "ProvisionedThroughputExceededException"),
            _ => cancelled(&["ThrottlingError", "None", "None"]),
        }
    });
    let under = wire.clone();
    let wrap_table = Some(Box::new(move |table: Table| under.under(&table)) as Box<_>);
    let office = Office::open_with(Wishes { wrap_table, ..Wishes::plain(ServerSet::Embedded) }).await;
    let took = deliver(&office, messages).await;
    let topics = office.system.config().kafka.topics.clone();
    // By key: what is delivered again, after a failure beside it, is kept or told again.
    let kept: HashSet<_> = office.topic(&topics.dlq).await.into_iter().map(|letter| letter.key).collect();
    assert_eq!(kept.len(), poison, "each poison is kept, and nothing else");
    let told: HashSet<_> = office.topic(&topics.outcomes).await.into_iter().map(|outcome| outcome.key).collect();
    assert_eq!(told.len(), good.len(), "everybody is told");
    let after_a_bad_day = office.scan().await;
    office.close().await;

    // Nothing in the table comes from a clock, a random number or an attempt: no attribute is left out of the comparison.
    let office = Office::open(ServerSet::Embedded).await;
    let took_clean = deliver(&office, good).await;
    let clean = office.scan().await;
    office.close().await;
    assert!(after_a_bad_day == clean, "{:#?}", difference(&clean, &after_a_bad_day));
    assert_eq!(clean.iter().filter(|item| item.contains(" status=\"HELD\"")).count(), records - poison - twice);

    let throttled = wire.count("TransactWriteItems", |fate| matches!(fate, Fate::Answer(..)));
    Run { records, throttled, items: clean.len(), took, took_clean }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_day_drains_and_leaves_the_table_of_a_good_one() {
    let seed = rand::rng().random();
    println!("seed {seed}");
    let run = drain(2_000, seed).await;
    let Run { records, throttled, items, took, took_clean } = run;
    println!("{records} records in {took:?}, the good ones alone in {took_clean:?}; {items} items");
    assert!(throttled > 20, "{throttled} throttled are no bad day");
}
