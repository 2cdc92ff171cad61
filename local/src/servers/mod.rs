//! The servers the system stands on: Redis, Kafka and DynamoDB, in one of two sets.
//!
//! # Layout
//! - `redis`, `kafka`, `dynamodb_local`: processes, each under the guard of `child`; `jars` brings what Java needs
//! - `broker_embedded`, `dynamodb_embedded`: servers in this process, on the threads of `embedded`
//! - `topics`: creates topics on Apache Kafka
//! - `error`, `port`: what can go wrong, in one line; free ports
//!
//! A missing server is an error, never a reason to skip: a test that did not run proves nothing.

mod broker_embedded;
mod child;
mod dynamodb_embedded;
mod dynamodb_local;
mod embedded;
mod error;
mod jars;
mod kafka;
mod port;
mod real_pair;
mod redis;
#[cfg(test)]
mod tests;
mod topics;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use krafka::testing::FakeBroker;
use tokio::sync::Mutex;

use self::embedded::Threads;

pub use self::{
    broker_embedded::BrokerEmbedded,
    child::{Child, Folder},
    dynamodb_embedded::DynamoDbEmbedded,
    dynamodb_local::DynamoDbLocal,
    error::StartError,
    kafka::{Doors, Kafka},
    port::{free, listen},
    real_pair::RealPair,
    redis::Redis,
};

/// Which servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerSet {
    /// Kafka and DynamoDB in this process, Redis beside it. Up in a fraction of a second.
    Embedded,
    /// Apache Kafka and DynamoDB Local, shared by the whole process, and a Redis of one's own. Up in ten seconds, once.
    Real,
}

/// Everything a system needs, running and answering. Dropping it kills what it alone used.
#[derive(Debug)]
pub struct Servers {
    redis: Mutex<Option<Redis>>,
    redis_port: u16,
    redis_pid: AtomicU32,
    backing: Backing,
}

/// What stands behind Redis.
#[derive(Debug)]
enum Backing {
    // The servers come before their threads, so that they are dropped before them.
    Embedded { broker: BrokerEmbedded, dynamodb: DynamoDbEmbedded, _threads: Threads },
    Real(Arc<RealPair>),
}

impl Servers {
    /// Starts a set, in parallel, and returns when each server answers. `cache` keeps the jars of the real set.
    ///
    /// # Errors
    /// The first [`StartError`]; what had started by then is stopped.
    pub async fn start(set: ServerSet, cache: &Path) -> Result<Self, StartError> {
        let backing = async {
            match set {
                ServerSet::Embedded => Backing::embedded().await,
                ServerSet::Real => RealPair::shared(cache).await.map(Backing::Real),
            }
        };
        let (redis, backing) = tokio::try_join!(Redis::start(), backing)?;
        Ok(Self::new(redis, backing))
    }

    /// Starts a Redis in front of a pair of the caller's own, which a test may then stop or freeze.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub async fn start_on(pair: Arc<RealPair>) -> Result<Self, StartError> {
        Ok(Self::new(Redis::start().await?, Backing::Real(pair)))
    }

    fn new(redis: Redis, backing: Backing) -> Self {
        let (redis_port, redis_pid) = (redis.port(), AtomicU32::new(redis.pid()));
        Self { redis: Mutex::new(Some(redis)), redis_port, redis_pid, backing }
    }

    /// Kills Redis, if it lives, and starts an empty one on the same port.
    ///
    /// # Errors
    /// As [`Redis::start_on`].
    pub async fn restart_redis(&self) -> Result<(), StartError> {
        let mut redis = self.redis.lock().await;
        if let Some(old) = redis.take() {
            old.stop().await?;
        }
        let new = Redis::start_on(self.redis_port).await?;
        self.redis_pid.store(new.pid(), Ordering::Release);
        *redis = Some(new);
        Ok(())
    }

    /// `redis://127.0.0.1:<port>`.
    #[must_use]
    pub fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.redis_port)
    }

    /// Redis' process, to be sent signals.
    #[must_use]
    pub fn redis_pid(&self) -> u32 {
        self.redis_pid.load(Ordering::Acquire)
    }

    /// What a Kafka client takes as its bootstrap servers.
    #[must_use]
    pub fn kafka_bootstrap(&self) -> String {
        match &self.backing {
            Backing::Embedded { broker, .. } => broker.bootstrap(),
            Backing::Real(pair) => pair.kafka.bootstrap(),
        }
    }

    /// Kafka's process; `None` when it lives in this one.
    #[must_use]
    pub fn kafka_pid(&self) -> Option<u32> {
        match &self.backing {
            Backing::Embedded { .. } => None,
            Backing::Real(pair) => Some(pair.kafka.pid()),
        }
    }

    /// The embedded broker, to see its records and to make it fail; `None` in the real set.
    #[must_use]
    pub fn broker(&self) -> Option<&FakeBroker> {
        match &self.backing {
            Backing::Embedded { broker, .. } => Some(broker.broker()),
            Backing::Real(_) => None,
        }
    }

    /// What the DynamoDB client takes as its endpoint.
    #[must_use]
    pub fn dynamodb_endpoint(&self) -> String {
        match &self.backing {
            Backing::Embedded { dynamodb, .. } => dynamodb.endpoint(),
            Backing::Real(pair) => pair.dynamodb.endpoint(),
        }
    }

    /// DynamoDB's process; `None` when it lives in this one.
    #[must_use]
    pub fn dynamodb_pid(&self) -> Option<u32> {
        match &self.backing {
            Backing::Embedded { .. } => None,
            Backing::Real(pair) => Some(pair.dynamodb.pid()),
        }
    }

    /// Creates topics (name, partitions) and returns when every partition has a leader, at most 30 s later.
    ///
    /// # Errors
    /// [`StartError::Topic`], also when a topic exists already.
    pub async fn create_topics(&self, topics: &[(&str, u32)]) -> Result<(), StartError> {
        match &self.backing {
            Backing::Embedded { broker, .. } => broker.create_topics(topics),
            Backing::Real(pair) => pair.kafka.create_topics(topics).await,
        }
    }

    /// Stops what these servers do not share with others, and waits until it is gone.
    ///
    /// # Errors
    /// As [`Child::stop`].
    pub async fn stop(self) -> Result<(), StartError> {
        match self.redis.into_inner() {
            Some(redis) => redis.stop().await,
            None => Ok(()),
        }
    }
}

impl Backing {
    async fn embedded() -> Result<Self, StartError> {
        let threads = Threads::start()?;
        let (broker, dynamodb) = tokio::try_join!(BrokerEmbedded::start(&threads), DynamoDbEmbedded::start(&threads))?;
        Ok(Self::Embedded { broker, dynamodb, _threads: threads })
    }
}
