//! Views of an event: counted here, and written back to the table in batches that are added once each.
//!
//! What a batch holds leaves the counter in the moment it gets its name, and stays here until the table has it. So whatever
//! dies wherever, a view is in exactly one of three places: the counter, the batch, the table. A failover that loses the
//! latest writes of Redis costs the views among them; one that forgets that a batch was taken, after the table had it, or brings
//! back one of earlier, counts that batch again. And a look whose connection is lost is sent once more: it may count twice.

use super::{Redis, RedisError, Script, keys, script};
use crate::domain::ids::EventId;

/// Views, by where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Not in the table yet.
    pub pending: u64,
    /// In the table; `None` = Redis does not know.
    pub stored: Option<u64>,
}

/// Views that are to be added to the table, all at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its name: it is added once.
    pub name: String,
    /// How many.
    pub count: u64,
}

/// Counts views. Cheap to clone.
#[derive(Clone)]
pub struct Views {
    redis: Redis,
    view: Script,
    take: Script,
    stored: Script,
}

impl Views {
    /// Views over these connections.
    pub fn new(redis: Redis) -> Self {
        Self { redis, view: script!("view.lua"), take: script!("take_views.lua"), stored: script!("views_stored.lua") }
    }

    /// Counts one view of an event: one command.
    ///
    /// # Errors
    /// When Redis gives no usable answer; the view may have been counted then.
    pub async fn count(&self, event: &EventId) -> Result<Counted, RedisError> {
        self.add(event, 1).await
    }

    /// Counts none, and looks.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn look(&self, event: &EventId) -> Result<Counted, RedisError> {
        self.add(event, 0).await
    }

    async fn add(&self, event: &EventId, views: i64) -> Result<Counted, RedisError> {
        let keys = vec![keys::views(event), keys::views_on_their_way(event), keys::views_stored(event)];
        let (since, on_their_way, stored): (u64, u64, i64) =
            self.redis.run(&self.view, keys, vec![views.into()]).await?;
        Ok(Counted { pending: since + on_their_way, stored: u64::try_from(stored).ok() })
    }

    /// The batch to be added next, under `name` if it is a new one; `None` = there are no views.
    ///
    /// # Errors
    /// When Redis gives no usable answer; the batch may have been made then, and is found by the next call.
    pub async fn take(&self, event: &EventId, name: &str) -> Result<Option<Batch>, RedisError> {
        let keys = vec![keys::views(event), keys::views_on_their_way(event)];
        let reply: Vec<String> = self.redis.run(&self.take, keys, vec![name.into()]).await?;
        match &reply[..] {
            [] => Ok(None),
            [name, count] => {
                let count = count.parse().map_err(|_| RedisError::Unexpected(reply.join(" ")))?;
                Ok(Some(Batch { name: name.clone(), count }))
            }
            _ => Err(RedisError::Unexpected(reply.join(" "))),
        }
    }

    /// Notes that the table has `total` views, the last of them in this batch. `added` = the caller has just added it.
    ///
    /// # Errors
    /// When Redis gives no usable answer; the next write-back notes it.
    pub async fn stored(&self, event: &EventId, total: u64, batch: &str, added: bool) -> Result<(), RedisError> {
        let keys = vec![keys::views_on_their_way(event), keys::views_stored(event)];
        let total = i64::try_from(total).unwrap_or(i64::MAX);
        let args = vec![total.into(), batch.into(), i64::from(added).into()];
        self.redis.run::<i64>(&self.stored, keys, args).await.map(|_| ())
    }
}
