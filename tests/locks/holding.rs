//! How long a lock is held: never longer than certain, prolonged by a watchdog within bounds, and lost with a reason before it
//! may be another's.

use std::time::Duration;

use shared::lock::{AcquireError, Extended, Lock, Lost, Options, Released, WithLockError};
use shared::redis::{Redis, keys};
use shared::telemetry::{LOCK_LOST, LOCK_RENEWALS};
use tokio::time::{Instant, timeout};

use super::{LONG, SHORT, is_taken, locks, names, take};
use crate::harness::PATIENCE;
use crate::harness::metrics::telling_labelled;
use crate::harness::proxy::Proxy;
use crate::harness::scripts::Scripts;

/// A lease that a loaded machine can renew in time.
const LEASE: Duration = Duration::from_millis(900);

async fn pttl(scripts: &Scripts, key: &str) -> i64 {
    scripts.command(&["PTTL", key]).await
}

#[tokio::test]
async fn the_holder_is_warned_before_the_lease_ends_at_the_server() {
    let (scripts, lock) = locks().await;
    let key = names(["a"]);
    let guard = take(&lock, &key, LEASE).await;
    assert!(guard.valid_for() < LEASE - Duration::from_millis(9), "drift is taken off: {:?}", guard.valid_for());
    assert_eq!(timeout(PATIENCE, guard.lost()).await, Ok(Lost::LeaseEnds));
    let left = pttl(&scripts, &key[0]).await;
    // -2 = gone: on a machine that stood still meanwhile; else he learnt it in time.
    assert!(left > 0 || left == -2, "{left}");
    assert!(guard.valid_for() < LEASE / 10);
}

#[test]
fn redisson_775_a_watchdog_holds_the_lock_far_beyond_its_lease_and_not_beyond_its_bound() {
    let told = telling_labelled(async {
        let (scripts, lock) = locks().await;
        let key = names(["a"]);
        let options = Options { renew_for: Some(3 * LEASE), ..Options::new(Duration::ZERO, LEASE) };
        let began = Instant::now();
        let guard = lock.acquire_with(&key, &options).await.unwrap();
        assert_eq!(timeout(PATIENCE, guard.lost()).await, Ok(Lost::RenewalEnded));
        assert!(began.elapsed() >= 3 * LEASE, "{:?}", began.elapsed());
        assert_eq!(guard.release().await, Released::Released);
        assert!(!is_taken(&lock, &key).await);
        assert_eq!(pttl(&scripts, &key[0]).await, -2);
    });
    assert!(told[&(LOCK_RENEWALS.to_owned(), String::new())][0] >= 6.0, "{told:?}");
}

#[tokio::test]
async fn a_watchdog_ends_with_its_guard() {
    let (scripts, lock) = locks().await;
    let key = names(["a"]);
    let options = Options { renew_for: Some(LONG), ..Options::new(Duration::ZERO, LEASE) };
    drop(lock.acquire_with(&key, &options).await.unwrap());
    super::until_gone(&scripts, &key[0]).await;
}

#[test]
fn a_renewal_that_finds_the_lock_gone_or_anothers_says_so_and_does_not_take_it_back() {
    let told = telling_labelled(async {
        let (scripts, lock) = locks().await;
        let key = names(["a"]);
        let options = Options { renew_for: Some(LONG), ..Options::new(Duration::ZERO, LEASE) };
        for (token, lost, released) in
            [(None, Lost::Expired, Released::Expired), (Some("other"), Lost::TakenByOther, Released::TakenByOther)]
        {
            let guard = lock.acquire_with(&key, &options).await.unwrap();
            match token {
                None => drop(scripts.command::<i64>(&["DEL", &key[0]]).await),
                Some(token) => drop(scripts.command::<String>(&["SET", &key[0], token]).await),
            }
            assert_eq!(timeout(PATIENCE, guard.lost()).await, Ok(lost));
            assert_eq!(guard.valid_for(), Duration::ZERO);
            assert_eq!(guard.release().await, released);
            scripts.command::<i64>(&["DEL", &key[0]]).await;
        }
    });
    for reason in ["expired", "taken-by-other"] {
        assert_eq!(told[&(LOCK_LOST.to_owned(), reason.to_owned())], [1.0], "{told:?}");
    }
}

#[tokio::test]
async fn a_server_that_answers_no_renewal_is_named_while_the_lock_is_still_held() {
    let scripts = Scripts::start().await;
    let proxy = Proxy::listen().await;
    let redis = Redis::connect(&(proxy.front())(&scripts.url()), 1).await.unwrap();
    let lock = Lock::new(redis);
    let options = Options { renew_for: Some(LONG), ..Options::new(Duration::ZERO, 2 * LEASE) };
    let guard = lock.acquire_with(&names(["a"]), &options).await.unwrap();
    // What is sent arrives, and no answer comes back: the lease may be prolonged, and the holder may not count on it.
    proxy.hold(true);
    let lost = timeout(PATIENCE, guard.lost()).await.unwrap();
    assert!([Lost::Unreachable, Lost::LeaseEnds].contains(&lost), "{lost:?}");
    assert!(pttl(&scripts, &names(["a"])[0]).await > 0);
    assert_eq!(guard.release().await, Released::Unknown);
}

#[tokio::test]
async fn neither_a_lease_nor_a_wait_nor_a_renewal_goes_beyond_the_deadline() {
    let (scripts, lock) = locks().await;
    let key = names(["a"]);
    let at = |deadline| Options { deadline: Some(deadline), renew_for: Some(LONG), ..Options::new(LONG, LONG) };
    let guard = lock.acquire_with(&key, &at(Instant::now() + LEASE)).await.unwrap();
    let left = pttl(&scripts, &key[0]).await;
    assert!((1..=900).contains(&left), "{left}");
    let refused = lock.acquire_with(&key, &at(Instant::now() + SHORT)).await;
    assert!(matches!(refused, Err(AcquireError::Taken | AcquireError::TooLate)));
    let late = lock.acquire_with(&names(["b"]), &at(Instant::now())).await;
    assert!(matches!(late, Err(AcquireError::TooLate)));
    assert_eq!(timeout(PATIENCE, guard.lost()).await, Ok(Lost::RenewalEnded));
}

#[tokio::test]
async fn a_lease_is_prolonged_once_from_now_on_and_what_has_run_out_is_not() {
    let (scripts, lock) = locks().await;
    let key = names(["a"]);
    let guard = take(&lock, &key, LEASE).await;
    assert_eq!(guard.extend(LONG).await, Extended::Extended);
    assert!(pttl(&scripts, &key[0]).await > 500_000 && guard.valid_for() > LONG / 2);
    scripts.command::<i64>(&["DEL", &key[0]]).await;
    assert_eq!(guard.extend(LONG).await, Extended::Expired);
    assert_eq!((guard.valid_for(), guard.lost().await), (Duration::ZERO, Lost::Expired));
    let next = take(&lock, &key, LONG).await;
    assert_eq!(guard.extend(LONG).await, Extended::TakenByOther);
    next.release().await;
}

#[tokio::test]
async fn work_under_a_lock_that_is_lost_is_stopped() {
    let (scripts, lock) = locks().await;
    let key = names(["a"]);
    let options = Options { renew_for: Some(LONG), ..Options::new(Duration::ZERO, LEASE) };
    let done = lock.with_lock(&key, &options, async |guard| guard.fencing_token()).await;
    assert_eq!(done.unwrap(), Some(1));
    assert!(!is_taken(&lock, &key).await, "it was given back");
    let stopped = lock
        .with_lock(&key, &options, async |_| {
            scripts.command::<i64>(&["DEL", &key[0]]).await;
            std::future::pending::<()>().await;
        })
        .await;
    assert!(matches!(stopped, Err(WithLockError::Lost(Lost::Expired))), "{stopped:?}");
}

#[tokio::test]
async fn each_holder_has_a_greater_fencing_token_until_redis_forgets() {
    let (scripts, lock) = locks().await;
    let key = names(["a"]);
    for expected in 1..=3 {
        let guard = take(&lock, &key, LONG).await;
        assert_eq!(guard.fencing_token(), Some(expected));
        guard.release().await;
    }
    // What it cannot promise: see the module's documentation.
    scripts.command::<String>(&["FLUSHALL"]).await;
    assert_eq!(take(&lock, &key, LONG).await.fencing_token(), Some(1));
}

#[tokio::test]
async fn scripts_that_the_server_has_forgotten_are_sent_again() {
    let (scripts, lock) = locks().await;
    let key = names(["a"]);
    let guard = take(&lock, &key, LONG).await;
    scripts.command::<String>(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(guard.extend(LONG).await, Extended::Extended);
    scripts.command::<String>(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(guard.release().await, Released::Released);
    assert!(matches!(lock.acquire(&[], LONG, LONG).await, Err(AcquireError::NoKeys)));
    let [_, waiters, ..] = keys::parts_of_lock(&key[0]);
    assert_eq!(scripts.command::<i64>(&["EXISTS", &waiters]).await, 0);
}

#[tokio::test]
async fn a_replica_that_may_not_write_gives_no_lock() {
    let (scripts, lock) = locks().await;
    scripts.command::<String>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let refused = lock.try_acquire(&names(["a"]), LONG).await;
    assert!(matches!(refused, Err(AcquireError::Unavailable(_))));
    scripts.command::<String>(&["REPLICAOF", "NO", "ONE"]).await;
    assert!(!is_taken(&lock, &names(["a"])).await);
}
