//! The whole system in one process: its servers, the functions behind a gateway and an event source. `local serve` and the
//! tests stand on it.
//!
//! - [`system`]: everything put together.
//! - [`servers`]: Redis, Kafka and DynamoDB, embedded or real. [`gateway`], [`jwt`]: what stands in for API Gateway.
//!   [`event_source`]: what stands in for Lambda's event source mapping.
//! - [`client`]: talks to the API. [`outcomes`]: hears what became of requests. [`rush`]: an on-sale. [`redrive`]: looks at
//!   and replays what could not be handled. [`job`]: runs a scheduled job by hand. [`config`]: what is fixed for development.

pub mod client;
pub mod config;
pub mod event_source;
pub mod gateway;
pub mod job;
pub mod jwt;
pub mod outcomes;
pub mod redrive;
pub mod rush;
pub mod servers;
pub mod system;
