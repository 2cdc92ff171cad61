//! The connections a function opens in its init, all at once: a cold start waits for the slowest of them, not for their sum.

use std::sync::Arc;

use crate::config::Config;
use crate::dynamodb::Table;
use crate::kafka::RequestLog;
use crate::kafka::bootstrap::{self, DiscoverError};
use crate::redis::{Redis, RedisError};

/// Connections to all three stores.
pub struct Stores {
    /// Redis.
    pub redis: Redis,
    /// The table.
    pub table: Table,
    /// The request log.
    pub log: Arc<dyn RequestLog>,
}

/// The configuration is wrong. (A store that is down is none of these: it is met, and answered for, by the first request.)
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Redis' URL, or a server that is set up wrongly.
    #[error("REDIS_URL")]
    Redis(#[from] RedisError),
    /// Where the brokers are.
    #[error(transparent)]
    Kafka(#[from] DiscoverError),
}

impl Stores {
    /// Opens all connections.
    ///
    /// # Errors
    /// When the configuration is wrong.
    pub async fn open(config: &Config) -> Result<Self, OpenError> {
        let table = async {
            let table = Table::new(&config.table).await;
            table.warm_up().await;
            table
        };
        let log = async {
            let log = bootstrap::open(&config.kafka).await?;
            log.warm_up().await;
            Ok::<_, DiscoverError>(log)
        };
        let (redis, table, log) = tokio::join!(Redis::open(config), table, log);
        Ok(Self { redis: redis?, table, log: Arc::new(log?) })
    }
}
