//! The nouns of a ticket office and the rules between them: pure values, no I/O, no clock, no randomness.
//!
//! - [`ids`]: identifiers parsed once at the edge; beyond it no raw string travels.
//! - [`money`]: integer cents.
//! - [`day`]: a calendar date in a venue's zone.
//! - [`document`]: the event document as an organiser writes it, and its bounds.
//! - [`event`]: a published event: the document with a version and numbered seats.
//! - [`json`]: reads a body, naming what does not fit.
//! - [`layout`]: which seat has which number; append-only.
//! - [`reservation`]: status, outcome, and the moves between them.

pub mod day;
pub mod document;
#[cfg(test)]
mod document_tests;
pub mod event;
pub mod ids;
pub mod json;
pub mod layout;
#[cfg(test)]
mod layout_tests;
pub mod money;
pub mod reservation;

/// Input that breaks a rule: which field, and what the rule is. Safe to show to the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Invalid {
    /// Path of the offending field in the caller's document, such as `sections[2].rows[0].id`.
    pub field: String,
    /// What the field must be, in words for the caller.
    pub reason: String,
}

impl Invalid {
    /// Names a field and the rule it breaks.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }

    /// The same refusal under `path`, which may be empty.
    #[must_use]
    pub fn within_path(self, path: &str) -> Self {
        if path.is_empty() { self } else { self.within(path) }
    }

    /// The same refusal, seen from the document that holds the field at `parent`.
    #[must_use]
    pub fn within(mut self, parent: &str) -> Self {
        self.field = if self.field.is_empty() { parent.to_owned() } else { format!("{parent}.{}", self.field) };
        self
    }
}
