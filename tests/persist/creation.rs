//! The table's creation, which the local system and every test begin with.

use local::servers::ServerSet;
use shared::dynamodb::{Table, TableSettings};

use crate::harness::Office;
use crate::harness::wire::{Fate, Wire, error};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_asked_for_once_even_where_the_answer_is_a_fault() {
    let office = Office::open(ServerSet::Embedded).await;
    let settings = TableSettings { table: "another".into(), ..office.system.config().table.clone() };
    let wire = Wire::new(|_, _| error(500, "InternalServerError"));
    assert!(wire.under(&Table::new(&settings).await).create().await.is_err());
    assert_eq!(wire.count("CreateTable", |fate| matches!(fate, Fate::Answer(..))), 1);
    office.close().await;
}
