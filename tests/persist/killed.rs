//! A function that ends in the middle of a payload: killed after the table has written (F14), or out of time (F21). What was
//! done is met again and not done again, its outcome is sent all the same, and the rest is done by the next delivery.

use std::collections::BTreeSet;
use std::time::Duration;

use local::servers::ServerSet;
use serde_json::Value;
use shared::domain::reservation::Outcome;
use shared::message::{OutcomeMessage, Request};

use super::batch::{DONE, answered, assert_held, reporting};
use crate::harness::handmade::{asks, carrying, payload};
use crate::harness::wire::{Fate, Gate, Wire, reservation_of};
use crate::harness::{Office, PATIENCE, on_both_sets};

on_both_sets!(
    f14_killed_between_the_write_and_the_answer_the_next_delivery_changes_nothing_and_sends_the_outcome,
    f21_out_of_time_in_the_middle_of_a_payload_the_rest_is_reported_and_done_by_the_next_delivery,
);

/// As many seats as requests, all in one partition.
fn requests(event: &str, count: usize) -> Vec<Request> {
    let ask = |n: usize| asks(event, &format!("customer-{n}"), &[&format!("A-1-{n}")], (1, 2));
    (1..=count).map(ask).collect()
}

fn in_one_partition(requests: &[Request]) -> Value {
    payload([("t-0", requests.iter().zip(0..).map(|(request, offset)| carrying(offset, request)).collect())])
}

/// A wire on which the transactions of these reservations meet a fate.
fn wire(requests: &[Request], fate: Fate) -> Wire {
    let ids: BTreeSet<String> = requests.iter().map(|request| format!("RES#{}", request.reservation_id)).collect();
    Wire::new(move |operation, body| {
        let is_theirs = reservation_of(body).is_some_and(|pk| ids.contains(pk));
        if operation == "TransactWriteItems" && is_theirs { fate.clone() } else { Fate::Pass }
    })
}

async fn f14_killed_between_the_write_and_the_answer_the_next_delivery_changes_nothing_and_sends_the_outcome(
    set: ServerSet,
) {
    let office = Office::open(set).await;
    let request = requests("killed", 1);
    let gate = Gate::shut();
    let table = wire(&request, Fate::HoldReply(gate.clone())).under(&office.table().await);
    let doomed = office.persist(table, office.log()).await;
    let batch = in_one_partition(&request);
    let invocation = tokio::spawn({
        let batch = batch.clone();
        async move { answered(&doomed, batch, PATIENCE).await }
    });
    gate.reached().await;
    // Gone, with all it knew.
    invocation.abort();
    assert!(invocation.await.unwrap_err().is_cancelled());
    assert_held(&office, &request[0]).await;
    assert_eq!(office.outcomes().await, [], "it had not come so far");
    let stored = office.scan().await;

    let persist = office.persisting_to(office.log()).await;
    assert_eq!(answered(&persist, batch.clone(), PATIENCE).await, DONE);
    assert_eq!(answered(&persist, batch, PATIENCE).await, DONE);
    assert_eq!(office.scan().await, stored);
    let outcomes = office.outcomes().await;
    assert_eq!(outcomes.len(), 2, "once a delivery");
    for seen in outcomes {
        let message: OutcomeMessage = serde_json::from_slice(&seen.value.unwrap()).unwrap();
        assert_eq!((message.reservation_id, message.outcome), (request[0].reservation_id.clone(), Outcome::Held));
    }
    office.close().await;
}

async fn f21_out_of_time_in_the_middle_of_a_payload_the_rest_is_reported_and_done_by_the_next_delivery(set: ServerSet) {
    /// More than are decided at the same time, so that some have not even begun.
    const RECORDS: usize = 40;
    const IN_TIME: usize = 5;
    /// Far more than so few need on a busy machine. The others wait it out.
    const TIME: Duration = Duration::from_secs(8);
    let office = Office::open(set).await;
    let requests = requests("late", RECORDS);
    let (in_time, late) = requests.split_at(IN_TIME);
    let gate = Gate::shut();
    let table = wire(late, Fate::Hold(gate.clone())).under(&office.table().await);
    let persist = office.persist(table, office.log()).await;
    let reported: Vec<(&str, i64)> = (IN_TIME..RECORDS).map(|offset| ("t-0", offset as i64)).collect();
    let answer = answered(&persist, in_one_partition(&requests), TIME).await;
    assert_eq!(answer, reporting(&reported));
    for request in in_time {
        assert_held(&office, request).await;
    }
    let done: Vec<String> = office.scan().await;
    let done: Vec<String> = done.into_iter().filter(|item| item.contains("RES#")).collect();
    assert_eq!(done.len(), IN_TIME, "the others made nothing");

    gate.open();
    assert_eq!(answered(&persist, in_one_partition(&requests), PATIENCE).await, DONE);
    for request in &requests {
        assert_held(&office, request).await;
    }
    let now = office.scan().await;
    assert!(done.iter().all(|item| now.contains(item)), "what was done did not change");
    office.close().await;
}
