//! Persisting: the conditional transactions by themselves, whole payloads, a table that fails, and the proof that the
//! condition is what keeps a seat from having two owners.

pub(crate) mod batch;
mod cost;
mod creation;
mod drain;
mod evolution;
mod fuzz;
mod killed;
mod negative_control;
mod orders;
mod poison;
mod repository;
mod repository_ends;
mod table_faults;
