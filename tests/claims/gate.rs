//! The lag gate: where many claims of an event wait too long to be decided, no new one is granted, so that nobody is told
//! "accepted" who would lose what he was promised before it is his turn. A retry, a refusal and a late payment never wait.

use shared::domain::event::Event;
use shared::domain::ids::ReservationId;
use shared::domain::reservation::Outcome;
use shared::redis::LAG_GATE_AGE_MS;
use shared::redis::claims::{Claimed, LAG_GATE_CLAIMS};
use shared::redis::keys;
use shared::redis::moving::Moving;
use shared::redis::truth::SeatState;

use super::{held, truth};
use crate::harness::hall;
use crate::harness::scripts::{Attempt, Scripts, request};

/// Of an event whose holds take ten minutes.
const LEASE_MS: i64 = 600_000;

impl Scripts {
    /// Lets so many claims have waited for so long.
    async fn wait_in_line(&self, event: &Event, claims: i64, age_ms: i64) {
        let key = keys::undecided(&event.id);
        let at = (self.now_ms().await - age_ms).to_string();
        for n in 0..claims {
            self.command::<i64>(&["ZADD", &key, &at, &format!("waiting-{age_ms}-{n}")]).await;
        }
    }

    async fn now_ms(&self) -> i64 {
        let time: Vec<String> = self.command(&["TIME"]).await;
        time[0].parse::<i64>().unwrap() * 1_000 + time[1].parse::<i64>().unwrap() / 1_000
    }

    async fn undecided(&self, event: &Event, id: &ReservationId) -> bool {
        self.command::<Option<String>>(&["ZSCORE", &keys::undecided(&event.id), id.uuid()]).await.is_some()
    }
}

#[tokio::test]
async fn the_gate_shuts_when_enough_claims_wait_too_long_and_not_before() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 6)).await;
    scripts.wait_in_line(&event, LAG_GATE_CLAIMS - 1, LAG_GATE_AGE_MS).await;
    // Any number of young ones is a busy sale.
    scripts.wait_in_line(&event, 2 * LAG_GATE_CLAIMS, LAG_GATE_AGE_MS / 2).await;
    let early = Attempt::new(&event, "early", "k", &["A-1-1"]);
    scripts.granted(&event, &early).await;

    scripts.wait_in_line(&event, 1, LAG_GATE_AGE_MS + 1).await;
    let late = Attempt::new(&event, "late", "k", &["A-1-2"]);
    assert_eq!(scripts.claim(&event, &late).await, Claimed::Lagging);
    assert_eq!(scripts.entry(&event, "A-1-2").await, None, "it left nothing behind");
    assert!(!scripts.undecided(&event, &late.id).await);
    // Who was there goes on, and who would be refused anyway hears the truth.
    assert_eq!(scripts.granted(&event, &early).await.1, 2);
    let taken = Attempt::new(&event, "late", "k", &["A-1-1"]);
    assert!(matches!(scripts.claim(&event, &taken).await, Claimed::Taken { .. }));
}

#[tokio::test]
async fn what_is_told_or_given_back_waits_no_longer() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 6)).await;
    let attempts: Vec<Attempt> =
        (1..=4).map(|seat| Attempt::new(&event, &format!("customer-{seat}"), "k", &[&format!("A-1-{seat}")])).collect();
    let mut messages = Vec::new();
    for attempt in &attempts {
        messages.push(scripts.granted(&event, attempt).await.0);
        assert!(scripts.undecided(&event, &attempt.id).await);
    }
    scripts.truths.write(&held(&attempts[0], request(&messages[0]).expires_at_ms)).await.unwrap();
    scripts.truths.write(&truth(&attempts[1], Outcome::Cancelled, &SeatState::Free)).await.unwrap();
    assert!(scripts.claims.give_back(&request(&messages[2])).await.unwrap());
    for attempt in &attempts[..3] {
        assert!(!scripts.undecided(&event, &attempt.id).await);
    }
    assert!(scripts.undecided(&event, &attempts[3].id).await);
}

#[tokio::test]
async fn after_a_quiet_hour_what_was_lost_before_it_refuses_nobody() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 120)).await;
    scripts.wait_in_line(&event, 3 * LAG_GATE_CLAIMS, 3_600_000).await;
    for seat in 1..=100 {
        let attempt = Attempt::new(&event, &format!("customer-{seat}"), "k", &[&format!("A-1-{seat}")]);
        scripts.granted(&event, &attempt).await;
    }
    // And is forgotten on the way.
    let left: i64 = scripts.command(&["ZCARD", &keys::undecided(&event.id)]).await;
    assert_eq!(left, 100);
}

#[tokio::test]
async fn a_claim_counts_until_its_lease_ends_and_no_longer() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 6)).await;
    scripts.wait_in_line(&event, LAG_GATE_CLAIMS, LEASE_MS - 20_000).await;
    let attempt = Attempt::new(&event, "alice", "k", &["A-1-1"]);
    assert_eq!(scripts.claim(&event, &attempt).await, Claimed::Lagging);
    scripts.command::<i64>(&["DEL", &keys::undecided(&event.id)]).await;
    scripts.wait_in_line(&event, LAG_GATE_CLAIMS, LEASE_MS + 1).await;
    scripts.granted(&event, &attempt).await;
}

#[tokio::test]
async fn a_claim_whose_message_goes_nowhere_neither_waits_nor_is_refused() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 6)).await;
    scripts.wait_in_line(&event, LAG_GATE_CLAIMS, LAG_GATE_AGE_MS).await;
    let attempt = Attempt { queued: false, ..Attempt::new(&event, "alice", "k", &["A-1-1"]) };
    scripts.granted(&event, &attempt).await;
    assert!(!scripts.undecided(&event, &attempt.id).await);
}

#[tokio::test]
async fn the_age_of_the_oldest_undecided_claim_is_known() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 6)).await;
    let moving = Moving::new(scripts.redis.clone());
    assert_eq!(moving.waiting(&event.id).await.unwrap().undecided_ms, 0);
    scripts.wait_in_line(&event, 1, 40_000).await;
    scripts.wait_in_line(&event, 1, 2 * LEASE_MS).await;
    let age = moving.waiting(&event.id).await.unwrap().undecided_ms;
    assert!((40_000..LEASE_MS).contains(&age), "{age}");
}
