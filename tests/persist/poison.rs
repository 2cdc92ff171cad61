//! Poison: what can never be handled is kept with its bytes and the reason, and what lies beside it is stored.

use local::servers::ServerSet;
use serde_json::{Value, json};
use shared::message::{MAX_MESSAGE_BYTES, Request};

use super::batch::{DONE, answered, assert_held, header, reporting};
use crate::harness::handmade::{asks, carrying, payload, record};
use crate::harness::logs::{Mood, Moody};
use crate::harness::topic::Seen;
use crate::harness::{Office, PATIENCE, on_both_sets};

on_both_sets!(
    poison_is_kept_with_its_reason_and_its_neighbours_are_stored,
    a_value_too_large_for_a_dead_letter_is_cut_and_says_so,
    poison_that_cannot_be_kept_is_reported_and_not_lost,
);

/// A poisonous record, and what must be kept of it.
struct Poison {
    record: Value,
    kept: Kept,
}

/// A dead letter: reason, offset, key and value.
type Kept = (String, i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// Everything that can be wrong with a record, made from a good request; `other` is the id of another one.
fn corpus(good: &Request, other: &str) -> Vec<Poison> {
    let (key, value) = (good.reservation_id.as_str(), String::from_utf8(good.to_value()).unwrap());
    let changed = |from: &str, to: &str| {
        assert!(value.contains(from));
        value.replacen(from, to, 1).into_bytes()
    };
    let seat = serde_json::to_string(&good.seats[0]).unwrap();
    let plain = [
        ("schema", Some(key), Some(b"{\"version\":1,".to_vec())),
        ("schema", Some(key), Some(b"\xff\xfe{}".to_vec())),
        ("schema", Some(key), Some(changed(&format!("\"customer\":\"{}\",", good.customer), ""))),
        ("schema", Some(key), Some(changed(&seat, &format!("{seat},{seat}")))),
        ("version", Some(key), Some(changed("\"version\":1", "\"version\":2"))),
        ("too-large", Some(key), Some(vec![b' '; MAX_MESSAGE_BYTES + 1])),
        ("no-key", None, Some(value.clone().into_bytes())),
        ("no-value", Some(key), None),
        ("key", Some(other), Some(value.clone().into_bytes())),
    ];
    let decodable = plain.into_iter().zip(1..).map(|((reason, key, value), offset)| {
        let key = key.map(|key| key.as_bytes().to_vec());
        Poison { record: record(offset, key.as_deref(), value.as_deref()), kept: (reason.into(), offset, key, value) }
    });
    // What cannot be decoded is kept as it stands in the payload.
    let broken = [("base64", "value", json!("%%%")), ("base64", "key", json!(7)), ("record", "offset", json!("x"))];
    let undecodable = broken.into_iter().zip(50..).map(|((reason, field, broken), offset)| {
        let mut whole = carrying(offset, good);
        whole[field] = broken;
        let named = whole["offset"].as_i64().unwrap_or(-1);
        let kept = (reason.into(), named, None, Some(whole.to_string().into_bytes()));
        Poison { record: whole, kept }
    });
    decodable.chain(undecodable).collect()
}

async fn poison_is_kept_with_its_reason_and_its_neighbours_are_stored(set: ServerSet) {
    let office = Office::open(set).await;
    let (first, last) = (asks("poison", "alice", &["A-1-1"], (1, 2)), asks("poison", "bob", &["A-1-2"], (1, 2)));
    let bad = asks("poison", "mallory", &["A-1-3"], (1, 2));
    let corpus = corpus(&bad, first.reservation_id.as_str());
    let mut records = vec![carrying(0, &first)];
    records.extend(corpus.iter().map(|poison| poison.record.clone()));
    records.push(carrying(99, &last));

    let persist = office.persisting_to(office.log()).await;
    assert_eq!(answered(&persist, payload([("requests-3", records)]), PATIENCE).await, DONE);
    assert_held(&office, &first).await;
    assert_held(&office, &last).await;
    assert_eq!(office.scan().await.len(), 6, "two rows, two limits and two seats, and nothing of the poison");

    let letters = office.dead_letters().await;
    assert!(letters.iter().all(|letter| header(letter, "source-partition") == Some("requests-3")));
    assert!(letters.iter().all(|letter| header(letter, "detail").is_some_and(|detail| !detail.is_empty())));
    let kept = |letter: &Seen| {
        let offset = header(letter, "source-offset").unwrap().parse().unwrap();
        (header(letter, "reason").unwrap().to_owned(), offset, letter.key.clone(), letter.value.clone())
    };
    let mut kept: Vec<Kept> = letters.iter().map(kept).collect();
    let mut expected: Vec<Kept> = corpus.into_iter().map(|poison| poison.kept).collect();
    kept.sort();
    expected.sort();
    assert_eq!(kept, expected);

    let outcomes = office.outcomes().await;
    assert_eq!(outcomes.len(), 2);
    for request in [&first, &last] {
        let id = request.reservation_id.as_str();
        let outcome = outcomes.iter().find(|seen| seen.key.as_deref() == Some(id.as_bytes())).unwrap();
        assert_eq!(header(outcome, "correlation-id"), Some(id));
        let value: Value = serde_json::from_slice(outcome.value.as_deref().unwrap()).unwrap();
        assert_eq!((&value["outcome"], &value["reservation_id"]), (&json!("HELD"), &json!(id)));
    }
    office.close().await;
}

async fn a_value_too_large_for_a_dead_letter_is_cut_and_says_so(set: ServerSet) {
    const BYTES: usize = 10 * 1024 * 1024;
    let office = Office::open(set).await;
    let persist = office.persisting_to(office.log()).await;
    let good = asks("large", "alice", &["A-1-1"], (1, 2));
    let large: Vec<u8> = (0..BYTES).map(|at| b'a' + (at % 23) as u8).collect();
    let records = vec![record(0, Some(b"large"), Some(&large)), carrying(1, &good)];
    assert_eq!(answered(&persist, payload([("requests-0", records)]), PATIENCE).await, DONE);
    assert_held(&office, &good).await;
    let kept = office.dead_letters().await;
    assert_eq!((kept.len(), header(&kept[0], "reason")), (1, Some("too-large")));
    assert_eq!(header(&kept[0], "truncated-from"), Some(BYTES.to_string().as_str()));
    let value = kept[0].value.as_deref().unwrap();
    assert!(value.len() > 900_000 && large.starts_with(value), "{} bytes", value.len());
    office.close().await;
}

async fn poison_that_cannot_be_kept_is_reported_and_not_lost(set: ServerSet) {
    let office = Office::open(set).await;
    let dlq = office.system.config().kafka.topics.dlq.clone();
    let moody =
        Moody::over(office.log(), move |message| if message.topic == dlq { Mood::Definite } else { Mood::Well });
    let persist = office.persisting_to(moody).await;
    let good = asks("kept", "alice", &["A-1-1"], (1, 2));
    let batch = payload([("requests-1", vec![record(7, Some(b"k"), Some(b"no JSON")), carrying(8, &good)])]);
    assert_eq!(answered(&persist, batch.clone(), PATIENCE).await, reporting(&[("requests-1", 7)]));
    assert_held(&office, &good).await;
    assert_eq!(office.dead_letters().await, []);
    // Delivered again, once the topic can be written: kept, and the neighbour is a replay.
    let stored = office.scan().await;
    let persist = office.persisting_to(office.log()).await;
    assert_eq!(answered(&persist, batch, PATIENCE).await, DONE);
    assert_eq!(office.dead_letters().await.len(), 1);
    assert_eq!(office.scan().await, stored);
    office.close().await;
}
