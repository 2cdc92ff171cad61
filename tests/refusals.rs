//! What the API refuses without a look at any seat: the status, the slug, the field that is named, and that nothing at all
//! has changed afterwards, neither in the table nor on the seat map.

mod documents;
mod requests;

use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use local::client::{Answer, ApiClient};
use local::servers::ServerSet;
use serde_json::{Value, json};

use crate::harness::{Office, eventually, hall, on_both_sets, storm, table};

on_both_sets!(
    what_is_no_valid_request_is_refused_by_name_and_changes_nothing,
    what_is_no_valid_document_is_refused_by_name_and_changes_nothing,
    a_list_is_read_with_its_own_cursors_only,
    a_reservation_is_its_owners_alone,
    a_seat_map_is_sent_again_only_after_it_changed,
    a_large_event_is_shown_section_by_section,
);

/// The event that is for sale.
const HALL: &str = "hall";

/// A request that must be refused.
struct Refused {
    what: &'static str,
    who: Who,
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    status: u16,
    /// The problem's `type`; empty = the gateway's own answer, which has none.
    slug: &'static str,
    /// Fields the body has, exactly so.
    fields: Value,
}

#[derive(Clone, Copy)]
enum Who {
    Ada,
    Organiser,
    Anyone,
}

impl Refused {
    /// Of ada, who asks for seats under a key, with this body.
    fn reserve(what: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            what,
            who: Who::Ada,
            method: Method::POST,
            path: format!("/events/{HALL}/reservations"),
            headers: vec![("idempotency-key", "a-key".to_owned())],
            body: body.into(),
            status: 400,
            slug: "invalid-request",
            fields: json!({}),
        }
    }

    fn get(what: &'static str, path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), headers: Vec::new(), ..Self::reserve(what, "") }
    }

    fn publish(what: &'static str, document: impl Into<Bytes>) -> Self {
        let path = format!("/admin/events/{HALL}");
        let headers = Vec::new();
        Self { who: Who::Organiser, method: Method::PUT, path, headers, ..Self::reserve(what, document) }
    }

    fn of(self, who: Who) -> Self {
        Self { who, ..self }
    }

    fn at(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    fn key(self, key: &str) -> Self {
        Self { headers: vec![("idempotency-key", key.to_owned())], ..self }
    }

    fn with(self, status: u16, slug: &'static str) -> Self {
        Self { status, slug, ..self }
    }

    fn naming(self, name: &str, value: impl Into<Value>) -> Self {
        Self { fields: json!({ name: value.into() }), ..self }
    }

    fn field(self, path: &str) -> Self {
        self.naming("field", path)
    }

    async fn send(&self, office: &Office) -> Answer {
        let client = match self.who {
            Who::Ada => office.customer("ada"),
            Who::Organiser => office.system.organiser().unwrap(),
            Who::Anyone => office.system.anyone(),
        };
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        client.send_raw(self.method.clone(), &self.path, &headers, self.body.clone()).await.unwrap()
    }

    fn assert(&self, answer: &Answer) {
        let Self { what, status, slug, fields, .. } = self;
        let body = &answer.body;
        assert_eq!(answer.status, *status, "{what}: {body}");
        if slug.is_empty() {
            let names: Vec<&String> = body.as_object().unwrap().keys().collect();
            assert_eq!(names, ["message"], "{what}: {body}");
            return;
        }
        assert_eq!(answer.text("type"), Some(*slug), "{what}: {body}");
        assert_eq!(body["status"], json!(status), "{what}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
        for (name, value) in fields.as_object().unwrap() {
            assert_eq!(&body[name], value, "{what}: {body}");
        }
        assert!(body.get("reservation_id").is_none(), "{what}: a key was bound: {body}");
        assert_speaks_of_no_internals(what, &body.to_string());
    }
}

/// Words of ours that no caller needs.
fn assert_speaks_of_no_internals(what: &str, text: &str) {
    for word in
        ["struct ", "u64", "u32", "usize", "serde", "axum", "Redis", "redis", "Kafka", "Dynamo", "panicked", "::"]
    {
        assert!(!text.contains(word), "{what}: says {word:?}: {text}");
    }
}

/// The hall with a seat of it held by bob, so that something is there to be changed, and a section of places.
async fn open(set: ServerSet) -> Office {
    let office = Office::open(set).await;
    let mut document = hall::small(2, 4);
    let floor = json!({ "id": "FLOOR", "name": "Floor", "kind": "general", "price_cents": 100, "capacity": 50 });
    document["sections"].as_array_mut().unwrap().push(floor);
    office.sells(HALL, &document).await;
    hold(&office.customer("bob"), "bobs", "A-2-1").await;
    office.drained().await;
    office
}

/// Reserves a seat and returns the reservation's id.
async fn hold(client: &ApiClient, key: &str, seat: &str) -> String {
    let answer = storm::insist(client, HALL, key, &[seat]).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    answer.text("reservation_id").unwrap().to_owned()
}

async fn seat_map(office: &Office) -> Answer {
    office.fresh(&format!("/events/{HALL}/seats")).await
}

/// Sends each and looks at everything after it.
async fn all_are_refused(office: &Office, refused: Vec<Refused>) {
    let (items, map) = (office.scan().await, seat_map(office).await);
    for request in refused {
        request.assert(&request.send(office).await);
        let now = office.scan().await;
        assert!(now == items, "{}: {:#?}", request.what, table::difference(&items, &now));
        assert_eq!(seat_map(office).await.raw, map.raw, "{}", request.what);
    }
    assert_eq!(office.produced().await.len(), 1, "nothing but bob's request was produced");
}

async fn what_is_no_valid_request_is_refused_by_name_and_changes_nothing(set: ServerSet) {
    let office = open(set).await;
    all_are_refused(&office, requests::refused()).await;
    office.close().await;
}

async fn what_is_no_valid_document_is_refused_by_name_and_changes_nothing(set: ServerSet) {
    let office = open(set).await;
    all_are_refused(&office, documents::refused()).await;
    office.close().await;
}

async fn a_list_is_read_with_its_own_cursors_only(set: ServerSet) {
    let office = open(set).await;
    let (bob, ada) = (office.customer("bob"), office.customer("ada"));
    hold(&bob, "another", "A-2-2").await;
    office.drained().await;
    let page = eventually("a second page in the index", || async {
        let page = bob.get("/reservations?limit=1").await.unwrap();
        page.text("cursor").is_some().then_some(page)
    })
    .await;
    let cursor = page.text("cursor").unwrap();
    let next = bob.get(&format!("/reservations?limit=1&cursor={cursor}")).await.unwrap();
    assert_eq!(next.body["reservations"].as_array().unwrap().len(), 1);
    assert_ne!(next.body["reservations"][0]["reservation_id"], page.body["reservations"][0]["reservation_id"]);
    let stolen = ada.get(&format!("/reservations?limit=1&cursor={cursor}")).await.unwrap();
    assert_eq!((stolen.status, stolen.text("field")), (400, Some("cursor")), "{}", stolen.body);
    for forged in [
        json!({ "customer": "bob", "a": "b", "c": "d", "e": "f" }),
        json!({ "customer": "bob", "pk": "", "sk": "-", "created_at_id": "1" }),
    ] {
        let cursor = URL_SAFE_NO_PAD.encode(forged.to_string());
        let refused = bob.get(&format!("/reservations?cursor={cursor}")).await.unwrap();
        assert_eq!((refused.status, refused.text("field")), (400, Some("cursor")), "{}", refused.body);
    }
    let own = ada.get("/reservations").await.unwrap();
    assert_eq!(own.body, json!({ "reservations": [], "cursor": null }));
    office.close().await;
}

async fn a_reservation_is_its_owners_alone(set: ServerSet) {
    let office = open(set).await;
    let (bob, ada) = (office.customer("bob"), office.customer("ada"));
    let bobs = storm::insist(&bob, HALL, "bobs", &["A-2-1"]).await.text("reservation_id").unwrap().to_owned();
    office.system.event_source().pause();
    let pending = hold(&bob, "pending", "A-2-2").await;
    let never = format!("{HALL}.00000000-0000-5000-8000-000000000000");
    let elsewhere = "nowhere.00000000-0000-5000-8000-000000000000".to_owned();
    let unknown = ada.get(&format!("/reservations/{never}")).await.unwrap();
    assert_eq!((unknown.status, unknown.text("type")), (404, Some("reservation-not-found")));
    for id in [bobs.clone(), pending, elsewhere, "17".to_owned(), "%FF".to_owned()] {
        let answer = ada.get(&format!("/reservations/{id}")).await.unwrap();
        assert_eq!((answer.status, &answer.body), (404, &unknown.body), "{id}: not to be told from an unknown one");
    }
    assert_eq!(bob.get(&format!("/reservations/{bobs}")).await.unwrap().body["status"], "HELD");
    office.close().await;
}

async fn a_seat_map_is_sent_again_only_after_it_changed(set: ServerSet) {
    let office = open(set).await;
    let path = format!("/events/{HALL}/seats");
    let asked = async |known: &str| {
        let headers = [("if-none-match", known), ("cache-control", "no-cache")];
        office.system.anyone().send(Method::GET, &path, &headers, None).await.unwrap()
    };
    let tag = seat_map(&office).await.header("etag").unwrap().to_owned();
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}")] {
        let unchanged = asked(&known).await;
        assert_eq!((unchanged.status, unchanged.raw.len()), (304, 0), "{known}");
        assert_eq!(unchanged.header("etag"), Some(tag.as_str()));
    }
    assert_eq!(asked("\"other\"").await.status, 200);
    hold(&office.customer("ada"), "k", "A-1-1").await;
    let changed = asked(&tag).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), Some(tag.as_str()));
    office.close().await;
}

async fn a_large_event_is_shown_section_by_section(set: ServerSet) {
    let office = Office::open(set).await;
    // Section A and the one row of section B: 20,000 seats, and 20,200.
    office.sells("just-right", &hall::small(99, 200)).await;
    office.sells("too-large", &hall::small(100, 200)).await;
    let shown = office.system.anyone().get("/events/just-right/seats").await.unwrap();
    assert_eq!(shown.status, 200, "{}", shown.body);
    let refused = office.system.anyone().get("/events/too-large/seats").await.unwrap();
    assert_eq!((refused.status, refused.text("type")), (400, Some("section-required")), "{}", refused.body);
    let section = office.system.anyone().get("/events/too-large/seats?section=B").await.unwrap();
    assert_eq!((section.status, section.body["sections"].as_array().unwrap().len()), (200, 1));
    // Counts are shown whatever the size.
    let counted = office.system.anyone().get("/events/too-large").await.unwrap().body;
    assert_eq!(counted["availability"]["A"]["capacity"], json!(20_000));
    office.close().await;
}
