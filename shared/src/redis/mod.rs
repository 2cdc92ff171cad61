//! Redis says no early. Every operation is one script, every script one round trip with a deadline; whatever goes wrong
//! here can only disappoint a customer late, never sell a seat twice.
//!
//! - [`keys`]: every key, spelled once.
//! - [`claims`]: claim, and give back.
//! - [`records`]: what is remembered of a reservation for a day.
//! - [`truth`]: what DynamoDB decided flows back.
//! - [`moving`]: changes announced, and whether they were told.
//! - [`sections`]: a request's seats as scripts take them.
//! - [`blocking`]: seats on their way off sale.
//! - [`bell`]: wakes whoever waits for it.
//! - [`seat_map`]: sections as they are now.
//! - [`repair`]: seats as they stand here, made what DynamoDB has. [`entries`]: the same for what customers have.
//! - [`list`]: a copy of the list of events. [`published`]: a copy of what is published of one.
//! - [`loading`]: a publication made known; a cold section's state.
//! - [`iam`]: who we are, for ElastiCache. `tls`: whom we believe. `troubles`: why there is no connection.

pub mod bell;
pub mod blocking;
pub mod claims;
pub mod entries;
pub mod iam;
pub mod keys;
pub mod list;
pub mod loading;
pub mod moving;
pub mod published;
pub mod records;
pub mod repair;
pub mod seat_map;
mod sections;
mod tls;
mod troubles;
pub mod truth;
pub mod views;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use fred::clients::{Client, Pool};
use fred::error::{Error as FredError, ErrorKind};
use fred::interfaces::{ClientLike, LuaInterface};
use fred::types::config::{Config, CredentialProvider, ReconnectPolicy, UnresponsiveConfig};
use fred::types::{Builder, ClusterHash, CustomCommand, Value};

use futures_util::future::try_join_all;

use crate::causes::chain;
use crate::config::Config as Settings;
use iam::Tokens;

/// How long one command may take, in all (every wait has such a bound: invariant 8). A refusal has to reach the customer within 300 ms when Redis hangs.
pub const COMMAND_TIMEOUT: Duration = Duration::from_millis(250);
/// How long a connection attempt may take, TLS included.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(1);
/// How long init waits for the first connection before it goes on without: a store that is down is met by the request.
const INIT_WAIT: Duration = Duration::from_millis(1_500);
/// A socket that has not answered for this long is given up and opened anew (a thawed Lambda has dead ones).
const UNRESPONSIVE: Duration = Duration::from_millis(500);
/// How often that is looked at.
const UNRESPONSIVE_INTERVAL: Duration = Duration::from_millis(100);
/// Delays between reconnection attempts, in ms. The first is short, for a connection that died while Redis lives: a command
/// has to find its way over the new one within [`COMMAND_TIMEOUT`]. The longest lets a Redis that is back claim within a
/// second.
const RECONNECT_MIN_MS: u32 = 5;
const RECONNECT_MAX_MS: u32 = 400;
/// Most that is added to such a delay at random, in ms: fred's own 100 would take a good part of a command's time.
const RECONNECT_JITTER_MS: u32 = 20;
/// How often a command is sent, the first time included: once more after a connection was lost. A script that ran twice
/// finds its own work: at worst a claim counts as retried, and is then kept where it could have been given back, or a view
/// is counted twice.
const COMMAND_ATTEMPTS: u32 = 2;
/// Commands waiting for a connection before new ones are refused at once.
const MAX_WAITING_COMMANDS: usize = 5_000;

/// How old a message is when it is late, in ms. Once [`claims::LAG_GATE_CLAIMS`] claims of an event wait longer (or half their
/// lease) to be decided, new ones are refused; and so long after Redis has lost an event, a missing record means nothing,
/// for what was in Kafka then ordinarily has a row afterwards.
pub const LAG_GATE_AGE_MS: i64 = 30_000;

/// Redis did not give a usable answer. Whether the command was carried out is unknown.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// No answer in time, no connection, or an answer that means "not now" (loading, read-only, out of memory).
    #[error("redis is unavailable")]
    Unavailable(#[source] FredError),
    /// No answer within [`COMMAND_TIMEOUT`].
    #[error("redis did not answer within {COMMAND_TIMEOUT:?}")]
    TimedOut,
    /// An answer no script of ours gives.
    #[error("redis answered {0} unexpectedly")]
    Unexpected(String),
    /// There is nobody to believe.
    #[error("the certificates of {file} cannot be used")]
    Ca {
        /// The file.
        file: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server is set up to forget.
    #[error("redis would evict: its maxmemory-policy is {0}, and has to be noeviction")]
    WouldEvict(String),
}

impl RedisError {
    /// Whether there was no answer: the command may be sent again, to this Redis or another.
    #[must_use]
    pub fn is_no_answer(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TimedOut)
    }
}

/// A Lua script with its digest.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    lua: &'static str,
    sha1: String,
}

impl Script {
    pub(crate) fn new(lua: &'static str) -> Self {
        Self { lua, sha1: fred::util::sha1_hash(lua) }
    }
}

/// A script of `scripts/`, behind what all of them share.
macro_rules! script {
    ($file:literal) => {
        $crate::redis::Script::new(concat!(include_str!("scripts/seats.lua"), include_str!(concat!("scripts/", $file))))
    };
}
pub(crate) use script;

/// The connections to Redis. Cheap to clone.
#[derive(Clone)]
pub struct Redis {
    pool: Pool,
    builder: Arc<Builder>,
}

impl Redis {
    /// Opens `connections` connections to `url` (`redis://`, `rediss://`, or `rediss-cluster://`) and waits a moment for
    /// them. A server that is down is not an error: it is met by the first command, and connected to when it is back.
    ///
    /// # Errors
    /// When the URL cannot be read, or the server would evict.
    pub async fn connect(url: &str, connections: usize) -> Result<Self, RedisError> {
        Self::connect_by(url, connections, None, None).await
    }

    /// The same as the configuration says.
    ///
    /// # Errors
    /// As [`Redis::connect`], and when the certificates to believe cannot be read.
    pub async fn open(config: &Settings) -> Result<Self, RedisError> {
        match config.redis_iam {
            Some(_) => Self::open_signing(config, crate::aws::config(false).await).await,
            None => Self::connect_by(&config.redis_url, config.redis_connections, config.redis_ca(), None).await,
        }
    }

    /// The same with tokens that these credentials sign, for this region.
    ///
    /// # Errors
    /// As [`Redis::open`].
    pub async fn open_signing(config: &Settings, aws: SdkConfig) -> Result<Self, RedisError> {
        let tokens = config.redis_iam.clone().map(|user| Tokens { user, aws });
        Self::connect_by(&config.redis_url, config.redis_connections, config.redis_ca(), tokens).await
    }

    /// One connection to each of the servers that give locks.
    ///
    /// # Errors
    /// As [`Redis::open`].
    pub async fn open_for_locks(config: &Settings) -> Result<Vec<Self>, RedisError> {
        let connect = |url| Self::connect_by(url, 1, config.redis_ca(), None);
        try_join_all(config.lock_redis_urls.iter().map(|url| connect(url))).await
    }

    async fn connect_by(
        url: &str,
        connections: usize,
        ca: Option<&Path>,
        tokens: Option<Tokens>,
    ) -> Result<Self, RedisError> {
        let mut config = Config::from_url(url).map_err(RedisError::Unavailable)?;
        if let Some(file) = ca {
            config.tls = Some(tls::believing(file)?);
        }
        config.fail_fast = false;
        config.credential_provider = tokens.map(|tokens| Arc::new(tokens) as Arc<dyn CredentialProvider>);
        let mut policy = ReconnectPolicy::new_exponential(0, RECONNECT_MIN_MS, RECONNECT_MAX_MS, 2);
        policy.set_jitter(RECONNECT_JITTER_MS);
        let mut builder = Builder::from_config(config);
        builder
            .with_performance_config(|performance| performance.default_command_timeout = COMMAND_TIMEOUT)
            .with_connection_config(|connection| {
                connection.connection_timeout = CONNECTION_TIMEOUT;
                connection.internal_command_timeout = CONNECTION_TIMEOUT;
                connection.max_command_attempts = COMMAND_ATTEMPTS;
                connection.max_command_buffer_len = MAX_WAITING_COMMANDS;
                connection.reconnect_on_auth_error = true;
                connection.tcp.nodelay = Some(true);
                connection.unresponsive =
                    UnresponsiveConfig { max_timeout: Some(UNRESPONSIVE), interval: UNRESPONSIVE_INTERVAL };
            })
            .set_policy(policy);
        let pool = builder.build_pool(connections.max(1)).map_err(RedisError::Unavailable)?;
        troubles::tell(pool.clients());
        pool.connect_pool();
        let redis = Self { pool, builder: Arc::new(builder) };
        if tokio::time::timeout(INIT_WAIT, redis.pool.wait_for_connect()).await.is_err() {
            tracing::warn!("redis is not reachable yet; going on without it");
        } else {
            redis.refuse_eviction().await?;
        }
        Ok(redis)
    }

    /// Under memory pressure an evicting server drops what has an end, so the records first: a retry would be judged anew, and
    /// its customer told another thing than before. Asked once a process; a server that does not say is taken as it is.
    async fn refuse_eviction(&self) -> Result<(), RedisError> {
        // ElastiCache knows no CONFIG.
        let info = CustomCommand::new_static("INFO", ClusterHash::Random, false);
        match within_deadline(self.pool.next().custom::<String, _>(info, vec!["memory"])).await {
            Ok(info) => match info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:")) {
                None | Some("noeviction") => Ok(()),
                Some(policy) => Err(RedisError::WouldEvict(policy.to_owned())),
            },
            Err(error) => {
                tracing::warn!(cause = chain(&error), "redis does not tell whether it would evict");
                Ok(())
            }
        }
    }

    /// Closes the connections.
    pub async fn close(&self) {
        if let Err(error) = self.pool.quit().await {
            tracing::debug!(%error, "redis connections were gone before they were closed");
        }
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        self.pool.clients().iter().any(ClientLike::is_connected)
    }

    /// One connection more, like those of the pool, not opened yet.
    pub(crate) fn another(&self) -> Result<Client, RedisError> {
        self.builder.build().map_err(RedisError::Unavailable)
    }

    /// Runs a script by its digest; a server that has forgotten it is sent the text, once.
    pub(crate) async fn run<T>(&self, script: &Script, keys: Vec<String>, args: Vec<Value>) -> Result<T, RedisError>
    where
        T: fred::types::FromValue,
    {
        Self::run_on(self.pool.next(), script, keys, args).await
    }

    /// [`run`](Self::run) on this connection.
    pub(crate) async fn run_on<T>(
        client: &Client,
        script: &Script,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<T, RedisError>
    where
        T: fred::types::FromValue,
    {
        let answer = async {
            match client.evalsha::<Value, _, _, _>(script.sha1.as_str(), keys.clone(), args.clone()).await {
                Err(error) if error.details().starts_with("NOSCRIPT") => client.eval(script.lua, keys, args).await,
                answer => answer,
            }
        };
        convert(within_deadline(answer).await?)
    }

    /// Redis' time, in milliseconds since the epoch: the one clock that decides.
    ///
    /// # Errors
    /// When Redis gives no answer in time.
    pub async fn now_ms(&self) -> Result<i64, RedisError> {
        self.run(&Script::new(include_str!("scripts/now.lua")), Vec::new(), Vec::new()).await
    }
}

/// A duration as scripts take it.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) async fn within_deadline<T>(answer: impl Future<Output = Result<T, FredError>>) -> Result<T, RedisError> {
    match tokio::time::timeout(COMMAND_TIMEOUT, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) if *error.kind() == ErrorKind::Timeout => Err(RedisError::TimedOut),
        Ok(Err(error)) => Err(RedisError::Unavailable(error)),
        Err(_) => Err(RedisError::TimedOut),
    }
}

fn convert<T: fred::types::FromValue>(value: Value) -> Result<T, RedisError> {
    value.convert().map_err(|error: FredError| RedisError::Unexpected(error.to_string()))
}
