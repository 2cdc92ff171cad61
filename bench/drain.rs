//! 20,000 records in batches of 100, a fifth of them duplicates, a hundredth poison, and every twentieth transaction throttled,
//! on the embedded servers: it must drain, and leave the very table of a run without any of that.
//!
//!     cargo bench --profile dev --bench drain [-- RECORDS [SEED]]

#![expect(clippy::unwrap_used, reason = "what a run cannot go on without ends it where it is missing")]

#[path = "../tests/persist/drain.rs"]
mod drain;
#[path = "../tests/harness/mod.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "the tests' harness, of which a run needs a part")]
mod harness;

/// Records of a run, where nobody says otherwise.
const RECORDS: usize = 20_000;

#[tokio::main]
async fn main() {
    // Cargo itself adds `--bench`.
    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse::<u64>().ok());
    let records = numbers.next().map_or(RECORDS, |records| usize::try_from(records).unwrap());
    let seed = numbers.next().unwrap_or_else(rand::random);
    println!("{records} records, seed {seed}");
    let drain::Run { records, throttled, items, took, took_clean } = drain::drain(records, seed).await;
    println!(
        "drained in {:.1} s, {:.0} records a second, {throttled} transactions throttled",
        took.as_secs_f64(),
        records as f64 / took.as_secs_f64()
    );
    println!(
        "the same {items} items as after {:.1} s without duplicates, poison and throttles",
        took_clean.as_secs_f64()
    );
}
