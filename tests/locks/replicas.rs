//! A grant that replicas were waited for: where one of them is promoted, the lock is still held; where too few have heard of it,
//! nobody has it.

use std::time::Duration;

use local::servers::Redis as Server;
use shared::lock::{AcquireError, Lock, Options, Released};
use shared::redis::Redis;

use super::{LONG, is_taken, names};
use crate::harness::{eventually, redis, signal};

/// A server, a replica of it that follows, and locks on the former.
async fn pair() -> (Server, Server, Lock) {
    let (primary, replica) = (Server::start().await.unwrap(), Server::start().await.unwrap());
    let to_replica = redis::connect(&replica.url()).await;
    redis::command::<String>(&to_replica, &["REPLICAOF", "127.0.0.1", &primary.port().to_string()]).await;
    let to_primary = redis::connect(&primary.url()).await;
    eventually("the replica to follow", || async {
        let info: String = redis::command(&to_primary, &["INFO", "replication"]).await;
        info.contains("state=online").then_some(())
    })
    .await;
    let lock = Lock::new(Redis::connect(&primary.url(), 1).await.unwrap());
    (primary, replica, lock)
}

fn with(replicas: usize) -> Options {
    Options { replicas, ..Options::new(Duration::from_secs(20), LONG) }
}

#[tokio::test]
async fn a_failover_to_a_replica_that_was_waited_for_does_not_give_the_lock_again() {
    let (primary, replica, lock) = pair().await;
    let guard = lock.acquire_with(&names(["a"]), &with(1)).await.unwrap();
    primary.stop().await.unwrap();
    let to_replica = redis::connect(&replica.url()).await;
    redis::command::<String>(&to_replica, &["REPLICAOF", "NO", "ONE"]).await;
    let promoted = Lock::new(Redis::connect(&replica.url(), 1).await.unwrap());
    assert!(is_taken(&promoted, &names(["a"])).await, "two would hold it");
    drop(guard);
}

#[tokio::test]
async fn redisson_handle_no_sync_a_grant_that_too_few_replicas_have_heard_of_is_undone() {
    let (primary, replica, lock) = pair().await;
    let key = names(["a"]);
    let refused = |options: Options| {
        let (lock, key) = (lock.clone(), key.clone());
        async move { lock.acquire_with(&key, &Options { wait: Duration::ZERO, ..options }).await }
    };
    assert!(matches!(refused(with(2)).await, Err(AcquireError::Unreplicated)), "there is one replica");
    signal("-STOP", replica.pid());
    assert!(matches!(refused(with(1)).await, Err(AcquireError::Unreplicated)));
    let to_primary = redis::connect(&primary.url()).await;
    assert_eq!(redis::command::<i64>(&to_primary, &["EXISTS", &key[0]]).await, 0, "it is given back");
    // Who asks for no replica has it, and who waits has it once the replica is back.
    assert!(!is_taken(&lock, &key).await);
    signal("-CONT", replica.pid());
    let guard = lock.acquire_with(&key, &with(1)).await.unwrap();
    assert_eq!(guard.release().await, Released::Released);
}
