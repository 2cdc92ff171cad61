//! Places on the scripts alone: whatever is drawn, given back, stored, sold, refused, cancelled and left to run out, in any
//! order, a place belongs to one, none is lost, and never is one handed out that there is not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use shared::domain::event::Event;
use shared::domain::ids::{CustomerId, ReservationId};
use shared::domain::reservation::{Decision, Outcome, Reason, Status, Told};
use shared::message::Request;
use shared::redis::claims::Claimed;
use shared::redis::moving::Token;
use shared::redis::truth::{SeatState, Truth};

use crate::harness::hall;
use crate::harness::scripts::{Scripts, event, request, without_a_lease};

/// Walks tried.
const CASES: u32 = 64;
/// Steps of a walk at most: fewer than the claims a customer is granted in a minute.
const STEPS: usize = 40;
/// Places there are.
const PLACES: usize = 6;
/// Far beyond every lease of these tests, in milliseconds since the epoch.
const FAR: i64 = 4_000_000_000_000;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// So many places, under a lease that lasts or one that is over as it begins.
    Draw(u32, bool),
    /// What becomes of the draw of that number, modulo those there are.
    Become(usize, Fate),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    GivenBack,
    Held,
    Sold,
    Rejected,
    Cancelled,
}

const FATES: [Fate; 5] = [Fate::GivenBack, Fate::Held, Fate::Sold, Fate::Rejected, Fate::Cancelled];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..4_u32, prop::bool::weighted(0.8)).prop_map(|(quantity, lasts)| Step::Draw(quantity, lasts)),
        2 => (0..20_usize, prop::sample::select(&FATES[..])).prop_map(|(draw, fate)| Step::Become(draw, fate)),
    ]
}

/// A draw that was granted.
struct Drawn {
    request: Request,
    status: Status,
    /// Whether its places are its own still.
    owns: bool,
}

#[derive(Default)]
struct Office {
    drawn: Vec<Drawn>,
}

impl Office {
    fn owned(&self, counts: impl Fn(&Drawn) -> bool) -> BTreeMap<u32, ReservationId> {
        let mut owners = BTreeMap::new();
        for drawn in self.drawn.iter().filter(|drawn| drawn.owns && counts(drawn)) {
            for seat in &drawn.request.seats {
                let before = owners.insert(seat.number, drawn.request.reservation_id.clone());
                assert_eq!(before, None, "two have place {}", seat.id);
            }
        }
        owners
    }

    async fn draw(&mut self, scripts: &Scripts, event: &Event, quantity: u32, lasts: bool) {
        let number = self.drawn.len();
        let caller = if lasts { event.clone() } else { without_a_lease(event) };
        let free = PLACES - self.owned(|_| true).len();
        let left = PLACES - self.owned(|drawn| drawn.status == Status::Confirmed).len();
        match scripts.try_draw(&caller, &format!("customer-{number}"), quantity).await {
            Claimed::Granted { message, .. } => {
                let request = request(&message);
                let mine: BTreeSet<u32> = request.seats.iter().map(|seat| seat.number).collect();
                assert_eq!(mine.len(), quantity as usize);
                assert!(mine.iter().all(|number| (*number as usize) < PLACES), "{mine:?}");
                self.drawn.push(Drawn { request, status: Status::Pending, owns: lasts });
                // Fails where one of them is somebody's.
                self.owned(|_| true);
            }
            Claimed::SoldOut { left: told } => {
                assert!(left < quantity as usize && told as usize == left, "{left} are left, {told} were told")
            }
            Claimed::Contended { free: told } => {
                assert!(free < quantity as usize && left >= quantity as usize && told == Some(free as u32));
            }
            other => panic!("{other:?}"),
        }
    }

    async fn become_of(&mut self, scripts: &Scripts, at: usize, fate: Fate) {
        let Some(at) = at.checked_rem(self.drawn.len()) else { return };
        let drawn = &mut self.drawn[at];
        let id = drawn.request.reservation_id.clone();
        if fate == Fate::GivenBack {
            let given = scripts.claims.give_back(&drawn.request).await.unwrap();
            assert_eq!(given, drawn.status == Status::Pending);
            if given {
                (drawn.owns, drawn.status) = (false, Status::Rejected);
            }
            return;
        }
        // What DynamoDB would allow: who has lost his places is not given them again.
        let allowed = match fate {
            Fate::Held => drawn.status == Status::Pending && drawn.owns,
            Fate::Sold => matches!(drawn.status, Status::Pending | Status::Held) && drawn.owns,
            Fate::Rejected => drawn.status == Status::Pending,
            Fate::Cancelled => matches!(drawn.status, Status::Held | Status::Confirmed),
            Fate::GivenBack => false,
        };
        if !allowed {
            return;
        }
        let (outcome, status, state) = match fate {
            Fate::Held => (Outcome::Held, Status::Held, SeatState::Held { owner: id.clone(), expires_at_ms: FAR }),
            Fate::Sold => (Outcome::Held, Status::Confirmed, SeatState::Sold { owner: id.clone() }),
            Fate::Rejected => (Outcome::Rejected(Reason::Contended), Status::Rejected, SeatState::Free),
            Fate::Cancelled if drawn.status == Status::Confirmed => {
                (Outcome::Held, Status::Cancelled, SeatState::Freed)
            }
            Fate::Cancelled | Fate::GivenBack => (Outcome::Held, Status::Cancelled, SeatState::Free),
        };
        let ends_at_ms = if status == Status::Held { FAR } else { 0 };
        let told = Told::new(Decision::plain(outcome), status, (status == Status::Held).then_some(FAR));
        let customer = CustomerId::parse(drawn.request.customer.as_str()).unwrap();
        let seats = drawn.request.seats.iter().map(|seat| (seat.clone(), state.clone())).collect();
        let truth = Truth { id, customer, told, ends_at_ms, seats };
        scripts.truths.settle(&truth, &Token::default()).await.unwrap();
        drawn.status = status;
        drawn.owns = matches!(status, Status::Held | Status::Confirmed);
    }
}

async fn walk(scripts: &Scripts, steps: Vec<Step>) {
    static WALKS: AtomicU32 = AtomicU32::new(0);
    let name = format!("places-{}", WALKS.fetch_add(1, Ordering::Relaxed));
    let event = event(&name, 1, &hall::standing(PLACES));
    scripts.publish_first(&event).await;
    let mut office = Office::default();
    for step in steps {
        match step {
            Step::Draw(quantity, lasts) => office.draw(scripts, &event, quantity, lasts).await,
            Step::Become(draw, fate) => office.become_of(scripts, draw, fate).await,
        }
    }
}

#[test]
fn whatever_becomes_of_places_each_is_one_persons_and_none_is_lost() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let scripts = runtime.block_on(Scripts::start());
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let tried = TestRunner::new(config).run(&vec(step(), 1..STEPS), |steps| {
        runtime.block_on(walk(&scripts, steps));
        Ok(())
    });
    tried.unwrap_or_else(|failure| panic!("{failure}"));
}
