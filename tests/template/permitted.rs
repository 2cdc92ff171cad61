//! What the functions do is permitted to them: by their roles in DynamoDB, and to the cache's user in Redis, who may nothing
//! that reaches beyond their keys.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Value};
use local::servers::{Redis, ServerSet};
use local::system::WrapTable;
use serde_json::Value as Json;

use super::reading::{Stack, list, texts};
use crate::harness::functions::{Functions, events, goldens, json_files, root};
use crate::harness::redis::{command, connect};
use crate::harness::wire::{Fate, Wire};
use crate::harness::{Office, Wishes};

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

/// A system that sells the halls the payloads ask for.
async fn selling(wishes: Wishes) -> Office {
    let office = Office::open_with(wishes).await;
    for (file, document) in json_files(&root().join("local/venues")) {
        office.sells(file.trim_end_matches(".json"), &document).await;
    }
    office
}

/// Has every payload of `events/` answered as its golden says.
async fn answer_everything(office: &Office, functions: &Functions) {
    let goldens = goldens();
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
}

/// What was needed: actions, each with the index it was for.
type Needed = Arc<Mutex<BTreeSet<(String, String)>>>;

/// What a request to DynamoDB needs: actions, each on the table (empty) or on an index. A transaction needs what its single
/// writes do.
fn needs(operation: &str, body: &Json) -> Vec<(String, String)> {
    let index = body["IndexName"].as_str().unwrap_or_default();
    let items = body["TransactItems"].as_array().into_iter().flatten();
    let single = |kind: &str| match kind {
        "ConditionCheck" => "ConditionCheckItem".to_owned(),
        kind => format!("{kind}Item"),
    };
    let of_items: Vec<String> =
        items.flat_map(|item| item.as_object().unwrap().keys()).map(|kind| single(kind)).collect();
    let actions = if of_items.is_empty() { vec![operation.to_owned()] } else { of_items };
    actions.into_iter().map(|action| (format!("dynamodb:{action}"), index.to_owned())).collect()
}

/// Whether a role of the template may do that.
fn may(stack: &Stack, role: &str, (action, index): &(String, String)) -> bool {
    let role = stack.of_type("AWS::IAM::Role").find(|resource| resource.id == role).unwrap();
    let documents = list(role.property("/Policies")).into_iter().map(|policy| &policy["PolicyDocument"]["Statement"]);
    documents.flat_map(list).any(|statement| {
        let resources = texts(&statement["Resource"]).join(" ");
        let is_named = match index.as_str() {
            "" => resources.contains("Table Arn") || resources.contains("Table.Arn "),
            index => resources.contains(&format!("/index/{index}")),
        };
        texts(&statement["Action"]).contains(&action.as_str()) && is_named
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_payload_is_answered_with_what_the_functions_roles_may() {
    let roles = ["ReservationApiRole", "ReservationPersistRole", "ScheduledJobsRole"];
    let needed: [Needed; 3] = Default::default();
    let wires = needed.clone().map(|needed| {
        Wire::new(move |operation, body| {
            needed.lock().unwrap().extend(needs(operation, body));
            Fate::Pass
        })
    });
    // Most requests come to the system's own persisting function.
    let under = wires[1].clone();
    let wrap_table: Option<WrapTable> = Some(Box::new(move |table| under.under(&table)));
    let office = selling(Wishes { wrap_table, ..Wishes::plain(ServerSet::Embedded) }).await;
    answer_everything(&office, &Functions::over(&office, wires.each_ref()).await).await;
    office.system.event_source().replay_from_start().await;
    office.drained().await;
    let stack = Stack::read();
    for (role, needed) in roles.iter().zip(&needed) {
        let needed = needed.lock().unwrap();
        assert!(needed.len() >= 2, "{role} needs {needed:?}");
        let denied: Vec<_> = needed.iter().filter(|need| !may(&stack, role, need)).collect();
        assert!(denied.is_empty(), "{role} may not {denied:?}");
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_payload_is_answered_with_what_the_cache_s_user_may() {
    let office = selling(Wishes::plain(ServerSet::Embedded)).await;
    let url = office.system.servers().redis_url();
    let admin = connect(&url).await;
    let mut config = office.system.config().clone();
    config.redis_url = with_user(&admin, &url).await;
    answer_everything(&office, &Functions::with(&config).await).await;
    // One that has just begun finds copies in Redis.
    let page = &events()["http-show-event.json"];
    assert_eq!(Functions::with(&config).await.http(page).await.status(), 200);
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
