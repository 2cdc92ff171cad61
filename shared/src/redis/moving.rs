//! Changes of a reservation are announced before DynamoDB is asked and told afterwards. What was announced and never told
//! is how a death in between shows, and what the healing job goes by.

use super::{Redis, RedisError, Script, keys, script};
use crate::domain::ids::{EventId, ReservationId};

/// How long a change may stay announced before somebody looks after it, in ms: longer than any invocation of the API.
pub const SETTLED_MS: i64 = 20_000;
/// Announcements looked after at a time.
pub const MAX_MOVING: usize = 100;

/// A change that was announced and not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Of which reservation.
    pub id: ReservationId,
    /// Tells this announcement from later ones.
    pub token: Token,
}

/// What should have been told of an event, and was not yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// How long its oldest undecided claim has been waiting, in ms; 0 = none is.
    pub undecided_ms: i64,
    /// Changes.
    pub announced: Vec<Announced>,
}

/// Tells one announcement of a reservation's changes from another. Empty = nothing was announced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Token(pub(super) String);

/// Reads announcements. Cheap to clone.
#[derive(Clone)]
pub struct Moving {
    redis: Redis,
    read: Script,
    drop: Script,
}

impl Moving {
    /// Announcements over these connections.
    pub fn new(redis: Redis) -> Self {
        Self { redis, read: script!("moving.lua"), drop: script!("drop_moving.lua") }
    }

    /// What was announced at least [`SETTLED_MS`] ago, the oldest first, at most [`MAX_MOVING`]; and how long the event's
    /// oldest undecided claim waits.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn waiting(&self, event: &EventId) -> Result<Waiting, RedisError> {
        let args = vec![SETTLED_MS.into(), (MAX_MOVING as i64).into()];
        let keys = vec![keys::moving(event), keys::undecided(event), keys::event(event)];
        let reply: Vec<String> = self.redis.run(&self.read, keys, args).await?;
        let unexpected = || RedisError::Unexpected(reply.join(" "));
        let (oldest, members) = reply.split_first().ok_or_else(unexpected)?;
        let announced = |member: &String| {
            let parts = member.split_once(':');
            let (uuid, token) = parts.ok_or_else(|| RedisError::Unexpected(member.clone()))?;
            let id = ReservationId::of(event, uuid).map_err(|error| RedisError::Unexpected(error.to_string()))?;
            Ok(Announced { id, token: Token(token.to_owned()) })
        };
        let undecided_ms = oldest.parse().map_err(|_| unexpected())?;
        Ok(Waiting { undecided_ms, announced: members.iter().map(announced).collect::<Result<_, _>>()? })
    }

    /// Forgets an announcement of which nothing came.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn forget(&self, announced: &Announced) -> Result<(), RedisError> {
        let args = vec![announced.id.uuid().into(), announced.token.0.as_str().into()];
        let keys = vec![keys::moving(&announced.id.event())];
        self.redis.run::<i64>(&self.drop, keys, args).await.map(|_| ())
    }
}
