//! The wire to DynamoDB, told how to fail: it loses replies of requests that were carried out, answers in the service's
//! stead, and changes what is sent. What stands on it is the product's own client, with the SDK's own retries.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_dynamodb::config::{HttpClient, RuntimeComponents, SharedHttpClient};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::{Value, json};
use shared::aws::http_client;
use shared::dynamodb::Table;
use tokio::sync::watch;
use tokio::time::timeout;

use super::PATIENCE;

/// Pause of the SDK before its first retry: its own second would make a test of hundreds of them wait.
const SDK_BACKOFF: Duration = Duration::from_millis(5);

/// What to do with a request.
#[derive(Debug, Clone)]
pub enum Fate {
    /// Nothing unusual.
    Pass,
    /// Have it carried out, and lose the reply.
    LoseReply,
    /// Send it once the gate is open.
    Hold(Gate),
    /// Have it carried out, and bring the reply once the gate is open.
    HoldReply(Gate),
    /// Never send it: answer with this status and body.
    Answer(u16, Value),
    /// Send this body instead.
    Send(Value),
}

/// Keeps requests or replies waiting, and says that one waits.
#[derive(Debug, Clone)]
pub struct Gate(watch::Sender<(bool, usize)>);

impl Gate {
    /// A gate that is shut.
    pub fn shut() -> Self {
        Self(watch::Sender::new((false, 0)))
    }

    /// Lets everything through, now and later.
    pub fn open(&self) {
        self.0.send_modify(|(is_open, _)| *is_open = true);
    }

    /// Waits until something has come to it.
    pub async fn reached(&self) {
        let mut state = self.0.subscribe();
        timeout(PATIENCE, state.wait_for(|(_, waiting)| *waiting > 0))
            .await
            .expect("nothing came to the gate")
            .unwrap();
    }

    async fn pass(&self) {
        self.0.send_modify(|(_, waiting)| *waiting += 1);
        let mut state = self.0.subscribe();
        state.wait_for(|(is_open, _)| *is_open).await.unwrap();
    }
}

/// Decides what becomes of a request, by its operation (`TransactWriteItems`) and its body.
pub type Judge = dyn Fn(&str, &Value) -> Fate + Send + Sync;

/// A wire; clones are the same wire.
#[derive(Clone)]
pub struct Wire {
    judge: Arc<Judge>,
    seen: Arc<Mutex<Vec<(String, Fate)>>>,
}

impl Wire {
    /// A wire on which `judge` decides.
    pub fn new(judge: impl Fn(&str, &Value) -> Fate + Send + Sync + 'static) -> Self {
        Self { judge: Arc::new(judge), seen: Arc::default() }
    }

    /// The same table over this wire.
    pub fn under(&self, table: &Table) -> Table {
        static WIRES: AtomicU32 = AtomicU32::new(0);
        let (client, name) = table.raw();
        let old = client.config();
        let retries = old.retry_config().cloned().unwrap_or_else(RetryConfig::standard);
        // The SDK stops repeating where too much of a process fails; no test is to notice what another one breaks.
        let apart = RetryPartition::new(format!("wire-{}", WIRES.fetch_add(1, Ordering::Relaxed)));
        let config = old
            .to_builder()
            .http_client(SharedHttpClient::new(self.clone()))
            .retry_partition(apart)
            .retry_config(retries.with_initial_backoff(SDK_BACKOFF))
            .build();
        Table::with_client(Client::from_conf(config), name.to_owned())
    }

    /// How many requests of an operation met a fate that `is` so.
    pub fn count(&self, operation: &str, is: impl Fn(&Fate) -> bool) -> usize {
        self.seen.lock().unwrap().iter().filter(|(name, fate)| name == operation && is(fate)).count()
    }

    /// Forgets the requests so far, and says which they were.
    pub fn forget(&self) -> Vec<String> {
        self.seen.lock().unwrap().drain(..).map(|(operation, _)| operation).collect()
    }
}

/// An error as the service words it.
pub fn error(status: u16, code: &str) -> Fate {
    let kind = format!("com.amazonaws.dynamodb.v20120810#{code}");
    Fate::Answer(status, json!({ "__type": kind, "message": "as the test wishes" }))
}

/// A cancelled transaction with these reasons.
pub fn cancelled(reasons: &[&str]) -> Fate {
    let reasons: Vec<Value> = reasons.iter().map(|code| json!({ "Code": code })).collect();
    let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
    let body = json!({ "__type": kind, "Message": "Transaction cancelled", "CancellationReasons": reasons });
    Fate::Answer(400, body)
}

/// The reservation a transaction puts, where it does.
pub fn reservation_of(transaction: &Value) -> Option<&str> {
    transaction["TransactItems"].as_array()?.iter().find_map(|item| item["Put"]["Item"]["pk"]["S"].as_str())
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl HttpClient for Wire {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let sound = http_client().http_connector(settings, components);
        SharedHttpConnector::new(Connector { wire: self.clone(), sound })
    }
}

#[derive(Debug)]
struct Connector {
    wire: Wire,
    sound: SharedHttpConnector,
}

impl HttpConnector for Connector {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let fate = (self.wire.judge)(&operation, &body);
        self.wire.seen.lock().unwrap().push((operation, fate.clone()));
        match fate {
            Fate::Pass => self.sound.call(request),
            Fate::Send(body) => {
                let text = body.to_string();
                request.headers_mut().insert("content-length", text.len().to_string());
                *request.body_mut() = text.into();
                self.sound.call(request)
            }
            Fate::LoseReply => {
                let carried_out = self.sound.call(request);
                HttpConnectorFuture::new(async move {
                    let mut reply = carried_out.await?;
                    assert!(reply.status().is_success() || reply.status().is_client_error());
                    drop(reply.take_body());
                    Err(ConnectorError::io("the connection was reset".into()))
                })
            }
            Fate::Hold(gate) => {
                let sound = self.sound.clone();
                HttpConnectorFuture::new(async move {
                    gate.pass().await;
                    sound.call(request).await
                })
            }
            Fate::HoldReply(gate) => {
                let carried_out = self.sound.call(request);
                HttpConnectorFuture::new(async move {
                    let reply = carried_out.await?;
                    gate.pass().await;
                    Ok(reply)
                })
            }
            Fate::Answer(status, body) => {
                let mut answer = HttpResponse::new(status.try_into().unwrap(), body.to_string().into());
                answer.headers_mut().insert("content-type", "application/x-amz-json-1.0");
                HttpConnectorFuture::ready(Ok(answer))
            }
        }
    }
}
