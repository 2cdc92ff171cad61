//! What is to be settled of a reservation, on which day, and the pages in which reservations are counted together.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::keys;
use super::rows::{ReservationRow, Settled};
use crate::domain::day::Day;
use crate::domain::ids::{EventId, ReservationId};
use crate::domain::money::Currency;
use crate::domain::reservation::Status;

/// Reservations of one page: with the day and the fence they stay below the 100 items of a transaction.
pub const MAX_PAGE: usize = 90;
/// Numbers of a day that one page adds to: an expression has at most 4 KB and 300 operators, and each takes two names of at
/// most four characters. (A reservation alone adds to 80 at most: 20 sections.)
const MAX_NUMBERS: usize = 240;

/// What is to be settled next of a reservation: all of one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToSettle {
    /// On which day it counts.
    pub day: Day,
    /// Whether its sale does.
    pub sale: bool,
    /// Whether its refund does.
    pub refund: bool,
}

/// What a section has come to on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// Seats confirmed.
    pub sold: u64,
    /// What they cost, in cents.
    pub revenue_cents: u64,
    /// Seats given back after that.
    pub refunded: u64,
    /// What they had cost, in cents.
    pub refunds_cents: u64,
}

/// Names of the four numbers, as attributes behind the section's.
pub(super) const NUMBERS: [&str; 4] = ["sold", "revenue_cents", "refunded", "refunds_cents"];

impl Sums {
    fn add(&mut self, other: Self) {
        self.sold += other.sold;
        self.revenue_cents += other.revenue_cents;
        self.refunded += other.refunded;
        self.refunds_cents += other.refunds_cents;
    }

    pub(super) fn numbers(&mut self) -> [&mut u64; 4] {
        [&mut self.sold, &mut self.revenue_cents, &mut self.refunded, &mut self.refunds_cents]
    }
}

/// Reservations of one event and day that are counted together.
#[derive(Debug, Clone)]
pub struct Page {
    pub(super) event: EventId,
    pub(super) currency: Currency,
    pub(super) date: Date,
    pub(super) rows: Vec<(ReservationRow, ToSettle)>,
}

impl ReservationRow {
    /// What is to be settled next, `None` = nothing. A block has no zone and is never settled.
    pub fn to_settle(&self) -> Option<ToSettle> {
        let zone = self.time_zone.as_deref()?;
        let sold_on = Day::of(self.confirmed_at_ms?, zone);
        let ended_at_ms = self.ended_at_ms.filter(|_| self.status == Status::Cancelled);
        let refunded_on = ended_at_ms.map(|at_ms| Day::of(at_ms, zone));
        match (self.settled, refunded_on) {
            (None, refunded_on) => Some(ToSettle { day: sold_on, sale: true, refund: refunded_on == Some(sold_on) }),
            (Some(Settled::Sold), Some(day)) => Some(ToSettle { day, sale: false, refund: true }),
            _ => None,
        }
    }

    /// Shard and time under which the refund is due that comes of ending this row so; `None` = there is none.
    pub(super) fn refund_due(&self, to: Status, at_ms: i64) -> Option<(String, String)> {
        let zone = self.time_zone.as_deref().filter(|_| to == Status::Cancelled && self.confirmed_at_ms.is_some())?;
        let shard = keys::due_settle(keys::shard(&self.reservation_id));
        Some((shard, keys::sortable(Day::of(at_ms, zone).ends_at_ms)))
    }

    /// Seats and cents of each section. What was asked for before requests told is split by seats, to the cent in sum.
    pub fn by_section(&self) -> BTreeMap<&str, (u64, u64)> {
        let mut sections: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for seat in &self.seats {
            sections.entry(seat.id.section()).or_default().0 += 1;
        }
        let (all, amount) = (self.seats.len().max(1) as u64, self.amount_cents.get());
        let mut before = 0;
        for (section, (seats, cents)) in &mut sections {
            let told = self.section_cents.iter().find(|(label, _)| label.as_str() == *section);
            let part = |seats: u64| amount * seats / all;
            *cents = told.map_or(part(before + *seats) - part(before), |(_, cents)| cents.get());
            before += *seats;
        }
        sections
    }

    pub(super) fn after(&self, settling: ToSettle) -> Self {
        let settled = if settling.refund { Settled::Refunded } else { Settled::Sold };
        let mut after = self.clone();
        after.settled = Some(settled);
        after.due_at = after.to_settle().map(|next| keys::sortable(next.day.ends_at_ms));
        after.due_shard = after.due_shard.filter(|_| after.due_at.is_some());
        after
    }
}

impl Page {
    /// Pages of those rows whose next part is of a day that ended before `until_ms`.
    pub fn of(rows: Vec<ReservationRow>, until_ms: i64) -> Vec<Self> {
        let mut pages: Vec<Self> = Vec::new();
        for row in rows {
            let Some(settling) = row.to_settle().filter(|settling| settling.day.ends_at_ms < until_ms) else {
                continue;
            };
            let (event, currency, date) = (row.reservation_id.event(), row.currency, settling.day.date);
            let last =
                pages.iter_mut().rfind(|page| (&page.event, page.currency, page.date) == (&event, currency, date));
            match last {
                Some(page) if page.has_room_for(&row, settling) => page.rows.push((row, settling)),
                _ => pages.push(Self { event, currency, date, rows: vec![(row, settling)] }),
            }
        }
        pages
    }

    fn has_room_for(&self, row: &ReservationRow, settling: ToSettle) -> bool {
        if self.rows.len() >= MAX_PAGE {
            return false;
        }
        let mut sums = self.sums();
        add(&mut sums, row, settling);
        // Both halves are added to, at most, where there is a refund.
        sums.len() * NUMBERS.len() <= MAX_NUMBERS || self.rows.is_empty()
    }

    pub(super) fn sums(&self) -> BTreeMap<String, Sums> {
        let mut sums = BTreeMap::new();
        for (row, settling) in &self.rows {
            add(&mut sums, row, *settling);
        }
        sums
    }

    /// Which reservations.
    pub fn ids(&self) -> Vec<ReservationId> {
        self.rows.iter().map(|(row, _)| row.reservation_id.clone()).collect()
    }

    /// How many sales and refunds it counts.
    pub fn parts(&self) -> (usize, usize) {
        let count = |is: fn(&ToSettle) -> bool| self.rows.iter().filter(|(_, settling)| is(settling)).count();
        (count(|settling| settling.sale), count(|settling| settling.refund))
    }
}

fn add(sums: &mut BTreeMap<String, Sums>, row: &ReservationRow, settling: ToSettle) {
    for (section, (seats, cents)) in row.by_section() {
        let mut of = Sums::default();
        if settling.sale {
            (of.sold, of.revenue_cents) = (seats, cents);
        }
        if settling.refund {
            (of.refunded, of.refunds_cents) = (seats, cents);
        }
        sums.entry(section.to_owned()).or_default().add(of);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::reservation::{Decision, Outcome};
    use crate::message::Request;

    const HOUR_MS: i64 = 3_600_000;

    fn row(seats: &str, amount: u64, section_cents: &str) -> ReservationRow {
        let message = format!(
            r#"{{"version":1,"reservation_id":"e.2c5ea4c0-4067-51f9-8f6d-2b7a4f3f7c11","customer":"a","fingerprint":"f",
            "layout_version":1,"amount_cents":{amount},"currency":"EUR","section_cents":{section_cents},"opens_at_ms":0,
            "closes_at_ms":9,"seats":[{seats}],"held_at_ms":1,"expires_at_ms":2}}"#
        );
        let request = Request::from_value(message.as_bytes()).unwrap();
        ReservationRow::new(&request, Decision::plain(Outcome::Held))
    }

    const TWO_SECTIONS: &str = r#"{"id":"A-1-1","number":0},{"id":"B-1-1","number":0},{"id":"A-1-2","number":1}"#;

    #[test]
    fn an_amount_is_each_sections_own_or_split_by_seats_to_the_cent() {
        let told = row(TWO_SECTIONS, 1_000, r#"{"A":10,"B":990}"#);
        assert_eq!(told.by_section(), BTreeMap::from([("A", (2, 10)), ("B", (1, 990))]));
        let untold = row(TWO_SECTIONS, 1_000, "{}");
        assert_eq!(untold.by_section(), BTreeMap::from([("A", (2, 666)), ("B", (1, 334))]));
        let alone = row(r#"{"id":"A-1-1","number":0}"#, 7, "{}");
        assert_eq!(alone.by_section(), BTreeMap::from([("A", (1, 7))]));
    }

    #[test]
    fn the_sale_comes_first_and_both_together_where_both_are_of_one_day() {
        let held = row(TWO_SECTIONS, 3, "{}");
        assert_eq!(held.to_settle(), None);
        let paid = held.confirmed(None, "Asia/Seoul", 10 * HOUR_MS);
        let parts =
            |row: &ReservationRow| row.to_settle().map(|next| (next.day.ends_at_ms / HOUR_MS, next.sale, next.refund));
        // Nine hours ahead: the day ends at 15:00 in UTC.
        assert_eq!(parts(&paid), Some((15, true, false)));
        assert_eq!(parts(&paid.ended(Status::Cancelled, 14 * HOUR_MS)), Some((15, true, true)));
        let later = paid.ended(Status::Cancelled, 15 * HOUR_MS);
        assert_eq!(parts(&later), Some((15, true, false)));
        assert_eq!(later.due_at, Some(keys::sortable(15 * HOUR_MS)), "the sale is due before the refund");
        let sold = later.after(later.to_settle().unwrap());
        assert_eq!((parts(&sold), &sold.due_at), (Some((39, false, true)), &Some(keys::sortable(39 * HOUR_MS))));
        let refunded = sold.after(sold.to_settle().unwrap());
        assert_eq!((parts(&refunded), &refunded.due_shard, &refunded.due_at), (None, &None, &None));
        assert_eq!(parts(&held.ended(Status::Cancelled, 1)), None, "what was never paid is never settled");
    }

    #[test]
    fn a_page_has_ninety_rows_of_one_day_and_no_more_sections_than_an_expression_takes() {
        let paid = row(TWO_SECTIONS, 3, "{}").confirmed(None, "Asia/Seoul", 10 * HOUR_MS);
        let next = paid.confirmed(None, "Asia/Seoul", 20 * HOUR_MS);
        let rows: Vec<ReservationRow> =
            (0..200).map(|n| if n % 20 == 0 { next.clone() } else { paid.clone() }).collect();
        let lengths = |pages: &[Page]| pages.iter().map(|page| page.rows.len()).collect::<Vec<_>>();
        assert_eq!(lengths(&Page::of(rows.clone(), 40 * HOUR_MS)), [10, 90, 90, 10]);
        assert_eq!(lengths(&Page::of(rows, 39 * HOUR_MS)), [90, 90, 10], "a day is over once it has ended");
        let of_sections = |first: usize| {
            let seats: Vec<String> =
                (first..first + 20).map(|n| format!(r#"{{"id":"S{n}-1-1","number":0}}"#)).collect();
            row(&seats.join(","), 20, "{}").confirmed(None, "Asia/Seoul", HOUR_MS)
        };
        let pages = Page::of((0..10).map(|n| of_sections(n * 20)).collect(), 40 * HOUR_MS);
        assert_eq!(lengths(&pages), [3, 3, 3, 1]);
        assert!(pages.iter().all(|page| page.sums().len() * NUMBERS.len() <= MAX_NUMBERS));
    }
}
