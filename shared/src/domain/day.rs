//! A day of settlement: a calendar date in the zone of the venue, and the moment at which it is over.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// A day in some zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day {
    /// Its date there.
    pub date: Date,
    /// The first moment of the next one, in milliseconds since the epoch.
    pub ends_at_ms: i64,
}

impl Day {
    /// The day of a moment (milliseconds since the epoch) in an IANA zone. A published event's zone is known; one that a
    /// later database of zones has dropped reads as UTC, for no sale may fail over its bookkeeping.
    pub fn of(ms: i64, zone: &str) -> Self {
        let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
        let date = Timestamp::from_millisecond(ms).unwrap_or_default().to_zoned(zone.clone()).date();
        // Where midnight, or the whole next date, is skipped, this is the first moment behind the gap.
        let next = date.tomorrow().and_then(|tomorrow| tomorrow.to_zoned(zone));
        Self { date, ends_at_ms: next.map_or(i64::MAX, |next| next.timestamp().as_millisecond()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ZONES: [&str; 6] = [
        "Pacific/Auckland",
        "America/New_York",
        "America/Sao_Paulo",
        "Pacific/Apia",
        "Asia/Kathmandu",
        "Europe/Dublin",
    ];

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    /// The date of a moment, and the last second of that date in UTC.
    fn day(moment: &str, zone: &str) -> (String, String) {
        let day = Day::of(ms(moment), zone);
        let last = Timestamp::from_millisecond(day.ends_at_ms - 1_000).unwrap();
        (day.date.to_string(), last.to_string())
    }

    #[test]
    fn a_day_is_the_venues_and_as_long_as_it_is_there() {
        for (moment, zone, date, last) in [
            ("2026-11-25T10:59:59Z", "Pacific/Auckland", "2026-11-25", "2026-11-25T10:59:59Z"),
            ("2026-11-25T11:00:00Z", "Pacific/Auckland", "2026-11-26", "2026-11-26T10:59:59Z"),
            // Clocks go forward: 23 hours.
            ("2026-03-08T05:00:00Z", "America/New_York", "2026-03-08", "2026-03-09T03:59:59Z"),
            // And back: 25 hours.
            ("2026-11-01T04:00:00Z", "America/New_York", "2026-11-01", "2026-11-02T04:59:59Z"),
            // The next day begins at one o'clock.
            ("2018-11-04T02:00:00Z", "America/Sao_Paulo", "2018-11-03", "2018-11-04T02:59:59Z"),
            // The next date was left out.
            ("2011-12-30T09:00:00Z", "Pacific/Apia", "2011-12-29", "2011-12-30T09:59:59Z"),
            ("2026-11-25T23:00:00Z", "Atlantis/Poseidon", "2026-11-25", "2026-11-25T23:59:59Z"),
        ] {
            assert_eq!(day(moment, zone), (date.into(), last.into()), "{moment} {zone}");
        }
    }

    proptest! {
        #[test]
        fn the_end_of_a_day_is_the_first_moment_of_another(
            ms in 1_300_000_000_000_i64..2_000_000_000_000,
            zone in prop::sample::select(&ZONES[..]),
        ) {
            let day = Day::of(ms, zone);
            prop_assert!(ms < day.ends_at_ms);
            prop_assert_eq!(Day::of(day.ends_at_ms - 1, zone), day);
            prop_assert!(Day::of(day.ends_at_ms, zone).date > day.date);
        }
    }
}
