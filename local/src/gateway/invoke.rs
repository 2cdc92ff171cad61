//! One request on its way through the gateway: route, token, event, function, answer.

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, Request, StatusCode, header, request::Parts},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use lambda_http::{Context, RequestExt};
use tokio::{sync::Semaphore, time};
use tower::ServiceExt;
use uuid::Uuid;

use super::{
    answer::{self, Answer, let_pages_see, message, unavailable},
    event::Asked,
    routes::{self, Auth, Route},
};
use crate::jwt::{self, Claims, since_1970};

/// The longest request line and headers, in bytes: API Gateway's quota.
pub(super) const MAX_HEAD: usize = 10_240;

/// The longest body API Gateway takes, in bytes.
pub(super) const MAX_BODY: usize = 10 * 1_024 * 1_024;

/// The longest answer a function may give, in bytes: Lambda's own limit.
const MAX_ANSWER: usize = 6 * 1_024 * 1_024;

/// The longest API Gateway waits for the function; ours is given no longer to run either.
const ANSWERS_WITHIN: Duration = Duration::from_secs(29);

/// Invocations at once, the function's concurrency: one process stands for all of Lambda's environments here, and a crowd
/// waits at the door, as it would for those, and not inside with its stores' deadlines already running.
pub(super) const CONCURRENCY: usize = 32;

/// The function, and the key of those who may call it.
pub(super) struct Function {
    jwt_key: String,
    router: Router,
    slots: Arc<Semaphore>,
    pub(super) answers_within: Duration,
}

impl Function {
    pub(super) fn new(jwt_key: String, router: Router) -> Self {
        let slots = Arc::new(Semaphore::new(CONCURRENCY));
        Self { jwt_key, router, slots, answers_within: ANSWERS_WITHIN }
    }

    /// Answers a request, whatever it is.
    pub(super) async fn answer(&self, request: Request<Incoming>, client: IpAddr) -> Result<Answer, Infallible> {
        let (parts, body) = request.into_parts();
        let from_a_page = parts.headers.contains_key(header::ORIGIN);
        let request_id = Uuid::new_v4();
        let mut answer = if answer::is_preflight(&parts) {
            answer::preflight()
        } else {
            self.pass(&parts, body, client, request_id).await.unwrap_or_else(|refusal| refusal)
        };
        if from_a_page {
            let_pages_see(&mut answer);
        }
        if let Ok(id) = HeaderValue::try_from(request_id.to_string()) {
            answer.headers_mut().insert("apigw-requestid", id);
        }
        Ok(answer)
    }

    /// The function's answer, or the gateway's refusal.
    async fn pass(&self, parts: &Parts, body: Incoming, source: IpAddr, request_id: Uuid) -> Result<Answer, Answer> {
        if head_length(parts) > MAX_HEAD {
            return Err(message(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "Request Header Fields Too Large"));
        }
        let not_found = || message(StatusCode::NOT_FOUND, "Not Found");
        let (route, parameters) = routes::find(&parts.method, parts.uri.path()).ok_or_else(not_found)?;
        let claims = self.authorize(route, &parts.headers).map_err(|refusal| *refusal)?;
        let body = collect(body).await?;
        let asked =
            Asked { parts, body: &body, route, parameters: &parameters, claims: claims.as_ref(), request_id, source };
        self.invoke(asked.event().to_string(), request_id).await
    }

    fn authorize(&self, route: &Route, headers: &HeaderMap) -> Result<Option<Claims>, Box<Answer>> {
        if route.auth == Auth::None {
            return Ok(None);
        }
        let unauthorized = || Box::new(message(StatusCode::UNAUTHORIZED, "Unauthorized"));
        let claims =
            bearer(headers).and_then(|token| jwt::verify(&self.jwt_key, token).ok()).ok_or_else(unauthorized)?;
        match route.scope() {
            Some(scope) if !claims.scopes().contains(&scope) => {
                Err(Box::new(message(StatusCode::FORBIDDEN, "Forbidden")))
            }
            _ => Ok(Some(claims)),
        }
    }

    /// A task of its own, as an invocation is: it may panic, and it goes on when the client has hung up.
    pub(super) async fn invoke(&self, event: String, request_id: Uuid) -> Result<Answer, Answer> {
        let (router, answers_within) = (self.router.clone(), self.answers_within);
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| unavailable())?;
        let mut invocation = tokio::spawn(async move {
            let _slot = slot;
            let request = lambda_http::request::from_str(&event)?;
            let mut context = Context::default();
            context.request_id = request_id.to_string();
            context.deadline = u64::try_from((since_1970() + answers_within).as_millis()).unwrap_or(u64::MAX);
            // Lambda gives the id of the header, or one of its own.
            let trace = request.headers().get("x-amzn-trace-id").and_then(|trace| trace.to_str().ok());
            context.xray_trace_id = trace.map(str::to_owned);
            let answer = match router.oneshot(request.with_lambda_context(context)).await {
                Ok(answer) => answer,
                Err(never) => match never {},
            };
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
            Ok::<_, lambda_http::Error>(Answer::from_parts(parts, Full::new(body)))
        });
        match time::timeout(answers_within, &mut invocation).await {
            Ok(Ok(Ok(answer))) => return Ok(answer),
            Ok(Ok(Err(error))) => tracing::error!(error, %request_id, "the function failed"),
            Ok(Err(error)) => tracing::error!(%error, %request_id, "the function panicked"),
            Err(_) => {
                invocation.abort();
                tracing::error!(%request_id, "the function timed out");
            }
        }
        Err(unavailable())
    }
}

/// What the request line and the headers weigh on the wire, near enough.
fn head_length(parts: &Parts) -> usize {
    let line = parts.method.as_str().len() + parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
    line + parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
}

/// The token of `Authorization`; API Gateway does not insist on the word before it.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim();
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim()),
        Some(_) => None,
        None => Some(value),
    }
}

async fn collect(body: Incoming) -> Result<Bytes, Answer> {
    let too_long = || message(StatusCode::PAYLOAD_TOO_LARGE, "Request Too Long");
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_long());
    }
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_long()),
        Err(_) => Err(message(StatusCode::BAD_REQUEST, "Bad Request")),
    }
}
