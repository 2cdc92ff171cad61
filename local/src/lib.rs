//! local

pub mod client;
pub mod rush;
