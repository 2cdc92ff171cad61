//! Sections as they are now: status per seat and counts, from one command that touches no key per seat.

use fred::bytes::Bytes;

use super::{Redis, RedisError, Script, keys, script};
use crate::domain::event::{Event, Section, Version};

/// Sections read by one command. A read takes time with the claims in it (13 ms for 10,000 of them), and everybody else
/// waits: so many sections of a usual size keep one command at a few milliseconds.
pub const SECTIONS_PER_READ: usize = 8;

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
    claimed: Vec<u32>,
}

impl SectionState {
    /// The state of the seat of that number.
    pub fn seat(&self, number: u32) -> Availability {
        match (bit(&self.taken, number), bit(&self.blocked, number)) {
            (true, true) => Availability::Blocked,
            (true, false) => Availability::Sold,
            (false, _) if self.claimed.binary_search(&number).is_ok() => Availability::Held,
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
}

fn bit(bitmap: &[u8], number: u32) -> bool {
    bitmap.get(number as usize / 8).is_some_and(|byte| byte >> (7 - number % 8) & 1 == 1)
}

/// Sections read together.
#[derive(Debug, Clone)]
pub struct Read {
    /// The publication Redis knows.
    pub version: Version,
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

    /// Reads sections: one command for every [`SECTIONS_PER_READ`] of them.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn read(&self, event: &Event, sections: &[&Section]) -> Result<Read, RedisError> {
        let mut all = Read { version: 0, sections: Vec::with_capacity(sections.len()) };
        for chunk in sections.chunks(SECTIONS_PER_READ) {
            let mut keys = vec![keys::event(&event.id)];
            for section in chunk {
                let id = section.id.as_str();
                keys.extend([keys::claims(&event.id, id), keys::taken(&event.id, id), keys::blocked(&event.id, id)]);
            }
            let reply: Vec<Bytes> = self.redis.run(&self.read, keys, Vec::new()).await?;
            if reply.len() != 2 + 4 * chunk.len() {
                return Err(RedisError::Unexpected(format!("{} values for a map", reply.len())));
            }
            all.version = text(&reply[1]).parse().map_err(|_| RedisError::Unexpected(text(&reply[1]).into_owned()))?;
            all.sections.extend(reply[2..].chunks_exact(4).map(section_state));
        }
        Ok(all)
    }
}

fn text(bytes: &Bytes) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn section_state(values: &[Bytes]) -> Option<SectionState> {
    let [loaded, taken, blocked, claimed] = values else { return None };
    if loaded.as_ref() != b"1" {
        return None;
    }
    let mut claimed: Vec<u32> = text(claimed).split(',').filter_map(|number| number.parse().ok()).collect();
    claimed.sort_unstable();
    Some(SectionState { taken: taken.clone(), blocked: blocked.clone(), claimed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_read_as_redis_numbers_them() {
        let state = SectionState {
            taken: Bytes::from_static(&[0b0100_0000, 0b0000_0001]),
            blocked: Bytes::from_static(&[0, 1]),
            claimed: vec![1, 2],
        };
        let seats: Vec<Availability> = [0, 1, 2, 15, 16].iter().map(|number| state.seat(*number)).collect();
        use Availability::{Blocked, Free, Held, Sold};
        assert_eq!(seats, [Free, Sold, Held, Blocked, Free]);
    }
}
