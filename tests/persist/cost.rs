//! What a reservation costs to write: requests to the table, and write units as DynamoDB counts them: two for each kilobyte
//! begun of each item in a transaction, and one for each of what an index projects.

use aws_sdk_dynamodb::types::{Put, ReturnConsumedCapacity, TransactWriteItem};
use local::servers::ServerSet;
use reservation_persist::Persist;
use shared::dynamodb::{Table, TableSettings};
use shared::message::Request;

use super::batch::{DONE, answered};
use crate::harness::handmade::{Asked, asks, carrying, payload};
use crate::harness::wire::{Fate, Wire};
use crate::harness::{Office, PATIENCE, on_both_sets};

on_both_sets!(a_hold_is_one_transaction_of_a_row_a_count_and_its_seats);

async fn handled(persist: &Persist, request: &Request) {
    assert_eq!(answered(persist, payload([("t-0", vec![carrying(0, request)])]), PATIENCE).await, DONE);
}

async fn a_hold_is_one_transaction_of_a_row_a_count_and_its_seats(set: ServerSet) {
    let office = Office::open(set).await;
    let wire = Wire::new(|_, _| Fate::Pass);
    let persist = office.persist(wire.under(&office.table().await), office.log()).await;
    let asked = |customer, key, seats, limit| {
        Asked { event: "cost", customer, key, seats, limit, held: (1_000, 2_000) }.request()
    };
    let first = asked("alice", "1", &["A-1-1", "A-1-2"], Some(2));
    let steps: [(&str, Request, &[&str], usize); 5] = [
        ("made", first.clone(), &["TransactWriteItems"], 4),
        ("delivered again", first, &["TransactWriteItems"], 4),
        ("taken", asked("bob", "1", &["A-1-2"], None), &["TransactWriteItems", "PutItem"], 5),
        // What this customer let run out might be what counts: a query and a second transaction before he is refused.
        (
            "over the limit",
            asked("alice", "2", &["A-1-3"], Some(2)),
            &["TransactWriteItems", "Query", "TransactWriteItems", "PutItem"],
            6,
        ),
        ("more than the limit in one", asked("carol", "1", &["A-1-4", "A-1-5"], Some(1)), &["PutItem"], 7),
    ];
    for (what, request, requests, items) in steps {
        wire.forget();
        handled(&persist, &request).await;
        assert_eq!(wire.forget(), requests, "{what}");
        assert_eq!(office.scan().await.len(), items, "{what}");
    }
    office.close().await;
}

/// What is charged for the items of one hold, written in one transaction: units of the table, and of each index.
async fn units(request: &Request) -> (f64, Vec<f64>) {
    let office = Office::open(ServerSet::Embedded).await;
    let persist = office.persisting_to(office.log()).await;
    handled(&persist, request).await;
    let table = office.table().await;
    let (client, name) = table.raw();
    let items = client.scan().table_name(name).consistent_read(true).send().await.unwrap().items.unwrap();
    assert_eq!(items.len(), request.seats.len() + 2);
    // The very items, into an empty table: the product does not ask what it is charged.
    let settings = TableSettings { table: "another".into(), ..office.system.config().table.clone() };
    let another = Table::new(&settings).await;
    another.create().await.unwrap();
    let mut transaction = client.transact_write_items().return_consumed_capacity(ReturnConsumedCapacity::Indexes);
    for item in items {
        let put = Put::builder().table_name("another").set_item(Some(item)).build().unwrap();
        transaction = transaction.transact_items(TransactWriteItem::builder().put(put).build());
    }
    let charged = transaction.send().await.unwrap().consumed_capacity.unwrap().remove(0);
    let indexes = charged.global_secondary_indexes.unwrap();
    let indexes = ["by_customer", "by_event", "due"].map(|index| indexes[index].capacity_units.unwrap());
    office.close().await;
    (charged.table.unwrap().capacity_units.unwrap(), indexes.into())
}

/// By the embedded server, which counts as AWS says it does; DynamoDB Local has figures of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_costs_two_units_an_item_and_one_an_index() {
    let customer = "5f0c2a8e-7d1b-4c57-9a53-0f6f3f0f7a11";
    let one = asks("summer-nights-2026-06-12", customer, &["A-12-34"], (1_781_280_000_000, 1_781_280_600_000));
    assert_eq!(units(&one).await, (6.0, vec![1.0, 1.0, 1.0]));
    let seats = ["A-12-31", "A-12-32", "A-12-33", "A-12-34"];
    let four = asks("summer-nights-2026-06-12", customer, &seats, (1_781_280_000_000, 1_781_280_600_000));
    assert_eq!(units(&four).await, (12.0, vec![1.0, 1.0, 1.0]));
    // As many seats and as long names as there can be.
    let seats: Vec<String> = (0..20).map(|n| format!("{}-{:016}-{:016}", "S".repeat(16), 3, n + 1)).collect();
    let seats: Vec<&str> = seats.iter().map(String::as_str).collect();
    let (event, customer) = ("e".repeat(64), "c".repeat(128));
    let most = asks(&event, &customer, &seats, (1_781_280_000_000, 1_781_280_600_000));
    assert_eq!(units(&most).await, (48.0, vec![3.0, 3.0, 1.0]));
}
