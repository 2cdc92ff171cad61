//! How Redis learns of an event: by its publication, or, when a section is cold, by loading what DynamoDB holds of it.

use fred::types::Value;

use super::sections::{kind, terms};
use super::{Redis, RedisError, Script, keys, script};
use crate::domain::event::{Event, Section, TakenSeat, TakenState};
use crate::domain::ids::EventId;

/// What a step of a load says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Done; go on.
    Ok,
    /// The section is loaded already.
    Loaded,
    /// Redis has lost this load (a flush, or another loader): start over.
    Lost,
}

/// Makes events and sections known to Redis. Cheap to clone.
#[derive(Clone)]
pub struct Loading {
    redis: Redis,
    load: Script,
    announce: Script,
    publish: Script,
}

impl Loading {
    /// Loading over these connections.
    pub fn new(redis: Redis) -> Self {
        Self { redis, load: script!("load.lua"), announce: script!("announce.lua"), publish: script!("publish.lua") }
    }

    /// Announces a first publication, before it is made, under a nonce of its publisher.
    ///
    /// # Errors
    /// When Redis gives no usable answer; the publication's sections are then loaded when they are first asked for.
    pub async fn announce(&self, event: &EventId, nonce: &str) -> Result<(), RedisError> {
        self.redis.run::<i64>(&self.announce, vec![keys::event(event)], vec![nonce.into()]).await.map(|_| ())
    }

    /// Makes a publication known, if it is newer than what Redis knows; a first one marks its sections loaded, if it was
    /// announced under this nonce and nothing was lost since.
    ///
    /// # Errors
    /// When Redis gives no usable answer. The next claim brings the version along.
    pub async fn publish(&self, event: &Event, announced: Option<&str>) -> Result<(), RedisError> {
        let mut keys = vec![keys::event(&event.id)];
        keys.extend(event.sections.iter().map(|section| keys::claims(&event.id, section.id.as_str())));
        let mut args: Vec<Value> = terms(event).into();
        args.push(announced.unwrap_or_default().into());
        self.redis.run::<i64>(&self.publish, keys, args).await.map(|_| ())
    }

    /// Begins a load under a nonce.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn begin(&self, event: &Event, section: &Section, nonce: &str) -> Result<Step, RedisError> {
        self.step(event, section, "begin", nonce, Vec::new()).await
    }

    /// Adds what one partition holds: at most [`crate::domain::layout::SEATS_PER_PARTITION`] seats.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn add(
        &self,
        event: &Event,
        section: &Section,
        nonce: &str,
        seats: &[TakenSeat],
    ) -> Result<Step, RedisError> {
        let mut args: Vec<Value> = Vec::with_capacity(4 * seats.len());
        for seat in seats {
            let (state, owner, expiry) = match &seat.state {
                TakenState::Held { owner, expires_at_ms } => ("held", owner.as_str(), *expires_at_ms),
                TakenState::Sold { owner } => ("sold", owner.as_str(), 0),
                TakenState::Blocked { owner } => ("blocked", owner.as_str(), 0),
            };
            args.extend([i64::from(seat.number).into(), state.into(), owner.into(), expiry.into()]);
        }
        self.step(event, section, "add", nonce, args).await
    }

    /// Ends the load: the section sells again.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn end(&self, event: &Event, section: &Section, nonce: &str) -> Result<Step, RedisError> {
        self.step(event, section, "end", nonce, Vec::new()).await
    }

    async fn step(
        &self,
        event: &Event,
        section: &Section,
        step: &str,
        nonce: &str,
        seats: Vec<Value>,
    ) -> Result<Step, RedisError> {
        let keys = keys::section_keys(&event.id, section.id.as_str()).into();
        let mut args: Vec<Value> = vec![step.into(), nonce.into(), kind(section).into()];
        args.extend(seats);
        let reply: String = self.redis.run(&self.load, keys, args).await?;
        match reply.as_str() {
            "ok" => Ok(Step::Ok),
            "loaded" => Ok(Step::Loaded),
            "lost" => Ok(Step::Lost),
            _ => Err(RedisError::Unexpected(reply)),
        }
    }
}
