//! The claim script, on a real Redis: every answer it has, and that it takes all or nothing.
//!
//! [`give_back`]: what a definite failure undoes. [`gate`]: when new claims have to wait. [`truths`]: what DynamoDB decided flows back. [`model`]: random
//! interleavings against a small model; [`places`]: the same for places. [`memory`]: what all of it weighs. [`cost`]: what a request costs. [`control`]: that the
//! storms see a claim without its guard.

mod control;
mod cost;
mod gate;
mod give_back;
mod memory;
mod model;
mod places;
mod truths;

use serde_json::json;
use shared::domain::event::Seat;
use shared::domain::reservation::{Decision, Outcome, Status, Told};
use shared::redis::claims::{Claimed, MAX_ATTEMPTS, MAX_CLAIMS_PER_MINUTE, RECORD_SECONDS};
use shared::redis::keys;
use shared::redis::seat_map::Availability;
use shared::redis::truth::{SeatState, Truth};

use crate::harness::scripts::{Attempt, Scripts, event, request, without_a_lease};
use crate::harness::{eventually, hall};

/// The truth that a reservation was stored with its request's times.
fn held(attempt: &Attempt, expires_at_ms: i64) -> Truth {
    let state = SeatState::Held { owner: attempt.id.clone(), expires_at_ms };
    truth(attempt, Outcome::Held, &state)
}

/// A truth with every seat in one state, which says where the reservation stands.
pub(crate) fn truth(attempt: &Attempt, outcome: Outcome, state: &SeatState) -> Truth {
    let (status, expires_at_ms) = match (outcome, state) {
        (Outcome::Held, SeatState::Held { expires_at_ms, .. }) => (Status::Held, *expires_at_ms),
        (Outcome::Held, SeatState::Sold { .. }) => (Status::Confirmed, 0),
        (Outcome::Held, _) => (Status::Expired, 0),
        (Outcome::Rejected(_), _) => (Status::Rejected, 0),
        (Outcome::Cancelled, _) => (Status::Cancelled, 0),
    };
    Truth {
        id: attempt.id.clone(),
        customer: attempt.customer.clone(),
        told: Told::new(Decision::plain(outcome), status, (status == Status::Held).then_some(expires_at_ms)),
        ends_at_ms: expires_at_ms,
        seats: attempt.seats.iter().map(|seat: &Seat| (seat.clone(), state.clone())).collect(),
    }
}

/// Sold to the attempt.
pub(crate) fn sold(attempt: &Attempt) -> SeatState {
    SeatState::Sold { owner: attempt.id.clone() }
}

#[tokio::test]
async fn a_retry_is_granted_the_same_bytes_and_no_longer_lease() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let attempt = Attempt::new(&event, "alice", "k", &["A-1-1", "B-1-2"]);
    let (message, attempts) = scripts.granted(&event, &attempt).await;
    assert_eq!(attempts, 1);
    let request = request(&message);
    assert_eq!(
        (&request.reservation_id, &request.customer, &request.seats),
        (&attempt.id, &attempt.customer, &attempt.seats)
    );
    assert_eq!(request.expires_at_ms - request.held_at_ms, 600_000);
    let entry = scripts.entry(&event, "A-1-1").await.unwrap();
    assert_eq!(entry, format!("{:013}:{}", request.expires_at_ms, attempt.id.uuid()));
    let lives: i64 = scripts.command(&["TTL", &keys::record(&attempt.id)]).await;
    assert!((RECORD_SECONDS - 60..=RECORD_SECONDS).contains(&lives), "{lives}");

    // The clock has moved on when the retry comes, and the caller may know a longer hold by then.
    let began = request.held_at_ms;
    eventually("Redis' clock to move", || async { (scripts.redis.now_ms().await.unwrap() > began).then_some(()) })
        .await;
    let mut longer = event.clone();
    longer.document.hold_seconds = 3_600;
    let reversed = Attempt { seats: attempt.seats.iter().rev().cloned().collect(), ..attempt.clone() };
    assert_eq!(scripts.granted(&longer, &reversed).await, (message.clone(), 2));
    assert_eq!(scripts.granted(&event, &attempt).await, (message, 3));
    assert_eq!(scripts.entry(&event, "A-1-1").await.unwrap(), entry);
}

#[tokio::test]
async fn a_decided_attempt_is_told_its_outcome() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let attempt = Attempt::new(&event, "alice", "k", &["A-1-1"]);
    let (message, _) = scripts.granted(&event, &attempt).await;
    scripts.truths.write(&held(&attempt, request(&message).expires_at_ms)).await.unwrap();
    let Claimed::Decided { message: again, told, .. } = scripts.claim(&event, &attempt).await else { panic!() };
    assert_eq!((again, told.decision), (message, Decision::plain(Outcome::Held)));
}

#[tokio::test]
async fn an_attempt_whose_claim_has_ended_is_told_so_and_takes_nothing() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let attempt = Attempt::new(&event, "alice", "k", &["A-1-1", "A-1-2"]);
    let (message, _) = scripts.granted(&without_a_lease(&event), &attempt).await;
    let Claimed::Ended { message: again, .. } = scripts.claim(&event, &attempt).await else { panic!() };
    assert_eq!(again, message);
    assert_eq!(scripts.shown(&event, "A-1-1").await, Some(Availability::Free));
    // Somebody else having one of the seats by now ends it too.
    scripts.granted(&event, &Attempt::new(&event, "bob", "k", &["A-1-2"])).await;
    assert!(matches!(scripts.claim(&event, &attempt).await, Claimed::Ended { .. }));
}

#[tokio::test]
async fn an_expired_claim_is_free_at_once_with_nobody_sweeping() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    scripts.granted(&without_a_lease(&event), &Attempt::new(&event, "alice", "k", &["A-1-1"])).await;
    assert!(scripts.entry(&event, "A-1-1").await.is_some(), "it lies there still");
    assert_eq!(scripts.shown(&event, "A-1-1").await, Some(Availability::Free));
    scripts.granted(&event, &Attempt::new(&event, "bob", "k", &["A-1-1"])).await;
    assert_eq!(scripts.shown(&event, "A-1-1").await, Some(Availability::Held));
}

#[tokio::test]
async fn a_lease_of_a_second_runs_out_by_redis_clock() {
    let (scripts, event) = Scripts::selling(&hall::with(hall::small(1, 4), "hold_seconds", json!(1))).await;
    let (message, _) = scripts.granted(&event, &Attempt::new(&event, "alice", "k", &["A-1-1"])).await;
    let ends = request(&message).expires_at_ms;
    let second = eventually("the seat to be free", || async {
        match scripts.claim(&event, &Attempt::new(&event, "bob", "k", &["A-1-1"])).await {
            Claimed::Granted { message, .. } => Some(request(&message)),
            Claimed::Taken { .. } => None,
            other => panic!("{other:?}"),
        }
    })
    .await;
    assert!(second.held_at_ms >= ends, "{} before {ends}", second.held_at_ms);
}

#[tokio::test]
async fn an_owner_without_a_record_is_told_that_the_seat_is_his() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let attempt = Attempt::new(&event, "alice", "k", &["A-1-1", "A-1-2"]);
    scripts.granted(&event, &attempt).await;
    scripts.command::<i64>(&["DEL", &keys::record(&attempt.id)]).await;
    assert!(matches!(scripts.claim(&event, &attempt).await, Claimed::Own { .. }));
}

#[tokio::test]
async fn another_body_under_a_key_is_refused_whatever_became_of_the_first() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let first = Attempt::new(&event, "alice", "k", &["A-1-1"]);
    let other = Attempt::new(&event, "alice", "k", &["A-1-2"]);
    scripts.granted(&without_a_lease(&event), &first).await;
    assert!(matches!(scripts.claim(&event, &other).await, Claimed::KeyReused { .. }));
    scripts.truths.write(&truth(&first, Outcome::Held, &SeatState::Free)).await.unwrap();
    assert!(matches!(scripts.claim(&event, &other).await, Claimed::KeyReused { .. }));
    assert_eq!(scripts.shown(&event, "A-1-2").await, Some(Availability::Free));
}

#[tokio::test]
async fn where_redis_knows_nothing_only_who_has_just_read_the_event_is_believed() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let attempt = Attempt::new(&event, "alice", "k", &["A-1-1"]);
    scripts.command::<String>(&["FLUSHALL"]).await;
    assert_eq!(scripts.claim_unread(&event, &attempt).await, Claimed::Stale);
    assert_eq!(scripts.command::<i64>(&["DBSIZE"]).await, 0);
    assert_eq!(scripts.claim(&event, &attempt).await, Claimed::Cold(vec!["A".into()]));
    assert_eq!(scripts.claim_unread(&event, &attempt).await, Claimed::Cold(vec!["A".into()]));
}

#[tokio::test]
async fn a_key_is_good_for_256_attempts() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let attempt = Attempt::new(&event, "alice", "k", &["A-1-1"]);
    for expected in 1..=MAX_ATTEMPTS {
        assert_eq!(i64::from(scripts.granted(&event, &attempt).await.1), expected);
    }
    assert_eq!(scripts.claim(&event, &attempt).await, Claimed::TooManyAttempts);
    assert_eq!(scripts.claim(&event, &attempt).await, Claimed::TooManyAttempts);
    scripts.granted(&event, &Attempt::new(&event, "alice", "k2", &["A-1-2"])).await;
}

#[tokio::test]
async fn a_customer_is_granted_a_bounded_number_of_claims_a_minute() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let without_a_lease = without_a_lease(&event);
    let minute = || async { scripts.redis.now_ms().await.unwrap() / 60_000 };
    // Counted within one minute of Redis' clock; where it turned meanwhile, once more.
    eventually("sixty claims within one minute", || async {
        let began = minute().await;
        let customer = format!("customer-of-{began}");
        for n in 0..MAX_CLAIMS_PER_MINUTE {
            let attempt = Attempt::new(&event, &customer, &n.to_string(), &["A-1-1"]);
            let claimed = scripts.claim(&without_a_lease, &attempt).await;
            assert!(matches!(claimed, Claimed::Granted { .. }), "{n}: {claimed:?}");
        }
        let more = Attempt::new(&event, &customer, "more", &["A-1-1"]);
        let one_more = scripts.claim(&without_a_lease, &more).await;
        if minute().await > began {
            return None;
        }
        assert_eq!(one_more, Claimed::TooManyClaims);
        // A retry is no new claim, another customer is another, and a minute that has passed does not count.
        let retry = scripts.claim(&event, &Attempt::new(&event, &customer, "0", &["A-1-1"])).await;
        assert!(matches!(retry, Claimed::Ended { .. }), "{retry:?}");
        let key = keys::customer(&event.id, &Attempt::new(&event, &customer, "0", &["A-1-1"]).customer);
        let long_ago = format!("{}:{MAX_CLAIMS_PER_MINUTE}", began - 1);
        scripts.command::<i64>(&["HSET", &key, "@rate", &long_ago]).await;
        scripts.granted(&event, &Attempt::new(&event, &customer, "later", &["A-1-2"])).await;
        Some(())
    })
    .await;
    scripts.granted(&event, &Attempt::new(&event, "another", "k", &["A-1-1"])).await;
}

#[tokio::test]
async fn the_greater_version_wins_with_its_state_window_and_limit() {
    let (scripts, first) = Scripts::selling(&hall::small(1, 4)).await;
    let mut second = event("hall", 2, &hall::with(hall::small(1, 4), "max_per_customer", json!(1)));
    second.document.sale.opens_at = "2097-01-01T00:00:00Z".parse().unwrap();
    let pair = |key| Attempt::new(&first, "alice", key, &["A-1-1", "A-1-2"]);
    let opens_at_ms = second.document.sale.opens_at.as_millisecond();
    assert_eq!(scripts.claim(&second, &pair("a")).await, Claimed::NotOpen { opens_at_ms });
    assert_eq!(scripts.claim(&first, &pair("b")).await, Claimed::Stale);

    let mut third = event("hall", 3, &hall::with(hall::small(1, 4), "state", json!("paused")));
    third.document.max_per_customer = Some(1);
    assert_eq!(scripts.claim(&third, &pair("c")).await, Claimed::Paused);
    assert_eq!(scripts.claim(&second, &pair("c")).await, Claimed::Stale);

    let mut fourth = event("hall", 4, &hall::small(1, 4));
    fourth.document.max_per_customer = Some(1);
    assert_eq!(scripts.claim(&fourth, &pair("d")).await, Claimed::LimitReached { limit: 1 });
    // What Redis knows counts, not what a caller of the same version says.
    fourth.document.max_per_customer = None;
    assert_eq!(scripts.claim(&fourth, &pair("d")).await, Claimed::LimitReached { limit: 1 });
    // A retry is answered whatever version its caller knows.
    let attempt = Attempt::new(&first, "alice", "e", &["A-1-1"]);
    scripts.granted(&fourth, &attempt).await;
    assert_eq!(scripts.granted(&first, &attempt).await.1, 2);
}

#[tokio::test]
async fn a_sale_is_closed_by_its_window_and_by_its_organiser() {
    for (field, value) in [
        ("state", json!("ended")),
        ("sale", json!({ "opens_at": "2020-01-01T00:00:00Z", "closes_at": "2021-01-01T00:00:00Z" })),
    ] {
        let (scripts, event) = Scripts::selling(&hall::with(hall::small(1, 4), field, value)).await;
        assert_eq!(scripts.claim(&event, &Attempt::new(&event, "alice", "k", &["A-1-1"])).await, Claimed::Closed);
        assert_eq!(scripts.shown(&event, "A-1-1").await, Some(Availability::Free));
    }
}

#[tokio::test]
async fn cold_sections_are_named_and_only_those() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let both = Attempt::new(&event, "alice", "k", &["A-1-1", "B-1-1"]);
    scripts.command::<i64>(&["DEL", &keys::claims(&event.id, "B")]).await;
    assert_eq!(scripts.claim(&event, &both).await, Claimed::Cold(vec!["B".into()]));
    assert_eq!(scripts.shown(&event, "B-1-1").await, None);
    scripts.granted(&event, &Attempt::new(&event, "alice", "k2", &["A-1-2"])).await;
    scripts.command::<String>(&["FLUSHALL"]).await;
    assert_eq!(scripts.claim(&event, &both).await, Claimed::Cold(vec!["A".into(), "B".into()]));
    assert_eq!(scripts.entry(&event, "A-1-1").await, None);
}

#[tokio::test]
async fn a_refusal_names_the_taken_seats_and_whose_they_are_and_takes_none() {
    let (scripts, event) = Scripts::selling(&hall::small(2, 4)).await;
    scripts.granted(&event, &Attempt::new(&event, "alice", "k", &["A-1-2", "B-1-1"])).await;
    scripts.granted(&event, &Attempt::new(&event, "bob", "k", &["A-1-4"])).await;
    let carols = Attempt::new(&event, "carol", "k", &["A-2-1"]);
    scripts.granted(&event, &carols).await;
    scripts.truths.write(&truth(&carols, Outcome::Held, &sold(&carols))).await.unwrap();

    let wanted = ["A-1-1", "A-1-2", "B-1-2", "A-1-4", "B-1-1", "A-2-1"];
    let claimed = scripts.claim(&event, &Attempt::new(&event, "alice", "k2", &wanted)).await;
    assert_eq!(claimed, Claimed::Taken { taken: vec![1, 3, 4, 5], held_by_you: vec![1, 4] });
    for free in ["A-1-1", "B-1-2"] {
        assert_eq!(scripts.shown(&event, free).await, Some(Availability::Free), "{free}");
    }
    // A refusal binds no key: the same one may ask for other seats.
    scripts.granted(&event, &Attempt::new(&event, "alice", "k2", &["A-1-1", "B-1-2"])).await;
}

#[tokio::test]
async fn what_has_run_out_does_not_count_towards_the_limit_and_what_is_sold_does() {
    let (scripts, event) = Scripts::selling(&hall::with(hall::small(2, 6), "max_per_customer", json!(2))).await;
    let attempt = |key: &str, seats: &[&str]| Attempt::new(&event, "alice", key, seats);
    let reached = Claimed::LimitReached { limit: 2 };
    assert_eq!(scripts.claim(&event, &attempt("three", &["A-1-1", "A-1-2", "B-1-1"])).await, reached);
    // Run out and still lying there; its seats are never asked for again.
    scripts.granted(&without_a_lease(&event), &attempt("gone", &["A-2-1", "A-2-2"])).await;
    scripts.granted(&event, &attempt("one", &["A-1-1"])).await;
    scripts.granted(&event, &attempt("two", &["B-1-1"])).await;
    assert_eq!(scripts.claim(&event, &attempt("over", &["A-1-3"])).await, reached);
    // Sold counts for good; given up no longer.
    scripts
        .truths
        .write(&truth(
            &attempt("one", &["A-1-1"]),
            Outcome::Held,
            &SeatState::Sold { owner: attempt("one", &["A-1-1"]).id },
        ))
        .await
        .unwrap();
    assert_eq!(scripts.claim(&event, &attempt("over", &["A-1-3"])).await, reached);
    scripts.truths.write(&truth(&attempt("two", &["B-1-1"]), Outcome::Held, &SeatState::Free)).await.unwrap();
    scripts.granted(&event, &attempt("over", &["A-1-3"])).await;
    assert_eq!(scripts.claim(&event, &attempt("more", &["A-1-4"])).await, reached);
}

#[tokio::test]
async fn what_a_customer_has_ends_when_whoever_repairs_it_says_so() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let alice = Attempt::new(&event, "alice", "k", &["A-1-1"]);
    scripts.granted(&event, &alice).await;
    let ends: i64 = scripts.command(&["PEXPIRETIME", &keys::customer(&event.id, &alice.customer)]).await;
    assert_eq!(ends, shared::redis::entries::end_ms(&event));
}

#[tokio::test]
async fn an_entry_nobody_can_read_stops_no_claim_and_goes_with_the_next() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let alices = keys::customer(&event.id, &Attempt::new(&event, "alice", "k", &[]).customer);
    for rubbish in ["rubbish", "", "1:", ":::"] {
        scripts.command::<i64>(&["HSET", &alices, rubbish, rubbish]).await;
    }
    scripts.granted(&event, &Attempt::new(&event, "alice", "k", &["A-1-1"])).await;
    // Left are the claim and the rate.
    assert_eq!(scripts.command::<i64>(&["HLEN", &alices]).await, 2);
}
