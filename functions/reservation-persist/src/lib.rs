//! The Kafka function: each message becomes exactly one outcome in DynamoDB, whatever is delivered how often.
//!
//! One message, top to bottom: [`payload`] decodes → [`batch`] runs it beside the others → [`decide`] has all the ifs →
//! `Repository::hold` is the transaction → the outcome is sent, and the truth flows back into Redis.

mod batch;
mod dead_letter;
mod decide;
mod payload;

use std::sync::Arc;

use shared::config::{Config, Topics};
use shared::dynamodb::Table;
use shared::dynamodb::reservations::Repository;
use shared::kafka::RequestLog;
use shared::redis::Redis;
use shared::redis::truth::Truths;
use shared::stores::{OpenError, Stores};

pub use batch::{BatchResponse, persist_batch};
pub use payload::NotKafka;
#[doc(hidden)] // for fuzz/ alone
pub use payload::decode;

/// What the function works with. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Persist {
    repository: Repository,
    truths: Truths,
    log: Arc<dyn RequestLog>,
    topics: Topics,
}

impl Persist {
    /// Opens all connections at once. A store that is down is met, and reported, by the first batch.
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub async fn connect(config: &Config) -> Result<Self, OpenError> {
        let Stores { redis, table, log, .. } = Stores::open(config).await?;
        Ok(Self::new(config, redis, table, log))
    }

    /// Puts the function together from connections the caller has opened.
    pub fn new(config: &Config, redis: Redis, table: Table, log: Arc<dyn RequestLog>) -> Self {
        Self {
            repository: Repository::new(table),
            truths: Truths::new(redis),
            log,
            topics: config.kafka.topics.clone(),
        }
    }

    /// Where outcomes are told.
    pub fn log(&self) -> Arc<dyn RequestLog> {
        Arc::clone(&self.log)
    }
}
