//! Keys that no one script can take, since they are in several slots: all or none all the same, and nobody waits with some of
//! them in hand.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use shared::domain::ids::EventId;
use shared::lock::{Extended, Released};
use shared::redis::keys;
use tokio::time::timeout;

use super::{LONG, is_taken, locks, take};
use crate::harness::PATIENCE;

/// The same lock of several events, each in a slot of its own.
fn of<const N: usize>(events: [&str; N]) -> Vec<String> {
    events.iter().map(|event| keys::lock(&EventId::parse(event).unwrap(), "a")).collect()
}

#[tokio::test]
async fn locks_of_several_slots_are_taken_all_or_none_whatever_their_order() {
    let (scripts, lock) = locks().await;
    let held = take(&lock, &of(["middle"]), LONG).await;
    for keys in [of(["first", "middle", "last"]), of(["last", "middle", "first"])] {
        assert!(is_taken(&lock, &keys).await);
        for key in of(["first", "last"]) {
            assert_eq!(scripts.command::<i64>(&["EXISTS", &key]).await, 0, "{key} stayed behind");
        }
    }
    held.release().await;
    let all = take(&lock, &of(["last", "first", "middle", "first"]), LONG).await;
    assert!(is_taken(&lock, &of(["first"])).await && is_taken(&lock, &of(["last"])).await);
    assert_eq!(all.fencing_token().map(|token| token > 0), Some(true));
    assert_eq!(all.extend(LONG).await, Extended::Extended);
    assert_eq!(all.release().await, Released::Released);
    assert!(!is_taken(&lock, &of(["first", "middle", "last"])).await);
}

#[tokio::test]
async fn who_wants_the_same_slots_in_other_orders_waits_for_nobody_for_ever() {
    let (_scripts, lock) = locks().await;
    let inside = ["x", "y", "z"].map(|_| AtomicUsize::new(0));
    let crowd = (0..24).map(|n| {
        let wanted = [(0, 1), (1, 2), (2, 0)][n % 3];
        let (lock, inside) = (&lock, &inside);
        async move {
            let keys = of(["x", "y", "z"]);
            let guard = lock.acquire(&[keys[wanted.0].clone(), keys[wanted.1].clone()], PATIENCE, LONG).await.unwrap();
            let both = [&inside[wanted.0], &inside[wanted.1]];
            let others: usize = both.iter().map(|inside| inside.fetch_add(1, Ordering::SeqCst)).sum();
            tokio::task::yield_now().await;
            both.iter().for_each(|inside| {
                inside.fetch_sub(1, Ordering::SeqCst);
            });
            assert_eq!(guard.release().await, Released::Released);
            others
        }
    });
    assert_eq!(timeout(PATIENCE, join_all(crowd)).await.expect("they wait for each other"), [0; 24]);
}

#[tokio::test]
async fn redisson_multilock_unlock_one_lock_that_is_anothers_by_now_leaves_no_other_locked() {
    let (scripts, lock) = locks().await;
    let all = take(&lock, &of(["first", "middle", "last"]), LONG).await;
    scripts.command::<String>(&["SET", &of(["first"])[0], "other", "PX", "600000"]).await;
    assert_eq!(all.release().await, Released::TakenByOther);
    assert!(!is_taken(&lock, &of(["middle", "last"])).await);
    assert!(is_taken(&lock, &of(["first"])).await, "what is another's stays");
}

#[tokio::test]
async fn a_lease_of_several_slots_ends_in_all_of_them() {
    let (scripts, lock) = locks().await;
    drop(take(&lock, &of(["first", "last"]), Duration::from_millis(50)).await);
    for key in of(["first", "last"]) {
        super::until_gone(&scripts, &key).await;
    }
}
