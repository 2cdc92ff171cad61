//! The claim: one script takes every seat of a request or none, and writes the record that a retry will find. The lock is
//! the hold: its lease runs out by itself, and only a definite failure to produce gives it back (invariant 4).

use fred::types::Value;

use super::sections::{Sections, terms};
use super::{LAG_GATE_AGE_MS, Redis, RedisError, Script, keys, script};
use crate::domain::event::{Event, Seat, Section};
use crate::domain::ids::{CustomerId, ReservationId};
use crate::domain::reservation::Told;
use crate::message::{Draft, Request};

/// How long a record lives, in seconds: a day, so that a retry after any crash finds its first attempt.
pub const RECORD_SECONDS: i64 = 86_400;
/// Attempts under one key before it is refused: a client in a loop must not produce for ever.
pub const MAX_ATTEMPTS: i64 = 256;
/// Claims granted to one customer of an event within one minute. People click less; hoarders do not.
pub const MAX_CLAIMS_PER_MINUTE: i64 = 60;

/// Claims of one event that have to be waiting too long before new ones are refused: a few lost messages close no sale.
pub const LAG_GATE_CLAIMS: i64 = 100;

/// Expired claims a draw of places looks at: more than it can need, and each claim is looked at once.
const MAX_HARVEST: i64 = 100;

/// What is to be taken, all or nothing.
#[derive(Debug, Clone, Copy)]
pub enum Choice<'a> {
    /// These seats.
    Seats(&'a [Seat]),
    /// The first of these options that is wholly free.
    Best {
        /// Of this section.
        section: &'a Section,
        /// The best first. None at all still finds an earlier attempt of the key.
        options: &'a [Vec<Seat>],
    },
    /// So many places of a general section, whichever are free.
    Places {
        /// Of this section.
        section: &'a Section,
        /// How many.
        quantity: u32,
        /// Where to begin while a loaded section's messages may still be under way.
        random: u32,
    },
}

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
    /// Whether its message goes to Kafka: then it waits to be decided, and is refused while too many wait too long.
    pub queued: bool,
    /// What to take.
    pub choice: Choice<'a>,
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
        /// What is told of it.
        told: Told,
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
        /// Which of those are this very customer's.
        held_by_you: Vec<usize>,
    },
    /// So many are not to be had, whoever gives back what he only holds.
    SoldOut {
        /// How many might still be had.
        left: u32,
    },
    /// What is not sold is held by others, or they were quicker; some may come back.
    Contended {
        /// How many places are free, where places were asked for.
        free: Option<u32>,
    },
    /// At least [`LAG_GATE_CLAIMS`] wait for longer than [`LAG_GATE_AGE_MS`](super::LAG_GATE_AGE_MS), or half their lease, to
    /// be decided: this one might end before it was its turn.
    Lagging,
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
        Self { redis, claim: script!("claim.lua"), give_back: script!("give_back.lua") }
    }

    /// Claims all seats or none: one command.
    ///
    /// # Errors
    /// When Redis gives no usable answer; the claim may have been granted then, and a retry will find it.
    pub async fn claim(&self, claim: Claim<'_>) -> Result<Claimed, RedisError> {
        let Claim { event, fresh, id, customer, fingerprint, queued, choice, draft } = claim;
        let sections = match choice {
            Choice::Seats(seats) => Sections::of_seats(seats),
            Choice::Best { section, .. } | Choice::Places { section, .. } => Sections::one(section),
        };
        let mut keys = vec![
            keys::event(&event.id),
            keys::record(id),
            keys::customer(&event.id, customer),
            keys::undecided(&event.id),
        ];
        keys.extend(sections.keys(&event.id));
        let mut args: Vec<Value> = terms(event).into();
        args.extend([
            id.uuid().into(),
            fingerprint.into(),
            draft.open_json().into(),
            RECORD_SECONDS.into(),
            MAX_ATTEMPTS.into(),
            MAX_CLAIMS_PER_MINUTE.into(),
            i64::from(fresh).into(),
            if queued { LAG_GATE_CLAIMS } else { 0 }.into(),
            LAG_GATE_AGE_MS.into(),
            sections.kinds.as_str().into(),
            sections.labels().into(),
        ]);
        match choice {
            Choice::Seats(seats) => push_options(&mut args, "seats", &sections, [seats]),
            Choice::Best { options, .. } => {
                push_options(&mut args, "best", &sections, options.iter().map(Vec::as_slice));
            }
            Choice::Places { section, quantity, random } => {
                let how = ["places".into(), i64::from(quantity).into(), i64::from(random).into(), MAX_HARVEST.into()];
                args.extend::<[Value; 4]>(how);
                for run in section.layout.runs() {
                    args.extend([run.first, run.length, run.serial].map(|number| Value::from(i64::from(number))));
                }
            }
        }
        let reply: Vec<String> = self.redis.run(&self.claim, keys, args).await?;
        read_reply(&reply).ok_or_else(|| RedisError::Unexpected(reply.first().cloned().unwrap_or_default()))
    }

    /// Gives back what this attempt claimed, after a produce that definitely failed. Answers whether it did: not when
    /// another attempt has joined, nor when the record is a later one.
    ///
    /// # Errors
    /// When Redis gives no usable answer; the claim then ends with its lease.
    pub async fn give_back(&self, request: &Request) -> Result<bool, RedisError> {
        let event = request.reservation_id.event();
        let sections = Sections::of_seats(&request.seats);
        let mut keys = vec![
            keys::record(&request.reservation_id),
            keys::customer(&event, &request.customer),
            keys::undecided(&event),
        ];
        keys.extend(sections.keys(&event));
        let id = request.reservation_id.uuid();
        let mut args: Vec<Value> = vec![id.into(), request.held_at_ms.into(), sections.kinds.as_str().into()];
        for seat in &request.seats {
            args.push(sections.index(seat));
            args.push(i64::from(seat.number).into());
        }
        self.redis.run(&self.give_back, keys, args).await
    }
}

fn push_options<'a>(
    args: &mut Vec<Value>,
    how: &str,
    sections: &Sections<'_>,
    options: impl IntoIterator<Item = &'a [Seat], IntoIter: ExactSizeIterator>,
) {
    let options = options.into_iter();
    args.extend([how.into(), (options.len() as i64).into()]);
    for seats in options {
        args.extend([serde_json::to_string(seats).unwrap_or_default().into(), (seats.len() as i64).into()]);
        for seat in seats {
            args.extend([sections.index(seat), i64::from(seat.number).into()]);
        }
    }
}

fn read_reply(reply: &[String]) -> Option<Claimed> {
    let text = |at: usize| reply.get(at).cloned();
    let number = |at: usize| reply.get(at)?.parse().ok();
    Some(match reply.first()?.as_str() {
        "granted" => Claimed::Granted { message: text(1)?, attempts: reply.get(2)?.parse().ok()?, now_ms: number(3)? },
        "ended" => Claimed::Ended { message: text(1)?, now_ms: number(2)? },
        "decided" => Claimed::Decided { message: text(1)?, told: Told::from_json(reply.get(2)?)?, now_ms: number(3)? },
        "own" => Claimed::Own { now_ms: number(1)? },
        "reused" => Claimed::KeyReused { now_ms: number(1)? },
        "too-many-attempts" => Claimed::TooManyAttempts,
        "too-many-claims" => Claimed::TooManyClaims,
        "stale" => Claimed::Stale,
        "cold" => Claimed::Cold(reply[1..].to_vec()),
        "sale-not-open" => Claimed::NotOpen { opens_at_ms: number(1)? },
        "sale-closed" => Claimed::Closed,
        "sale-paused" => Claimed::Paused,
        "lagging" => Claimed::Lagging,
        "taken" => Claimed::Taken { taken: positions(reply.get(1)?), held_by_you: positions(reply.get(2)?) },
        "sold-out" => Claimed::SoldOut { left: reply.get(1)?.parse().ok()? },
        "contended" => Claimed::Contended { free: reply.get(1).and_then(|free| free.parse().ok()) },
        "limit-reached" => Claimed::LimitReached { limit: reply.get(1)?.parse().ok()? },
        _ => return None,
    })
}

fn positions(list: &str) -> Vec<usize> {
    list.split(',').filter_map(|position| position.parse().ok()).collect()
}
