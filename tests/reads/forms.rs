//! The two forms of a seat map and the layout between them, and what caches in front are told.

use axum::http::Method;
use local::servers::ServerSet;
use serde_json::json;

use super::{COMPACT, NO_CACHE, readable, unpacked};
use crate::harness::process::Process;
use crate::harness::wire::{Fate, Wire};
use crate::harness::{Office, hall, on_both_sets};

on_both_sets!(
    both_forms_show_the_same_and_the_layout_says_which_seat_is_which,
    a_map_that_is_known_is_not_sent_again_in_either_form,
    a_layout_never_changes_and_a_superseded_one_is_gone,
);

/// A hall with rows of labels and of counts, and places beside.
fn mixed() -> serde_json::Value {
    let mut document = hall::standing(7);
    let odd = json!({ "id": "2", "seats": ["1", "3", "A"] });
    document["sections"][1]["rows"].as_array_mut().unwrap().push(odd);
    let circle =
        json!({ "id": "B", "name": "Circle", "kind": "seated", "price_cents": 1, "rows": [{ "id": "Z", "seats": 5 }] });
    document["sections"].as_array_mut().unwrap().push(circle);
    document
}

async fn both_forms_show_the_same_and_the_layout_says_which_seat_is_which(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("mixed", &mixed()).await;
    let (ada, bob) = (office.customer("ada"), office.customer("bob"));
    let sold = office.holds(&ada, "mixed", "sold", &["A-2-A", "B-Z-1"]).await;
    assert_eq!(crate::harness::changing::confirm(&office.payments(), &sold, "p").await.status, 200);
    office.holds(&bob, "mixed", "held", &["A-1-3", "A-2-1"]).await;
    let block = json!({ "seats": ["A-1-1", "B-Z-5"], "note": "" });
    let organiser = office.system.organiser().unwrap();
    assert_eq!(
        organiser.send(Method::PUT, "/admin/events/mixed/blocks/b", &[], Some(&block)).await.unwrap().status,
        200
    );

    let anyone = office.system.anyone();
    let plain = office.fresh("/events/mixed/seats").await;
    assert_eq!(plain.header("content-type"), Some("application/json"));
    let compact = anyone.send(Method::GET, "/events/mixed/seats", &[COMPACT, NO_CACHE], None).await.unwrap();
    assert_eq!(compact.header("content-type"), Some(COMPACT.1));
    let compact_body: serde_json::Value = serde_json::from_slice(&compact.raw).unwrap();
    let layout = anyone.get(compact_body["layout"].as_str().unwrap()).await.unwrap();
    assert_eq!(layout.header("cache-control"), Some("public, max-age=31536000, immutable"));
    let shown = readable(&plain.body);
    assert_eq!(unpacked(&compact_body, &layout.body), shown);
    for (seat, status) in [("A-2-A", "sold"), ("A-1-3", "held"), ("B-Z-5", "blocked"), ("B-Z-2", "free")] {
        assert_eq!(shown[seat], status, "{seat}");
    }
    // Counts are in both, and of places nothing else is.
    for (plain, compact) in
        plain.body["sections"].as_array().unwrap().iter().zip(compact_body["sections"].as_array().unwrap())
    {
        for field in ["id", "kind", "capacity", "free", "held", "sold", "blocked"] {
            assert_eq!(plain[field], compact[field]);
        }
        assert_eq!(plain["seats"].is_null(), compact["statuses"].is_null());
        assert_eq!(plain["seats"].is_null(), plain["kind"] == "general");
    }
    // One section of either.
    for headers in [&[NO_CACHE][..], &[NO_CACHE, COMPACT]] {
        let one = anyone.send(Method::GET, "/events/mixed/seats?section=B", headers, None).await.unwrap();
        let one: serde_json::Value = serde_json::from_slice(&one.raw).unwrap();
        assert_eq!(one["sections"].as_array().unwrap().len(), 1);
        assert_eq!((&one["sections"][0]["id"], &one["sections"][0]["sold"]), (&json!("B"), &json!(1)));
        let none = anyone.send(Method::GET, "/events/mixed/seats?section=C", headers, None).await.unwrap();
        assert_eq!((none.status, none.text("type")), (404, Some("seat-not-found")));
    }
    office.close().await;
}

async fn a_map_that_is_known_is_not_sent_again_in_either_form(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("mixed", &mixed()).await;
    let path = "/events/mixed/seats";
    let anyone = office.system.anyone();
    let mut tags = Vec::new();
    for accept in [
        ("accept", "*/*"),
        COMPACT,
        ("accept", "text/plain"),
        ("accept", "application/vnd.event-tickets.seatmap+json;q=0"),
    ] {
        let whole = anyone.send(Method::GET, path, &[accept], None).await.unwrap();
        let tag = whole.header("etag").unwrap().to_owned();
        assert!(tag.starts_with('"'), "{tag} is strong");
        let caching = ["cache-control", "vary", "etag"];
        let told = caching.map(|name| whole.header(name).map(str::to_owned));
        let expected = ["public, max-age=1, stale-while-revalidate=2", "accept", &tag];
        assert_eq!(told.clone().map(Option::unwrap), expected);
        for known in ["*", &tag, &format!("W/{tag}"), &format!("\"a,b\", {tag}")] {
            let unchanged = anyone.send(Method::GET, path, &[accept, ("if-none-match", known)], None).await.unwrap();
            assert_eq!((unchanged.status, unchanged.raw.len()), (304, 0), "{known}");
            assert_eq!(caching.map(|name| unchanged.header(name).map(str::to_owned)), told);
        }
        for unknown in ["\"other\"", "", tag.trim_matches('"')] {
            let sent = anyone.send(Method::GET, path, &[accept, ("if-none-match", unknown)], None).await.unwrap();
            assert_eq!(sent.status, 200, "{unknown}");
        }
        tags.push(tag);
    }
    assert_ne!(tags[0], tags[1], "two representations");
    assert_eq!((&tags[0], &tags[0]), (&tags[2], &tags[3]), "who can read neither form is sent the readable one");
    office.close().await;
}

async fn a_layout_never_changes_and_a_superseded_one_is_gone(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("mixed", &mixed()).await;
    let process = Process::of(&office, &Wire::new(|_, _| Fate::Pass)).await;
    let layout = async |version: &str| process.get(&format!("/events/mixed/layouts/{version}"), &[]).await;
    let first = layout("1").await;
    assert_eq!(first.status, 200);
    assert_eq!(layout("1").await.bytes(), first.bytes());
    assert_eq!(first.json()["sections"][1]["rows"][1]["seats"], json!(["1", "3", "A"]));
    for version in ["0", "2", "01", "+1", "-1", "1.0", "x", "18446744073709551616", "%FF"] {
        let refused = layout(version).await;
        assert_eq!((refused.status, &refused.json()["type"]), (404, &json!("layout-not-found")), "{version}");
        assert_eq!(refused.header("cache-control"), Some("no-store"));
    }
    assert_eq!(process.get("/events/nowhere/layouts/1", &[]).await.json()["type"], "event-not-found");
    // Published by another process: whoever has seen the new version in a map finds its layout here, too.
    office.sells("mixed", &hall::with(mixed(), "name", json!("Another name"))).await;
    let second = crate::harness::eventually("the second layout", || async {
        let second = layout("2").await;
        (second.status == 200).then_some(second)
    })
    .await;
    assert_eq!((&second.json()["version"], &second.json()["sections"]), (&json!(2), &first.json()["sections"]));
    assert_eq!(layout("1").await.status, 404);
    office.close().await;
}
