//! The integration tests: the whole system, on both sets of servers. A module per feature; names are sentences.

#![allow(clippy::unwrap_used, reason = "a test that meets an error it did not ask for has failed")]

mod expiry;
mod harness;
mod persist;
mod produce_faults;
mod reservations;
