//! Events: the document as published, the layouts it names, and the directory that lists them.
//!
//! Layouts are written first, each under a key of its own; the event item names them and is written last, conditionally:
//! that write is the publication. A publisher that loses the race leaves layouts nobody names, never a mixed event.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use serde::{Deserialize, Serialize};

use super::publication::{Layouts, Publication, Written, deflated, inflated};
use super::removing::{Removing, STILL_REMOVING};
use super::rows::Item;
use super::{StoreError, Table, keys, store_error};
use crate::causes::chain;
use crate::domain::Invalid;
use crate::domain::document::{EventDocument, SaleState, SaleWindow};
use crate::domain::event::{Event, Seat};
use crate::domain::ids::{EventId, Label, SeatId};
use crate::domain::layout::Layout;

/// Largest compressed layout of one section, in bytes: an item may have 400 KB in all.
pub const MAX_LAYOUT_BYTES: usize = 380_000;
/// Layouts kept in the process, in seats: they never change under their key, so age does not matter.
const CACHED_SEATS: u64 = 1_000_000;
/// Events one page of the list holds at most.
pub const MAX_EVENTS_PAGE: i32 = 100;

/// What a list shows of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventSummary {
    /// Names it.
    pub event_id: EventId,
    /// Its title.
    pub name: String,
    /// Where it takes place.
    pub venue: String,
    /// When it starts.
    pub starts_at: jiff::Timestamp,
    /// Whether seats are being sold.
    pub state: SaleState,
    /// When.
    pub sale: SaleWindow,
}

/// What publishing says.
#[derive(Debug, Clone)]
pub enum Published {
    /// Done; the event under its new version.
    Done(Arc<Event>),
    /// Somebody has published meanwhile: read again.
    Overtaken,
    /// The document does not fit into the table.
    Invalid(Invalid),
}

/// Reads and writes events. Cheap to clone; clones share the layouts they have read.
#[derive(Clone)]
pub struct Events {
    pub(super) table: Table,
    layouts: moka::sync::Cache<String, Arc<Layout>>,
}

impl Events {
    /// Events in this table.
    pub fn new(table: Table) -> Self {
        let layouts = moka::sync::Cache::builder()
            .max_capacity(CACHED_SEATS)
            .weigher(|_, layout: &Arc<Layout>| layout.numbered().max(1))
            .build();
        Self { table, layouts }
    }

    /// The event as published last, read past every lag.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn get(&self, id: &EventId) -> Result<Option<Event>, StoreError> {
        self.read(id).await?.map(Publication::event).transpose()
    }

    /// The same as it is written, for who keeps a copy.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn read(&self, id: &EventId) -> Result<Option<Publication>, StoreError> {
        let Some(item) = self.table.get(keys::event(id), keys::ALONE, true).await? else { return Ok(None) };
        let written = Written::from_json(attribute(&item, "published")?)?;
        let layouts = self.read_layouts(id, written.layouts.values()).await?;
        Ok(Some(Publication { id: id.clone(), written, layouts }))
    }

    /// The event of which a copy was kept: what was written, and from where layouts come that this process has not. Those
    /// that are missing there come from the table.
    ///
    /// # Errors
    /// When the copy cannot be read, or the table gives no usable answer.
    pub async fn from_copy(
        &self,
        id: &EventId,
        json: &str,
        copied: impl AsyncFnOnce(&[String]) -> Vec<(String, Vec<u8>)>,
    ) -> Result<Event, StoreError> {
        let written = Written::from_json(json)?;
        let known = |name: &String| Some((name.clone(), self.layouts.get(&cache_key(id, name))?));
        let mut layouts: Layouts = written.layouts_in_use().filter_map(known).collect();
        let missing: Vec<String> =
            written.layouts_in_use().filter(|name| !layouts.contains_key(*name)).cloned().collect();
        if !missing.is_empty() {
            for (name, bytes) in copied(&missing).await {
                let layout = Arc::new(inflated(&bytes)?);
                self.layouts.insert(cache_key(id, &name), Arc::clone(&layout));
                layouts.insert(name, layout);
            }
            let nowhere = missing.iter().filter(|name| !layouts.contains_key(*name));
            let stored = self.read_layouts(id, nowhere).await?;
            layouts.extend(stored);
        }
        written.event(id, &layouts)
    }

    /// Publishes a document over `previous` (what [`get`](Self::get) answered; `None` = never published). Seats it leaves
    /// out must be blocked before, in a removal: see [`removed_seats`].
    ///
    /// # Errors
    /// When the table gives no usable answer; the publication may have been made then.
    pub async fn publish(
        &self,
        id: &EventId,
        document: EventDocument,
        previous: Option<&Event>,
        removing: Option<&Removing>,
    ) -> Result<Published, StoreError> {
        let version = previous.map_or(1, |event| event.version + 1);
        let known = match previous {
            Some(_) => self.read(id).await?,
            None => None,
        };
        if known.as_ref().map_or(0, Publication::version) + 1 != version {
            return Ok(Published::Overtaken);
        }
        let (known_keys, known_layouts) = known.map(|known| (known.written.layouts, known.layouts)).unwrap_or_default();
        let before = |section: &Label| known_keys.get(section).and_then(|key| Some((key, known_layouts.get(key)?)));
        let mut layouts = HashMap::new();
        let mut layout_keys = HashMap::new();
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let mut next: Vec<(Label, Layout)> = Vec::new();
        for section in &document.sections {
            let layout = match before(&section.id) {
                Some((_, layout)) => layout.followed_by(section),
                None => Layout::first(section),
            };
            next.push((section.id.clone(), layout));
        }
        // A section that goes leaves its numbers behind: whatever is called so again gets others.
        for section in known_keys.keys().filter(|id| document.sections.iter().all(|section| section.id != **id)) {
            if let Some((_, layout)) = before(section) {
                next.push((section.clone(), layout.without_seats()));
            }
        }
        for (section, layout) in next {
            let unchanged = before(&section).filter(|(_, before)| ***before == layout);
            let key = match unchanged {
                Some((key, _)) => key.clone(),
                None => {
                    let key = format!("{section}#{version}#{nonce}");
                    let bytes = deflated(&layout);
                    if bytes.len() > MAX_LAYOUT_BYTES {
                        let reason = format!("is too large to store ({} of {MAX_LAYOUT_BYTES} bytes)", bytes.len());
                        return Ok(Published::Invalid(Invalid::new(format!("sections.{section}"), reason)));
                    }
                    self.put_layout(id, &key, bytes).await?;
                    key
                }
            };
            layouts.insert(key.clone(), Arc::new(layout));
            layout_keys.insert(section, key);
        }
        let written = Written::new(version, document, layout_keys);
        if !self.put_event(id, &written, removing).await? {
            return Ok(Published::Overtaken);
        }
        written.event(id, &layouts).map(|event| Published::Done(Arc::new(event)))
    }

    /// Events in the directory, by id, at most `limit`, and the id after which the next page begins. May lag.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn list(
        &self,
        limit: i32,
        after: Option<&EventId>,
    ) -> Result<(Vec<EventSummary>, Option<EventId>), StoreError> {
        self.listed(limit, after, false).await
    }

    /// The same past every lag, for a copy that is to be kept; costs twice as much.
    ///
    /// # Errors
    /// When the table gives no usable answer.
    pub async fn list_strongly(
        &self,
        limit: i32,
        after: Option<&EventId>,
    ) -> Result<(Vec<EventSummary>, Option<EventId>), StoreError> {
        self.listed(limit, after, true).await
    }

    async fn listed(
        &self,
        limit: i32,
        after: Option<&EventId>,
        strongly: bool,
    ) -> Result<(Vec<EventSummary>, Option<EventId>), StoreError> {
        let answer = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(keys::DIRECTORY.into()))
            .limit(limit.clamp(1, MAX_EVENTS_PAGE))
            .consistent_read(strongly)
            .set_exclusive_start_key(after.map(|id| keys::primary(keys::DIRECTORY, id.as_str())))
            .send()
            .await
            .map_err(store_error)?;
        let summaries: Vec<EventSummary> = answer
            .items
            .unwrap_or_default()
            .iter()
            .filter_map(|item| {
                let summary =
                    attribute(item, "summary").and_then(|text| serde_json::from_str(text).map_err(StoreError::corrupt));
                // One that cannot be read keeps no other from being listed.
                let event_id = attribute(item, "sk").unwrap_or_default();
                summary
                    .inspect_err(|error| tracing::error!(event_id, error = chain(error), "an event cannot be listed"))
                    .ok()
            })
            .collect();
        let next = match answer.last_evaluated_key {
            Some(key) => Some(EventId::parse(attribute(&key, "sk")?).map_err(StoreError::corrupt)?),
            None => None,
        };
        Ok((summaries, next))
    }

    async fn read_layouts(&self, id: &EventId, names: impl Iterator<Item = &String>) -> Result<Layouts, StoreError> {
        let mut layouts = HashMap::new();
        let mut missing = Vec::new();
        for key in names {
            match self.layouts.get(&cache_key(id, key)) {
                Some(layout) => drop(layouts.insert(key.clone(), layout)),
                None => missing.push(keys::primary(keys::layouts(id), key)),
            }
        }
        // Strong: an event item may be read in the very moment it was published.
        for item in self.table.batch_get(missing).await? {
            let key = attribute(&item, "sk")?.to_owned();
            let layout = item.get("layout").and_then(|value| value.as_b().ok());
            let layout = layout.ok_or_else(|| StoreError::corrupt("a layout item has no layout"))?;
            let layout = Arc::new(inflated(layout.as_ref())?);
            self.layouts.insert(cache_key(id, &key), Arc::clone(&layout));
            layouts.insert(key, layout);
        }
        Ok(layouts)
    }

    async fn put_layout(&self, id: &EventId, key: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        let mut item = keys::primary(keys::layouts(id), key);
        item.insert("layout".into(), AttributeValue::B(Blob::new(bytes)));
        let request = self.table.client.put_item().table_name(&self.table.name).set_item(Some(item));
        request.send().await.map_err(store_error)?;
        Ok(())
    }

    /// Writes event and directory together; `false` = another publication of this version, or a removal, came first.
    async fn put_event(
        &self,
        id: &EventId,
        written: &Written,
        removing: Option<&Removing>,
    ) -> Result<bool, StoreError> {
        let published = written.to_json()?;
        let condition = match removing {
            None if written.version == 1 => "attribute_not_exists(pk)".to_owned(),
            None => "version = :previous".to_owned(),
            Some(_) => format!("version = :previous AND {STILL_REMOVING}"),
        };
        let mut update = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(keys::primary(keys::event(id), keys::ALONE)))
            .update_expression("SET published = :published, version = :version")
            .condition_expression(condition)
            .expression_attribute_values(":published", AttributeValue::S(published))
            .expression_attribute_values(":version", AttributeValue::N(written.version.to_string()));
        if written.version > 1 {
            let previous = AttributeValue::N((written.version - 1).to_string());
            update = update.expression_attribute_values(":previous", previous);
        }
        if let Some(removing) = removing {
            update = update.expression_attribute_values(":removing", removing.nonce());
        }
        let mut entry = keys::primary(keys::DIRECTORY, id.as_str());
        let summary = serde_json::to_string(&summary(id, &written.document)).map_err(StoreError::corrupt)?;
        entry.insert("summary".into(), AttributeValue::S(summary));
        let entry = Put::builder().table_name(&self.table.name).set_item(Some(entry));
        let items = vec![
            TransactWriteItem::builder().update(update.build().map_err(StoreError::corrupt)?).build(),
            TransactWriteItem::builder().put(entry.build().map_err(StoreError::corrupt)?).build(),
        ];
        match self.table.client.transact_write_items().set_transact_items(Some(items)).send().await {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(refused)) if overtaken(refused.err()) => Ok(false),
            Err(error) => Err(store_error(error)),
        }
    }
}

fn summary(id: &EventId, document: &EventDocument) -> EventSummary {
    EventSummary {
        event_id: id.clone(),
        name: document.name.clone(),
        venue: document.venue.clone(),
        starts_at: document.starts_at,
        state: document.state,
        sale: document.sale,
    }
}

/// The seats of `previous` that a document leaves out.
pub fn removed_seats(document: &EventDocument, previous: &Event) -> Vec<Seat> {
    let mut removed = Vec::new();
    for before in &previous.sections {
        let after = document.sections.iter().find(|section| section.id == before.id);
        let gone: Vec<(&str, u32)> = match after {
            Some(section) => before.layout.removed_in(&Layout::first(section)),
            None => before.layout.seats().collect(),
        };
        let seat = |(within, number)| Seat { id: SeatId::of(&before.id, within), number };
        removed.extend(gone.into_iter().map(seat));
    }
    removed
}

fn overtaken(error: &TransactWriteItemsError) -> bool {
    match error {
        TransactWriteItemsError::TransactionCanceledException(cancelled) => cancelled
            .cancellation_reasons()
            .iter()
            .any(|reason| matches!(reason.code(), Some("ConditionalCheckFailed" | "TransactionConflict"))),
        _ => false,
    }
}

fn cache_key(id: &EventId, key: &str) -> String {
    format!("{id}/{key}")
}

fn attribute<'a>(item: &'a Item, name: &str) -> Result<&'a str, StoreError> {
    item.get(name)
        .and_then(|value| value.as_s().ok())
        .map(String::as_str)
        .ok_or_else(|| StoreError::corrupt(format!("an item has no {name}")))
}
