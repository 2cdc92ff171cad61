//! Organisers at once: of two that take seats away, or take them off sale and put them back, only the last has a say; and
//! Redis hears what the table has in the end, whoever speaks last.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::Method;
use local::client::ApiClient;
use local::servers::ServerSet;
use serde_json::{Value, json};
use shared::domain::document::EventDocument;
use shared::domain::event::Seat;
use shared::domain::ids::{EventId, Label, ReservationId, SeatId};
use shared::domain::reservation::Status;
use shared::dynamodb::blocks::{Blocked, Released};
use shared::dynamodb::events::{Events, Published};
use shared::dynamodb::reservations::Repository;
use shared::dynamodb::rows::{Block, ReservationRow};

use super::removing::counts;
use crate::harness::second::Second;
use crate::harness::storm::insist;
use crate::harness::wire::{Fate, Gate, Wire};
use crate::harness::{Office, all_at_once, hall, on_both_sets};

on_both_sets!(
    a_removal_that_another_has_overtaken_changes_nothing,
    a_publication_whose_removed_seats_were_put_back_looks_again_before_it_publishes,
    a_put_back_that_overtakes_the_word_of_a_block_is_heard,
    while_two_publish_and_a_crowd_buys_no_seat_is_both_sold_and_gone,
);

/// Holds the first transaction that `is` so at a gate.
fn hold_first(is: impl Fn(&Value) -> bool + Send + Sync + 'static, fate: Fate) -> Wire {
    let held = AtomicBool::new(false);
    Wire::new(move |operation, body| {
        let is_it = operation == "TransactWriteItems" && is(body);
        if is_it && !held.swap(true, Ordering::Relaxed) { fate.clone() } else { Fate::Pass }
    })
}

async fn put_block(organiser: &ApiClient, event: &str, seats: &[&str]) -> u16 {
    let path = format!("/admin/events/{event}/blocks/x");
    organiser.send(Method::PUT, &path, &[], Some(&json!({ "seats": seats }))).await.unwrap().status
}

async fn a_removal_that_another_has_overtaken_changes_nothing(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("two", &hall::small(2, 3)).await;
    let id = EventId::parse("two").unwrap();
    let (repository, events) = (Repository::new(office.table().await), Events::new(office.table().await));
    let event = events.get(&id).await.unwrap().unwrap();
    let seat = |seat: &str| event.locate(&SeatId::parse(seat).unwrap()).unwrap().0;
    let chunk = |seats: &[Seat]| {
        let id = ReservationId::block(&id, "~removed", &Label::parse("A").unwrap(), 0);
        let block = Block { block_id: "~removed".into(), note: String::new(), releasing: Vec::new() };
        ReservationRow::chunk(id, block, seats.to_vec(), &event, 1)
    };
    let mine = [seat("A-2-1")];
    let blocked = chunk(&mine);
    let first = events.begin_removal(&event).await.unwrap().unwrap();
    assert_eq!(repository.block(None, &blocked, &mine, Some(&first)).await.unwrap(), Blocked::Done);

    let second = events.begin_removal(&event).await.unwrap().unwrap();
    let more = [seat("A-2-2")];
    let after = blocked.with_more(&more, "", 2);
    let add = |removing| repository.block(Some(&blocked), &after, &more, Some(removing));
    assert_eq!(add(&first).await.unwrap(), Blocked::Superseded);
    let put_back = repository.release(&blocked, &mine, Some(&first)).await.unwrap();
    assert_eq!(put_back, Released::Superseded);
    let document: EventDocument = serde_json::from_value(hall::small(1, 3)).unwrap();
    let published = events.publish(&id, document.clone(), Some(&event), Some(&first)).await.unwrap();
    assert!(matches!(published, Published::Overtaken), "{published:?}");
    let stored = repository.chunks(std::slice::from_ref(&blocked.reservation_id)).await.unwrap().pop();
    assert_eq!(stored.as_ref(), Some(&blocked));

    // Whoever came last may do all of it, until the publication is made.
    assert_eq!(add(&second).await.unwrap(), Blocked::Done);
    let published = events.publish(&id, document, Some(&event), Some(&second)).await.unwrap();
    assert!(matches!(published, Published::Done(_)), "{published:?}");
    assert_eq!(events.begin_removal(&event).await.unwrap(), None);
    office.close().await;
}

async fn a_publication_whose_removed_seats_were_put_back_looks_again_before_it_publishes(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("again", &hall::small(3, 2)).await;
    insist(&office.customer("alice"), "again", "k", &["A-1-1"]).await;
    office.drained().await;
    let gate = Gate::shut();
    let is_publication = |body: &Value| body.to_string().contains(":published");
    let second = Second::start(&office, &hold_first(is_publication, Fate::Hold(gate.clone()))).await;
    let first = async {
        let path = "/admin/events/again";
        second.organiser.send(Method::PUT, path, &[], Some(&hall::small(2, 2))).await.unwrap()
    };
    let other = async {
        gate.reached().await;
        assert_eq!(office.seat_status("again", "A-3-1").await, "blocked");
        // Refused, for somebody has a seat of the first row; and so what it blocked of the rows goes back, whoever blocked it.
        let mut without = hall::small(3, 2);
        without["sections"].as_array_mut().unwrap().remove(0);
        assert_eq!(office.publish("again", &without).await.text("type"), Some("seats-in-use"));
        assert_eq!(insist(&office.customer("bob"), "again", "k", &["A-3-1"]).await.status, 202);
        office.drained().await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(first, other);
    assert_eq!((answer.status, answer.text("type")), (409, Some("seats-in-use")), "{}", answer.body);
    assert_eq!(answer.body["seats"], json!(["A-3-1"]));
    let counts = counts(&office, "again", "A").await;
    assert_eq!((&counts["capacity"], &counts["free"], &counts["held"]), (&json!(6), &json!(4), &json!(2)));
    second.stop().await;
    office.close().await;
}

async fn a_put_back_that_overtakes_the_word_of_a_block_is_heard(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("quick", &hall::small(1, 4)).await;
    let gate = Gate::shut();
    let blocks = |body: &Value| body.to_string().contains("BLOCKED");
    let second = Second::start(&office, &hold_first(blocks, Fate::HoldReply(gate.clone()))).await;
    let block = put_block(&second.organiser, "quick", &["A-1-1"]);
    let office_organiser = office.system.organiser().unwrap();
    let put_back = async {
        gate.reached().await;
        // The block stands, and its maker has not told Redis yet.
        let answer = put_block(&office_organiser, "quick", &["A-1-2"]).await;
        gate.open();
        answer
    };
    assert_eq!(tokio::join!(block, put_back), (200, 200));
    let table = office.table().await;
    let event = Events::new(table.clone()).get(&EventId::parse("quick").unwrap()).await.unwrap().unwrap();
    let seats: Vec<Seat> =
        (1..=4).map(|seat| event.locate(&SeatId::parse(&format!("A-1-{seat}")).unwrap()).unwrap().0).collect();
    let stored = Repository::new(table).seat_items(&event.id, &seats).await.unwrap();
    for seat in &seats {
        let status = if stored.iter().any(|item| item.seat == *seat) { "blocked" } else { "free" };
        assert_eq!(office.seat_status("quick", seat.id.as_str()).await, status, "{}", seat.id);
    }
    second.stop().await;
    office.close().await;
}

async fn while_two_publish_and_a_crowd_buys_no_seat_is_both_sold_and_gone(set: ServerSet) {
    const ROUNDS: usize = 6;
    let office = Office::open(set).await;
    office.sells("both", &hall::small(2, 6)).await;
    let id = EventId::parse("both").unwrap();
    for round in 0..ROUNDS {
        let organisers = async {
            let publish = |rows| {
                let office = &office;
                async move { office.publish("both", &hall::small(rows, 6)).await }
            };
            tokio::join!(publish(1), publish(2))
        };
        let crowd = (1..=6).map(|seat| {
            let client = office.customer(&format!("round-{round}-{seat}"));
            async move { insist(&client, "both", "k", &[&format!("A-2-{seat}")]).await }
        });
        let (published, answers) = tokio::join!(organisers, all_at_once(crowd));
        for answer in [published.0, published.1] {
            assert!([200, 409, 503].contains(&answer.status), "{}", answer.body);
        }
        office.drained().await;
        let event = Events::new(office.table().await).get(&id).await.unwrap().unwrap();
        let repository = Repository::new(office.table().await);
        for answer in answers.iter().filter(|answer| answer.status == 202) {
            let reservation = ReservationId::parse(answer.text("reservation_id").unwrap()).unwrap();
            let row = repository.get(&reservation).await.unwrap().unwrap();
            let sells = |seat: &Seat| event.locate(&seat.id).is_some_and(|(found, _)| found == *seat);
            let is_held = row.status == Status::Held;
            assert!(!is_held || row.seats.iter().all(sells), "round {round}: gone, and held: {row:?}");
            let path = format!("/reservations/{reservation}");
            let customer = office.customer(row.customer.as_str());
            customer.send(Method::DELETE, &path, &[], None).await.unwrap();
        }
        // The next publication puts back what either blocked in vain.
        office.sells("both", &hall::small(2, 6)).await;
        assert_eq!(counts(&office, "both", "A").await["free"], json!(12), "round {round}");
    }
    office.close().await;
}
