//! A scheduled job from a command line: the function's own code, with the connections of whoever asks, once.

use std::time::Duration;

use scheduled_jobs::{Job, JobError, Jobs, Report, run_job};
use serde_json::json;
use shared::clock;
use shared::config::Config;
use tokio::time::Instant;

/// Time one run has: longer than an invocation, for nobody pays by the second here.
const DEADLINE: Duration = Duration::from_secs(300);

/// Why a job was not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A server that is set up wrongly.
    #[error("{0}")]
    Connect(lambda_runtime::Error),
    /// The job.
    #[error(transparent)]
    Job(#[from] JobError),
}

/// Runs the job called so (`write-back` and `write_back` are the same) on the stores of this configuration.
///
/// # Errors
/// When there is no such job, or it could not be done.
pub async fn run(config: &Config, name: &str) -> Result<Report, RunError> {
    let payload = json!({ "job": name.replace('-', "_") });
    // Before anything is connected to.
    Job::named(&payload)?;
    let jobs = Jobs::connect(config).await.map_err(RunError::Connect)?;
    Ok(run_job(&jobs, payload, clock::wall_ms(), Instant::now() + DEADLINE).await?)
}

/// Whether the run came to its end; otherwise the next goes on.
pub fn is_complete(report: &Report) -> bool {
    let told = serde_json::to_value(report).unwrap_or_default();
    ["cut_short", "overtaken", "without_redis", "without_clock"].iter().all(|name| told[name] != json!(true))
        && told["failed"].as_u64().unwrap_or(0) == 0
}
