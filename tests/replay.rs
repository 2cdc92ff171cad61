//! F19: the whole topic read once more from its beginning, onto a table that has nothing. It makes the same reservations of
//! the same owners, item for item, as long as nobody wanted what another had just then and nothing was changed later.

use std::sync::Arc;

use local::event_source::{EventSource, EventSourceSettings, Handler};
use local::servers::ServerSet;
use reservation_persist::persist_batch;
use serde_json::{Value, json};
use shared::dynamodb::{Table, TableSettings};
use tokio::time::Instant;

use crate::harness::changing::reserve_of;
use crate::harness::storm::insist;
use crate::harness::table::{difference, scan};
use crate::harness::{Office, PATIENCE, all_at_once, hall, on_both_sets};

on_both_sets!(f19_the_topic_replayed_onto_an_empty_table_makes_the_same_items);

/// What persisting makes: not the event, which the organiser has published.
fn persisted(items: Vec<String>) -> Vec<String> {
    let of_persist =
        |item: &String| ["RES#", "SEATS#", "LIMIT#"].iter().any(|kind| item.contains(&format!("\"{kind}")));
    items.into_iter().filter(of_persist).collect()
}

async fn f19_the_topic_replayed_onto_an_empty_table_makes_the_same_items(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("twice", &hall::with(hall::small(2, 12), "max_per_customer", json!(4))).await;
    office.sells("floor", &hall::standing(20)).await;
    // Two want each seat at once, so half of them are told no by Redis and leave no message.
    let crowd = (0..48).map(|n| {
        let client = office.customer(&format!("customer-{n}"));
        async move { insist(&client, "twice", "k", &[&format!("A-{}-{}", n % 24 / 12 + 1, n % 12 + 1)]).await.status }
    });
    let answers = all_at_once(crowd).await;
    assert_eq!(answers.iter().filter(|status| **status == 202).count(), 24, "{answers:?}");
    for n in 0..10 {
        let wish = json!({ "section": "FLOOR", "quantity": 2 });
        reserve_of(&office.customer(&format!("dancer-{n}")), "floor", "k", &wish).await;
    }
    office.drained().await;
    let once = persisted(office.scan().await);
    assert!(once.len() > 24 * 3, "{}", once.len());

    let config = office.system.config();
    let name = format!("{}-again", config.table.table);
    let again = Table::new(&TableSettings { table: name, ..config.table.clone() }).await;
    again.create().await.unwrap();
    let persist = office.persist(again.clone(), office.log()).await;
    let handler: Handler = Arc::new(move |payload: Value| {
        let persist = persist.clone();
        Box::pin(async move {
            let response = persist_batch(&persist, payload, Instant::now() + PATIENCE).await;
            serde_json::to_value(response.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
        })
    });
    let settings = EventSourceSettings::new(office.system.servers().kafka_bootstrap(), &config.kafka.topics.requests);
    let source = EventSource::start(settings, handler).await.unwrap();
    source.drained(PATIENCE).await.unwrap();
    source.stop().await;
    let twice = persisted(scan(&again).await);
    assert_eq!(difference(&once, &twice), [""; 0]);
    office.close().await;
}
