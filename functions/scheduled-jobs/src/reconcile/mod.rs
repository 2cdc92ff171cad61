//! The job that reconciles: what Redis says of seats and of customers is compared with what DynamoDB has, while it is being
//! sold, and repaired where it still stands as it was seen before. Sections in doubt come first, in every run; all others
//! in turn, and then what customers have (`customers`).
//!
//! One runner at a time, by the lock, which saves double work. Two at once would do no harm: every repair compares and sets.

mod compare;
mod customers;

use std::collections::{BTreeMap, HashMap};

use futures_util::{StreamExt, TryStreamExt, stream};
use metrics::counter;
use serde::Serialize;
use shared::causes::chain;
use shared::domain::document::SectionKind;
use shared::domain::event::{Event, Section, TakenState};
use shared::domain::ids::{EventId, Label};
use shared::domain::layout::SEATS_PER_PARTITION;
use shared::dynamodb::StoreError;
use shared::dynamodb::events::EventSummary;
use shared::redis::RedisError;
use shared::redis::repair::{KEPT_FOR_MS, Repair, Seen, Wanted};
use shared::telemetry::{DRIFT, REASON};
use tokio::time::Instant;

use crate::Jobs;
use crate::alone::{Stopped, alone};
use crate::directory::Directory;
use compare::{Drift, Verdict, compare};
pub use customers::PAGES_A_RUN;

/// The job's name.
const JOB: &str = "reconcile";
/// Partitions compared in turn by one run, beside those in doubt: of 200 seats each, so 80,000 seats a minute, which
/// DynamoDB reads with some 4,000 units at most.
pub const PARTITIONS_A_RUN: u32 = 400;
/// Partitions of a section compared at the same time.
const PARTITIONS_AT_ONCE: usize = 8;
/// Times a partition, or a group of entries, is compared until nothing is repaired any more.
const ROUNDS: usize = 4;

/// What a run of `reconcile` did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Reconciled {
    /// Sections compared because they were in doubt.
    pub in_doubt: usize,
    /// Sections compared in turn.
    pub in_turn: usize,
    /// Reservations whose customers' entries were compared in turn.
    pub entries_in_turn: usize,
    /// Seats and entries that were wrong in Redis and are right now, by what was wrong.
    pub repaired: BTreeMap<&'static str, usize>,
    /// Sections and groups of entries in which something is disputed, or changed while it was looked at.
    pub unsettled: usize,
    /// Events of long ago that Redis has been made to forget.
    pub dropped: usize,
    /// Whether another runner was at it.
    pub overtaken: bool,
    /// Whether Redis could not be asked or told; the next run tries again.
    pub without_redis: bool,
    /// Whether the deadline came before the end; the next run goes on.
    pub cut_short: bool,
}

/// Why a section was not compared to its end.
#[derive(Debug, thiserror::Error)]
enum Halt {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the deadline came first")]
    Deadline,
}

/// Compares what is in doubt, and then as much of the rest as one run may.
pub async fn reconcile(jobs: &Jobs, deadline: Instant) -> Result<Reconciled, StoreError> {
    let run = alone(jobs, JOB, deadline, async |until| {
        let mut done = Reconciled::default();
        let halt = everything(jobs, until, &mut done).await.err();
        (done, halt)
    });
    let nothing = Reconciled::default();
    match run.await {
        Ok((done, None)) => Ok(done),
        Ok((_, Some(Halt::Store(error)))) => Err(error),
        Ok((done, Some(Halt::Deadline))) => Ok(Reconciled { cut_short: true, ..done }),
        Ok((done, Some(Halt::Redis(error)))) => {
            let error = chain(&error);
            tracing::warn!(error, "nothing more is reconciled until the next run");
            Ok(Reconciled { without_redis: true, ..done })
        }
        Err(Stopped::WithoutRedis) => Ok(Reconciled { without_redis: true, ..nothing }),
        Err(Stopped::TooLate) => Ok(Reconciled { cut_short: true, ..nothing }),
        Err(Stopped::Overtaken) => Ok(Reconciled { overtaken: true, ..nothing }),
    }
}

async fn everything(jobs: &Jobs, deadline: Instant, done: &mut Reconciled) -> Result<(), Halt> {
    let now_ms = jobs.redis.now_ms().await?;
    let mut directory = Directory::walk(&jobs.events, None);
    while let Some(event) = directory.next().await? {
        if !is_long_over(&event, now_ms) {
            in_doubt(jobs, &event.event_id, deadline, done).await?;
        }
    }
    in_turn(jobs, now_ms, deadline, done).await?;
    customers::in_turn(jobs, now_ms, deadline, done).await
}

fn is_long_over(event: &EventSummary, now_ms: i64) -> bool {
    event.starts_at.max(event.sale.closes_at).as_millisecond() + KEPT_FOR_MS < now_ms
}

/// An event, if there is one that can be read; one that cannot keeps no other waiting.
async fn event_of(jobs: &Jobs, id: &EventId, done: &mut Reconciled) -> Result<Option<Event>, StoreError> {
    match jobs.events.get(id).await {
        Err(error @ StoreError::Corrupt(_)) => {
            done.unsettled += 1;
            tracing::error!(event_id = %id, error = chain(&error), "an event cannot be reconciled");
            Ok(None)
        }
        event => event,
    }
}

async fn in_doubt(jobs: &Jobs, id: &EventId, deadline: Instant, done: &mut Reconciled) -> Result<(), Halt> {
    let labels = jobs.repairs.take_dirty(id).await?;
    if labels.is_empty() {
        return Ok(());
    }
    // What was taken is in doubt until it is settled, so also where its event cannot be read.
    let Some(event) = event_of(jobs, id, done).await? else { return Ok(()) };
    for label in labels {
        let is_right = match event.section(&label) {
            Some(section) => {
                done.in_doubt += 1;
                one_section(jobs, &event, section, deadline, done).await?
            }
            // Unpublished since.
            None => true,
        };
        jobs.repairs.settle(id, &label, is_right).await?;
    }
    Ok(())
}

/// How far one run comes with what is compared in turn.
struct InTurn {
    /// Partitions it may still compare.
    budget: u32,
    /// The last section it has compared, as the next run is told; `None` = it has compared none.
    place: Option<String>,
}

/// Goes on where the last run came to, as far as one run may, and begins anew behind the last event. Where it came to is
/// written once: a run that dies costs what it has compared.
async fn in_turn(jobs: &Jobs, now_ms: i64, deadline: Instant, done: &mut Reconciled) -> Result<(), Halt> {
    let mut turn = InTurn { budget: jobs.partitions_a_run, place: None };
    let went = go_on(jobs, now_ms, deadline, &mut turn, done).await;
    if let Some(place) = turn.place {
        jobs.reconciling.set_place(&place).await?;
    }
    went
}

async fn go_on(
    jobs: &Jobs,
    now_ms: i64,
    deadline: Instant,
    turn: &mut InTurn,
    done: &mut Reconciled,
) -> Result<(), Halt> {
    let place = jobs.reconciling.place().await?;
    let (first, behind) = match place.as_deref().and_then(|place| place.split_once(' ')) {
        Some((event, section)) => (EventId::parse(event).ok(), Label::parse(section).ok()),
        None => (None, None),
    };
    if let (Some(id), Some(section)) = (&first, &behind) {
        sections_of(jobs, id, Some(section), deadline, turn, done).await?;
    }
    let mut directory = Directory::walk(&jobs.events, first);
    while turn.budget > 0 {
        let Some(event) = directory.next().await? else {
            turn.place = Some(String::new());
            break;
        };
        // An event that Redis knows nothing of is loaded when somebody asks for it.
        if !jobs.repairs.knows(&event.event_id).await? {
            continue;
        }
        if is_long_over(&event, now_ms) {
            drop_event(jobs, &event.event_id, done).await?;
        } else {
            sections_of(jobs, &event.event_id, None, deadline, turn, done).await?;
        }
    }
    Ok(())
}

/// Compares an event's sections, or those behind one, while the budget lasts.
async fn sections_of(
    jobs: &Jobs,
    id: &EventId,
    behind: Option<&Label>,
    deadline: Instant,
    turn: &mut InTurn,
    done: &mut Reconciled,
) -> Result<(), Halt> {
    let Some(event) = event_of(jobs, id, done).await? else { return Ok(()) };
    let at = behind.and_then(|label| event.sections.iter().position(|section| section.id == *label));
    for section in &event.sections[at.map_or(0, |at| at + 1)..] {
        if turn.budget == 0 {
            return Ok(());
        }
        one_section(jobs, &event, section, deadline, done).await?;
        done.in_turn += 1;
        // A section may have more partitions than a run compares; it is compared whole all the same.
        turn.budget = turn.budget.saturating_sub(section.layout.partitions());
        turn.place = Some(format!("{id} {}", section.id));
    }
    Ok(())
}

async fn drop_event(jobs: &Jobs, id: &EventId, done: &mut Reconciled) -> Result<(), Halt> {
    let Some(event) = event_of(jobs, id, done).await? else { return Ok(()) };
    let sections: Vec<Label> = event.sections.iter().map(|section| section.id.clone()).collect();
    jobs.repairs.drop_event(id, &sections).await?;
    done.dropped += 1;
    Ok(())
}

/// Compares a section and repairs it; `false` = it has to be looked at again.
async fn one_section(
    jobs: &Jobs,
    event: &Event,
    section: &Section,
    deadline: Instant,
    done: &mut Reconciled,
) -> Result<bool, Halt> {
    let partitions: Vec<_> = (0..section.layout.partitions())
        .map(|partition| async move {
            if Instant::now() >= deadline {
                return Err(Halt::Deadline);
            }
            match one_partition(jobs, event, section, partition).await {
                Err(Halt::Store(error @ StoreError::Corrupt(_))) => {
                    let (event_id, section) = (&event.id, &section.id);
                    tracing::error!(%event_id, %section, partition, error = chain(&error), "seats cannot be reconciled");
                    Ok(Partition { repaired: Vec::new(), is_right: false })
                }
                compared => compared,
            }
        })
        .collect();
    let mut partitions = stream::iter(partitions).buffer_unordered(PARTITIONS_AT_ONCE);
    let mut is_right = true;
    while let Some(partition) = partitions.try_next().await? {
        is_right &= partition.is_right;
        count(&partition.repaired, done);
    }
    done.unsettled += usize::from(!is_right);
    Ok(is_right)
}

fn count(drifts: &[Drift], done: &mut Reconciled) {
    for drift in drifts {
        counter!(DRIFT, REASON => drift.as_str()).increment(1);
        *done.repaired.entry(drift.as_str()).or_default() += 1;
    }
}

struct Partition {
    repaired: Vec<Drift>,
    is_right: bool,
}

/// Compares until nothing is left to repair. A truth that is told between a look and the repair may leave a damaged seat as
/// it was seen, so what was repaired is compared once more, and a hold that this very run wrote is taken back where the
/// table has it no more.
async fn one_partition(jobs: &Jobs, event: &Event, section: &Section, partition: u32) -> Result<Partition, Halt> {
    let first = partition * SEATS_PER_PARTITION;
    let last = (first + SEATS_PER_PARTITION).min(section.layout.numbered()) - 1;
    let (mut done, mut ours) = (Partition { repaired: Vec::new(), is_right: false }, HashMap::new());
    for _ in 0..ROUNDS {
        // Redis first: what DynamoDB says then is of later, and what Redis learns meanwhile forbids the repair.
        let look = jobs.repairs.look(event, section, first, last).await?;
        if !look.loaded {
            done.is_right = true;
            return Ok(done);
        }
        let stored = jobs.repository.taken(&event.id, section.id.as_str(), partition).await?;
        let stored: HashMap<u32, TakenState> = stored.into_iter().map(|seat| (seat.number, seat.state)).collect();
        let found = differences(look.seats, &stored, section, look.now_ms, &ours);
        let repaired = jobs.repairs.repair(event, section, look.now_ms, &found.repairs).await?;
        let moved = (0..found.repairs.len()).any(|at| found.drifts[at].is_some() && !repaired.contains(&at));
        done.is_right = !found.is_disputed && !moved;
        let drifts: Vec<Drift> = repaired.iter().filter_map(|at| found.drifts.get(*at).copied().flatten()).collect();
        if drifts.is_empty() {
            return Ok(done);
        }
        done.repaired.extend(drifts);
        for repair in repaired.iter().filter_map(|at| found.repairs.get(*at)) {
            if let (Wanted::Held(end, owner), Some(TakenState::Held { .. })) =
                (&repair.wanted, stored.get(&repair.number))
            {
                ours.insert(repair.number, (*end, owner.clone()));
            }
        }
    }
    done.is_right = false;
    Ok(done)
}

struct Differences {
    repairs: Vec<Repair>,
    /// What was wrong with each; `None` = it is litter.
    drifts: Vec<Option<Drift>>,
    is_disputed: bool,
}

fn differences(
    seen: Vec<(u32, Seen)>,
    stored: &HashMap<u32, TakenState>,
    section: &Section,
    now_ms: i64,
    ours: &HashMap<u32, (i64, String)>,
) -> Differences {
    let mut seen: BTreeMap<u32, Seen> = seen.into_iter().collect();
    for number in stored.keys() {
        seen.entry(*number).or_default();
    }
    let mut found = Differences { repairs: Vec::new(), drifts: Vec::new(), is_disputed: false };
    for (number, seen) in seen {
        let stored = stored.get(&number);
        let is_held_by =
            |owner: &str| matches!(stored, Some(TakenState::Held { owner: stored, .. }) if stored == owner);
        // Written by this run after its owner had lost the seat: as good as none.
        let is_void =
            seen.claim.as_ref().is_some_and(|claim| ours.get(&number) == Some(claim) && !is_held_by(&claim.1));
        let without = is_void.then(|| Seen { claim: None, ends_at_ms: None, ..seen.clone() });
        let judged = without.as_ref().unwrap_or(&seen);
        let (wanted, drift) = match compare(judged, stored, section.kind == SectionKind::General, now_ms) {
            Verdict::Wrong(wanted, drift) => (wanted, drift),
            Verdict::Right if is_void => (Wanted::Free, None),
            Verdict::Right => continue,
            Verdict::Disputed => {
                found.is_disputed = true;
                continue;
            }
        };
        found.repairs.push(Repair { number, seen, wanted });
        found.drifts.push(drift);
    }
    found
}
