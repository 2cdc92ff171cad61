//! Answers that were lost, and requests that come late: what is asked again is the same, and what nobody waits for takes nothing.

use std::time::Duration;

use shared::lock::{AcquireError, Options, Released};
use shared::redis::keys;
use tokio::time::timeout;

use super::{LONG, behind_a_proxy, locks, names, take, until_gone};
use crate::harness::PATIENCE;
use crate::harness::scripts::Scripts;

/// Runs a script of the lock on the lock `a`.
async fn run(scripts: &Scripts, script: &str, args: &[&str]) -> Vec<i64> {
    let text = match script {
        "acquire" => concat!(
            include_str!("../../shared/src/lock/scripts/waiters.lua"),
            include_str!("../../shared/src/lock/scripts/acquire.lua")
        ),
        _ => concat!(
            include_str!("../../shared/src/lock/scripts/waiters.lua"),
            include_str!("../../shared/src/lock/scripts/release.lua")
        ),
    };
    let parts = keys::parts_of_lock(&names(["a"])[0]);
    let words = ["EVAL", text, "4"].into_iter().chain(parts.iter().map(String::as_str)).chain(args.iter().copied());
    scripts.command(&words.collect::<Vec<_>>()).await
}

async fn acquire(scripts: &Scripts, token: &str) -> Vec<i64> {
    run(scripts, "acquire", &[token, "60000", "", "1000", "0"]).await
}

async fn release(scripts: &Scripts, token: &str) -> i64 {
    run(scripts, "release", &[token, "1000"]).await[0]
}

#[tokio::test]
async fn an_acquire_whose_answer_was_lost_is_its_own_when_it_asks_again() {
    // What the client does by itself when a connection breaks after the script ran: the same token, once more.
    let scripts = Scripts::start().await;
    for (token, expected) in [("mine", 1), ("mine", 1), ("another's", 0), ("mine", 1)] {
        let taken = acquire(&scripts, token).await;
        assert_eq!(taken[0], expected, "{token}");
        // The one that asked again is the same holder.
        assert!(taken[0] == 0 || taken[1] == 1, "{taken:?}");
    }
}

#[tokio::test]
async fn a_release_that_is_asked_again_says_the_same() {
    let scripts = Scripts::start().await;
    acquire(&scripts, "mine").await;
    assert_eq!((release(&scripts, "mine").await, release(&scripts, "mine").await), (1, 1));
    // Also where the next one has it by then, whose it stays.
    assert_eq!(acquire(&scripts, "next").await, [1, 2]);
    assert_eq!(release(&scripts, "mine").await, 1);
    assert_eq!(acquire(&scripts, "third").await[0], 0);
    // What had run out has run out, however often one asks.
    scripts.command::<i64>(&["DEL", &names(["a"])[0]]).await;
    assert_eq!((release(&scripts, "next").await, release(&scripts, "next").await), (0, 0));
}

#[tokio::test]
async fn an_acquire_that_comes_after_its_own_release_takes_nothing() {
    let scripts = Scripts::start().await;
    acquire(&scripts, "mine").await;
    release(&scripts, "mine").await;
    assert_eq!(acquire(&scripts, "mine").await[0], 0, "sent before the release, and delivered behind it");
    // Given up before it arrived.
    assert_eq!(release(&scripts, "late").await, 0);
    assert_eq!(acquire(&scripts, "late").await[0], 0);
    assert_eq!(acquire(&scripts, "next").await, [1, 2]);
}

#[tokio::test]
async fn a_release_whose_answer_was_cut_off_is_not_called_a_lock_that_ran_out() {
    let (scripts, proxy, lock) = behind_a_proxy().await;
    let guard = take(&lock, &names(["a"]), LONG).await;
    // The script runs, its answer is cut off, and the client asks again on another connection.
    proxy.cut_once_after(0);
    let released = guard.release().await;
    assert!([Released::Released, Released::Unknown].contains(&released), "{released:?}");
    assert_eq!(proxy.cuts(), 1);
    until_gone(&scripts, &names(["a"])[0]).await;
}

#[tokio::test]
async fn an_acquire_that_nobody_waits_for_any_more_is_given_back() {
    let (scripts, lock) = locks().await;
    let key = names(["a"]);
    // The server knows the scripts.
    take(&lock, &key, LONG).await.release().await;
    for taken in 2..=4 {
        // Longer than an answer is waited for: what was asked is done all the same, afterwards.
        scripts.command::<String>(&["CLIENT", "PAUSE", "400"]).await;
        let refused = timeout(PATIENCE, lock.acquire_with(&key, &Options::new(Duration::ZERO, LONG))).await.unwrap();
        assert!(matches!(refused, Err(AcquireError::Unavailable(_))), "{taken}");
        until_gone(&scripts, &key[0]).await;
        let [.., counter] = keys::parts_of_lock(&key[0]);
        let counter: String = scripts.command(&["GET", &counter]).await;
        assert!(counter.starts_with(&format!("{taken} ")), "it was not given and given back: {counter}");
    }
}

#[tokio::test]
async fn a_release_that_redis_does_not_answer_is_unknown() {
    let (scripts, lock) = locks().await;
    let guard = take(&lock, &names(["a"]), LONG).await;
    scripts.command::<String>(&["CLIENT", "PAUSE", "600"]).await;
    assert_eq!(guard.release().await, Released::Unknown);
}
