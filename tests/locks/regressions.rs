//! What went wrong in other libraries' locks, once each, by the names of their reports.

use std::time::Duration;

use local::servers::Redis as Server;
use shared::lock::{AcquireError, Extended, Lock, Lost, Options, Released};
use shared::redis::Redis;
use tokio::time::{Instant, timeout};

use super::{LONG, behind_a_proxy, locks, names, take};
use crate::harness::{PATIENCE, eventually, redis};

/// A lease that a loaded machine can renew in time.
const LEASE: Duration = Duration::from_millis(900);

#[tokio::test]
async fn redisson_3194_a_watchdog_goes_on_after_its_connection_was_replaced() {
    let (scripts, lock) = locks().await;
    let key = names(["a"]);
    let options = Options { renew_for: Some(LONG), ..Options::new(Duration::ZERO, LEASE) };
    let guard = lock.acquire_with(&key, &options).await.unwrap();
    scripts.command::<i64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    // Longer than its lease.
    assert!(timeout(2 * LEASE, guard.lost()).await.is_err(), "it was not renewed");
    assert_eq!(guard.release().await, Released::Released);
}

#[tokio::test]
async fn redisson_775_a_renewal_that_failed_is_tried_again() {
    let (_scripts, proxy, lock) = behind_a_proxy().await;
    let lease = Duration::from_secs(3);
    let options = Options { renew_for: Some(LONG), ..Options::new(Duration::ZERO, lease) };
    let guard = lock.acquire_with(&names(["a"]), &options).await.unwrap();
    // The first renewal, after a third of the lease, has no answer within its time; one of the next has.
    proxy.hold(true);
    assert!(timeout(lease / 3 + Duration::from_millis(400), guard.lost()).await.is_err(), "it was given up at once");
    proxy.hold(false);
    assert!(timeout(lease * 3 / 2, guard.lost()).await.is_err(), "it was not renewed again");
    assert_eq!(guard.release().await, Released::Released);
}

#[tokio::test]
async fn redisson_multilock_every_key_has_the_lease_that_was_asked_for_and_not_one_of_the_wait() {
    let (scripts, lock) = locks().await;
    let guard = lock.acquire(&names(["a", "b"]), PATIENCE, LEASE).await.unwrap();
    for key in names(["a", "b"]) {
        let left: i64 = scripts.command(&["PTTL", &key]).await;
        assert!((0..=900).contains(&left), "{left}");
    }
    drop(guard);
}

#[tokio::test]
async fn redisson_543_a_server_that_never_answers_blocks_nobody_for_ever() {
    let (_scripts, proxy, lock) = behind_a_proxy().await;
    let key = names(["a"]);
    assert_eq!(lock.try_acquire(&key, LONG).await.unwrap().release().await, Released::Released);
    proxy.hold(true);
    let refused = timeout(PATIENCE, lock.acquire(&key, Duration::from_millis(300), LONG)).await.expect("it hangs");
    assert!(matches!(refused, Err(AcquireError::Unavailable(_))));
}

#[tokio::test]
async fn redisson_rfencedlock_a_fenced_lock_keeps_the_lease_it_was_asked_for() {
    let (scripts, lock) = locks().await;
    let guard = take(&lock, &names(["a"]), LEASE).await;
    assert_eq!(guard.fencing_token(), Some(1));
    let left: i64 = scripts.command(&["PTTL", &names(["a"])[0]]).await;
    assert!((0..=900).contains(&left), "{left}");
}

#[tokio::test]
async fn redsync_149_a_server_that_restarted_empty_costs_no_quorum_and_votes_for_nobody_by_itself() {
    let servers = futures_util::future::join_all((0..3).map(|_| async { Server::start().await.unwrap() })).await;
    let mut nodes = Vec::new();
    for server in &servers {
        nodes.push(Redis::connect(&server.url(), 1).await.unwrap());
    }
    let (lock, key) = (Lock::quorum(nodes).unwrap(), names(["a"]));
    let guard = lock.try_acquire(&key, LONG).await.unwrap();
    let forget = async |server: &Server| {
        redis::command::<String>(&redis::connect(&server.url()).await, &["FLUSHALL"]).await;
    };
    forget(&servers[0]).await;
    assert_eq!(guard.extend(LONG).await, Extended::Extended);
    // The second one takes the majority away, and extending does not put it back: others may have been inside.
    forget(&servers[1]).await;
    assert_eq!(guard.extend(LONG).await, Extended::Expired);
    assert_eq!(guard.lost().await, Lost::Expired);
}

#[tokio::test]
async fn node_redlock_168_validity_is_measured_from_the_attempt_that_succeeded() {
    let (scripts, lock) = locks().await;
    let (key, lease) = (names(["a"]), Duration::from_secs(20));
    let held = take(&lock, &key, LONG).await;
    let waiting = lock.acquire(&key, PATIENCE, lease);
    let began = Instant::now();
    let ([_, line, ..], waited) = (shared::redis::keys::parts_of_lock(&key[0]), Duration::from_millis(400));
    let release = async {
        eventually("it to wait for a while", || async {
            let waits = scripts.command::<i64>(&["ZCARD", &line]).await == 1;
            (waits && began.elapsed() > waited).then_some(())
        })
        .await;
        let released = Instant::now();
        held.release().await;
        released
    };
    let (guard, released) = tokio::join!(waiting, release);
    let guard = guard.unwrap();
    // Less only the drift of 1 % and what has passed since: not what was waited before.
    let since = released.elapsed();
    assert!(guard.valid_for() + since + Duration::from_millis(210) > lease, "{:?} after {since:?}", guard.valid_for());
}

#[tokio::test]
async fn dynamolock_280_a_renewal_whose_answer_was_lost_is_no_lost_lock() {
    let (_scripts, proxy, lock) = behind_a_proxy().await;
    let key = names(["a"]);
    let guard = lock.try_acquire(&key, LONG).await.unwrap();
    // The script runs, its answer is cut off, and the client asks again on another connection.
    proxy.cut_once_after(0);
    assert!([Extended::Extended, Extended::Unknown].contains(&guard.extend(LONG).await));
    assert_eq!(proxy.cuts(), 1);
    assert!(guard.valid_for() > LONG / 2);
    assert_eq!(guard.release().await, Released::Released);
}

#[tokio::test]
async fn powertools_4759_no_time_left_is_no_time_and_not_no_limit() {
    let (scripts, lock) = locks().await;
    let options = Options { deadline: Some(Instant::now()), ..Options::new(LONG, LONG) };
    assert!(matches!(lock.acquire_with(&names(["a"]), &options).await, Err(AcquireError::TooLate)));
    assert_eq!(scripts.command::<i64>(&["EXISTS", &names(["a"])[0]]).await, 0);
}

#[tokio::test]
async fn node_redlock_369_a_lock_that_is_over_when_its_answer_comes_is_no_lock() {
    let (scripts, lock) = locks().await;
    // Drift takes more than this whole lease.
    let refused = lock.try_acquire(&names(["a"]), Duration::from_millis(2)).await;
    assert!(matches!(refused, Err(AcquireError::Taken)));
    assert_eq!(scripts.command::<i64>(&["EXISTS", &names(["a"])[0]]).await, 0);
}

#[tokio::test]
async fn node_redlock_369_an_error_of_the_work_is_the_works_and_the_lock_is_given_back() {
    let (_scripts, lock) = locks().await;
    let key = names(["a"]);
    let done = lock.with_lock(&key, &Options::new(Duration::ZERO, LONG), async |_| Err::<(), _>("of the work")).await;
    assert_eq!(done.unwrap(), Err("of the work"));
    take(&lock, &key, LONG).await.release().await;
}

#[tokio::test]
async fn spring_11180_who_waits_for_one_lock_keeps_nobody_from_another() {
    let (scripts, lock) = locks().await;
    let (key, other) = (names(["a"]), names(["b"]));
    let held = take(&lock, &key, LONG).await;
    let waiting: Vec<_> = (0..64)
        .map(|_| {
            let (lock, key) = (lock.clone(), key.clone());
            tokio::spawn(async move { lock.acquire(&key, PATIENCE, LONG).await.unwrap().release().await })
        })
        .collect();
    let [_, line, ..] = shared::redis::keys::parts_of_lock(&key[0]);
    eventually("all to wait", || async { (scripts.command::<i64>(&["ZCARD", &line]).await == 64).then_some(()) }).await;
    take(&lock, &other, LONG).await.release().await;
    held.release().await;
    for waiter in waiting {
        assert_eq!(waiter.await.unwrap(), Released::Released);
    }
}
