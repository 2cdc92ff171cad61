//! Other versions of this code beside this one, as there are in every deployment: what they add to messages, records and rows
//! is read over and kept, and what this one cannot know is put by for whoever can.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use local::servers::ServerSet;
use serde_json::Value;
use shared::domain::ids::EventId;
use shared::domain::reservation::{Status, Step};
use shared::dynamodb::changes::{Change, End};
use shared::dynamodb::keys;
use shared::dynamodb::reservations::{Hold, Repository};
use shared::redis::keys::record as record_key;

use super::batch::{DONE, answered, assert_held, header};
use crate::harness::changing::{assert_answer, confirm, id_of, show};
use crate::harness::handmade::{self, asks, carrying, payload, record};
use crate::harness::{Office, PATIENCE, hall, on_both_sets, redis, storm};

on_both_sets!(
    what_a_later_writer_adds_to_a_message_holds_nothing_up_and_a_later_version_is_put_by,
    what_a_later_writer_adds_to_an_item_is_read_over_and_kept,
    what_a_later_writer_adds_to_a_record_is_read_over_and_produced_again,
);

async fn what_a_later_writer_adds_to_a_message_holds_nothing_up_and_a_later_version_is_put_by(set: ServerSet) {
    let office = Office::open(set).await;
    let persist = office.persisting_to(office.log()).await;
    let (added, next) = (asks("later", "alice", &["A-1-1"], (1, 2)), asks("later", "bob", &["A-1-2"], (1, 2)));
    let with = |request: &shared::message::Request, from: &str, to: &str| {
        let value = String::from_utf8(request.to_value()).unwrap();
        assert!(value.contains(from));
        value.replacen(from, to, 1).into_bytes()
    };
    let more = with(&added, "{\"version\":1", "{\"channel\":{\"app\":[1,null]},\"version\":1,\"note\":\"new\"");
    let two = with(&next, "\"version\":1", "\"version\":2");
    let carried = |offset, request: &shared::message::Request, value: &[u8]| {
        record(offset, Some(request.reservation_id.as_str().as_bytes()), Some(value))
    };
    let batch = payload([("t-0", vec![carried(1, &added, &more), carried(2, &next, &two), carried(3, &added, &more)])]);
    assert_eq!(answered(&persist, batch, PATIENCE).await, DONE);
    assert_held(&office, &added).await;
    let letters = office.dead_letters().await;
    let kept: Vec<_> = letters.iter().map(|letter| (header(letter, "reason"), letter.value.as_deref())).collect();
    assert_eq!(kept, [(Some("version"), Some(two.as_slice()))]);
    assert_eq!(office.outcomes().await.len(), 1, "byte for byte the same, so one message");
    // The same request as this code writes it is a replay of the other.
    let stored = office.scan().await;
    assert_eq!(answered(&persist, payload([("t-0", vec![carrying(4, &added)])]), PATIENCE).await, DONE);
    assert_eq!(office.scan().await, stored);
    office.close().await;
}

/// An attribute of every type there is.
fn attributes() -> Vec<(&'static str, AttributeValue)> {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    vec![
        ("later_s", text("new")),
        // More digits than any number of ours, and none at all.
        ("later_n", AttributeValue::N("12345678901234567890123456789012345678".into())),
        ("later_f", AttributeValue::N("-0.125".into())),
        ("later_b", AttributeValue::B(Blob::new([0, 255]))),
        ("later_bool", AttributeValue::Bool(true)),
        ("later_null", AttributeValue::Null(true)),
        ("later_l", AttributeValue::L(vec![text("a"), AttributeValue::N("1".into())])),
        ("later_m", AttributeValue::M([("outcome".to_owned(), text("x"))].into())),
        ("later_ss", AttributeValue::Ss(vec!["a".into(), "b".into()])),
        ("later_ns", AttributeValue::Ns(vec!["1".into(), "2".into()])),
        ("later_bs", AttributeValue::Bs(vec![Blob::new([1])])),
    ]
}

/// Adds those attributes to an item.
async fn add_to(office: &Office, (pk, sk): (&str, &str)) {
    let table = office.table().await;
    let (client, name) = table.raw();
    let text = |value: &str| AttributeValue::S(value.to_owned());
    let names: Vec<String> = attributes().iter().map(|(name, _)| format!("{name} = :{name}")).collect();
    let mut update = client.update_item().table_name(name).key("pk", text(pk)).key("sk", text(sk));
    for (name, value) in attributes() {
        update = update.expression_attribute_values(format!(":{name}"), value);
    }
    update.update_expression(format!("SET {}", names.join(", "))).send().await.unwrap();
}

/// Items of the table that have them all.
async fn having_all(office: &Office) -> usize {
    let items = office.scan().await;
    items.iter().filter(|item| attributes().iter().all(|(name, _)| item.contains(&format!("{name}=")))).count()
}

async fn what_a_later_writer_adds_to_an_item_is_read_over_and_kept(set: ServerSet) {
    let office = Office::open(set).await;
    let repository = Repository::new(office.table().await);
    let request = asks("items", "alice", &["A-1-1"], (1_000, 2_000));
    let Hold::Made(row) = repository.hold(&request).await.unwrap() else { panic!("not made") };
    let (event, seat) = (EventId::parse("items").unwrap(), handmade::seat("A-1-1"));
    let (seats, sk) = keys::seat(&event, &seat);
    let limit = keys::limit(&event, &request.customer);
    let stored = keys::reservation(&request.reservation_id);
    for item in [(stored.as_str(), keys::ALONE), (&limit, keys::ALONE), (&seats, &sk)] {
        add_to(&office, item).await;
    }
    assert_eq!(having_all(&office).await, 3);

    // Read in every way there is: alone, in an index, as what stood in the way.
    assert_eq!(repository.get(&request.reservation_id).await.unwrap(), Some(row.clone()));
    assert_eq!(repository.hold(&request).await.unwrap(), Hold::Stored(row.clone()));
    assert_eq!(repository.of_customer(&request.customer, 10, None).await.unwrap().rows, std::slice::from_ref(&row));
    let rival = asks("items", "bob", &["A-1-1"], (1_500, 2_500));
    let Hold::Taken(taken) = repository.hold(&rival).await.unwrap() else { panic!("not taken") };
    assert_eq!((&taken[0].seat, &taken[0].reservation_id), (&seat, &request.reservation_id));
    assert_eq!(repository.taken(&event, "A", 0).await.unwrap().len(), 1);

    // And changed in every way; what was added is there as long as the item is.
    let Change::Done(longer) = repository.extend(&row, 3_000, 1_500).await.unwrap() else { panic!("not prolonged") };
    let Change::Done(paid) = repository.confirm(&longer, Some("p"), "Asia/Seoul", 1_600, Some(1_600)).await.unwrap()
    else {
        panic!("not confirmed")
    };
    assert_eq!(having_all(&office).await, 3);
    let End::Ended(ended) = repository.end(&paid, Step::Cancel, 1_700).await.unwrap() else { panic!("not ended") };
    assert_eq!(ended.status, Status::Cancelled);
    assert_eq!(having_all(&office).await, 2, "the seat's item is gone");
    office.close().await;
}

async fn what_a_later_writer_adds_to_a_record_is_read_over_and_produced_again(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("record", &hall::small(1, 4)).await;
    let ada = office.customer("ada");
    office.system.event_source().pause();
    let accepted = storm::insist(&ada, "record", "k", &["A-1-1"]).await;
    let id = id_of(&accepted);
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    let key = record_key(&id);
    let record: String = redis::command(&redis, &["GET", &key]).await;
    let later = record.replacen("{\"version\":1", "{\"later\":{\"a\":[1,null]},\"version\":1", 1);
    assert_ne!(record, later);
    redis::command::<String>(&redis, &["SET", &key, &later, "KEEPTTL"]).await;
    // The same key again: the same bytes again, with what this code does not know.
    assert_answer(&storm::insist(&ada, "record", "k", &["A-1-1"]).await, 202, "PENDING");
    let values: Vec<_> = office.produced().await.into_iter().map(|seen| seen.value.unwrap()).collect();
    let message = later.rsplit('\n').next().unwrap().as_bytes();
    assert_eq!((values.len(), values.iter().filter(|value| *value == message).count()), (2, 1));

    office.system.event_source().resume();
    office.drained().await;
    assert_answer(&show(&ada, &id).await, 200, "HELD");
    // What is told may have more to it, too.
    let record: String = redis::command(&redis, &["GET", &key]).await;
    let told: Value = serde_json::from_str(record.split('\n').nth(1).unwrap()).unwrap();
    assert_eq!(told["outcome"], "HELD");
    let later = record.replacen("\n{\"outcome\"", "\n{\"by\":{\"x\":[1]},\"outcome\"", 1);
    assert_ne!(record, later);
    redis::command::<String>(&redis, &["SET", &key, &later, "KEEPTTL"]).await;
    assert_answer(&storm::insist(&ada, "record", "k", &["A-1-1"]).await, 200, "HELD");
    assert_answer(&confirm(&office.payments(), &id, "p").await, 200, "CONFIRMED");
    office.close().await;
}
