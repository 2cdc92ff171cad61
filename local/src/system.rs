//! The whole system in one process: servers, the three functions as Lambda would run them, the gateway in front and the
//! event source between. `local serve`, `local rush` and every integration test stand on it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reservation_api::App;
use reservation_persist::{Persist, persist_batch};
use scheduled_jobs::{Jobs, Report, run_job};
use serde_json::{Value, json};
use shared::clock;
use shared::config::{Config, ConfigError};
use shared::dynamodb::{StoreError, Table};
use shared::kafka::{KafkaSettings, KrafkaLog, RequestLog, Security};
use shared::redis::{Redis, RedisError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client::{ApiClient, ClientError};
use crate::config::DEVELOPMENT_KEY;
use crate::event_source::{EventSource, EventSourceError, EventSourceSettings, Handler};
use crate::gateway::Gateway;
use crate::jwt;
use crate::outcomes::Outcomes;
use crate::servers::{ServerSet, Servers, StartError};

/// Partitions of each topic.
const PARTITIONS: u32 = 6;
/// Connections the API opens to Redis: it serves many requests at a time here, and a script is never pipelined.
const API_REDIS_CONNECTIONS: usize = 8;
/// The jobs that run by themselves.
const TICKING: [&str; 4] = ["expire", "heal", "write_back", "settle"];
/// The one among the jobs that looks at everything, and after how many ticks it runs: the deployed one does every minute.
const SELDOM: (&str, u64) = ("reconcile", 60);
/// How often they run; the deployed schedule is a minute.
const TICK: Duration = Duration::from_secs(1);
/// Time a run of a job has.
const JOB_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a development token is good for.
const TOKEN_VALID: Duration = Duration::from_secs(24 * 3_600);

/// Puts something around the API's request log: tests let it fail.
pub type WrapLog = Box<dyn FnOnce(Arc<dyn RequestLog>) -> Arc<dyn RequestLog> + Send>;

/// Puts something in front of Redis: is told its URL and names the one the functions connect to. For tests.
pub type FrontRedis = Box<dyn FnOnce(&str) -> String + Send>;
/// Puts something under a function's table: tests let the way to it fail, and count what goes there.
pub type WrapTable = Box<dyn FnOnce(Table) -> Table + Send>;

/// Changes the settings of the event source. For tests.
pub type ShapeSource = Box<dyn FnOnce(&mut EventSourceSettings) + Send>;

/// How a system is set up.
pub struct SystemSettings {
    /// Which servers.
    pub servers: ServerSet,
    /// Where the jars of the real servers are kept.
    pub cache_dir: PathBuf,
    /// Distinguishes the table and topics of systems that share servers; empty = the plain names.
    pub namespace: String,
    /// Whether the jobs run by themselves.
    pub ticking: bool,
    /// Changes how the event source reads and calls: chaos, smaller payloads, less time.
    pub shape_source: Option<ShapeSource>,
    /// Put around the API's request log.
    pub wrap_log: Option<WrapLog>,
    /// Put in front of Redis.
    pub front_redis: Option<FrontRedis>,
    /// Put under the persisting function's table.
    pub wrap_table: Option<WrapTable>,
    /// Put under the API's table.
    pub wrap_api_table: Option<WrapTable>,
}

/// Why a system did not start, or does not do what it was asked. One line each.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// A server.
    #[error(transparent)]
    Server(#[from] StartError),
    /// The configuration made for the functions.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The table.
    #[error("the table could not be created: {0}")]
    Table(#[from] StoreError),
    /// Redis.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The event source.
    #[error(transparent)]
    EventSource(#[from] EventSourceError),
    /// The listener.
    #[error("the gateway cannot listen: {0}")]
    Listen(#[from] std::io::Error),
    /// The client of the system's own API.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A token.
    #[error("a token could not be signed")]
    Token(#[from] jsonwebtoken::errors::Error),
}

/// A running system. Dropping it kills its servers; [`stop`](Self::stop) ends it in order.
pub struct System {
    servers: Servers,
    environment: Vec<(&'static str, String)>,
    config: Config,
    gateway: Gateway,
    event_source: EventSource,
    jobs: Jobs,
    ticker: Option<JoinHandle<()>>,
    client: ApiClient,
}

impl System {
    /// Starts everything and returns when the API answers on `listener`.
    ///
    /// # Errors
    /// The first thing that did not start; what had started is stopped.
    pub async fn start(settings: SystemSettings, listener: TcpListener) -> Result<Self, SystemError> {
        let servers = Servers::start(settings.servers, &settings.cache_dir).await?;
        Self::start_on(servers, settings, listener).await
    }

    /// The same on servers that are running already, such as a pair the caller means to freeze.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_on(
        servers: Servers,
        settings: SystemSettings,
        listener: TcpListener,
    ) -> Result<Self, SystemError> {
        let redis_url = match settings.front_redis {
            Some(front) => front(&servers.redis_url()),
            None => servers.redis_url(),
        };
        let environment = environment(&servers, redis_url, &settings.namespace);
        let lookup: HashMap<&str, String> = environment.iter().cloned().collect();
        let config = Config::read(|name| lookup.get(name).cloned())?;
        let topics = config.kafka.topics.clone();
        let named = [&topics.requests, &topics.outcomes, &topics.dlq, &topics.failed];
        let named = named.map(|name| (name.as_str(), PARTITIONS));
        let table = Table::new(&config.table).await;
        let topics_created = async { servers.create_topics(&named).await.map_err(SystemError::from) };
        let table_created = async { table.create().await.map_err(SystemError::from) };
        tokio::try_join!(topics_created, table_created)?;

        let plain: Arc<dyn RequestLog> = Arc::new(log(&servers));
        let api_log = match settings.wrap_log {
            Some(wrap) => wrap(Arc::clone(&plain)),
            None => Arc::clone(&plain),
        };
        let api_redis = Redis::connect(&config.redis_url, API_REDIS_CONNECTIONS).await?;
        let api_table = match settings.wrap_api_table {
            Some(wrap) => wrap(table.clone()),
            None => table.clone(),
        };
        let app = App::new(&config, api_redis, api_table, api_log);
        let gateway = Gateway::start(listener, DEVELOPMENT_KEY.to_owned(), reservation_api::router(app))?;

        let persist_table = match settings.wrap_table {
            Some(wrap) => wrap(table.clone()),
            None => table.clone(),
        };
        let persist = Persist::new(&config, Redis::connect(&config.redis_url, 2).await?, persist_table, plain);
        let mut source = EventSourceSettings::new(servers.kafka_bootstrap(), &topics.requests);
        source.on_failure_destination = Some(format!("kafka://{}", topics.failed));
        if let Some(shape) = settings.shape_source {
            shape(&mut source);
        }
        let timeout = source.invocation_timeout;
        let event_source = EventSource::start(source, handler(persist, timeout)).await?;

        let jobs = Jobs::new(&config, Redis::connect(&config.redis_url, 1).await?, table);
        let ticker = settings.ticking.then(|| tokio::spawn(tick(jobs.clone())));
        let client = ApiClient::new(&format!("http://{}", gateway.addr()))?;
        Ok(Self { servers, environment, config, gateway, event_source, jobs, ticker, client })
    }

    /// Where the API answers.
    pub fn api_url(&self) -> String {
        format!("http://{}", self.gateway.addr())
    }

    /// The servers below.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// What the functions are told.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The event source between Kafka and the persisting function.
    pub fn event_source(&self) -> &EventSource {
        &self.event_source
    }

    /// A reader of the outcomes.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub async fn outcomes(&self) -> Result<Outcomes, SystemError> {
        let topic = &self.config.kafka.topics.outcomes;
        Ok(Outcomes::follow(&self.servers.kafka_bootstrap(), topic).await?)
    }

    /// Every variable the functions read, and `LOCAL_API_URL` and `LOCAL_JWT_KEY`.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![("LOCAL_API_URL", self.api_url()), ("LOCAL_JWT_KEY", DEVELOPMENT_KEY.to_owned())];
        all.extend(self.environment.iter().cloned());
        all
    }

    /// A client without a token.
    pub fn anyone(&self) -> ApiClient {
        self.client.clone()
    }

    /// A client with a customer's token.
    ///
    /// # Errors
    /// When the token cannot be signed.
    pub fn customer(&self, name: &str) -> Result<ApiClient, SystemError> {
        Ok(self.client.with_token(&token(name, &[])?))
    }

    /// A client with the organiser's token.
    ///
    /// # Errors
    /// When the token cannot be signed.
    pub fn organiser(&self) -> Result<ApiClient, SystemError> {
        Ok(self.client.with_token(&token("organiser", &["tickets/admin"])?))
    }

    /// A client with the payment side's token.
    ///
    /// # Errors
    /// When the token cannot be signed.
    pub fn payments(&self) -> Result<ApiClient, SystemError> {
        Ok(self.client.with_token(&token("payments", &["tickets/payments"])?))
    }

    /// Lets the embedded broker forget past requests: it keeps all of them, and looks through all of them for each new one.
    pub fn tidy(&self) {
        if let Some(broker) = self.servers.broker() {
            broker.clear_requests();
        }
    }

    /// Runs a job once, as the scheduler would.
    ///
    /// # Errors
    /// What the job said.
    pub async fn run_job(&self, job: &str) -> Result<Report, scheduled_jobs::JobError> {
        run(&self.jobs, job).await
    }

    /// Runs the expiry job once.
    ///
    /// # Errors
    /// What the job said.
    pub async fn expire(&self) -> Result<Report, scheduled_jobs::JobError> {
        self.run_job("expire").await
    }

    /// Stops taking requests, then the event source, the jobs and the servers.
    ///
    /// # Errors
    /// When a server does not stop.
    pub async fn stop(self) -> Result<(), SystemError> {
        self.gateway.stop().await;
        self.event_source.stop().await;
        if let Some(ticker) = self.ticker {
            ticker.abort();
        }
        Ok(self.servers.stop().await?)
    }
}

/// A development token.
///
/// # Errors
/// When it cannot be signed.
pub fn token(customer: &str, scopes: &[&str]) -> Result<String, SystemError> {
    let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
    Ok(jwt::issue(DEVELOPMENT_KEY, customer, &scopes, TOKEN_VALID)?)
}

fn environment(servers: &Servers, redis_url: String, namespace: &str) -> Vec<(&'static str, String)> {
    let named = |name: &str| if namespace.is_empty() { name.to_owned() } else { format!("{name}-{namespace}") };
    vec![
        ("TABLE_NAME", named("tickets")),
        ("DYNAMODB_ENDPOINT", servers.dynamodb_endpoint()),
        ("REDIS_URL", redis_url),
        ("KAFKA_BOOTSTRAP_SERVERS", servers.kafka_bootstrap()),
        ("KAFKA_SECURITY", "plaintext".to_owned()),
        ("REQUESTS_TOPIC", named("reservation-requests")),
        ("OUTCOMES_TOPIC", named("reservation-outcomes")),
        ("DLQ_TOPIC", named("reservation-requests-dlq")),
        ("FAILED_TOPIC", named("reservation-requests-failed")),
        ("MIN_HOLD_SECONDS", "1".to_owned()),
    ]
}

fn log(servers: &Servers) -> KrafkaLog {
    KrafkaLog::new(KafkaSettings::new(servers.kafka_bootstrap(), Security::Plaintext))
}

fn handler(persist: Persist, timeout: Duration) -> Handler {
    Arc::new(move |payload: Value| {
        let persist = persist.clone();
        let deadline = Instant::now() + timeout.saturating_sub(clock::DEADLINE_MARGIN);
        Box::pin(async move {
            let response = persist_batch(&persist, payload, deadline).await.map_err(|error| error.to_string())?;
            serde_json::to_value(response).map_err(|error| error.to_string())
        })
    })
}

async fn tick(jobs: Jobs) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 1_u64.. {
        ticks.tick().await;
        let seldom = tick.is_multiple_of(SELDOM.1).then_some(SELDOM.0);
        for job in TICKING.into_iter().chain(seldom) {
            if let Err(error) = run(&jobs, job).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(job, error, "a job failed; the next tick runs it again");
            }
        }
    }
}

async fn run(jobs: &Jobs, job: &str) -> Result<Report, scheduled_jobs::JobError> {
    run_job(jobs, json!({ "job": job }), clock::wall_ms(), Instant::now() + JOB_TIMEOUT).await
}
