//! What is seen, and when: copies are a second old at most, also of another process' publication; counts add up at any moment
//! of a storm; and a crowd on a warm event costs Redis a command a second.

use axum::http::Method;
use local::servers::ServerSet;
use reservation_api::RECENT;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::crowd::{assert_bounded, on_a_cold_event};
use super::{COMPACT, NO_CACHE, SLACK, readable};
use crate::harness::monitor::Monitor;
use crate::harness::process::Process;
use crate::harness::wire::{Fate, Wire};
use crate::harness::{Office, all_at_once, changing, eventually, hall, on_both_sets, storm};

on_both_sets!(
    two_thousand_readers_of_a_cold_event_read_each_partition_once,
    a_crowd_on_a_warm_event_costs_redis_one_command_a_second,
    what_was_published_elsewhere_is_seen_within_a_second,
    what_was_claimed_elsewhere_is_seen_within_a_second,
    the_counts_add_up_at_any_moment_of_a_storm,
);

fn quiet() -> Wire {
    Wire::new(|_, _| Fate::Pass)
}

async fn two_thousand_readers_of_a_cold_event_read_each_partition_once(set: ServerSet) {
    let (sections, rows) = (4, 25);
    let run = on_a_cold_event(set, sections, rows, 2_000).await;
    println!("{run}");
    assert_bounded(&run, sections, rows, SLACK);
}

async fn a_crowd_on_a_warm_event_costs_redis_one_command_a_second(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("warm", &hall::small(10, 20)).await;
    let process = Process::of(&office, &quiet()).await;
    // Redis has the script by then, and is not sent it for the first command.
    assert_eq!(office.fresh("/events/warm/seats").await.status, 200);
    let mut monitor = Monitor::start(&office.system.servers().redis_url()).await;
    let began = Instant::now();
    let crowd = (0..400).map(|n| {
        let process = process.clone();
        async move {
            let path = ["/events/warm/seats", "/events/warm/seats?section=B"][n % 2];
            process.get(path, &[COMPACT]).await.status
        }
    });
    assert!(all_at_once(crowd).await.iter().all(|status| *status == 200));
    let reads = monitor.commands().await.iter().filter(|command| command.contains(":counted")).count() as u64;
    // Both sections by one command, or each by one of its own where section B was asked for first.
    let at_most = 2 * (1 + began.elapsed().as_secs());
    assert!(reads <= at_most, "{reads} commands in {:?}", began.elapsed());
    office.close().await;
}

async fn what_was_published_elsewhere_is_seen_within_a_second(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("news", &hall::small(1, 4)).await;
    let process = Process::of(&office, &quiet()).await;
    let version = async |path: &str| process.get(path, &[]).await.json()["version"].as_u64();
    for (n, path) in [(2, "/events/news"), (3, "/events/news/seats"), (4, "/events/news/seats?section=A")] {
        assert_eq!(version(path).await, Some(n - 1), "a copy of {path} from before");
        office.sells("news", &hall::with(hall::small(1, 4), "name", json!(format!("Version {n}")))).await;
        let published = Instant::now();
        eventually("the publication", || async { (version(path).await == Some(n)).then_some(()) }).await;
        assert!(published.elapsed() <= RECENT + SLACK, "{path}: {:?}", published.elapsed());
    }
    office.close().await;
}

async fn what_was_claimed_elsewhere_is_seen_within_a_second(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("seen", &hall::small(1, 4)).await;
    let process = Process::of(&office, &quiet()).await;
    let shown = async |headers: &[(&str, &str)]| {
        readable(&process.get("/events/seen/seats", headers).await.json())["A-1-1"].clone()
    };
    assert_eq!(shown(&[]).await, "free");
    assert_eq!(storm::insist(&office.customer("ada"), "seen", "k", &["A-1-1"]).await.status, 202);
    let claimed = Instant::now();
    eventually("the claim", || async { (shown(&[]).await == "held").then_some(()) }).await;
    assert!(claimed.elapsed() <= RECENT + SLACK, "{:?}", claimed.elapsed());
    // Who asks past every copy need not wait.
    assert_eq!(storm::insist(&office.customer("bob"), "seen", "k", &["A-1-2"]).await.status, 202);
    let map = process.get("/events/seen/seats", &[NO_CACHE]).await.json();
    assert_eq!(readable(&map)["A-1-2"], "held");
    office.close().await;
}

fn assert_adds_up(counts: &Value, capacity: u64) {
    let count = |name: &str| counts[name].as_u64().unwrap();
    assert_eq!(count("capacity"), capacity, "{counts}");
    assert_eq!(count("free") + count("held") + count("sold") + count("blocked"), capacity, "{counts}");
}

async fn the_counts_add_up_at_any_moment_of_a_storm(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("storm", &hall::small(2, 10)).await;
    let process = Process::of(&office, &quiet()).await;
    let storming: Vec<_> = (0..10)
        .map(|n| {
            let (client, payments) = (office.customer(&format!("customer-{n}")), office.payments());
            async move {
                for round in 0..3 {
                    let seat = format!("A-{}-{}", 1 + (n + round) % 2, 1 + n);
                    let answer = storm::insist(&client, "storm", &round.to_string(), &[&seat]).await;
                    if answer.status != 202 {
                        continue;
                    }
                    let id = changing::id_of(&answer);
                    if n % 3 == 0 {
                        changing::confirm(&payments, &id, "p").await;
                    } else {
                        changing::cancel(&client, &id).await;
                    }
                }
            }
        })
        .collect();
    let organiser = office.system.organiser().unwrap();
    let blocking = async {
        for seats in [json!(["B-1-1", "A-1-5"]), json!([]), json!(["B-1-2"])] {
            let block = json!({ "seats": seats, "note": "" });
            organiser.send(Method::PUT, "/admin/events/storm/blocks/b", &[], Some(&block)).await.unwrap();
        }
    };
    let storming = tokio::spawn(all_at_once(storming));
    let watching = async {
        let mut looks = 0;
        while !storming.is_finished() || looks == 0 {
            for headers in [&[][..], &[NO_CACHE], &[COMPACT], &[COMPACT, NO_CACHE]] {
                let map = process.get("/events/storm/seats", headers).await.json();
                for (section, capacity) in map["sections"].as_array().unwrap().iter().zip([20, 10]) {
                    assert_adds_up(section, capacity);
                    let Some(seats) = section["seats"].as_array() else { continue };
                    for status in ["free", "held", "sold", "blocked"] {
                        let listed = seats.iter().filter(|seat| seat["status"] == status).count();
                        assert_eq!(section[status], json!(listed), "{status}");
                    }
                }
                let page = process.get("/events/storm", headers).await.json();
                assert_adds_up(&page["availability"]["A"], 20);
                assert_adds_up(&page["availability"]["B"], 10);
            }
            looks += 1;
        }
    };
    tokio::join!(blocking, watching);
    storming.await.unwrap();
    office.close().await;
}
