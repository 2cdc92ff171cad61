//! How often an event was viewed, as far as it was written back: one item an event, to which a batch is added once, and only
//! by the runner who has the lock, or had it last.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};

use super::rows::Item;
use super::{StoreError, Table, keys, store_error};
use crate::domain::ids::EventId;

/// The job under whose name the item stands.
const JOB: &str = "write_back";

/// Views the table has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Total {
    /// How many.
    pub views: u64,
    /// The batch that was added last; empty = none was.
    pub batch: String,
}

/// What adding a batch says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// The table has it, by this call or an earlier one.
    Done(Total),
    /// Another runner has taken over meanwhile.
    Overtaken,
}

/// Reads and writes what was counted. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ViewCounts {
    table: Table,
}

impl ViewCounts {
    /// Counts in this table.
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// What the table has of an event. Strongly consistent.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn total(&self, event: &EventId) -> Result<Total, StoreError> {
        let item = self.table.get(keys::job(JOB, event.as_str()), keys::ALONE, true).await?;
        item.map_or_else(|| Ok(Total::default()), |item| total(&item))
    }

    /// Takes the fence of an event: whoever took an earlier one adds nothing any more. To be taken under the lock, and
    /// before the batch is.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn fence(&self, event: &EventId) -> Result<u64, StoreError> {
        let one = HashMap::from([(":one".to_owned(), AttributeValue::N("1".to_owned()))]);
        let update = self.update(event).update_expression("ADD fence :one").set_expression_attribute_values(Some(one));
        let answer = update.return_values(ReturnValue::UpdatedNew).send().await.map_err(store_error)?;
        number(&answer.attributes.unwrap_or_default(), "fence")
    }

    /// Adds a batch, once, if the fence is still this one.
    ///
    /// # Errors
    /// When the table gives no usable answer; calling again is safe.
    pub async fn add(&self, event: &EventId, batch: &str, count: u64, fence: u64) -> Result<Added, StoreError> {
        let values = [
            (":batch", AttributeValue::S(batch.to_owned())),
            (":count", AttributeValue::N(count.to_string())),
            (":fence", AttributeValue::N(fence.to_string())),
        ];
        let values = values.map(|(name, value)| (name.to_owned(), value));
        let sent = self
            .update(event)
            .update_expression("SET #batch = :batch ADD #total :count")
            // A missing batch is unlike every other: here that is meant.
            .condition_expression("fence = :fence AND #batch <> :batch")
            // Both are reserved words.
            .expression_attribute_names("#batch", "batch")
            .expression_attribute_names("#total", "total")
            .set_expression_attribute_values(Some(HashMap::from(values)))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let refused = match sent {
            Ok(answer) => return Ok(Added::Done(total(&answer.attributes.unwrap_or_default())?)),
            Err(SdkError::ServiceError(refused)) => refused,
            Err(error) => return Err(store_error(error)),
        };
        if !refused.err().is_conditional_check_failed_exception() {
            return Err(store_error(SdkError::ServiceError(refused)));
        }
        // Ours, if it was added before: by who died, or by our own request whose answer was lost.
        let stored = self.total(event).await?;
        Ok(if stored.batch == batch { Added::Done(stored) } else { Added::Overtaken })
    }

    fn update(&self, event: &EventId) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
        let key = keys::primary(keys::job(JOB, event.as_str()), keys::ALONE);
        self.table.client.update_item().table_name(&self.table.name).set_key(Some(key))
    }
}

fn total(item: &Item) -> Result<Total, StoreError> {
    let batch = item.get("batch").and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
    let views = if item.contains_key("total") { number(item, "total")? } else { 0 };
    Ok(Total { views, batch })
}

fn number(item: &Item, name: &str) -> Result<u64, StoreError> {
    let number = item.get(name).and_then(|value| value.as_n().ok()).and_then(|text| text.parse().ok());
    number.ok_or_else(|| StoreError::corrupt(format!("a count of views has no {name}")))
}
