//! What a change costs: the look that announces it, one transaction, and the truth.

use local::servers::ServerSet;
use serde_json::json;
use shared::dynamodb::Table;

use crate::harness::changing::{assert_answer, cancel, confirm, extend};
use crate::harness::monitor::Monitor;
use crate::harness::wire::{Fate, Wire};
use crate::harness::{Office, Wishes, hall, on_both_sets};

on_both_sets!(a_change_is_two_commands_and_one_transaction);

async fn a_change_is_two_commands_and_one_transaction(set: ServerSet) {
    let wire = Wire::new(|_, _| Fate::Pass);
    let under = wire.clone();
    let wrap_api_table = Some(Box::new(move |table: Table| under.under(&table)) as Box<_>);
    let office = Office::open_with(Wishes { wrap_api_table, ..Wishes::plain(set) }).await;
    office.sells("cost", &hall::with(hall::small(1, 8), "extend_seconds", json!(60))).await;
    let (ada, payments) = (office.customer("ada"), office.payments());
    // The first of each loads its scripts.
    let warm = office.holds(&ada, "cost", "warm", &["A-1-8"]).await;
    assert_answer(&cancel(&ada, &warm).await, 200, "CANCELLED");
    let kept = office.holds(&ada, "cost", "1", &["A-1-1", "A-1-2"]).await;
    let dropped = office.holds(&ada, "cost", "2", &["A-1-3", "B-1-1"]).await;
    let mut monitor = Monitor::start(&office.system.servers().redis_url()).await;
    wire.forget();
    for (change, id) in [("extend", &kept), ("confirm", &kept), ("cancel", &dropped)] {
        let (answer, status) = match change {
            "extend" => (extend(&ada, id).await, "HELD"),
            "confirm" => (confirm(&payments, id, "payment-1").await, "CONFIRMED"),
            _ => (cancel(&ada, id).await, "CANCELLED"),
        };
        assert_answer(&answer, 200, status);
        let commands = monitor.commands().await;
        assert_eq!(commands.len(), 2, "{change}: {commands:?}");
        assert_eq!(wire.forget(), ["TransactWriteItems"], "{change}");
    }
    // The same payment again reads the row and changes nothing.
    assert_answer(&confirm(&payments, &kept, "payment-1").await, 200, "CONFIRMED");
    assert_eq!((monitor.commands().await.len(), wire.forget()), (2, vec!["GetItem".to_owned()]));
    office.close().await;
}
