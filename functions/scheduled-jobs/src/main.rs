//! The scheduled function's process: telemetry, configuration, connections, and then the runtime's loop.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use scheduled_jobs::{Jobs, run_job};
use serde_json::Value;
use shared::{clock, process};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let (config, telemetry) = process::begin(env!("CARGO_PKG_NAME"))?;
    let jobs = Jobs::connect(&config).await?;
    run(service_fn(|event: LambdaEvent<Value>| {
        let jobs = jobs.clone();
        async move {
            let deadline = clock::deadline(event.context.deadline);
            let report = run_job(&jobs, event.payload, clock::wall_ms(), deadline).await;
            telemetry.flush();
            report
        }
    }))
    .await
}
