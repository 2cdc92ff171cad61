//! A copy of the list of events, page by page, so that a crowd does not ask the table: all of the list is one partition of
//! it. DynamoDB is the source; a publication makes every copy void, and without it a copy lives [`KEPT_FOR`].

use std::time::Duration;

use super::{Redis, RedisError, Script, keys, millis, script};

/// How long copies live: what a publisher who dies between the stores can cost, with the little that reading took.
pub const KEPT_FOR: Duration = Duration::from_secs(25);
/// How long who misses a page has for filling it before another one may.
pub const FILLING: Duration = Duration::from_secs(2);
/// Pages kept at most, of up to 30 KB each.
const MAX_PAGES: i64 = 200;

/// What there is of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// The copy.
    Kept(String),
    /// Nothing: the caller reads the table and keeps what he found, under this generation.
    Fill(String),
    /// Nothing yet: another one reads it.
    Wait,
}

/// The copy. Cheap to clone.
#[derive(Clone)]
pub struct ListCopy {
    redis: Redis,
    page: Script,
    keep: Script,
    changed: Script,
}

impl ListCopy {
    /// The copy over these connections.
    pub fn new(redis: Redis) -> Self {
        let (page, keep) = (script!("list_page.lua"), script!("keep_list_page.lua"));
        Self { redis, page, keep, changed: script!("list_changed.lua") }
    }

    /// A page, by a name of the caller's.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn page(&self, name: &str) -> Result<Page, RedisError> {
        let args = vec![name.into(), millis(FILLING).into()];
        let mut reply: Vec<String> = self.redis.run(&self.page, keys::list_page(name).into(), args).await?;
        let value = if reply.len() > 1 { reply.swap_remove(1) } else { String::new() };
        match reply.first().map(String::as_str) {
            Some("kept") => Ok(Page::Kept(value)),
            Some("fill") => Ok(Page::Fill(value)),
            Some("wait") => Ok(Page::Wait),
            _ => Err(RedisError::Unexpected(reply.concat())),
        }
    }

    /// Keeps a page that was read after [`page`](Self::page) had said to fill it, past every lag.
    ///
    /// # Errors
    /// When Redis gives no usable answer; the next one fills it then.
    pub async fn keep(&self, name: &str, page: &str, generation: &str) -> Result<(), RedisError> {
        let args = vec![name.into(), page.into(), generation.into(), millis(KEPT_FOR).into(), MAX_PAGES.into()];
        self.redis.run::<i64>(&self.keep, keys::list_page(name).into(), args).await.map(|_| ())
    }

    /// Lets another one fill a page that could not be read.
    ///
    /// # Errors
    /// When Redis gives no usable answer; [`FILLING`] ends it then.
    pub async fn give_up(&self, name: &str) -> Result<(), RedisError> {
        // Under a generation that never is nothing is kept.
        self.keep(name, "", "none").await
    }

    /// Makes every copy void, after a publication.
    ///
    /// # Errors
    /// When Redis gives no usable answer; the copies live for [`KEPT_FOR`] then.
    pub async fn changed(&self) -> Result<(), RedisError> {
        let [generation, pages, _] = keys::list_page("");
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        self.redis.run::<i64>(&self.changed, vec![generation, pages], vec![nonce.into()]).await.map(|_| ())
    }
}
