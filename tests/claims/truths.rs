//! Truth flows back: what DynamoDB has stored replaces what Redis believed, except somebody else's live claim, which
//! yields to a live hold of the reservation the truth is about and to nothing else.

use shared::domain::event::Event;
use shared::domain::reservation::{Decision, Outcome, Reason, Status, Told};
use shared::redis::keys;
use shared::redis::seat_map::Availability;
use shared::redis::truth::{SeatState, Truth};

use super::{held, sold, truth};
use crate::harness::hall;
use crate::harness::scripts::{Attempt, Scripts, request, without_a_lease};

/// Far beyond every lease of these tests, in milliseconds since the epoch.
const FAR: i64 = 4_000_000_000_000;
/// Long ago.
const PAST: i64 = 1_000_000_000_000;

async fn dirty(scripts: &Scripts, event: &Event) -> Vec<String> {
    scripts.command(&["SMEMBERS", &keys::dirty(&event.id)]).await
}

fn entry(expires_at_ms: i64, owner: &Attempt) -> Option<String> {
    Some(format!("{expires_at_ms:013}:{}", owner.id.uuid()))
}

/// The truth of a reservation refused because others own these seats.
fn refused(attempt: &Attempt, owned: &[(&str, SeatState)]) -> Truth {
    let mut truth = truth(attempt, Outcome::Rejected(Reason::SeatsTaken), &SeatState::Free);
    for (seat, state) in &mut truth.seats {
        if let Some((_, seen)) = owned.iter().find(|(id, _)| *id == seat.id.as_str()) {
            *state = seen.clone();
        }
    }
    truth
}

#[tokio::test]
async fn a_stored_hold_has_the_rows_expiry_and_counts_for_its_customer() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let alice = Attempt::new(&event, "alice", "k", &["A-1-1", "B-1-1"]);
    scripts.granted(&event, &alice).await;
    scripts.truths.write(&held(&alice, FAR)).await.unwrap();
    assert_eq!(scripts.entry(&event, "A-1-1").await, entry(FAR, &alice));
    assert_eq!(scripts.entry(&event, "B-1-1").await, entry(FAR, &alice));
    let record: String = scripts.command(&["GET", &keys::record(&alice.id)]).await;
    let outcome = record.lines().nth(1).unwrap();
    assert_eq!(Told::from_json(outcome), Some(Told::new(Decision::plain(Outcome::Held), Status::Held, Some(FAR))));
    let counts: String = scripts.command(&["HGET", &keys::customer(&event.id, &alice.customer), alice.id.uuid()]).await;
    assert_eq!(counts, format!("{FAR}:2:h:A-1-1,B-1-1"));
    assert!(dirty(&scripts, &event).await.is_empty());
}

#[tokio::test]
async fn an_expired_hold_never_replaces_somebody_elses_live_claim() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let alice = Attempt::new(&event, "alice", "k", &["A-1-1"]);
    scripts.granted(&without_a_lease(&event), &alice).await;
    let bob = Attempt::new(&event, "bob", "k", &["A-1-1"]);
    let claimed = request(&scripts.granted(&event, &bob).await.0);
    scripts.truths.write(&held(&alice, PAST)).await.unwrap();
    assert_eq!(scripts.entry(&event, "A-1-1").await, entry(claimed.expires_at_ms, &bob));
    assert!(dirty(&scripts, &event).await.is_empty(), "nothing here is in doubt");
}

#[tokio::test]
async fn a_stored_live_hold_beats_somebody_elses_live_claim() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let alice = Attempt::new(&event, "alice", "k", &["A-1-1"]);
    // Redis was lost between the two: both were granted the seat, and DynamoDB made the first one the owner.
    scripts.granted(&without_a_lease(&event), &alice).await;
    let bob = Attempt::new(&event, "bob", "k", &["A-1-1", "A-1-2"]);
    let claimed = request(&scripts.granted(&event, &bob).await.0);
    scripts.truths.write(&held(&alice, FAR)).await.unwrap();
    assert_eq!(scripts.entry(&event, "A-1-1").await, entry(FAR, &alice));
    assert_eq!(scripts.entry(&event, "A-1-2").await, entry(claimed.expires_at_ms, &bob));
}

#[tokio::test]
async fn a_replay_of_a_hold_that_has_ended_releases_its_own_claims() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let alice = Attempt::new(&event, "alice", "k", &["A-1-1", "A-1-2"]);
    scripts.granted(&event, &alice).await;
    scripts.truths.write(&held(&alice, PAST)).await.unwrap();
    for seat in ["A-1-1", "A-1-2"] {
        assert_eq!(scripts.entry(&event, seat).await, None, "{seat}");
    }
}

#[tokio::test]
async fn a_refusal_shows_the_other_owner_with_the_stored_expiry_and_frees_the_rest() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let owner = Attempt::new(&event, "owner", "k", &["A-1-1"]);
    let alice = Attempt::new(&event, "alice", "k", &["A-1-1", "A-1-2", "B-1-1"]);
    scripts.granted(&event, &alice).await;
    let owned = SeatState::Held { owner: owner.id.clone(), expires_at_ms: FAR };
    scripts.truths.write(&refused(&alice, &[("A-1-1", owned), ("B-1-1", sold(&owner))])).await.unwrap();
    assert_eq!(scripts.entry(&event, "A-1-1").await, entry(FAR, &owner));
    let shown = [
        scripts.shown(&event, "A-1-1").await.unwrap(),
        scripts.shown(&event, "A-1-2").await.unwrap(),
        scripts.shown(&event, "B-1-1").await.unwrap(),
    ];
    assert_eq!(shown, [Availability::Held, Availability::Free, Availability::Sold]);
    let customer = keys::customer(&event.id, &alice.customer);
    assert_eq!(scripts.command::<i64>(&["HEXISTS", &customer, alice.id.uuid()]).await, 0);
}

#[tokio::test]
async fn a_compare_that_fails_marks_the_section_dirty_and_leaves_the_third_owners_claim() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let owner = Attempt::new(&event, "owner", "k", &["A-1-1"]);
    let alice = Attempt::new(&event, "alice", "k", &["A-1-1", "B-1-1"]);
    let third = Attempt::new(&event, "third", "k", &["A-1-1", "B-1-1"]);
    scripts.granted(&without_a_lease(&event), &alice).await;
    let claimed = request(&scripts.granted(&event, &third).await.0);
    // What alice's refusal saw may be older than the third's claim, or newer: nobody here can tell.
    let owned = SeatState::Held { owner: owner.id.clone(), expires_at_ms: FAR };
    scripts.truths.write(&refused(&alice, &[("A-1-1", owned)])).await.unwrap();
    assert_eq!(scripts.entry(&event, "A-1-1").await, entry(claimed.expires_at_ms, &third));
    assert_eq!(dirty(&scripts, &event).await, ["A"]);
    // Sold is shown as sold, and whose the claim beneath is, is in doubt.
    scripts.truths.write(&refused(&alice, &[("B-1-1", sold(&owner))])).await.unwrap();
    assert_eq!(scripts.shown(&event, "B-1-1").await, Some(Availability::Sold));
    let mut both = dirty(&scripts, &event).await;
    both.sort();
    assert_eq!(both, ["A", "B"]);
}

#[tokio::test]
async fn a_release_frees_only_its_own_claims() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let alice = Attempt::new(&event, "alice", "k", &["A-1-1", "A-1-2"]);
    scripts.granted(&without_a_lease(&event), &alice).await;
    let bob = Attempt::new(&event, "bob", "k", &["A-1-1"]);
    scripts.granted(&event, &bob).await;
    scripts.truths.write(&truth(&alice, Outcome::Held, &SeatState::Free)).await.unwrap();
    assert_eq!(scripts.shown(&event, "A-1-1").await, Some(Availability::Held));
    assert_eq!(scripts.entry(&event, "A-1-2").await, None);
    scripts.truths.write(&truth(&bob, Outcome::Held, &SeatState::Free)).await.unwrap();
    assert_eq!(scripts.shown(&event, "A-1-1").await, Some(Availability::Free));
}

#[tokio::test]
async fn a_cold_section_is_left_as_it_is_beside_one_that_is_not() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let alice = Attempt::new(&event, "alice", "k", &["A-1-1", "B-1-1"]);
    scripts.command::<i64>(&["DEL", &keys::claims(&event.id, "A")]).await;
    scripts.truths.write(&held(&alice, FAR)).await.unwrap();
    scripts.truths.write(&truth(&alice, Outcome::Held, &sold(&alice))).await.unwrap();
    let in_a = [keys::claims(&event.id, "A"), keys::taken(&event.id, "A")];
    assert_eq!(scripts.command::<i64>(&["EXISTS", &in_a[0], &in_a[1]]).await, 0);
    assert_eq!(scripts.shown(&event, "B-1-1").await, Some(Availability::Sold));
    // Nothing makes a record of a truth: an outcome without a message would answer nobody.
    assert_eq!(scripts.command::<i64>(&["EXISTS", &keys::record(&alice.id)]).await, 0);
}

#[tokio::test]
async fn a_stored_hold_that_ends_before_a_later_claim_of_its_own_still_gives_that_claim_back() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    // After a loss of Redis the same key has claimed once more, later and other seats; the first message was stored.
    let later = Attempt::new(&event, "alice", "k", &["A-1-1", "A-1-2"]);
    let claimed = request(&scripts.granted(&event, &later).await.0);
    let stored = Attempt::new(&event, "alice", "k", &["A-1-3"]);
    let mut truth = held(&stored, claimed.expires_at_ms - 1_000);
    truth.told.prolonged_to_ms = None;
    scripts.truths.write(&truth).await.unwrap();
    // The second message finds the row, and gives back what it claimed beyond it.
    truth.seats.extend(later.seats.iter().map(|seat| (seat.clone(), SeatState::Free)));
    scripts.truths.write(&truth).await.unwrap();
    for (seat, shown) in [("A-1-1", Availability::Free), ("A-1-2", Availability::Free), ("A-1-3", Availability::Held)] {
        assert_eq!(scripts.shown(&event, seat).await, Some(shown), "{seat}");
    }
}
