//! local

pub mod client;
