//! The claim: one script takes every seat of a request or none, and writes the record that a retry will find. The lock is
//! the hold: its lease runs out by itself, and only a definite failure to produce gives it back (invariant 4).

use fred::types::Value;

use super::{Redis, RedisError, Script, keys};
use crate::domain::event::{Event, Seat};
use crate::domain::ids::{CustomerId, ReservationId};
use crate::domain::reservation::Decision;
use crate::message::{Draft, Request};

/// How long a record lives, in seconds: a day, so that a retry after any crash finds its first attempt.
pub const RECORD_SECONDS: i64 = 86_400;
/// Attempts under one key before it is refused: a client in a loop must not produce for ever.
pub const MAX_ATTEMPTS: i64 = 256;
/// Claims granted to one customer of an event within one minute. People click less; hoarders do not.
pub const MAX_CLAIMS_PER_MINUTE: i64 = 60;

/// What is to be claimed.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The event as the caller knows it.
    pub event: &'a Event,
    /// Whether the caller has just read it past every lag. Where Redis knows nothing of the event, nothing else will do.
    pub fresh: bool,
    /// The attempt.
    pub id: &'a ReservationId,
    /// Whose it is.
    pub customer: &'a CustomerId,
    /// Tells another body under the same key.
    pub fingerprint: &'a str,
    /// All or nothing.
    pub seats: &'a [Seat],
    /// The message the record will hold, to be completed with the script's times.
    pub draft: &'a Draft,
}

/// What the claim script says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The seats are claimed, now or by an earlier attempt: produce this message.
    Granted {
        /// The message's value, byte for byte.
        message: String,
        /// How many attempts this record has seen; 1 = this one made the claim.
        attempts: u32,
        /// Redis' time, in milliseconds since the epoch.
        now_ms: i64,
    },
    /// An earlier attempt's claim has ended and no outcome is recorded: look at what is stored, or close it.
    Ended {
        /// The message's value.
        message: String,
        /// Redis' time, in milliseconds since the epoch.
        now_ms: i64,
    },
    /// The attempt is decided already.
    Decided {
        /// The message's value.
        message: String,
        /// What became of it.
        outcome: Decision,
        /// Redis' time, in milliseconds since the epoch.
        now_ms: i64,
    },
    /// The record is gone, but this reservation owns one of the seats: its row answers.
    Own {
        /// Redis' time, in milliseconds since the epoch.
        now_ms: i64,
    },
    /// Another body was sent under this key.
    KeyReused {
        /// Redis' time, in milliseconds since the epoch.
        now_ms: i64,
    },
    /// More than [`MAX_ATTEMPTS`] under this key.
    TooManyAttempts,
    /// More than [`MAX_CLAIMS_PER_MINUTE`] of this customer.
    TooManyClaims,
    /// Redis knows a newer publication, or nothing at all: read the event again.
    Stale,
    /// These sections (by id) have to be loaded first.
    Cold(Vec<String>),
    /// The sale has not begun.
    NotOpen {
        /// When it will, in milliseconds since the epoch.
        opens_at_ms: i64,
    },
    /// The sale is over, by its window or its organiser.
    Closed,
    /// The organiser has paused the sale.
    Paused,
    /// Somebody has one of the seats.
    Taken {
        /// Which of the seats asked for, by position.
        taken: Vec<usize>,
        /// Which of those are held by this very customer.
        held_by_you: Vec<usize>,
    },
    /// The customer would have more live seats than the event allows.
    LimitReached {
        /// The limit.
        limit: u32,
    },
}

/// Claims seats. Cheap to clone.
#[derive(Clone)]
pub struct Claims {
    redis: Redis,
    claim: Script,
    give_back: Script,
}

impl Claims {
    /// Claims over these connections.
    pub fn new(redis: Redis) -> Self {
        Self {
            redis,
            claim: Script::new(include_str!("scripts/claim.lua")),
            give_back: Script::new(include_str!("scripts/give_back.lua")),
        }
    }

    /// Claims all seats or none: one command.
    ///
    /// # Errors
    /// When Redis gives no usable answer; the claim may have been granted then, and a retry will find it.
    pub async fn claim(&self, claim: Claim<'_>) -> Result<Claimed, RedisError> {
        let Claim { event, fresh, id, customer, fingerprint, seats, draft } = claim;
        let sections = SectionsOf::new(seats);
        let mut keys = vec![keys::event(&event.id), keys::record(id), keys::customer(&event.id, customer)];
        for section in &sections.ids {
            keys.push(keys::claims(&event.id, section));
            keys.push(keys::taken(&event.id, section));
        }
        let document = &event.document;
        let mut args: Vec<Value> = vec![
            integer(event.version),
            document.state.as_str().into(),
            document.sale.opens_at.as_millisecond().into(),
            document.sale.closes_at.as_millisecond().into(),
            document.max_per_customer.map_or_else(|| "".into(), |limit| i64::from(limit).into()),
            id.uuid().into(),
            fingerprint.into(),
            (i64::from(document.hold_seconds) * 1_000).into(),
            draft.open_json().into(),
            RECORD_SECONDS.into(),
            MAX_ATTEMPTS.into(),
            MAX_CLAIMS_PER_MINUTE.into(),
            i64::from(fresh).into(),
        ];
        for seat in seats {
            args.push(sections.index(seat));
            args.push(i64::from(seat.number).into());
        }
        let reply: Vec<String> = self.redis.run(&self.claim, keys, args).await?;
        read_reply(&reply, &sections).ok_or_else(|| RedisError::Unexpected(reply.first().cloned().unwrap_or_default()))
    }

    /// Gives back what this attempt claimed, after a produce that definitely failed. Answers whether it did: not when
    /// another attempt has joined, nor when the record is a later one.
    ///
    /// # Errors
    /// When Redis gives no usable answer; the claim then ends with its lease.
    pub async fn give_back(&self, request: &Request) -> Result<bool, RedisError> {
        let event = request.reservation_id.event();
        let sections = SectionsOf::new(&request.seats);
        let mut keys = vec![keys::record(&request.reservation_id), keys::customer(&event, &request.customer)];
        keys.extend(sections.ids.iter().map(|section| keys::claims(&event, section)));
        let mut args: Vec<Value> = vec![request.reservation_id.uuid().into(), request.held_at_ms.into()];
        for seat in &request.seats {
            args.push(sections.index(seat));
            args.push(i64::from(seat.number).into());
        }
        self.redis.run(&self.give_back, keys, args).await
    }
}

/// The distinct sections of a request's seats, in order of appearance: scripts take keys by section, seats by index.
pub(super) struct SectionsOf<'a> {
    pub(super) ids: Vec<&'a str>,
}

impl<'a> SectionsOf<'a> {
    pub(super) fn new(seats: &'a [Seat]) -> Self {
        let mut ids: Vec<&str> = Vec::new();
        for seat in seats {
            if !ids.contains(&seat.id.section()) {
                ids.push(seat.id.section());
            }
        }
        Self { ids }
    }

    pub(super) fn index(&self, seat: &Seat) -> Value {
        let at = self.ids.iter().position(|id| *id == seat.id.section()).unwrap_or(0);
        (at as i64).into()
    }
}

pub(super) fn integer(number: u64) -> Value {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}

fn read_reply(reply: &[String], sections: &SectionsOf<'_>) -> Option<Claimed> {
    let text = |at: usize| reply.get(at).cloned();
    let number = |at: usize| reply.get(at)?.parse().ok();
    Some(match reply.first()?.as_str() {
        "granted" => Claimed::Granted { message: text(1)?, attempts: reply.get(2)?.parse().ok()?, now_ms: number(3)? },
        "ended" => Claimed::Ended { message: text(1)?, now_ms: number(2)? },
        "decided" => {
            Claimed::Decided { message: text(1)?, outcome: Decision::from_json(reply.get(2)?)?, now_ms: number(3)? }
        }
        "own" => Claimed::Own { now_ms: number(1)? },
        "reused" => Claimed::KeyReused { now_ms: number(1)? },
        "too-many-attempts" => Claimed::TooManyAttempts,
        "too-many-claims" => Claimed::TooManyClaims,
        "stale" => Claimed::Stale,
        "cold" => {
            let named = reply.iter().skip(1).filter_map(|index| sections.ids.get(index.parse::<usize>().ok()?));
            Claimed::Cold(named.map(ToString::to_string).collect())
        }
        "sale-not-open" => Claimed::NotOpen { opens_at_ms: number(1)? },
        "sale-closed" => Claimed::Closed,
        "sale-paused" => Claimed::Paused,
        "taken" => Claimed::Taken { taken: positions(reply.get(1)?), held_by_you: positions(reply.get(2)?) },
        "limit-reached" => Claimed::LimitReached { limit: reply.get(1)?.parse().ok()? },
        _ => return None,
    })
}

fn positions(list: &str) -> Vec<usize> {
    list.split(',').filter_map(|position| position.parse().ok()).collect()
}
