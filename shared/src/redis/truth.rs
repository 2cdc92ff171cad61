//! Truth flows back: whoever has DynamoDB's answer in hand writes it into Redis. Failing to is no failure of the message:
//! the claim ends with its lease, and the condition decides again.

use fred::types::Value;

use super::claims::SectionsOf;
use super::{Redis, RedisError, Script, keys};
use crate::domain::event::Seat;
use crate::domain::ids::{CustomerId, ReservationId};
use crate::domain::reservation::Decision;

/// What is stored of a seat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeatState {
    /// Held by this reservation until then (ms since the epoch).
    Held {
        /// The owner.
        owner: ReservationId,
        /// End of the hold.
        expires_at_ms: i64,
    },
    /// Sold, or taken off sale.
    Sold,
    /// Not this reservation's: whatever it has claimed of the seat goes.
    Free,
}

/// What is known of a reservation after DynamoDB has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// Which reservation.
    pub id: ReservationId,
    /// Whose it is.
    pub customer: CustomerId,
    /// Its outcome, for the record.
    pub outcome: Decision,
    /// Until when it counts for its customer (ms since the epoch; 0 = for good) and how many seats; `None` = no longer.
    pub counts: Option<(i64, usize)>,
    /// The seats, each with what is stored of it.
    pub seats: Vec<(Seat, SeatState)>,
}

/// Writes truths. Cheap to clone.
#[derive(Clone)]
pub struct Truths {
    redis: Redis,
    write: Script,
}

impl Truths {
    /// Truths over these connections.
    pub fn new(redis: Redis) -> Self {
        Self { redis, write: Script::new(include_str!("scripts/truth.lua")) }
    }

    /// Writes a truth: one command.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn write(&self, truth: &Truth) -> Result<(), RedisError> {
        let event = truth.id.event();
        let seats: Vec<Seat> = truth.seats.iter().map(|(seat, _)| seat.clone()).collect();
        let sections = SectionsOf::new(&seats);
        let mut keys = vec![keys::record(&truth.id), keys::customer(&event, &truth.customer), keys::dirty(&event)];
        for section in &sections.ids {
            keys.push(keys::claims(&event, section));
            keys.push(keys::taken(&event, section));
        }
        let entry = truth.counts.map_or_else(String::new, |(until, seats)| format!("{until}:{seats}"));
        let mut args: Vec<Value> = vec![truth.id.uuid().into(), truth.outcome.to_json().into(), entry.into()];
        for (seat, state) in &truth.seats {
            let (name, owner, expiry) = match state {
                SeatState::Held { owner, expires_at_ms } => ("held", owner.uuid(), *expires_at_ms),
                SeatState::Sold => ("sold", truth.id.uuid(), 0),
                SeatState::Free => ("free", truth.id.uuid(), 0),
            };
            args.push(sections.index(seat));
            args.push(seat.id.section().into());
            args.push(i64::from(seat.number).into());
            args.push(name.into());
            args.push(owner.into());
            args.push(expiry.into());
        }
        self.redis.run::<i64>(&self.write, keys, args).await.map(|_| ())
    }
}
