//! The wire to Redis: an answer lost after the script ran (F3), and every connection dead at once (F17).

use local::servers::ServerSet;
use shared::domain::ids::{EventId, ReservationId};
use shared::redis::keys;

use super::{assert_held_once, assert_unavailable, timed};
use crate::harness::proxy::Proxy;
use crate::harness::{Office, Wishes, all_at_once, eventually, hall, redis, storm};

/// More than the API has connections to Redis.
const REQUESTS: usize = 24;

async fn behind_a_proxy() -> (Office, Proxy, fred::clients::Client) {
    let proxy = Proxy::listen().await;
    let wishes = Wishes { front_redis: Some(proxy.front()), ..Wishes::plain(ServerSet::Embedded) };
    let office = Office::open_with(wishes).await;
    office.sells("wire", &hall::small(1, 40)).await;
    assert_eq!(office.customer("early").reserve("wire", "k", &["A-1-1"]).await.unwrap().status, 202);
    office.drained().await;
    office.system.event_source().pause();
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    (office, proxy, redis)
}

/// Who has claimed seat `number` of section A.
async fn claimant(redis: &fred::clients::Client, number: &str) -> Option<String> {
    let event = EventId::parse("wire").unwrap();
    let entry: Option<String> = redis::command(redis, &["HGET", &keys::claims(&event, "A"), number]).await;
    entry.map(|entry| entry[14..].to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_lost_once_is_asked_for_again_within_the_request() {
    let (office, proxy, redis) = behind_a_proxy().await;
    let bob = office.customer("bob");
    // The first bytes of the answer arrive, or none do.
    for (bytes, seat, number) in [(0, "A-1-2", "1"), (7, "A-1-3", "2")] {
        proxy.cut_once_after(bytes);
        let cuts = proxy.cuts();
        let answer = bob.reserve("wire", seat, &[seat]).await.unwrap();
        assert_eq!((answer.status, proxy.cuts()), (202, cuts + 1), "{}", answer.body);
        let id = ReservationId::parse(answer.text("reservation_id").unwrap()).unwrap();
        assert_eq!(claimant(&redis, number).await.as_deref(), Some(id.uuid()));
        let record: String = redis::command(&redis, &["GET", &keys::record(&id)]).await;
        assert!(record.starts_with("2\n"), "the script ran twice: {record}");
    }
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_answers_are_all_lost_is_found_by_the_same_key() {
    let (office, proxy, redis) = behind_a_proxy().await;
    let bob = office.customer("bob");
    proxy.cut_always_after(0);
    let refused = timed(&bob, "wire", "k", "A-1-2").await;
    assert_unavailable(&refused);
    assert!(proxy.cuts() > 0);
    let id = refused.0.text("reservation_id").unwrap().to_owned();
    let uuid = ReservationId::parse(&id).unwrap().uuid().to_owned();
    assert_eq!(claimant(&redis, "1").await, Some(uuid.clone()), "the script ran");
    let rival = timed(&office.customer("carol"), "wire", "k", "A-1-2").await.0;
    assert_eq!(rival.status, 503);
    proxy.mend();

    let accepted = eventually("an accept after the wire was mended", || async {
        let answer = bob.reserve("wire", "k", &["A-1-2"]).await.unwrap();
        (answer.status != 503).then_some(answer)
    })
    .await;
    assert_eq!((accepted.status, accepted.text("reservation_id")), (202, Some(id.as_str())), "{}", accepted.body);
    assert_eq!(claimant(&redis, "1").await, Some(uuid));
    let rival = office.customer("carol").reserve("wire", "k", &["A-1-2"]).await.unwrap();
    assert_eq!(rival.text("type"), Some("seats-taken"), "{}", rival.body);
    office.system.event_source().resume();
    assert_held_once(&office, &bob, &id, "A-1-2").await;
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_held_back_mean_not_now_and_nothing_is_lost_when_they_come() {
    let (office, proxy, _redis) = behind_a_proxy().await;
    let bob = office.customer("bob");
    proxy.hold(true);
    assert_unavailable(&timed(&bob, "wire", "k", "A-1-2").await);
    proxy.hold(false);
    let accepted = storm::insist(&bob, "wire", "k", &["A-1-2"]).await;
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    office.system.event_source().resume();
    assert_held_once(&office, &bob, accepted.text("reservation_id").unwrap(), "A-1-2").await;
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_connection_killed_between_two_requests_is_noticed_by_nobody() {
    let office = Office::open(ServerSet::Embedded).await;
    office.sells("wire", &hall::small(1, 80)).await;
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    for round in 0..3 {
        let killed: i64 = redis::command(&redis, &["CLIENT", "KILL", "TYPE", "normal"]).await;
        assert!(killed > 0);
        let asked = (0..REQUESTS).map(|n| {
            let client = office.customer(&format!("customer-{round}-{n}"));
            let seat = format!("A-1-{}", round * REQUESTS + n + 1);
            async move { client.reserve("wire", "k", &[&seat]).await.unwrap() }
        });
        for answer in all_at_once(asked).await {
            assert_eq!(answer.status, 202, "round {round}: {}", answer.body);
        }
    }
    office.close().await;
}
