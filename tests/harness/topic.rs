//! Reads a whole topic through an event source of the test's own.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use local::event_source::{EventSource, EventSourceSettings, Handler};
use serde_json::{Value, json};

use super::{Office, PATIENCE};

/// A record of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers, values as text.
    pub headers: Vec<(String, String)>,
}

impl Office {
    /// Everything the API has produced so far.
    pub async fn produced(&self) -> Vec<Seen> {
        self.topic(&self.system.config().kafka.topics.requests).await
    }

    /// Everything in a topic so far, partition by partition.
    pub async fn topic(&self, name: &str) -> Vec<Seen> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let handler: Handler = Arc::new(move |payload: Value| {
            let records = payload["records"].as_object().into_iter().flatten().flat_map(|(_, list)| list.as_array());
            kept.lock().unwrap().extend(records.flatten().map(read));
            Box::pin(async { Ok(json!({ "batchItemFailures": [] })) })
        });
        let settings = EventSourceSettings::new(self.system.servers().kafka_bootstrap(), name);
        let source = EventSource::start(settings, handler).await.unwrap();
        source.drained(PATIENCE).await.unwrap();
        source.stop().await;
        let seen = seen.lock().unwrap();
        seen.clone()
    }
}

fn read(record: &Value) -> Seen {
    let bytes = |field: &str| record[field].as_str().map(|text| STANDARD.decode(text).unwrap());
    let headers = record["headers"].as_array().into_iter().flatten().flat_map(|header| header.as_object());
    let text = |value: &Value| {
        let signed = value.as_array().into_iter().flatten().filter_map(Value::as_i64);
        String::from_utf8_lossy(&signed.map(|byte| byte as u8).collect::<Vec<_>>()).into_owned()
    };
    Seen {
        key: bytes("key"),
        value: bytes("value"),
        headers: headers.flatten().map(|(name, value)| (name.clone(), text(value))).collect(),
    }
}
