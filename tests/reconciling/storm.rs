//! A sale under random damage to Redis, with the reconciler at work beside it. When the damage is over, one turn makes every
//! view agree with the table, and every free seat can be had.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use axum::http::Method;
use local::servers::ServerSet;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use shared::domain::event::TakenState;
use shared::domain::ids::{CustomerId, ReservationId};
use shared::dynamodb::reads::MAX_PAGE;
use shared::dynamodb::reservations::Repository;
use shared::redis::entries::Entry;

use super::{Desk, NOBODY};
use crate::harness::changing::{cancel, confirm};
use crate::harness::storm::insist_on;
use crate::harness::{eventually, hall, on_both_sets, redis};

on_both_sets!(whatever_is_damaged_is_right_after_one_turn);

const CUSTOMERS: usize = 12;
const ROUNDS: usize = 14;
const SEATS: usize = 40;
const PLACES: usize = 60;
/// How often something is damaged.
const PACE: Duration = Duration::from_millis(5);

/// Does something to Redis that nobody of ours would do.
async fn damage(desk: &Desk, random: &mut StdRng) {
    let section = if random.random_bool(0.5) { "A" } else { "FLOOR" };
    let number = random.random_range(0..if section == "A" { SEATS } else { PLACES }).to_string();
    let [claims, taken, blocked, used, ends] =
        ["claims", "taken", "blocked", "used", "ends"].map(|part| desk.key(section, part));
    let bit = if random.random_bool(0.5) { "1" } else { "0" };
    let customer = desk.entries_of(&format!("customer-{}", random.random_range(0..CUSTOMERS)));
    let entry: Option<String> = redis::command(&desk.raw, &["HRANDFIELD", &customer]).await;
    match random.random_range(0..28) {
        20..23 => desk.redis(&["HDEL", &customer, &entry.unwrap_or_default()]).await,
        23 => desk.redis(&["DEL", &customer]).await,
        24..26 => desk.redis(&["HSET", &customer, &entry.unwrap_or_else(|| NOBODY.into()), "0:1:s:A-1-1"]).await,
        26 => desk.redis(&["HSET", &customer, NOBODY, "0:2:s:A-1-1,A-1-2"]).await,
        27 => desk.redis(&["HSET", &customer, &entry.unwrap_or_else(|| NOBODY.into()), "rubbish"]).await,
        0..4 => desk.redis(&["HDEL", &claims, &number]).await,
        4..7 => desk.redis(&["SETBIT", &taken, &number, bit]).await,
        7..9 => desk.redis(&["SETBIT", &blocked, &number, bit]).await,
        9..11 if section == "FLOOR" => desk.redis(&["SETBIT", &used, &number, bit]).await,
        11..13 if section == "FLOOR" => desk.redis(&["ZREM", &ends, &number]).await,
        13..15 => desk.redis(&["HSET", &claims, &number, &format!("9999999999999:{NOBODY}")]).await,
        15 => desk.redis(&["DEL", &taken]).await,
        16 => desk.redis(&["DEL", &used, &ends]).await,
        17 => desk.redis(&["DEL", &claims]).await,
        _ => desk.redis(&["HDEL", &claims, &number]).await,
    }
}

/// Buys, pays, cancels; what is refused is refused, for the map lies at times.
async fn customer(desk: Arc<Desk>, n: usize, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let client = desk.office.customer(&format!("customer-{n}"));
    let payments = desk.office.payments();
    for round in 0..ROUNDS {
        let wish = match random.random_range(0..3) {
            0 => json!({ "section": "FLOOR", "quantity": random.random_range(1..3) }),
            _ => json!({ "seats": [format!("A-1-{}", random.random_range(1..=SEATS))] }),
        };
        let path = format!("/events/{}/reservations", desk.event);
        let key = format!("k{round}");
        let headers = [("idempotency-key", key.as_str()), ("prefer", "wait=5")];
        // A claim whose answer was lost is somebody's until its lease ends, unless the same key continues it.
        let answer = eventually("an answer", || async {
            let answer = client.send(Method::POST, &path, &headers, Some(&wish)).await.unwrap();
            (answer.status != 503).then_some(answer)
        })
        .await;
        let Some(id) = answer.text("reservation_id").filter(|_| answer.status == 201) else { continue };
        let id = ReservationId::parse(id).unwrap();
        match random.random_range(0..4) {
            0 | 1 => drop(confirm(&payments, &id, "p").await),
            2 => drop(cancel(&client, &id).await),
            _ => {}
        }
    }
}

async fn whatever_is_damaged_is_right_after_one_turn(set: ServerSet) {
    let mut document = hall::standing(PLACES);
    document["sections"][1]["rows"] = json!([{ "id": "1", "seats": SEATS }]);
    let desk = Arc::new(Desk::selling(set, "damaged", &document).await);
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let (over, repaired) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let wrecker = tokio::spawn({
        let (desk, over, mut random) = (Arc::clone(&desk), Arc::clone(&over), StdRng::seed_from_u64(seed));
        async move {
            let (mut done, mut pace) = (0, tokio::time::interval(PACE));
            while !over.load(Ordering::Relaxed) {
                pace.tick().await;
                damage(&desk, &mut random).await;
                done += 1;
            }
            done
        }
    });
    let reconciler = tokio::spawn({
        let (desk, over, repaired) = (Arc::clone(&desk), Arc::clone(&over), Arc::clone(&repaired));
        async move {
            while !over.load(Ordering::Relaxed) {
                let done = desk.reconcile().await;
                repaired.fetch_add(done.repaired.values().sum::<usize>() as u32, Ordering::Relaxed);
            }
        }
    });
    let customers: Vec<_> =
        (0..CUSTOMERS).map(|n| tokio::spawn(customer(Arc::clone(&desk), n, seed.wrapping_add(n as u64)))).collect();
    for customer in customers {
        customer.await.unwrap();
    }
    eventually("the reconciler to find something", || async { (repaired.load(Ordering::Relaxed) > 5).then_some(()) })
        .await;
    over.store(true, Ordering::Relaxed);
    let damaged: u32 = wrecker.await.unwrap();
    reconciler.await.unwrap();
    desk.office.drained().await;
    assert!(damaged > 20, "{damaged} damaged, {repaired:?} repaired");

    // A cold section is loaded by who looks; then one turn, and every view says what the table has.
    let map = async || desk.office.fresh("/events/damaged/seats").await;
    eventually("a whole map", || async { (map().await.status == 200).then_some(()) }).await;
    desk.reconcile().await;
    let again = desk.reconcile().await;
    assert_eq!((again.repaired.len(), again.unsettled), (0, 0), "{again:?}, seed {seed}");
    let stored = stored(&desk).await;
    let (map, page) = (map().await.body, desk.office.fresh("/events/damaged").await.body);
    for seat in map["sections"][1]["seats"].as_array().unwrap() {
        let (id, status) = (seat["id"].as_str().unwrap(), seat["status"].as_str().unwrap());
        assert_eq!(status, stored.get(id).copied().unwrap_or("free"), "{id}, seed {seed}");
    }
    for (at, label, capacity) in [(0, "FLOOR", PLACES), (1, "A", SEATS)] {
        let of_section: Vec<&str> =
            stored.iter().filter(|(seat, _)| seat.starts_with(label)).map(|(_, status)| *status).collect();
        for status in ["free", "held", "sold", "blocked"] {
            let count = match status {
                "free" => capacity - of_section.len(),
                taken => of_section.iter().filter(|status| **status == taken).count(),
            };
            assert_eq!(page["availability"][label][status], json!(count), "{label} {status}, seed {seed}");
            assert_eq!(map["sections"][at][status], json!(count), "{label} {status}, seed {seed}");
        }
    }
    everybody_has_what_is_his(&desk, seed).await;
    everything_free_is_sold(&desk, &stored, seed).await;
    Arc::into_inner(desk).unwrap().office.close().await;
}

/// What the table has of each seat that is not free.
async fn stored(desk: &Desk) -> BTreeMap<String, &'static str> {
    let repository = Repository::new(desk.office.table().await);
    let now_ms = shared::clock::wall_ms();
    let mut stored = BTreeMap::new();
    for (label, prefix) in [("A", "A-1"), ("FLOOR", "FLOOR")] {
        for seat in repository.taken(&desk.event, label, 0).await.unwrap() {
            let status = match seat.state {
                TakenState::Held { expires_at_ms, .. } if expires_at_ms <= now_ms => continue,
                TakenState::Held { .. } => "held",
                TakenState::Sold { .. } => "sold",
                TakenState::Blocked { .. } => "blocked",
            };
            stored.insert(format!("{prefix}-{}", seat.number + 1), status);
        }
    }
    stored
}

/// What counts for each customer in Redis is what the table says he has, and nothing else.
async fn everybody_has_what_is_his(desk: &Desk, seed: u64) {
    let repository = Repository::new(desk.office.table().await);
    for n in 0..CUSTOMERS {
        let customer = format!("customer-{n}");
        let id = CustomerId::parse(&customer).unwrap();
        let rows = repository.of_customer(&id, MAX_PAGE, None).await.unwrap().rows;
        let truths = rows.iter().map(|row| (row.reservation_id.uuid().to_owned(), row.truth(&[]).entry()));
        let has: BTreeMap<String, String> = truths.filter(|(_, entry)| !entry.is_empty()).collect();
        let now_ms = shared::clock::wall_ms();
        let entries: BTreeMap<String, String> =
            redis::command(&desk.raw, &["HGETALL", &desk.entries_of(&customer)]).await;
        let counts = entries.into_iter().filter(|(uuid, text)| {
            uuid != "@rate" && Entry::parse(text).is_none_or(|entry| entry.until_ms == 0 || entry.until_ms > now_ms)
        });
        assert_eq!(counts.collect::<BTreeMap<_, _>>(), has, "{customer}, seed {seed}");
    }
}

/// Every seat and place that is free can be had, and then nothing is left.
async fn everything_free_is_sold(desk: &Desk, stored: &BTreeMap<String, &'static str>, seed: u64) {
    let buyer = desk.office.customer("the-rest");
    for n in 1..=SEATS {
        let seat = format!("A-1-{n}");
        if !stored.contains_key(&seat) {
            desk.office.holds(&buyer, "damaged", &seat, &[&seat]).await;
        }
    }
    let taken = stored.keys().filter(|seat| seat.starts_with("FLOOR")).count();
    for n in taken..PLACES {
        let answer = insist_on(
            &desk.office.customer(&format!("rest-{n}")),
            "damaged",
            "k",
            &json!({ "section": "FLOOR", "quantity": 1 }),
        )
        .await;
        assert_eq!(answer.status, 202, "place {n}: {}, seed {seed}", answer.body);
    }
    desk.office.drained().await;
    let page = desk.office.fresh("/events/damaged").await.body;
    for section in ["A", "FLOOR"] {
        assert_eq!(page["availability"][section]["free"], json!(0), "{section}, seed {seed}");
    }
}
