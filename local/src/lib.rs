//! The whole system in one process: its servers, the functions behind a gateway and an event source. `local serve` and the tests stand on it.

pub mod client;
pub mod event_source;
pub mod gateway;
pub mod jwt;
pub mod rush;
pub mod servers;
