//! The bell: it wakes by itself, and whatever becomes of it, looking makes up for it.

use std::time::Duration;

use fred::clients::Client;
use local::client::Answer;
use local::servers::ServerSet;
use shared::domain::ids::ReservationId;
use shared::domain::reservation::{Decision, Outcome};
use shared::dynamodb::reservations::Repository;
use shared::dynamodb::rows::ReservationRow;
use shared::redis::bell::Bells;
use shared::redis::keys;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::desk::{Desk, NEVER, applied, reserve_waiting};
use super::{HALL, selling};
use crate::harness::handmade::reservation_id;
use crate::harness::proxy::Proxy;
use crate::harness::scripts::{Attempt, Scripts, request};
use crate::harness::{Office, PATIENCE, Wishes, eventually, hall, redis, signal};

/// How many listen on the bell of a reservation, by Redis' own count.
async fn listeners(redis: &Client, id: &ReservationId) -> i64 {
    redis::command::<(String, i64)>(redis, &["PUBSUB", "NUMSUB", &keys::record(id)]).await.1
}

/// Waits until so many listen.
async fn heard_by(redis: &Client, id: &ReservationId, expected: i64) {
    eventually("the bell being listened to", || async { (listeners(redis, id).await == expected).then_some(()) }).await;
}

/// The connections that listen to anything, by their ids.
async fn ears(redis: &Client) -> Vec<String> {
    let list: String = redis::command(redis, &["CLIENT", "LIST", "TYPE", "pubsub"]).await;
    list.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bell_wakes_everybody_on_it_and_nobody_else_and_nobody_has_to_look() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let (alice, bob) = (Attempt::new(&event, "alice", "k", &["A-1-1"]), Attempt::new(&event, "bob", "k", &["A-1-2"]));
    let bells = Bells::new(scripts.redis.clone());
    assert!(ears(&scripts.raw).await.is_empty(), "the connection is opened by the first who waits");
    let look = Notify::new();
    let (mut first, mut second) = (Box::pin(bells.rung(&alice.id, &look)), Box::pin(bells.rung(&alice.id, &look)));
    let mut other = Box::pin(bells.rung(&bob.id, &look));
    let truth = async {
        heard_by(&scripts.raw, &alice.id, 1).await;
        heard_by(&scripts.raw, &bob.id, 1).await;
        assert_eq!(ears(&scripts.raw).await.len(), 1, "one connection for everybody");
        let claimed = request(&scripts.granted(&event, &alice).await.0);
        let row = ReservationRow::new(&claimed, Decision::plain(Outcome::Held));
        scripts.truths.write(&row.truth(&[])).await.unwrap();
    };
    let woken = async {
        tokio::select! {
            ((), (), ()) = async { tokio::join!(&mut first, &mut second, truth) } => {}
            () = &mut other => panic!("somebody else's bell"),
        }
    };
    timeout(PATIENCE, woken).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_who_never_looks_is_woken_by_the_bell() {
    let office = selling(ServerSet::Embedded).await;
    let desk = Desk::open(&office, Some(NEVER)).await;
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    office.system.event_source().pause();
    let (id, alice) = (reservation_id(HALL, "alice", "k"), desk.customer("alice"));
    let began = Instant::now();
    let (made, ()) = tokio::join!(reserve_waiting(&alice, HALL, "k", "A-1-1", "wait=10"), async {
        heard_by(&redis, &id, 1).await;
        office.system.event_source().resume();
    });
    assert_eq!((made.status, made.text("status")), (201, Some("HELD")), "{}", made.body);
    assert!(began.elapsed() < Duration::from_secs(10), "not woken: {:?}", began.elapsed());
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_lost_is_subscribed_again() {
    let office = selling(ServerSet::Embedded).await;
    let desk = Desk::open(&office, Some(NEVER)).await;
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    office.system.event_source().pause();
    let (id, alice) = (reservation_id(HALL, "alice", "k"), desk.customer("alice"));
    let began = Instant::now();
    let (made, ()) = tokio::join!(reserve_waiting(&alice, HALL, "k", "A-1-1", "wait=10"), async {
        heard_by(&redis, &id, 1).await;
        let before = ears(&redis).await;
        let killed: i64 = redis::command(&redis, &["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        assert_eq!(killed, 1, "{before:?}");
        eventually("another ear", || async {
            let now = ears(&redis).await;
            (now.len() == 1 && now != before).then_some(())
        })
        .await;
        heard_by(&redis, &id, 1).await;
        office.system.event_source().resume();
    });
    assert_eq!((made.status, made.text("status")), (201, Some("HELD")), "{}", made.body);
    assert!(began.elapsed() < Duration::from_secs(10), "not woken: {:?}", began.elapsed());
    office.close().await;
}

/// Somebody waits for so long; the bell rings where nobody hears it. What he was told, and after how long.
async fn unheard(looks_never: bool, seconds: u64) -> (Answer, Duration) {
    let proxy = Proxy::listen().await;
    let wishes = Wishes { front_redis: Some(proxy.front()), ..Wishes::plain(ServerSet::Embedded) };
    proxy.replace("'PUBLISH', record", "'PUBLISH', 'nope'");
    let office = Office::open_with(wishes).await;
    office.sells(HALL, &hall::small(1, 40)).await;
    let desk = Desk::open(&office, looks_never.then_some(NEVER)).await;
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    office.system.event_source().pause();
    let id = reservation_id(HALL, "alice", "k");
    let alice = desk.customer("alice");
    let prefer = format!("wait={seconds}");
    let began = Instant::now();
    let (answer, ()) = tokio::join!(reserve_waiting(&alice, HALL, "k", "A-1-1", &prefer), async {
        heard_by(&redis, &id, 1).await;
        office.system.event_source().resume();
    });
    let after = began.elapsed();
    office.drained().await;
    assert!(proxy.replaced() > 0, "the bell was heard after all");
    office.close().await;
    (answer, after)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bell_that_nobody_hears_is_made_up_for_by_looking() {
    let (made, after) = unheard(false, 10).await;
    assert_eq!((made.status, made.text("status")), (201, Some("HELD")), "{}", made.body);
    assert!(after < Duration::from_secs(10), "the wait was over first: {after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_looking_a_bell_that_nobody_hears_costs_the_whole_wait_and_the_table_still_tells() {
    let (made, after) = unheard(true, 3).await;
    assert!(after >= Duration::from_secs(3), "what has woken him? {after:?}");
    assert_eq!(
        (made.status, made.text("status"), applied(&made)),
        (201, Some("HELD"), Some("wait=3")),
        "{}",
        made.body
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_goes_away_during_a_wait_does_not_hide_the_row() {
    let office = selling(ServerSet::Embedded).await;
    let desk = Desk::open(&office, None).await;
    office.system.event_source().pause();
    let alice = desk.customer("alice");
    let accepted = alice.reserve(HALL, "k", &["A-1-1"]).await.unwrap();
    let id = reservation_id(HALL, "alice", "k");
    let path = format!("/reservations/{}?wait=5", accepted.text("reservation_id").unwrap());
    let repository = Repository::new(office.table().await);
    let (watched, made, ()) =
        tokio::join!(alice.get(&path), reserve_waiting(&alice, HALL, "k", "A-1-1", "wait=5"), async {
            eventually("two who wait", || async { (desk.app.waiting() == 2).then_some(()) }).await;
            signal("-KILL", office.system.servers().redis_pid());
            office.system.event_source().resume();
            eventually("the row", || async { repository.get(&id).await.unwrap() }).await;
        });
    let watched = watched.unwrap();
    assert_eq!((watched.status, watched.text("status")), (200, Some("HELD")), "{}", watched.body);
    assert_eq!((made.status, made.text("status")), (201, Some("HELD")), "{}", made.body);
    office.system.servers().restart_redis().await.unwrap();
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_channels_of_those_who_left_are_given_up_by_the_next_who_comes() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let attempts: Vec<Attempt> =
        ["A-1-1", "A-1-2", "A-1-3"].iter().map(|seat| Attempt::new(&event, "alice", seat, &[seat])).collect();
    let bells = Bells::new(scripts.redis.clone());
    let look = Notify::new();
    for attempt in &attempts {
        tokio::select! {
            () = bells.rung(&attempt.id, &look) => panic!("nobody has rung"),
            () = heard_by(&scripts.raw, &attempt.id, 1) => {}
        }
    }
    let ear = ears(&scripts.raw).await;
    // One leaves where somebody stays; the next gives up the other channels, and not that one.
    tokio::select! {
        () = bells.rung(&attempts[0].id, &look) => panic!("nobody has rung"),
        () = async {
            heard_by(&scripts.raw, &attempts[2].id, 0).await;
            tokio::select! {
                biased;
                () = bells.rung(&attempts[0].id, &look) => panic!("nobody has rung"),
                () = std::future::ready(()) => {}
            }
            tokio::select! {
                () = bells.rung(&attempts[2].id, &look) => panic!("nobody has rung"),
                () = heard_by(&scripts.raw, &attempts[2].id, 1) => {}
            }
            heard_by(&scripts.raw, &attempts[0].id, 1).await;
            heard_by(&scripts.raw, &attempts[1].id, 0).await;
        } => {}
    }
    assert_eq!(ears(&scripts.raw).await, ear, "the connection stays");
}
