//! A Redis that would forget by itself is refused at the start, where whoever set it up so still looks; one that is away,
//! or does not tell, is not: a store that is down is met lazily.

use local::servers::Redis as Server;
use shared::redis::Redis;

use crate::harness::redis::{command, connect};

#[tokio::test]
async fn one_that_would_evict_is_refused_and_says_how() {
    let server = Server::start().await.unwrap();
    let redis = connect(&server.url()).await;
    for policy in ["allkeys-lru", "volatile-ttl"] {
        command::<()>(&redis, &["CONFIG", "SET", "maxmemory-policy", policy]).await;
        let refused = Redis::connect(&server.url(), 1).await.err().unwrap().to_string();
        assert!(refused.contains(policy) && refused.contains("noeviction"), "{refused}");
    }
    command::<()>(&redis, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    Redis::connect(&server.url(), 1).await.unwrap().now_ms().await.unwrap();
}

#[tokio::test]
async fn one_that_is_away_is_not() {
    let server = Server::start().await.unwrap();
    let url = server.url();
    drop(server);
    Redis::connect(&url, 1).await.unwrap();
}

#[tokio::test]
async fn one_that_keeps_it_to_itself_is_not() {
    let server = Server::start().await.unwrap();
    let redis = connect(&server.url()).await;
    let user = ["ACL", "SETUSER", "shy", "on", ">secret", "~*", "+@all", "-info"];
    command::<()>(&redis, &user).await;
    let url = server.url().replace("redis://", "redis://shy:secret@");
    Redis::connect(&url, 1).await.unwrap().now_ms().await.unwrap();
}
