//! A process that is asked for more than it serves at once says "not now" at once and asks no store for it; when
//! somebody has gone, the next one is let in.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use local::servers::ServerSet;
use reservation_api::{App, answer, router};
use serde_json::json;
use shared::redis::Redis;

use crate::harness::functions::events;
use crate::harness::wire::{Fate, Gate, Wire};
use crate::harness::{Office, eventually, hall, on_both_sets};

/// So few that they are all at the table before the first has run out of time there.
const AT_ONCE: usize = 3;

on_both_sets!(over_the_bound_the_answer_is_not_now_and_no_store_is_asked, who_only_waits_for_an_outcome_takes_no_place,);

/// A customer's list of reservations, as Lambda hands it over.
fn listing(customer: &str) -> lambda_http::Request {
    let mut event = events().remove("http-list-reservations-none.json").unwrap();
    event["requestContext"]["authorizer"]["jwt"]["claims"]["sub"] = json!(customer);
    lambda_http::request::from_str(&event.to_string()).unwrap()
}

async fn over_the_bound_the_answer_is_not_now_and_no_store_is_asked(set: ServerSet) {
    let office = Office::open(set).await;
    let (gate, at_the_table) = (Gate::shut(), Arc::new(Mutex::new(BTreeSet::new())));
    let (held, seen) = (gate.clone(), Arc::clone(&at_the_table));
    let wire = Wire::new(move |_, body| {
        seen.lock().unwrap().insert(body["ExpressionAttributeValues"].to_string());
        Fate::Hold(held.clone())
    });
    let config = office.system.config();
    let redis = Redis::connect(&config.redis_url, 1).await.unwrap();
    let router = router(App::new(config, redis, wire.under(&office.table().await), office.log()).serving(AT_ONCE));
    let crowd: Vec<_> =
        (0..AT_ONCE).map(|n| tokio::spawn(answer(router.clone(), listing(&format!("customer-{n}"))))).collect();
    let so_many = || at_the_table.lock().unwrap().len();
    eventually("all of them to be at the table", || async { (so_many() == AT_ONCE).then_some(()) }).await;

    let refused = answer(router.clone(), listing("late")).await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(so_many(), AT_ONCE, "nobody was asked");
    gate.open();
    for admitted in crowd {
        admitted.await.unwrap().unwrap();
    }
    assert_eq!(answer(router, listing("late")).await.unwrap().status(), 200);
    office.close().await;
}

async fn who_only_waits_for_an_outcome_takes_no_place(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("crowded", &hall::small(1, 4)).await;
    office.system.event_source().pause();
    let config = office.system.config();
    let redis = Redis::connect(&config.redis_url, 1).await.unwrap();
    let app = App::new(config, redis, office.table().await, office.log()).serving(1);
    let router = router(app.clone());
    let mut event = events().remove("http-reserve-accepted.json").unwrap();
    event["rawPath"] = json!("/events/crowded/reservations");
    event["requestContext"]["http"]["path"] = event["rawPath"].clone();
    event["pathParameters"]["event_id"] = json!("crowded");
    event["headers"]["prefer"] = json!("wait=10");
    event["body"] = json!(json!({ "seats": ["A-1-1"] }).to_string());
    let request = lambda_http::request::from_str(&event.to_string()).unwrap();
    let waiting = tokio::spawn(answer(router.clone(), request));
    eventually("it to wait", || async { (app.waiting() == 1).then_some(()) }).await;
    assert_eq!(answer(router, listing("another")).await.unwrap().status(), 200);
    office.system.event_source().resume();
    assert_eq!(waiting.await.unwrap().unwrap().status(), 201);
    office.close().await;
}
