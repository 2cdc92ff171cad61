//! Truth flows back: whoever has DynamoDB's answer in hand writes it into Redis. Failing to is no failure of the message:
//! the claim ends with its lease, and the condition decides again.

use fred::types::Value;

use super::moving::Token;
use super::sections::Sections;
use super::{Redis, RedisError, Script, keys, script};
use crate::domain::event::Seat;
use crate::domain::ids::{CustomerId, ReservationId};
use crate::domain::reservation::{Status, Told};

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
    /// Sold to this reservation.
    Sold {
        /// The owner.
        owner: ReservationId,
    },
    /// Taken off sale by this chunk of a block.
    Blocked {
        /// The chunk.
        owner: ReservationId,
    },
    /// Not this reservation's: whatever it has claimed of the seat goes.
    Free,
    /// This reservation had it for good, and has given it up.
    Freed,
}

/// What is known of a reservation after DynamoDB has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// Which reservation.
    pub id: ReservationId,
    /// Whose it is.
    pub customer: CustomerId,
    /// What is told of it from now on.
    pub told: Told,
    /// When its hold ends or ended, in milliseconds since the epoch; 0 = it is none.
    pub ends_at_ms: i64,
    /// The seats, each with what is stored of it.
    pub seats: Vec<(Seat, SeatState)>,
}

impl Truth {
    /// What stands for the customer under this reservation: the seats that count for him, until when (ms since the epoch; 0 = for
    /// good), and as what; empty = nothing.
    pub fn entry(&self) -> String {
        let (until_ms, kind) = match self.told.status() {
            Status::Held => (self.ends_at_ms, 'h'),
            Status::Confirmed => (0, 's'),
            Status::Pending | Status::Rejected | Status::Cancelled | Status::Expired => return String::new(),
        };
        let mine = self.seats.iter().filter(|(_, state)| match state {
            SeatState::Held { owner, .. } | SeatState::Sold { owner } => *owner == self.id,
            SeatState::Blocked { .. } | SeatState::Free | SeatState::Freed => false,
        });
        let ids: Vec<&str> = mine.map(|(seat, _)| seat.id.as_str()).collect();
        if ids.is_empty() { String::new() } else { format!("{until_ms}:{}:{kind}:{}", ids.len(), ids.join(",")) }
    }
}

/// Who tells a truth, and so how much it can know of what came after.
#[derive(Debug, Clone, Copy)]
enum Teller {
    /// Whoever made the change, just now.
    Maker,
    /// Who has read what is stored of the seats anew.
    Healer,
    /// Who met a row that may be of long ago.
    Replay,
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
        Self { redis, write: script!("truth.lua") }
    }

    /// Writes the truth of a row that was met, however long ago it was written: one command.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn write(&self, truth: &Truth) -> Result<(), RedisError> {
        self.send(truth, &Token::default(), Teller::Replay).await
    }

    /// Writes the truth of a change that was announced under `token`.
    ///
    /// # Errors
    /// When Redis gives no usable answer; the announcement stays.
    pub async fn settle(&self, truth: &Truth, token: &Token) -> Result<(), RedisError> {
        self.send(truth, token, Teller::Maker).await
    }

    /// Writes a truth whose seats were read anew, and settles the announcement of its maker, who did not.
    ///
    /// # Errors
    /// When Redis gives no usable answer; the announcement stays.
    pub async fn heal(&self, truth: &Truth, token: &Token) -> Result<(), RedisError> {
        self.send(truth, token, Teller::Healer).await
    }

    async fn send(&self, truth: &Truth, token: &Token, teller: Teller) -> Result<(), RedisError> {
        let teller = match teller {
            Teller::Maker => "maker",
            Teller::Healer => "healer",
            Teller::Replay => "replay",
        };
        let Truth { id, customer, told, ends_at_ms, seats } = truth;
        let event = id.event();
        let sections = Sections::of_seats(seats.iter().map(|(seat, _)| seat));
        let mut keys = vec![
            keys::record(id),
            keys::customer(&event, customer),
            keys::dirty(&event),
            keys::moving(&event),
            keys::undecided(&event),
        ];
        keys.extend(sections.keys(&event));
        let mut args: Vec<Value> = vec![
            id.uuid().into(),
            told.to_json().into(),
            i64::from(told.status().rank()).into(),
            (*ends_at_ms).into(),
            truth.entry().into(),
            token.0.as_str().into(),
            teller.into(),
            sections.kinds.as_str().into(),
        ];
        for (seat, state) in seats {
            let (name, owner, expiry) = match state {
                SeatState::Held { owner, expires_at_ms } => ("held", owner, *expires_at_ms),
                SeatState::Sold { owner } => ("sold", owner, 0),
                SeatState::Blocked { owner } => ("blocked", owner, 0),
                SeatState::Free => ("free", id, 0),
                SeatState::Freed => ("freed", id, 0),
            };
            args.extend([sections.index(seat), seat.id.section().into(), i64::from(seat.number).into()]);
            args.extend::<[Value; 3]>([name.into(), owner.uuid().into(), expiry.into()]);
        }
        self.redis.run::<i64>(&self.write, keys, args).await.map(|_| ())
    }
}
