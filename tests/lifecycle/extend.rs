//! Extending: a hold is prolonged once, no further than the event says, and in Redis as long as in the table.

use local::servers::ServerSet;
use serde_json::{Value, json};
use shared::clock;
use shared::domain::reservation::{Status, Step};
use shared::dynamodb::changes::{Change, End};
use shared::dynamodb::reservations::Repository;

use super::{assert_unchanged, brief, claim, row, stored};
use crate::harness::changing::{assert_answer, confirm, extend, id_of, show};
use crate::harness::handmade::asks;
use crate::harness::{Office, all_at_once, eventually, hall, on_both_sets, storm};

on_both_sets!(
    a_hold_is_extended_once_in_the_table_and_in_redis,
    no_hold_is_extended_beyond_the_longest_there_is,
    where_nothing_can_be_added_a_hold_is_not_extended,
    only_a_live_hold_is_extended,
    of_many_extensions_at_once_one_counts,
    a_hold_that_was_extended_neither_ends_nor_is_lost_when_its_first_end_passes,
);

/// A hall of one row whose holds last 600 s.
fn extending(extend_seconds: u32, max_hold_seconds: Option<u32>) -> Value {
    let document = hall::with(hall::small(1, 4), "extend_seconds", json!(extend_seconds));
    match max_hold_seconds {
        Some(seconds) => hall::with(document, "max_hold_seconds", json!(seconds)),
        None => document,
    }
}

async fn a_hold_is_extended_once_in_the_table_and_in_redis(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("once", &extending(300, Some(3_000))).await;
    let ada = office.customer("ada");
    let id = office.holds(&ada, "once", "k", &["A-1-1", "A-1-2"]).await;
    let first = row(&office, &id).await;
    let extended = extend(&ada, &id).await;
    assert_answer(&extended, 200, "HELD");
    let then = row(&office, &id).await;
    assert_eq!((then.expires_at_ms, then.extended), (first.expires_at_ms + 300_000, true));
    assert_eq!(then.status, Status::Held);
    for number in [0, 1] {
        assert_eq!(claim(&office, "once", number).await, Some((then.expires_at_ms, id.uuid().to_owned())));
    }
    let seats = Repository::new(office.table().await).seat_items(&id.event(), &then.seats).await.unwrap();
    assert_eq!(seats.iter().map(|seat| seat.expires_at_ms).collect::<Vec<_>>(), [then.expires_at_ms; 2]);
    assert_eq!(show(&ada, &id).await.body, extended.body);

    let before = office.scan().await;
    assert_answer(&extend(&ada, &id).await, 409, "already-extended");
    assert_unchanged(&office, &before).await;
    for number in [0, 1] {
        assert_eq!(claim(&office, "once", number).await, Some((then.expires_at_ms, id.uuid().to_owned())));
    }
    assert_answer(&confirm(&office.payments(), &id, "payment-1").await, 200, "CONFIRMED");
    assert_answer(&extend(&ada, &id).await, 409, "not-extendable");
    office.close().await;
}

async fn no_hold_is_extended_beyond_the_longest_there_is(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("cap", &extending(300, Some(700))).await;
    let ada = office.customer("ada");
    let id = office.holds(&ada, "cap", "k", &["A-1-1"]).await;
    assert_answer(&extend(&ada, &id).await, 200, "HELD");
    let then = row(&office, &id).await;
    assert_eq!(then.expires_at_ms - then.held_at_ms, 700_000);
    assert_eq!(claim(&office, "cap", 0).await, Some((then.expires_at_ms, id.uuid().to_owned())));
    assert_answer(&extend(&ada, &id).await, 409, "already-extended");
    office.close().await;
}

async fn where_nothing_can_be_added_a_hold_is_not_extended(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("fixed", &hall::small(1, 4)).await;
    office.sells("full", &extending(300, Some(600))).await;
    let ada = office.customer("ada");
    for event in ["fixed", "full"] {
        let id = office.holds(&ada, event, "k", &["A-1-1"]).await;
        let before = office.scan().await;
        let first = row(&office, &id).await;
        assert_answer(&extend(&ada, &id).await, 409, "not-extendable");
        assert_unchanged(&office, &before).await;
        // The look that came before has not prolonged the claim either.
        assert_eq!(claim(&office, event, 0).await, Some((first.expires_at_ms, id.uuid().to_owned())));
    }
    office.close().await;
}

async fn only_a_live_hold_is_extended(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("live", &hall::with(brief(4), "extend_seconds", json!(60))).await;
    let ada = office.customer("ada");
    let ended = office.holds(&ada, "live", "1", &["A-1-1"]).await;
    office.ran_out(&ada, &ended).await;
    office.system.event_source().pause();
    let pending = id_of(&storm::insist(&ada, "live", "2", &["A-1-2"]).await);
    let before = office.scan().await;
    assert_answer(&extend(&ada, &ended).await, 409, "hold-expired");
    let refused = extend(&ada, &pending).await;
    assert_answer(&refused, 409, "pending");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let held = row(&office, &ended).await;
    let repository = Repository::new(office.table().await);
    let late = repository.extend(&held, held.expires_at_ms + 60_000, held.expires_at_ms).await.unwrap();
    assert_eq!(late, Change::Refused(held));
    assert_unchanged(&office, &before).await;
    assert_eq!(office.seat_status("live", "A-1-1").await, "free");
    office.close().await;
}

async fn a_hold_that_was_extended_neither_ends_nor_is_lost_when_its_first_end_passes(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("longer", &extending(300, None)).await;
    let now_ms = clock::wall_ms();
    let request = asks("longer", "ada", &["A-1-1"], (now_ms - 100_000, now_ms - 20_000));
    let first = stored(&office, &request).await;
    let repository = Repository::new(office.table().await);
    let in_time = first.expires_at_ms - 1;
    let Change::Done(longer) = repository.extend(&first, now_ms + 500_000, in_time).await.unwrap() else { panic!() };
    // The SDK asks twice, and its second call meets its own first.
    assert_eq!(repository.extend(&first, now_ms + 500_000, in_time).await.unwrap(), Change::Done(longer.clone()));
    let before = office.scan().await;
    // Another who saw the first row is too late, though the hold is alive.
    assert_eq!(repository.extend(&first, now_ms + 900_000, in_time).await.unwrap(), Change::Refused(longer.clone()));
    office.system.expire().await.unwrap();
    assert_eq!(repository.end(&first, Step::Expire, now_ms).await.unwrap(), End::Unchanged(longer));
    assert_unchanged(&office, &before).await;
    // A row from before the extension confirms nothing: what is stored is looked at anew.
    let refused =
        repository.confirm(&first, Some("payment-1"), "Asia/Seoul", now_ms, Some(now_ms + 500_000)).await.unwrap();
    assert!(matches!(refused, Change::Refused(stored) if stored.extended));
    assert_answer(&confirm(&office.payments(), &request.reservation_id, "payment-1").await, 200, "CONFIRMED");
    office.close().await;
}

async fn of_many_extensions_at_once_one_counts(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("rush", &extending(300, Some(3_000))).await;
    let ada = office.customer("ada");
    let id = office.holds(&ada, "rush", "k", &["A-1-1"]).await;
    let first = row(&office, &id).await;
    let asked = (0..8).map(|_| {
        let (ada, id) = (ada.clone(), id.clone());
        async move {
            eventually("an answer that is none of a busy table's", || async {
                let answer = extend(&ada, &id).await;
                (answer.status != 503).then_some(answer)
            })
            .await
        }
    });
    for answer in all_at_once(asked).await {
        let (status, says) = if answer.status == 200 { (200, "HELD") } else { (409, "already-extended") };
        assert_answer(&answer, status, says);
    }
    let then = row(&office, &id).await;
    assert_eq!(then.expires_at_ms, first.expires_at_ms + 300_000);
    assert_eq!(claim(&office, "rush", 0).await, Some((then.expires_at_ms, id.uuid().to_owned())));
    office.close().await;
}
