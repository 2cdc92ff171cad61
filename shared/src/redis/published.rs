//! A copy of what is published of an event, so that a crowd of processes that have just begun reads the table once. DynamoDB
//! is the source; a copy is good as long as Redis knows of no later publication, and for [`KEPT_FOR`] at most.

use std::time::Duration;

use fred::bytes::Bytes;
use fred::interfaces::KeysInterface;
use fred::types::{Expiration, Value};

use super::{Redis, RedisError, Script, keys, millis, script, within_deadline};
use crate::domain::ids::EventId;
use crate::domain::layout::Layout;
use crate::dynamodb::publication::{Publication, deflated};

/// How long a copy lasts: what a publisher who dies between the stores can cost, with the little that reading took.
pub const KEPT_FOR: Duration = Duration::from_secs(25);
/// How long before its end a copy is renewed by the first who asks, so that the others never miss it.
pub const RENEWED_BEFORE: Duration = Duration::from_secs(5);
/// How long it is remembered that there is no such event.
pub const UNKNOWN_FOR: Duration = Duration::from_secs(1);
/// How long who is to fill a copy has for it before another one may.
pub const FILLING: Duration = Duration::from_secs(2);
/// How long a layout lasts after it was last part of a copy: longer than that.
const LAYOUTS_KEPT_FOR: Duration = Duration::from_secs(120);

/// What there is of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A copy.
    Kept {
        /// What is published, as [`Publication::to_json`] wrote it;
        /// `None` = there is no such event.
        published: Option<String>,
        /// How long it lasts.
        left: Duration,
    },
    /// Nothing that will last: the caller reads the table, and keeps what he found or gives up, as this filler.
    Fill(Filler),
    /// Nothing yet: another one reads it.
    Wait,
}

/// Who is to fill a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filler(String);

/// Copies of events. Cheap to clone.
#[derive(Clone)]
pub struct PublishedCopies {
    redis: Redis,
    read: Script,
    keep: Script,
    last_longer: Script,
}

impl PublishedCopies {
    /// Copies over these connections.
    pub fn new(redis: Redis) -> Self {
        let (read, keep) = (script!("copy_of_event.lua"), script!("keep_copy_of_event.lua"));
        Self { redis, read, keep, last_longer: script!("last_longer.lua") }
    }

    /// Looks for a copy of an event: one command.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn find(&self, event: &EventId) -> Result<Found, RedisError> {
        let filler = Filler(uuid::Uuid::new_v4().simple().to_string());
        let args = vec![filler.0.as_str().into(), millis(FILLING).into(), millis(RENEWED_BEFORE).into()];
        let reply: Vec<String> = self.redis.run(&self.read, keys::copy_of_event(event).into(), args).await?;
        let reply: Vec<&str> = reply.iter().map(String::as_str).collect();
        match reply[..] {
            ["kept", published, left] => {
                let left = left.parse().map_err(|_| RedisError::Unexpected(left.to_owned()))?;
                let published = (!published.is_empty()).then(|| published.to_owned());
                Ok(Found::Kept { published, left: Duration::from_millis(left) })
            }
            ["fill"] => Ok(Found::Fill(filler)),
            ["wait"] => Ok(Found::Wait),
            _ => Err(RedisError::Unexpected(format!("{} values for a copy of an event", reply.len()))),
        }
    }

    /// Of these layouts those that are kept: one command.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn layouts(&self, event: &EventId, names: &[String]) -> Result<Vec<(String, Vec<u8>)>, RedisError> {
        let keys: Vec<String> = names.iter().map(|name| keys::copy_of_layout(event, name)).collect();
        let kept: Vec<Option<Bytes>> = within_deadline(self.redis.pool.next().mget(keys)).await?;
        Ok(names.iter().zip(kept).filter_map(|(name, kept)| Some((name.clone(), kept?.to_vec()))).collect())
    }

    /// Keeps what its filler has read: first the layouts that are not there yet, then what names them.
    ///
    /// # Errors
    /// When Redis gives no usable answer; the next one fills it then.
    pub async fn keep(&self, event: &EventId, filler: &Filler, read: &Publication) -> Result<(), RedisError> {
        let Ok(published) = read.to_json() else { return self.give_up(event, filler).await };
        let (names, layouts): (Vec<&str>, Vec<&Layout>) = read.layouts().unzip();
        let keys: Vec<String> = names.iter().map(|name| keys::copy_of_layout(event, name)).collect();
        let lasting = millis(LAYOUTS_KEPT_FOR);
        let missing: Vec<usize> = self.redis.run(&self.last_longer, keys.clone(), vec![lasting.into()]).await?;
        for (key, layout) in missing.into_iter().filter_map(|at| Some((keys.get(at)?, layouts.get(at)?))) {
            let bytes = Value::Bytes(deflated(layout).into());
            let set = self.redis.pool.next().set::<(), _, _>(key, bytes, Some(Expiration::PX(lasting)), None, false);
            within_deadline(set).await?;
        }
        let version = i64::try_from(read.version()).unwrap_or(i64::MAX);
        self.fill(event, filler, version.into(), &published, KEPT_FOR).await
    }

    /// Remembers that there is no such event.
    ///
    /// # Errors
    /// When Redis gives no usable answer; the next one looks for it then.
    pub async fn keep_unknown(&self, event: &EventId, filler: &Filler) -> Result<(), RedisError> {
        self.fill(event, filler, 0.into(), "", UNKNOWN_FOR).await
    }

    /// Lets another one fill what could not be read.
    ///
    /// # Errors
    /// When Redis gives no usable answer; [`FILLING`] ends it then.
    pub async fn give_up(&self, event: &EventId, filler: &Filler) -> Result<(), RedisError> {
        self.fill(event, filler, "".into(), "", UNKNOWN_FOR).await
    }

    async fn fill(
        &self,
        event: &EventId,
        filler: &Filler,
        version: Value,
        published: &str,
        lasting: Duration,
    ) -> Result<(), RedisError> {
        let args = vec![filler.0.as_str().into(), version, published.into(), millis(lasting).into()];
        self.redis.run::<i64>(&self.keep, keys::copy_of_event(event).into(), args).await.map(|_| ())
    }
}
