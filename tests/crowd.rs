//! A process that is asked for more than it serves at once says "not now" at once; whoever was let in is served, and when
//! somebody has gone, the next one is.

use lambda_http::{Body, Response};
use local::servers::ServerSet;
use reservation_api::{App, MAX_AT_ONCE, answer, router};
use shared::redis::Redis;

use crate::harness::functions::events;
use crate::harness::wire::{Fate, Gate, Wire};
use crate::harness::{Office, eventually, on_both_sets};

on_both_sets!(over_the_bound_the_answer_is_not_now_and_no_store_is_asked);

fn listing() -> lambda_http::Request {
    lambda_http::request::from_str(&events()["http-list-reservations-none.json"].to_string()).unwrap()
}

async fn over_the_bound_the_answer_is_not_now_and_no_store_is_asked(set: ServerSet) {
    let office = Office::open(set).await;
    let gate = Gate::shut();
    let held = gate.clone();
    let wire = Wire::new(move |_, _| Fate::Hold(held.clone()));
    let config = office.system.config();
    let redis = Redis::connect(&config.redis_url, 1).await.unwrap();
    let router = router(App::new(config, redis, wire.under(&office.table().await), office.log()));
    let crowd: Vec<_> = (0..MAX_AT_ONCE).map(|_| tokio::spawn(answer(router.clone(), listing()))).collect();
    let asked = || wire.count("Query", |_| true);
    eventually("all of them to be at the table", || async { (asked() == MAX_AT_ONCE).then_some(()) }).await;

    let refused = answer(router.clone(), listing()).await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    assert_eq!(asked(), MAX_AT_ONCE, "nobody was asked");
    gate.open();
    for admitted in crowd {
        let served: Response<Body> = admitted.await.unwrap().unwrap();
        assert_eq!(served.status(), 200);
    }
    assert_eq!(answer(router, listing()).await.unwrap().status(), 200);
    office.close().await;
}
