//! Ending a reservation: once, for exactly what it counted, and never for a seat that somebody else has by now.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use local::servers::ServerSet;
use shared::domain::ids::EventId;
use shared::domain::reservation::{Status, Step};
use shared::dynamodb::changes::End;
use shared::dynamodb::keys::{self, SHARDS};
use shared::dynamodb::reservations::{Hold, Repository};
use shared::dynamodb::rows::ReservationRow;
use shared::message::Request;

use crate::harness::handmade::{self, Asked, asks};
use crate::harness::{Office, all_at_once, eventually, on_both_sets};

on_both_sets!(
    an_expiry_gives_the_seats_up_and_uncounts_them_once,
    seats_that_others_have_taken_over_stay_with_them,
    a_hold_that_was_prolonged_is_not_expired,
    ended_by_many_at_once_it_is_uncounted_once,
    what_is_due_is_found_in_its_shard_the_oldest_first,
);

async fn held(repository: &Repository, request: &Request) -> ReservationRow {
    match repository.hold(request).await.unwrap() {
        Hold::Made(row) => row,
        other => panic!("not made: {other:?}"),
    }
}

/// An item of the table, by its keys.
async fn item(office: &Office, pk: &str, sk: &str) -> Option<std::collections::HashMap<String, AttributeValue>> {
    let table = office.table().await;
    let (client, name) = table.raw();
    let text = |value: &str| AttributeValue::S(value.to_owned());
    let read = client.get_item().table_name(name).key("pk", text(pk)).key("sk", text(sk)).consistent_read(true);
    read.send().await.unwrap().item
}

/// Live seats of a customer, as the limit item counts them.
async fn live(office: &Office, event: &str, customer: &str) -> String {
    let item = item(office, &format!("LIMIT#{event}#{customer}"), "-").await.unwrap();
    item["live"].as_n().unwrap().clone()
}

async fn owner(office: &Office, event: &str, seat: &str) -> Option<String> {
    let (pk, sk) = keys::seat(&EventId::parse(event).unwrap(), &handmade::seat(seat));
    let item = item(office, &pk, &sk).await?;
    Some(item["customer"].as_s().unwrap().clone())
}

async fn an_expiry_gives_the_seats_up_and_uncounts_them_once(set: ServerSet) {
    let office = Office::open(set).await;
    let repository = Repository::new(office.table().await);
    let row = held(&repository, &asks("end", "alice", &["A-1-1", "A-1-2"], (1_000, 2_000))).await;
    let other =
        Asked { event: "end", customer: "alice", key: "2", seats: &["A-1-3"], limit: None, held: (1_000, 9_000) };
    let other = held(&repository, &other.request()).await;
    assert_eq!(live(&office, "end", "alice").await, "3");
    assert_eq!(repository.end(&row, Step::Expire, 1_999).await.unwrap(), End::Unchanged(row.clone()));

    let End::Ended(ended) = repository.end(&row, Step::Expire, 2_000).await.unwrap() else { panic!("not ended") };
    assert_eq!((ended.status, ended.counted, ended.outcome), (Status::Expired, 0, row.outcome));
    assert_eq!(repository.get(&row.reservation_id).await.unwrap(), Some(ended.clone()));
    assert_eq!((owner(&office, "end", "A-1-1").await, owner(&office, "end", "A-1-2").await), (None, None));
    assert_eq!(live(&office, "end", "alice").await, "1");

    // Again, from what was read before and from what is stored now; and another end of the same row.
    let stored = office.scan().await;
    assert_eq!(repository.end(&row, Step::Expire, 2_000).await.unwrap(), End::Ended(ended.clone()));
    assert_eq!(repository.end(&ended, Step::Expire, 2_000).await.unwrap(), End::Unchanged(ended.clone()));
    assert_eq!(repository.end(&row, Step::Cancel, 2_000).await.unwrap(), End::Unchanged(ended));
    assert_eq!(office.scan().await, stored);

    let End::Ended(cancelled) = repository.end(&other, Step::Cancel, 1_500).await.unwrap() else { panic!("not ended") };
    assert_eq!(cancelled.status, Status::Cancelled);
    assert_eq!((live(&office, "end", "alice").await.as_str(), owner(&office, "end", "A-1-3").await), ("0", None));
    office.close().await;
}

async fn seats_that_others_have_taken_over_stay_with_them(set: ServerSet) {
    let office = Office::open(set).await;
    let repository = Repository::new(office.table().await);
    let all = held(&repository, &asks("drop", "alice", &["A-1-1", "A-1-2", "A-1-3"], (1_000, 2_000))).await;
    held(&repository, &asks("drop", "bob", &["A-1-2"], (2_000, 9_000))).await;
    held(&repository, &asks("drop", "carol", &["A-1-3"], (2_500, 9_000))).await;
    assert!(matches!(repository.end(&all, Step::Expire, 3_000).await.unwrap(), End::Ended(_)));
    assert_eq!(owner(&office, "drop", "A-1-1").await, None);
    assert_eq!(owner(&office, "drop", "A-1-2").await.as_deref(), Some("bob"));
    assert_eq!(owner(&office, "drop", "A-1-3").await.as_deref(), Some("carol"));
    for (customer, left) in [("alice", "0"), ("bob", "1"), ("carol", "1")] {
        assert_eq!(live(&office, "drop", customer).await, left, "{customer}");
    }
    // Where nothing is left of the seats, neither with others nor at all, the row still ends.
    let gone = held(&repository, &asks("gone", "alice", &["A-1-1", "A-1-2"], (1_000, 2_000))).await;
    let heir = held(&repository, &asks("gone", "bob", &["A-1-1", "A-1-2"], (2_000, 3_000))).await;
    assert!(matches!(repository.end(&heir, Step::Cancel, 2_500).await.unwrap(), End::Ended(_)));
    assert!(matches!(repository.end(&gone, Step::Expire, 3_000).await.unwrap(), End::Ended(_)));
    assert_eq!(live(&office, "gone", "alice").await, "0");
    office.close().await;
}

async fn a_hold_that_was_prolonged_is_not_expired(set: ServerSet) {
    let office = Office::open(set).await;
    let repository = Repository::new(office.table().await);
    let row = held(&repository, &asks("longer", "alice", &["A-1-1"], (1_000, 2_000))).await;
    let table = office.table().await;
    let (client, name) = table.raw();
    let text = |value: String| AttributeValue::S(value);
    let pk = format!("RES#{}", row.reservation_id);
    let prolong = client.update_item().table_name(name).key("pk", text(pk)).key("sk", text("-".into()));
    let prolong = prolong.update_expression("SET expires_at_ms = :later");
    prolong.expression_attribute_values(":later", AttributeValue::N("5000".into())).send().await.unwrap();
    let End::Unchanged(stored) = repository.end(&row, Step::Expire, 4_999).await.unwrap() else { panic!("ended") };
    assert_eq!((stored.status, stored.expires_at_ms), (Status::Held, 5_000));
    assert_eq!(owner(&office, "longer", "A-1-1").await.as_deref(), Some("alice"));
    assert!(matches!(repository.end(&stored, Step::Expire, 5_000).await.unwrap(), End::Ended(_)));
    office.close().await;
}

async fn ended_by_many_at_once_it_is_uncounted_once(set: ServerSet) {
    let office = Office::open(set).await;
    let repository = Repository::new(office.table().await);
    let row = held(&repository, &asks("many", "alice", &["A-1-1", "A-1-2"], (1_000, 2_000))).await;
    let kept =
        Asked { event: "many", customer: "alice", key: "2", seats: &["A-1-3"], limit: None, held: (1_000, 9_000) };
    held(&repository, &kept.request()).await;
    let ends = (0..12).map(|_| {
        let (repository, row) = (repository.clone(), row.clone());
        async move {
            eventually("an end without a conflict", || async {
                match repository.end(&row, Step::Expire, 2_000).await {
                    Err(error) if error.is_busy() => None,
                    ended => Some(ended.unwrap()),
                }
            })
            .await
        }
    });
    for end in all_at_once(ends).await {
        let End::Ended(row) = end else { panic!("{end:?}") };
        assert_eq!((row.status, row.counted), (Status::Expired, 0));
    }
    assert_eq!(live(&office, "many", "alice").await, "1");
    office.close().await;
}

async fn what_is_due_is_found_in_its_shard_the_oldest_first(set: ServerSet) {
    const HOLDS: i64 = 40;
    let office = Office::open(set).await;
    let repository = Repository::new(office.table().await);
    let mut rows = Vec::new();
    for n in 1..=HOLDS {
        let (customer, seat) = (format!("customer-{n}"), format!("A-1-{n}"));
        // The later the hold was made, the earlier it ends.
        rows.push(held(&repository, &asks("due", &customer, &[&seat], (n, 10_000 - n))).await);
    }
    let due = async |until_ms| {
        let mut found = Vec::new();
        for shard in SHARDS {
            let ids = repository.due_to_expire(shard, until_ms).await.unwrap();
            assert!(ids.iter().all(|id| id.uuid().starts_with(shard)), "{shard}: {ids:?}");
            let ends: Vec<i64> =
                ids.iter().map(|id| rows.iter().find(|row| row.reservation_id == *id).unwrap().expires_at_ms).collect();
            assert!(ends.is_sorted(), "{shard}: {ends:?}");
            found.extend(ids.into_iter().map(|id| id.to_string()));
        }
        let count = found.len();
        let distinct: BTreeSet<String> = found.into_iter().collect();
        assert_eq!(distinct.len(), count);
        distinct
    };
    // Those that end before 9,980: number 21 and later.
    let early: BTreeSet<String> = rows[20..].iter().map(|row| row.reservation_id.to_string()).collect();
    eventually("the index to show what is due", || async { (due(9_980).await == early).then_some(()) }).await;
    eventually("the index to show all", || async { (due(10_000).await.len() == HOLDS as usize).then_some(()) }).await;
    for row in &rows[20..] {
        repository.end(row, Step::Expire, 10_000).await.unwrap();
    }
    eventually("the ended to be due no more", || async { due(9_980).await.is_empty().then_some(()) }).await;
    office.close().await;
}
