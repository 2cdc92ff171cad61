//! The function's process against a stand-in for Lambda: told that its environment ends, it ends in order; and where it
//! cannot register to be told, it serves all the same.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::convert::Infallible;
use std::process::{Output, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);
const REGISTERED: &[u8] = br#"{"functionName":"reservation-persist","functionVersion":"1","handler":"bootstrap"}"#;
/// Where an extension waits for what it has subscribed to: it listens for the end by then.
const LISTENS: &str = "/2020-01-01/extension/event/next";
/// Where a function waits for its next invocation.
const SERVES: &str = "/2018-06-01/runtime/invocation/next";

/// A Lambda that answers who wants to be an extension with this status, and has nothing to do for anyone. Returns its
/// address, and for what it is asked.
async fn lambda(extension: u16) -> (String, mpsc::Receiver<String>) {
    let (polled, polls) = mpsc::channel(8);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let polled = polled.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                let polled = polled.clone();
                async move {
                    if request.uri().path() == "/2020-01-01/extension/register" {
                        let answer = Response::builder().status(extension).header("lambda-extension-identifier", "1");
                        return Ok::<_, Infallible>(answer.body(Full::new(Bytes::from_static(REGISTERED))).unwrap());
                    }
                    polled.send(request.uri().path().to_owned()).await.unwrap();
                    std::future::pending().await
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(connection), answer));
        }
    });
    (address, polls)
}

/// The function, whose stores are away, as soon as it has asked for all of this.
async fn started(extension: u16, asks: &[&str]) -> Child {
    let (lambda, mut polls) = lambda(extension).await;
    let child = Command::new(env!("CARGO_BIN_EXE_reservation-persist"))
        .env_clear()
        .envs([
            ("AWS_LAMBDA_RUNTIME_API", lambda.as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", "reservation-persist"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_REGION", "eu-central-1"),
            ("TABLE_NAME", "tickets"),
            ("DYNAMODB_ENDPOINT", "http://127.0.0.1:9"),
            ("REDIS_URL", "redis://127.0.0.1:9"),
            ("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9"),
            ("KAFKA_SECURITY", "plaintext"),
            ("REQUESTS_TOPIC", "requests"),
            ("OUTCOMES_TOPIC", "outcomes"),
            ("DLQ_TOPIC", "dlq"),
            ("FAILED_TOPIC", "failed"),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut missing = asks.to_vec();
    while !missing.is_empty() {
        let asked = timeout(PATIENCE, polls.recv()).await.expect("it asks").unwrap();
        missing.retain(|path| *path != asked);
    }
    child
}

/// What is left when the environment ends.
async fn ended(child: Child) -> Output {
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap()
}

#[tokio::test]
async fn told_that_its_environment_ends_it_ends_in_order_and_tells_its_metrics() {
    let output = ended(started(200, &[LISTENS, SERVES]).await).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // No invocation has come that would have told it.
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"ColdStarts\":1"), "{output:?}");
}

#[tokio::test]
async fn where_it_cannot_register_to_be_told_it_serves_all_the_same() {
    let output = ended(started(500, &[SERVES]).await).await;
    assert_eq!(output.status.code(), None, "ended by the signal itself: {output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("will end without notice"), "{output:?}");
}
