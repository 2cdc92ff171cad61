//! The whole system in one process, and the harness that the tests and the benchmarks stand on.

pub mod gateway;
pub mod jwt;
pub mod servers;
