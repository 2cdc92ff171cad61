//! The client against small servers of its own, one for each thing that can happen to a request.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    extract::ConnectInfo,
    http::{HeaderMap as Headers, StatusCode},
    response::IntoResponse,
    routing::{get, post},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use super::*;

/// A server on a free port, stopped when it is dropped.
struct Server {
    url: String,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves `router` over real connections.
async fn serve(router: Router) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let task = tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    Server { url, task }
}

/// Reads what comes on each connection, writes `answer` and hangs up.
async fn serve_bytes(answer: &'static [u8]) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream.write_all(answer).await.unwrap();
        }
    });
    Server { url, task }
}

#[tokio::test]
async fn an_answer_carries_status_headers_and_the_body_as_json() {
    let router = Router::new()
        .route("/empty", get(|| async { StatusCode::NO_CONTENT }))
        .route("/text", get(|| async { "plain {" }))
        .route(
            "/problem",
            get(|| async {
                let kind = [("content-type", "application/problem+json; charset=utf-8"), ("retry-after", "1")];
                (StatusCode::CONFLICT, kind, r#"{"type":"contended","status":409}"#).into_response()
            }),
        )
        .route(
            "/gateway",
            get(|| async { (StatusCode::TOO_MANY_REQUESTS, axum::Json(json!({ "message": "slow down" }))) }),
        );
    let server = serve(router).await;
    let client = ApiClient::new(&server.url).unwrap();

    let empty = client.get("/empty").await.unwrap();
    assert_eq!((empty.status, &empty.body, empty.raw.len(), empty.refusal()), (204, &Value::Null, 0, None));
    let text = client.get("/text").await.unwrap();
    assert_eq!((&text.body, &text.raw[..]), (&Value::Null, &b"plain {"[..]));
    let problem = client.get("/problem").await.unwrap();
    assert_eq!((problem.status, problem.header("retry-after")), (409, Some("1")));
    assert_eq!((problem.body["status"].as_u64(), problem.refusal().as_deref()), (Some(409), Some("contended")));
    assert_eq!(client.get("/gateway").await.unwrap().refusal().as_deref(), Some("http-429"));
}

#[tokio::test]
async fn reserve_posts_the_seats_with_key_and_token() {
    let echo = |headers: Headers, body: String| async move {
        let sent = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        axum::Json(json!([sent("authorization"), sent("idempotency-key"), sent("content-type"), body]))
    };
    let server = serve(Router::new().route("/events/e-1/reservations", post(echo))).await;
    let client = ApiClient::new(&format!("{}/", server.url)).unwrap().with_token("abc");

    let answer = client.reserve("e-1", "key-1", &["A-1-1", "A-1-2"]).await.unwrap();

    assert_eq!(answer.body, json!(["Bearer abc", "key-1", "application/json", r#"{"seats":["A-1-1","A-1-2"]}"#]));
}

#[tokio::test]
async fn callers_with_different_tokens_share_a_kept_alive_connection() {
    let ports = Arc::new(std::sync::Mutex::new(std::collections::BTreeSet::new()));
    let asked = Arc::new(AtomicUsize::new(0));
    let (seen, count) = (ports.clone(), asked.clone());
    let note = move |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move {
        seen.lock().unwrap().insert(peer.port());
        count.fetch_add(1, Ordering::SeqCst);
    };
    let server = serve(Router::new().route("/", get(note))).await;
    let client = ApiClient::new(&server.url).unwrap();

    for token in ["a", "b", "c"] {
        assert_eq!(client.with_token(token).get("/").await.unwrap().status, 200);
    }

    assert_eq!((asked.load(Ordering::SeqCst), ports.lock().unwrap().len()), (3, 1));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_a_time_out_that_names_the_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = ApiClient::new(&url).unwrap().with_timeout(Duration::from_millis(50));

    let error = client.get("/events").await.unwrap_err();

    assert!(matches!(error, ClientError::TimedOut { .. }), "{error:?}");
    assert_eq!(error.to_string(), "GET /events: no answer within 50ms");
}

#[tokio::test]
async fn a_port_nobody_listens_on_is_told_from_a_lost_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let nobody = ApiClient::new(&url).unwrap().get("/events").await.unwrap_err();
    assert!(matches!(nobody, ClientError::Connect { .. }), "{nobody:?}");
    assert_eq!(nobody.to_string(), format!("{url}: cannot connect; is the local system running?"));

    let server = serve_bytes(b"").await;
    let lost = ApiClient::new(&server.url).unwrap().get("/events").await.unwrap_err();
    assert!(matches!(lost, ClientError::Lost { .. }), "{lost:?}");
}

#[tokio::test]
async fn a_body_that_breaks_off_or_is_not_json_is_an_error_with_its_status() {
    let server = serve_bytes(b"HTTP/1.1 202 Accepted\r\ncontent-length: 9\r\n\r\n{").await;
    let broken = ApiClient::new(&server.url).unwrap().get("/").await.unwrap_err();
    assert!(matches!(broken, ClientError::Body { status: 202, .. }), "{broken:?}");

    let server =
        serve_bytes(b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n{").await;
    let wrong = ApiClient::new(&server.url).unwrap().get("/").await.unwrap_err();
    assert!(matches!(wrong, ClientError::NotJson { status: 202, .. }), "{wrong:?}");
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_before_anything_is_sent() {
    for url in ["https://127.0.0.1:1", "127.0.0.1:9000", "http://127.0.0.1:1/?a=b", "http://a b", ""] {
        assert!(matches!(ApiClient::new(url), Err(ClientError::BaseUrl { .. })), "{url}");
    }
    let client = ApiClient::new("http://127.0.0.1:1").unwrap();
    let token = client.with_token("line\nbreak").get("/").await.unwrap_err();
    assert!(matches!(token, ClientError::Request { .. }), "{token:?}");
    let path = client.get("/a b").await.unwrap_err();
    assert!(matches!(path, ClientError::Request { .. }), "{path:?}");
    assert!(!format!("{:?}", client.with_token("secret")).contains("secret"));
}
