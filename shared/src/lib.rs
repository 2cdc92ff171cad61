//! shared

pub mod kafka;
