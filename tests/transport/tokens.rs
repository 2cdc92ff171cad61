//! Tokens that end: each connection begins with a new one. A Redis cannot check a signature, so it is told which passwords
//! to take: those that are signed in some seconds, as ElastiCache takes those of a quarter of an hour.

use std::ops::Range;
use std::time::{Duration, UNIX_EPOCH};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use local::servers::Redis as Server;
use shared::causes::chain;
use shared::clock::wall_ms;
use shared::config::Config;
use shared::redis::Redis;
use tracing::Level;

use super::certificates::{Authority, HERE};
use super::config;
use super::logs::Logged;
use super::redis::{order, secured};
use crate::harness::eventually;

const REGION: &str = "eu-central-1";
const SECRET_KEY: &str = "aws-secret-key-91bd";
const SESSION_TOKEN: &str = "aws-session-token-5c02";
/// Seconds for which a test's tokens are taken: as long as it may take.
const LIFE: u64 = 60;

fn credentials() -> Credentials {
    Credentials::new("AKIDEXAMPLE", SECRET_KEY, Some(SESSION_TOKEN.to_owned()), None, "test")
}

fn aws() -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials()))
        .build()
}

/// The second it is.
fn second() -> u64 {
    u64::try_from(wall_ms() / 1_000).unwrap()
}

/// Has the server take the tokens of these seconds and no other password, and cuts whoever is connected.
async fn take_tokens_of(server: &Server, config: &Config, seconds: Range<u64>) {
    let user = config.redis_iam.as_ref().unwrap();
    let token = |second| user.token(REGION, credentials(), UNIX_EPOCH + Duration::from_secs(second)).unwrap();
    let passwords: Vec<String> = seconds.map(|second| format!(">{}", token(second))).collect();
    assert_eq!(order(server, &format!("ACL SETUSER tickets resetpass {}", passwords.join(" "))).await, "+OK");
    order(server, "CLIENT KILL USER tickets").await;
}

/// A server, who certified it, and the configuration of a function that has no password for it.
async fn with_tokens() -> (Server, Authority, Config) {
    let authority = Authority::new("ours");
    let server = secured(&authority, HERE).await;
    let (url, file) = (format!("rediss://{HERE}:{}", server.port()), authority.file().display().to_string());
    let config = config(&[
        ("REDIS_URL", &url),
        ("REDIS_IAM_USER", "tickets"),
        ("REDIS_IAM_CACHE", "cache"),
        ("REDIS_CA_FILE", &file),
    ]);
    (server, authority, config)
}

#[tokio::test]
async fn a_connection_that_was_cut_comes_back_with_a_token_of_now() {
    let (logged, _guard) = Logged::down_to(Level::DEBUG);
    let (server, _authority, config) = with_tokens().await;
    let begun = second();
    take_tokens_of(&server, &config, begun..begun + LIFE).await;
    let redis = Redis::open_signing(&config, aws()).await.unwrap();
    redis.now_ms().await.unwrap();
    let first = second();
    eventually("the next second", || async { (second() > first).then_some(()) }).await;
    // From here on the token of the first connection is as good as expired.
    take_tokens_of(&server, &config, first + 1..first + 1 + LIFE).await;
    eventually("a connection with a new token", || async { redis.now_ms().await.ok() }).await;
    assert!(!logged.text().contains("WRONGPASS"), "{}", logged.text());
    tells_nothing(&logged);
}

#[tokio::test]
async fn a_token_that_has_expired_is_refused_and_said_so_until_there_is_another() {
    let (logged, _guard) = Logged::down_to(Level::DEBUG);
    let (server, _authority, config) = with_tokens().await;
    let now = second();
    take_tokens_of(&server, &config, now - 10..now).await;
    let redis = Redis::open_signing(&config, aws()).await.unwrap();
    let refused = chain(&redis.now_ms().await.unwrap_err());
    let line = eventually("the reason", || async {
        logged.lines().into_iter().find(|line| line["fields"]["message"] == "no connection to redis")
    })
    .await;
    assert!(line.to_string().contains("WRONGPASS"), "{line} {refused}");
    let now = second();
    take_tokens_of(&server, &config, now..now + LIFE).await;
    eventually("a connection", || async { redis.now_ms().await.ok() }).await;
    tells_nothing(&logged);
}

fn tells_nothing(logged: &Logged) {
    let text = logged.text();
    for secret in [SECRET_KEY, SESSION_TOKEN, "X-Amz-Signature", "X-Amz-Security-Token"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
