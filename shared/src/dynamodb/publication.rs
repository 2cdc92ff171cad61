//! A publication as it is written down: the document without its rows, and the name of each section's layout. What a name
//! stands for never changes, so a copy of what is written says all, wherever the layouts come from.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::Arc;

use flate2::Compression;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::domain::document::{EventDocument, RowDocument};
use crate::domain::event::{Event, Version};
use crate::domain::ids::{EventId, Label};
use crate::domain::layout::Layout;

/// Largest layout once inflated, in bytes: 200,000 seats with the longest labels.
const MAX_INFLATED_BYTES: u64 = 16 * 1024 * 1024;

/// Layouts by their names.
pub(super) type Layouts = HashMap<String, Arc<Layout>>;

/// What the event's item says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Written {
    pub(super) version: Version,
    pub(super) document: EventDocument,
    /// The name of each section's layout; of sections that are gone, too, whose numbers are not given again.
    pub(super) layouts: HashMap<Label, String>,
}

impl Written {
    pub(super) fn new(version: Version, mut document: EventDocument, layouts: HashMap<Label, String>) -> Self {
        for section in &mut document.sections {
            section.rows = section.rows.as_ref().map(|_| Vec::<RowDocument>::new());
        }
        Self { version, document, layouts }
    }

    pub(super) fn from_json(json: &str) -> Result<Self, StoreError> {
        serde_json::from_str(json).map_err(StoreError::corrupt)
    }

    pub(super) fn to_json(&self) -> Result<String, StoreError> {
        serde_json::to_string(self).map_err(StoreError::corrupt)
    }

    /// The layouts of the sections there are.
    pub(super) fn layouts_in_use(&self) -> impl Iterator<Item = &String> {
        self.document.sections.iter().filter_map(|section| self.layouts.get(&section.id))
    }

    /// The event it stands for.
    pub(super) fn event(self, id: &EventId, layouts: &Layouts) -> Result<Event, StoreError> {
        let Self { version, mut document, layouts: names } = self;
        let mut by_section = HashMap::new();
        for section in &mut document.sections {
            let named = names.get(&section.id).and_then(|name| Some((name, layouts.get(name)?)));
            let (name, layout) =
                named.ok_or_else(|| StoreError::corrupt(format!("{id}: no layout of {}", section.id)))?;
            section.rows = layout.rows();
            let version = name.split('#').nth(1).and_then(|version| version.parse().ok());
            let version = version.ok_or_else(|| StoreError::corrupt(format!("{id}: layout {name}")))?;
            by_section.insert(section.id.clone(), (version, Arc::clone(layout)));
        }
        Event::new(id.clone(), version, document, &by_section).map_err(StoreError::corrupt)
    }
}

/// A publication that was read, for a copy of it.
#[derive(Debug)]
pub struct Publication {
    pub(super) id: EventId,
    pub(super) written: Written,
    pub(super) layouts: Layouts,
}

impl Publication {
    /// Which one of its event it is.
    pub fn version(&self) -> Version {
        self.written.version
    }

    /// What is written, without the layouts.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn to_json(&self) -> Result<String, StoreError> {
        self.written.to_json()
    }

    /// Its layouts by name.
    pub fn layouts(&self) -> impl Iterator<Item = (&str, &Layout)> {
        let of_name = |name: &'_ String| self.layouts.get_key_value(name);
        self.written.layouts_in_use().filter_map(of_name).map(|(name, layout)| (name.as_str(), layout.as_ref()))
    }

    /// The event.
    ///
    /// # Errors
    /// When a layout is missing or does not fit.
    pub fn event(self) -> Result<Event, StoreError> {
        self.written.event(&self.id, &self.layouts)
    }
}

/// A layout as it is kept: JSON, deflated.
pub fn deflated(layout: &Layout) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
    // Writing into memory cannot fail; an empty result would be refused when it is read.
    encoder.write_all(&layout.to_json()).and_then(|()| encoder.finish()).unwrap_or_default()
}

/// Reads a layout as it is kept.
pub(super) fn inflated(bytes: &[u8]) -> Result<Layout, StoreError> {
    let mut json = Vec::new();
    let inflated = flate2::read::DeflateDecoder::new(bytes).take(MAX_INFLATED_BYTES).read_to_end(&mut json);
    inflated.map_err(StoreError::corrupt)?;
    Layout::from_json(&json).map_err(StoreError::corrupt)
}
