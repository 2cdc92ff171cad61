//! The persisting function put together by a test: with a table or a log that fails, on the stores of an office.

use std::sync::Arc;

use reservation_persist::Persist;
use shared::dynamodb::Table;
use shared::kafka::{KafkaSettings, KrafkaLog, RequestLog, Security};
use shared::redis::Redis;

use super::Office;

impl Office {
    /// A log on the office's brokers.
    pub fn log(&self) -> Arc<dyn RequestLog> {
        Arc::new(KrafkaLog::new(KafkaSettings::new(self.system.servers().kafka_bootstrap(), Security::Plaintext)))
    }

    /// The function over this table and log, and the office's Redis.
    pub async fn persist(&self, table: Table, log: Arc<dyn RequestLog>) -> Persist {
        let config = self.system.config();
        Persist::new(config, Redis::connect(&config.redis_url, 1).await.unwrap(), table, log)
    }

    /// The function over this table and log, and a Redis that nobody can reach.
    pub async fn persist_without_redis(&self, table: Table, log: Arc<dyn RequestLog>) -> Persist {
        Persist::new(self.system.config(), unreachable_redis().await, table, log)
    }
}

/// A Redis nobody can reach: a port that was free a moment ago.
pub async fn unreachable_redis() -> Redis {
    let port = local::servers::free().unwrap();
    Redis::connect(&format!("redis://127.0.0.1:{port}"), 1).await.unwrap()
}
