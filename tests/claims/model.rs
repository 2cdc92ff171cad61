//! Random interleavings of claims, gifts back and truths against a small model: what the scripts answer and show must be
//! what the rules say, whatever came before. A lease that has run out is one that was never there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use shared::domain::event::Event;
use shared::domain::reservation::{Outcome, Reason};
use shared::message::Request;
use shared::redis::claims::Claimed;
use shared::redis::keys;
use shared::redis::seat_map::Availability;
use shared::redis::truth::SeatState;

use super::{sold, truth};
use crate::harness::hall;
use crate::harness::scripts::{Attempt, Scripts, event, request, without_a_lease};

/// Walks tried.
const CASES: u32 = 96;
/// Steps of a walk at most. Fewer than the claims a customer may be granted within a minute.
const STEPS: usize = 40;
/// The seats, over two sections.
const SEATS: [&str; 4] = ["A-1-1", "A-1-2", "B-1-1", "B-1-2"];
/// Most live seats of a customer.
const LIMIT: usize = 3;
const FAR: i64 = 4_000_000_000_000;
const PAST: i64 = 1_000_000_000_000;

/// A customer and his key: a reservation.
type Id = (usize, usize);

#[derive(Debug, Clone, Copy)]
enum Stored {
    Held,
    HeldAndOver,
    Sold,
    Free,
    /// Refused; that reservation owns the seats.
    OwnedBy(Id),
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Under a lease that lasts, or one that is over as it begins.
    Claim(Id, u8, bool),
    /// Of the first or of the latest claim that was granted.
    GiveBack(Id, bool),
    Truth(Id, u8, Stored),
}

fn step() -> impl Strategy<Value = Step> {
    let id = || (0..3_usize, 0..2_usize);
    let seats = || 1_u8..16;
    let stored = prop_oneof![
        Just(Stored::Held),
        Just(Stored::HeldAndOver),
        Just(Stored::Sold),
        Just(Stored::Free),
        id().prop_map(Stored::OwnedBy),
    ];
    prop_oneof![
        5 => (id(), prop_oneof![Just(1), Just(3), Just(6), Just(12), seats()], prop::bool::weighted(0.8)).prop_map(|(id, seats, lasts)| Step::Claim(id, seats, lasts)),
        1 => (id(), any::<bool>()).prop_map(|(id, first)| Step::GiveBack(id, first)),
        2 => (id(), seats(), stored).prop_map(|(id, seats, stored)| Step::Truth(id, seats, stored)),
    ]
}

/// What a claim is answered.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Granted(u32),
    Ended,
    Decided,
    Own,
    Reused,
    Taken(Vec<usize>, Vec<usize>),
    Limit,
}

struct Record {
    seats: u8,
    held_at_ms: i64,
    attempts: u32,
    /// Rank of what was told last (0 = nothing), and the end of the hold it told.
    told: (u8, i64),
}

/// What the rules say.
#[derive(Default)]
struct Model {
    owners: [Option<Id>; SEATS.len()],
    sold: [bool; SEATS.len()],
    records: BTreeMap<Id, Record>,
    /// By customer: reservation → whether it counts still, and its seats.
    counts: BTreeMap<usize, BTreeMap<Id, (bool, Vec<usize>)>>,
    dirty: BTreeSet<String>,
}

fn positions(seats: u8) -> Vec<usize> {
    (0..SEATS.len()).filter(|at| seats >> at & 1 == 1).collect()
}

impl Model {
    fn claim(&mut self, id: Id, seats: u8, lasts: bool) -> Said {
        let asked = positions(seats);
        if let Some(record) = self.records.get_mut(&id) {
            if record.seats != seats {
                return Said::Reused;
            }
            if record.told.0 > 0 {
                return Said::Decided;
            }
            record.attempts += 1;
            let all = asked.iter().all(|seat| self.owners[*seat] == Some(id));
            return if all { Said::Granted(record.attempts) } else { Said::Ended };
        }
        let counts = self.counts.entry(id.0).or_default();
        let counted = counts.get(&id).is_some_and(|(live, _)| *live);
        if counted || asked.iter().any(|seat| self.owners[*seat] == Some(id)) {
            return Said::Own;
        }
        let live = || counts.values().filter(|(live, _)| *live).flat_map(|(_, seats)| seats);
        let taken = |at: &usize| self.sold[asked[*at]] || self.owners[asked[*at]].is_some();
        let mine = |at: &usize| live().any(|seat| *seat == asked[*at]);
        let refused: Vec<usize> = (0..asked.len()).filter(taken).collect();
        if !refused.is_empty() {
            let mine = refused.iter().copied().filter(mine).collect();
            return Said::Taken(refused, mine);
        }
        if live().count() + asked.len() > LIMIT {
            return Said::Limit;
        }
        counts.insert(id, (lasts, asked.clone()));
        for seat in asked {
            self.owners[seat] = lasts.then_some(id);
        }
        Said::Granted(1)
    }

    fn give_back(&mut self, id: Id, held_at_ms: i64) -> bool {
        let same = |record: &Record| record.attempts == 1 && record.told.0 == 0 && record.held_at_ms == held_at_ms;
        let Some(record) = self.records.get(&id).filter(|record| same(record)) else { return false };
        for seat in positions(record.seats) {
            self.owners[seat] = self.owners[seat].filter(|owner| *owner != id);
        }
        self.records.remove(&id);
        self.counts.entry(id.0).or_default().remove(&id);
        true
    }

    fn truth(&mut self, id: Id, seats: u8, stored: Stored) {
        let told = match stored {
            Stored::Held => (1, FAR),
            Stored::HeldAndOver => (1, PAST),
            Stored::Sold => (2, 0),
            Stored::Free | Stored::OwnedBy(_) => (3, 0),
        };
        if let Some(record) = self.records.get_mut(&id) {
            // Overtaken: a later truth of the same reservation came first.
            if record.told > told {
                return;
            }
            record.told = told;
        }
        let blind = !self.records.contains_key(&id);
        let stated = if let Stored::OwnedBy(other) = stored { other } else { id };
        for seat in positions(seats) {
            let foreign = self.owners[seat].is_some_and(|owner| owner != id && owner != stated);
            let in_doubt = match stored {
                Stored::Held => self.sold[seat] && blind,
                Stored::OwnedBy(other) if other == id => self.sold[seat] && blind,
                Stored::OwnedBy(_) => foreign || self.sold[seat],
                Stored::Sold => foreign,
                Stored::Free | Stored::HeldAndOver => false,
            };
            match stored {
                Stored::Held | Stored::OwnedBy(_) if !in_doubt => {
                    self.owners[seat] = Some(stated);
                    self.sold[seat] = false;
                }
                Stored::Sold => self.sold[seat] = true,
                _ => {}
            }
            if in_doubt {
                self.dirty.insert(SEATS[seat][..1].to_owned());
            } else if !foreign && matches!(stored, Stored::Sold | Stored::Free | Stored::HeldAndOver) {
                self.owners[seat] = None;
            }
        }
        let counts = self.counts.entry(id.0).or_default();
        match stored {
            Stored::Held | Stored::Sold => drop(counts.insert(id, (true, positions(seats)))),
            Stored::HeldAndOver => drop(counts.insert(id, (false, positions(seats)))),
            Stored::Free | Stored::OwnedBy(_) => drop(counts.remove(&id)),
        }
    }

    fn shown(&self) -> Vec<Availability> {
        let shown = |seat: usize| match (self.sold[seat], self.owners[seat]) {
            (true, _) => Availability::Sold,
            (false, Some(_)) => Availability::Held,
            (false, None) => Availability::Free,
        };
        (0..SEATS.len()).map(shown).collect()
    }
}

/// One walk: the scripts and the model side by side.
struct Walk<'a> {
    scripts: &'a Scripts,
    event: Event,
    model: Model,
    granted: BTreeMap<Id, Vec<Request>>,
}

impl Walk<'_> {
    fn attempt(&self, (customer, key): Id, seats: u8) -> Attempt {
        let seats: Vec<&str> = positions(seats).into_iter().map(|at| SEATS[at]).collect();
        Attempt::new(&self.event, &format!("customer-{customer}"), &key.to_string(), &seats)
    }

    async fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Claim(id, seats, lasts) => {
                let caller = if lasts { self.event.clone() } else { without_a_lease(&self.event) };
                let claimed = self.scripts.claim(&caller, &self.attempt(id, seats)).await;
                let expected = self.model.claim(id, seats, lasts);
                if let (Said::Granted(1), Claimed::Granted { message, .. }) = (&expected, &claimed) {
                    let request = request(message);
                    let record = Record { seats, held_at_ms: request.held_at_ms, attempts: 1, told: (0, 0) };
                    self.model.records.insert(id, record);
                    self.granted.entry(id).or_default().push(request);
                }
                prop_assert_eq!(said(claimed), expected);
            }
            Step::GiveBack(id, first) => {
                let granted = self.granted.get(&id);
                let Some(request) = granted.and_then(|list| if first { list.first() } else { list.last() }) else {
                    return Ok(());
                };
                let given = self.scripts.claims.give_back(request).await.unwrap();
                prop_assert_eq!(given, self.model.give_back(id, request.held_at_ms));
            }
            Step::Truth(id, seats, stored) => {
                let attempt = self.attempt(id, seats);
                let held = |owner, expires_at_ms| SeatState::Held { owner, expires_at_ms };
                let (outcome, state) = match stored {
                    Stored::Held => (Outcome::Held, held(attempt.id.clone(), FAR)),
                    Stored::HeldAndOver => (Outcome::Held, held(attempt.id.clone(), PAST)),
                    Stored::Sold => (Outcome::Held, sold(&attempt)),
                    Stored::Free => (Outcome::Rejected(Reason::Lapsed), SeatState::Free),
                    Stored::OwnedBy(other) => {
                        (Outcome::Rejected(Reason::SeatsTaken), held(self.attempt(other, 1).id, FAR))
                    }
                };
                self.scripts.truths.write(&truth(&attempt, outcome, &state)).await.unwrap();
                self.model.truth(id, seats, stored);
            }
        }
        self.look().await
    }

    async fn look(&self) -> Result<(), TestCaseError> {
        let sections: Vec<_> = self.event.sections.iter().collect();
        let read = self.scripts.maps.read(&self.event, &sections).await.unwrap();
        let shown: Vec<_> = read.sections.iter().flatten().flat_map(|state| [state.seat(0), state.seat(1)]).collect();
        prop_assert_eq!(shown, self.model.shown());
        let dirty: Vec<String> = self.scripts.command(&["SMEMBERS", &keys::dirty(&self.event.id)]).await;
        prop_assert_eq!(dirty.into_iter().collect::<BTreeSet<_>>(), self.model.dirty.clone());
        Ok(())
    }
}

fn said(claimed: Claimed) -> Said {
    match claimed {
        Claimed::Granted { attempts, .. } => Said::Granted(attempts),
        Claimed::Ended { .. } => Said::Ended,
        Claimed::Decided { .. } => Said::Decided,
        Claimed::Own { .. } => Said::Own,
        Claimed::KeyReused { .. } => Said::Reused,
        Claimed::Taken { taken, held_by_you } => Said::Taken(taken, held_by_you),
        Claimed::LimitReached { .. } => Said::Limit,
        other => panic!("{other:?}"),
    }
}

async fn walk(scripts: &Scripts, steps: Vec<Step>) -> Result<(), TestCaseError> {
    static WALKS: AtomicU32 = AtomicU32::new(0);
    let document = hall::with(hall::small(1, 2), "max_per_customer", json!(LIMIT));
    let event = event(&format!("walk-{}", WALKS.fetch_add(1, Ordering::Relaxed)), 1, &document);
    scripts.publish_first(&event).await;
    let mut walk = Walk { scripts, event, model: Model::default(), granted: BTreeMap::new() };
    for step in steps {
        walk.take(step).await?;
    }
    Ok(())
}

#[test]
fn whatever_is_claimed_given_back_and_corrected_in_any_order_is_what_the_rules_say() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let scripts = runtime.block_on(Scripts::start());
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let walks = vec(step(), 1..STEPS);
    // A failure shows the shortest walk that has it.
    let tried = TestRunner::new(config).run(&walks, |steps| runtime.block_on(walk(&scripts, steps)));
    tried.unwrap_or_else(|failure| panic!("{failure}"));
}
