//! The record: what Redis remembers of a reservation for a day. It is what a customer is told while no row exists yet.

use super::{Redis, RedisError, Script, keys};
use crate::domain::ids::ReservationId;
use crate::domain::reservation::Decision;
use crate::message::Request;

/// What a look at a record brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Redis' time, in milliseconds since the epoch.
    pub now_ms: i64,
    /// Since when Redis has known everything of this event, in milliseconds since the epoch; 0 = from its first
    /// publication.
    pub since_ms: i64,
    /// The request, if there is a record.
    pub request: Option<Request>,
    /// Its outcome, if it is decided.
    pub outcome: Option<Decision>,
}

impl Look {
    /// Whether the absence of a record says anything: not while Redis may have forgotten what is still in Kafka.
    pub fn absence_is_known(&self) -> bool {
        self.since_ms == 0 || self.now_ms - self.since_ms > super::LAG_GATE_AGE_MS
    }
}

/// Reads records. Cheap to clone.
#[derive(Clone)]
pub struct Records {
    redis: Redis,
    read: Script,
}

impl Records {
    /// Records over these connections.
    pub fn new(redis: Redis) -> Self {
        Self { redis, read: Script::new(include_str!("scripts/record.lua")) }
    }

    /// Looks at a record: one command.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn look(&self, id: &ReservationId) -> Result<Look, RedisError> {
        let keys = vec![keys::event(&id.event()), keys::record(id)];
        let reply: Vec<String> = self.redis.run(&self.read, keys, Vec::new()).await?;
        let [now, since, message, outcome] = reply.as_slice() else {
            return Err(RedisError::Unexpected(format!("{} values for a record", reply.len())));
        };
        let number = |text: &str| text.parse().map_err(|_| RedisError::Unexpected(text.to_owned()));
        let request = match message.as_str() {
            "" => None,
            message => {
                Some(Request::from_value(message.as_bytes()).map_err(|e| RedisError::Unexpected(e.to_string()))?)
            }
        };
        Ok(Look { now_ms: number(now)?, since_ms: number(since)?, request, outcome: Decision::from_json(outcome) })
    }
}
