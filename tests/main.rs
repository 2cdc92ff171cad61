//! The integration tests: the whole system, on both sets of servers. A module per feature; names are sentences.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without ends it where it is missing")]

mod admin_list;
mod best_seats;
mod blocks;
mod capacity;
mod claims;
mod crowd;
mod deaths;
mod events;
mod expiry;
mod harness;
mod healing;
mod lag;
mod life_model;
mod lifecycle;
mod loading;
mod locks;
mod openapi;
mod persist;
mod places;
mod problems;
mod produce_faults;
mod publishing;
mod reads;
mod reconciling;
mod redis_faults;
mod redrive;
mod refusals;
mod replay;
mod reservations;
mod rush;
mod settlement;
mod telemetry;
mod template;
mod tidy;
mod traces;
mod transport;
mod views;
mod waiting;
