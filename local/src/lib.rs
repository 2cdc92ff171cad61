//! local

pub mod event_source;
