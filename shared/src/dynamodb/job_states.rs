//! What a job remembers between its runs: how far it has come. One item a job and scope, written under a condition, since
//! two runs may be under way at once.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::AttributeValue;

use super::{StoreError, Table, keys, store_error};

/// The attribute that says how far.
const CURSOR: &str = "cursor";
/// The attribute that says where.
const PLACE: &str = "place";
/// The scope of a job that has only one.
const WHOLE: &str = "all";

/// The states of one job. Cheap to clone.
#[derive(Debug, Clone)]
pub struct JobStates {
    table: Table,
    job: &'static str,
}

impl JobStates {
    /// The states of the job called so.
    pub fn new(table: Table, job: &'static str) -> Self {
        Self { table, job }
    }

    /// Up to where the job has come in this scope; `None` = it has not begun. Strongly consistent.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn cursor(&self, scope: &str) -> Result<Option<i64>, StoreError> {
        let Some(item) = self.table.get(keys::job(self.job, scope), keys::ALONE, true).await? else { return Ok(None) };
        let number = item.get(CURSOR).and_then(|value| value.as_n().ok()).and_then(|text| text.parse().ok());
        number.map(Some).ok_or_else(|| StoreError::corrupt("the job's cursor is no number"))
    }

    /// What the job that goes through everything in turn has come to; `None` = to be begun from the start. Strongly
    /// consistent.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn place(&self) -> Result<Option<String>, StoreError> {
        let item = self.table.get(keys::job(self.job, WHOLE), keys::ALONE, true).await?;
        let place = item.and_then(|item| item.get(PLACE).and_then(|value| value.as_s().ok().cloned()));
        Ok(place.filter(|place| !place.is_empty()))
    }

    /// Remembers what it has come to; empty = all of it. The last one to say so counts: a runner who was overtaken costs
    /// double work.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn set_place(&self, place: &str) -> Result<(), StoreError> {
        let request = self.table.client.update_item().table_name(&self.table.name);
        let request = request.set_key(Some(keys::primary(keys::job(self.job, WHOLE), keys::ALONE)));
        let request = request.update_expression("SET #place = :place").expression_attribute_names("#place", PLACE);
        let request = request.expression_attribute_values(":place", AttributeValue::S(place.to_owned()));
        request.send().await.map_err(store_error)?;
        Ok(())
    }

    /// Moves the cursor to `to`, if it stands below, or still where the caller has `seen` it; `false` = another run has come
    /// further meanwhile.
    ///
    /// # Errors
    /// When the table gives no usable answer; the cursor may have been moved then.
    pub async fn advance(&self, scope: &str, seen: Option<i64>, to: i64) -> Result<bool, StoreError> {
        let number = |number: i64| AttributeValue::N(number.to_string());
        let mut values = HashMap::from([(":to".to_owned(), number(to))]);
        let mut condition = "attribute_not_exists(pk) OR #cursor < :to".to_owned();
        if let Some(seen) = seen {
            values.insert(":seen".to_owned(), number(seen));
            condition.push_str(" OR #cursor = :seen");
        }
        let request = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(keys::primary(keys::job(self.job, scope), keys::ALONE)))
            .update_expression("SET #cursor = :to")
            .condition_expression(condition)
            .expression_attribute_names("#cursor", CURSOR)
            .set_expression_attribute_values(Some(values));
        match request.send().await {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(refused)) if refused.err().is_conditional_check_failed_exception() => Ok(false),
            Err(error) => Err(store_error(error)),
        }
    }
}
