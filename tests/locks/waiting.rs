//! Who waits for a lock: one is woken by each release, in the order in which they came; a bell that was not heard costs a
//! quarter of a second, and nobody waits for the dead.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use shared::lock::{AcquireError, Lock, Options, Released, Waiting};
use shared::redis::Redis;
use shared::redis::keys;
use shared::telemetry::{LOCK_CONTENDED, LOCK_HOLD_MS, LOCK_RENEWALS, LOCK_WAIT_MS, LOCK_WAKES};
use tokio::time::Instant;

use super::{LONG, locks, names};
use crate::harness::metrics::telling_labelled;
use crate::harness::monitor::Monitor;
use crate::harness::scripts::Scripts;
use crate::harness::{PATIENCE, eventually};

fn patient(lease: Duration) -> Options {
    Options::new(PATIENCE, lease)
}

/// Waits until so many stand in line for a lock.
async fn in_line(scripts: &Scripts, lock: &str, waiters: i64) {
    let [_, line, ..] = keys::parts_of_lock(lock);
    eventually("the waiters to stand in line", || async {
        (scripts.command::<i64>(&["ZCARD", &line]).await == waiters).then_some(())
    })
    .await;
}

#[test]
fn of_64_waiters_and_2000_handovers_one_at_a_time_is_inside_and_nobody_is_woken_by_the_deadline() {
    const WAITERS: usize = 64;
    const HANDOVERS: usize = 2_000;
    let told = telling_labelled(async {
        let (_scripts, lock) = locks().await;
        let (key, left) = (names(["a"]), Arc::new(AtomicUsize::new(HANDOVERS)));
        // Stamps taken inside: whoever is in while another is leaves overlapping spans.
        let history: Arc<Mutex<Vec<(Instant, Instant)>>> = Arc::default();
        let waiters = (0..WAITERS).map(|_| async {
            while left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                let guard = lock.acquire_with(&key, &patient(LONG)).await.unwrap();
                let began = Instant::now();
                tokio::task::yield_now().await;
                history.lock().unwrap().push((began, Instant::now()));
                assert_eq!(guard.release().await, Released::Released);
            }
        });
        join_all(waiters).await;
        let mut history = history.lock().unwrap().clone();
        history.sort();
        assert_eq!(history.len(), HANDOVERS);
        assert!(history.windows(2).all(|pair| pair[0].1 <= pair[1].0), "two were inside");
    });
    let woken = |by: &str| told.get(&(LOCK_WAKES.to_owned(), by.to_owned())).map_or(0.0, |values| values.iter().sum());
    let (bells, polls): (f64, f64) = (woken("bell"), woken("poll"));
    println!("{bells} woken by a bell, {polls} by looking");
    // Whoever stands far behind also looks now and then; nearly each handover is to one who was rung for.
    assert!(bells >= 0.9 * (HANDOVERS - WAITERS) as f64, "{bells} bells, {polls} looks");
    assert_eq!(told[&(LOCK_WAIT_MS.to_owned(), String::new())].len(), HANDOVERS);
    assert_eq!(told[&(LOCK_HOLD_MS.to_owned(), String::new())].len(), HANDOVERS);
    assert!(told.contains_key(&(LOCK_CONTENDED.to_owned(), String::new())));
    assert!(!told.contains_key(&(LOCK_RENEWALS.to_owned(), String::new())), "nobody asked for it");
}

#[tokio::test]
async fn a_release_wakes_one_waiter_and_costs_two_commands_a_handover() {
    const WAITERS: usize = 8;
    let (scripts, lock) = locks().await;
    let (key, url) = (names(["a"]), scripts.url());
    let held = lock.try_acquire(&key, LONG).await.unwrap();
    let mut waiting: Vec<_> = (0..WAITERS)
        .map(|_| {
            let (lock, key) = (lock.clone(), key.clone());
            tokio::spawn(async move { lock.acquire_with(&key, &patient(LONG)).await.unwrap() })
        })
        .collect();
    in_line(&scripts, &key[0], WAITERS as i64).await;
    let mut monitor = Monitor::start(&url).await;
    held.release().await;
    let (first, _, rest) = futures_util::future::select_all(waiting.drain(..)).await;
    // The release, the acquire of who was woken, and looks of others that were due just then.
    let evals = monitor.commands().await.iter().filter(|command| command.contains("EVALSHA")).count();
    assert!((2..=2 + WAITERS).contains(&evals), "{evals}");
    assert!(rest.iter().all(|waiter| !waiter.is_finished()));
    first.unwrap().release().await;
    let mut rest: FuturesUnordered<_> = rest.into_iter().collect();
    while let Some(next) = rest.next().await {
        next.unwrap().release().await;
    }
}

#[tokio::test]
async fn redisson_1763_a_release_before_the_subscription_is_live_is_noticed_at_once() {
    // The lock is given back between the first look and the subscription: nobody is in line yet, so no bell rings.
    let (scripts, lock) = locks().await;
    let key = names(["a"]);
    let other = Lock::new(Redis::connect(&scripts.url(), 1).await.unwrap());
    for _ in 0..50 {
        let held = lock.try_acquire(&key, LONG).await.unwrap();
        let options = patient(LONG);
        let (taken, _) = tokio::join!(other.acquire_with(&key, &options), held.release());
        taken.unwrap().release().await;
    }
}

#[tokio::test]
async fn who_waits_longer_is_woken_first_and_with_fairness_nobody_comes_in_between() {
    let (scripts, lock) = locks().await;
    let key = names(["a"]);
    let held = lock.try_acquire(&key, LONG).await.unwrap();
    let order: Arc<Mutex<Vec<usize>>> = Arc::default();
    let mut waiting = Vec::new();
    for n in 0..5 {
        let (lock, names, order) = (lock.clone(), key.clone(), Arc::clone(&order));
        waiting.push(tokio::spawn(async move {
            let guard = lock.acquire_with(&names, &Options { fair: true, ..patient(LONG) }).await.unwrap();
            order.lock().unwrap().push(n);
            guard.release().await;
        }));
        in_line(&scripts, &key[0], n as i64 + 1).await;
    }
    held.release().await;
    // Free or not: somebody stands in line.
    let pushy = Options { fair: true, ..Options::new(Duration::ZERO, LONG) };
    if let Ok(guard) = lock.acquire_with(&key, &pushy).await {
        assert_eq!(order.lock().unwrap().len(), 5, "it came before those who waited");
        guard.release().await;
    }
    for waiter in waiting {
        waiter.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_dead_waiter_is_passed_over() {
    let (scripts, lock) = locks().await;
    let key = names(["a"]);
    let held = lock.try_acquire(&key, LONG).await.unwrap();
    // One that died while it stood in line: its process said nothing.
    let dead = tokio::spawn({
        let (lock, key) = (lock.clone(), key.clone());
        async move { lock.acquire_with(&key, &patient(LONG)).await.map(drop) }
    });
    in_line(&scripts, &key[0], 1).await;
    dead.abort();
    assert!(dead.await.unwrap_err().is_cancelled());
    let fair = Options { fair: true, ..patient(LONG) };
    let next = tokio::spawn({
        let (lock, key) = (lock.clone(), key.clone());
        async move { lock.acquire_with(&key, &fair).await.unwrap() }
    });
    in_line(&scripts, &key[0], 2).await;
    held.release().await;
    let guard = tokio::time::timeout(PATIENCE, next).await.expect("it waits for the dead").unwrap();
    assert_eq!(guard.release().await, Released::Released);
}

#[tokio::test]
async fn who_gives_up_leaves_the_line_and_is_told_that_others_hold_it() {
    let (scripts, lock) = locks().await;
    let key = names(["a"]);
    let held = lock.try_acquire(&key, LONG).await.unwrap();
    for waiting in [Waiting::Bell, Waiting::Spin { pause: Duration::from_millis(10), jitter: Duration::from_millis(5) }]
    {
        let options = Options { waiting, ..Options::new(Duration::from_millis(60), LONG) };
        let refused = lock.acquire_with(&key, &options).await;
        assert!(matches!(refused, Err(AcquireError::Taken)), "{waiting:?}");
        in_line(&scripts, &key[0], 0).await;
    }
    held.release().await;
}

#[tokio::test]
async fn a_spinning_waiter_takes_what_is_given_back() {
    let (_scripts, lock) = locks().await;
    let key = names(["a"]);
    let held = lock.try_acquire(&key, LONG).await.unwrap();
    let waiting = Waiting::Spin { pause: Duration::from_millis(5), jitter: Duration::from_millis(5) };
    let options = Options { waiting, ..patient(LONG) };
    let (taken, released) = tokio::join!(lock.acquire_with(&key, &options), held.release());
    assert_eq!((taken.unwrap().release().await, released), (Released::Released, Released::Released));
}

#[tokio::test]
async fn redisson_5046_any_number_of_locks_and_waiters_share_one_subscription() {
    let (scripts, lock) = locks().await;
    let keys: Vec<Vec<String>> = (0..20).map(|n| vec![format!("{}{n}", names(["many"])[0])]).collect();
    let held = join_all(keys.iter().map(|key| lock.try_acquire(key, LONG))).await;
    let waiting: Vec<_> = keys
        .iter()
        .map(|key| {
            let (lock, key) = (lock.clone(), key.clone());
            tokio::spawn(async move { lock.acquire_with(&key, &patient(LONG)).await.unwrap() })
        })
        .collect();
    for key in &keys {
        in_line(&scripts, &key[0], 1).await;
    }
    let channels: Vec<String> = scripts.command(&["PUBSUB", "CHANNELS"]).await;
    assert_eq!(channels.len(), 1, "{channels:?}");
    for guard in held {
        guard.unwrap().release().await;
    }
    for waiter in waiting {
        waiter.await.unwrap().release().await;
    }
}

#[tokio::test]
async fn a_waiter_whose_ear_was_cut_off_hears_again_or_looks() {
    let (scripts, lock) = locks().await;
    let key = names(["a"]);
    let held = lock.try_acquire(&key, LONG).await.unwrap();
    let waiter = tokio::spawn({
        let (lock, key) = (lock.clone(), key.clone());
        async move { lock.acquire_with(&key, &patient(LONG)).await.unwrap() }
    });
    in_line(&scripts, &key[0], 1).await;
    scripts.command::<i64>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    held.release().await;
    let guard = tokio::time::timeout(PATIENCE, waiter).await.expect("it never looked").unwrap();
    guard.release().await;
}
