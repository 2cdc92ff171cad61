//! F20: the consumer lags. A seat promised a second time after its first claim has ended has one owner all the same; and where
//! many wait too long, nobody new is promised anything until they are decided.

use fred::types::Value;
use local::servers::ServerSet;
use serde_json::json;
use shared::domain::ids::EventId;
use shared::domain::reservation::Outcome;
use shared::dynamodb::reservations::Repository;
use shared::redis::claims::LAG_GATE_CLAIMS;
use shared::redis::{LAG_GATE_AGE_MS, keys};

use crate::harness::changing::{id_of, reserve_of, show};
use crate::harness::storm::insist;
use crate::harness::{Office, all_at_once, eventually, hall, on_both_sets, redis};

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
        async move { reserve_of(&client, "gate", "k", &one).await }
    });
    // None of the first hundred is refused, however long nothing is decided.
    for answer in all_at_once(early).await {
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    let late = office.customer("late");
    assert_eq!(reserve_of(&late, "gate", "young", &one).await.status, 202);

    // As if that had been a while ago.
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    let key = keys::undecided(&EventId::parse("gate").unwrap());
    let members: Vec<String> = redis::command(&redis, &["ZRANGE", &key, "0", "-1"]).await;
    for member in &members {
        let earlier = (-LAG_GATE_AGE_MS - 1_000).to_string();
        redis::command::<Value>(&redis, &["ZINCRBY", &key, &earlier, member]).await;
    }
    let refused = reserve_of(&late, "gate", "k", &one).await;
    assert_eq!((refused.status, refused.text("type")), (503, Some("unavailable")), "{}", refused.body);
    assert!(refused.header("retry-after").is_some());
    assert!(refused.body.get("reservation_id").is_none(), "the key is bound to nothing");
    let again = reserve_of(&office.customer("early-0"), "gate", "k", &one).await;
    assert_eq!(
        (again.status, again.text("status")),
        (202, Some("PENDING")),
        "a retry is never refused: {}",
        again.body
    );

    office.system.event_source().resume();
    office.drained().await;
    let accepted = reserve_of(&late, "gate", "k", &one).await;
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    office.drained().await;
    let left: i64 = redis::command(&redis, &["ZCARD", &key]).await;
    assert_eq!(left, 0, "all are decided");
    office.close().await;
}
