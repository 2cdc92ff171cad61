//! Loading a cold section: under a nonce that every step checks, beside corrections that are newer than what was read; and
//! publications, of which the greater version wins.

use serde_json::json;
use shared::domain::event::{Event, Section, TakenSeat, TakenState};
use shared::domain::reservation::{Outcome, Reason};
use shared::redis::claims::Claimed;
use shared::redis::keys;
use shared::redis::loading::Step;
use shared::redis::records::Records;
use shared::redis::seat_map::Availability;
use shared::redis::truth::SeatState;

use crate::claims::{sold, truth};
use crate::harness::hall;
use crate::harness::scripts::{Attempt, Scripts, event};

/// Far beyond every lease of these tests, in milliseconds since the epoch.
const FAR: i64 = 4_000_000_000_000;

/// Redis has lost an event of one row of eight seats in section A.
async fn cold() -> (Scripts, Event) {
    let (scripts, event) = Scripts::selling(&hall::small(1, 8)).await;
    scripts.command::<String>(&["FLUSHALL"]).await;
    (scripts, event)
}

fn a(event: &Event) -> &Section {
    event.section("A").unwrap()
}

fn taken(attempt: &Attempt, state: &TakenState) -> Vec<TakenSeat> {
    attempt.seats.iter().map(|seat| TakenSeat { number: seat.number, state: state.clone() }).collect()
}

fn held_by(attempt: &Attempt) -> Vec<TakenSeat> {
    let state = TakenState::Held { owner: attempt.id.uuid().to_owned(), expires_at_ms: FAR };
    taken(attempt, &state)
}

async fn shown(scripts: &Scripts, event: &Event, seats: &[&str]) -> Vec<Option<Availability>> {
    let mut all = Vec::new();
    for seat in seats {
        all.push(scripts.shown(event, seat).await);
    }
    all
}

#[tokio::test]
async fn a_load_shows_nothing_until_it_has_ended_and_then_everything() {
    let (scripts, event) = cold().await;
    let Scripts { loading, .. } = &scripts;
    let held = Attempt::new(&event, "alice", "k", &["A-1-1"]);
    let sold = Attempt::new(&event, "bob", "k", &["A-1-2"]);
    let blocked = Attempt::new(&event, "organiser", "k", &["A-1-3"]);
    assert_eq!(loading.begin(&event, a(&event), "n1").await.unwrap(), Step::Ok);
    let bought = TakenState::Sold { owner: sold.id.uuid().to_owned() };
    let off_sale = TakenState::Blocked { owner: blocked.id.uuid().to_owned() };
    for seats in [held_by(&held), taken(&sold, &bought), taken(&blocked, &off_sale)] {
        assert_eq!(loading.add(&event, a(&event), "n1", &seats).await.unwrap(), Step::Ok);
    }
    assert_eq!(scripts.shown(&event, "A-1-4").await, None);
    let early = scripts.claim(&event, &Attempt::new(&event, "carol", "k", &["A-1-4"])).await;
    assert_eq!(early, Claimed::Cold(vec!["A".into()]));
    assert_eq!(loading.end(&event, a(&event), "n1").await.unwrap(), Step::Ok);

    let all = shown(&scripts, &event, &["A-1-1", "A-1-2", "A-1-3", "A-1-4"]).await;
    use Availability::{Blocked, Free, Held, Sold};
    assert_eq!(all, [Some(Held), Some(Sold), Some(Blocked), Some(Free)]);
    let claimed = scripts.claim(&event, &Attempt::new(&event, "carol", "k", &["A-1-1", "A-1-2", "A-1-3"])).await;
    assert_eq!(claimed, Claimed::Taken { taken: vec![0, 1, 2], held_by_you: vec![] });
    // Whoever comes later finds the work done, at every step.
    assert_eq!(loading.begin(&event, a(&event), "n2").await.unwrap(), Step::Loaded);
    assert_eq!(loading.add(&event, a(&event), "n2", &held_by(&held)).await.unwrap(), Step::Loaded);
    assert_eq!(loading.end(&event, a(&event), "n2").await.unwrap(), Step::Loaded);
}

#[tokio::test]
async fn a_flush_half_way_loses_the_load_and_half_a_map_is_never_served() {
    let (scripts, event) = cold().await;
    let Scripts { loading, .. } = &scripts;
    let (first, second) =
        (Attempt::new(&event, "alice", "k", &["A-1-1"]), Attempt::new(&event, "bob", "k", &["A-1-2"]));
    loading.begin(&event, a(&event), "n1").await.unwrap();
    assert_eq!(loading.add(&event, a(&event), "n1", &held_by(&first)).await.unwrap(), Step::Ok);
    scripts.command::<String>(&["FLUSHALL"]).await;
    assert_eq!(loading.add(&event, a(&event), "n1", &held_by(&second)).await.unwrap(), Step::Lost);
    assert_eq!(loading.end(&event, a(&event), "n1").await.unwrap(), Step::Lost);
    assert_eq!(scripts.shown(&event, "A-1-1").await, None);
    // Started over, it is whole.
    loading.begin(&event, a(&event), "n2").await.unwrap();
    for attempt in [&first, &second] {
        assert_eq!(loading.add(&event, a(&event), "n2", &held_by(attempt)).await.unwrap(), Step::Ok);
    }
    assert_eq!(loading.end(&event, a(&event), "n2").await.unwrap(), Step::Ok);
    let held = Some(Availability::Held);
    assert_eq!(shown(&scripts, &event, &["A-1-1", "A-1-2"]).await, [held, held]);
}

#[tokio::test]
async fn of_two_loaders_the_later_one_goes_on_and_the_earlier_one_is_told() {
    let (scripts, event) = cold().await;
    let Scripts { loading, .. } = &scripts;
    let attempt = Attempt::new(&event, "alice", "k", &["A-1-1"]);
    loading.begin(&event, a(&event), "n1").await.unwrap();
    assert_eq!(loading.begin(&event, a(&event), "n2").await.unwrap(), Step::Ok);
    assert_eq!(loading.add(&event, a(&event), "n1", &held_by(&attempt)).await.unwrap(), Step::Lost);
    assert_eq!(loading.end(&event, a(&event), "n1").await.unwrap(), Step::Lost);
    assert_eq!(scripts.shown(&event, "A-1-1").await, None, "the earlier one's end opens nothing");
    assert_eq!(loading.add(&event, a(&event), "n2", &held_by(&attempt)).await.unwrap(), Step::Ok);
    assert_eq!(loading.end(&event, a(&event), "n2").await.unwrap(), Step::Ok);
    assert_eq!(scripts.shown(&event, "A-1-1").await, Some(Availability::Held));
}

#[tokio::test]
async fn a_correction_meanwhile_wins_over_what_the_loader_has_read() {
    let (scripts, event) = cold().await;
    let Scripts { loading, truths, .. } = &scripts;
    let gone = Attempt::new(&event, "gone", "k", &["A-1-1", "A-1-2"]);
    let next = Attempt::new(&event, "next", "k", &["A-1-2", "A-1-3"]);
    let paid = Attempt::new(&event, "paid", "k", &["A-1-4"]);
    loading.begin(&event, a(&event), "n1").await.unwrap();
    // The loader has read; then one reservation is given up, another takes its seat, and a third is paid.
    let read: Vec<TakenSeat> = [held_by(&gone), held_by(&paid)].concat();
    truths.write(&truth(&gone, Outcome::Held, &SeatState::Free)).await.unwrap();
    let held = SeatState::Held { owner: next.id.clone(), expires_at_ms: FAR - 1 };
    truths.write(&truth(&next, Outcome::Held, &held)).await.unwrap();
    truths.write(&truth(&paid, Outcome::Held, &sold(&paid))).await.unwrap();
    assert_eq!(loading.add(&event, a(&event), "n1", &read).await.unwrap(), Step::Ok);
    assert_eq!(loading.end(&event, a(&event), "n1").await.unwrap(), Step::Ok);

    use Availability::{Free, Held, Sold};
    let all = shown(&scripts, &event, &["A-1-1", "A-1-2", "A-1-3", "A-1-4"]).await;
    assert_eq!(all, [Some(Free), Some(Held), Some(Held), Some(Sold)]);
    assert!(scripts.entry(&event, "A-1-2").await.unwrap().ends_with(next.id.uuid()));
    scripts.granted(&event, &Attempt::new(&event, "fresh", "k", &["A-1-1"])).await;
}

#[tokio::test]
async fn a_release_after_a_chunk_was_added_is_not_undone_by_the_next_loader() {
    let (scripts, event) = cold().await;
    let Scripts { loading, truths, .. } = &scripts;
    let gone = Attempt::new(&event, "gone", "k", &["A-1-1"]);
    loading.begin(&event, a(&event), "n1").await.unwrap();
    loading.add(&event, a(&event), "n1", &held_by(&gone)).await.unwrap();
    truths.write(&truth(&gone, Outcome::Held, &SeatState::Free)).await.unwrap();
    loading.begin(&event, a(&event), "n2").await.unwrap();
    loading.add(&event, a(&event), "n2", &held_by(&gone)).await.unwrap();
    loading.end(&event, a(&event), "n2").await.unwrap();
    assert_eq!(scripts.shown(&event, "A-1-1").await, Some(Availability::Free));
}

#[tokio::test]
async fn who_never_had_a_seat_hides_nobody_elses_hold_from_the_loader() {
    let (scripts, event) = cold().await;
    let Scripts { loading, truths, .. } = &scripts;
    let owner = Attempt::new(&event, "owner", "k", &["A-1-1"]);
    let lapsed = Attempt::new(&event, "lapsed", "k", &["A-1-1"]);
    loading.begin(&event, a(&event), "n1").await.unwrap();
    truths.write(&truth(&lapsed, Outcome::Rejected(Reason::Lapsed), &SeatState::Free)).await.unwrap();
    loading.add(&event, a(&event), "n1", &held_by(&owner)).await.unwrap();
    loading.end(&event, a(&event), "n1").await.unwrap();
    assert_eq!(scripts.shown(&event, "A-1-1").await, Some(Availability::Held));
}

#[tokio::test]
async fn a_first_publication_marks_its_sections_loaded_and_a_republish_does_not() {
    let scripts = Scripts::start().await;
    let first = event("hall", 1, &hall::small(1, 8));
    scripts.publish_first(&first).await;
    assert_eq!(shown(&scripts, &first, &["A-1-1", "B-1-1"]).await, [Some(Availability::Free); 2]);
    // From its start, so that a missing record means there was none.
    let attempt = Attempt::new(&first, "alice", "k", &["A-1-1"]);
    let look = Records::new(scripts.redis.clone()).look(&attempt.id).await.unwrap();
    assert!(look.since_ms == 0 && look.absence_is_known());

    // A section that a later publication adds, and every section after a loss, has to be loaded.
    let mut wider = hall::small(1, 8);
    let mut added = wider["sections"][1].clone();
    added["id"] = json!("C");
    wider["sections"].as_array_mut().unwrap().push(added);
    let second = event("hall", 2, &wider);
    scripts.loading.publish(&second, None).await.unwrap();
    assert_eq!(shown(&scripts, &second, &["A-1-1", "C-1-1"]).await, [Some(Availability::Free), None]);
    scripts.command::<String>(&["FLUSHALL"]).await;
    scripts.loading.publish(&event("hall", 3, &wider), None).await.unwrap();
    assert_eq!(shown(&scripts, &second, &["A-1-1", "C-1-1"]).await, [None, None]);
}

#[tokio::test]
async fn a_first_publication_that_comes_late_marks_nothing_loaded() {
    let scripts = Scripts::start().await;
    let first = event("hall", 1, &hall::small(1, 8));
    scripts.loading.announce(&first.id, "nonce").await.unwrap();
    // A claim has brought the publication along before its publisher told Redis.
    let attempt = Attempt::new(&first, "alice", "k", &["A-1-1"]);
    assert_eq!(scripts.claim(&first, &attempt).await, Claimed::Cold(vec!["A".into()]));
    scripts.loading.publish(&first, Some("nonce")).await.unwrap();
    assert_eq!(scripts.shown(&first, "A-1-1").await, None);
    let look = Records::new(scripts.redis.clone()).look(&attempt.id).await.unwrap();
    assert!(look.since_ms > 0 && !look.absence_is_known(), "{look:?}");
}

#[tokio::test]
async fn a_first_publication_whose_announcement_was_lost_marks_nothing_loaded() {
    let scripts = Scripts::start().await;
    let first = event("hall", 1, &hall::small(1, 8));
    let look = async || Records::new(scripts.redis.clone()).look(&Attempt::new(&first, "a", "k", &["A-1-1"]).id).await;
    // While its publisher was stopped between the stores others may have sold, and a flush has taken what Redis knew of it.
    scripts.loading.announce(&first.id, "nonce").await.unwrap();
    scripts.command::<String>(&["FLUSHALL"]).await;
    scripts.loading.publish(&first, Some("nonce")).await.unwrap();
    assert_eq!(scripts.shown(&first, "A-1-1").await, None);
    assert!(!look().await.unwrap().absence_is_known());
    // Nor does anybody believe what was announced by another, or not at all.
    let second = event("other", 1, &hall::small(1, 8));
    scripts.loading.announce(&second.id, "another's").await.unwrap();
    scripts.loading.publish(&second, Some("nonce")).await.unwrap();
    assert_eq!(scripts.shown(&second, "A-1-1").await, None);
    let third = event("third", 1, &hall::small(1, 8));
    scripts.loading.publish(&third, None).await.unwrap();
    assert_eq!(scripts.shown(&third, "A-1-1").await, None);
}

#[tokio::test]
async fn of_two_publications_the_greater_version_stays_in_whatever_order_they_come() {
    let (scripts, first) = Scripts::selling(&hall::small(1, 8)).await;
    let paused = event("hall", 2, &hall::with(hall::small(1, 8), "state", json!("paused")));
    let open = event("hall", 3, &hall::small(1, 8));
    let attempt = |key| Attempt::new(&first, "alice", key, &["A-1-1"]);
    scripts.loading.publish(&paused, None).await.unwrap();
    assert_eq!(scripts.claim(&paused, &attempt("a")).await, Claimed::Paused);
    scripts.loading.publish(&open, None).await.unwrap();
    scripts.loading.publish(&paused, None).await.unwrap();
    assert_eq!(scripts.claim(&paused, &attempt("b")).await, Claimed::Stale);
    scripts.granted(&open, &attempt("c")).await;
    let version: String = scripts.command(&["HGET", &keys::event(&first.id), "version"]).await;
    assert_eq!(version, "3");
}

#[tokio::test]
async fn what_an_abandoned_load_has_left_hides_nobody() {
    let scripts = Scripts::start().await;
    let event = event("hall", 1, &hall::small(1, 8));
    let section = event.section("A").unwrap();
    let (alice, bob) = (Attempt::new(&event, "alice", "k", &["A-1-1"]), Attempt::new(&event, "bob", "k", &["A-1-1"]));
    let now = scripts.redis.now_ms().await.unwrap();
    let taken = |number, state| TakenSeat { number, state };
    let held = |attempt: &Attempt, expires_at_ms| TakenState::Held { owner: attempt.id.uuid().into(), expires_at_ms };
    scripts.loading.begin(&event, section, "dead").await.unwrap();
    let left = [taken(0, held(&bob, now - 1)), taken(1, held(&bob, now - 1))];
    scripts.loading.add(&event, section, "dead", &left).await.unwrap();

    scripts.loading.begin(&event, section, "alive").await.unwrap();
    let read = [taken(0, held(&alice, now + 60_000)), taken(1, TakenState::Sold { owner: alice.id.uuid().into() })];
    scripts.loading.add(&event, section, "alive", &read).await.unwrap();
    scripts.loading.end(&event, section, "alive").await.unwrap();
    assert_eq!(scripts.shown(&event, "A-1-1").await, Some(Availability::Held));
    assert_eq!(scripts.shown(&event, "A-1-2").await, Some(Availability::Sold));
}
