//! The Kafka function's process: telemetry, configuration, connections, and then the runtime's loop.

use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use reservation_persist::{Persist, persist_batch};
use serde_json::Value;
use shared::clock;
use shared::config::Config;
use shared::telemetry::Telemetry;

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = Config::from_env()?;
    let telemetry = Telemetry::init(config.metrics_namespace.clone(), env!("CARGO_PKG_NAME"))?;
    let persist = Persist::connect(&config).await?;
    run(service_fn(|event: LambdaEvent<Value>| {
        let persist = persist.clone();
        async move {
            let deadline = clock::deadline(event.context.deadline);
            let answer = persist_batch(&persist, event.payload, deadline).await;
            telemetry.flush();
            answer
        }
    }))
    .await
}
