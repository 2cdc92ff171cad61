//! Ten thousand records, nearly all of them broken by chance: nothing panics, each is stored or kept with its reason and
//! never both, and whatever stands beside them is held.

mod mutate;

use std::collections::{BTreeMap, BTreeSet};

use local::servers::ServerSet;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use self::mutate::{Fate, KINDS, Mutant, mutate, nowhere};
use super::batch::{DONE, answered, header};
use crate::harness::handmade::{asks, carrying, payload};
use crate::harness::{Office, PATIENCE, all_at_once};

/// Records in all.
const RECORDS: usize = 10_000;
/// Records of one payload.
const PER_PAYLOAD: usize = 250;
/// Payloads handled at the same time, as by functions beside each other.
const AT_ONCE: usize = 4;
/// The partition of a payload.
const PARTITION: &str = "requests-0";

/// A record of the run: the reservation it was made of, and what must become of it.
struct Expected {
    id: String,
    fate: Fate,
    made_by: &'static str,
}

/// A payload by chance: one of twenty records is good, one of fifty stands nowhere, and the others are mutants, each kind in turn.
struct Maker {
    random: StdRng,
    made: usize,
    /// What must become of each record, by its offset.
    expected: BTreeMap<i64, Expected>,
    nowhere: usize,
}

impl Maker {
    fn record(&mut self) -> Value {
        let (n, offset) = (self.made, self.made as i64);
        self.made += 1;
        // In events of their own, so that a mutant cannot take a good neighbour's seat.
        let event = if n.is_multiple_of(20) { "good" } else { "broken" };
        let seat = format!("A-{}-{}", n / 100 + 1, n % 100 + 1);
        let request = asks(event, &format!("customer{n}"), &[&seat], (1_000, 2_000));
        let id = request.reservation_id.to_string();
        if event == "good" {
            self.expected.insert(offset, Expected { id, fate: Fate::Stored, made_by: "nothing" });
            return carrying(offset, &request);
        }
        if n % 50 == 1 {
            self.nowhere += 1;
            return nowhere(&mut self.random, &request);
        }
        let Mutant { record, fate, made_by } = mutate(&mut self.random, n % KINDS, offset, &request);
        self.expected.insert(offset, Expected { id, fate, made_by });
        record
    }
}

/// The stored reservations, and how each stands.
async fn stored(office: &Office) -> BTreeMap<String, String> {
    let part = |item: &str, name: &str| item.split(name).nth(1)?.split('"').next().map(str::to_owned);
    let items = office.scan().await;
    items.iter().filter_map(|item| Some((part(item, "pk=\"RES#")?, part(item, " status=\"")?))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_ten_thousand_records_broken_by_chance_lose_no_neighbour_and_none_of_them_is_lost() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut maker = Maker { random: StdRng::seed_from_u64(seed), made: 0, expected: BTreeMap::new(), nowhere: 0 };
    let office = Office::open(ServerSet::Embedded).await;
    let persist = office.persisting_to(office.log()).await;
    while maker.made < RECORDS {
        let payloads = (0..AT_ONCE).map(|_| {
            let persist = persist.clone();
            let payload = payload([(PARTITION, (0..PER_PAYLOAD).map(|_| maker.record()).collect())]);
            async move { answered(&persist, payload, PATIENCE).await }
        });
        assert!(all_at_once(payloads).await.iter().all(|answer| answer == DONE), "one of the last {AT_ONCE} payloads");
    }
    let rows = stored(&office).await;
    let letters = office.dead_letters().await;
    let of_no_place = letters.iter().filter(|letter| header(letter, "source-offset") == Some("-1")).count();
    assert_eq!(of_no_place, maker.nowhere);
    let buried: BTreeMap<i64, &str> = letters
        .iter()
        .map(|letter| (header(letter, "source-offset").unwrap().parse().unwrap(), header(letter, "reason").unwrap()))
        .filter(|(offset, _)| *offset != -1)
        .collect();
    assert_eq!(buried.len() + of_no_place, letters.len(), "a record is buried once");
    assert_eq!(buried.len() + of_no_place + rows.len(), RECORDS, "stored or buried, and nothing from nowhere");
    for (offset, Expected { id, fate, made_by }) in &maker.expected {
        let (row, reason) = (rows.get(id).map(String::as_str), buried.get(offset).copied());
        let right = match fate {
            Fate::Stored => row == Some("HELD") && reason.is_none(),
            Fate::Poison => row.is_none() && reason.is_some(),
            Fate::Either => row.is_some() != reason.is_some(),
        };
        assert!(right, "{offset}, by {made_by}: stored as {row:?}, buried for {reason:?}");
    }
    let reasons: BTreeSet<&str> = buried.values().copied().collect();
    println!("{} stored, {} buried: {reasons:?}", rows.len(), letters.len());
    // What a check lets through can be stored, and nothing of it breaks the code.
    assert!(!reasons.contains("panic") && !reasons.contains("refused"));
    for reason in ["base64", "key", "no-key", "no-value", "schema", "too-large", "version"] {
        assert!(reasons.contains(reason), "{reason} did not come up");
    }
    assert_eq!(office.outcomes().await.len(), rows.len(), "each row has told its outcome once");
    office.close().await;
}
