//! The `ETag` property: over random claims, ends, sales, blocks and gifts back, two maps have the same tag exactly where they
//! show the same statuses; when they were read, and by which way they came there, makes no difference.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use local::servers::ServerSet;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use shared::domain::event::Event;
use shared::domain::ids::EventId;
use shared::domain::reservation::Outcome;
use shared::dynamodb::events::Events;
use shared::message::{Draft, Terms};
use shared::redis::Redis;
use shared::redis::claims::{Choice, Claim, Claimed, Claims};
use shared::redis::truth::{SeatState, Truths};

use super::{COMPACT, NO_CACHE, readable, unpacked};
use crate::claims::{sold, truth};
use crate::harness::process::Process;
use crate::harness::scripts::{Attempt, without_a_lease};
use crate::harness::wire::{Fate, Wire};
use crate::harness::{Office, hall};

/// Walks tried, each from a map on which everything is free.
const CASES: u32 = 24;
/// Steps of a walk at most. A look past every copy may wait for the pace of counting.
const STEPS: usize = 12;
/// Few seats, so that the same statuses come again by other ways.
const SEATS: [&str; 4] = ["A-1-1", "A-1-2", "B-1-1", "B-1-2"];
const FAR: i64 = 4_000_000_000_000;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A claim that lasts, or one that is over as it begins.
    Claim(usize, bool),
    Hold(usize),
    Sell(usize),
    Block(usize),
    Free(usize),
    /// Nothing but time.
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    let seat = || 0..SEATS.len();
    prop_oneof![
        4 => (seat(), prop::bool::weighted(0.7)).prop_map(|(seat, lasts)| Step::Claim(seat, lasts)),
        2 => seat().prop_map(Step::Hold),
        2 => seat().prop_map(Step::Sell),
        2 => seat().prop_map(Step::Block),
        4 => seat().prop_map(Step::Free),
        1 => Just(Step::Wait),
    ]
}

struct Desk {
    process: Process,
    claims: Claims,
    truths: Truths,
    event: Event,
    /// Claims that may be alive, by seat.
    claimed: Mutex<HashMap<usize, Attempt>>,
}

impl Desk {
    async fn take(&self, step: Step, key: &str) {
        let attempt = |seat: usize, who: &str| Attempt::new(&self.event, who, "k", &[SEATS[seat]]);
        let last = |seat: usize| attempt(seat, &format!("owner-of-{seat}"));
        match step {
            Step::Claim(seat, lasts) => {
                let event = if lasts { self.event.clone() } else { without_a_lease(&self.event) };
                if self.claim(&event, &attempt(seat, key)).await {
                    self.claimed.lock().unwrap().insert(seat, attempt(seat, key));
                }
            }
            Step::Hold(seat) => {
                let owner = last(seat);
                let held = SeatState::Held { owner: owner.id.clone(), expires_at_ms: FAR };
                self.truths.write(&truth(&owner, Outcome::Held, &held)).await.unwrap();
            }
            Step::Sell(seat) => {
                let owner = last(seat);
                self.truths.write(&truth(&owner, Outcome::Held, &sold(&owner))).await.unwrap();
            }
            Step::Block(seat) => {
                let owner = last(seat);
                let state = SeatState::Blocked { owner: owner.id.clone() };
                self.truths.write(&truth(&owner, Outcome::Held, &state)).await.unwrap();
            }
            Step::Free(seat) => {
                let owner = last(seat);
                self.truths.write(&truth(&owner, Outcome::Cancelled, &SeatState::Freed)).await.unwrap();
                let claimed = self.claimed.lock().unwrap().remove(&seat);
                if let Some(claim) = claimed {
                    self.truths.write(&truth(&claim, Outcome::Cancelled, &SeatState::Free)).await.unwrap();
                }
            }
            Step::Wait => {}
        }
    }

    async fn claim(&self, event: &Event, attempt: &Attempt) -> bool {
        let Attempt { id, customer, fingerprint, seats, .. } = attempt;
        let terms = Terms {
            layout_version: event.version,
            amount: shared::domain::money::Cents::ZERO,
            currency: event.document.currency,
            section_cents: BTreeMap::new(),
            max_per_customer: None,
            sale: event.document.sale,
        };
        let draft = Draft::new(id.clone(), customer.clone(), fingerprint.clone(), &terms);
        let choice = Choice::Seats(seats);
        let claim = Claim { event, fresh: true, id, customer, fingerprint, queued: false, choice, draft: &draft };
        matches!(self.claims.claim(claim).await.unwrap(), Claimed::Granted { .. })
    }
}

/// Which tag stands for which statuses, in either form, over all walks.
#[derive(Default)]
struct Seen {
    tag_of: HashMap<(&'static str, BTreeMap<String, String>), String>,
    statuses_of: HashMap<String, (&'static str, BTreeMap<String, String>)>,
}

impl Seen {
    fn note(&mut self, form: &'static str, statuses: BTreeMap<String, String>, tag: &str) -> Result<(), TestCaseError> {
        let shown = (form, statuses);
        let known = self.tag_of.entry(shown.clone()).or_insert_with(|| tag.to_owned());
        prop_assert_eq!(known.as_str(), tag, "the same statuses under two tags: {:?}", shown);
        let known = self.statuses_of.entry(tag.to_owned()).or_insert_with(|| shown.clone());
        prop_assert_eq!(&*known, &shown, "two maps under one tag");
        Ok(())
    }
}

#[test]
fn equal_statuses_have_equal_tags_and_others_have_others() {
    static KEYS: AtomicU32 = AtomicU32::new(0);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (office, desk) = runtime.block_on(async {
        let office = Office::open(ServerSet::Embedded).await;
        office.sells("tags", &hall::small(1, 2)).await;
        let process = Process::of(&office, &Wire::new(|_, _| Fate::Pass)).await;
        let redis = Redis::connect(&office.system.config().redis_url, 1).await.unwrap();
        let event = Events::new(office.table().await).get(&EventId::parse("tags").unwrap()).await.unwrap().unwrap();
        let (claims, truths) = (Claims::new(redis.clone()), Truths::new(redis));
        (office, Desk { process, claims, truths, event, claimed: Mutex::default() })
    });
    let layout = runtime.block_on(desk.process.get("/events/tags/layouts/1", &[])).json();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let given = Config::default();
    let seed = if let RngSeed::Fixed(seed) = given.rng_seed { seed } else { rand::random() };
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 64,
        rng_seed: RngSeed::Fixed(seed),
        ..given
    };
    let tried = TestRunner::new(config).run(&vec(step(), 1..STEPS), |steps| {
        runtime.block_on(async {
            for seat in 0..SEATS.len() {
                desk.take(Step::Free(seat), "").await;
            }
            for step in &steps {
                let key = KEYS.fetch_add(1, Ordering::Relaxed).to_string();
                desk.take(*step, &key).await;
                let plain = desk.process.get("/events/tags/seats", &[NO_CACHE]).await;
                // The copy that the look before has left.
                let compact = desk.process.get("/events/tags/seats", &[COMPACT]).await;
                let (shown, packed) = (readable(&plain.json()), unpacked(&compact.json(), &layout));
                prop_assert_eq!(&shown, &packed);
                let mut seen = seen.lock().unwrap();
                seen.note("readable", shown, plain.header("etag").unwrap())?;
                seen.note("compact", packed, compact.header("etag").unwrap())?;
            }
            Ok(())
        })
    });
    tried.unwrap_or_else(|failure| panic!("PROPTEST_RNG_SEED={seed}: {failure}"));
    let seen = seen.lock().unwrap();
    assert!(seen.tag_of.len() > 20, "only {} different maps", seen.tag_of.len());
    assert_eq!(seen.tag_of.len(), seen.statuses_of.len());
    runtime.block_on(office.close());
}
