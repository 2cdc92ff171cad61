//! The list of events, which is one partition of the table and what everybody sees first: this process' copy of a second,
//! else Redis' copy, else the table. One process fills what Redis misses, and the others wait for it, for a bounded time. With
//! Redis away the table is read at a bounded rate, and who comes above that is told to come again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::causes::chain;
use shared::domain::ids::EventId;
use shared::dynamodb::StoreError;
use shared::dynamodb::events::EventSummary;
use shared::redis::list::{ListCopy, Page};
use shared::redis::{Redis, RedisError};

use tokio::time::Instant;

use crate::App;
use crate::budget::Budget;
use crate::copies::{Copies, Missed, wait_while};
use crate::moment::Moment;
use crate::seat_map::Freshness;

/// Pages this process keeps.
const MAX_PAGES: usize = 200;
/// Reads of the table a second that a process makes without Redis. A page is a few read units, all of one partition, which has
/// 3,000 a second: for some hundred environments.
const READS_WITHOUT_REDIS: u32 = 2;

/// A page.
#[derive(Debug, Serialize, Deserialize)]
pub struct Listed {
    /// The events.
    pub events: Vec<EventSummary>,
    /// The last one, where there are more.
    pub next: Option<EventId>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum Unlisted {
    /// Somebody else reads it and was not done in time.
    #[error("the page is being read")]
    TooLate,
    /// Redis is away, and the table has been asked often enough.
    #[error("redis is away, and the table was asked often enough")]
    TooMany(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The table gave no usable answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was waited for failed.
    #[error("the page could not be read")]
    Failed(#[source] Arc<Unlisted>),
}

type Key = (i32, Option<EventId>);

/// The list. Cheap to clone; clones share the copies.
#[derive(Clone)]
pub struct EventsList {
    pages: Copies<Key, Arc<Listed>, Unlisted>,
    copy: ListCopy,
    without_redis: Arc<Budget>,
}

impl EventsList {
    /// Nothing read yet.
    pub fn new(redis: Redis) -> Self {
        let without_redis = Arc::new(Budget::new(READS_WITHOUT_REDIS));
        Self { pages: Copies::new(MAX_PAGES), copy: ListCopy::new(redis), without_redis }
    }

    /// At most `limit` events after that one.
    pub async fn page(
        &self,
        app: &App,
        limit: i32,
        after: Option<EventId>,
        freshness: Freshness,
    ) -> Result<Arc<Listed>, Unlisted> {
        let key = (limit, after);
        if freshness != Freshness::Recent {
            return self.read(app, &key).await.map(|(page, _)| page);
        }
        let read = |mut keys: Vec<Key>| {
            let (list, app) = (self.clone(), app.clone());
            async move {
                let Some(key) = keys.pop() else { return Err(Unlisted::TooLate) };
                list.read(&app, &key).await.map(|(page, at)| (vec![page], at))
            }
        };
        match self.pages.get(&[key], 1, read).await {
            Ok(pages) => pages.first().map(|page| Arc::clone(page.value.as_ref())).ok_or(Unlisted::TooLate),
            Err(Missed::TooLate) => Err(Unlisted::TooLate),
            Err(Missed::Failed(error)) => Err(Unlisted::Failed(error)),
        }
    }

    /// An event was published.
    pub async fn changed(&self) -> Result<(), RedisError> {
        self.copy.changed().await
    }

    /// Reads a page from Redis, or fills what it has not.
    async fn read(&self, app: &App, (limit, after): &Key) -> Result<(Arc<Listed>, Moment), Unlisted> {
        let name = format!("{limit}:{}", after.as_ref().map_or("", EventId::as_str));
        let look = async || (Moment::now(), self.copy.page(&name).await);
        let (at, found) = wait_while(|(_, found)| matches!(found, Ok(Page::Wait)), look).await;
        let page = match found {
            Ok(Page::Kept(text)) => match serde_json::from_str(&text) {
                Ok(page) => Arc::new(page),
                // Kept by another version of this function.
                Err(error) => self.without_redis(app, *limit, after.as_ref(), error).await?,
            },
            Ok(Page::Fill(generation)) => {
                let read = app.events.list_strongly(*limit, after.as_ref()).await;
                let page = read.map(|(events, next)| Listed { events, next });
                self.keep(&name, page.as_ref().ok(), &generation).await;
                Arc::new(page?)
            }
            Ok(Page::Wait) => return Err(Unlisted::TooLate),
            Err(error) => self.without_redis(app, *limit, after.as_ref(), error).await?,
        };
        Ok((page, at))
    }

    /// Reads a page from the table for this process alone, where the rate allows it.
    async fn without_redis(
        &self,
        app: &App,
        limit: i32,
        after: Option<&EventId>,
        why: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Result<Arc<Listed>, Unlisted> {
        if !self.without_redis.allows(1, Instant::now()) {
            return Err(Unlisted::TooMany(why.into()));
        }
        let (events, next) = app.events.list(limit, after).await?;
        Ok(Arc::new(Listed { events, next }))
    }

    /// Leaves a page in Redis, or lets others read it where there is none. That Redis cannot be told is no failure: the next
    /// one reads it again.
    async fn keep(&self, name: &str, page: Option<&Listed>, generation: &str) {
        let kept = match page.map(serde_json::to_string) {
            Some(Ok(text)) => self.copy.keep(name, &text, generation).await,
            None | Some(Err(_)) => self.copy.give_up(name).await,
        };
        if let Err(error) = kept {
            tracing::debug!(error = chain(&error), "redis has no copy of a page of the list");
        }
    }
}
