//! Futures dropped wherever they wait: an acquire, an extension and a release that end in the middle leave nothing behind that
//! its lease does not end, and nobody waits for a waiter that is not there.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use shared::lock::{Options, Released};
use tokio::time::timeout;

use super::{LONG, locks, names, until_gone};
use crate::harness::PATIENCE;

/// A lease that is short enough to wait for.
const LEASE: Duration = Duration::from_millis(80);

/// Polls a future so often, each time that what it waits for has come, and drops it; `None` = it was not done by then.
async fn dropped_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut left) = (pin!(future), polls);
    poll_fn(|context| {
        left -= 1;
        match future.poll_unpin(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test]
async fn an_acquire_dropped_at_any_of_its_await_points_leaves_nothing_beyond_its_lease() {
    let (scripts, lock) = locks().await;
    let key = names(["a"]);
    let (mut polls, mut dropped) = (1, 0);
    // A free lock: asked for, answered, taken.
    loop {
        let taken = dropped_after(polls, lock.acquire(&key, PATIENCE, LEASE)).await;
        let is_done = taken.is_some();
        drop(taken);
        until_gone(&scripts, &key[0]).await;
        if is_done {
            break;
        }
        dropped += 1;
        polls += 1;
    }
    assert!(dropped > 0, "it was never dropped in the middle");
    // A lock that another has: looked at, subscribed, in line, waiting, and looked at again.
    for polls in 1..20 {
        let held = lock.try_acquire(&key, LONG).await.unwrap();
        let options = Options { fair: true, ..Options::new(PATIENCE, LEASE) };
        assert!(dropped_after(polls, lock.acquire_with(&key, &options)).await.is_none());
        assert_eq!(held.release().await, Released::Released);
    }
    let next =
        timeout(PATIENCE, lock.acquire_with(&key, &Options { fair: true, ..Options::new(PATIENCE, LEASE) })).await;
    next.expect("it waits for those who are gone").unwrap().release().await;
}

#[tokio::test]
async fn a_release_dropped_at_any_of_its_await_points_leaves_nothing_beyond_the_lease() {
    let (scripts, lock) = locks().await;
    let key = names(["a"]);
    let mut polls = 1;
    loop {
        let guard = lock.acquire(&key, PATIENCE, LEASE).await.unwrap();
        let released = dropped_after(polls, guard.release()).await;
        until_gone(&scripts, &key[0]).await;
        if released.is_some() {
            break;
        }
        polls += 1;
    }
    assert!(polls > 1, "it was never dropped in the middle");
}

#[tokio::test]
async fn an_extension_dropped_in_the_middle_leaves_a_lease_that_ends() {
    let (scripts, lock) = locks().await;
    let key = names(["a"]);
    let mut polls = 1;
    loop {
        let guard = lock.acquire(&key, PATIENCE, LEASE).await.unwrap();
        let extended = dropped_after(polls, guard.extend(LEASE)).await;
        drop(guard);
        until_gone(&scripts, &key[0]).await;
        if extended.is_some() {
            break;
        }
        polls += 1;
    }
}
