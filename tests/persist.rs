//! Persisting: the conditional transactions by themselves, whole payloads, a table that fails, and the proof that the
//! condition is what keeps a seat from having two owners.

pub(crate) mod batch;
mod creation;
mod killed;
mod negative_control;
mod poison;
mod repository;
mod repository_ends;
mod table_faults;
