//! What is told of a lock that was lost, by whoever notices: once, with the reason; and work that is stopped for it, also in a
//! process that slept.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use shared::lock::{Extended, Lost, Options, Released, WithLockError};
use shared::telemetry::{
    LOCK_COMMANDS, LOCK_CONTENDED, LOCK_HOLD_MS, LOCK_LEFT, LOCK_LOST, LOCK_RENEWALS, LOCK_WAIT_MS, LOCK_WAKES,
    lock_metrics,
};
use tokio::time::timeout;

use super::{LONG, SHORT, locks, names, take, until_gone};
use crate::harness::PATIENCE;
use crate::harness::metrics::telling_labelled;

/// The losses told, by their reasons.
fn losses(work: impl Future<Output = ()>) -> Vec<(String, f64)> {
    let told = telling_labelled(work);
    let lost = told.into_iter().filter(|((name, _), _)| name == LOCK_LOST);
    lost.map(|((_, reason), counts)| (reason, counts.iter().sum())).collect()
}

#[test]
fn a_lock_whose_loss_only_its_release_notices_is_told_as_lost() {
    let told = losses(async {
        let (scripts, lock) = locks().await;
        let key = names(["a"]);
        let late = take(&lock, &key, SHORT).await;
        until_gone(&scripts, &key[0]).await;
        assert_eq!(late.release().await, Released::Expired);
        let late = take(&lock, &key, SHORT).await;
        until_gone(&scripts, &key[0]).await;
        let next = take(&lock, &key, LONG).await;
        assert_eq!(late.release().await, Released::TakenByOther);
        assert_eq!(next.release().await, Released::Released);
    });
    assert_eq!(told, [("expired".to_owned(), 1.0), ("taken-by-other".to_owned(), 1.0)]);
}

#[test]
fn a_loss_that_an_extension_the_holder_and_the_release_notice_is_told_once() {
    let told = losses(async {
        let (scripts, lock) = locks().await;
        let key = names(["a"]);
        let guard = take(&lock, &key, LONG).await;
        scripts.command::<i64>(&["DEL", &key[0]]).await;
        assert_eq!(guard.extend(LONG).await, Extended::Expired);
        assert_eq!((guard.lost().await, guard.lost().await), (Lost::Expired, Lost::Expired));
        assert_eq!(guard.release().await, Released::Expired);
    });
    assert_eq!(told, [("expired".to_owned(), 1.0)]);
}

#[test]
fn work_that_is_stopped_since_its_lease_ends_is_told_and_a_lock_given_back_in_time_is_not() {
    let told = losses(async {
        let (_scripts, lock) = locks().await;
        let key = names(["a"]);
        let options = Options::new(Duration::ZERO, Duration::from_millis(200));
        let stopped = lock.with_lock(&key, &options, async |_| std::future::pending::<()>().await).await;
        assert!(matches!(stopped, Err(WithLockError::Lost(Lost::LeaseEnds))), "{stopped:?}");
        let options = Options::new(PATIENCE, LONG);
        lock.with_lock(&key, &options, async |guard| assert!(!guard.valid_for().is_zero())).await.unwrap();
    });
    assert_eq!(told, [("lease-ends".to_owned(), 1.0)]);
}

#[tokio::test]
async fn redisson_2665_work_of_a_process_that_slept_past_its_lease_is_not_gone_on_with() {
    let (_scripts, lock) = locks().await;
    let went_on = Arc::new(AtomicBool::new(false));
    let (inside, lease) = (Arc::clone(&went_on), Duration::from_millis(300));
    // A task of its own: woken by what came meanwhile, it is polled again before the runtime looks at its timers.
    let stopped = tokio::spawn(async move {
        let work = async |_: &_| {
            let mut has_slept = false;
            poll_fn(|context| {
                if std::mem::replace(&mut has_slept, true) {
                    return Poll::Ready(());
                }
                // The whole thread, as a frozen process: nothing renews, no timer fires.
                #[expect(clippy::disallowed_methods, reason = "to block the executor is the point")]
                std::thread::sleep(2 * lease);
                context.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            inside.store(true, Ordering::SeqCst);
        };
        let options = Options { renew_for: Some(LONG), ..Options::new(Duration::ZERO, lease) };
        lock.with_lock(&names(["a"]), &options, work).await
    });
    let stopped = timeout(PATIENCE, stopped).await.unwrap().unwrap();
    assert!(matches!(stopped, Err(WithLockError::Lost(Lost::LeaseEnds))), "{stopped:?}");
    assert!(!went_on.load(Ordering::SeqCst), "it went on without the lock");
}

#[test]
fn everything_the_lock_tells_is_told_by_its_name_and_commands_can_be_told_by_the_handover() {
    const HANDOVERS: usize = 20;
    let told = telling_labelled(async {
        let (scripts, lock) = locks().await;
        let key = names(["a"]);
        let renewed = Options { renew_for: Some(LONG), ..Options::new(Duration::ZERO, Duration::from_millis(900)) };
        let guard = lock.acquire_with(&key, &renewed).await.unwrap();
        assert!(timeout(Duration::from_millis(500), guard.lost()).await.is_err());
        scripts.command::<i64>(&["DEL", &key[0]]).await;
        assert_eq!(guard.release().await, Released::Expired);
        drop(take(&lock, &key, SHORT).await);
        let waiters = (0..HANDOVERS).map(|_| async {
            let guard = lock.acquire(&key, PATIENCE, LONG).await.unwrap();
            tokio::task::yield_now().await;
            guard.release().await;
        });
        futures_util::future::join_all(waiters).await;
    });
    let all = |metric: &str| -> Vec<f64> {
        told.iter().filter(|((name, _), _)| name == metric).flat_map(|(_, values)| values.clone()).collect()
    };
    let sum = |metric: &str| all(metric).iter().sum::<f64>();
    for metric in lock_metrics() {
        assert!(!all(metric).is_empty(), "nobody tells {metric}: {told:?}");
    }
    assert_eq!((sum(LOCK_LEFT), sum(LOCK_LOST)), (1.0, 1.0));
    assert!(sum(LOCK_RENEWALS) >= 1.0);
    assert_eq!(all(LOCK_WAIT_MS).len(), HANDOVERS + 2, "every lock that was taken");
    assert_eq!(all(LOCK_HOLD_MS).len(), HANDOVERS + 1, "and given back");
    let (commands, contended, woken) = (sum(LOCK_COMMANDS), sum(LOCK_CONTENDED), sum(LOCK_WAKES));
    assert!(contended >= (HANDOVERS - 1) as f64 && woken >= 1.0, "{contended} contended, {woken} woken");
    // A look, an ear, a place in the line, the lock and its release; and a look more where a lease or a quarter second ended.
    assert!((2.0..=8.0).contains(&(commands / HANDOVERS as f64)), "{commands} commands for {HANDOVERS} handovers");
}
