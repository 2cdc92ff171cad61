//! Whole lives of reservations in random order: reserved in every way, asked for again, paid, given up, prolonged, under
//! publications, redeliveries and losses of Redis. The model is fed the answers and judges them; what it cannot explain fails.

mod booking;
mod model;
mod walk;

use std::sync::atomic::{AtomicU32, Ordering};

use local::servers::ServerSet;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::harness::{Office, redis};
use booking::{Act, Ask};
use walk::Walk;

/// Walks tried.
const CASES: u32 = 8;
/// Steps of a walk at most.
const STEPS: usize = 25;
/// Shorter walks looked for, once one has failed.
const SHRINKS: u32 = 60;

#[derive(Debug, Clone)]
pub enum Step {
    Reserve(usize, Ask),
    /// The same request under the same key: the last one, or so many before it.
    Again(usize),
    /// With the reservation of that number, modulo those there are.
    Act(usize, Act),
    /// Everything costs so much more.
    Price(u64),
    /// Paused, or not.
    Sale(bool),
    /// Everything is delivered again, while other things go on.
    Replay,
    /// Deliveries pause, or go on.
    Source(bool),
    /// Everything is decided and looked at; with a second delivery that changes nothing, or without.
    Drain(bool),
    Flush,
    /// Those that end holds and heal: no hold has run out.
    Jobs,
    /// The hold of that number runs out, and the job ends it.
    RunOut(usize),
    /// These seats and places, one bit each, are what the organiser's block takes off sale.
    Block(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let ask = prop_oneof![
        3 => (0..6_u32, 0..6_u32).prop_map(|(a, b)| Ask::Seats(1 << a | 1 << b)),
        2 => (1..4_usize).prop_map(Ask::Best),
        3 => (1..4_usize).prop_map(Ask::Places),
    ];
    let act = prop_oneof![
        4 => Just(Act::Confirm("p")),
        1 => Just(Act::Confirm("q")),
        4 => Just(Act::Cancel),
        2 => Just(Act::Extend),
    ];
    prop_oneof![
        10 => (0..3_usize, ask).prop_map(|(customer, ask)| Step::Reserve(customer, ask)),
        4 => prop_oneof![2 => Just(0), 1 => 0..12_usize].prop_map(Step::Again),
        7 => (0..12_usize, act).prop_map(|(which, act)| Step::Act(which, act)),
        1 => (1..50_u64).prop_map(Step::Price),
        1 => prop::bool::weighted(0.3).prop_map(Step::Sale),
        1 => Just(Step::Replay),
        2 => any::<bool>().prop_map(Step::Source),
        3 => any::<bool>().prop_map(Step::Drain),
        2 => Just(Step::Flush),
        1 => Just(Step::Jobs),
        2 => (0..12_usize).prop_map(Step::RunOut),
        2 => prop_oneof![1 => Just(0), 3 => 1..1024_u16].prop_map(Step::Block),
    ]
}

#[test]
fn whatever_happens_in_whatever_order_no_seat_has_an_owner_that_the_answers_do_not_explain() {
    static WALKS: AtomicU32 = AtomicU32::new(0);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (office, redis) = runtime.block_on(async {
        let office = Office::open(ServerSet::Embedded).await;
        let redis = redis::connect(&office.system.servers().redis_url()).await;
        (office, redis)
    });
    // Fixed by PROPTEST_RNG_SEED, where it is set.
    let given = Config::default();
    let seed = if let RngSeed::Fixed(seed) = given.rng_seed { seed } else { rand::random() };
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: SHRINKS,
        rng_seed: RngSeed::Fixed(seed),
        ..given
    };
    // A failure shows the shortest walk that has it.
    let tried = TestRunner::new(config).run(&vec(step(), 1..STEPS), |steps| {
        runtime.block_on(async {
            office.system.tidy();
            office.system.event_source().resume();
            let event = format!("life-{}", WALKS.fetch_add(1, Ordering::Relaxed));
            let mut walk = Walk::begin(&office, &redis, event).await;
            for step in &steps {
                walk.take(step).await?;
            }
            walk.end().await
        })
    });
    tried.unwrap_or_else(|failure| panic!("PROPTEST_RNG_SEED={seed}: {failure}"));
    runtime.block_on(office.close());
}
