//! What customers have of an event as it stands in Redis, to be compared with DynamoDB and repaired: each entry only where it
//! still says what it said before DynamoDB was read. The limit is counted from entries, and customers are shown them.

use fred::types::Value;

use super::repair::{KEPT_FOR_MS, SEEN_WITHIN_MS};
use super::{Redis, RedisError, Script, keys, script};
use crate::domain::event::Event;
use crate::domain::ids::{CustomerId, EventId};

/// Entries repaired by one script: three arguments and a key each, and no script takes more than a thousand.
const ENTRIES_AT_ONCE: usize = 150;
/// The field of a customer's that is no entry: how often he has claimed lately.
const RATE: &str = "@rate";

/// When what customers have of an event ends, in ms since the epoch, as `claim.lua` says it.
pub fn end_ms(event: &Event) -> i64 {
    event.document.sale.closes_at.as_millisecond() + KEPT_FOR_MS
}

/// Some customers' entries at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Redis' time, in ms.
    pub now_ms: i64,
    /// What each of the customers has, in the order asked for: uuids, and what they say.
    pub entries: Vec<Vec<(String, String)>>,
}

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Until when it counts, in ms since the epoch; 0 = for good.
    pub until_ms: i64,
    /// `c`laimed, `h`eld or `s`old.
    pub kind: char,
    /// How many seats and which, as it is written.
    pub seats: (&'a str, &'a str),
}

impl<'a> Entry<'a> {
    /// Reads an entry; `None` = no script of ours has written it.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(4, ':');
        let (until, count, kind, ids) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let kind = kind.parse().ok().filter(|kind| ['c', 'h', 's'].contains(kind))?;
        let is_count = count.parse().is_ok_and(|count: usize| count == ids.split(',').count());
        Some(Self { until_ms: until.parse().ok()?, kind, seats: is_count.then_some((count, ids))? })
    }
}

/// An entry to be repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// Whose it is.
    pub customer: CustomerId,
    /// Of which reservation.
    pub uuid: String,
    /// What it said; empty = there was none.
    pub seen: String,
    /// What it has to say; empty = there must be none.
    pub wanted: String,
}

/// Looks and repairs. Cheap to clone.
#[derive(Clone)]
pub struct Entries {
    redis: Redis,
    look: Script,
    repair: Script,
}

impl Entries {
    /// Entries over these connections.
    pub fn new(redis: Redis) -> Self {
        Self { redis, look: script!("look_at_entries.lua"), repair: script!("repair_entries.lua") }
    }

    /// Looks at what customers have: one command. What has no end gets this one (ms since the epoch).
    ///
    /// # Errors
    /// When Redis gives no usable answer.
    pub async fn look(&self, event: &EventId, customers: &[CustomerId], end_ms: i64) -> Result<Look, RedisError> {
        let keys = customers.iter().map(|customer| keys::customer(event, customer)).collect();
        let reply: Vec<String> = self.redis.run(&self.look, keys, vec![end_ms.into()]).await?;
        read_look(&reply).ok_or_else(|| RedisError::Unexpected(format!("{} values for entries", reply.len())))
    }

    /// Repairs what was seen at `seen_at_ms`; returns the positions of those that still said so.
    ///
    /// # Errors
    /// When Redis gives no usable answer; some may have been repaired then.
    pub async fn repair(&self, event: &EventId, seen_at_ms: i64, repairs: &[Repair]) -> Result<Vec<usize>, RedisError> {
        let mut done = Vec::new();
        for (n, some) in repairs.chunks(ENTRIES_AT_ONCE).enumerate() {
            let keys = some.iter().map(|repair| keys::customer(event, &repair.customer)).collect();
            let mut args: Vec<Value> = vec![seen_at_ms.into(), SEEN_WITHIN_MS.into()];
            for Repair { uuid, seen, wanted, .. } in some {
                args.extend([uuid, seen, wanted].map(|text| Value::from(text.as_str())));
            }
            let repaired: Vec<usize> = self.redis.run(&self.repair, keys, args).await?;
            done.extend(repaired.into_iter().map(|at| n * ENTRIES_AT_ONCE + at));
        }
        Ok(done)
    }
}

fn read_look(reply: &[String]) -> Option<Look> {
    let (now, mut rest) = reply.split_first()?;
    let mut entries = Vec::new();
    while let Some((count, others)) = rest.split_first() {
        let (of_customer, others) = others.split_at_checked(2 * count.parse::<usize>().ok()?)?;
        let pairs = of_customer.chunks_exact(2).filter(|pair| pair[0] != RATE);
        entries.push(pairs.map(|pair| (pair[0].clone(), pair[1].clone())).collect());
        rest = others;
    }
    Some(Look { now_ms: now.parse().ok()?, entries })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_scripts_write_it_and_nothing_else_is() {
        let entry = Entry { until_ms: 1_760_000_000_123, kind: 'h', seats: ("2", "A-1-1,A-1-2") };
        assert_eq!(Entry::parse("1760000000123:2:h:A-1-1,A-1-2"), Some(entry));
        for rubbish in ["", "x", "1:2", "1:1:h", "x:1:h:A", "1:2:h:A", "1:1:q:A", "1:1:hh:A", "1::h:A", "9e9:1:s:A"] {
            assert_eq!(Entry::parse(rubbish), None, "{rubbish}");
        }
    }

    #[test]
    fn a_look_tells_each_customers_entries_without_his_rate() {
        let reply = ["7", "2", "@rate", "5:1", "u", "0:1:s:A-1-1", "0"].map(str::to_owned);
        let entries = vec![vec![("u".to_owned(), "0:1:s:A-1-1".to_owned())], vec![]];
        assert_eq!(read_look(&reply), Some(Look { now_ms: 7, entries }));
        assert_eq!(read_look(&reply[..3]), None);
    }
}
