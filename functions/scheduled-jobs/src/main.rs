//! The scheduled function's process: telemetry, configuration, connections, and then the runtime's loop.

use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use scheduled_jobs::{Jobs, run_job};
use serde_json::Value;
use shared::clock;
use shared::config::Config;

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let jobs = Jobs::connect(&Config::from_env()?).await?;
    run(service_fn(|event: LambdaEvent<Value>| {
        let jobs = jobs.clone();
        async move {
            let deadline = clock::deadline(event.context.deadline);
            run_job(&jobs, event.payload, clock::wall_ms(), deadline).await
        }
    }))
    .await
}
