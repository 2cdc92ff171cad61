//! What bounds a wait: its number, the invocation's deadline, and the caller's going away.

use std::time::Duration;

use axum::http::StatusCode;
use lambda_http::{Context, RequestExt};
use local::servers::ServerSet;
use reservation_api::{MAX_WAITERS, answer};
use serde_json::json;
use shared::clock;
use tokio::time::Instant;

use super::desk::{Desk, applied, reserve_waiting};
use super::{HALL, selling};
use crate::harness::functions::events;
use crate::harness::{Office, all_at_once, eventually, on_both_sets};

on_both_sets!(what_is_no_number_of_seconds_is_refused_in_a_query_and_ignored_in_a_preference);

/// Somebody's reservation that stays pending, and its path.
async fn pending(office: &Office, customer: &str) -> String {
    office.system.event_source().pause();
    let accepted = office.customer(customer).reserve(HALL, "k", &["A-1-1"]).await.unwrap();
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    accepted.header("location").unwrap().to_owned()
}

/// A GET of this path with a wait, as Lambda hands it over.
fn waiting_event(path: &str, customer: &str, seconds: &str) -> lambda_http::Request {
    let mut event = events().remove("http-show-reservation.json").unwrap();
    event["rawPath"] = json!(path);
    event["requestContext"]["http"]["path"] = json!(path);
    event["rawQueryString"] = json!(format!("wait={seconds}"));
    event["queryStringParameters"] = json!({ "wait": seconds });
    event["pathParameters"]["reservation_id"] = json!(path.trim_start_matches("/reservations/"));
    event["requestContext"]["authorizer"]["jwt"]["claims"]["sub"] = json!(customer);
    lambda_http::request::from_str(&event.to_string()).unwrap()
}

async fn waiting(desk: &Desk, expected: usize) {
    eventually("so many waiters", || async { (desk.app.waiting() == expected).then_some(()) }).await;
}

async fn what_is_no_number_of_seconds_is_refused_in_a_query_and_ignored_in_a_preference(set: ServerSet) {
    let office = selling(set).await;
    let path = pending(&office, "alice").await;
    let alice = office.customer("alice");
    for wait in ["", "11", "-1", "1.5", "soon", "%2B1", "1&wait=1"] {
        let refused = alice.get(&format!("{path}?wait={wait}")).await.unwrap();
        assert_eq!((refused.status, refused.text("type")), (400, Some("invalid-request")), "{wait}: {}", refused.body);
        let field = if wait.contains('&') { "query" } else { "wait" };
        assert_eq!((refused.text("field"), applied(&refused)), (Some(field), None), "{wait}");
    }
    let at_once = alice.get(&format!("{path}?wait=0")).await.unwrap();
    assert_eq!((at_once.status, at_once.text("status"), applied(&at_once)), (200, Some("PENDING"), None));
    for prefer in ["", "wait", "wait=soon", "wait=-1", "wait=0", "return=minimal"] {
        let accepted = reserve_waiting(&alice, HALL, "k", "A-1-1", prefer).await;
        assert_eq!((accepted.status, applied(&accepted)), (202, None), "{prefer}: {}", accepted.body);
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_the_bound_nobody_waits_and_everybody_within_it_is_told() {
    let office = selling(ServerSet::Embedded).await;
    let desk = Desk::open(&office, None).await;
    let path = pending(&office, "alice").await;
    let (alice, bob) = (desk.customer("alice"), desk.customer("bob"));
    let asked = (0..MAX_WAITERS).map(|_| {
        let (alice, path) = (alice.clone(), format!("{path}?wait=10"));
        async move { alice.get(&path).await.unwrap() }
    });
    let within = tokio::spawn(all_at_once(asked.collect::<Vec<_>>()));
    waiting(&desk, MAX_WAITERS).await;
    let watched = alice.get(&format!("{path}?wait=10")).await.unwrap();
    assert_eq!((watched.status, watched.text("status"), applied(&watched)), (200, Some("PENDING"), None));
    let accepted = reserve_waiting(&bob, HALL, "k", "A-1-2", "wait=10").await;
    assert_eq!((accepted.status, accepted.text("status"), applied(&accepted)), (202, Some("PENDING"), None));
    assert_eq!(desk.app.waiting(), MAX_WAITERS, "those two were answered while all the others waited");
    office.system.event_source().resume();
    for told in within.await.unwrap() {
        assert_eq!((told.status, told.text("status")), (200, Some("HELD")), "{}", told.body);
    }
    assert_eq!(desk.app.waiting(), 0);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_who_goes_away_leaves_nothing_behind() {
    let office = selling(ServerSet::Embedded).await;
    let desk = Desk::open(&office, None).await;
    let path = pending(&office, "alice").await;
    let waiters: Vec<_> =
        (0..MAX_WAITERS).map(|_| tokio::spawn(answer(desk.router(), waiting_event(&path, "alice", "10")))).collect();
    waiting(&desk, MAX_WAITERS).await;
    for waiter in waiters {
        waiter.abort();
        assert!(waiter.await.unwrap_err().is_cancelled());
    }
    assert_eq!(desk.app.waiting(), 0);
    // There is room again, and the bell still rings.
    office.system.event_source().resume();
    let told = desk.customer("alice").get(&format!("{path}?wait=10")).await.unwrap();
    assert_eq!(told.text("status"), Some("HELD"), "{}", told.body);
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_ends_before_its_invocation_does() {
    let office = selling(ServerSet::Embedded).await;
    let desk = Desk::open(&office, None).await;
    let path = pending(&office, "alice").await;
    let mut context = Context::default();
    context.deadline = u64::try_from(clock::wall_ms()).unwrap() + 3_000;
    let began = Instant::now();
    let told = answer(desk.router(), waiting_event(&path, "alice", "10").with_lambda_context(context)).await.unwrap();
    assert_eq!((told.status(), told.headers()["preference-applied"].as_bytes()), (StatusCode::OK, &b"wait=10"[..]));
    assert!(began.elapsed() < Duration::from_secs(10), "the invocation would have been cut: {:?}", began.elapsed());
    office.close().await;
}
