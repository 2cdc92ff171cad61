//! What Redis counts for whom: the claims of a section are counted for a crowd of processes once in a while, anew for who
//! claims, and past every copy no more often than the pace. What has run out is free at once wherever it is counted.

use std::time::Duration;

use shared::domain::event::{Event, Section};
use shared::redis::keys;
use shared::redis::seat_map::{Availability, Look, PACE, SHARED_FOR};
use tokio::time::Instant;

use crate::harness::scripts::{Attempt, Scripts, without_a_lease};
use crate::harness::{all_at_once, eventually, hall};

async fn seat(scripts: &Scripts, event: &Event, look: Look) -> (Availability, Duration) {
    let section = event.section("A").unwrap();
    let read = scripts.maps.look(event, &[section], look).await.unwrap();
    (read.sections[0].as_ref().unwrap().seat(0), read.age)
}

/// When Redis last counted section A, in ms.
async fn counted_at(scripts: &Scripts, event: &Event) -> i64 {
    let kept: String = scripts.command(&["GETRANGE", &keys::counted(&event.id, "A"), "0", "12"]).await;
    kept.parse().unwrap_or(0)
}

#[tokio::test]
async fn one_count_serves_everybody_for_a_while_and_who_claims_is_shown_what_is_so() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    use Availability::{Free, Held};
    assert_eq!(seat(&scripts, &event, Look::Shared).await.0, Free);
    let first = counted_at(&scripts, &event).await;
    scripts.granted(&event, &Attempt::new(&event, "alice", "k", &["A-1-1"])).await;
    let (shown, age) = seat(&scripts, &event, Look::Shared).await;
    // A machine that stood still meanwhile has a new count.
    assert!(
        counted_at(&scripts, &event).await > first || (shown, age <= SHARED_FOR) == (Free, true),
        "{shown:?} {age:?}"
    );
    assert_eq!(seat(&scripts, &event, Look::Anew).await.0, Held);
    // And what was counted for him serves the others.
    assert_eq!(seat(&scripts, &event, Look::Shared).await.0, Held);
    let began = Instant::now();
    scripts
        .truths
        .write(&crate::claims::truth(
            &Attempt::new(&event, "alice", "k", &["A-1-1"]),
            shared::domain::reservation::Outcome::Cancelled,
            &shared::redis::truth::SeatState::Free,
        ))
        .await
        .unwrap();
    eventually("the count to grow old", || async {
        (seat(&scripts, &event, Look::Shared).await.0 == Free).then_some(())
    })
    .await;
    assert!(began.elapsed() < SHARED_FOR + Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn who_asks_past_every_copy_sees_what_is_so_and_makes_redis_count_no_more_often_than_the_pace() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let began = Instant::now();
    let mut counts = std::collections::BTreeSet::new();
    for round in 0..10 {
        let attempt = Attempt::new(&event, "alice", &round.to_string(), &["A-1-1"]);
        scripts.granted(&event, &attempt).await;
        let crowd = (0..8).map(|_| {
            let (maps, event) = (scripts.maps.clone(), event.clone());
            async move {
                let sections: Vec<&Section> = vec![event.section("A").unwrap()];
                maps.look(&event, &sections, Look::Paced).await.unwrap().sections[0].as_ref().unwrap().seat(0)
            }
        });
        assert_eq!(all_at_once(crowd).await, [Availability::Held; 8], "{round}");
        counts.insert(counted_at(&scripts, &event).await);
        let free = shared::redis::truth::SeatState::Free;
        let given_up = crate::claims::truth(&attempt, shared::domain::reservation::Outcome::Cancelled, &free);
        scripts.truths.write(&given_up).await.unwrap();
        assert_eq!(seat(&scripts, &event, Look::Paced).await.0, Availability::Free, "{round}");
        counts.insert(counted_at(&scripts, &event).await);
    }
    let at_most = began.elapsed().as_millis() / PACE.as_millis() + 1;
    assert!(counts.len() as u128 <= at_most, "{} counts in {:?}", counts.len(), began.elapsed());
    let counts: Vec<i64> = counts.into_iter().collect();
    assert!(counts.windows(2).all(|two| two[1] - two[0] >= PACE.as_millis() as i64), "{counts:?}");
}

#[tokio::test]
async fn what_has_run_out_is_free_wherever_it_is_counted() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    scripts.granted(&without_a_lease(&event), &Attempt::new(&event, "alice", "k", &["A-1-1"])).await;
    for look in [Look::Anew, Look::Shared, Look::Paced] {
        assert_eq!(seat(&scripts, &event, look).await.0, Availability::Free, "{look:?}");
    }
}

#[tokio::test]
async fn a_count_from_the_future_or_of_a_lost_section_is_none() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    scripts.granted(&event, &Attempt::new(&event, "alice", "k", &["A-1-1"])).await;
    // Redis' clock was set back, and the count says that nobody has anything.
    scripts.command::<String>(&["SET", &keys::counted(&event.id, "A"), "4000000000000"]).await;
    assert_eq!(seat(&scripts, &event, Look::Shared).await.0, Availability::Held);
    assert_eq!(seat(&scripts, &event, Look::Paced).await.0, Availability::Held);
    scripts.command::<i64>(&["DEL", &keys::claims(&event.id, "A")]).await;
    let section = event.section("A").unwrap();
    assert_eq!(scripts.maps.look(&event, &[section], Look::Shared).await.unwrap().sections, [None], "cold");
}

#[tokio::test]
async fn a_redis_without_memory_for_a_copy_counts_each_time() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    scripts.granted(&event, &Attempt::new(&event, "alice", "k", &["A-1-1"])).await;
    scripts.command::<String>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    for look in [Look::Shared, Look::Anew, Look::Paced] {
        assert_eq!(seat(&scripts, &event, look).await.0, Availability::Held, "{look:?}");
    }
    assert_eq!(counted_at(&scripts, &event).await, 0);
}
