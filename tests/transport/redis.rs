//! Redis behind TLS and a user of its own: let in as configured, and refused with the reason in the log.

use local::servers::Redis as Server;
use shared::causes::chain;
use shared::redis::Redis;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tracing::Level;

use super::certificates::{Authority, HERE};
use super::config;
use super::logs::Logged;
use crate::harness::eventually;

/// The user's password.
const PASSWORD: &str = "redis-password-7f3a";
/// What the functions' user may, in short.
const RIGHTS: &str = "~t1:* &t1:* +@all -@dangerous +info";

/// Gives the server an order over its socket.
pub async fn order(server: &Server, words: &str) -> String {
    let mut stream = UnixStream::connect(server.socket()).await.unwrap();
    stream.write_all(format!("{words}\r\n").as_bytes()).await.unwrap();
    let mut answer = vec![0; 64];
    let length = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).trim().to_owned()
}

/// A server of the authority's that knows the user `tickets`.
pub async fn secured(authority: &Authority, host: &str) -> Server {
    let shown = authority.certify(host);
    let server = Server::start_secured(&shown.certificate, &shown.key).await.unwrap();
    assert_eq!(order(&server, &format!("ACL SETUSER tickets on >{PASSWORD} {RIGHTS}")).await, "+OK");
    server
}

/// Connects, asks for the time, and says why not; what was logged meanwhile comes with it.
async fn asked(url: &str, ca: Option<&Authority>) -> (Result<i64, String>, String) {
    let (logged, _guard) = Logged::down_to(Level::INFO);
    let file = ca.map(|authority| authority.file().display().to_string());
    let config = config(&[("REDIS_URL", url), ("REDIS_CA_FILE", file.as_deref().unwrap_or_default())]);
    let redis = Redis::open(&config).await.unwrap();
    let answer = redis.now_ms().await.map_err(|error| chain(&error));
    if answer.is_err() {
        eventually("a reason in the log", || async { logged.text().contains("no connection").then_some(()) }).await;
    }
    redis.close().await;
    let text = logged.text();
    assert!(!text.contains(PASSWORD) && !text.contains("wrong-password"), "{text}");
    (answer, text)
}

fn url(server: &Server, scheme: &str, password: &str) -> String {
    format!("{scheme}://tickets:{password}@{HERE}:{}", server.port())
}

#[tokio::test]
async fn who_believes_the_authority_and_has_the_password_is_let_in() {
    let authority = Authority::new("ours");
    let server = secured(&authority, HERE).await;
    let (answer, text) = asked(&url(&server, "rediss", PASSWORD), Some(&authority)).await;
    assert!(answer.is_ok_and(|now| now > 1_000_000_000_000) && text.is_empty(), "{text}");
    // The servers for locks are believed by the same authority.
    let locks = url(&server, "rediss", PASSWORD);
    let file = authority.file().display().to_string();
    let config = config(&[("REDIS_URL", &locks), ("LOCK_REDIS_URLS", &locks), ("REDIS_CA_FILE", &file)]);
    let servers = Redis::open_for_locks(&config).await.unwrap();
    assert_eq!(servers.len(), 1);
    servers[0].now_ms().await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_and_named() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = secured(&theirs, HERE).await;
    for ca in [Some(&ours), None] {
        let (answer, text) = asked(&url(&server, "rediss", PASSWORD), ca).await;
        assert!(answer.is_err() && text.contains("InvalidCertificate(UnknownIssuer)"), "{text}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_and_named() {
    let authority = Authority::new("ours");
    let server = secured(&authority, "elsewhere.example").await;
    let (answer, text) = asked(&url(&server, "rediss", PASSWORD), Some(&authority)).await;
    assert!(answer.is_err() && text.contains("InvalidCertificate(NotValidForName"), "{text}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_said_so() {
    let authority = Authority::new("ours");
    let server = secured(&authority, HERE).await;
    let (answer, text) = asked(&url(&server, "rediss", "wrong-password"), Some(&authority)).await;
    assert!(answer.is_err() && text.contains("WRONGPASS"), "{text}");
}

#[tokio::test]
async fn a_user_without_rights_is_told_which_he_lacks() {
    let authority = Authority::new("ours");
    let server = secured(&authority, HERE).await;
    assert_eq!(order(&server, "ACL SETUSER tickets -eval -evalsha").await, "+OK");
    let (logged, _guard) = Logged::down_to(Level::INFO);
    let (url, file) = (url(&server, "rediss", PASSWORD), authority.file().display().to_string());
    let redis = Redis::open(&config(&[("REDIS_URL", &url), ("REDIS_CA_FILE", &file)])).await.unwrap();
    let refused = chain(&redis.now_ms().await.unwrap_err());
    assert!(refused.contains("NOPERM") && refused.contains("evalsha"), "{refused}");
    // One that may nothing at all, from its first connection on.
    assert_eq!(order(&server, "ACL SETUSER tickets -@all").await, "+OK");
    let redis = Redis::open(&config(&[("REDIS_URL", &url), ("REDIS_CA_FILE", &file)])).await.unwrap();
    let refused = chain(&redis.now_ms().await.unwrap_err());
    assert!(refused.contains("NOPERM") && logged.text().contains("NOPERM"), "{refused} {}", logged.text());
    assert!(!logged.text().contains(PASSWORD) && !refused.contains(PASSWORD));
}

#[tokio::test]
async fn plain_text_gets_nothing_out_of_a_port_for_tls() {
    let authority = Authority::new("ours");
    let server = secured(&authority, HERE).await;
    let (answer, text) = asked(&url(&server, "redis", PASSWORD), None).await;
    assert!(answer.is_err() && text.contains("\"tls\":false"), "{text}");
}

#[tokio::test]
async fn a_file_without_certificates_is_refused_at_the_start() {
    let authority = Authority::new("ours");
    let missing = authority.file().with_file_name("missing.pem");
    let empty = authority.file().with_file_name("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    for file in [missing, empty] {
        let file = file.display().to_string();
        let refused = Redis::open(&config(&[("REDIS_URL", "rediss://127.0.0.1:9"), ("REDIS_CA_FILE", &file)]))
            .await
            .err()
            .unwrap();
        assert!(refused.to_string().contains(&file), "{refused}");
    }
}
