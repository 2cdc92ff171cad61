//! What every refusal looks like on the wire: each slug that `problem.rs` knows is provoked once, and its whole body is a
//! snapshot. A change of one is a visible diff, and so is a new slug without one.

mod changes;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::Method;
use futures_util::future::BoxFuture;
use local::client::Answer;
use local::servers::ServerSet;
use local::system::WrapLog;
use serde_json::{Value, json};
use shared::clock;
use shared::domain::ids::ReservationId;
use shared::domain::reservation::{Decision, Outcome, Reason, Step};
use shared::dynamodb::reservations::Repository;
use shared::dynamodb::rows::ReservationRow;
use shared::kafka::{Doubt, Message, Position, ProduceError, Refusal, RequestLog};
use shared::message::Request;
use shared::redis::claims::MAX_ATTEMPTS;

use crate::harness::functions::{Functions, events};
use crate::harness::{Office, Wishes, eventually, hall, on_both_sets};
use crate::openapi::known_slugs;

on_both_sets!(every_problem_looks_as_it_always_did);

/// Fails what concerns the events `doubt` and `down`, in the way of their names.
struct Failing(Arc<dyn RequestLog>);

impl RequestLog for Failing {
    fn produce(&self, message: Message) -> BoxFuture<'_, Result<Position, ProduceError>> {
        let of = |event: &[u8]| message.key.as_ref().is_some_and(|key| key.starts_with(event));
        let (doubt, down) = (of(b"doubt."), of(b"down."));
        Box::pin(async move {
            match (doubt, down) {
                (true, _) => Err(ProduceError::in_doubt(Doubt::Deadline)),
                (_, true) => Err(ProduceError::definite(Refusal::NoMetadata)),
                _ => self.0.produce(message).await,
            }
        })
    }
}

/// The problems met so far.
struct Gallery(BTreeSet<String>);

impl Gallery {
    /// Holds a refusal against the snapshot of that name; several may show one slug.
    fn show(&mut self, name: &str, answer: &Answer) {
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{name}: {}", answer.body);
        assert_eq!(answer.body["status"], json!(answer.status), "{name}");
        let slug = answer.text("type").unwrap();
        let waits = ["contended", "pending", "too-many-attempts", "unavailable"].contains(&slug);
        assert_eq!(answer.header("retry-after"), waits.then_some("1"), "{name}");
        self.keep(name, &answer.body);
    }

    fn keep(&mut self, name: &str, body: &Value) {
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_json_snapshot!(format!("problem-{name}"), body);
        });
        self.0.insert(body["type"].as_str().unwrap().to_owned());
    }
}

async fn every_problem_looks_as_it_always_did(set: ServerSet) {
    let wrap: WrapLog = Box::new(|log| Arc::new(Failing(log)));
    let office = Office::open_with(Wishes { wrap_log: Some(wrap), ..Wishes::plain(set) }).await;
    let mut gallery = Gallery(BTreeSet::new());
    requests(&office, &mut gallery).await;
    sales(&office, &mut gallery).await;
    publications(&office, &mut gallery).await;
    behind_the_gateway(&office, &mut gallery).await;
    logs(&office, &mut gallery).await;
    rows(&office, &mut gallery).await;
    claims_that_end(&office, &mut gallery).await;
    changes::changes(&office, &mut gallery).await;
    changes::late_payments(&office, &mut gallery).await;
    changes::sections(&office, &mut gallery).await;
    office.close().await;
    assert_eq!(gallery.0, known_slugs(), "the slugs of problem/slug.rs, each provoked");
}

async fn requests(office: &Office, gallery: &mut Gallery) {
    office.sells("plain", &hall::with(hall::small(1, 4), "max_per_customer", json!(3))).await;
    office.sells("large", &hall::small(100, 200)).await;
    let (ada, bob) = (office.customer("ada"), office.customer("bob"));
    let path = "/events/plain/reservations";
    let send = async |headers: &[(&str, &str)], body: Vec<u8>| {
        ada.send_raw(Method::POST, path, headers, body.into()).await.unwrap()
    };
    let key = [("idempotency-key", "k")];
    gallery.show("invalid-request", &send(&key, br#"{"seats":["A-1-1",7]}"#.to_vec()).await);
    gallery.show("idempotency-key-missing", &send(&[], br#"{"seats":["A-1-1"]}"#.to_vec()).await);
    gallery.show("body-too-large", &send(&key, vec![b' '; 70 * 1_024]).await);
    gallery.show("event-not-found", &ada.reserve("nowhere", "k", &["A-1-1"]).await.unwrap());
    gallery.show("seat-not-found", &ada.reserve("plain", "k", &["A-1-1", "A-9-9"]).await.unwrap());
    gallery.show("seat-not-found-section", &ada.get("/events/plain/seats?section=Z").await.unwrap());
    gallery.show("layout-not-found", &ada.get("/events/plain/layouts/2").await.unwrap());
    gallery.show("section-required", &ada.get("/events/large/seats").await.unwrap());
    let never = "/reservations/plain.00000000-0000-5000-8000-000000000000";
    gallery.show("reservation-not-found", &ada.get(never).await.unwrap());
    gallery.show("limit-reached", &ada.reserve("plain", "k", &["A-1-1", "A-1-2", "A-1-3", "A-1-4"]).await.unwrap());

    assert_eq!(ada.reserve("plain", "k", &["A-1-1", "A-1-2"]).await.unwrap().status, 202);
    gallery.show("seats-taken", &bob.reserve("plain", "k", &["A-1-2", "A-1-3"]).await.unwrap());
    gallery.show("seats-taken-by-me", &ada.reserve("plain", "k2", &["A-1-2"]).await.unwrap());
    gallery.show("idempotency-key-reused", &ada.reserve("plain", "k", &["A-1-3"]).await.unwrap());
}

async fn sales(office: &Office, gallery: &mut Gallery) {
    let window = |opens: &str, closes: &str| json!({ "opens_at": opens, "closes_at": closes });
    let early = window("2097-01-01T09:00:00Z", "2098-01-01T00:00:00Z");
    let late = window("2020-01-01T09:00:00Z", "2021-01-01T00:00:00Z");
    for (name, field, value) in [
        ("sale-not-open", "sale", early),
        ("sale-closed", "sale", late),
        ("sale-closed-for-good", "state", json!("ended")),
        ("sale-paused", "state", json!("paused")),
    ] {
        office.sells(name, &hall::with(hall::small(1, 1), field, value)).await;
        gallery.show(name, &office.customer("ada").reserve(name, "k", &["A-1-1"]).await.unwrap());
    }
}

async fn publications(office: &Office, gallery: &mut Gallery) {
    office.sells("smaller", &hall::small(2, 2)).await;
    office.customer("ada").reserve("smaller", "k", &["A-2-2"]).await.unwrap();
    gallery.show("seats-in-use", &office.publish("smaller", &hall::small(1, 2)).await);
    let organiser = office.system.organiser().unwrap();
    let (path, document) = ("/admin/events/smaller", hall::small(2, 2));
    let refused = organiser.send(Method::PUT, path, &[("if-match", "\"v9\"")], Some(&document)).await.unwrap();
    gallery.show("precondition-failed", &refused);
}

/// What the gateway answers itself, in front of a function that does not rely on it.
async fn behind_the_gateway(office: &Office, gallery: &mut Gallery) {
    let (functions, events) = (Functions::of(office).await, events());
    for (name, event) in [
        ("unauthorized", "http-reserve-no-token.json"),
        ("forbidden", "http-publish-without-scope.json"),
        ("route-not-found", "http-route-unknown.json"),
        ("method-not-allowed", "http-route-with-another-method.json"),
    ] {
        let response = functions.http(&events[event]).await;
        gallery.keep(name, &serde_json::from_slice(response.body().as_ref()).unwrap());
    }
}

async fn logs(office: &Office, gallery: &mut Gallery) {
    for (event, name) in [("doubt", "unavailable-in-doubt"), ("down", "unavailable")] {
        office.sells(event, &hall::small(1, 1)).await;
        gallery.show(name, &office.customer("ada").reserve(event, "k", &["A-1-1"]).await.unwrap());
    }
}

/// Reservations that ended as no customer's request can end them yet.
async fn rows(office: &Office, gallery: &mut Gallery) {
    let ada = office.customer("ada");
    let repository = Repository::new(office.table().await);
    office.sells("rows", &hall::small(1, 4)).await;

    ada.reserve("rows", "cancelled", &["A-1-1"]).await.unwrap();
    office.drained().await;
    let id = bound_id(&ada.reserve("rows", "cancelled", &["A-1-1"]).await.unwrap());
    let row = repository.get(&id).await.unwrap().unwrap();
    repository.end(&row, Step::Cancel, clock::wall_ms()).await.unwrap();
    gallery.show("not-held", &ada.reserve("rows", "cancelled", &["A-1-1"]).await.unwrap());

    // The row is there before its message arrives, and is adopted.
    office.system.event_source().pause();
    let id = bound_id(&ada.reserve("rows", "contended", &["A-1-2"]).await.unwrap());
    let messages = office.produced().await;
    let message = messages.iter().find(|message| message.key.as_deref() == Some(id.as_str().as_bytes())).unwrap();
    let request = Request::from_value(message.value.as_deref().unwrap()).unwrap();
    let contended = Decision::plain(Outcome::Rejected(Reason::Contended));
    repository.put_unless_stored(ReservationRow::new(&request, contended)).await.unwrap();
    office.system.event_source().resume();
    office.drained().await;
    gallery.show("contended", &ada.reserve("rows", "contended", &["A-1-2"]).await.unwrap());

    office.system.event_source().pause();
    for _ in 0..MAX_ATTEMPTS {
        assert_eq!(ada.reserve("rows", "again", &["A-1-3"]).await.unwrap().status, 202);
    }
    gallery.show("too-many-attempts", &ada.reserve("rows", "again", &["A-1-3"]).await.unwrap());
    office.system.event_source().resume();
    office.drained().await;
}

fn bound_id(answer: &Answer) -> ReservationId {
    ReservationId::parse(answer.text("reservation_id").unwrap_or_else(|| panic!("{}", answer.body))).unwrap()
}

async fn claims_that_end(office: &Office, gallery: &mut Gallery) {
    let ada = office.customer("ada");
    office.sells("short", &hall::with(hall::small(1, 4), "hold_seconds", json!(1))).await;
    let ended = async |key: &str, seat: &str| {
        eventually("the end of a hold", async || {
            let answer = ada.reserve("short", key, &[seat]).await.unwrap();
            (answer.status == 409).then_some(answer)
        })
        .await
    };
    assert_eq!(ada.reserve("short", "stored", &["A-1-1"]).await.unwrap().status, 202);
    office.drained().await;
    gallery.show("hold-expired", &ended("stored", "A-1-1").await);
    office.system.event_source().pause();
    gallery.show("lapsed", &ended("unseen", "A-1-2").await);
    office.system.event_source().resume();
}
