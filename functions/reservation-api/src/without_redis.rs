//! Sections as the table has them, for who only looks while Redis is away: seconds old, and as many as a bounded number of
//! reads brings; whoever wants more is told to come again. What is claimed and not stored yet is not seen here, but
//! nobody claims anything meanwhile either.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use shared::causes::chain;
use shared::clock;
use shared::domain::event::{Event, TakenSeat};
use shared::domain::ids::{EventId, Label};
use shared::redis::RedisError;
use shared::redis::seat_map::{SECTIONS_PER_READ, SectionState};
use tokio::time::Instant;

use crate::App;
use crate::budget::Budget;
use crate::copies::Copies;
use crate::moment::Moment;
use crate::seat_map::{MAX_COPIES, Refusal, SeatMap, Seen, SeenSections, in_event, missed, unavailable};
use crate::viewed::MAX_EVENTS;

/// How old what is shown from the table may be. A thousand processes that show the same partition read it a hundred times a
/// second, for 5 read units each, of the 3,000 that it has.
pub const GOOD_FOR: Duration = Duration::from_secs(10);
/// Partitions a second that a process reads, of 200 seats each: a section of 20,000 seats at once, a larger one on credit.
pub const PARTITIONS_A_SECOND: u32 = 100;
/// Of these at the same time.
const PARTITIONS_AT_ONCE: usize = 16;
/// How long nobody has had an answer when Redis is taken to be away.
const TOO_LONG: Duration = Duration::from_millis(500);
/// How long Redis is left alone after it gave no answer. Then one asks it for all who look.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How Redis has answered lately, as far as who looks knows.
#[derive(Debug, Clone, Copy)]
enum Answering {
    Yes,
    /// Not since then.
    NotSince(Instant),
    /// No; to be asked again then.
    AskAt(Instant),
}

/// What is shown without Redis. Cheap to clone.
#[derive(Clone)]
pub struct WithoutRedis {
    answering: Arc<Mutex<Answering>>,
    sections: SeenSections,
    views: Copies<EventId, u64, Refusal>,
    partitions: Arc<Budget>,
}

impl WithoutRedis {
    /// As long as nothing is known, Redis answers.
    pub fn new() -> Self {
        Self {
            answering: Arc::new(Mutex::new(Answering::Yes)),
            sections: Copies::good_for(GOOD_FOR, MAX_COPIES),
            views: Copies::good_for(GOOD_FOR, MAX_EVENTS),
            partitions: Arc::new(Budget::new(PARTITIONS_A_SECOND)),
        }
    }

    /// Whether the caller is to ask Redis: unless it is away and was asked within the last second.
    pub fn asks_redis(&self, now: Instant) -> bool {
        let mut answering = self.answering();
        match *answering {
            Answering::AskAt(at) if now < at => return false,
            Answering::AskAt(_) => *answering = Answering::AskAt(now + ASKED_AGAIN_AFTER),
            Answering::Yes | Answering::NotSince(_) => {}
        }
        true
    }

    /// Whether Redis is away, now that it has given no answer: at once where there is no connection or it says so, and where it
    /// only takes too long, when nobody has had an answer for [`TOO_LONG`]. A process that is slow itself asks no table.
    fn is_away_after(&self, error: &RedisError, is_connected: bool, now: Instant) -> bool {
        let mut answering = self.answering();
        let is_away = match (error, *answering) {
            (RedisError::Unavailable(_), _) | (RedisError::TimedOut, Answering::AskAt(_)) => true,
            (RedisError::TimedOut, _) if !is_connected => true,
            (RedisError::TimedOut, Answering::NotSince(since)) => now.duration_since(since) >= TOO_LONG,
            (RedisError::TimedOut, Answering::Yes) => {
                *answering = Answering::NotSince(now);
                false
            }
            _ => false,
        };
        if is_away {
            if !matches!(*answering, Answering::AskAt(_)) {
                tracing::warn!(error = chain(error), "redis is away: who looks is shown what the table has");
            }
            *answering = Answering::AskAt(now + ASKED_AGAIN_AFTER);
        }
        is_away
    }

    /// Redis has answered.
    pub fn has_answered(&self) {
        let before = std::mem::replace(&mut *self.answering(), Answering::Yes);
        if matches!(before, Answering::AskAt(_)) {
            tracing::info!("redis answers again");
        }
    }

    /// Whether Redis is away, as far as is known.
    pub fn is_away(&self) -> bool {
        matches!(*self.answering(), Answering::AskAt(_))
    }

    fn answering(&self) -> MutexGuard<'_, Answering> {
        self.answering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether Redis, which has just given no answer, is away.
pub fn begins(app: &App, error: &RedisError) -> bool {
    app.without_redis.is_away_after(error, app.redis.is_connected(), Instant::now())
}

/// The sections of an event, or one of them.
pub async fn sections(app: &App, event: &Arc<Event>, section: Option<&str>) -> Result<SeatMap, Refusal> {
    let places = in_event(event, section)?;
    let labels = places.iter().filter_map(|at| event.sections.get(*at)).map(|section| section.id.clone());
    let keys: Vec<(EventId, Label)> = labels.map(|label| (event.id.clone(), label)).collect();
    let read = |keys: Vec<(EventId, Label)>| {
        let (app, event) = (app.clone(), Arc::clone(event));
        async move { read(&app, &event, &keys).await }
    };
    let seen = app.without_redis.sections.get(&keys, SECTIONS_PER_READ, read).await.map_err(missed)?;
    Ok(SeatMap::new(Arc::clone(event), places, seen))
}

/// How often an event was viewed, as far as it was written back. It costs one read more, and only of an event whose sections
/// were read within the last seconds: so it has no budget of its own.
pub async fn views(app: &App, event: &EventId) -> Result<u64, Refusal> {
    let read = |events: Vec<EventId>| {
        let app = app.clone();
        async move {
            let at = Moment::now();
            let mut views = Vec::with_capacity(events.len());
            for event in &events {
                views.push(app.view_counts.total(event).await.map_err(unavailable)?.views);
            }
            Ok((views, at))
        }
    };
    let copies = app.without_redis.views.get(std::slice::from_ref(event), 1, read).await.map_err(missed)?;
    Ok(copies.first().map_or(0, |copy| *copy.value))
}

async fn read(app: &App, event: &Event, keys: &[(EventId, Label)]) -> Result<(Vec<Seen>, Moment), Refusal> {
    let sections: Vec<_> = keys.iter().filter_map(|(_, label)| event.section(label.as_str())).collect();
    let partitions = sections.iter().map(|section| section.layout.partitions()).sum();
    if !app.without_redis.partitions.allows(partitions, Instant::now()) {
        return Err(unavailable("redis is away, and the table was asked often enough"));
    }
    let at = Moment::now();
    let mut seen = Vec::with_capacity(sections.len());
    for section in sections {
        let of_section = (0..section.layout.partitions())
            .map(|partition| app.repository.taken_lately(&event.id, section.id.as_str(), partition));
        let of_section: Vec<_> = of_section.collect();
        let taken = stream::iter(of_section).buffer_unordered(PARTITIONS_AT_ONCE);
        let taken: Vec<Vec<TakenSeat>> = taken.try_collect().await.map_err(unavailable)?;
        // There is no other clock; a hold near its end may be shown a little too long or too short.
        let state = SectionState::of_taken(taken.iter().flatten(), clock::wall_ms());
        seen.push(Seen::new(event.version, state));
    }
    Ok((seen, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_is_away_when_nobody_has_had_an_answer_for_too_long_and_one_a_second_asks_again() {
        let (redis, mut now) = (WithoutRedis::new(), Instant::now());
        let fails = |now| redis.is_away_after(&RedisError::TimedOut, true, now);
        assert!(redis.asks_redis(now) && !fails(now), "for once");
        now += TOO_LONG - Duration::from_millis(1);
        assert!(redis.asks_redis(now) && !fails(now));
        redis.has_answered();
        now += TOO_LONG;
        assert!(!fails(now), "it had answered");
        now += TOO_LONG;
        assert!(fails(now) && redis.is_away());
        assert!(!redis.asks_redis(now));
        now += ASKED_AGAIN_AFTER;
        assert!(redis.asks_redis(now) && !redis.asks_redis(now), "one for all");
        assert!(fails(now));
        redis.has_answered();
        assert!(redis.asks_redis(now) && !redis.is_away());
        assert!(!redis.is_away_after(&RedisError::Unexpected("x".into()), true, now), "an answer");
        assert!(redis.is_away_after(&RedisError::TimedOut, false, now), "no connection");
    }
}
