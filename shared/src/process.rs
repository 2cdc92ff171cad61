//! What the functions' processes begin and end with: telemetry and configuration first, and at the end of an environment
//! what is still queued for Kafka.

use std::sync::Arc;
use std::time::Duration;

use lambda_runtime::{Error, spawn_graceful_shutdown_handler};

use crate::config::Config;
use crate::kafka::RequestLog;
use crate::telemetry::Telemetry;
use crate::trace;

/// Time for the last things: Lambda kills what has not ended half a second after it said so.
const LAST_THINGS: Duration = Duration::from_millis(400);

/// Begins a function's process: the log, its configuration, its metrics and traces. Once a process.
///
/// # Errors
/// All that is wrong with the configuration.
pub fn begin(function: &'static str) -> Result<(Config, Telemetry), Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let config = Config::from_env()?;
    let telemetry = Telemetry::init(config.metrics_namespace.clone(), function)?;
    if let Some(daemon) = config.xray_daemon {
        trace::init(daemon, function)?;
    }
    Ok((config, telemetry))
}

/// Has what is queued for Kafka sent, and what was counted told, when Lambda ends this environment: an invocation that ran
/// out of time leaves both behind. Call it once, before the runtime's loop.
pub async fn close_at_the_end(log: Arc<dyn RequestLog>, telemetry: Telemetry) {
    let last_things = move || async move {
        if tokio::time::timeout(LAST_THINGS, log.close()).await.is_err() {
            tracing::warn!("the environment ended before everything was sent");
        }
        telemetry.flush();
    };
    // It panics where it cannot register as an extension, without which Lambda says nothing before it kills. Serving goes
    // on then: whatever was accepted has been acknowledged, and what was in doubt stays so.
    if tokio::spawn(spawn_graceful_shutdown_handler(last_things)).await.is_err() {
        tracing::warn!("this environment will end without notice");
    }
}
