//! Any order of deliveries: F7 and F8 as properties. Whatever is delivered how often, in whatever order and company, a seat has
//! one owner at any instant, every refusal has a reason, and a second delivery of everything changes no byte.

mod books;
mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use local::servers::ServerSet;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use reservation_persist::Persist;
use shared::domain::event::TakenState::{Blocked, Held, Sold};
use shared::domain::ids::EventId;
use shared::dynamodb::reservations::Repository;
use shared::dynamodb::{Table, TableSettings};
use shared::kafka::RequestLog;
use shared::redis::Redis;
use tokio::runtime::Runtime;

use self::books::Books;
use self::plan::{EVENT, Plan, any_plan, orderly_plan};
use super::batch::{DONE, answered};
use super::negative_control::unguarded;
use crate::harness::handmade::{carrying, payload};
use crate::harness::logs::{Mood, Moody};
use crate::harness::table::{difference, scan};
use crate::harness::wire::{Fate, Wire};
use crate::harness::{Office, PATIENCE, all_at_once};

/// Plans tried of each kind.
const CASES: u32 = 40;
/// Shorter plans looked for, once one has failed.
const SHRINKS: u32 = 60;

/// Where plans are carried out.
struct Bench {
    office: Office,
    redis: Redis,
    log: Arc<dyn RequestLog>,
}

impl Bench {
    async fn open() -> Self {
        let office = Office::open(ServerSet::Embedded).await;
        let (redis, log) = (Redis::connect(&office.system.config().redis_url, 1).await.unwrap(), office.log());
        Self { office, redis, log }
    }

    /// Carries a plan out on a table of its own, everything a second time, and opens the books.
    async fn carry_out(&self, plan: &Plan, wire: &Wire) -> Result<Books, TestCaseError> {
        static TABLES: AtomicU32 = AtomicU32::new(0);
        let name = format!("orders-{}", TABLES.fetch_add(1, Ordering::Relaxed));
        let config = self.office.system.config();
        let table = Table::new(&TableSettings { table: name, ..config.table.clone() }).await;
        table.create().await.unwrap();
        let moody = Moody::over(Arc::clone(&self.log), |_| Mood::Well);
        let persist = Persist::new(config, self.redis.clone(), wire.under(&table), moody.clone());

        let requests = plan.requests();
        // One record after another, over two partitions, each with an offset of its own.
        let mut offset = 0;
        let mut batch = |deliveries: &[usize]| {
            let mut partitions = [Vec::new(), Vec::new()];
            for at in deliveries {
                partitions[at % 2].push(carrying(offset, &requests[*at]));
                offset += 1;
            }
            let [even, odd] = partitions;
            let (persist, batch) = (persist.clone(), payload([("t-0", even), ("t-1", odd)]));
            async move { answered(&persist, batch, PATIENCE).await }
        };
        let payloads: Vec<_> = plan.payloads().map(&mut batch).collect();
        let answers = if plan.at_once {
            all_at_once(payloads).await
        } else {
            let mut answers = Vec::new();
            for payload in payloads {
                answers.push(payload.await);
            }
            answers
        };
        prop_assert!(answers.iter().all(|answer| answer == DONE), "{:?}", answers);

        let before = scan(&table).await;
        let everything: Vec<usize> = (0..requests.len()).rev().collect();
        let again = batch(&everything).await;
        prop_assert_eq!(again, DONE);
        let changed = difference(&before, &scan(&table).await);
        prop_assert!(changed.is_empty(), "a second delivery changed the table: {:#?}", changed);

        let repository = Repository::new(table.clone());
        let mut rows = Vec::new();
        for request in requests {
            let row = repository.get(&request.reservation_id).await.unwrap();
            prop_assert!(row.is_some(), "{:?} has no row", request);
            rows.extend(row.map(|row| (request, row)));
        }
        let event = EventId::parse(EVENT).unwrap();
        let mut owners = BTreeMap::new();
        for partition in 0..2 {
            let taken = repository.taken(&event, "A", partition).await.unwrap();
            for seat in taken {
                let (Blocked { owner } | Held { owner, .. } | Sold { owner }) = seat.state;
                owners.insert(seat.number, owner);
            }
        }
        let outcomes =
            moody.seen().into_iter().map(|sent| serde_json::from_slice(sent.value.as_deref().unwrap()).unwrap());
        Ok(Books { rows, owners, live: live(&before), outcomes: outcomes.collect() })
    }
}

/// Live seats by customer, of a scan.
fn live(items: &[String]) -> BTreeMap<String, u32> {
    let field = |item: &str, name: &str| {
        let rest = item.split_once(name)?.1;
        Some(rest.split(['"', ' ', '}']).next()?.to_owned())
    };
    let counts = items.iter().filter_map(|item| {
        let customer = field(item, &format!("pk=\"LIMIT#{EVENT}#"))?;
        Some((customer, field(item, "live=")?.parse().unwrap()))
    });
    counts.collect()
}

/// Tries plans until one fails.
fn try_plans(
    wire: &Wire,
    cases: u32,
    plans: impl Strategy<Value = Plan>,
    judge: impl Fn(&Plan, &Books) -> Result<(), TestCaseError>,
) -> Result<(), TestError<Plan>> {
    let runtime = Runtime::new().unwrap();
    let bench = runtime.block_on(Bench::open());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: SHRINKS, ..Config::default() };
    // A failure shows the shortest plan that has it.
    let tried = TestRunner::new(config).run(&plans, |plan| {
        let books = runtime.block_on(bench.carry_out(&plan, wire))?;
        judge(&plan, &books).map_err(|error| TestCaseError::fail(format!("{error}\n{books:#?}")))
    });
    runtime.block_on(bench.office.close());
    tried
}

fn sound() -> Wire {
    Wire::new(|_, _| Fate::Pass)
}

#[test]
fn f8_in_any_order_a_seat_has_one_owner_at_any_instant_and_f7_a_second_delivery_changes_no_byte() {
    let tried = try_plans(&sound(), CASES, any_plan(), |plan, books| {
        books.add_up(plan)?;
        match plan.one_by_one() {
            Some(deliveries) if plan.limit.is_none() => books.are_as_delivered(deliveries),
            _ => Ok(()),
        }
    });
    tried.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn f8_where_no_two_want_a_seat_at_the_same_time_any_order_has_the_same_live_owners() {
    let tried = try_plans(&sound(), CASES, orderly_plan(), |plan, books| {
        books.add_up(plan)?;
        books.have_the_same_live_owners()
    });
    tried.unwrap_or_else(|failure| panic!("{failure}"));
}

/// The negative control: what these properties see is the seat's condition.
#[test]
fn without_the_condition_some_order_gives_a_seat_two_owners() {
    let wire = Wire::new(|operation, body| match unguarded(body) {
        Some(body) if operation == "TransactWriteItems" => Fate::Send(body),
        _ => Fate::Pass,
    });
    let tried = try_plans(&wire, CASES, any_plan(), |_, books| books.one_owner_at_any_instant());
    let Err(TestError::Fail(reason, _)) = tried else { panic!("{tried:?}") };
    assert!(reason.message().contains("two owners at one instant") || reason.message().contains("is the last one's"));
}
