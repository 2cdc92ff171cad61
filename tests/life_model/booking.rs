//! What is asked for, and what is known of each reservation that was accepted.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};
use shared::domain::reservation::{Status, Step};

use super::model::SEATS;

/// What a customer asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Those of [`SEATS`] whose bit is set.
    Seats(u8),
    /// So many of section A.
    Best(usize),
    /// So many of the floor.
    Places(usize),
}

impl Ask {
    pub fn body(&self) -> Value {
        match self {
            Ask::Seats(_) => json!({ "seats": self.seats() }),
            Ask::Best(quantity) => json!({ "section": "A", "quantity": quantity }),
            Ask::Places(quantity) => json!({ "section": "FLOOR", "quantity": quantity }),
        }
    }

    pub fn seats(&self) -> Vec<&'static str> {
        let Ask::Seats(bits) = self else { return Vec::new() };
        (0..SEATS.len()).filter(|at| bits >> at & 1 == 1).map(|at| SEATS[at]).collect()
    }

    pub fn quantity(&self) -> usize {
        match self {
            Ask::Seats(_) => self.seats().len(),
            Ask::Best(quantity) | Ask::Places(quantity) => *quantity,
        }
    }

    pub fn section(&self) -> &'static str {
        if matches!(self, Ask::Places(_)) { "FLOOR" } else { "A" }
    }
}

/// Seats and what they cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub seats: BTreeSet<String>,
    pub amount: u64,
}

impl Offer {
    pub fn of(body: &Value) -> Self {
        let seats = body["seats"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Self { seats: seats.map(str::to_owned).collect(), amount: body["amount_cents"].as_u64().unwrap_or(u64::MAX) }
    }
}

/// A reservation that was accepted at least once.
#[derive(Debug)]
pub struct Booking {
    pub customer: usize,
    pub id: String,
    pub ask: Ask,
    /// As it was seen last; what is pending may be held by now.
    pub status: Status,
    /// What was promised; of a stored one, what is stored.
    pub offers: Vec<Offer>,
    pub stored: bool,
    /// Redis has its record.
    pub record: bool,
    /// Redis was lost while messages were under way, so somebody else may be quicker.
    pub doubt: bool,
    /// What its retries may have claimed since Redis was lost, besides what is its own.
    pub phantoms: BTreeSet<String>,
    pub extended: bool,
    pub reference: Option<String>,
}

impl Booking {
    pub fn possible(&self) -> Vec<Status> {
        match self.status {
            Status::Pending if self.doubt => vec![Status::Pending, Status::Held, Status::Rejected],
            Status::Pending => vec![Status::Pending, Status::Held],
            status => vec![status],
        }
    }

    pub fn may_live(&self) -> bool {
        matches!(self.status, Status::Pending | Status::Held | Status::Confirmed)
    }

    pub fn surely_lives(&self) -> bool {
        let told = self.stored || (self.record && !self.doubt);
        self.may_live() && told && self.offers.len() == 1
    }

    pub fn seats(&self) -> &BTreeSet<String> {
        &self.offers[0].seats
    }

    pub fn may_have(&self) -> impl Iterator<Item = &String> {
        let own = self.offers.iter().filter(|_| self.may_live()).flat_map(|offer| &offer.seats);
        own.chain(&self.phantoms)
    }

    /// Learns how the row stands. What was stored is never another.
    pub fn learn(&mut self, status: Status, body: &Value) -> Result<(), TestCaseError> {
        let offer = Offer::of(body);
        prop_assert!(self.offers.contains(&offer), "it has {:?} and was promised {:?}", offer, self.offers);
        let allowed = self.status == status || reaches(self.status, status);
        prop_assert!(allowed, "{:?} has become {:?}", self.status, status);
        (self.offers, self.stored, self.status) = (vec![offer], true, status);
        Ok(())
    }
}

/// Whether steps lead from one status to the other.
pub fn reaches(from: Status, to: Status) -> bool {
    let steps = [Step::Hold, Step::Reject, Step::Confirm, Step::Cancel, Step::Expire];
    steps.iter().filter_map(|step| from.after(*step)).any(|next| next == to || reaches(next, to))
}

/// The status an answer carries.
pub fn status_of(body: &Value) -> Option<Status> {
    serde_json::from_value(body["status"].clone()).ok()
}

/// What an owner or the payment side wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Confirm(&'static str),
    Cancel,
    Extend,
}

impl Booking {
    /// What a change of a reservation that stands so is answered.
    pub fn expected(&self, status: Status, act: Act) -> (u16, &'static str) {
        match (act, status) {
            (Act::Confirm(_) | Act::Extend, Status::Pending) => (409, "pending"),
            (Act::Confirm(_) | Act::Cancel, Status::Held) | (Act::Cancel, Status::Pending) => (200, ""),
            (Act::Confirm(reference), Status::Confirmed) if self.reference.as_deref() != Some(reference) => {
                (409, "already-confirmed")
            }
            (Act::Confirm(_) | Act::Cancel, Status::Confirmed) | (Act::Cancel, Status::Cancelled) => (200, ""),
            (_, Status::Expired) => (409, "hold-expired"),
            (Act::Confirm(_) | Act::Cancel, _) => (409, "not-held"),
            (Act::Extend, Status::Held) if self.extended => (409, "already-extended"),
            (Act::Extend, Status::Held) => (200, ""),
            (Act::Extend, _) => (409, "not-extendable"),
        }
    }
}
