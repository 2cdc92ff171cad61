//! The connections a function opens in its init, all at once: a cold start waits for the slowest of them, not for their sum.

use std::sync::Arc;

use crate::config::Config;
use crate::dynamodb::Table;
use crate::kafka::RequestLog;
use crate::kafka::bootstrap::{self, DiscoverError};
use crate::lock::Lock;
use crate::redis::{Redis, RedisError};

/// Connections to all three stores.
pub struct Stores {
    /// Redis.
    pub redis: Redis,
    /// Locks, on that or on servers of their own.
    pub lock: Lock,
    /// The table.
    pub table: Table,
    /// The request log.
    pub log: Arc<dyn RequestLog>,
}

/// The configuration is wrong. (A store that is down is none of these: it is met, and answered for, by the first request.)
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Redis' URL, its certificates, or a server that is set up wrongly.
    #[error("REDIS_URL, REDIS_CA_FILE or LOCK_REDIS_URLS")]
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
        let redis = Redis::open(config);
        let (redis, locks, table, log) = tokio::join!(redis, Redis::open_for_locks(config), table, log);
        let redis = redis?;
        let lock = Lock::quorum(locks?).unwrap_or_else(|| Lock::new(redis.clone()));
        Ok(Self { redis, lock, table, log: Arc::new(log?) })
    }
}
