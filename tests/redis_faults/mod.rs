//! Redis failing under a running system, seen through HTTP: a refusal in time, no promise without a claim, and work again as
//! soon as Redis is back, without a restart.
//!
//! [`away`]: dead, frozen, paused. [`evicting`]: would forget. [`refusing`]: answers that mean "not now". [`wire`]: connections lost at the worst moment.

mod away;
mod evicting;
mod refusing;
mod wire;

use std::time::Duration;

use local::client::{Answer, ApiClient};
use tokio::time::Instant;

use crate::harness::Office;

/// The contract is 300 ms within the function; the rest is for the gateway and for a machine that builds beside the test.
const REFUSED_WITHIN: Duration = Duration::from_millis(900);

/// Reserves one seat, and says how long the answer took.
async fn timed(client: &ApiClient, event: &str, key: &str, seat: &str) -> (Answer, Duration) {
    let began = Instant::now();
    let answer = client.reserve(event, key, &[seat]).await.unwrap();
    (answer, began.elapsed())
}

/// A refusal that says "not now", in time, and is none of a claim.
fn assert_unavailable((answer, took): &(Answer, Duration)) {
    assert_eq!((answer.status, answer.text("type")), (503, Some("unavailable")), "{}", answer.body);
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
    println!("503 after {took:?}");
    assert!(*took < REFUSED_WITHIN, "{took:?}");
}

/// One row is all there is of it: held, with these seats, and one message.
async fn assert_held_once(office: &Office, client: &ApiClient, id: &str, seat: &str) {
    office.drained().await;
    let listed = client.get("/reservations").await.unwrap();
    let rows = listed.body["reservations"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{}", listed.body);
    assert_eq!((rows[0]["reservation_id"].as_str(), rows[0]["status"].as_str()), (Some(id), Some("HELD")));
    assert_eq!(rows[0]["seats"][0], seat, "{}", listed.body);
    let produced = office.produced().await;
    let mut mine = produced.iter().filter(|message| message.key.as_deref() == Some(id.as_bytes()));
    let first = mine.next().unwrap();
    assert!(mine.all(|message| message == first), "every message of a key is byte-equal");
}
