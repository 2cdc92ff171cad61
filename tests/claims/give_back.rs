//! Giving back: a definite failure undoes exactly its own attempt, and never what another attempt may have produced.

use serde_json::json;
use shared::domain::ids::ReservationId;
use shared::domain::reservation::Outcome;
use shared::redis::claims::Claimed;
use shared::redis::keys;
use shared::redis::seat_map::Availability;

use super::{sold, truth};
use crate::harness::scripts::{Attempt, Scripts, request, without_a_lease};
use crate::harness::{eventually, hall};

async fn has_record(scripts: &Scripts, id: &ReservationId) -> bool {
    scripts.command::<i64>(&["EXISTS", &keys::record(id)]).await == 1
}

#[tokio::test]
async fn a_first_attempt_that_failed_for_certain_leaves_nothing_behind() {
    let (scripts, event) = Scripts::selling(&hall::with(hall::small(1, 4), "max_per_customer", json!(2))).await;
    let attempt = Attempt::new(&event, "alice", "k", &["A-1-1", "B-1-1"]);
    let (message, _) = scripts.granted(&event, &attempt).await;
    assert!(scripts.claims.give_back(&request(&message)).await.unwrap());
    for seat in ["A-1-1", "B-1-1"] {
        assert_eq!(scripts.entry(&event, seat).await, None, "{seat}");
    }
    assert!(!has_record(&scripts, &attempt.id).await);
    // The seats are sellable at once, they count for nobody, and the key is bound to nothing.
    scripts.granted(&event, &Attempt::new(&event, "bob", "k", &["A-1-1", "B-1-1"])).await;
    scripts.granted(&event, &Attempt::new(&event, "alice", "k", &["A-1-2", "B-1-2"])).await;
}

#[tokio::test]
async fn a_claim_that_a_second_attempt_has_joined_is_given_back_by_neither() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let attempt = Attempt::new(&event, "alice", "k", &["A-1-1"]);
    // The first is in doubt, the second fails for certain, or the first fails while the second is on its way: one record.
    let (first, _) = scripts.granted(&event, &attempt).await;
    let (second, attempts) = scripts.granted(&event, &attempt).await;
    assert_eq!((&first, attempts), (&second, 2));
    assert!(!scripts.claims.give_back(&request(&first)).await.unwrap());
    assert!(!scripts.claims.give_back(&request(&second)).await.unwrap());
    assert_eq!(scripts.shown(&event, "A-1-1").await, Some(Availability::Held));
    assert!(has_record(&scripts, &attempt.id).await);
}

#[tokio::test]
async fn an_attempt_never_gives_back_a_later_claim_under_its_key() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let attempt = Attempt::new(&event, "alice", "k", &["A-1-1"]);
    let first = request(&scripts.granted(&event, &attempt).await.0);
    assert!(scripts.claims.give_back(&first).await.unwrap());
    let began = first.held_at_ms;
    eventually("Redis' clock to move", || async { (scripts.redis.now_ms().await.unwrap() > began).then_some(()) })
        .await;
    assert_eq!(scripts.granted(&event, &attempt).await.1, 1);
    // The answer to the first was lost, and the command was sent once more.
    assert!(!scripts.claims.give_back(&first).await.unwrap());
    assert_eq!(scripts.shown(&event, "A-1-1").await, Some(Availability::Held));
    assert!(has_record(&scripts, &attempt.id).await);
}

#[tokio::test]
async fn a_claim_that_ran_out_is_not_given_back_from_under_its_next_owner() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let slow = Attempt::new(&event, "alice", "k", &["A-1-1", "A-1-2"]);
    let slow = request(&scripts.granted(&without_a_lease(&event), &slow).await.0);
    let next = Attempt::new(&event, "bob", "k", &["A-1-2"]);
    scripts.granted(&event, &next).await;
    assert!(scripts.claims.give_back(&slow).await.unwrap());
    assert_eq!(scripts.entry(&event, "A-1-1").await, None);
    assert!(scripts.entry(&event, "A-1-2").await.unwrap().ends_with(next.id.uuid()));
}

#[tokio::test]
async fn a_decided_reservation_is_not_given_back() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let attempt = Attempt::new(&event, "alice", "k", &["A-1-1"]);
    let request = request(&scripts.granted(&event, &attempt).await.0);
    scripts.truths.write(&super::held(&attempt, request.expires_at_ms)).await.unwrap();
    assert!(!scripts.claims.give_back(&request).await.unwrap());
    assert_eq!(scripts.shown(&event, "A-1-1").await, Some(Availability::Held));
    let decided = truth(&attempt, Outcome::Held, &sold(&attempt));
    scripts.truths.write(&decided).await.unwrap();
    assert!(!scripts.claims.give_back(&request).await.unwrap());
    assert!(matches!(scripts.claim(&event, &attempt).await, Claimed::Decided { .. }));
}
