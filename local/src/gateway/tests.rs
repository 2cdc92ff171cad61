//! A little function behind the gateway: what reaches it, what does not, and what comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::{
    Json,
    body::Bytes as AxumBytes,
    extract::Request as AxumRequest,
    http::{HeaderMap, Method, Request, Response, StatusCode, header},
    routing::{get, post, put},
};
use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use lambda_http::{RequestExt, request::RequestContext};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::invoke::CONCURRENCY;
use super::*;
use crate::{
    jwt::{issue, tests::signed},
    servers::listen,
};

const KEY: &str = "a development key";
const HOUR: Duration = Duration::from_secs(3_600);

async fn whoami(request: AxumRequest) -> Json<Value> {
    let RequestContext::ApiGatewayV2(context) = request.request_context_ref().unwrap() else { unreachable!() };
    let parameters = request.path_parameters_ref().map(|all| all.first("event_id").map(str::to_owned));
    let lambda = request.lambda_context_ref().unwrap();
    Json(json!({
        "context": context,
        "path": request.uri().path(),
        "query": request.uri().query(),
        "event_id": parameters,
        "request_id": lambda.request_id,
        "cookie": request.headers().get("cookie").map(|value| value.to_str().unwrap()),
        "several": request.headers().get("x-several").map(|value| value.to_str().unwrap()),
    }))
}

/// Sends back the bytes it got, and the header that says what they are.
async fn echo(headers: HeaderMap, body: AxumBytes) -> (HeaderMap, AxumBytes) {
    let mut answer = HeaderMap::new();
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        answer.insert(header::CONTENT_TYPE, kind.clone());
    }
    (answer, body)
}

#[expect(clippy::panic, reason = "the panic is what is tested")]
async fn panics() -> StatusCode {
    panic!("on purpose")
}

fn function() -> Router {
    Router::new()
        .route("/health", get(|| async { "well" }))
        .route("/openapi.json", get(panics))
        .route("/events/{event_id}/seats/mine", get(whoami))
        .route("/events/{event_id}/reservations", post(echo))
        .route("/admin/events/{event_id}", put(whoami))
        .route("/secret", get(whoami))
}

struct Caller {
    gateway: Gateway,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Caller {
    async fn of(router: Router) -> Self {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let gateway = Gateway::start(listener, KEY.to_owned(), router).unwrap();
        Self { gateway, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> (StatusCode, HeaderMap, Bytes) {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.gateway.addr()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer: Response<_> = self.client.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> (StatusCode, Value) {
        let (status, _, body) = self.send(Method::GET, path, headers, "").await;
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }
}

fn token(scopes: &[&str]) -> String {
    let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    format!("Bearer {}", issue(KEY, "ada", &scopes, HOUR).unwrap())
}

const MINE: &str = "/events/rock/seats/mine";

#[tokio::test]
async fn the_function_sees_the_claims_and_the_request_as_on_lambda() {
    let caller = Caller::of(function()).await;
    let bearer = token(&["tickets/payments", "other"]);
    let headers = [
        ("authorization", bearer.as_str()),
        ("Cookie", "a=1; b=2"),
        ("X-Several", "one"),
        ("X-Several", "two"),
        ("User-Agent", "test"),
    ];
    let (status, seen) = caller.get(&format!("{MINE}?section=A&x=%20y"), &headers).await;
    assert_eq!(status, StatusCode::OK, "{seen}");
    let context = &seen["context"];
    assert_eq!(context["authorizer"]["jwt"]["claims"]["sub"], "ada");
    assert_eq!(context["authorizer"]["jwt"]["claims"]["scope"], "tickets/payments other");
    assert!(context["authorizer"]["jwt"]["claims"]["exp"].is_string());
    assert_eq!(context["routeKey"], "GET /events/{event_id}/seats/mine");
    assert_eq!(context["stage"], "$default");
    assert_eq!(context["http"]["method"], "GET");
    assert_eq!(context["http"]["path"], MINE);
    assert_eq!(context["http"]["sourceIp"], "127.0.0.1");
    assert_eq!(context["http"]["userAgent"], "test");
    let age = since_1970_ms().checked_sub(context["timeEpoch"].as_u64().unwrap()).unwrap();
    assert!(age < 60_000, "timeEpoch is in milliseconds: {age}");
    assert_eq!((&seen["path"], &seen["query"]), (&json!(MINE), &json!("section=A&x=%20y")));
    assert_eq!((&seen["event_id"], &seen["cookie"]), (&json!("rock"), &json!("a=1; b=2")));
    assert_eq!(seen["several"], "one,two");
    assert_eq!(seen["request_id"], context["requestId"]);
}

fn since_1970_ms() -> u64 {
    u64::try_from(crate::jwt::since_1970().as_millis()).unwrap()
}

#[tokio::test]
async fn without_a_valid_token_the_function_is_not_reached() {
    let caller = Caller::of(function()).await;
    let refused = (StatusCode::UNAUTHORIZED, json!({"message": "Unauthorized"}));
    assert_eq!(caller.get(MINE, &[]).await, refused);
    let expired = signed(KEY, |claims| drop(claims.insert("exp".to_owned(), 1_000_000.into())));
    for token in [expired, signed("another key", |_| ()), "nonsense".to_owned()] {
        assert_eq!(caller.get(MINE, &[("authorization", &format!("Bearer {token}"))]).await, refused, "{token}");
    }
    assert_eq!(caller.get(MINE, &[("authorization", "Basic YWRhOmFkYQ==")]).await, refused);
    let (status, _) = caller.get(MINE, &[("authorization", &signed(KEY, |_| ()))]).await;
    assert_eq!(status, StatusCode::OK, "the word Bearer may be left out, and so may the subject");
}

#[tokio::test]
async fn a_route_with_a_scope_needs_a_token_that_has_it() {
    let caller = Caller::of(function()).await;
    let path = "/admin/events/rock";
    let (status, _, body) = caller.send(Method::PUT, path, &[("authorization", &token(&["tickets/adm"]))], "").await;
    assert_eq!((status, &body[..]), (StatusCode::FORBIDDEN, &br#"{"message":"Forbidden"}"#[..]));
    let (status, _, _) =
        caller.send(Method::PUT, path, &[("authorization", &token(&["a", "tickets/admin"]))], "").await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn only_routes_of_the_table_are_passed_on() {
    let caller = Caller::of(function()).await;
    let unknown = (StatusCode::NOT_FOUND, json!({"message": "Not Found"}));
    assert_eq!(caller.get("/secret", &[("authorization", &token(&[]))]).await, unknown);
    assert_eq!(caller.get("/health/", &[]).await, unknown);
    let (status, _, body) = caller.send(Method::GET, "/health", &[], "").await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"well"[..]));
}

#[tokio::test]
async fn bodies_survive_whatever_they_are() {
    let caller = Caller::of(function()).await;
    let bearer = token(&[]);
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    for (kind, sent) in [
        ("application/octet-stream", every_byte.clone()),
        ("application/json", every_byte),
        ("application/json; charset=utf-8", r#"{"name":"Zoë ☃"}"#.as_bytes().to_vec()),
        ("image/png", b"text all the same".to_vec()),
    ] {
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        let (status, answer, body) =
            caller.send(Method::POST, "/events/rock/reservations", &headers, sent.clone()).await;
        assert_eq!((status, answer["content-type"].to_str().unwrap()), (StatusCode::OK, kind));
        assert_eq!(body, sent, "{kind}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_too_long() {
    let caller = Caller::of(function()).await;
    let bearer = token(&[]);
    let (status, _, body) = caller
        .send(
            Method::POST,
            "/events/rock/reservations",
            &[("authorization", &bearer)],
            vec![b' '; invoke::MAX_BODY + 1],
        )
        .await;
    assert_eq!((status, &body[..]), (StatusCode::PAYLOAD_TOO_LARGE, &br#"{"message":"Request Too Long"}"#[..]));
}

#[tokio::test]
async fn headers_over_the_limit_are_refused() {
    let caller = Caller::of(function()).await;
    let (status, _, _) = caller.send(Method::GET, "/health", &[("x-long", &"x".repeat(invoke::MAX_HEAD))], "").await;
    assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn a_function_that_fails_is_unavailable_once() {
    let caller = Caller::of(function()).await;
    let failed = (StatusCode::SERVICE_UNAVAILABLE, json!({"message": "Service Unavailable"}));
    assert_eq!(caller.get("/openapi.json", &[]).await, failed);
    assert_eq!(caller.get("/health", &[]).await.0, StatusCode::OK);
}

/// Dropped with the future that holds it.
struct Running(Arc<Notify>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test]
async fn a_function_that_hangs_is_unavailable_and_is_ended() {
    let ended = Arc::new(Notify::new());
    let hang = {
        let ended = Arc::clone(&ended);
        move || async move {
            let _running = Running(ended);
            std::future::pending::<StatusCode>().await
        }
    };
    let mut function = Function::new(KEY.to_owned(), Router::new().route("/health", get(hang)));
    function.answers_within = Duration::from_millis(50);
    let http = json!({"method": "GET", "path": "/health"});
    let event = json!({"version": "2.0", "rawPath": "/health", "headers": {}, "isBase64Encoded": false, "requestContext": {"http": http}});
    let answer = function.invoke(event.to_string(), uuid::Uuid::nil()).await.unwrap_err();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    time::timeout(Duration::from_secs(10), ended.notified()).await.unwrap();
}

#[tokio::test]
async fn a_preflight_needs_no_token_and_answers_show_their_headers() {
    let caller = Caller::of(function()).await;
    let origin = ("origin", "https://shop.invalid");
    let asks = [origin, ("access-control-request-method", "POST")];
    let (status, headers, _) = caller.send(Method::OPTIONS, "/events/rock/reservations", &asks, "").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(headers["access-control-allow-origin"], "*");
    let allowed = headers["access-control-allow-headers"].to_str().unwrap();
    for name in ["authorization", "content-type", "idempotency-key", "prefer", "if-none-match", "if-match"] {
        assert!(allowed.split(',').any(|each| each == name), "{name}");
    }
    let (status, headers, _) = caller.send(Method::GET, MINE, &[origin], "").await;
    assert_eq!((status, headers["access-control-allow-origin"].to_str().unwrap()), (StatusCode::UNAUTHORIZED, "*"));
    assert_eq!(headers["access-control-expose-headers"], "etag,location,retry-after");
    let (_, headers, _) = caller.send(Method::GET, "/health", &[], "").await;
    assert!(!headers.contains_key("access-control-allow-origin"));
}

/// Nobody is answered before the function is full, and hundreds more are at the door by then.
#[tokio::test]
async fn hundreds_are_served_and_as_many_at_once_as_there_is_room() {
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let full = Arc::new(tokio::sync::Barrier::new(CONCURRENCY));
    let seen = Arc::clone(&most);
    let handler = move || {
        let (inside, most, full) = (Arc::clone(&inside), Arc::clone(&seen), Arc::clone(&full));
        async move {
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            full.wait().await;
            inside.fetch_sub(1, Ordering::SeqCst);
        }
    };
    let caller = Caller::of(Router::new().route("/health", get(handler))).await;
    let answers = join_all((0..10 * CONCURRENCY).map(|_| caller.get("/health", &[]))).await;
    assert!(answers.iter().all(|(status, _)| *status == StatusCode::OK));
    assert_eq!(most.load(Ordering::SeqCst), CONCURRENCY);
}

#[tokio::test]
async fn stopping_lets_requests_finish_and_takes_no_more() {
    let (asked, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (asked, go_on) = (Arc::clone(&asked), Arc::clone(&go_on));
        move || async move {
            asked.notify_one();
            go_on.notified().await;
            "done"
        }
    };
    let Caller { gateway, client } = Caller::of(Router::new().route("/health", get(slow))).await;
    let address = gateway.addr();
    let request = Request::get(format!("http://{address}/health")).body(Full::<Bytes>::default()).unwrap();
    let answer = tokio::spawn(client.request(request));
    asked.notified().await;
    let stopping = tokio::spawn(gateway.stop());
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    go_on.notify_one();
    assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::OK);
    stopping.await.unwrap();
}
