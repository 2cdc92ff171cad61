//! The integration tests: the whole system, on both sets of servers. A module per feature; names are sentences.

mod events;
mod harness;
mod problems;
mod refusals;
mod reservations;
mod tidy;
