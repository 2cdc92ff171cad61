//! What stands in Redis of a section's seats, to be compared with DynamoDB and repaired: each seat only where it still
//! stands as it was seen before DynamoDB was read.

use fred::interfaces::KeysInterface;
use fred::types::Value;

use super::records::GRACE_MS;
use super::sections::kind;
use super::{Redis, RedisError, Script, keys, script, within_deadline};
use crate::domain::document::MAX_HOLD_SECONDS;
use crate::domain::event::{Event, Section};
use crate::domain::ids::{EventId, Label};

/// Seats repaired by one script: five arguments each, and no script takes more than a thousand.
const SEATS_AT_ONCE: usize = 150;
/// How long ago what is repaired may have been looked at, in ms.
pub(super) const SEEN_WITHIN_MS: i64 = 5_000;
/// How long what Redis has of an event outlives it, in ms.
pub const KEPT_FOR_MS: i64 = 7 * 24 * 3_600 * 1_000;
/// How far a claim's end may lie ahead, in ms: the longest hold there is, and that grace. What lies beyond is nobody's claim.
pub const FARTHEST_END_MS: i64 = 2 * MAX_HOLD_SECONDS as i64 * 1_000 + GRACE_MS;
/// Keys dropped by one command.
const KEYS_AT_ONCE: usize = 500;

/// What stands in Redis of one seat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Marked as sold or blocked.
    pub taken: bool,
    /// Marked as blocked.
    pub blocked: bool,
    /// General sections: in use, so not to be drawn.
    pub used: bool,
    /// General sections: when its claim is said to end, in ms.
    pub ends_at_ms: Option<i64>,
    /// Its claim: end, in ms, and owner.
    pub claim: Option<(i64, String)>,
    /// As Redis wrote it, to be compared; empty = bare, as every seat is that nothing is known of.
    pub state: String,
}

/// Some of a section's seats at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Redis' time, in ms.
    pub now_ms: i64,
    /// Whether the section is loaded; a cold one is not repaired but loaded.
    pub loaded: bool,
    /// The seats that are not bare, by number.
    pub seats: Vec<(u32, Seen)>,
}

/// What a seat has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Sold to this owner's uuid.
    Sold(String),
    /// Blocked by this chunk's uuid.
    Blocked(String),
    /// Held, or claimed and not decided yet: end in ms, and owner's uuid.
    Held(i64, String),
    /// Free.
    Free,
}

/// A seat to be repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// Its number.
    pub number: u32,
    /// As it was seen.
    pub seen: Seen,
    /// As it has to be.
    pub wanted: Wanted,
}

/// Looks and repairs. Cheap to clone.
#[derive(Clone)]
pub struct Repairs {
    redis: Redis,
    look: Script,
    repair: Script,
    take: Script,
    settle: Script,
}

impl Repairs {
    /// Repairs over these connections.
    pub fn new(redis: Redis) -> Self {
        let (look, repair) = (script!("look_at_seats.lua"), script!("repair.lua"));
        Self { redis, look, repair, take: script!("take_dirty.lua"), settle: script!("settle_dirty.lua") }
    }

    /// Looks at the seats `first` to `last` of a section: one command.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn look(&self, event: &Event, section: &Section, first: u32, last: u32) -> Result<Look, RedisError> {
        let args = vec![kind(section).into(), i64::from(first).into(), i64::from(last).into()];
        let keys = keys::section_keys(&event.id, section.id.as_str()).into();
        let reply: Vec<String> = self.redis.run(&self.look, keys, args).await?;
        read_look(&reply).ok_or_else(|| RedisError::Unexpected(reply.join(" ")))
    }

    /// Repairs seats that were seen at `seen_at_ms`; returns the positions of those that still stood so.
    ///
    /// # Errors
    /// When Redis gives no usable answer; some may have been repaired then.
    pub async fn repair(
        &self,
        event: &Event,
        section: &Section,
        seen_at_ms: i64,
        repairs: &[Repair],
    ) -> Result<Vec<usize>, RedisError> {
        let mut done = Vec::new();
        for (n, some) in repairs.chunks(SEATS_AT_ONCE).enumerate() {
            let mut args: Vec<Value> = vec![kind(section).into(), seen_at_ms.into(), SEEN_WITHIN_MS.into()];
            for repair in some {
                let (wanted, owner, ends_at_ms) = match &repair.wanted {
                    Wanted::Sold(owner) => ("sold", owner.as_str(), seen_at_ms + FARTHEST_END_MS),
                    Wanted::Blocked(owner) => ("blocked", owner.as_str(), seen_at_ms + FARTHEST_END_MS),
                    Wanted::Held(ends_at_ms, owner) => ("claimed", owner.as_str(), *ends_at_ms),
                    Wanted::Free => ("free", "", 0),
                };
                let state = if repair.seen.state.is_empty() { "000::" } else { &repair.seen.state };
                args.extend([
                    i64::from(repair.number).into(),
                    state.into(),
                    wanted.into(),
                    owner.into(),
                    ends_at_ms.into(),
                ]);
            }
            let keys = keys::section_keys(&event.id, section.id.as_str()).into();
            let repaired: Vec<usize> = self.redis.run(&self.repair, keys, args).await?;
            done.extend(repaired.into_iter().map(|at| n * SEATS_AT_ONCE + at));
        }
        Ok(done)
    }

    /// Takes over the sections whose state is in doubt; each stays named until it is settled.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn take_dirty(&self, event: &EventId) -> Result<Vec<String>, RedisError> {
        self.redis.run(&self.take, vec![keys::dirty(event), keys::dirty_at_work(event)], Vec::new()).await
    }

    /// A section that was taken over is right now, or stays in doubt for the next time.
    ///
    /// # Errors
    /// When Redis gives no usable answer; it is looked at again then.
    pub async fn settle(&self, event: &EventId, section: &str, is_right: bool) -> Result<(), RedisError> {
        let args = vec![section.into(), i64::from(is_right).into()];
        let keys = vec![keys::dirty(event), keys::dirty_at_work(event)];
        self.redis.run::<i64>(&self.settle, keys, args).await.map(|_| ())
    }

    /// Whether Redis knows anything of an event.
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn knows(&self, event: &EventId) -> Result<bool, RedisError> {
        let known: i64 = within_deadline(self.redis.pool.next().exists(keys::event(event))).await?;
        Ok(known > 0)
    }

    /// Drops what is kept of an event's sections and of itself. Customers' entries end by themselves, and views stay until
    /// they are written back. Whoever asks for the event again has it loaded again.
    ///
    /// # Errors
    /// When Redis gives no usable answer; some may be gone then.
    pub async fn drop_event(&self, event: &EventId, sections: &[Label]) -> Result<(), RedisError> {
        let of_sections = sections.iter().flat_map(|section| keys::section_keys(event, section.as_str()));
        // The event itself is the last: as long as Redis knows it, there may be more to drop.
        let keys: Vec<String> = of_sections.chain(keys::parts_of_event(event).into_iter().rev()).collect();
        for some in keys.chunks(KEYS_AT_ONCE) {
            within_deadline::<i64>(self.redis.pool.next().unlink(some.to_vec())).await?;
        }
        Ok(())
    }
}

fn read_look(reply: &[String]) -> Option<Look> {
    let [now, loaded, seats @ ..] = reply else { return None };
    let seats = seats.chunks_exact(2).map(|pair| Some((pair[0].parse().ok()?, read_seen(&pair[1])?)));
    Some(Look { now_ms: now.parse().ok()?, loaded: loaded == "1", seats: seats.collect::<Option<_>>()? })
}

/// `<taken><blocked><used>:<end among ends>:<end of the claim>:<owner>`, the last three as far as there are any.
fn read_seen(state: &str) -> Option<Seen> {
    let (bits, rest) = state.split_once(':')?;
    let (ends, claim) = rest.split_once(':')?;
    let [taken, blocked, used] = bits.as_bytes() else { return None };
    // What cannot be read is no claim: a script takes it for one that has ended, too.
    let (end, owner) = claim.split_once(':').unwrap_or_default();
    let claim = if claim.is_empty() { None } else { Some((end.parse().unwrap_or(0), owner.to_owned())) };
    Some(Seen {
        taken: *taken == b'1',
        blocked: *blocked == b'1',
        used: *used == b'1',
        ends_at_ms: if ends.is_empty() { None } else { Some(ends.parse::<f64>().ok()? as i64) },
        claim,
        state: state.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_read_as_the_script_writes_it() {
        let seen = read_seen("101:1760000000123:1760000000123:ab").unwrap();
        assert_eq!((seen.taken, seen.blocked, seen.used), (true, false, true));
        assert_eq!(
            (seen.ends_at_ms, seen.claim),
            (Some(1_760_000_000_123), Some((1_760_000_000_123, "ab".to_owned())))
        );
        let bare = read_seen("000::").unwrap();
        assert_eq!(Seen { state: String::new(), ..bare }, Seen::default());
        assert_eq!(read_seen("000::rubbish").unwrap().claim, Some((0, String::new())));
        assert_eq!(read_seen("000::rubbish:ab").unwrap().claim, Some((0, "ab".to_owned())));
        assert_eq!(read_seen("0"), None);
    }

    #[test]
    fn a_look_names_only_seats_that_are_not_bare() {
        let reply = ["7", "1", "3", "100::"].map(str::to_owned);
        let look = read_look(&reply).unwrap();
        assert_eq!((look.now_ms, look.loaded, look.seats.len(), look.seats[0].0), (7, true, 1, 3));
        assert_eq!(read_look(&reply[..1]), None);
    }
}
