//! The record: what Redis remembers of a reservation for a day. It is what a customer is told while no row exists yet, and
//! where every change begins.

use fred::types::Value;

use super::moving::Token;
use super::{Redis, RedisError, Script, keys, script};
use crate::causes::without_values;
use crate::domain::ids::{CustomerId, EventId, ReservationId, SeatId};
use crate::domain::reservation::Told;
use crate::message::Request;

/// How long a live claim is kept beyond now while its reservation is being changed, in ms; the expiry job leaves a hold
/// alone for as long after its end.
pub const GRACE_MS: i64 = 15_000;

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
    /// What is told of it, if it is decided.
    pub told: Option<Told>,
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
    ask: Script,
    mine: Script,
}

impl Records {
    /// Records over these connections.
    pub fn new(redis: Redis) -> Self {
        Self { redis, read: script!("record.lua"), ask: script!("ask.lua"), mine: script!("mine.lua") }
    }

    /// Looks at a record: one command.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn look(&self, id: &ReservationId) -> Result<Look, RedisError> {
        let keys = vec![keys::event(&id.event()), keys::record(id)];
        let reply: Vec<String> = self.redis.run(&self.read, keys, Vec::new()).await?;
        read(&reply)
    }

    /// Looks at a record in order to change its reservation: announces the change and keeps a live claim for
    /// [`GRACE_MS`]. `caller` = whose it must be; `None` = anybody's may be changed.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn ask(&self, id: &ReservationId, caller: Option<&CustomerId>) -> Result<(Look, Token), RedisError> {
        let event = id.event();
        let entry = match caller {
            Some(caller) => keys::customer(&event, caller),
            // No customer is called so: nothing stands there.
            None => keys::record(id),
        };
        let caller = caller.map_or("", CustomerId::as_str);
        let mut args: Vec<Value> = vec![id.uuid().into(), caller.into(), GRACE_MS.into()];
        args.extend(keys::section_patterns(&event).map(Value::from));
        let keys = vec![keys::event(&event), keys::record(id), keys::moving(&event), entry];
        let mut reply: Vec<String> = self.redis.run(&self.ask, keys, args).await?;
        let token = Token(reply.pop().unwrap_or_default());
        Ok((read(&reply)?, token))
    }

    /// What a customer has of an event, as far as Redis knows, and its time (ms since the epoch): one command.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn of_customer(&self, event: &EventId, customer: &CustomerId) -> Result<(Vec<Mine>, i64), RedisError> {
        let keys = vec![keys::customer(event, customer)];
        let reply: Vec<String> = self.redis.run(&self.mine, keys, Vec::new()).await?;
        let unexpected = || RedisError::Unexpected(reply.join(" "));
        let (now, entries) = reply.split_first().ok_or_else(unexpected)?;
        let read = |values: &[String]| mine(event, values).ok_or_else(unexpected);
        Ok((entries.chunks(3).map(read).collect::<Result<_, _>>()?, now.parse().map_err(|_| unexpected())?))
    }
}

/// How far a customer's seats have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Having {
    /// Claimed, and not decided yet.
    Claimed,
    /// Held.
    Held,
    /// Paid.
    Sold,
}

/// A reservation's seats as their customer has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mine {
    /// Which reservation.
    pub id: ReservationId,
    /// How far it has come.
    pub having: Having,
    /// Its seats.
    pub seats: Vec<SeatId>,
}

fn mine(event: &EventId, values: &[String]) -> Option<Mine> {
    let [uuid, kind, seats] = values else { return None };
    let having = match kind.as_str() {
        "c" => Having::Claimed,
        "h" => Having::Held,
        "s" => Having::Sold,
        _ => return None,
    };
    let seats = seats.split(',').map(SeatId::parse).collect::<Result<_, _>>().ok()?;
    Some(Mine { id: ReservationId::of(event, uuid).ok()?, having, seats })
}

fn read(reply: &[String]) -> Result<Look, RedisError> {
    let [now, since, message, told] = reply else {
        return Err(RedisError::Unexpected(format!("{} values for a record", reply.len())));
    };
    let number = |text: &str| text.parse().map_err(|_| RedisError::Unexpected(text.to_owned()));
    let request = match message.as_str() {
        "" => None,
        message => {
            Some(Request::from_value(message.as_bytes()).map_err(|e| RedisError::Unexpected(without_values(e)))?)
        }
    };
    Ok(Look { now_ms: number(now)?, since_ms: number(since)?, request, told: Told::from_json(told) })
}
