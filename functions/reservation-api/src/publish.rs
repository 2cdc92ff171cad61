//! The use case: publish an event. DynamoDB first, conditionally; then Redis is told, and whoever claims next brings it along.

use std::sync::Arc;

use shared::domain::Invalid;
use shared::domain::document::EventDocument;
use shared::domain::event::Event;
use shared::domain::ids::EventId;
use shared::dynamodb::StoreError;
use shared::dynamodb::events::Published;

use crate::App;

/// Times a publication is tried again after another one came first. Whoever minds that sends `If-Match`.
const MAX_ROUNDS: usize = 5;
/// Seats named in a refusal at most.
const NAMED_SEATS: usize = 100;

/// Why an event was not published.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("another publication stands")]
    PreconditionFailed,
    #[error("published seats would vanish")]
    SeatsInUse(Vec<String>),
    #[error("other publications kept coming first")]
    Overtaken,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which publication the caller expects to replace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Whatever stands.
    Any,
    /// Something.
    Existing,
    /// This one.
    Tag(String),
}

/// The validator of a publication.
pub fn etag(event: &Event) -> String {
    format!("\"v{}\"", event.version)
}

/// Publishes a document. The answer's version is 1 where the event is new.
pub async fn publish(
    app: &App,
    id: &EventId,
    document: &EventDocument,
    expected: &Expected,
) -> Result<Arc<Event>, Refusal> {
    for _ in 0..MAX_ROUNDS {
        let previous = app.events.get(id).await?;
        let met = match expected {
            Expected::Any => true,
            Expected::Existing => previous.is_some(),
            Expected::Tag(tag) => previous.as_ref().is_some_and(|event| etag(event) == *tag),
        };
        if !met {
            return Err(Refusal::PreconditionFailed);
        }
        let announced = if previous.is_none() { announce(app, id).await } else { None };
        match app.events.publish(id, document.clone(), previous.as_ref()).await? {
            Published::Done(event) => {
                if let Err(error) = app.loading.publish(&event, announced.as_deref()).await {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(event_id = %id, error, "redis was not told of a publication; the next claim brings it");
                }
                app.catalogue.insert(Arc::clone(&event)).await;
                return Ok(event);
            }
            Published::Removes(mut seats) => {
                seats.truncate(NAMED_SEATS);
                return Err(Refusal::SeatsInUse(seats));
            }
            Published::Invalid(invalid) => return Err(Refusal::Invalid(invalid)),
            Published::Overtaken => {}
        }
    }
    Err(Refusal::Overtaken)
}

/// Announces a first publication; without, its sections are loaded when they are first asked for.
async fn announce(app: &App, id: &EventId) -> Option<String> {
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    match app.loading.announce(id, &nonce).await {
        Ok(()) => Some(nonce),
        Err(error) => {
            tracing::warn!(event_id = %id, error = &error as &dyn std::error::Error, "a publication was not announced");
            None
        }
    }
}
