//! The general lock, on real Redis servers: one holder a key, all keys or none, and an end by release or by its lease.
//!
//! [`waiting`]: who waits and is woken. [`holding`]: how long a lock is held, and how its holder learns that it is not.
//! [`losing`]: what is told of a lock that was lost. [`doubt`]: answers that were lost or came late. [`slots`]: keys that no one
//! script can take. [`replicas`]: a grant that was waited for. [`quorum`]: several servers, some of them dead or frozen.
//! [`regressions`]: bugs of others. [`dropped`]: futures dropped wherever they wait.

mod doubt;
mod dropped;
mod holding;
mod losing;
mod quorum;
mod regressions;
mod replicas;
mod slots;
mod waiting;

use std::time::Duration;

use shared::domain::ids::EventId;
use shared::lock::{AcquireError, Guard, Lock, Released};
use shared::redis::{Redis, keys};

use crate::harness::eventually;
use crate::harness::proxy::Proxy;
use crate::harness::scripts::Scripts;

/// A lease that outlasts every test.
const LONG: Duration = Duration::from_secs(600);
/// A lease that is seen to end.
const SHORT: Duration = Duration::from_millis(50);

fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
    let event = EventId::parse("hall").unwrap();
    names.iter().map(|name| keys::lock(&event, name)).collect()
}

async fn locks() -> (Scripts, Lock) {
    let scripts = Scripts::start().await;
    let lock = Lock::new(scripts.redis.clone());
    (scripts, lock)
}

/// A lock whose way to its server can be broken.
async fn behind_a_proxy() -> (Scripts, Proxy, Lock) {
    let (scripts, proxy) = (Scripts::start().await, Proxy::listen().await);
    let redis = Redis::connect(&(proxy.front())(&scripts.url()), 1).await.unwrap();
    (scripts, proxy, Lock::new(redis))
}

async fn take(lock: &Lock, keys: &[String], lease: Duration) -> Guard {
    lock.try_acquire(keys, lease).await.unwrap()
}

async fn is_taken(lock: &Lock, keys: &[String]) -> bool {
    match lock.try_acquire(keys, LONG).await {
        Err(AcquireError::Taken) => true,
        Err(error) => panic!("{error}"),
        Ok(guard) => {
            assert_eq!(guard.release().await, Released::Released);
            false
        }
    }
}

async fn until_gone(scripts: &Scripts, key: &str) {
    eventually("the lease to end", || async { (scripts.command::<i64>(&["EXISTS", key]).await == 0).then_some(()) })
        .await;
}

#[tokio::test]
async fn one_holds_it_and_the_next_has_it_after_the_release() {
    let (_scripts, lock) = locks().await;
    let key = names(["a"]);
    let first = take(&lock, &key, LONG).await;
    assert!(is_taken(&lock, &key).await);
    assert_eq!(first.release().await, Released::Released);
    assert_eq!(take(&lock, &key, LONG).await.release().await, Released::Released);
}

#[tokio::test]
async fn of_a_crowd_one_at_a_time_is_inside() {
    let (scripts, lock) = locks().await;
    let inside = keys::lock(&EventId::parse("hall").unwrap(), "inside");
    let crowd = (0..8).map(|_| async {
        let guard = lock.acquire(&names(["a"]), Duration::from_secs(20), LONG).await.unwrap();
        let others = scripts.command::<i64>(&["INCR", &inside]).await - 1;
        scripts.command::<i64>(&["DECR", &inside]).await;
        assert_eq!(guard.release().await, Released::Released);
        others
    });
    assert_eq!(futures_util::future::join_all(crowd).await, [0; 8]);
}

#[tokio::test]
async fn overlapping_key_sets_exclude_each_other_and_a_refused_one_takes_nothing() {
    let (_scripts, lock) = locks().await;
    let ab = take(&lock, &names(["a", "b"]), LONG).await;
    assert!(is_taken(&lock, &names(["b", "c"])).await);
    assert!(is_taken(&lock, &names(["c", "a"])).await);
    assert!(!is_taken(&lock, &names(["c"])).await, "a refused acquire left a key behind");
    assert!(!is_taken(&lock, &names(["c", "d"])).await);
    assert_eq!(ab.release().await, Released::Released);
    assert!(!is_taken(&lock, &names(["a", "b", "c"])).await);
}

#[tokio::test]
async fn a_lease_ends_by_itself_and_the_release_says_so() {
    let (scripts, lock) = locks().await;
    let key = names(["a"]);
    let guard = take(&lock, &key, SHORT).await;
    until_gone(&scripts, &key[0]).await;
    assert_eq!(guard.release().await, Released::Expired);
    assert!(!is_taken(&lock, &key).await);
}

#[tokio::test]
async fn who_lost_the_lock_does_not_release_the_next_holders() {
    let (scripts, lock) = locks().await;
    let key = names(["a"]);
    let late = take(&lock, &key, SHORT).await;
    until_gone(&scripts, &key[0]).await;
    let next = take(&lock, &key, LONG).await;
    assert_eq!(late.release().await, Released::TakenByOther);
    assert!(is_taken(&lock, &key).await);
    assert_eq!(next.release().await, Released::Released);
}

#[tokio::test]
async fn of_several_keys_the_worst_is_reported_and_what_is_still_ours_is_freed() {
    let (scripts, lock) = locks().await;
    let (a, b, c) = (names(["a"]), names(["b"]), names(["c"]));
    let all = take(&lock, &names(["a", "b", "c"]), LONG).await;
    // As if the lease of two had ended and somebody had taken one of them.
    scripts.command::<i64>(&["DEL", &a[0], &b[0]]).await;
    let next = take(&lock, &a, LONG).await;
    assert_eq!(all.release().await, Released::TakenByOther);
    assert!(is_taken(&lock, &a).await);
    assert!(!is_taken(&lock, &c).await);
    assert_eq!(next.release().await, Released::Released);
}
