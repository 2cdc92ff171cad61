//! The redrive: what was given up is seen, and replayed once it can be handled; repeating it changes nothing.

mod by_hand;
mod cursor;
mod envelopes;
mod letters;

use bytes::Bytes;
use krafka::producer::murmur2;
use scheduled_jobs::{Jobs, run_job};
use serde_json::{Value, json};
use shared::clock;
use shared::kafka::{Message, Position};
use shared::message::Request;
use tokio::time::Instant;

use crate::harness::handmade::asks;
use crate::harness::topic::Seen;
use crate::harness::{Office, PATIENCE};

/// The last header of this name.
fn header<'a>(seen: &'a Seen, name: &str) -> Option<&'a str> {
    seen.headers.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// The lines of a report, by what was done and how each decodes.
fn lines(report: &Value) -> Vec<(&str, &str)> {
    let lines = report["lines"].as_array().unwrap();
    lines.iter().map(|line| (line["done"].as_str().unwrap(), line["decodes"].as_str().unwrap())).collect()
}

/// A dead letter as the persisting function would have written it, of a record of partition 3.
struct Letter<'a> {
    offset: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    more: &'a [(&'a str, &'a str)],
}

impl<'a> Letter<'a> {
    fn of(key: &'a [u8], value: &'a [u8]) -> Self {
        Self { offset: 17, key: Some(key), value: Some(value), more: &[] }
    }
}

/// The key of a request.
fn key(request: &Request) -> &[u8] {
    request.reservation_id.as_str().as_bytes()
}

/// Requests of as many customers for as many seats, whose messages all go to partition 0.
fn of_one_partition(event: &str, many: usize) -> Vec<Request> {
    let partition = |request: &Request| (murmur2(key(request)) & 0x7fff_ffff) % 6;
    let all = (0..).map(|at| asks(event, &format!("customer-{at}"), &[&format!("A-1-{}", at + 1)], (1, 2)));
    all.filter(|request| partition(request) == 0).take(many).collect()
}

impl Office {
    /// What the job answers to an order, as its JSON.
    async fn redrive(&self, order: Value) -> Value {
        self.redrive_until(order, Instant::now() + PATIENCE).await.unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// The same with a deadline.
    async fn redrive_until(&self, mut order: Value, deadline: Instant) -> Result<Value, scheduled_jobs::JobError> {
        order["job"] = json!("redrive");
        let jobs = Jobs::connect(self.system.config()).await.unwrap();
        let report = run_job(&jobs, order, clock::wall_ms(), deadline).await?;
        let report = serde_json::to_value(report).unwrap();
        assert_eq!(report["job"], "redrive");
        Ok(report)
    }

    /// Produces a message past every function.
    async fn produce(&self, topic: &str, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, &str)]) -> String {
        let bytes = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), bytes(value.as_bytes()))).collect();
        let message = Message { topic: topic.to_owned(), key: key.map(bytes), value: value.map(bytes), headers };
        let Position { partition, offset } = self.log().produce(message).await.unwrap();
        format!("{topic}-{partition}@{offset}")
    }

    /// Puts a dead letter into its topic, and names the entry.
    async fn buries(&self, letter: &Letter<'_>) -> String {
        let topics = &self.system.config().kafka.topics;
        let (partition, offset) = (format!("{}-3", topics.requests), letter.offset.to_string());
        let mut headers = vec![
            ("reason", "schema"),
            ("detail", "the value is no reservation request"),
            ("source-partition", partition.as_str()),
            ("source-offset", offset.as_str()),
            ("attempt", "1"),
            ("first-seen-at", "2026-11-22T13:50:49.392Z"),
            ("correlation-id", "kept"),
        ];
        headers.extend(letter.more);
        self.produce(&topics.dlq, letter.key, letter.value, &headers).await
    }
}
