//! What a decision costs Redis: the CPU time of the server's one thread, a command of each kind, driven through the
//! product's own code over 32 connections, as an on-sale's environments would. docs/CAPACITY.md calculates with it.
//!
//!     cargo bench --profile dev --bench redis_cost [-- CLAIMS]

#![expect(clippy::unwrap_used, reason = "what a run cannot go on without ends it where it is missing")]

#[path = "../tests/harness/mod.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "the tests' harness, of which a run needs a part")]
mod harness;

use futures_util::{StreamExt, stream};
use harness::hall;
use harness::scripts::{Attempt, Scripts, event, request};
use shared::domain::event::{Event, Seat};
use shared::domain::money::Cents;
use shared::domain::reservation::{Decision, Outcome, Status, Told};
use shared::message::{Draft, Terms};
use shared::redis::Redis;
use shared::redis::claims::{Choice, Claim, Claimed, Claims};
use shared::redis::records::Records;
use shared::redis::seat_map::{Look, SeatMaps};
use shared::redis::truth::{SeatState, Truth, Truths};

/// Claims of a run, where nobody says otherwise.
const CLAIMS: usize = 20_000;
/// Connections; each carries one command at a time, as an environment's does.
const CONNECTIONS: usize = 32;
/// Seats of a row.
const ROW: usize = 50;
/// Seats of the section whose map is read, as large as the arenas' are.
const SECTION: usize = 1_000;
/// Maps read of each kind.
const MAPS: usize = 2_000;
/// Options that a request for the best seats brings.
const OPTIONS: usize = 8;

/// A server with an event on sale, and the product's connections to it.
struct Bench {
    scripts: Scripts,
    event: Event,
    records: Records,
}

impl Bench {
    async fn selling(document: &serde_json::Value) -> Self {
        let mut scripts = Scripts::start().await;
        let redis = Redis::connect(&scripts.url(), CONNECTIONS).await.unwrap();
        scripts.claims = Claims::new(redis.clone());
        scripts.truths = Truths::new(redis.clone());
        scripts.maps = SeatMaps::new(redis.clone());
        let event = event("summer-nights-2026-06-12", 1, document);
        scripts.publish_first(&event).await;
        Self { scripts, event, records: Records::new(redis) }
    }

    /// A value of `INFO`, by its name.
    async fn info(&self, section: &str, name: &str) -> String {
        let text: String = self.scripts.command(&["INFO", section]).await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("INFO {section} says nothing of {name}")).to_owned()
    }

    /// CPU time of the thread that runs commands, in microseconds.
    async fn cpu_us(&self) -> f64 {
        let mut seconds = 0.0;
        for name in ["used_cpu_user_main_thread", "used_cpu_sys_main_thread"] {
            seconds += self.info("cpu", name).await.parse::<f64>().unwrap();
        }
        seconds * 1e6
    }

    /// Scripts run so far.
    async fn scripts_run(&self) -> usize {
        let stats = self.info("commandstats", "cmdstat_evalsha").await;
        let calls = stats.split(',').find_map(|part| part.strip_prefix("calls="));
        calls.unwrap().parse().unwrap()
    }

    /// Does `one` for each of `0..count`, [`CONNECTIONS`] at a time, and prints what it cost the server.
    async fn measure<F: Future<Output = ()>>(&self, what: &str, count: usize, one: impl Fn(usize) -> F) {
        // The script is loaded by its first use.
        one(0).await;
        let (calls, cpu) = (self.scripts_run().await, self.cpu_us().await);
        stream::iter(1..count).map(one).buffer_unordered(CONNECTIONS).collect::<Vec<()>>().await;
        let each = (self.cpu_us().await - cpu) / (count - 1) as f64;
        assert_eq!(self.scripts_run().await - calls, count - 1, "{what}: more than one command each");
        println!("| {what} | {} | {each:.0} | {:.0} |", count - 1, 1e6 / each);
    }

    fn attempt(&self, n: usize, key: &str, seats: &[String]) -> Attempt {
        let seats: Vec<&str> = seats.iter().map(String::as_str).collect();
        let mut attempt = Attempt::new(&self.event, &format!("5f0c2a8e-7d1b-4c57-9a53-{n:012}"), key, &seats);
        // As long as a digest.
        attempt.fingerprint = format!("{n:064}");
        attempt
    }

    /// A claim of another choice than named seats.
    async fn claim(&self, n: usize, choice: Choice<'_>) -> Claimed {
        let Attempt { id, customer, fingerprint, .. } = &self.attempt(n, "k", &[]);
        let document = &self.event.document;
        let terms = Terms {
            layout_version: self.event.version,
            amount: Cents::ZERO,
            currency: document.currency,
            section_cents: std::collections::BTreeMap::new(),
            max_per_customer: document.max_per_customer,
            sale: document.sale,
        };
        let draft = Draft::new(id.clone(), customer.clone(), fingerprint.clone(), &terms);
        let claim =
            Claim { event: &self.event, fresh: false, id, customer, fingerprint, queued: true, choice, draft: &draft };
        self.scripts.claims.claim(claim).await.unwrap()
    }
}

/// The `n`th seat of section A.
fn seat(n: usize) -> String {
    format!("A-{}-{}", n / ROW + 1, n % ROW + 1)
}

/// The seats that the `n`th customer wants, `each` of them.
fn seats(n: usize, each: usize) -> Vec<String> {
    (n * each..(n + 1) * each).map(seat).collect()
}

fn held(attempt: &Attempt, expires_at_ms: i64) -> Truth {
    let state = SeatState::Held { owner: attempt.id.clone(), expires_at_ms };
    Truth {
        id: attempt.id.clone(),
        customer: attempt.customer.clone(),
        told: Told::new(Decision::plain(Outcome::Held), Status::Held, Some(expires_at_ms)),
        ends_at_ms: expires_at_ms,
        seats: attempt.seats.iter().map(|seat| (seat.clone(), state.clone())).collect(),
    }
}

async fn named_seats(claims: usize, each: usize) {
    let bench = &Bench::selling(&hall::small((claims * each).div_ceil(ROW), ROW)).await;
    let of = move |n, key| bench.attempt(n, key, &seats(n, each));
    let name = if each == 1 { "one seat".to_owned() } else { format!("{each} seats") };
    let accepted = |n| async move {
        assert!(matches!(bench.scripts.claim_unread(&bench.event, &of(n, "k")).await, Claimed::Granted { .. }));
    };
    bench.measure(&format!("accepted, {name}"), claims, accepted).await;
    bench.measure(&format!("the same key again, {name}"), claims, accepted).await;
    let looked = |n| async move {
        assert!(bench.records.look(&of(n, "k").id).await.unwrap().request.is_some());
    };
    bench.measure(&format!("a look at its record, {name}"), claims, looked).await;
    let told = |n| async move {
        let attempt = of(n, "k");
        let Claimed::Granted { message, .. } = bench.scripts.claim_unread(&bench.event, &attempt).await else {
            panic!("not granted")
        };
        (attempt, request(&message).expires_at_ms)
    };
    let mut truths = Vec::with_capacity(claims);
    for n in 0..claims {
        let (attempt, expires_at_ms) = told(n).await;
        truths.push(held(&attempt, expires_at_ms));
    }
    let truths = &truths;
    let write = |n: usize| async move { bench.scripts.truths.write(&truths[n]).await.unwrap() };
    bench.measure(&format!("its outcome, {name}"), claims, write).await;
    let refused = |n| async move {
        let other = bench.attempt(claims + n, "k", &seats(n, each));
        assert!(matches!(bench.scripts.claim_unread(&bench.event, &other).await, Claimed::Taken { .. }));
    };
    bench.measure(&format!("refused because taken, {name}"), claims, refused).await;
}

async fn places(claims: usize, each: usize) {
    let bench = &Bench::selling(&hall::standing(claims * each)).await;
    let choice = || {
        let section = bench.event.section("FLOOR").unwrap();
        Choice::Places { section, quantity: u32::try_from(each).unwrap(), random: 0 }
    };
    let name = if each == 1 { "one place".to_owned() } else { format!("{each} places") };
    let granted = |n| async move {
        let claimed = bench.claim(n, choice()).await;
        assert!(matches!(claimed, Claimed::Granted { .. }), "{claimed:?}");
    };
    bench.measure(&format!("accepted, {name}"), claims, granted).await;
    let refused = |n| async move {
        let claimed = bench.claim(claims + n, choice()).await;
        assert!(matches!(claimed, Claimed::Contended { .. }), "{claimed:?}");
    };
    bench.measure(&format!("refused because held, {name}"), claims, refused).await;
}

async fn best_seats() {
    let bench = &Bench::selling(&hall::small(SECTION / ROW, ROW)).await;
    let section = bench.event.section("A").unwrap();
    let read = |_| async move {
        assert!(bench.scripts.maps.read(&bench.event, &[section]).await.unwrap().sections[0].is_some());
    };
    bench.measure(&format!("map of {SECTION} seats, none claimed"), MAPS, read).await;
    let pair = |n: usize| -> Vec<Seat> { bench.attempt(0, "k", &seats(n, 2)).seats };
    let claims = SECTION / 4;
    let granted = |n: usize| async move {
        let options: Vec<Vec<Seat>> = (n..n + OPTIONS).map(pair).collect();
        assert!(matches!(bench.claim(n, Choice::Best { section, options: &options }).await, Claimed::Granted { .. }));
    };
    bench.measure(&format!("accepted, the first of {OPTIONS} pairs"), claims, granted).await;
    bench.measure(&format!("map of {SECTION} seats, half of them claimed, counted anew"), MAPS, read).await;
    let shared = |_| async move {
        let read = bench.scripts.maps.look(&bench.event, &[section], Look::Shared).await.unwrap();
        assert!(read.sections[0].is_some());
    };
    bench.measure("the same as everybody is shown it, counted twice a second", MAPS, shared).await;
    let refused = |n: usize| async move {
        let first = n % (claims - 2 * OPTIONS);
        let options: Vec<Vec<Seat>> = (first..first + OPTIONS).map(pair).collect();
        let claimed = bench.claim(claims + n, Choice::Best { section, options: &options }).await;
        assert!(matches!(claimed, Claimed::Contended { .. }), "{claimed:?}");
    };
    bench.measure(&format!("refused, none of {OPTIONS} pairs free"), MAPS, refused).await;
}

#[tokio::main]
async fn main() {
    // Cargo itself adds `--bench`.
    let claims = std::env::args().skip(1).find_map(|word| word.parse::<usize>().ok()).unwrap_or(CLAIMS);
    println!("| command | times | CPU, µs | a second, of one core |\n|---|---|---|---|");
    named_seats(claims, 1).await;
    named_seats(claims / 4, 4).await;
    // Less, for what a development build takes to lay out so many places would shut the lag gate.
    places(claims / 4, 1).await;
    places(claims / 16, 4).await;
    best_seats().await;
}
