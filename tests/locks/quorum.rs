//! Redlock: a lock that a majority of independent servers gives, with some of them killed or frozen; and the step by step of
//! how a failover gives one lock twice, which is why no seat depends on one.

use std::time::Duration;

use local::client::ApiClient;
use local::config::DEVELOPMENT_KEY;
use local::gateway::Gateway;
use local::servers::{Redis as Server, ServerSet};
use reservation_api::App;
use scheduled_jobs::{Jobs, run_job};
use serde_json::json;
use shared::clock;
use shared::domain::ids::EventId;
use shared::lock::{AcquireError, Extended, Lock, Released};
use shared::redis::{Redis, keys};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{LONG, names};
use crate::harness::{Office, PATIENCE, eventually, hall, redis, signal};

/// Independent servers.
async fn servers(count: usize) -> Vec<Server> {
    futures_util::future::join_all((0..count).map(|_| async { Server::start().await.unwrap() })).await
}

async fn quorum(servers: &[Server]) -> Lock {
    let connect = |server: &Server| {
        let url = server.url();
        async move { Redis::connect(&url, 1).await.unwrap() }
    };
    Lock::quorum(futures_util::future::join_all(servers.iter().map(connect)).await).unwrap()
}

async fn has(server: &Server, key: &str) -> bool {
    redis::command::<i64>(&redis::connect(&server.url()).await, &["EXISTS", key]).await == 1
}

#[tokio::test]
async fn a_majority_gives_and_takes_back_everywhere() {
    for count in [1, 3, 5] {
        let servers = servers(count).await;
        let (one, other, key) = (quorum(&servers).await, quorum(&servers).await, names(["a"]));
        let guard = one.try_acquire(&key, LONG).await.unwrap();
        assert_eq!(guard.fencing_token().is_some(), count == 1, "several counters are no order");
        assert!(matches!(other.try_acquire(&key, LONG).await, Err(AcquireError::Taken)));
        assert_eq!(guard.extend(LONG).await, Extended::Extended);
        assert_eq!(guard.release().await, Released::Released);
        for server in &servers {
            assert!(!has(server, &key[0]).await);
        }
        other.try_acquire(&key, LONG).await.unwrap().release().await;
    }
}

#[tokio::test]
async fn a_minority_that_is_killed_or_frozen_stops_nobody() {
    let mut servers = servers(5).await;
    let (lock, key) = (quorum(&servers).await, names(["a"]));
    let before = lock.try_acquire(&key, LONG).await.unwrap();
    servers.pop().unwrap().stop().await.unwrap();
    let frozen = servers.pop().unwrap();
    signal("-STOP", frozen.pid());
    assert_eq!(before.extend(LONG).await, Extended::Extended);
    assert_eq!(before.release().await, Released::Released);
    let after = lock.try_acquire(&key, LONG).await.unwrap();
    assert_eq!(after.release().await, Released::Released);
    signal("-CONT", frozen.pid());
}

#[tokio::test]
async fn redisson_rs_where_a_majority_is_frozen_nobody_has_the_lock_and_none_of_it_stays() {
    let servers = servers(3).await;
    let (lock, key) = (quorum(&servers).await, names(["a"]));
    for server in &servers[1..] {
        signal("-STOP", server.pid());
    }
    assert!(matches!(lock.try_acquire(&key, LONG).await, Err(AcquireError::Unavailable(_))));
    assert!(!has(&servers[0], &key[0]).await, "what it gave is given back");
    for server in &servers[1..] {
        signal("-CONT", server.pid());
    }
    // What reached the frozen ones was the acquire, and then the release.
    for server in &servers[1..] {
        eventually("the release to arrive", || async { (!has(server, &key[0]).await).then_some(()) }).await;
    }
    lock.try_acquire(&key, LONG).await.unwrap().release().await;
}

#[tokio::test]
async fn a_minority_that_another_holds_is_no_obstacle_and_a_majority_is() {
    let servers = servers(3).await;
    let (lock, key) = (quorum(&servers).await, names(["a"]));
    let set = async |server: &Server| {
        redis::command::<String>(&redis::connect(&server.url()).await, &["SET", &key[0], "other", "PX", "600000"]).await
    };
    set(&servers[0]).await;
    let guard = lock.try_acquire(&key, LONG).await.unwrap();
    set(&servers[1]).await;
    assert_eq!(guard.extend(LONG).await, Extended::TakenByOther);
    assert_eq!(guard.release().await, Released::TakenByOther);
    assert!(matches!(lock.try_acquire(&key, LONG).await, Err(AcquireError::Taken)));
    assert!(has(&servers[0], &key[0]).await && has(&servers[1], &key[0]).await, "what is another's stays");
    assert!(!has(&servers[2], &key[0]).await);
}

#[tokio::test]
async fn quorum_waiters_are_woken_or_look() {
    let servers = servers(3).await;
    let (one, other, key) = (quorum(&servers).await, quorum(&servers).await, names(["a"]));
    for _ in 0..5 {
        let held = one.try_acquire(&key, LONG).await.unwrap();
        let (taken, _) = tokio::join!(other.acquire(&key, Duration::from_secs(20), LONG), held.release());
        taken.unwrap().release().await;
    }
}

#[tokio::test]
async fn a_failover_that_lost_the_grant_gives_the_lock_twice_on_one_server_and_not_by_a_quorum_of_others() {
    let (primary, replica) = (Server::start().await.unwrap(), Server::start().await.unwrap());
    let to_replica = redis::connect(&replica.url()).await;
    redis::command::<String>(&to_replica, &["REPLICAOF", "127.0.0.1", &primary.port().to_string()]).await;
    let key = names(["a"]);
    let of = async |server: &Server| Lock::new(Redis::connect(&server.url(), 1).await.unwrap());
    eventually("the replica to follow", || async {
        let info: String = redis::command(&to_replica, &["INFO", "replication"]).await;
        info.contains("master_link_status:up").then_some(())
    })
    .await;
    // The replica hears no more; the primary grants, and dies; the replica is promoted without the grant.
    redis::command::<String>(&to_replica, &["REPLICAOF", "NO", "ONE"]).await;
    let first = of(&primary).await.try_acquire(&key, LONG).await.unwrap();
    signal("-STOP", primary.pid());
    let second = of(&replica).await.try_acquire(&key, LONG).await.unwrap();
    assert!(
        first.valid_for() > Duration::ZERO && second.valid_for() > Duration::ZERO,
        "both hold it, and both are right"
    );
    // Even its number is no protection: it begins anew.
    assert_eq!((first.fencing_token(), second.fencing_token()), (Some(1), Some(1)));
    signal("-CONT", primary.pid());
}

#[tokio::test]
async fn a_cold_section_is_loaded_and_a_job_is_run_under_the_lock_of_the_servers_that_are_named() {
    let (office, servers) = (Office::open(ServerSet::Embedded).await, servers(3).await);
    office.sells("cold", &hall::small(1, 3)).await;
    let mut config = office.system.config().clone();
    config.lock_redis_urls = servers.iter().map(Server::url).collect();
    let app = App::connect(&config).await.unwrap();
    let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Gateway::start(gateway, DEVELOPMENT_KEY.to_owned(), reservation_api::router(app)).unwrap();
    let client = ApiClient::new(&format!("http://{}", gateway.addr())).unwrap();
    let main = redis::connect(&office.system.servers().redis_url()).await;
    redis::command::<String>(&main, &["FLUSHALL"]).await;
    let map = client.get("/events/cold/seats").await.unwrap();
    assert_eq!(map.status, 200, "{}", map.body);
    let lock = keys::lock(&EventId::parse("cold").unwrap(), "load:A");
    let [_, _, _, fence] = keys::parts_of_lock(&lock);
    for server in &servers {
        assert!(has(server, &fence).await, "it was taken there");
        assert!(!has(server, &lock).await, "and given back");
    }
    assert_eq!(redis::command::<i64>(&main, &["EXISTS", &fence]).await, 0);
    // A job's, too.
    let jobs = Jobs::connect(&config).await.unwrap();
    let payload = json!({ "job": "write_back" });
    run_job(&jobs, payload, clock::wall_ms(), Instant::now() + PATIENCE).await.unwrap();
    let [_, _, _, fence] = keys::parts_of_lock(&keys::job_lock("write_back"));
    for server in &servers {
        assert!(has(server, &fence).await, "the job's lock was taken there");
    }
    gateway.stop().await;
    office.close().await;
}
