//! Seats on their way off sale: whatever is free of them is claimed for as long as DynamoDB takes to block it, so that
//! nobody is promised one meanwhile.

use fred::types::Value;

use super::sections::{integer, kind};
use super::{Redis, RedisError, Script, keys, script};
use crate::domain::event::{Event, Seat, Section};
use crate::domain::ids::ReservationId;

/// How long such a claim lasts, in ms: longer than a request.
const LEASE_MS: i64 = 30_000;

/// What claiming seats for a block says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// What is free is claimed.
    Done {
        /// Redis' time, in milliseconds since the epoch.
        now_ms: i64,
        /// Which of the seats others have, by position.
        others: Vec<usize>,
    },
    /// Redis knows a newer publication: read the event again.
    Stale,
    /// The section has to be loaded first.
    Cold,
}

/// Claims seats for blocks. Cheap to clone.
#[derive(Clone)]
pub struct Blocking {
    redis: Redis,
    claim: Script,
}

impl Blocking {
    /// Over these connections.
    pub fn new(redis: Redis) -> Self {
        Self { redis, claim: script!("block.lua") }
    }

    /// Claims what is free of `seats`, all of one section, for a chunk of a block: one command.
    ///
    /// # Errors
    /// When Redis gives no usable answer; what was claimed ends with its lease.
    pub async fn claim(
        &self,
        event: &Event,
        section: &Section,
        chunk: &ReservationId,
        seats: &[Seat],
    ) -> Result<Claimed, RedisError> {
        let mut keys = vec![keys::event(&event.id)];
        keys.extend(keys::section_keys(&event.id, section.id.as_str()));
        let mut args: Vec<Value> =
            vec![integer(event.version), chunk.uuid().into(), LEASE_MS.into(), kind(section).into()];
        args.extend(seats.iter().map(|seat| Value::from(i64::from(seat.number))));
        let reply: Vec<String> = self.redis.run(&self.claim, keys, args).await?;
        let unexpected = || RedisError::Unexpected(reply.join(" "));
        match reply.first().map(String::as_str) {
            Some("stale") => Ok(Claimed::Stale),
            Some("cold") => Ok(Claimed::Cold),
            Some("ok") => {
                let now_ms = reply.get(1).and_then(|now| now.parse().ok()).ok_or_else(unexpected)?;
                let others =
                    reply[2..].iter().map(|at| at.parse()).collect::<Result<_, _>>().map_err(|_| unexpected())?;
                Ok(Claimed::Done { now_ms, others })
            }
            _ => Err(unexpected()),
        }
    }
}
