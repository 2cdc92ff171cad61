//! The HTTP function's process: telemetry, configuration, connections, and then the runtime's loop.

use lambda_http::{Error, run_concurrent, service_fn, tracing};
use reservation_api::{App, answer, router};
use shared::config::Config;
use shared::telemetry::Telemetry;

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = Config::from_env()?;
    let telemetry = Telemetry::init(config.metrics_namespace.clone(), env!("CARGO_PKG_NAME"))?;
    let router = router(App::connect(&config).await?);
    run_concurrent(service_fn(move |request| {
        let router = router.clone();
        async move {
            let answer = answer(router, request).await;
            telemetry.flush();
            answer
        }
    }))
    .await
}
