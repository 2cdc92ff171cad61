//! What two or more of the functions need: the nouns, the wire format, and the adapters to Redis, Kafka and DynamoDB.
//!
//! - [`domain`]: pure values and rules.
//! - [`message`]: what travels through Kafka. [`trigger`]: how Lambda hands a record of it over. [`dead_letter`]: what a
//!   record that could not be handled says besides its bytes.
//! - [`aws`]: its shared configuration.
//! - [`config`]: what a function is told. [`clock`]: its own time, which decides nothing.
//! - [`redis`]: says no early. [`kafka`]: remembers. [`dynamodb`]: decides.
//! - [`process`]: how a function begins and ends. [`stores`]: opens all three. [`telemetry`] and [`trace`]: what a function tells about itself.
//! - [`secret`]: what is never printed. [`causes`]: what is printed of an error.
//! - [`lock`]: the general lock, for warming and jobs; a reservation never waits on it.

pub mod aws;
pub mod causes;
pub mod clock;
pub mod config;
pub mod dead_letter;
pub mod domain;
pub mod dynamodb;
pub mod kafka;
pub mod lock;
pub mod message;
pub mod process;
pub mod redis;
pub mod secret;
pub mod stores;
pub mod telemetry;
pub mod trace;
pub mod trigger;
