//! The best seats of a seated section: ranked by what the API saw, claimed by the one script, and told truthfully when
//! there are none.

use std::collections::BTreeSet;

use local::client::Answer;
use local::servers::ServerSet;
use serde_json::{Value, json};

use crate::harness::monitor::Monitor;
use crate::harness::storm::{insist, insist_on};
use crate::harness::{Office, all_at_once, eventually, hall, on_both_sets};

on_both_sets!(
    two_seats_are_two_neighbours,
    a_crowd_gets_every_pair_once_and_nobody_half_of_one,
    scattered_seats_are_sold_unless_they_must_be_adjacent,
    an_accept_costs_a_map_read_once_a_second_and_one_claim,
    a_retry_has_the_same_seats_also_when_the_hall_is_full,
    a_wish_is_refused_by_the_field_that_is_wrong,
);

fn wish(quantity: usize) -> Value {
    json!({ "section": "A", "quantity": quantity })
}

fn seats(answer: &Answer) -> Vec<String> {
    assert!([200, 202].contains(&answer.status), "{} {}", answer.status, answer.body);
    answer.body["seats"].as_array().unwrap().iter().map(|seat| seat.as_str().unwrap().to_owned()).collect()
}

/// Row and number of `A-<row>-<number>`.
fn place(seat: &str) -> (u32, u32) {
    let parts: Vec<&str> = seat.split('-').collect();
    (parts[1].parse().unwrap(), parts[2].parse().unwrap())
}

async fn two_seats_are_two_neighbours(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("pair", &hall::small(5, 10)).await;
    for n in 0..6 {
        let pair = seats(&insist_on(&office.customer(&format!("c-{n}")), "pair", "k", &wish(2)).await);
        let (a, b) = (place(&pair[0]), place(&pair[1]));
        assert_eq!((a.0, a.1 + 1), b, "{pair:?}");
    }
    office.drained().await;
    let page = office.fresh("/events/pair").await;
    assert_eq!(page.body["availability"]["A"]["held"], json!(12));
    office.close().await;
}

async fn a_crowd_gets_every_pair_once_and_nobody_half_of_one(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("pairs", &hall::small(10, 4)).await;
    let asked = (0..60).map(|n| {
        let client = office.customer(&format!("c-{n}"));
        async move {
            // Who was not quick enough is told to come again.
            eventually("a pair, or that there is none", || async {
                let answer = insist_on(&client, "pairs", "k", &wish(2)).await;
                let crowded = answer.text("type") == Some("contended") && answer.body.get("free").is_none();
                (!crowded).then_some(answer)
            })
            .await
        }
    });
    let answers = all_at_once(asked).await;
    let won: Vec<String> = answers.iter().filter(|answer| answer.status < 300).flat_map(seats).collect();
    assert_eq!(won.iter().collect::<BTreeSet<_>>().len(), won.len(), "a seat was given twice");
    assert_eq!(won.len(), 40, "{won:?}");
    for answer in answers.iter().filter(|answer| answer.status >= 300) {
        assert_eq!((answer.text("type"), &answer.body["free"]), (Some("contended"), &json!(0)), "{}", answer.body);
    }
    office.close().await;
}

async fn scattered_seats_are_sold_unless_they_must_be_adjacent(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("holes", &hall::small(1, 5)).await;
    insist(&office.customer("first"), "holes", "k", &["A-1-2", "A-1-4"]).await;
    let alice = office.customer("alice");
    let required = json!({ "section": "A", "quantity": 2, "adjacent": "required" });
    let refused = insist_on(&alice, "holes", "k", &required).await;
    assert_eq!((refused.status, refused.text("type")), (409, Some("no-adjacent-seats")), "{}", refused.body);
    assert!(refused.body.get("reservation_id").is_none());
    assert_eq!(seats(&insist_on(&alice, "holes", "k", &wish(3)).await), ["A-1-1", "A-1-3", "A-1-5"]);
    let full = insist_on(&office.customer("bob"), "holes", "k", &wish(1)).await;
    assert_eq!((full.text("type"), &full.body["free"]), (Some("contended"), &json!(0)), "{}", full.body);
    let many = insist_on(&office.customer("bob"), "holes", "k", &wish(6)).await;
    assert_eq!((many.text("type"), &many.body["left"]), (Some("sold-out"), &json!(5)), "{}", many.body);
    office.close().await;
}

async fn an_accept_costs_a_map_read_once_a_second_and_one_claim(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("cost", &hall::small(10, 20)).await;
    office.system.event_source().pause();
    insist_on(&office.customer("warm"), "cost", "k", &wish(1)).await;
    let mut monitor = Monitor::start(&office.system.servers().redis_url()).await;
    let asked = (0..20).map(|n| {
        let client = office.customer(&format!("c-{n}"));
        async move { insist_on(&client, "cost", "k", &wish(2)).await.status }
    });
    let statuses = all_at_once(asked).await;
    let commands = monitor.commands().await;
    let contended = statuses.iter().filter(|status| **status == 409).count();
    // A map for all of them, and for a further round one each 50 ms at most; a claim a round.
    let maps = commands.iter().filter(|command| command.matches("claims").count() == 1 && command.len() < 400).count();
    assert!(maps <= 20, "{maps} map reads");
    assert!(commands.len() <= 20 * 3 + maps, "{} commands", commands.len());
    assert!(contended < 20, "nobody got a seat");
    office.close().await;
}

async fn a_retry_has_the_same_seats_also_when_the_hall_is_full(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("full", &hall::small(1, 3)).await;
    let alice = office.customer("alice");
    let first = insist_on(&alice, "full", "k", &wish(3)).await;
    let again = insist_on(&alice, "full", "k", &wish(3)).await;
    assert_eq!((seats(&again), again.text("reservation_id")), (seats(&first), first.text("reservation_id")));
    office.drained().await;
    let again = insist_on(&alice, "full", "k", &wish(3)).await;
    assert_eq!((again.status, again.text("status"), seats(&again)), (200, Some("HELD"), seats(&first)));
    let other = insist_on(&alice, "full", "k", &wish(2)).await;
    assert_eq!(other.text("type"), Some("idempotency-key-reused"), "{}", other.body);
    office.close().await;
}

async fn a_wish_is_refused_by_the_field_that_is_wrong(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("wrong", &hall::small(1, 3)).await;
    let alice = office.customer("alice");
    for (body, field) in [
        (json!({ "section": "A", "quantity": 0 }), "quantity"),
        (json!({ "section": "A", "quantity": 21 }), "quantity"),
        (json!({ "section": "A" }), "quantity"),
        (json!({ "quantity": 2 }), "section"),
        (json!({ "section": "A", "quantity": 2, "adjacent": "maybe" }), "adjacent"),
        (json!({ "section": "A", "quantity": 2, "seats": ["A-1-1"] }), "seats"),
        (json!({ "seats": ["A-1-1"], "adjacent": "required" }), "seats"),
        (json!({}), "seats"),
    ] {
        let refused = insist_on(&alice, "wrong", "k", &body).await;
        assert_eq!((refused.status, refused.text("field")), (400, Some(field)), "{body}: {}", refused.body);
    }
    let unknown = insist_on(&alice, "wrong", "k", &json!({ "section": "Z", "quantity": 1 })).await;
    assert_eq!((unknown.status, unknown.text("type")), (404, Some("seat-not-found")), "{}", unknown.body);
    office.close().await;
}
