//! DynamoDB decides: one table, and only its conditional writes make, confirm or end a reservation.
//!
//! - [`keys`]: every partition and sort key, and the table's definition.
//! - [`rows`]: what is stored of a reservation and of a taken seat.
//! - [`reservations`]: hold, reject. [`changes`]: confirm, extend, end, rebook. [`blocks`]: seats taken off sale.
//! - [`reads`]: everything read of reservations.
//! - [`settlement`]: what days have come to, each sale and refund counted once. [`to_settle`]: of what, and on which day.
//! - [`events`]: publish, read, list. [`publication`]: what is written of one. [`job_states`]: what a job remembers between
//!   its runs.

pub mod blocks;
pub mod changes;
pub mod events;
pub mod job_states;
pub mod keys;
pub mod publication;
pub mod reads;
pub mod removing;
pub mod reservations;
pub mod rows;
pub mod settlement;
pub mod to_settle;
mod transaction;
pub mod view_counts;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::KeysAndAttributes;

use crate::causes::{chain, without_values};
use crate::domain::ids::ReservationId;

/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long one attempt may take. DynamoDB asks for at least a second where transactions may be in progress.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long a call may take in all, the SDK's own retries included.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(4);
/// Attempts of one call by the SDK itself; our own retries stand above it, inside the invocation's deadline.
const SDK_ATTEMPTS: u32 = 3;

/// Items one BatchGetItem may ask for.
const BATCH: usize = 100;
/// Batches in a row that the table may hand back wholly unprocessed.
const BATCH_ROUNDS: usize = 8;

/// The table did not give a usable answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not now: throttled, in conflict with another transaction, no answer in time, a fault of the service.
    #[error("dynamodb is busy or out of reach ({code})")]
    Busy {
        /// The service's name for it.
        code: String,
        /// The SDK's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Never: the service refuses the request itself. Trying again changes nothing.
    #[error("dynamodb refuses the request ({code})")]
    Refused {
        /// The service's name for it.
        code: String,
        /// The SDK's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What is stored cannot be read.
    #[error("a stored item cannot be read: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// Whether trying again may help.
    pub fn is_busy(&self) -> bool {
        matches!(self, StoreError::Busy { .. })
    }

    /// Whether trying again changes nothing.
    pub fn is_refused(&self) -> bool {
        matches!(self, StoreError::Refused { .. })
    }

    pub(crate) fn corrupt(error: impl std::fmt::Display) -> Self {
        Self::Corrupt(without_values(error))
    }
}

/// Sorts an SDK error into "not now" and "never".
pub(crate) fn store_error<E, R>(error: SdkError<E, R>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let code = error.code().unwrap_or("no-answer").to_owned();
    // A missing table or permission is the deployment's fault, and not the request's: no message may be given up for it.
    let refused = code == "ValidationException";
    // Not with the SDK's own words for the log: they have the whole answer in them, and so what is stored.
    tracing::debug!(code, cause = chain(&error), "dynamodb did not do it");
    if refused || matches!(error, SdkError::ConstructionFailure(_)) {
        StoreError::Refused { code, source: Box::new(error) }
    } else {
        StoreError::Busy { code, source: Box::new(error) }
    }
}

/// Where the table is.
#[derive(Debug, Clone)]
pub struct TableSettings {
    /// The table's name.
    pub table: String,
    /// Another endpoint than AWS' own: a local server, which takes any credentials.
    pub endpoint: Option<String>,
}

/// The table. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Table {
    pub(crate) client: Client,
    pub(crate) name: String,
}

impl Table {
    /// Prepares a client; the first call opens the connection.
    pub async fn new(settings: &TableSettings) -> Self {
        let shared = crate::aws::config(settings.endpoint.is_some()).await;
        let mut config = aws_sdk_dynamodb::config::Builder::from(&shared)
            .retry_config(RetryConfig::standard().with_max_attempts(SDK_ATTEMPTS))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                    .operation_timeout(OPERATION_TIMEOUT)
                    .build(),
            );
        if let Some(endpoint) = &settings.endpoint {
            config = config.endpoint_url(endpoint);
        }
        Self::with_client(Client::from_conf(config.build()), settings.table.clone())
    }

    /// The table behind a client of the caller's own: tests put connectors that fail into it.
    pub fn with_client(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// One item, strongly consistent where `strong`.
    pub(crate) async fn get(&self, pk: String, sk: &str, strong: bool) -> Result<Option<rows::Item>, StoreError> {
        let key = keys::primary(pk, sk);
        let request = self.client.get_item().table_name(&self.name).set_key(Some(key)).consistent_read(strong);
        Ok(request.send().await.map_err(store_error)?.item)
    }

    /// The reservations that stand in one partition of the index `due` under a moment before `until_ms`, the earliest first, at
    /// most `limit`, and where the next page begins. Lags by the index.
    pub(crate) async fn due(
        &self,
        due_shard: String,
        until_ms: i64,
        limit: i32,
        from: Option<rows::Item>,
    ) -> Result<(Vec<ReservationId>, Option<rows::Item>), StoreError> {
        let answer = self
            .client
            .query()
            .table_name(&self.name)
            .index_name(keys::DUE)
            .key_condition_expression("due_shard = :shard AND due_at < :until")
            .expression_attribute_values(":shard", transaction::text(&due_shard))
            .expression_attribute_values(":until", transaction::text(&keys::sortable(until_ms)))
            .limit(limit)
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(store_error)?;
        let ids = answer.items.into_iter().flatten().filter_map(|item| {
            let id = reads::id_of(&item);
            id.inspect_err(|error| tracing::error!(due_shard, error = chain(error), "what is due is no reservation"))
                .ok()
        });
        Ok((ids.collect(), answer.last_evaluated_key))
    }

    /// The items of these keys that exist, in no order. Strongly consistent.
    pub(crate) async fn batch_get(&self, mut missing: Vec<rows::Item>) -> Result<Vec<rows::Item>, StoreError> {
        let mut found = Vec::new();
        let mut stalled = 0;
        while !missing.is_empty() {
            let rest = missing.split_off(missing.len().min(BATCH));
            let asked = missing.len();
            let wanted = KeysAndAttributes::builder().set_keys(Some(missing)).consistent_read(true).build();
            let wanted = wanted.map_err(StoreError::corrupt)?;
            let request = self.client.batch_get_item().request_items(&self.name, wanted);
            let answer = request.send().await.map_err(store_error)?;
            found.extend(answer.responses.unwrap_or_default().into_values().flatten());
            let unread: Vec<_> =
                answer.unprocessed_keys.unwrap_or_default().into_values().flat_map(|keys| keys.keys).collect();
            stalled = if unread.len() < asked { 0 } else { stalled + 1 };
            if stalled == BATCH_ROUNDS {
                return Err(StoreError::Busy { code: "UnprocessedKeys".into(), source: "items left unread".into() });
            }
            missing = rest;
            missing.extend(unread);
        }
        Ok(found)
    }

    /// Opens a connection ahead of the first request. A table that cannot be reached is met, and reported, by that one.
    pub async fn warm_up(&self) {
        if let Err(error) = self.get("WARM-UP".into(), keys::ALONE, false).await {
            tracing::warn!(cause = chain(&error), "dynamodb is not reachable yet; going on without it");
        }
    }

    /// The client and the table's name, for tests that look at whole tables and spoil items.
    pub fn raw(&self) -> (&Client, &str) {
        (&self.client, &self.name)
    }
}
