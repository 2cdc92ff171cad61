//! Connections that are secured: who is believed, who is let in, what a refusal says, and that no secret is told to a log.

mod certificates;
mod kafka;
mod logs;
mod redis;
mod secrets;
mod tokens;

use shared::config::Config;

/// The functions' configuration with these variables, and nothing that answers for the others.
fn config(set: &[(&str, &str)]) -> Config {
    const OTHERS: [(&str, &str); 8] = [
        ("TABLE_NAME", "tickets"),
        ("REDIS_URL", "redis://127.0.0.1:9"),
        ("REQUESTS_TOPIC", "requests"),
        ("OUTCOMES_TOPIC", "outcomes"),
        ("DLQ_TOPIC", "dlq"),
        ("FAILED_TOPIC", "failed"),
        ("KAFKA_SECURITY", "plaintext"),
        ("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9"),
    ];
    let all = [set, &OTHERS].concat();
    Config::read(|name| all.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())).unwrap()
}
