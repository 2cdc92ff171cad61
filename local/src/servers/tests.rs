//! Both sets of servers start, answer what the system asks of them, and are gone when they should be.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    error::SdkError,
    operation::transact_write_items::TransactWriteItemsError,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
        ProjectionType, Put, ReturnValuesOnConditionCheckFailure, ScalarAttributeType, TransactWriteItem,
    },
};
use krafka::{Kafka as KafkaClient, Record, admin::DescribeTopicsOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};

use super::{Redis, ServerSet, Servers, StartError, child};

/// What is killed is gone within this.
const GONE_WITHIN: Duration = Duration::from_secs(10);

fn cache() -> PathBuf {
    std::env::temp_dir().join("local-servers-test-cache")
}

async fn ping(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

async fn until_nobody_listens(port: u16) {
    let deadline = Instant::now() + GONE_WITHIN;
    while ping(port).await.is_ok() {
        assert!(Instant::now() < deadline, "still answers on {port}");
        sleep(child::LOOK_EVERY).await;
    }
}

fn client(endpoint: &str) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

fn item(pairs: &[(&str, AttributeValue)]) -> HashMap<String, AttributeValue> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

/// A table with the keys of ours and one index, in which only items with `due` and `time` appear.
async fn create_table(client: &Client, table: &str) {
    let key =
        |name: &str, kind: KeyType| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    let mut request = client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    for name in ["pk", "sk", "due", "time"] {
        let kind = ScalarAttributeType::S;
        let definition = AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap();
        request = request.attribute_definitions(definition);
    }
    let index = GlobalSecondaryIndex::builder()
        .index_name("due")
        .key_schema(key("due", KeyType::Hash))
        .key_schema(key("time", KeyType::Range))
        .projection(Projection::builder().projection_type(ProjectionType::All).build())
        .build()
        .unwrap();
    request
        .key_schema(key("pk", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range))
        .global_secondary_indexes(index)
        .send()
        .await
        .unwrap();
}

fn put_if_absent(table: &str, item: HashMap<String, AttributeValue>) -> TransactWriteItem {
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(item))
        .condition_expression("attribute_not_exists(pk)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()
        .unwrap();
    TransactWriteItem::builder().put(put).build()
}

/// What the system asks of DynamoDB beyond plain reads and writes.
async fn decides_as_the_system_needs(servers: &Servers) {
    let client = client(&servers.dynamodb_endpoint());
    let table = format!("t-{}", uuid::Uuid::new_v4());
    create_table(&client, &table).await;
    let tables = client.list_tables().send().await.unwrap();
    assert!(tables.table_names().contains(&table));

    let first = item(&[("pk", text("a")), ("sk", text("-")), ("owner", text("first"))]);
    let free = item(&[("pk", text("b")), ("sk", text("-")), ("due", text("HELD#0")), ("time", text("1"))]);
    client.put_item().table_name(&table).set_item(Some(first.clone())).send().await.unwrap();
    let second = item(&[("pk", text("a")), ("sk", text("-")), ("owner", text("second"))]);
    let refused = client
        .transact_write_items()
        .transact_items(put_if_absent(&table, free.clone()))
        .transact_items(put_if_absent(&table, second))
        .send()
        .await
        .unwrap_err();
    let SdkError::ServiceError(error) = refused else { panic!("{refused:?}") };
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error.err() else { panic!("{error:?}") };
    let [none, taken] = cancelled.cancellation_reasons() else { panic!("{cancelled:?}") };
    assert_eq!((none.code(), none.item()), (Some("None"), None));
    assert_eq!((taken.code(), taken.item()), (Some("ConditionalCheckFailed"), Some(&first)));

    client.transact_write_items().transact_items(put_if_absent(&table, free.clone())).send().await.unwrap();
    let due = client.scan().table_name(&table).index_name("due").send().await.unwrap();
    assert_eq!(due.items(), [free], "an item without the index's keys is not in the index");
}

async fn partitions(servers: &Servers, topic: &str) -> usize {
    let client = KafkaClient::builder(servers.kafka_bootstrap()).connect().await.unwrap();
    let answers = client.admin().describe_topics([topic], DescribeTopicsOptions::default()).await.unwrap();
    answers[topic].as_ref().unwrap().partitions.len()
}

/// Topics with as many partitions as asked for, that take a record at once.
async fn keeps_records(servers: &Servers) {
    let [one, many] = ["one", "many"].map(|name| format!("{name}-{}", uuid::Uuid::new_v4()));
    servers.create_topics(&[(&one, 1), (&many, 6)]).await.unwrap();
    assert_eq!((partitions(servers, &one).await, partitions(servers, &many).await), (1, 6));

    let client = KafkaClient::builder(servers.kafka_bootstrap()).connect().await.unwrap();
    let producer = client.producer().build().await.unwrap();
    let written = producer.send(Record::new(&one, "value")).await.unwrap();
    assert_eq!(written.offset, 0);

    let error = servers.create_topics(&[(&one, 1)]).await.unwrap_err();
    assert!(matches!(error, StartError::Topic { .. }), "{error}");
    assert_eq!(error.to_string().lines().count(), 1);
}

#[tokio::test]
async fn the_embedded_set_does_what_the_system_needs() {
    let servers = Servers::start(ServerSet::Embedded, &cache()).await.unwrap();
    assert!(servers.broker().is_some());
    assert_eq!((servers.kafka_pid(), servers.dynamodb_pid()), (None, None));
    keeps_records(&servers).await;
    decides_as_the_system_needs(&servers).await;
    servers.stop().await.unwrap();
}

#[tokio::test]
async fn the_real_set_does_what_the_system_needs() {
    let servers = Servers::start(ServerSet::Real, &cache()).await.unwrap();
    let again = Servers::start(ServerSet::Real, &cache()).await.unwrap();
    assert_eq!((servers.kafka_pid(), servers.dynamodb_pid()), (again.kafka_pid(), again.dynamodb_pid()));
    assert!(servers.kafka_pid().is_some() && servers.dynamodb_pid().is_some() && servers.broker().is_none());
    assert_ne!(servers.redis_url(), again.redis_url());
    keeps_records(&servers).await;
    decides_as_the_system_needs(&again).await;
}

#[tokio::test]
async fn redis_is_gone_when_it_is_dropped() {
    let redis = Redis::start().await.unwrap();
    let port = redis.port();
    assert_eq!(ping(port).await.unwrap(), "+PONG\r\n");
    drop(redis);
    until_nobody_listens(port).await;
}

#[tokio::test]
async fn a_frozen_redis_is_gone_when_it_is_stopped() {
    let redis = Redis::start().await.unwrap();
    let port = redis.port();
    signal("STOP", redis.pid());
    redis.stop().await.unwrap();
    assert!(ping(port).await.is_err());
}

#[tokio::test]
async fn a_killed_redis_comes_back_on_its_port() {
    let servers = Servers::start(ServerSet::Embedded, &cache()).await.unwrap();
    let (url, pid) = (servers.redis_url(), servers.redis_pid());
    signal("KILL", pid);
    servers.restart_redis().await.unwrap();
    assert_eq!(servers.redis_url(), url);
    assert_ne!(servers.redis_pid(), pid);
    assert_eq!(ping(servers.redis_port).await.unwrap(), "+PONG\r\n");
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_of_one_line() {
    let first = Redis::start().await.unwrap();
    let error = Redis::start_on(first.port()).await.unwrap_err();
    assert!(matches!(error, StartError::PortTaken(_)), "{error}");
    assert_eq!(error.to_string().lines().count(), 1);
}

/// The parent is a shell of its own group that starts the guard as we do and then only waits; it is killed with -9,
/// which closes its end of the pipe.
#[tokio::test]
async fn a_server_dies_with_a_parent_that_is_killed() {
    const PARENT: &str =
        r#"mkfifo "$1/pipe"; exec 4<>"$1/pipe"; sh -c "$2" guard "$1" sleep 600 4>&- <"$1/pipe" & wait"#;
    let folder = child::Folder::new("parent").unwrap();
    let mut parent = Command::new("sh")
        .args(["-c", PARENT, "parent"])
        .arg(folder.path())
        .arg(child::GUARD)
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let server: u32 = line.trim().parse().unwrap();
    assert!(lives(server), "the server has started");
    parent.kill().unwrap();
    parent.wait().unwrap();
    let deadline = Instant::now() + GONE_WITHIN;
    while lives(server) || folder.path().exists() {
        assert!(Instant::now() < deadline, "{server} outlived its parent");
        sleep(child::LOOK_EVERY).await;
    }
}

fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
}

fn lives(pid: u32) -> bool {
    Command::new("kill").args(["-0", &pid.to_string()]).stderr(Stdio::null()).status().unwrap().success()
}
