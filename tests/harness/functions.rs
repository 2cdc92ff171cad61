//! The three functions as Lambda would start them, beside those of the running system, and the payloads of `events/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use lambda_http::{Body, Response};
use reservation_api::App;
use reservation_persist::{Persist, persist_batch};
use scheduled_jobs::{Jobs, run_job};
use serde_json::{Value, json};
use shared::clock;
use shared::config::Config;
use shared::redis::Redis;
use tokio::time::Instant;

use super::Office;
use super::wire::Wire;

/// Time an invocation has: as much as the deployed functions have at most.
const INVOCATION: Duration = Duration::from_secs(60);

/// The functions, connected to a system's servers.
pub struct Functions {
    router: Router,
    persist: Persist,
    jobs: Jobs,
}

impl Functions {
    /// Starts them with the system's configuration.
    pub async fn of(office: &Office) -> Self {
        Self::with(office.system.config()).await
    }

    /// Starts them with a configuration.
    pub async fn with(config: &Config) -> Self {
        let router = reservation_api::router(App::connect(config).await.unwrap());
        let (persist, jobs) = (Persist::connect(config).await.unwrap(), Jobs::connect(config).await.unwrap());
        Self { router, persist, jobs }
    }

    /// The same on an office's stores, with a wire to the table for each of the three: API, persisting, jobs.
    pub async fn over(office: &Office, [api, persist, jobs]: [&Wire; 3]) -> Self {
        let (config, table) = (office.system.config(), office.table().await);
        let redis = Redis::connect(&config.redis_url, 1).await.unwrap();
        let app = App::new(config, redis.clone(), api.under(&table), office.log());
        Self {
            router: reservation_api::router(app),
            persist: Persist::new(config, redis.clone(), persist.under(&table), office.log()),
            jobs: Jobs::new(config, redis, jobs.under(&table)),
        }
    }

    /// Answers an HTTP API event.
    pub async fn http(&self, event: &Value) -> Response<Body> {
        let request = lambda_http::request::from_str(&event.to_string()).unwrap();
        reservation_api::answer(self.router.clone(), request).await.unwrap()
    }

    /// Answers a Kafka event, or says what Lambda would log.
    pub async fn kafka(&self, payload: Value) -> Value {
        match persist_batch(&self.persist, payload, Instant::now() + INVOCATION).await {
            Ok(response) => serde_json::to_value(response).unwrap(),
            Err(error) => error_json(error.into()),
        }
    }

    /// Answers the scheduler, or says what Lambda would log.
    pub async fn schedule(&self, payload: Value) -> Value {
        match run_job(&self.jobs, payload, clock::wall_ms(), Instant::now() + INVOCATION).await {
            Ok(report) => serde_json::to_value(report).unwrap(),
            Err(error) => error_json(error.into()),
        }
    }
}

fn error_json(error: lambda_runtime::Diagnostic) -> Value {
    json!({ "error_type": error.error_type, "error_message": error.error_message })
}

/// The project's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every payload of `events/` by its file name, in the order in which they are sent.
pub fn events() -> BTreeMap<String, Value> {
    json_files(&root().join("events"))
}

/// What each is to be answered with.
pub fn goldens() -> BTreeMap<String, Value> {
    json_files(&root().join("events/golden"))
}

/// The JSON files of a folder by name.
pub fn json_files(folder: &Path) -> BTreeMap<String, Value> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path.file_name().unwrap().to_str().unwrap().to_owned(), value)
    };
    files.map(read).collect()
}
