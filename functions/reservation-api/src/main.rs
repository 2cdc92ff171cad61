//! The HTTP function's process: telemetry, configuration, connections, and then the runtime's loop.

use lambda_http::{Error, run_concurrent, service_fn, tracing};
use reservation_api::{App, answer, router};
use shared::config::Config;

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let router = router(App::connect(&Config::from_env()?).await?);
    run_concurrent(service_fn(move |request| answer(router.clone(), request))).await
}
