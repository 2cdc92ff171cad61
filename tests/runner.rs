//! A runner of the job that writes views back, in a process of its own, so that a test can freeze it whole: it says when its
//! add is about to be sent, sends it once a line comes on standard input, and ends with its report.

#![expect(clippy::unwrap_used, reason = "what a run cannot go on without ends it where it is missing")]

#[path = "harness/wire.rs"]
#[allow(dead_code, reason = "the tests' wire, of which a run needs a part")]
mod wire;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use scheduled_jobs::{Jobs, run_job};
use serde_json::json;
use shared::clock;
use shared::config::Config;
use shared::dynamodb::Table;
use shared::redis::Redis;
use tokio::time::Instant;
use wire::{Fate, Gate, Wire};

/// How long its add is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time of its invocation: it sleeps through much of it.
const INVOCATION: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() {
    let config = Config::from_env().unwrap();
    let table = Table::new(&config.table).await;
    let (client, name) = table.raw();
    // No request is given up for how long its process was frozen.
    let patient = client.config().to_builder().timeout_config(TimeoutConfig::disabled()).build();
    let table = Table::with_client(Client::from_conf(patient), name.to_owned());
    let gate = Gate::shut();
    let fate = Fate::Hold(gate.clone());
    let wire = Wire::new(move |operation, body| {
        let is_add = operation == "UpdateItem" && body.to_string().contains(":count");
        if is_add { fate.clone() } else { Fate::Pass }
    });
    let redis = Redis::connect(&config.redis_url, 1).await.unwrap();
    let jobs = Jobs::new(&config, redis, wire.under(&table));
    let run = run_job(&jobs, json!({ "job": "write_back" }), clock::wall_ms(), Instant::now() + INVOCATION);
    let told = async {
        gate.reached().await;
        println!("about to add");
        tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()).unwrap()).await.unwrap();
        gate.open();
    };
    let (report, ()) = tokio::join!(run, told);
    println!("{}", serde_json::to_string(&report.unwrap()).unwrap());
}
