//! Redis away: who looks at an event is shown what the table has, at a bounded rate, and Redis' word again when it is back.

use std::time::Duration;

use axum::http::Method;
use local::servers::ServerSet;
use serde_json::json;
use shared::domain::ids::EventId;
use shared::dynamodb::view_counts::{Added, ViewCounts};
use tokio::time::Instant;

use super::crowd::counting_partitions;
use super::{COMPACT, NO_CACHE, readable};
use crate::harness::changing::{assert_answer, confirm};
use crate::harness::persisting::unreachable_redis;
use crate::harness::process::Process;
use crate::harness::{Office, all_at_once, eventually, hall, on_both_sets, signal};

on_both_sets!(
    without_redis_the_table_shows_the_same_map_and_page,
    without_redis_partitions_are_read_at_a_bounded_rate_and_once_for_all,
    who_looks_is_shown_the_table_while_redis_is_frozen_or_dead_and_redis_when_it_is_back,
);

/// A hall of which seats are held, sold and blocked, and which was viewed.
async fn used(set: ServerSet) -> Office {
    let office = Office::open(set).await;
    office.sells("away", &hall::small(2, 10)).await;
    let ada = office.customer("ada");
    office.holds(&ada, "away", "held", &["A-1-1", "A-1-2"]).await;
    let id = office.holds(&ada, "away", "sold", &["B-1-3"]).await;
    assert_answer(&confirm(&office.payments(), &id, "p").await, 200, "CONFIRMED");
    let block = json!({ "seats": ["A-2-10"], "note": "" });
    let organiser = office.system.organiser().unwrap();
    let blocked = organiser.send(Method::PUT, "/admin/events/away/blocks/b", &[], Some(&block)).await.unwrap();
    assert_eq!(blocked.status, 200, "{}", blocked.body);
    office
}

async fn without_redis_the_table_shows_the_same_map_and_page(set: ServerSet) {
    let office = used(set).await;
    let (counts, event) = (ViewCounts::new(office.table().await), EventId::parse("away").unwrap());
    let fence = counts.fence(&event).await.unwrap();
    assert!(matches!(counts.add(&event, "batch", 7, fence).await.unwrap(), Added::Done(_)));
    let (sound, alone) = (
        Process::of(&office, &counting_partitions().0).await,
        Process::with(&office, &counting_partitions().0, unreachable_redis().await).await,
    );
    for path in ["/events/away/seats", "/events/away/seats?section=B"] {
        for headers in [&[NO_CACHE][..], &[COMPACT, NO_CACHE]] {
            let (with, without) = (sound.get(path, headers).await, alone.get(path, headers).await);
            assert_eq!((without.status, without.json()), (200, with.json()), "{path}");
            assert_eq!(without.header("etag"), with.header("etag"), "equal statuses, equal tag");
        }
    }
    let map = readable(&alone.get("/events/away/seats", &[]).await.json());
    let is = |seat: &str| map[seat].as_str();
    assert_eq!([is("A-1-1"), is("B-1-3"), is("A-2-10"), is("A-1-3")], ["held", "sold", "blocked", "free"]);
    let (with, without) = (sound.get("/events/away", &[NO_CACHE]).await, alone.get("/events/away", &[]).await);
    assert_eq!(without.json()["availability"], with.json()["availability"]);
    assert_eq!(without.json()["views"], 7, "what was written back");
    // What is not there is not there, and what is not for everybody is not for everybody.
    assert_eq!(alone.get("/events/other", &[]).await.status, 404);
    assert_eq!(alone.get("/events/away/seats?section=C", &[]).await.status, 404);
    office.close().await;
}

async fn without_redis_partitions_are_read_at_a_bounded_rate_and_once_for_all(set: ServerSet) {
    const EVENTS: usize = 20;
    const ROWS: usize = 50;
    let office = Office::open(set).await;
    let rows: Vec<_> = (1..=ROWS).map(|row| json!({ "id": row.to_string(), "seats": 200 })).collect();
    let section = json!({ "id": "S", "name": "S", "kind": "seated", "price_cents": 1, "rows": rows });
    for n in 0..EVENTS {
        office.sells(&format!("event-{n}"), &hall::with(hall::small(1, 1), "sections", json!([section]))).await;
    }
    let (wire, partitions) = counting_partitions();
    let process = Process::with(&office, &wire, unreachable_redis().await).await;
    let began = Instant::now();
    let crowd = (0..50 * EVENTS).map(|n| {
        let process = process.clone();
        async move { process.get(&format!("/events/event-{}/seats", n % EVENTS), &[COMPACT]).await }
    });
    let answers = all_at_once(crowd).await;
    let took = began.elapsed();
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| (answer.status, answer.header("retry-after")) == (503, Some("1")));
    assert_eq!(served + refused.count(), answers.len());
    assert!(served >= 1, "nobody was served");
    let read = partitions.lock().unwrap().clone();
    let queries: usize = read.values().sum();
    // So many at once, so many a second, and the last ones on credit.
    let at_most = 100 + 100 * took.as_millis() as usize / 1_000 + ROWS;
    assert!((ROWS..=at_most).contains(&queries), "{queries} in {took:?}");
    assert!(took > Duration::from_secs(10) || read.values().all(|times| *times == 1), "{read:?}");
    office.close().await;
}

async fn who_looks_is_shown_the_table_while_redis_is_frozen_or_dead_and_redis_when_it_is_back(set: ServerSet) {
    let office = used(set).await;
    let (wire, partitions) = counting_partitions();
    let process = Process::of(&office, &wire).await;
    let views = process.get("/events/away", &[]).await.json()["views"].as_u64().unwrap();
    let queries = || partitions.lock().unwrap().values().sum::<usize>();
    let shown = async |what: &str| {
        eventually(what, || async {
            let (page, map) = tokio::join!(process.get("/events/away", &[]), process.get("/events/away/seats", &[]));
            assert!([200, 503].contains(&page.status) && [200, 503].contains(&map.status));
            let all = (page.status, map.status) == (200, 200);
            all.then(|| (page.json()["availability"]["A"]["held"].clone(), readable(&map.json())["B-1-3"].clone()))
        })
        .await
    };
    let pid = office.system.servers().redis_pid();
    signal("-STOP", pid);
    // A copy of a second may still be there; then it is the table that is asked.
    eventually("the table to be asked", || async {
        drop(shown("the event while redis is frozen").await);
        (queries() > 0).then_some(())
    })
    .await;
    assert_eq!(shown("the event while redis is frozen").await, (json!(2), "sold".to_owned()));
    signal("-CONT", pid);
    eventually("a view to be counted", || async {
        let now = process.get("/events/away", &[]).await.json()["views"].as_u64();
        now.is_some_and(|now| now > views).then_some(())
    })
    .await;
    signal("-KILL", pid);
    assert_eq!(shown("the event while redis is dead").await, (json!(2), "sold".to_owned()));
    office.system.servers().restart_redis().await.unwrap();
    // Empty as it is, what is claimed now is seen: Redis is asked again.
    let ada = office.customer("bob");
    assert_eq!(crate::harness::storm::insist(&ada, "away", "k", &["A-2-1"]).await.status, 202);
    eventually("the claim", || async {
        let map = process.get("/events/away/seats", &[]).await;
        (map.status == 200 && readable(&map.json())["A-2-1"] == "held").then_some(())
    })
    .await;
    office.close().await;
}
