//! The directory of events, one after the other, a page at a time.

use std::collections::VecDeque;

use shared::domain::ids::EventId;
use shared::dynamodb::StoreError;
use shared::dynamodb::events::{EventSummary, Events, MAX_EVENTS_PAGE};

/// A walk through the directory.
pub struct Directory<'a> {
    events: &'a Events,
    page: VecDeque<EventSummary>,
    /// Where the next page begins; `None` = there is none.
    next: Option<Option<EventId>>,
}

impl<'a> Directory<'a> {
    /// All events, or those behind one.
    pub fn walk(events: &'a Events, after: Option<EventId>) -> Self {
        Self { events, page: VecDeque::new(), next: Some(after) }
    }

    /// The next event.
    pub async fn next(&mut self) -> Result<Option<EventSummary>, StoreError> {
        while self.page.is_empty() {
            let Some(after) = self.next.take() else { return Ok(None) };
            let (events, next) = self.events.list(MAX_EVENTS_PAGE, after.as_ref()).await?;
            self.page.extend(events);
            self.next = next.map(Some);
        }
        Ok(self.page.pop_front())
    }
}
