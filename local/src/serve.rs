//! `local serve`: the system with its events published, its environment written, and a few lines to try it with.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use axum::http::Method;
use local::config::cache_dir;
use local::servers::ServerSet;
use local::system::{System, SystemSettings, token};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::interval;

use crate::Failure;

/// How often what the embedded broker remembers of past requests is forgotten.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// The settings of a system of one's own.
pub fn settings(servers: ServerSet) -> SystemSettings {
    SystemSettings {
        servers,
        cache_dir: cache_dir(),
        // Real servers are started for this process alone, so the plain names are free in either set.
        namespace: String::new(),
        ticking: true,
        shape_source: None,
        wrap_log: None,
        front_redis: None,
        wrap_table: None,
        wrap_api_table: None,
    }
}

/// Serves until SIGINT or SIGTERM.
pub async fn serve(
    servers: ServerSet,
    port: u16,
    env_file: Option<PathBuf>,
    events: &[PathBuf],
) -> Result<ExitCode, Failure> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|error| format!("port {port} of 127.0.0.1 cannot be used ({error}); choose another with --port"))?;
    let started = async {
        let system = System::start(settings(servers), listener).await?;
        let mut published = Vec::new();
        for file in events {
            published.push(publish(&system, file).await?);
        }
        if let Some(file) = &env_file {
            write_environment(&system, file)?;
        }
        Ok::<_, Failure>((system, published))
    };
    let (system, published) = tokio::select! {
        started = started => started?,
        _ = interrupted.recv() => return Ok(ExitCode::FAILURE),
        _ = terminated.recv() => return Ok(ExitCode::FAILURE),
    };
    print_ready(&system, &published)?;
    let mut tidy = interval(TIDY_EVERY);
    loop {
        tokio::select! {
            _ = interrupted.recv() => break,
            _ = terminated.recv() => break,
            _ = tidy.tick() => system.tidy(),
        }
    }
    println!("Stopping.");
    system.stop().await?;
    Ok(ExitCode::SUCCESS)
}

/// An event that was published, and a seat of it to try.
struct PublishedEvent {
    id: String,
    name: String,
    seat: Option<String>,
}

async fn publish(system: &System, file: &Path) -> Result<PublishedEvent, Failure> {
    let named = |error: String| format!("{}: {error}", file.display());
    let id = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
    let text = std::fs::read_to_string(file).map_err(|error| named(error.to_string()))?;
    let document: serde_json::Value = serde_json::from_str(&text).map_err(|error| named(error.to_string()))?;
    let answer = system.organiser()?.send(Method::PUT, &format!("/admin/events/{id}"), &[], Some(&document)).await?;
    if answer.status != 201 && answer.status != 200 {
        return Err(named(answer.body.to_string()).into());
    }
    let map = system.anyone().get(&format!("/events/{id}/seats")).await?;
    let seat =
        map.body["sections"].as_array().into_iter().flatten().find_map(|section| section["seats"][0]["id"].as_str());
    let name = answer.text("name").unwrap_or_default().to_owned();
    Ok(PublishedEvent { id, name, seat: seat.map(str::to_owned) })
}

/// Written under another name and renamed: whoever waits for the file reads it whole. Values are quoted, as
/// `cargo lambda --env-file` needs them.
fn write_environment(system: &System, file: &Path) -> Result<(), Failure> {
    let lines: String = system.environment().iter().map(|(name, value)| format!("{name}=\"{value}\"\n")).collect();
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(".tmp");
    std::fs::write(&unfinished, lines)?;
    std::fs::rename(&unfinished, file)?;
    Ok(())
}

fn print_ready(system: &System, published: &[PublishedEvent]) -> Result<(), Failure> {
    let url = system.api_url();
    let servers = system.servers();
    println!("The ticket office is open.\n");
    println!("  HTTP API   {url}");
    println!("  Redis      {}", servers.redis_url());
    println!("  Kafka      {}", servers.kafka_bootstrap());
    println!("  DynamoDB   {}", servers.dynamodb_endpoint());
    for event in published {
        println!("  event      {:<12} {}", event.id, event.name);
    }
    let Some((event, seat)) = published.iter().rev().find_map(|event| Some((event, event.seat.as_ref()?))) else {
        println!("\nNo event is published yet: start with --event FILE. Ctrl-C stops everything.");
        return Ok(());
    };
    let (id, token) = (&event.id, token("alice", &[])?);
    println!("\nTry it in another terminal:\n");
    println!("  TOKEN={token}\n");
    println!("  curl -s {url}/events/{id}");
    println!();
    println!("  curl -s -X POST {url}/events/{id}/reservations \\");
    println!("    -H \"Authorization: Bearer $TOKEN\" \\");
    println!("    -H 'Idempotency-Key: my-first-reservation' -d '{{\"seats\":[\"{seat}\"]}}'");
    println!();
    println!("  curl -s {url}/reservations -H \"Authorization: Bearer $TOKEN\"");
    println!("\nCtrl-C stops everything.");
    Ok(())
}
