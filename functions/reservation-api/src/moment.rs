//! How old something is that this process has read. A frozen environment is thawed minutes later: whether its monotonic
//! clock went on meanwhile depends on the platform, and the wall clock may be set. So age is what the faster one says.

use std::time::{Duration, Instant};

use shared::clock;

/// When something was read, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    wall_ms: i64,
    at: Instant,
}

impl Moment {
    /// This one.
    pub fn now() -> Self {
        Self { wall_ms: clock::wall_ms(), at: Instant::now() }
    }

    /// So long before. Before the machine was started is when it was started.
    #[must_use]
    pub fn earlier_by(self, duration: Duration) -> Self {
        let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self { wall_ms: self.wall_ms.saturating_sub(ms), at: self.at.checked_sub(duration).unwrap_or(self.at) }
    }

    /// How old it is at `now`. A wall clock that was set back says nothing, so that is older than anything may be.
    pub fn age_at(self, now: Self) -> Duration {
        let wall = u64::try_from(now.wall_ms - self.wall_ms).map_or(Duration::MAX, Duration::from_millis);
        wall.max(now.at.saturating_duration_since(self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_freeze_ages_what_was_read_whichever_clock_stood_still() {
        let read = Moment::now();
        let slept = Moment { wall_ms: read.wall_ms + 60_000, at: read.at };
        assert_eq!(read.age_at(slept), 60 * SECOND);
        let wall_stood = Moment { wall_ms: read.wall_ms, at: read.at + 60 * SECOND };
        assert_eq!(read.age_at(wall_stood), 60 * SECOND);
        let set_back = Moment { wall_ms: read.wall_ms - 1, at: read.at + SECOND };
        assert_eq!(read.age_at(set_back), Duration::MAX);
        let soon = Moment { wall_ms: read.wall_ms + 300, at: read.at + SECOND / 4 };
        assert_eq!(read.age_at(soon), Duration::from_millis(300));
    }

    #[test]
    fn what_others_read_is_as_old_as_it_was_for_them() {
        let now = Moment::now();
        assert_eq!(now.earlier_by(SECOND / 2).age_at(now), SECOND / 2);
    }
}
