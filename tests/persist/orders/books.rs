//! What must be true of the table after deliveries in any order: one owner a seat at any instant, a reason for each refusal,
//! and counts that add up. Judged from the rows and items alone.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use shared::domain::event::Seat;
use shared::domain::reservation::{Outcome, Reason, Status};
use shared::dynamodb::rows::ReservationRow;
use shared::message::{OutcomeMessage, Request};

use super::plan::Plan;

/// The table after a plan, and what was said on the way.
#[derive(Debug)]
pub struct Books {
    /// Each request with its row.
    pub rows: Vec<(Request, ReservationRow)>,
    /// The owner's uuid of each seat that has an item.
    pub owners: BTreeMap<u32, String>,
    /// Live seats by customer, as the limit items count them.
    pub live: BTreeMap<String, u32>,
    /// Every outcome sent.
    pub outcomes: Vec<OutcomeMessage>,
}

fn overlap(a: &ReservationRow, b: &ReservationRow) -> bool {
    a.held_at_ms < b.expires_at_ms && b.held_at_ms < a.expires_at_ms
}

impl Books {
    /// Rows that were held once, those that have been ended since among them.
    fn held(&self) -> impl Iterator<Item = &ReservationRow> {
        self.rows.iter().map(|(_, row)| row).filter(|row| row.outcome == Outcome::Held)
    }

    /// Rows that have not been ended.
    fn standing(&self) -> impl Iterator<Item = &ReservationRow> {
        self.held().filter(|row| row.status == Status::Held)
    }

    /// Fails with the first thing that is wrong.
    pub fn add_up(&self, plan: &Plan) -> Result<(), TestCaseError> {
        self.one_owner_at_any_instant()?;
        for (request, row) in &self.rows {
            self.is_explained(plan, request, row)?;
            let told: Vec<_> = self.outcomes.iter().filter(|told| told.reservation_id == row.reservation_id).collect();
            prop_assert!(!told.is_empty(), "{} was told nothing", row.reservation_id);
            let same = told.iter().all(|told| told.outcome == row.outcome && told.seats == row.seats);
            prop_assert!(same, "{:?} is told of {:?}", told, row);
        }
        self.counts_add_up(plan)
    }

    /// Fails where two have a seat at one instant, or its item says another than its rows.
    pub fn one_owner_at_any_instant(&self) -> Result<(), TestCaseError> {
        let standing: Vec<_> = self.standing().collect();
        for (at, row) in standing.iter().enumerate() {
            for other in &standing[at + 1..] {
                let shared = row.seats.iter().any(|seat| other.seats.contains(seat));
                prop_assert!(!(shared && overlap(row, other)), "two owners at one instant:\n{:?}\n{:?}", row, other);
            }
        }
        let nobody_ended = self.standing().count() == self.held().count();
        let seats: Vec<&Seat> = self.rows.iter().flat_map(|(request, _)| &request.seats).collect();
        for seat in seats {
            let holders = || standing.iter().filter(|row| row.seats.contains(seat));
            let owner = self.owners.get(&seat.number).map(String::as_str);
            match owner {
                Some(owner) => {
                    let known = holders().any(|row| row.reservation_id.uuid() == owner);
                    prop_assert!(known, "{:?} belongs to {}, who does not hold it", seat, owner);
                }
                None => prop_assert!(holders().next().is_none() || !nobody_ended, "{:?} has lost its owner", seat),
            }
            if nobody_ended {
                let last = holders().max_by_key(|row| row.held_at_ms).map(|row| row.reservation_id.uuid());
                prop_assert_eq!(owner, last, "{:?} is the last one's", seat);
            }
        }
        Ok(())
    }

    /// A hold is as it was asked for, and a refusal has a reason that can be seen.
    fn is_explained(&self, plan: &Plan, request: &Request, row: &ReservationRow) -> Result<(), TestCaseError> {
        prop_assert_eq!(&row.seats, &request.seats);
        prop_assert_eq!((row.held_at_ms, row.expires_at_ms), (request.held_at_ms, request.expires_at_ms));
        let wanted = request.seats.len();
        match row.outcome {
            Outcome::Held => {
                prop_assert!(row.taken.is_empty() && plan.limit.is_none_or(|limit| wanted <= limit as usize))
            }
            Outcome::Rejected(Reason::SeatsTaken) => {
                prop_assert!(!row.taken.is_empty());
                for taken in &row.taken {
                    let in_the_way = |other: &ReservationRow| {
                        other.seats.iter().any(|seat| seat.id == *taken) && other.expires_at_ms > row.held_at_ms
                    };
                    prop_assert!(self.held().any(in_the_way), "nobody has had {}, for which {:?}", taken, row);
                }
            }
            Outcome::Rejected(Reason::LimitReached) => {
                let his = self.held().filter(|other| other.customer == row.customer);
                let seats: usize = his.map(|row| row.seats.len()).sum();
                prop_assert!(plan.limit.is_some_and(|limit| seats + wanted > limit as usize), "{:?}", row);
            }
            outcome => prop_assert!(false, "nothing explains {:?}", outcome),
        }
        Ok(())
    }

    fn counts_add_up(&self, plan: &Plan) -> Result<(), TestCaseError> {
        let mut expected: BTreeMap<String, u32> = BTreeMap::new();
        for row in self.held() {
            let counted = if row.status == Status::Held { row.seats.len() as u32 } else { 0 };
            *expected.entry(row.customer.to_string()).or_default() += counted;
        }
        prop_assert_eq!(&self.live, &expected);
        prop_assert!(plan.limit.is_none_or(|limit| expected.values().all(|live| *live <= limit)));
        Ok(())
    }

    /// Delivered one by one, the first to come has a seat until somebody comes whose claim was granted after his hold's end.
    pub fn are_as_delivered(&self, deliveries: &[usize]) -> Result<(), TestCaseError> {
        let mut until: BTreeMap<u32, i64> = BTreeMap::new();
        let mut decided: BTreeMap<usize, bool> = BTreeMap::new();
        for at in deliveries {
            let Request { seats, held_at_ms, expires_at_ms, .. } = &self.rows[*at].0;
            let held = *decided.entry(*at).or_insert_with(|| {
                let held = seats.iter().all(|seat| until.get(&seat.number).is_none_or(|until| until <= held_at_ms));
                if held {
                    until.extend(seats.iter().map(|seat| (seat.number, *expires_at_ms)));
                }
                held
            });
            prop_assert_eq!(self.rows[*at].1.outcome == Outcome::Held, held, "{:?}", self.rows[*at].1);
        }
        Ok(())
    }

    /// Of wishes that never want a seat at the same time, each is held after which nobody claimed a seat of his; and whoever
    /// is refused came after somebody whose claim was granted when his own hold had ended.
    pub fn have_the_same_live_owners(&self) -> Result<(), TestCaseError> {
        for (request, row) in &self.rows {
            let later = |other: &&Request| {
                let shared = request.seats.iter().any(|seat| other.seats.contains(seat));
                shared && other.held_at_ms >= request.expires_at_ms
            };
            let later: Vec<_> = self.rows.iter().map(|(other, _)| other).filter(later).collect();
            let held = row.outcome == Outcome::Held;
            prop_assert!(held || !later.is_empty(), "nobody came later, and he is refused: {:?}", row);
            if later.is_empty() {
                let uuid = row.reservation_id.uuid();
                let his = request.seats.iter().all(|seat| self.owners.get(&seat.number).is_some_and(|own| own == uuid));
                prop_assert!(his, "seats of {:?} belong to others: {:?}", row, self.owners);
            }
        }
        Ok(())
    }
}
