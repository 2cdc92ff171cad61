//! The use case: publish an event. DynamoDB first, conditionally; then Redis is told, and whoever claims next brings it along.

use std::sync::Arc;

use shared::causes::chain;
use shared::domain::Invalid;
use shared::domain::document::EventDocument;
use shared::domain::event::{Event, Seat};
use shared::domain::ids::{EventId, SeatId};
use shared::dynamodb::StoreError;
use shared::dynamodb::events::{Published, removed_seats};
use shared::dynamodb::removing::Removing;

use crate::App;
use crate::block::{self, Wanted};

/// Times a publication is tried again after another one came first. Whoever minds that sends `If-Match`.
const MAX_ROUNDS: usize = 5;
/// The block of seats that a publication left out. No organiser can name it.
const REMOVED: &str = "~removed";
/// Seats named in a refusal at most.
const NAMED_SEATS: usize = 100;

/// Why an event was not published.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("another publication stands")]
    PreconditionFailed,
    #[error("seats that others have would vanish")]
    SeatsInUse(Vec<SeatId>),
    #[error("seats could not be taken off sale before they go")]
    Blocking(#[source] block::Refusal),
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
        let removing = match &previous {
            None => None,
            Some(previous) => match take_off_sale(app, previous, document).await {
                Err(Refusal::Blocking(block::Refusal::Stale)) => continue,
                taken => taken?,
            },
        };
        let announced = if previous.is_none() { announce(app, id).await } else { None };
        match app.events.publish(id, document.clone(), previous.as_ref(), removing.as_ref()).await? {
            Published::Done(event) => {
                if let Err(error) = app.loading.publish(&event, announced.as_deref()).await {
                    let error = chain(&error);
                    tracing::warn!(event_id = %id, error, "redis was not told of a publication; the next claim brings it");
                }
                if let Err(error) = app.events_list.changed().await {
                    let error = chain(&error);
                    tracing::warn!(event_id = %id, error, "the list of events is shown as it was, for half a minute at most");
                }
                app.catalogue.insert(Arc::clone(&event)).await;
                if let Some(previous) = &previous {
                    settle_removed(app, &event, previous, document).await;
                }
                return Ok(event);
            }
            Published::Invalid(invalid) => return Err(Refusal::Invalid(invalid)),
            Published::Overtaken => {}
        }
    }
    Err(Refusal::Overtaken)
}

/// Blocks the seats that a document leaves out before it is published: whoever is on his way to one loses to the block.
/// Refused, with nothing left blocked, where others have one of them. The answer is the removal to publish it in.
async fn take_off_sale(app: &App, previous: &Event, document: &EventDocument) -> Result<Option<Removing>, Refusal> {
    let removed = removed_seats(document, previous);
    if removed.is_empty() {
        return Ok(None);
    }
    let removing = app.events.begin_removal(previous).await?;
    let removing = removing.ok_or(Refusal::Blocking(block::Refusal::Stale))?;
    let mut in_use = set_removed(app, previous, removed, &removing).await.map_err(Refusal::Blocking)?.not_blocked;
    if in_use.is_empty() {
        return Ok(Some(removing));
    }
    set_removed(app, previous, Vec::new(), &removing).await.map_err(Refusal::Blocking)?;
    in_use.truncate(NAMED_SEATS);
    Err(Refusal::SeatsInUse(in_use))
}

/// After a publication: what it left out stays blocked, and what an earlier one blocked in vain goes back on sale.
async fn settle_removed(app: &App, event: &Event, previous: &Event, document: &EventDocument) {
    let removed = removed_seats(document, previous);
    let settled = match app.events.begin_removal(event).await {
        Ok(Some(removing)) => set_removed(app, event, removed, &removing).await.map(drop),
        // A later publication stands and looks after them.
        Ok(None) => Ok(()),
        Err(error) => Err(block::Refusal::Unavailable(error.into())),
    };
    match settled {
        Ok(()) | Err(block::Refusal::Stale) => {}
        Err(refusal) => {
            let error = chain(&refusal);
            tracing::warn!(event_id = %event.id, error, "removed seats were not looked after; the next publication does it");
        }
    }
}

/// Sets the block of removed seats. What is in no layout any more stays in it for ever.
async fn set_removed(
    app: &App,
    event: &Event,
    seats: Vec<Seat>,
    removing: &Removing,
) -> Result<block::Set, block::Refusal> {
    let is_gone = |seat: &Seat| event.locate(&seat.id).is_none_or(|(found, _)| found != *seat);
    let wanted = Wanted { block_id: REMOVED, note: "", seats, keeps: &is_gone, during: Some(removing) };
    block::set(app, event, &wanted).await
}

/// Announces a first publication; without, its sections are loaded when they are first asked for.
async fn announce(app: &App, id: &EventId) -> Option<String> {
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    match app.loading.announce(id, &nonce).await {
        Ok(()) => Some(nonce),
        Err(error) => {
            tracing::warn!(event_id = %id, error = chain(&error), "a publication was not announced");
            None
        }
    }
}
