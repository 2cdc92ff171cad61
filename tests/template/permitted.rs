//! The cache's user may all that the functions do, and nothing that reaches beyond their keys.

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Value};
use local::servers::{Redis, ServerSet};

use super::reading::Stack;
use crate::harness::Office;
use crate::harness::functions::{Functions, events, goldens, json_files, root};
use crate::harness::redis::{command, connect};

/// The access string of the template, as words of `ACL SETUSER`.
fn access() -> Vec<String> {
    let stack = Stack::read();
    let user = stack.only("AWS::ElastiCache::User").unwrap_or_else(|findings| panic!("{findings:?}"));
    user.property("/AccessString").as_str().unwrap().split(' ').map(str::to_owned).collect()
}

async fn with_user(admin: &Client, url: &str) -> String {
    let access = access();
    let words = ["ACL", "SETUSER", "tickets", ">secret"].into_iter().chain(access.iter().map(String::as_str));
    command::<()>(admin, &words.collect::<Vec<_>>()).await;
    url.replace("redis://", "redis://tickets:secret@")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_payload_is_answered_with_what_the_cache_s_user_may() {
    let office = Office::open(ServerSet::Embedded).await;
    for (file, document) in json_files(&root().join("local/venues")) {
        office.sells(file.trim_end_matches(".json"), &document).await;
    }
    let url = office.system.servers().redis_url();
    let admin = connect(&url).await;
    let mut config = office.system.config().clone();
    config.redis_url = with_user(&admin, &url).await;
    let (functions, goldens) = (Functions::with(&config).await, goldens());
    for (name, event) in events() {
        match name.split('-').next() {
            Some("http") => {
                office.drained().await;
                let status = functions.http(&event).await.status().as_u16();
                assert_eq!(status, goldens[&name]["statusCode"], "{name}");
            }
            Some("kafka") => assert_eq!(functions.kafka(event).await, goldens[&name], "{name}"),
            _ => assert_eq!(functions.schedule(event).await["error_type"], goldens[&name]["error_type"], "{name}"),
        }
    }
    // Whatever was answered, inside a script or out of it.
    let denied: Vec<String> = command(&admin, &["ACL", "LOG"]).await;
    assert!(denied.is_empty(), "{denied:?}");
    office.close().await;
}

#[tokio::test]
async fn nothing_beyond_our_keys_is_permitted() {
    let server = Redis::start().await.unwrap();
    let admin = connect(&server.url()).await;
    let url = with_user(&admin, &server.url()).await;
    let user = connect(&url).await;
    command::<()>(&user, &["SET", "t1:{e}:views", "1"]).await;
    for words in [
        &["GET", "somebody:else"][..],
        &["FLUSHALL"],
        &["KEYS", "*"],
        &["CONFIG", "GET", "maxmemory"],
        &["ACL", "LIST"],
        &["SUBSCRIBE", "somebody"],
        &["EVAL", "return redis.call('GET', 'somebody:else')", "0"],
    ] {
        let name = CustomCommand::new(words[0].to_owned(), ClusterHash::FirstKey, false);
        let args: Vec<Value> = words[1..].iter().map(|word| (*word).into()).collect();
        let answer: Result<Value, Error> = user.custom(name, args).await;
        let refused = answer.err().unwrap_or_else(|| panic!("{words:?} is permitted")).to_string();
        let denied = ["permission", "can't access"].iter().any(|word| refused.contains(word));
        assert!(denied, "{words:?}: {refused}");
    }
}
