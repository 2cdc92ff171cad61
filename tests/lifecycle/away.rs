//! Redis is away: what the table alone can answer for is done, and what needs the clock is not.

use local::servers::ServerSet;
use serde_json::json;
use shared::clock;
use shared::domain::reservation::Status;

use super::{assert_unchanged, row, stored};
use crate::harness::changing::{assert_answer, cancel, confirm, extend};
use crate::harness::handmade::asks;
use crate::harness::{Office, hall, on_both_sets, signal};

on_both_sets!(without_redis_a_hold_is_confirmed_or_cancelled_by_its_row_and_extended_by_nobody);

async fn without_redis_a_hold_is_confirmed_or_cancelled_by_its_row_and_extended_by_nobody(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("away", &hall::with(hall::small(1, 4), "extend_seconds", json!(60))).await;
    let (ada, payments) = (office.customer("ada"), office.payments());
    let paid = office.holds(&ada, "away", "1", &["A-1-1"]).await;
    let dropped = office.holds(&ada, "away", "2", &["A-1-2"]).await;
    let now_ms = clock::wall_ms();
    let over = (now_ms - 100_000, now_ms - 20_000);
    let taken = stored(&office, &asks("away", "cid", &["A-1-3"], over)).await.reservation_id;
    stored(&office, &asks("away", "bob", &["A-1-3"], (over.1, now_ms + 500_000))).await;
    let untaken = stored(&office, &asks("away", "dan", &["A-1-4"], over)).await.reservation_id;
    signal("-KILL", office.system.servers().redis_pid());

    let refused = extend(&ada, &paid).await;
    assert_answer(&refused, 503, "unavailable");
    assert_eq!((refused.header("retry-after"), refused.text("reservation_id")), (Some("1"), Some(paid.as_str())));
    assert_answer(&confirm(&payments, &paid, "payment-1").await, 200, "CONFIRMED");
    assert_answer(&confirm(&payments, &paid, "payment-1").await, 200, "CONFIRMED");
    assert_answer(&confirm(&payments, &paid, "payment-2").await, 409, "already-confirmed");
    // Nobody knows the time. Who still has his seats harms nobody; who has lost one is late.
    let before = office.scan().await;
    assert_answer(&confirm(&payments, &taken, "payment-3").await, 409, "hold-expired");
    assert_unchanged(&office, &before).await;
    assert_answer(&confirm(&payments, &untaken, "payment-4").await, 200, "CONFIRMED");
    assert_answer(&cancel(&ada, &dropped).await, 200, "CANCELLED");
    assert_answer(&cancel(&office.customer("eve"), &paid).await, 404, "reservation-not-found");
    assert_eq!(row(&office, &paid).await.status, Status::Confirmed);
    assert_eq!(row(&office, &dropped).await.status, Status::Cancelled);
    office.close().await;
}
