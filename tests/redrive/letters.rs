//! Dead letters of our own: seen, replayed with their own bytes, and given up once more with a memory.

use local::servers::ServerSet;
use serde_json::json;

use super::{Letter, header, key, lines};
use crate::harness::handmade::{asks, carrying};
use crate::harness::table::difference;
use crate::harness::topic::Seen;
use crate::harness::{Office, on_both_sets};

on_both_sets!(
    a_dead_letter_that_can_be_read_now_is_replayed_and_becomes_held_however_often,
    what_is_still_poison_comes_back_as_its_next_attempt_and_ends_the_run,
    what_was_not_kept_whole_is_refused_and_said,
    what_lambda_could_not_decode_is_replayed_from_its_json_once_that_can_be_read,
    an_entry_is_listed_and_shown_with_all_that_is_known_of_it,
);

async fn a_dead_letter_that_can_be_read_now_is_replayed_and_becomes_held_however_often(set: ServerSet) {
    let office = Office::open(set).await;
    let request = asks("mended", "alice", &["A-1-1"], (1, 2));
    let value = request.to_value();
    let entry = office.buries(&Letter::of(key(&request), &value)).await;

    let tried = office.redrive(json!({ "action": "replay", "entries": [entry], "dry_run": true })).await;
    assert_eq!(lines(&tried), [("nothing", "readable")]);
    assert_eq!((&tried["dry_run"], &tried["replayed"], &tried["readable"]), (&json!(true), &json!(0), &json!(1)));
    assert_eq!(office.produced().await, [], "a dry run produces nothing");
    assert_eq!(office.scan().await, Vec::<String>::new(), "and writes nothing");

    let order = json!({ "action": "replay", "entries": [entry] });
    let done = office.redrive(order.clone()).await;
    assert_eq!((lines(&done), &done["left"]), (vec![("replayed", "readable")], &json!(0)), "{done}");
    office.drained().await;
    let stored = office.scan().await;
    assert_eq!(stored.len(), 3, "row, seat and count: {stored:?}");
    assert!(stored.iter().any(|item| item.contains("outcome=\"HELD\"")), "{stored:?}");
    let produced = office.produced().await;
    let [replayed] = &produced[..] else { panic!("{produced:?}") };
    assert_eq!((replayed.key.as_deref(), replayed.value.as_deref()), (Some(key(&request)), Some(&value[..])));
    let kept =
        ["attempt", "first-seen-at", "redriven-from", "correlation-id", "reason"].map(|name| header(replayed, name));
    assert_eq!(kept, [Some("1"), Some("2026-11-22T13:50:49.392Z"), Some(entry.as_str()), Some("kept"), None]);

    office.redrive(order).await;
    office.drained().await;
    assert_eq!(office.produced().await.len(), 2);
    assert_eq!(difference(&stored, &office.scan().await), Vec::<String>::new(), "not one byte changes");
    let mut outcomes: Vec<Seen> = office.topic(&office.system.config().kafka.topics.outcomes).await;
    outcomes.dedup();
    assert_eq!(outcomes.len(), 1, "one outcome, however often it is said: {outcomes:?}");
    assert_eq!(office.topic(&office.system.config().kafka.topics.dlq).await.len(), 1, "the entry stays");
    office.close().await;
}

async fn what_is_still_poison_comes_back_as_its_next_attempt_and_ends_the_run(set: ServerSet) {
    let office = Office::open(set).await;
    let topics = office.system.config().kafka.topics.clone();
    let own = [("correlation-id", "c-1"), ("attempt", "many"), ("first-seen-at", "long ago")];
    let first = office.produce(&topics.requests, Some(b"k"), Some(b"{\"version\":7}"), &own).await;
    office.drained().await;
    let letters = office.topic(&topics.dlq).await;
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    let first_seen = header(letter, "first-seen-at").unwrap().to_owned();
    assert!(
        first_seen.starts_with("20") && first_seen.ends_with('Z'),
        "{first_seen}: the record's time, not its header's"
    );
    assert_eq!((header(letter, "attempt"), header(letter, "redriven-from")), (Some("1"), None));
    assert_eq!(header(letter, "correlation-id"), Some("c-1"));
    let place = format!("{}@{}", header(letter, "source-partition").unwrap(), header(letter, "source-offset").unwrap());
    assert_eq!(place, first);

    for attempt in 2..=3 {
        // Its next dead letter stands behind the end that the run saw, or it would be replayed for ever.
        let done = office.redrive(json!({ "action": "replay", "all": true })).await;
        assert_eq!((lines(&done), &done["left"]), (vec![("replayed", "version")], &json!(0)), "{done}");
        office.drained().await;
        let letters = office.topic(&topics.dlq).await;
        assert_eq!(letters.len(), attempt);
        let newest = letters.iter().find(|letter| header(letter, "attempt") == Some(attempt.to_string().as_str()));
        let newest = newest.unwrap_or_else(|| panic!("no attempt {attempt}: {letters:?}"));
        assert_eq!(header(newest, "first-seen-at"), Some(first_seen.as_str()));
        assert!(header(newest, "redriven-from").unwrap().starts_with(&topics.dlq));
        assert_eq!((header(newest, "reason"), header(newest, "correlation-id")), (Some("version"), Some("c-1")));
        assert_eq!((&newest.key, &newest.value), (&letter.key, &letter.value));
    }
    office.close().await;
}

async fn what_was_not_kept_whole_is_refused_and_said(set: ServerSet) {
    let office = Office::open(set).await;
    let request = asks("cut", "alice", &["A-1-1"], (1, 2));
    let value = request.to_value();
    // What is left of it could even be read: only the letter knows that it is not all.
    let cut = Letter { more: &[("truncated-from", "10485760")], ..Letter::of(key(&request), &value) };
    let keyless = Letter { key: None, more: &[("key-dropped", "5000")], ..Letter::of(b"", &value) };
    let entries = [office.buries(&cut).await, office.buries(&keyless).await, "x".into()];
    let gone = entries[0].replace('@', "@4");
    let entries = [&entries[0], &entries[1], &gone];
    let expected = [("lost", "truncated"), ("lost", "key-dropped"), ("lost", "gone")];
    for dry_run in [true, false] {
        let done = office.redrive(json!({ "action": "replay", "entries": entries, "dry_run": dry_run })).await;
        assert_eq!((lines(&done), &done["lost"]), (expected.to_vec(), &json!(3)), "{done}");
        assert!(done["lines"][0]["detail"].as_str().unwrap().contains("10485760"), "{done}");
    }
    // They stand in nobody's way.
    let all = office.redrive(json!({ "action": "replay", "all": true })).await;
    assert_eq!((&all["lost"], &all["left"], &all["stopped"]), (&json!(2), &json!(0), &json!(null)), "{all}");
    let none = office.redrive(json!({ "action": "replay", "all": true })).await;
    assert_eq!(lines(&none), []);
    assert_eq!(office.produced().await, []);
    office.close().await;
}

async fn what_lambda_could_not_decode_is_replayed_from_its_json_once_that_can_be_read(set: ServerSet) {
    let office = Office::open(set).await;
    let request = asks("json", "alice", &["A-1-1"], (1, 2));
    let good = carrying(5, &request);
    let mut bad = good.clone();
    bad["value"] = json!("%%%");
    let as_delivered = [("kept-as", "payload-record")];
    let (good, bad) = (good.to_string(), bad.to_string());
    let mut entries = Vec::new();
    for json in [&good, &bad] {
        let letter = Letter { key: None, more: &as_delivered, ..Letter::of(b"", json.as_bytes()) };
        entries.push(office.buries(&letter).await);
    }
    let done = office.redrive(json!({ "action": "replay", "entries": entries })).await;
    assert_eq!(lines(&done), [("replayed", "readable"), ("lost", "base64")], "{done}");
    office.drained().await;
    let produced = office.produced().await;
    assert_eq!(produced.len(), 1);
    assert_eq!(produced[0].value.as_deref(), Some(&request.to_value()[..]), "the record's bytes, and not its JSON's");
    assert!(office.scan().await.iter().any(|item| item.contains("outcome=\"HELD\"")));
    office.close().await;
}

async fn an_entry_is_listed_and_shown_with_all_that_is_known_of_it(set: ServerSet) {
    let office = Office::open(set).await;
    let empty = office.redrive(json!({})).await;
    assert_eq!((&empty["entries"], &empty["left"]), (&json!([]), &json!(0)));
    let request = asks("known", "alice", &["A-1-1"], (1, 2));
    let value = request.to_value();
    let readable = office.buries(&Letter::of(key(&request), &value)).await;
    let binary = office.buries(&Letter { offset: 18, ..Letter::of(b"\xff", b"\xfe\x00") }).await;
    let keyless = office.buries(&Letter { key: None, offset: 19, ..Letter::of(b"", &value) }).await;

    let listed = office.redrive(json!({ "action": "list", "topic": "dlq" })).await;
    let rows = listed["entries"].as_array().unwrap();
    assert_eq!((rows.len(), &listed["left"], &listed["stopped"]), (3, &json!(0), &json!(null)));
    let row = rows.iter().find(|row| row["entry"] == json!(readable)).unwrap();
    let source = format!("{}-3@17", office.system.config().kafka.topics.requests);
    let expected = json!({
        "entry": readable, "reason": "schema", "detail": "the value is no reservation request", "source": source,
        "attempt": 1, "first_seen_at": "2026-11-22T13:50:49.392Z", "reservation_id": request.reservation_id,
        "bytes": value.len(), "lost": null, "passed": false,
    });
    assert_eq!(row, &expected);
    let row = rows.iter().find(|row| row["entry"] == json!(keyless)).unwrap();
    assert_eq!(row["reservation_id"], json!(request.reservation_id), "without a key, by what the value says");

    // Page by page it is the same list.
    let mut paged = Vec::new();
    let mut order = json!({ "action": "list", "limit": 1 });
    loop {
        let page = office.redrive(order.clone()).await;
        paged.extend(page["entries"].as_array().unwrap().iter().cloned());
        assert_eq!(page["left"], json!(3 - paged.len()), "{page}");
        let Some(last) = page["entries"].as_array().unwrap().last() else { break };
        order["after"] = last["entry"].clone();
    }
    assert_eq!(&paged, rows);

    let shown = office.redrive(json!({ "action": "show", "entry": readable })).await;
    let record = &shown["records"][0];
    assert_eq!((&shown["entry"], &record["decodes"]), (&json!(readable), &json!("readable")));
    assert_eq!(record["value"]["text"], json!(String::from_utf8(value).unwrap()));
    assert!(record["headers"].as_array().unwrap().contains(&json!(["correlation-id", { "text": "kept" }])), "{shown}");
    let shown = office.redrive(json!({ "action": "show", "entry": binary })).await;
    let record = &shown["records"][0];
    assert_eq!((&record["key"], &record["value"]), (&json!({ "base64": "/w==" }), &json!({ "base64": "/gA=" })));
    assert_eq!(record["decodes"], "schema");

    for (order, why) in [
        (json!({ "action": "show", "entry": readable.replace('@', "@1") }), "nothing stands at"),
        (json!({ "action": "show", "entry": readable.replace("-dlq", "") }), "none of the two failure topics"),
        (json!({ "action": "replay", "entries": ["t-0@0"] }), "none of the two failure topics"),
    ] {
        let refused = office.redrive_until(order, tokio::time::Instant::now() + crate::harness::PATIENCE).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
    office.close().await;
}
