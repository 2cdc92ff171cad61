//! Versions: counted from 1, guarded by their tag, never mixed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::Method;
use local::client::{Answer, ApiClient};
use local::servers::ServerSet;
use serde_json::{Value, json};
use shared::domain::ids::EventId;
use shared::dynamodb::events::Events;

use crate::harness::{Office, all_at_once, eventually, hall, on_both_sets};

on_both_sets!(
    a_publication_is_created_then_replaced_and_its_tag_guards_the_next,
    publishers_at_once_make_one_version_after_another_and_never_a_mixed_layout,
    of_publishers_with_the_same_tag_exactly_one_succeeds,
);

/// Publishes with an `If-Match`.
async fn publish(organiser: &ApiClient, event: &str, tag: &str, document: &Value) -> Answer {
    let path = format!("/admin/events/{event}");
    organiser.send(Method::PUT, &path, &[("if-match", tag)], Some(document)).await.unwrap()
}

async fn a_publication_is_created_then_replaced_and_its_tag_guards_the_next(set: ServerSet) {
    let office = Office::open(set).await;
    let organiser = office.system.organiser().unwrap();
    let hall = hall::small(1, 4);
    let none = publish(&organiser, "tags", "*", &hall).await;
    assert_eq!((none.status, none.text("type")), (412, Some("precondition-failed")), "{}", none.body);
    assert_eq!(office.system.anyone().get("/events/tags").await.unwrap().status, 404);

    let seen =
        |answer: &Answer| (answer.status, answer.header("etag").map(str::to_owned), answer.body["version"].as_u64());
    let tagged = |status: u16, version: u64| (status, Some(format!("\"v{version}\"")), Some(version));
    assert_eq!(seen(&office.publish("tags", &hall).await), tagged(201, 1));
    assert_eq!(seen(&office.publish("tags", &hall).await), tagged(200, 2));
    assert_eq!(seen(&publish(&organiser, "tags", "\"v2\"", &hall).await), tagged(200, 3));
    assert_eq!(seen(&publish(&organiser, "tags", "*", &hall).await), tagged(200, 4));
    for stale in ["\"v3\"", "\"v5\"", "v4", ""] {
        let refused = publish(&organiser, "tags", stale, &hall::with(hall.clone(), "name", json!("Stale"))).await;
        assert_eq!((refused.status, refused.text("type")), (412, Some("precondition-failed")), "{stale}");
    }
    let shown = office.system.anyone().get("/events/tags").await.unwrap();
    assert_eq!((&shown.body["version"], &shown.body["name"]), (&json!(4), &hall["name"]));
    office.close().await;
}

/// The hall of one publisher: his name, and the rows of both sections in his order.
fn signed(name: &str, rows: &[&str]) -> Value {
    let rows: Vec<Value> = rows.iter().map(|row| json!({ "id": row, "seats": 3 })).collect();
    let mut hall = hall::with(hall::small(1, 3), "name", json!(name));
    for section in hall["sections"].as_array_mut().unwrap() {
        section["rows"] = json!(rows);
    }
    hall
}

/// The order of the rows of each section, and the name it belongs to.
fn signature(document: &Value) -> (String, Vec<Vec<String>>) {
    let rows = |section: &Value| {
        let rows = section["rows"].as_array().unwrap().iter();
        rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let sections = document["sections"].as_array().unwrap().iter().map(rows).collect();
    (document["name"].as_str().unwrap().to_owned(), sections)
}

async fn publishers_at_once_make_one_version_after_another_and_never_a_mixed_layout(set: ServerSet) {
    const EACH: u64 = 10;
    let office = Office::open(set).await;
    let halls = [signed("forwards", &["1", "2", "3"]), signed("backwards", &["3", "2", "1"])];
    let whole: Vec<_> = halls.iter().map(signature).collect();
    office.sells("race", &halls[0]).await;

    // Somebody reads all the time, past every cache.
    let events = Events::new(office.table().await);
    let over = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (over, whole) = (Arc::clone(&over), whole.clone());
        async move {
            let id = EventId::parse("race").unwrap();
            let mut versions = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                let event = events.get(&id).await.unwrap().unwrap();
                assert!(versions.last().is_none_or(|last| *last <= event.version), "a version went back");
                versions.insert(event.version);
                let seen = signature(&serde_json::to_value(&event.document).unwrap());
                assert!(whole.contains(&seen), "version {} is mixed: {seen:?}", event.version);
            }
            versions.len()
        }
    });
    let organiser = office.system.organiser().unwrap();
    let publishers = halls.into_iter().map(|hall| {
        let organiser = organiser.clone();
        async move {
            let mut made = Vec::new();
            for _ in 0..EACH {
                // Overtaken five times in a row is 503, with the word to try again.
                let answer = eventually("a publication", || async {
                    let answer = organiser.send(Method::PUT, "/admin/events/race", &[], Some(&hall)).await.unwrap();
                    assert!([200, 503].contains(&answer.status), "{}", answer.body);
                    (answer.status == 200).then_some(answer)
                })
                .await;
                assert_eq!(signature(&answer.body), signature(&hall), "a publisher is answered with his own");
                made.push(answer.body["version"].as_u64().unwrap());
            }
            made
        }
    });
    let mut made: Vec<u64> = all_at_once(publishers).await.into_iter().flatten().collect();
    over.store(true, Ordering::Relaxed);
    assert!(reader.await.unwrap() > 1, "the reader saw no publication");
    made.sort_unstable();
    assert_eq!(made, (2..=2 * EACH + 1).collect::<Vec<_>>());
    office.close().await;
}

async fn of_publishers_with_the_same_tag_exactly_one_succeeds(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("tag", &hall::small(1, 4)).await;
    let organiser = office.system.organiser().unwrap();
    let publishers = (0..8).map(|n| {
        let organiser = organiser.clone();
        async move {
            let hall = hall::with(hall::small(1, 4), "name", json!(format!("publisher {n}")));
            publish(&organiser, "tag", "\"v1\"", &hall).await
        }
    });
    let answers = all_at_once(publishers).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((won.len(), &won[0].body["version"]), (1, &json!(2)));
    for answer in lost {
        assert_eq!((answer.status, answer.text("type")), (412, Some("precondition-failed")), "{}", answer.body);
    }
    let shown = office.system.anyone().get("/events/tag").await.unwrap();
    assert_eq!((&shown.body["version"], &shown.body["name"]), (&json!(2), &won[0].body["name"]));
    office.close().await;
}
