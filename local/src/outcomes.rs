//! Follows the outcome topic as a mailer or a till would: each outcome is matched to its reservation by its correlation id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use shared::domain::reservation::Outcome;
use shared::message::{CORRELATION_ID, OutcomeMessage};
use shared::trigger;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::event_source::{EventSource, EventSourceError, EventSourceSettings, Handler};

/// What was heard so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The different outcomes that came for a reservation, by its id. More than one is a contradiction.
    pub outcomes: BTreeMap<String, Vec<Outcome>>,
    /// Messages, the same one again included.
    pub messages: u64,
    /// Messages that are no outcome, or whose key, correlation id and value name different reservations.
    pub unreadable: Vec<String>,
}

/// A reader of the outcome topic, from its beginning on.
pub struct Outcomes {
    source: EventSource,
    heard: watch::Receiver<Heard>,
}

impl Outcomes {
    /// Begins to read.
    ///
    /// # Errors
    /// When the brokers do not answer, or there is no such topic.
    pub async fn follow(bootstrap_servers: &str, topic: &str) -> Result<Self, EventSourceError> {
        let (sender, heard) = watch::channel(Heard::default());
        let handler: Handler = Arc::new(move |payload: Value| {
            sender.send_modify(|heard| payload_records(&payload).for_each(|record| heard.take(record)));
            Box::pin(async { Ok(json!({ "batchItemFailures": [] })) })
        });
        let source = EventSource::start(EventSourceSettings::new(bootstrap_servers, topic), handler).await?;
        Ok(Self { source, heard })
    }

    /// What was heard once each of these reservations has an outcome, or when the time is over.
    pub async fn heard(&self, reservations: &BTreeSet<String>, within: Duration) -> Heard {
        let mut heard = self.heard.clone();
        let all = |heard: &Heard| reservations.iter().all(|id| heard.outcomes.contains_key(id));
        if let Ok(Ok(complete)) = timeout(within, heard.wait_for(all)).await {
            return complete.clone();
        }
        self.heard.borrow().clone()
    }

    /// Stops reading.
    pub async fn stop(self) {
        self.source.stop().await;
    }
}

impl Heard {
    fn take(&mut self, record: &Value) {
        self.messages += 1;
        match read(record) {
            Ok(message) => {
                let outcomes = self.outcomes.entry(message.reservation_id.to_string()).or_default();
                if !outcomes.contains(&message.outcome) {
                    outcomes.push(message.outcome);
                }
            }
            Err(reason) => {
                let (partition, offset) = (&record["partition"], &record["offset"]);
                self.unreadable.push(format!("partition {partition} offset {offset}: {reason}"));
            }
        }
    }
}

fn payload_records(payload: &Value) -> impl Iterator<Item = &Value> {
    payload["records"].as_object().into_iter().flatten().filter_map(|(_, records)| records.as_array()).flatten()
}

/// The outcome a record carries.
fn read(record: &Value) -> Result<OutcomeMessage, String> {
    let (key, value) = trigger::key_and_value(record).map_err(|error| error.to_string())?;
    let value = value.ok_or("it has no value")?;
    let message: OutcomeMessage = serde_json::from_slice(&value).map_err(|error| error.to_string())?;
    let id = message.reservation_id.as_str().as_bytes();
    if key.as_deref() != Some(id) {
        return Err("its key is another id, or missing".to_owned());
    }
    let headers = trigger::headers(record);
    let correlation_id = headers.iter().find(|(name, _)| name == CORRELATION_ID);
    if correlation_id.is_none_or(|(_, value)| value != id) {
        return Err("its correlation id is another, or missing".to_owned());
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const ID: &str = "club.2c5ea4c0-4067-51f9-8f6d-2b7a4f3f7c11";

    fn record(key: &str, correlation: &str, outcome: &str) -> Value {
        let value = format!(
            r#"{{"version":1,"reservation_id":"{ID}","customer":"alice",{outcome},"seats":[],"held_at_ms":1}}"#
        );
        let signed: Vec<i8> = correlation.bytes().map(u8::cast_signed).collect();
        let (key, value) = (STANDARD.encode(key), STANDARD.encode(value));
        json!({ "partition": 0, "offset": 7, "key": key, "value": value, "headers": [{ "correlation-id": signed }] })
    }

    #[test]
    fn the_same_outcome_again_is_one_and_another_is_a_contradiction() {
        let mut heard = Heard::default();
        let (held, rejected) = (r#""outcome":"HELD""#, r#""outcome":"REJECTED","reason":"seats-taken""#);
        for outcome in [held, held, rejected] {
            heard.take(&record(ID, ID, outcome));
        }
        assert_eq!((heard.messages, heard.outcomes[ID].len(), heard.unreadable.len()), (3, 2, 0), "{heard:?}");
    }

    #[test]
    fn what_names_two_reservations_or_is_no_outcome_is_unreadable() {
        let held = r#""outcome":"HELD""#;
        for bad in [record("club.other", ID, held), record(ID, "club.other", held), record(ID, ID, r#""outcome":"?""#)]
        {
            let mut heard = Heard::default();
            heard.take(&bad);
            assert_eq!((heard.outcomes.len(), heard.unreadable.len()), (0, 1), "{heard:?}");
        }
    }
}
