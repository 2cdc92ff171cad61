//! Sections as they are now: status per seat and counts, from one command that touches no key per seat.
//!
//! Who is sold or blocked is a bitmap, read as it is. Who is claimed takes time to count: 14 ms for 10,000 claims, during
//! which everybody else waits. So Redis keeps a count for a moment, and of all the processes that show a map, one a
//! [`SHARED_FOR`] has it made anew.

use std::time::Duration;

use fred::bytes::Bytes;
use fred::types::Value;

use super::{Redis, RedisError, Script, keys, millis, script};
use crate::domain::event::{Event, Section, TakenSeat, TakenState, Version};

/// Sections read by one command: so many of a usual size keep one at a few milliseconds where they are counted anew.
pub const SECTIONS_PER_READ: usize = 8;
/// How old a count may be that [`Look::Shared`] is content with.
pub const SHARED_FOR: Duration = Duration::from_millis(500);
/// A section is counted no more often than this for [`Look::Paced`], however many ask.
pub const PACE: Duration = Duration::from_millis(50);
/// How long Redis keeps a count: more is of use to nobody.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// Questions of one [`Look::Paced`]: the first may meet a count that is too young to be made anew and too old to do, the
/// second meets a newer one or makes it. If neither, Redis' clock was set, and it is counted whatever the pace.
const PACED_ROUNDS: usize = 2;

/// How new the claims in a map have to be. Sold and blocked seats are always read as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// At most [`SHARED_FOR`] old: for everybody who looks.
    Shared,
    /// Not older than the question, and counted every [`PACE`] at most: for who asks past every cache. May wait that long.
    Paced,
    /// Counted now: for who is about to claim.
    Anew,
}

/// Whether a seat can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Availability {
    /// Nobody has it.
    Free,
    /// Claimed, or held and not paid.
    Held,
    /// Paid.
    Sold,
    /// Taken off sale.
    Blocked,
}

/// How many seats of a section are in which state. `capacity = free + held + sold + blocked`, always (invariant 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, utoipa::ToSchema)]
pub struct Counts {
    /// All seats.
    pub capacity: u32,
    /// Nobody has them.
    pub free: u32,
    /// Claimed or held.
    pub held: u32,
    /// Paid.
    pub sold: u32,
    /// Taken off sale.
    pub blocked: u32,
}

/// One section at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionState {
    taken: Bytes,
    blocked: Bytes,
    claimed: Bytes,
}

impl SectionState {
    /// What these seats, as the table has them, come to at that moment.
    pub fn of_taken<'a>(seats: impl Iterator<Item = &'a TakenSeat>, now_ms: i64) -> Self {
        let (mut taken, mut blocked, mut claimed) = (Vec::new(), Vec::new(), Vec::new());
        for TakenSeat { number, state } in seats {
            match state {
                TakenState::Held { expires_at_ms, .. } if *expires_at_ms > now_ms => set(&mut claimed, *number),
                TakenState::Held { .. } => {}
                TakenState::Sold { .. } => set(&mut taken, *number),
                TakenState::Blocked { .. } => {
                    set(&mut taken, *number);
                    set(&mut blocked, *number);
                }
            }
        }
        Self { taken: taken.into(), blocked: blocked.into(), claimed: claimed.into() }
    }

    /// The state of the seat of that number.
    pub fn seat(&self, number: u32) -> Availability {
        match (bit(&self.taken, number), bit(&self.blocked, number)) {
            (true, true) => Availability::Blocked,
            (true, false) => Availability::Sold,
            (false, _) if bit(&self.claimed, number) => Availability::Held,
            (false, _) => Availability::Free,
        }
    }

    /// Counts the section's seats.
    pub fn counts(&self, section: &Section) -> Counts {
        let mut counts = Counts::default();
        for (_, number) in section.layout.seats() {
            counts.capacity += 1;
            match self.seat(number) {
                Availability::Free => counts.free += 1,
                Availability::Held => counts.held += 1,
                Availability::Sold => counts.sold += 1,
                Availability::Blocked => counts.blocked += 1,
            }
        }
        counts
    }

    /// The status of every seat in the layout's order, two bits each from the highest of the first byte on: 0 free, 1 held,
    /// 2 sold, 3 blocked. What is left of the last byte is 0.
    pub fn packed(&self, section: &Section) -> Vec<u8> {
        let mut packed = vec![0; section.layout.capacity().div_ceil(4) as usize];
        for (at, (_, number)) in section.layout.seats().enumerate() {
            let status = match self.seat(number) {
                Availability::Free => 0,
                Availability::Held => 1,
                Availability::Sold => 2,
                Availability::Blocked => 3,
            };
            if let Some(byte) = packed.get_mut(at / 4) {
                *byte |= status << (6 - 2 * (at % 4));
            }
        }
        packed
    }
}

fn bit(bitmap: &[u8], number: u32) -> bool {
    bitmap.get(number as usize / 8).is_some_and(|byte| byte >> (7 - number % 8) & 1 == 1)
}

fn set(bitmap: &mut Vec<u8>, number: u32) {
    let byte = number as usize / 8;
    if bitmap.len() <= byte {
        bitmap.resize(byte + 1, 0);
    }
    bitmap[byte] |= 128 >> (number % 8);
}

/// Sections read together.
#[derive(Debug, Clone)]
pub struct Read {
    /// The publication Redis knows.
    pub version: Version,
    /// How old the oldest of them was when Redis answered.
    pub age: Duration,
    /// The state of each section asked for, in order; `None` = cold.
    pub sections: Vec<Option<SectionState>>,
}

/// Reads seat maps. Cheap to clone.
#[derive(Clone)]
pub struct SeatMaps {
    redis: Redis,
    read: Script,
}

impl SeatMaps {
    /// Seat maps over these connections.
    pub fn new(redis: Redis) -> Self {
        Self { redis, read: script!("map.lua") }
    }

    /// Reads sections as they are at this moment.
    ///
    /// # Errors
    /// As [`look`](Self::look).
    pub async fn read(&self, event: &Event, sections: &[&Section]) -> Result<Read, RedisError> {
        self.look(event, sections, Look::Anew).await
    }

    /// Reads sections: one command for every [`SECTIONS_PER_READ`] of them, and as many again where a paced look meets
    /// others'.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn look(&self, event: &Event, sections: &[&Section], look: Look) -> Result<Read, RedisError> {
        let mut all = Read { version: 0, age: Duration::ZERO, sections: Vec::with_capacity(sections.len()) };
        for chunk in sections.chunks(SECTIONS_PER_READ) {
            let read = match look {
                Look::Paced => self.paced(event, chunk).await?,
                Look::Shared | Look::Anew => self.ask(event, chunk, look, None).await?.read,
            };
            all.version = read.version;
            all.age = all.age.max(read.age);
            all.sections.extend(read.sections);
        }
        Ok(all)
    }

    async fn paced(&self, event: &Event, sections: &[&Section]) -> Result<Read, RedisError> {
        let mut since = None;
        for _ in 0..PACED_ROUNDS {
            let answer = self.ask(event, sections, Look::Paced, since).await?;
            let since = *since.get_or_insert(answer.now_ms);
            if answer.counted_ms >= since {
                return Ok(answer.read);
            }
            tokio::time::sleep(PACE).await;
        }
        Ok(self.ask(event, sections, Look::Anew, None).await?.read)
    }

    async fn ask(
        &self,
        event: &Event,
        sections: &[&Section],
        look: Look,
        since_ms: Option<i64>,
    ) -> Result<Answer, RedisError> {
        let mut keys = vec![keys::event(&event.id)];
        for section in sections {
            let id = section.id.as_str();
            let of_section = [keys::claims, keys::taken, keys::blocked, keys::counted];
            keys.extend(of_section.map(|key| key(&event.id, id)));
        }
        let oldest = if look == Look::Shared { millis(SHARED_FOR) } else { -1 };
        let pace = if look == Look::Paced { millis(PACE) } else { 0 };
        let since: Value = since_ms.map_or_else(|| "".into(), Value::from);
        let reply: Vec<Bytes> =
            self.redis.run(&self.read, keys, vec![oldest.into(), since, pace.into(), millis(KEPT_FOR).into()]).await?;
        if reply.len() != 2 + 5 * sections.len() {
            return Err(RedisError::Unexpected(format!("{} values for a map", reply.len())));
        }
        let now_ms: i64 = number(&reply[0])?;
        let mut counted_ms = now_ms;
        let mut states = Vec::with_capacity(sections.len());
        for values in reply[2..].chunks_exact(5) {
            counted_ms = counted_ms.min(number(&values[4])?);
            states.push(section_state(values));
        }
        let age = Duration::from_millis(u64::try_from(now_ms - counted_ms).unwrap_or(0));
        Ok(Answer { now_ms, counted_ms, read: Read { version: number(&reply[1])?, age, sections: states } })
    }
}

/// What one command says.
struct Answer {
    now_ms: i64,
    /// When the claims were counted, where that was the longest ago.
    counted_ms: i64,
    read: Read,
}

fn number<T: std::str::FromStr>(bytes: &Bytes) -> Result<T, RedisError> {
    let text = String::from_utf8_lossy(bytes);
    text.parse().map_err(|_| RedisError::Unexpected(text.into_owned()))
}

fn section_state(values: &[Bytes]) -> Option<SectionState> {
    let [loaded, taken, blocked, claimed, _] = values else { return None };
    let state = || SectionState { taken: taken.clone(), blocked: blocked.clone(), claimed: claimed.clone() };
    (loaded.as_ref() == b"1").then(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_table_has_reads_as_what_redis_says() {
        let seat = |number, state| TakenSeat { number, state };
        let held = |expires_at_ms| TakenState::Held { owner: "o".into(), expires_at_ms };
        let seats = [
            seat(0, held(1_001)),
            seat(9, held(1_000)),
            seat(17, TakenState::Sold { owner: "o".into() }),
            seat(31, TakenState::Blocked { owner: "b".into() }),
        ];
        let state = SectionState::of_taken(seats.iter(), 1_000);
        use Availability::{Blocked, Free, Held, Sold};
        let is: Vec<Availability> = [0, 1, 9, 17, 31, 32].iter().map(|number| state.seat(*number)).collect();
        assert_eq!(is, [Held, Free, Free, Sold, Blocked, Free]);
    }

    #[test]
    fn bits_are_read_as_redis_numbers_them() {
        let state = SectionState {
            taken: Bytes::from_static(&[0b0100_0000, 0b0000_0001]),
            blocked: Bytes::from_static(&[0, 1]),
            claimed: Bytes::from_static(&[0b0110_0000]),
        };
        let seats: Vec<Availability> = [0, 1, 2, 15, 16].iter().map(|number| state.seat(*number)).collect();
        use Availability::{Blocked, Free, Held, Sold};
        assert_eq!(seats, [Free, Sold, Held, Blocked, Free]);
    }
}
