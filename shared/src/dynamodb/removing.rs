//! The removal of seats from an event, one at a time: a publication that leaves seats out blocks them first, and neither it
//! nor anybody who puts such seats back may do so once another removal has begun.
//!
//! The event item notes which removal is under way. Whoever begins the next one overwrites that note, and from then on every
//! write of the earlier one fails by its condition: its blocks, its put-backs and its publication.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, TransactWriteItem};

use super::events::Events;
use super::reservations::Repository;
use super::{StoreError, keys, store_error};
use crate::domain::event::Event;
use crate::domain::ids::EventId;

/// The condition every write of a removal carries.
pub(super) const STILL_REMOVING: &str = "removing = :removing";

/// A removal under way, until the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removing {
    event: EventId,
    nonce: String,
}

impl Removing {
    /// The value of `:removing`.
    pub(super) fn nonce(&self) -> AttributeValue {
        AttributeValue::S(self.nonce.clone())
    }
}

impl Events {
    /// Begins a removal of seats from this publication; `None` = another one stands.
    ///
    /// # Errors
    /// When the table gives no usable answer; a removal that had begun before may be over then.
    pub async fn begin_removal(&self, event: &Event) -> Result<Option<Removing>, StoreError> {
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let removing = Removing { event: event.id.clone(), nonce };
        let update = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(keys::primary(keys::event(&event.id), keys::ALONE)))
            .update_expression("SET removing = :removing")
            .condition_expression("version = :version")
            .expression_attribute_values(":removing", removing.nonce())
            .expression_attribute_values(":version", AttributeValue::N(event.version.to_string()));
        match update.send().await {
            Ok(_) => Ok(Some(removing)),
            Err(SdkError::ServiceError(refused)) if refused.err().is_conditional_check_failed_exception() => Ok(None),
            Err(error) => Err(store_error(error)),
        }
    }
}

impl Repository {
    /// The part of a transaction that fails once another removal has begun.
    pub(super) fn still_removing(&self, removing: &Removing) -> Result<TransactWriteItem, StoreError> {
        let check = ConditionCheck::builder()
            .table_name(&self.table.name)
            .set_key(Some(keys::primary(keys::event(&removing.event), keys::ALONE)))
            .condition_expression(STILL_REMOVING)
            .expression_attribute_values(":removing", removing.nonce())
            .build()
            .map_err(StoreError::corrupt)?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }
}
