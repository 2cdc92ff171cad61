//! The HTTP function's process: telemetry, configuration, connections, and then the runtime's loop.

use lambda_http::{Error, run_concurrent, service_fn};
use reservation_api::{App, answer, router};
use shared::process;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let (config, telemetry) = process::begin(env!("CARGO_PKG_NAME"))?;
    let app = App::connect(&config).await?;
    process::close_at_the_end(app.log(), telemetry).await;
    let router = router(app);
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
