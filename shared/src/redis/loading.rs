//! How Redis learns of an event: by its publication, or, when a section is cold, by loading what DynamoDB holds of it.

use fred::types::Value;

use super::claims::integer;
use super::{Redis, RedisError, Script, keys};
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
        Self {
            redis,
            load: Script::new(include_str!("scripts/load.lua")),
            announce: Script::new(include_str!("scripts/announce.lua")),
            publish: Script::new(include_str!("scripts/publish.lua")),
        }
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
        let document = &event.document;
        let args: Vec<Value> = vec![
            integer(event.version),
            document.state.as_str().into(),
            document.sale.opens_at.as_millisecond().into(),
            document.sale.closes_at.as_millisecond().into(),
            document.max_per_customer.map_or_else(|| "".into(), |limit| i64::from(limit).into()),
            announced.unwrap_or_default().into(),
        ];
        self.redis.run::<i64>(&self.publish, keys, args).await.map(|_| ())
    }

    /// Begins a load under a nonce.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn begin(&self, event: &Event, section: &Section, nonce: &str) -> Result<Step, RedisError> {
        self.step(event, section, vec!["begin".into(), nonce.into()]).await
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
        let mut args: Vec<Value> = vec!["add".into(), nonce.into()];
        for seat in seats {
            let (state, owner, expiry) = match &seat.state {
                TakenState::Held { owner, expires_at_ms } => ("held", owner.as_str(), *expires_at_ms),
                TakenState::Sold => ("sold", "", 0),
                TakenState::Blocked => ("blocked", "", 0),
            };
            args.extend([i64::from(seat.number).into(), state.into(), owner.into(), expiry.into()]);
        }
        self.step(event, section, args).await
    }

    /// Ends the load: the section sells again.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn end(&self, event: &Event, section: &Section, nonce: &str) -> Result<Step, RedisError> {
        self.step(event, section, vec!["end".into(), nonce.into()]).await
    }

    async fn step(&self, event: &Event, section: &Section, args: Vec<Value>) -> Result<Step, RedisError> {
        let id = section.id.as_str();
        let keys = vec![keys::claims(&event.id, id), keys::taken(&event.id, id), keys::blocked(&event.id, id)];
        let reply: String = self.redis.run(&self.load, keys, args).await?;
        match reply.as_str() {
            "ok" => Ok(Step::Ok),
            "loaded" => Ok(Step::Loaded),
            "lost" => Ok(Step::Lost),
            _ => Err(RedisError::Unexpected(reply)),
        }
    }
}
