//! F20: the consumer lags. A seat promised a second time after its first claim has ended has one owner all the same; and where
//! many wait too long, nobody new is promised anything until they are decided.

use std::time::Duration;

use fred::types::Value;
use local::servers::ServerSet;
use serde_json::json;
use shared::clock;
use shared::domain::ids::EventId;
use shared::domain::reservation::Outcome;
use shared::dynamodb::reservations::Repository;
use shared::redis::claims::LAG_GATE_CLAIMS;
use shared::redis::{LAG_GATE_AGE_MS, keys};
use shared::telemetry::CONSUMER_LAG_MS;

use crate::harness::changing::{id_of, reserve_of, show};
use crate::harness::handmade::{asks, carrying, payload};
use crate::harness::metrics::telling;
use crate::harness::storm::{insist, insist_on};
use crate::harness::wire::{Wire, error};
use crate::harness::{Office, PATIENCE, all_at_once, eventually, hall, on_both_sets, redis};
use crate::persist::batch::{DONE, answered, reporting};

on_both_sets!(
    f20_a_seat_promised_twice_while_the_consumer_lags_has_one_owner,
    f20_where_many_wait_too_long_new_claims_are_refused_until_they_are_decided,
);

async fn f20_a_seat_promised_twice_while_the_consumer_lags_has_one_owner(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("lag", &hall::with(hall::small(1, 2), "hold_seconds", json!(1))).await;
    let (alice, bob) = (office.customer("alice"), office.customer("bob"));
    office.system.event_source().pause();
    let first = insist(&alice, "lag", "k", &["A-1-1"]).await;
    assert_eq!(first.status, 202, "{}", first.body);
    let second = eventually("the first claim to end", || async {
        Some(insist(&bob, "lag", "k", &["A-1-1"]).await).filter(|answer| answer.status == 202)
    })
    .await;
    office.system.event_source().resume();
    office.drained().await;
    let (first, second) = (id_of(&first), id_of(&second));
    // Whichever message came first: what bob was promised he has had, and alice's ended before it or was never hers.
    let repository = Repository::new(office.table().await);
    let row = repository.get(&second).await.unwrap().unwrap();
    assert_eq!(row.outcome, Outcome::Held);
    let alices = show(&alice, &first).await;
    assert!(["EXPIRED", "REJECTED"].contains(&alices.text("status").unwrap()), "{}", alices.body);
    let stored = repository.seat_items(&EventId::parse("lag").unwrap(), &row.seats).await.unwrap();
    let owners: Vec<_> = stored.into_iter().map(|item| item.reservation_id).collect();
    assert_eq!(owners, [second]);
    office.close().await;
}

async fn f20_where_many_wait_too_long_new_claims_are_refused_until_they_are_decided(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("gate", &hall::standing(300)).await;
    let one = json!({ "section": "FLOOR", "quantity": 1 });
    office.system.event_source().pause();
    let early = (0..LAG_GATE_CLAIMS).map(|n| {
        let client = office.customer(&format!("early-{n}"));
        let one = one.clone();
        async move { insist_on(&client, "gate", "k", &one).await }
    });
    // None of the first hundred is refused, however long nothing is decided.
    for answer in all_at_once(early).await {
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    let late = office.customer("late");
    assert_eq!(insist_on(&late, "gate", "young", &one).await.status, 202);

    // As if that had been a while ago.
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    let key = keys::undecided(&EventId::parse("gate").unwrap());
    let members: Vec<String> = redis::command(&redis, &["ZRANGE", &key, "0", "-1"]).await;
    for member in &members {
        let earlier = (-LAG_GATE_AGE_MS - 1_000).to_string();
        redis::command::<Value>(&redis, &["ZINCRBY", &key, &earlier, member]).await;
    }
    let refused = eventually("an answer that is none of a loaded machine's", || async {
        let answer = reserve_of(&late, "gate", "k", &one).await;
        assert_eq!((answer.status, answer.text("type")), (503, Some("unavailable")), "{}", answer.body);
        // Where Redis did not answer, the key may be bound.
        answer.body.get("reservation_id").is_none().then_some(answer)
    })
    .await;
    assert!(refused.header("retry-after").is_some());
    let again = insist_on(&office.customer("early-0"), "gate", "k", &one).await;
    assert_eq!(
        (again.status, again.text("status")),
        (202, Some("PENDING")),
        "a retry is never refused: {}",
        again.body
    );

    office.system.event_source().resume();
    office.drained().await;
    let accepted = insist_on(&late, "gate", "k", &one).await;
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    office.close().await;
}

#[test]
fn the_age_of_the_oldest_message_that_was_not_decided_before_is_told() {
    let told = telling(async {
        let office = Office::open(ServerSet::Embedded).await;
        // What the embedded system itself consumes is told by nobody here: its topic stays empty.
        let now = clock::wall_ms();
        let ask = |customer, seat, age| asks("lag", customer, &[seat], (now - age, now + 600_000));
        let (old, young) = (ask("alice", "A-1-1", 90_000), ask("bob", "A-1-2", 10_000));
        let loser = ask("carol", "A-1-1", 120_000);
        let persist = office.persist(office.table().await, office.log()).await;
        let first = payload([("t-0", vec![carrying(0, &old), carrying(1, &young)])]);
        assert_eq!(answered(&persist, first.clone(), PATIENCE).await, DONE);
        // Nothing is new in this one, and a rejection is a decision.
        assert_eq!(answered(&persist, first, PATIENCE).await, DONE);
        let second = payload([("t-0", vec![carrying(1, &young), carrying(2, &loser)])]);
        assert_eq!(answered(&persist, second.clone(), PATIENCE).await, DONE);
        assert_eq!(answered(&persist, second, PATIENCE).await, DONE);
        // What could not be decided goes on waiting.
        let away = Wire::new(|_, _| error(500, "InternalServerError")).under(&office.table().await);
        let persist = office.persist(away, office.log()).await;
        let third = payload([("t-0", vec![carrying(3, &ask("dave", "A-1-3", 150_000))])]);
        assert_eq!(answered(&persist, third, Duration::from_millis(200)).await, reporting(&[("t-0", 3)]));
        office.close().await;
    });
    let lags = &told[CONSUMER_LAG_MS];
    let seconds: Vec<i64> = lags.iter().map(|lag| (lag / 10_000.0) as i64 * 10).collect();
    assert_eq!(seconds, [90, 120, 150], "{lags:?}");
}
