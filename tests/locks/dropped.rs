//! Futures dropped wherever they wait: an acquire, an extension, a release and work under a lock that end in the middle, on one
//! server or several, leave nothing behind that its lease does not end, and nobody waits for a waiter that is not there.

use std::time::Duration;

use futures_util::future::join_all;
use local::servers::Redis as Server;
use shared::lock::{Lock, Options, Released};
use shared::redis::Redis;
use tokio::time::timeout;

use super::{LONG, locks, names, until_gone};
use crate::harness::{PATIENCE, dropped_after, eventually, redis};

/// A lease that is short enough to wait for.
const LEASE: Duration = Duration::from_millis(80);

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

#[tokio::test]
async fn work_under_a_lock_dropped_at_any_of_its_await_points_leaves_nothing_beyond_the_lease() {
    let (scripts, lock) = locks().await;
    let key = names(["a"]);
    let options = Options { renew_for: Some(LONG), ..Options::new(PATIENCE, LEASE) };
    let mut polls = 1;
    loop {
        // The work itself waits for a server.
        let work = async |_: &_| scripts.command::<String>(&["PING"]).await;
        let done = dropped_after(polls, lock.with_lock(&key, &options, work)).await;
        until_gone(&scripts, &key[0]).await;
        if let Some(done) = done {
            assert_eq!(done.unwrap(), "PONG");
            break;
        }
        polls += 1;
    }
    assert!(polls > 3, "it was dropped before the work, in it and behind it: {polls}");
}

#[tokio::test]
async fn what_a_majority_gives_dropped_at_any_of_its_await_points_leaves_nothing_beyond_the_lease() {
    let servers = join_all((0..3).map(|_| async { Server::start().await.unwrap() })).await;
    let nodes = join_all(servers.iter().map(|server| {
        let url = server.url();
        async move { Redis::connect(&url, 1).await.unwrap() }
    }));
    let (lock, key) = (Lock::quorum(nodes.await).unwrap(), names(["a"]));
    let all_gone = async || {
        for server in &servers {
            let raw = redis::connect(&server.url()).await;
            eventually("the lease to end", || async {
                (redis::command::<i64>(&raw, &["EXISTS", &key[0]]).await == 0).then_some(())
            })
            .await;
        }
    };
    let (mut polls, mut done) = (1, [false; 3]);
    while done != [true; 3] {
        let taken = dropped_after(polls, lock.acquire(&key, PATIENCE, LEASE)).await;
        done[0] = taken.is_some();
        drop(taken);
        all_gone().await;
        let guard = lock.acquire(&key, PATIENCE, LEASE).await.unwrap();
        done[1] = dropped_after(polls, guard.extend(LEASE)).await.is_some();
        drop(guard);
        all_gone().await;
        let guard = lock.acquire(&key, PATIENCE, LEASE).await.unwrap();
        done[2] = dropped_after(polls, guard.release()).await.is_some();
        all_gone().await;
        polls += 1;
    }
    assert!(polls > 2, "nothing was dropped in the middle");
    lock.acquire(&key, PATIENCE, LEASE).await.unwrap().release().await;
}
