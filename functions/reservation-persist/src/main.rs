//! The Kafka function's process: telemetry, configuration, connections, and then the runtime's loop.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use reservation_persist::{Persist, persist_batch};
use serde_json::Value;
use shared::{clock, process};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let (config, telemetry) = process::begin(env!("CARGO_PKG_NAME"))?;
    let persist = Persist::connect(&config).await?;
    process::close_at_the_end(persist.log(), telemetry).await;
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
