//! What the functions tell about themselves: a sale on which everything goes wrong once makes each named metric appear, with
//! the number of times it happened.

use bytes::Bytes;
use local::servers::ServerSet;
use shared::domain::ids::EventId;
use shared::kafka::Message;
use shared::redis::keys;
use shared::telemetry::{
    ACCEPTED, CLAIMS_GIVEN_BACK, CLOCK_DIFFERENCE_MS, COLD_STARTS, DEAD_LETTERS, DRIFT, LATE_REJECTIONS, LEFT_UNDONE,
    OUTCOME_LATENCY_MS, PRODUCES_IN_DOUBT, REDELIVERED, REFUSED, UNDECIDED_MS, metrics,
};

use crate::harness::logs::{Mood, Moody};
use crate::harness::metrics::telling;
use crate::harness::storm::insist;
use crate::harness::{Office, Wishes, eventually, hall, redis};

#[test]
fn a_sale_on_which_everything_goes_wrong_once_tells_every_metric() {
    let told = telling(async {
        let moody = Moody::new();
        let office =
            Office::open_with(Wishes { wrap_log: Some(moody.wrap()), ..Wishes::plain(ServerSet::Embedded) }).await;
        office.sells("tells", &hall::small(1, 6)).await;
        let buy =
            async |customer: &str, seat: &str| insist(&office.customer(customer), "tells", "k", &[seat]).await.status;
        // One accepted and held, one refused.
        assert_eq!((buy("alice", "A-1-1").await, buy("bob", "A-1-1").await), (202, 409));
        office.drained().await;
        // One accepted and rejected: Redis has forgotten that the seat is held, and nobody has loaded it yet.
        office.system.event_source().pause();
        assert_eq!(buy("carol", "A-1-2").await, 202);
        let flushed = redis::connect(&office.system.servers().redis_url()).await;
        redis::command::<String>(&flushed, &["FLUSHALL"]).await;
        assert_eq!(buy("dave", "A-1-2").await, 202);
        office.system.event_source().resume();
        office.drained().await;
        // One produce that failed for certain, and one in doubt.
        moody.set(|_| Mood::Definite);
        fails(&office, &moody, "erin", "A-1-3").await;
        moody.set(|_| Mood::InDoubtAndLost);
        fails(&office, &moody, "frank", "A-1-4").await;
        // One record that is no request.
        let requests = office.system.config().kafka.topics.requests.clone();
        moody.write(Message { topic: requests, key: None, value: Some(Bytes::from("?")), headers: Vec::new() }).await;
        office.drained().await;
        office.system.event_source().replay_from_start().await;
        office.drained().await;
        office.has_an_unreadable_hold("tells").await;
        office.system.run_job("expire").await.unwrap();
        office.system.run_job("heal").await.unwrap();
        // A seat that Redis says is gone, and is not.
        let taken = &keys::section_keys(&EventId::parse("tells").unwrap(), "B")[1];
        redis::command::<i64>(&flushed, &["SETBIT", taken, "0", "1"]).await;
        eventually("the section to be loaded", || async {
            (office.seat_status("tells", "B-1-1").await == "sold").then_some(())
        })
        .await;
        office.system.run_job("reconcile").await.unwrap();
        office.close().await;
    });
    let count = |metric: &str| told.get(metric).map_or(0.0, |values| values.iter().sum::<f64>());
    assert_eq!(count(ACCEPTED), 3.0, "{told:?}");
    assert!(count(REFUSED) >= 3.0, "more where the machine was too busy to answer: {told:?}");
    assert_eq!((count(CLAIMS_GIVEN_BACK), count(PRODUCES_IN_DOUBT)), (1.0, 1.0), "{told:?}");
    assert_eq!((count(LATE_REJECTIONS), count(DEAD_LETTERS)), (1.0, 2.0), "the poison came twice: {told:?}");
    assert_eq!((told[OUTCOME_LATENCY_MS].len(), count(REDELIVERED)), (3, 3.0), "{told:?}");
    assert_eq!((count(DRIFT), count(LEFT_UNDONE)), (1.0, 1.0), "{told:?}");
    assert!(told[CLOCK_DIFFERENCE_MS][0] < 1_000.0, "one machine has one clock: {told:?}");
    assert!(count(UNDECIDED_MS) > 0.0, "what was in doubt and lost still waits: {told:?}");
    // Told when a process starts, which none did here.
    let silent: Vec<&str> = metrics().filter(|metric| *metric != COLD_STARTS && !told.contains_key(*metric)).collect();
    assert_eq!(silent, [""; 0], "{told:?}");
}

/// Asks for a seat until the request is produced, which fails.
async fn fails(office: &Office, moody: &Moody, customer: &str, seat: &str) {
    let before = moody.seen().len();
    eventually("a request to be produced", || async {
        let answer = office.customer(customer).reserve("tells", "k", &[seat]).await.unwrap();
        assert_eq!(answer.status, 503, "{}", answer.body);
        (moody.seen().len() > before).then_some(())
    })
    .await;
}
