//! What customers have of an event, in Redis beside the table, a bounded part a run: by the event's reservations, newest first,
//! shard by shard. What differs is suspect only, for the index lags and a truth may be on its way; it is looked at again at
//! the end of the run, when the rows themselves are read, and repaired where it still says the same.

use std::collections::{HashMap, HashSet};

use shared::domain::event::Event;
use shared::domain::ids::{CustomerId, EventId, ReservationId};
use shared::dynamodb::StoreError;
use shared::dynamodb::keys::SHARDS;
use shared::dynamodb::reads::MAX_PAGE;
use shared::dynamodb::rows::ReservationRow;
use shared::redis::entries::{Look, Repair, end_ms};
use tokio::time::Instant;

use super::compare::{Drift, compare_entry};
use super::{Halt, ROUNDS, Reconciled, count, event_of, is_long_over};
use crate::Jobs;
use crate::directory::Directory;

/// Pages of reservations that one run goes through, of up to [`MAX_PAGE`] each: 20,000 a minute, which DynamoDB reads with some
/// 2,000 units at most, and twice as many as there are reservations where Redis has lost all of them.
pub const PAGES_A_RUN: u32 = 200;
/// Suspects looked at together.
const TOGETHER: usize = 100;

/// An entry: whose, and the uuid of its reservation.
type Key = (CustomerId, String);

/// How far one run comes.
struct Turn {
    /// Pages it may still read.
    pages: u32,
    /// Where it has come to; `None` = nowhere yet.
    place: Option<Place>,
    /// Entries it has compared with their rows.
    compared: HashSet<Key>,
    /// Entries of the event that differ from the table, as far as the index tells, and what they say; empty = there is none.
    suspects: Vec<(Key, String)>,
}

/// Where a run goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// At the first event.
    Start,
    /// In this event, at the shard of that index, before that `created_at_id`.
    In { event: EventId, shard: usize, before: Option<String> },
}

impl Place {
    fn parse(text: &str) -> Self {
        let mut parts = text.splitn(3, ' ');
        let event = parts.next().and_then(|event| EventId::parse(event).ok());
        let shard = parts.next().and_then(|shard| shard.parse().ok());
        let before = parts.next().filter(|before| !before.is_empty()).map(str::to_owned);
        match (event, shard) {
            (Some(event), Some(shard)) => Self::In { event, shard, before },
            _ => Self::Start,
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Start => String::new(),
            Self::In { event, shard, before } => format!("{event} {shard} {}", before.as_deref().unwrap_or_default()),
        }
    }
}

/// Goes on where the last run came to, as far as one run may, and begins anew behind the last event. Where it came to is
/// written once: a run that dies costs what it has compared, and one that has no time left leaves its suspects to the next turn.
pub async fn in_turn(jobs: &Jobs, now_ms: i64, deadline: Instant, done: &mut Reconciled) -> Result<(), Halt> {
    let mut turn = Turn { pages: jobs.pages_a_run, place: None, compared: HashSet::new(), suspects: Vec::new() };
    let went = go_on(jobs, now_ms, deadline, &mut turn, done).await;
    if let Some(place) = turn.place {
        jobs.reconciling_customers.set_place(&place.to_text()).await?;
    }
    went
}

async fn go_on(
    jobs: &Jobs,
    now_ms: i64,
    deadline: Instant,
    turn: &mut Turn,
    done: &mut Reconciled,
) -> Result<(), Halt> {
    let place = jobs.reconciling_customers.place().await?.map_or(Place::Start, |place| Place::parse(&place));
    let first = match place {
        Place::Start => None,
        Place::In { event, shard, before } => {
            of_event(jobs, &event, (shard, before), now_ms, deadline, turn, done).await?;
            Some(event)
        }
    };
    let mut directory = Directory::walk(&jobs.events, first);
    while turn.pages > 0 {
        let Some(event) = directory.next().await? else {
            turn.place = Some(Place::Start);
            return Ok(());
        };
        if !is_long_over(&event, now_ms) && jobs.repairs.knows(&event.event_id).await? {
            of_event(jobs, &event.event_id, (0, None), now_ms, deadline, turn, done).await?;
        }
    }
    Ok(())
}

/// Compares an event's entries from there on, while pages are left, and repairs what was suspect.
async fn of_event(
    jobs: &Jobs,
    id: &EventId,
    (first, mut before): (usize, Option<String>),
    now_ms: i64,
    deadline: Instant,
    turn: &mut Turn,
    done: &mut Reconciled,
) -> Result<(), Halt> {
    let Some(event) = event_of(jobs, id, done).await? else { return Ok(()) };
    // Since then there is nothing to compare any more.
    if end_ms(&event) <= now_ms {
        return Ok(());
    }
    for (shard, name) in SHARDS.iter().enumerate().skip(first) {
        while turn.pages > 0 {
            if Instant::now() >= deadline {
                return Err(Halt::Deadline);
            }
            turn.pages -= 1;
            let page = jobs.repository.of_event(id, *name, before.as_deref(), MAX_PAGE).await?;
            done.unsettled += page.unreadable;
            compare_page(jobs, &event, page.rows, turn, done).await?;
            before = page.next;
            let next = if before.is_some() { shard } else { shard + 1 };
            turn.place = Some(Place::In { event: id.clone(), shard: next, before: before.clone() });
            if before.is_none() {
                break;
            }
        }
    }
    for some in std::mem::take(&mut turn.suspects).chunks(TOGETHER) {
        if Instant::now() >= deadline {
            return Err(Halt::Deadline);
        }
        settle(jobs, &event, some, done).await?;
    }
    Ok(())
}

/// Compares the entries of a page's customers: those of its rows, and whatever else they have.
async fn compare_page(
    jobs: &Jobs,
    event: &Event,
    rows: Vec<ReservationRow>,
    turn: &mut Turn,
    done: &mut Reconciled,
) -> Result<(), Halt> {
    let mut rows: HashMap<Key, ReservationRow> = rows
        .into_iter()
        .filter(|row| row.block.is_none())
        .map(|row| ((row.customer.clone(), row.reservation_id.uuid().to_owned()), row))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let customers: Vec<CustomerId> =
        rows.keys().map(|(customer, _)| customer.clone()).collect::<HashSet<_>>().into_iter().collect();
    let Look { now_ms, entries } = jobs.entries.look(&event.id, &customers, end_ms(event)).await?;
    done.entries_in_turn += rows.len();
    let mut elsewhere = Vec::new();
    for (customer, entries) in customers.into_iter().zip(entries) {
        for (uuid, seen) in entries {
            let key = (customer.clone(), uuid);
            let is_first = turn.compared.insert(key.clone());
            match rows.remove(&key) {
                Some(row) if compare_entry(&seen, Some(&row), now_ms).is_some() => turn.suspects.push((key, seen)),
                None if is_first => elsewhere.push((key, seen)),
                Some(_) | None => {}
            }
        }
    }
    for (key, row) in rows {
        if compare_entry("", Some(&row), now_ms).is_some() {
            turn.suspects.push((key, String::new()));
        }
    }
    let stored = Stored::of(jobs, event, elsewhere.iter().map(|(key, _)| key)).await?;
    for (key, seen) in elsewhere {
        if stored.compare(&key, &seen, now_ms).is_some() {
            turn.suspects.push((key, seen));
        }
    }
    Ok(())
}

/// Reservations as they are stored, read past every lag.
struct Stored<'a> {
    event: &'a EventId,
    rows: HashMap<ReservationId, Option<ReservationRow>>,
}

impl<'a> Stored<'a> {
    async fn of<'k>(jobs: &Jobs, event: &'a Event, keys: impl Iterator<Item = &'k Key>) -> Result<Self, StoreError> {
        // What is no uuid names no reservation.
        let ids: HashSet<ReservationId> =
            keys.filter_map(|(_, uuid)| ReservationId::of(&event.id, uuid).ok()).collect();
        Ok(Self { event: &event.id, rows: jobs.repository.get_all(ids.into_iter().collect()).await? })
    }

    /// Compares what stands for a customer with his reservation. What cannot be read says nothing.
    fn compare(&self, (customer, uuid): &Key, seen: &str, now_ms: i64) -> Option<(String, Option<Drift>)> {
        let row = match ReservationId::of(self.event, uuid).ok().and_then(|id| self.rows.get(&id)) {
            Some(None) => return None,
            Some(Some(row)) => Some(row).filter(|row| row.customer == *customer),
            None => None,
        };
        compare_entry(seen, row, now_ms)
    }
}

/// Repairs what still says the same and still differs, and looks once more: a truth that was told between look and repair
/// may have left a damaged entry as it was.
async fn settle(jobs: &Jobs, event: &Event, suspects: &[(Key, String)], done: &mut Reconciled) -> Result<(), Halt> {
    let mut expected: HashMap<Key, String> = suspects.iter().cloned().collect();
    for round in 0..ROUNDS {
        let customers: HashSet<&CustomerId> = expected.keys().map(|(customer, _)| customer).collect();
        let customers: Vec<CustomerId> = customers.into_iter().cloned().collect();
        // Redis first: what DynamoDB says then is of later, and what Redis learns meanwhile forbids the repair.
        let Look { now_ms, entries } = jobs.entries.look(&event.id, &customers, end_ms(event)).await?;
        let of_customer: HashMap<CustomerId, HashMap<String, String>> =
            customers.into_iter().zip(entries.into_iter().map(HashMap::from_iter)).collect();
        let stored = Stored::of(jobs, event, expected.keys()).await?;
        let (mut repairs, mut drifts) = (Vec::new(), Vec::new());
        for ((customer, uuid), expected) in expected {
            let seen = of_customer.get(&customer).and_then(|entries| entries.get(&uuid)).cloned().unwrap_or_default();
            let key = (customer, uuid);
            if seen != expected {
                // Somebody has told it anew.
                continue;
            }
            if let Some((wanted, drift)) = stored.compare(&key, &seen, now_ms) {
                let (customer, uuid) = key;
                repairs.push(Repair { customer, uuid, seen, wanted });
                // What this very run wrote was no drift.
                drifts.push(drift.filter(|_| round == 0));
            }
        }
        if repairs.is_empty() {
            return Ok(());
        }
        let repaired = jobs.entries.repair(&event.id, now_ms, &repairs).await?;
        let drifts: Vec<Drift> = repaired.iter().filter_map(|at| drifts.get(*at).copied().flatten()).collect();
        count(&drifts, done);
        let repaired = repaired.into_iter().filter_map(|at| repairs.get(at).cloned());
        expected = repaired.map(|repair| ((repair.customer, repair.uuid), repair.wanted)).collect();
    }
    done.unsettled += 1;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written_and_rubbish_is_the_start() {
        let event = EventId::parse("a-turn").unwrap();
        for place in [
            Place::Start,
            Place::In { event: event.clone(), shard: 16, before: None },
            Place::In { event, shard: 3, before: Some("1760000000000#a-turn.u".into()) },
        ] {
            assert_eq!(Place::parse(&place.to_text()), place);
        }
        for rubbish in ["a-turn", "a-turn x", "Ä 1 "] {
            assert_eq!(Place::parse(rubbish), Place::Start, "{rubbish}");
        }
    }
}
