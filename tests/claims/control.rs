//! Negative control for the claim: its script is exchanged on the wire for one that lacks a guard, and the very predicates
//! that hold for the product must fail. If they did not, the storms would prove nothing.

use local::servers::ServerSet;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::harness::proxy::Proxy;
use crate::harness::{Office, Wishes, hall, redis, storm};

/// The product's script, as it is sent: what all scripts share stands in front.
const CLAIM: &str = concat!(
    include_str!("../../shared/src/redis/scripts/seats.lua"),
    include_str!("../../shared/src/redis/scripts/claim.lua")
);
/// All or nothing: who asks for a taken seat gets none.
const GUARD: &str = "    if #taken == 0 then return seats, json end\n";
/// Where a seat is chosen, before anybody has looked whether all of them are free.
const CHOOSE: &str = "      seats[seat] = { section, number }\n";
/// Triangles tried with a mutant; the first one would do.
const ROWS: usize = 5;
/// Customers who want one seat.
const CROWD: usize = 300;

/// The script with one part exchanged.
fn exchanged(script: &str, part: &str, by: &str) -> String {
    assert_eq!(script.matches(part).count(), 1, "the script has changed; the mutant must be made anew: {part}");
    script.replace(part, by)
}

/// Takes what others have.
fn overwriting() -> String {
    exchanged(CLAIM, GUARD, "    do return seats, json end\n")
}

/// Takes of a request what is free, and leaves the rest to whom has it.
fn in_part() -> String {
    exchanged(
        &overwriting(),
        CHOOSE,
        "      if taken[#taken] ~= seat then seats[#seats + 1] = { section, number } end\n",
    )
}

/// A system whose claims run `mutant`.
async fn tampered(mutant: &str) -> (Office, Proxy) {
    let proxy = Proxy::listen().await;
    let wishes = Wishes { front_redis: Some(proxy.front()), ..Wishes::plain(ServerSet::Embedded) };
    let office = Office::open_with(wishes).await;
    office.sells("control", &hall::small(ROWS + 1, 3)).await;
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    let product: String = redis::command(&redis, &["SCRIPT", "LOAD", CLAIM]).await;
    let tampered: String = redis::command(&redis, &["SCRIPT", "LOAD", mutant]).await;
    proxy.replace(&product, &tampered);
    (office, proxy)
}

async fn the_storms_see(mutant: &str) {
    let (office, proxy) = tampered(mutant).await;
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for row in 1..=ROWS {
        let seen = storm::triangle(&office, "control", row, &mut random).await.unwrap_err();
        println!("{seen}");
        assert!(seen.contains("can be had once"), "another thing than too many winners: {seen}");
    }
    let seat = format!("A-{}-1", ROWS + 1);
    let answers = storm::on_one_seat(&office, "control", &seat, CROWD).await;
    let Err(seen) = storm::one_winner(&answers, &seat) else { panic!("nothing wrong was seen at the one seat") };
    println!("{seen}");
    assert!(seen.ends_with("winners"), "another thing than too many winners: {seen}");
    assert!(proxy.replaced() >= 9 * ROWS + CROWD, "the script was exchanged {} times only", proxy.replaced());
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_takes_a_part_is_seen_by_the_storms() {
    the_storms_see(&in_part()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_takes_what_others_have_is_seen_by_the_storms() {
    the_storms_see(&overwriting()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_product_on_the_same_wire_passes_the_storms() {
    // A comment more is another digest and the same script: what the mutants fail by is their guard, not the exchange.
    let (office, proxy) = tampered(&format!("-- The same script.\n{CLAIM}")).await;
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for row in 1..=ROWS {
        storm::triangle(&office, "control", row, &mut random).await.unwrap();
    }
    let answers = storm::on_one_seat(&office, "control", &format!("A-{}-1", ROWS + 1), CROWD).await;
    storm::one_winner(&answers, &format!("A-{}-1", ROWS + 1)).unwrap();
    assert!(proxy.replaced() >= 9 * ROWS + CROWD);
    office.close().await;
}
