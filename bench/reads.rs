//! Reads at the scale of an on-sale, on the embedded servers: what a map of 20,000 seats weighs and takes in each form, what
//! counting its claims takes Redis, and how soon a cold event of 200,000 seats sells again under a crowd.
//!
//!     cargo bench --bench reads [-- READERS]
//!
//! With optimisation: without it the embedded table takes longer for 50,000 seats than a load may.

#![expect(clippy::unwrap_used, reason = "what a run cannot go on without ends it where it is missing")]

#[path = "../tests/reads/crowd.rs"]
mod crowd;
#[path = "../tests/harness/mod.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "the tests' harness, of which a run needs a part")]
mod harness;

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use fred::clients::Client;
use harness::process::Process;
use harness::wire::{Fate, Wire};
use harness::{Office, hall, redis};
use local::servers::ServerSet;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::index::sample;
use shared::domain::event::Event;
use shared::domain::ids::EventId;
use shared::dynamodb::events::Events;
use shared::redis::seat_map::{Look, SeatMaps};
use shared::redis::{Redis, keys};

/// Readers of the crowd, where nobody says otherwise.
const READERS: usize = 2_000;
/// Of the seats of the map, so many are claimed and so many sold.
const CLAIMED: usize = 10_000;
const SOLD: usize = 3_000;
/// How often each thing is measured.
const TIMES: u32 = 50;
/// What a busy machine may take longer.
const SLACK: Duration = Duration::from_secs(1);
/// A uuid as any other.
const OWNER: &str = "2c5ea4c0-4067-51f9-8f6d-2b7a4f3f7c11";

#[tokio::main]
async fn main() {
    // Cargo itself adds `--bench`.
    let readers = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(READERS);
    a_map_of_20_000_seats().await;
    for (sections, rows) in [(4, 25), (4, 250)] {
        println!("\n{} seats, cold; {readers} readers and a buyer a section", sections * rows * 200);
        let run = crowd::on_a_cold_event(ServerSet::Embedded, sections, rows, readers).await;
        println!("{run}");
        crowd::assert_bounded(&run, sections, rows, SLACK);
    }
}

async fn a_map_of_20_000_seats() {
    let office = Office::open(ServerSet::Embedded).await;
    office.sells("arena", &hall::small(99, 200)).await;
    let raw = redis::connect(&office.system.servers().redis_url()).await;
    let event = Events::new(office.table().await).get(&EventId::parse("arena").unwrap()).await.unwrap().unwrap();
    fill(&raw, &event).await;
    let process = Process::of(&office, &Wire::new(|_, _| Fate::Pass)).await;
    println!("a map of 20,000 seats, {CLAIMED} claimed and {SOLD} sold");
    for (form, accept) in [("readable", "application/json"), ("compact", "application/vnd.event-tickets.seatmap+json")]
    {
        let accept = ("accept", accept);
        let path = "/events/arena/seats";
        let whole = process.get(path, &[accept]).await;
        let known = ("if-none-match", whole.header("etag").unwrap());
        let (bytes, packed) = (whole.bytes(), gzip(whole.bytes()));
        let sent = time(async || drop(process.get(path, &[accept]).await)).await;
        let unchanged = time(async || drop(process.get(path, &[accept, known]).await)).await;
        println!(
            "  {form:8} {:7} bytes, {packed:6} by gzip; from a copy {sent:.2?}, as 304 {unchanged:.2?}",
            bytes.len()
        );
    }
    let layout = process.get("/events/arena/layouts/1", &[]).await;
    println!("  layout   {:7} bytes, {:6} by gzip", layout.bytes().len(), gzip(layout.bytes()));
    let maps = SeatMaps::new(Redis::connect(&office.system.config().redis_url, 1).await.unwrap());
    let sections: Vec<_> = event.sections.iter().collect();
    for (what, look) in [("counting the claims", Look::Anew), ("with a count that is kept", Look::Shared)] {
        redis::command::<String>(&raw, &["CONFIG", "RESETSTAT"]).await;
        let whole = time(async || drop(maps.look(&event, &sections, look).await.unwrap())).await;
        let stats: String = redis::command(&raw, &["INFO", "commandstats"]).await;
        let evalsha = stats.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap();
        let took = evalsha.split("usec_per_call=").nth(1).unwrap().split(',').next().unwrap();
        println!("  {what}: {took} us in Redis, {whole:.2?} with the way there and back");
    }
    office.close().await;
}

/// Claims and sells seats of section A at random.
async fn fill(raw: &Client, event: &Event) {
    let mut random = StdRng::seed_from_u64(8);
    let seats = sample(&mut random, 19_800, CLAIMED + SOLD);
    let (claims, taken) = (keys::claims(&event.id, "A"), keys::taken(&event.id, "A"));
    for (at, seat) in seats.iter().enumerate() {
        let number = seat.to_string();
        if at < CLAIMED {
            let claim = format!("4000000000000:{OWNER}");
            redis::command::<i64>(raw, &["HSET", &claims, &number, &claim]).await;
        } else {
            redis::command::<i64>(raw, &["SETBIT", &taken, &number, "1"]).await;
        }
    }
}

fn gzip(bytes: &[u8]) -> usize {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().len()
}

/// How long something takes on the average.
async fn time(mut what: impl AsyncFnMut()) -> Duration {
    let began = Instant::now();
    for _ in 0..TIMES {
        what().await;
    }
    began.elapsed() / TIMES
}
