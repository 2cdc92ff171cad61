//! The whole table as text that compares byte for byte.

use aws_sdk_dynamodb::types::AttributeValue;
use shared::domain::ids::ReservationId;
use shared::dynamodb::Table;

use super::Office;

impl Office {
    /// The table behind the system.
    pub async fn table(&self) -> Table {
        Table::new(&self.system.config().table).await
    }

    /// Every item, sorted.
    pub async fn scan(&self) -> Vec<String> {
        scan(&self.table().await).await
    }

    /// Spoils the row of a reservation, so that nobody can read it.
    pub async fn spoil(&self, id: &ReservationId) {
        let table = self.table().await;
        let (client, name) = table.raw();
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let update = client.update_item().table_name(name).key("pk", text(&format!("RES#{id}"))).key("sk", text("-"));
        let update = update.update_expression("SET currency = :no").expression_attribute_values(":no", text("?"));
        update.send().await.unwrap();
    }

    /// Puts an item of one text that nobody can read.
    pub async fn has_rubbish(&self, pk: &str, sk: &str) {
        let table = self.table().await;
        let (client, name) = table.raw();
        let text = |text: &str| AttributeValue::S(text.to_owned());
        client.put_item().table_name(name).item("pk", text(pk)).item("sk", text(sk)).send().await.unwrap();
    }

    /// Puts the row of a hold that ran out long ago and that nobody can read. Its shard is the first, and it is the oldest in
    /// it: whatever ends holds meets this one first.
    pub async fn has_an_unreadable_hold(&self, event: &str) {
        let id = format!("RES#{event}.00000000-0000-5000-8000-000000000000");
        let item = [("pk", id.as_str()), ("sk", "-"), ("due_shard", "expire#0"), ("due_at", "0000000000001")];
        let table = self.table().await;
        let (client, name) = table.raw();
        let put = item.iter().fold(client.put_item().table_name(name), |put, (field, value)| {
            put.item(*field, AttributeValue::S((*value).into()))
        });
        put.send().await.unwrap();
    }
}

/// Every item of a table, sorted.
pub async fn scan(table: &Table) -> Vec<String> {
    let (client, name) = table.raw();
    let mut items = Vec::new();
    let mut from = None;
    loop {
        let page = client.scan().table_name(name).consistent_read(true).set_exclusive_start_key(from).send();
        let page = page.await.unwrap();
        items.extend(page.items.unwrap_or_default().into_iter().map(|item| canonical(&AttributeValue::M(item))));
        match page.last_evaluated_key {
            Some(key) => from = Some(key),
            None => break,
        }
    }
    items.sort();
    items
}

/// What differs between two scans, in few enough lines to be read.
pub fn difference(before: &[String], after: &[String]) -> Vec<String> {
    let gone = before.iter().filter(|item| !after.contains(item)).map(|item| format!("- {item}"));
    let new = after.iter().filter(|item| !before.contains(item)).map(|item| format!("+ {item}"));
    gone.chain(new).take(10).collect()
}

fn canonical(value: &AttributeValue) -> String {
    match value {
        AttributeValue::M(map) => {
            let mut fields: Vec<String> =
                map.iter().map(|(name, value)| format!("{name}={}", canonical(value))).collect();
            fields.sort();
            format!("{{{}}}", fields.join(" "))
        }
        AttributeValue::L(list) => format!("[{}]", list.iter().map(canonical).collect::<Vec<_>>().join(" ")),
        AttributeValue::S(text) => format!("{text:?}"),
        AttributeValue::N(number) => number.clone(),
        other => format!("{other:?}"),
    }
}
