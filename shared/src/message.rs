//! What travels through Kafka: the reservation request and its outcome. The claim script completes a request with the
//! times of its own clock, and the record it writes holds the finished bytes: a retry re-produces exactly those.
//!
//! # Versions
//! `version` counts the changes that a reader must not read over. A field that goes, is renamed, or changes its type or its
//! meaning raises it; so does a new one that must be heeded, and anything at all inside a seat, since conditions compare
//! stored seats as they are. A field that may be missing and may be read over keeps the version: every reader skips what it
//! does not know, and bytes are passed on as they came. A request of a version this code does not know is a dead letter
//! (reason `version`), so readers are deployed before writers.
//!
//! `message/written/` keeps one file for each form ever written. All must be read for as long as a topic, a dead letter or a
//! record may hold them; what is written today must be the newest ones byte for byte. A change of the form therefore
//! comes with a new file, and a change of the version with code that still reads the older ones.

use std::collections::{BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use crate::domain::Invalid;
use crate::domain::document::{MAX_SEATS_PER_RESERVATION, SaleWindow};
use crate::domain::event::{Seat, Version};
use crate::domain::ids::{CustomerId, Label, ReservationId};
use crate::domain::json::from_json;
use crate::domain::money::{Cents, Currency, SectionCents};
use crate::domain::reservation::{Outcome, Reason};

#[cfg(test)]
mod written_tests;

/// The version this code writes, and so far the only one there is.
pub const MESSAGE_VERSION: u32 = 1;
/// Header of every message: the reservation id, with which an outcome is matched to its request.
pub const CORRELATION_ID: &str = "correlation-id";
/// Largest request value it reads, in bytes. A request of twenty seats with the longest ids stays below 4 KB.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// Largest seat number a message may name: a bitmap that long takes Redis little more than a megabyte.
const MAX_SEAT_NUMBER: u32 = 10_000_000;

/// A reservation request as `reservation-requests` carries it. Times are milliseconds since the epoch by Redis' clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`MESSAGE_VERSION`].
    pub version: u32,
    /// Names the reservation and its event.
    pub reservation_id: ReservationId,
    /// Whose it is.
    pub customer: CustomerId,
    /// Tells another body under the same key.
    pub fingerprint: String,
    /// The publication the seats were located in.
    pub layout_version: Version,
    /// What it costs.
    pub amount_cents: Cents,
    /// In which currency.
    pub currency: Currency,
    /// What of it each section costs, where there are several: prices may be others by the time that days are settled.
    /// (Writers before this field left it out there, too.)
    #[serde(default, skip_serializing_if = "SectionCents::is_empty")]
    pub section_cents: SectionCents,
    /// Most live seats of one customer at the time of the claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_customer: Option<u32>,
    /// The sale's first moment.
    pub opens_at_ms: i64,
    /// The first moment after the sale.
    pub closes_at_ms: i64,
    /// What is asked for, all or nothing.
    pub seats: Vec<Seat>,
    /// When the claim was granted.
    pub held_at_ms: i64,
    /// When the hold ends.
    pub expires_at_ms: i64,
}

/// A request before the claim: all but the seats, which the claim script may choose, and the two times, which only its
/// clock may give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Draft {
    version: u32,
    reservation_id: ReservationId,
    customer: CustomerId,
    fingerprint: String,
    layout_version: Version,
    amount_cents: Cents,
    currency: Currency,
    #[serde(skip_serializing_if = "SectionCents::is_empty")]
    section_cents: SectionCents,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_per_customer: Option<u32>,
    opens_at_ms: i64,
    closes_at_ms: i64,
}

/// What a draft is made of besides the ids.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The publication the seats were located in.
    pub layout_version: Version,
    /// What it costs.
    pub amount: Cents,
    /// In which currency.
    pub currency: Currency,
    /// What of it each section costs, where there are several.
    pub section_cents: SectionCents,
    /// Most live seats of one customer.
    pub max_per_customer: Option<u32>,
    /// When seats may be claimed.
    pub sale: SaleWindow,
}

impl Draft {
    /// Puts a draft together.
    pub fn new(id: ReservationId, customer: CustomerId, fingerprint: String, terms: &Terms) -> Self {
        Self {
            version: MESSAGE_VERSION,
            reservation_id: id,
            customer,
            fingerprint,
            layout_version: terms.layout_version,
            amount_cents: terms.amount,
            currency: terms.currency,
            section_cents: terms.section_cents.clone(),
            max_per_customer: terms.max_per_customer,
            opens_at_ms: terms.sale.opens_at.as_millisecond(),
            closes_at_ms: terms.sale.closes_at.as_millisecond(),
        }
    }

    /// The JSON object without its closing brace: the script appends the seats, the times and the brace.
    pub fn open_json(&self) -> String {
        let mut json = serde_json::to_string(self).unwrap_or_default();
        json.pop();
        json
    }
}

/// Why bytes are no request. Each has a stable name, for the dead letter and the metric.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The record has no key.
    #[error("the record has no key")]
    NoKey,
    /// The record has no value.
    #[error("the record has no value")]
    NoValue,
    /// More than [`MAX_MESSAGE_BYTES`].
    #[error("the value has {0} bytes")]
    TooLarge(usize),
    /// Not a JSON object of this shape.
    #[error("the value is no reservation request: {0}")]
    Schema(Invalid),
    /// A version this code does not read.
    #[error("the value has version {0}")]
    Version(u64),
    /// The key names another reservation than the value.
    #[error("the key is not the value's reservation id")]
    Key,
}

impl Malformed {
    /// The stable name.
    pub fn reason(&self) -> &'static str {
        match self {
            Malformed::NoKey => "no-key",
            Malformed::NoValue => "no-value",
            Malformed::TooLarge(_) => "too-large",
            Malformed::Schema(_) => "schema",
            Malformed::Version(_) => "version",
            Malformed::Key => "key",
        }
    }
}

impl Request {
    /// Reads a request from a record's key and value.
    ///
    /// # Errors
    /// The first rule the bytes break.
    pub fn read(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Self, Malformed> {
        let key = key.ok_or(Malformed::NoKey)?;
        let request = Self::from_value(value.ok_or(Malformed::NoValue)?)?;
        if key != request.reservation_id.as_str().as_bytes() {
            return Err(Malformed::Key);
        }
        Ok(request)
    }

    /// Reads a request from its value alone, as a record in Redis holds it.
    ///
    /// # Errors
    /// The first rule the bytes break.
    pub fn from_value(value: &[u8]) -> Result<Self, Malformed> {
        /// Read first, so that another version is called by its name whatever its fields are.
        #[derive(Deserialize)]
        struct Versioned {
            version: u64,
        }
        if value.len() > MAX_MESSAGE_BYTES {
            return Err(Malformed::TooLarge(value.len()));
        }
        let Versioned { version } = from_json(value).map_err(Malformed::Schema)?;
        if version != u64::from(MESSAGE_VERSION) {
            return Err(Malformed::Version(version));
        }
        let request: Self = from_json(value).map_err(Malformed::Schema)?;
        request.check().map_err(Malformed::Schema)?;
        Ok(request)
    }

    fn check(&self) -> Result<(), Invalid> {
        if self.seats.is_empty() || self.seats.len() > MAX_SEATS_PER_RESERVATION {
            return Err(Invalid::new("seats", format!("must be 1 to {MAX_SEATS_PER_RESERVATION} seats")));
        }
        let mut ids = HashSet::new();
        let mut numbers = HashSet::new();
        for seat in &self.seats {
            if !ids.insert(&seat.id) || !numbers.insert((seat.id.section(), seat.number)) {
                return Err(Invalid::new("seats", "names a seat twice"));
            }
            if seat.number > MAX_SEAT_NUMBER {
                return Err(Invalid::new("seats", format!("has a number above {MAX_SEAT_NUMBER}")));
            }
        }
        self.check_sections()?;
        if self.expires_at_ms <= self.held_at_ms || self.held_at_ms < 0 {
            return Err(Invalid::new("expires_at_ms", "must be after held_at_ms"));
        }
        Ok(())
    }

    fn check_sections(&self) -> Result<(), Invalid> {
        if self.section_cents.is_empty() {
            return Ok(());
        }
        let sum = self.section_cents.values().try_fold(Cents::ZERO, |sum, cents| sum.checked_add(*cents));
        let sections: BTreeSet<&str> = self.seats.iter().map(|seat| seat.id.section()).collect();
        if sum != Some(self.amount_cents) || !sections.into_iter().eq(self.section_cents.keys().map(Label::as_str)) {
            return Err(Invalid::new(
                "section_cents",
                "must name the sections of the seats, and add up to amount_cents",
            ));
        }
        Ok(())
    }

    /// The value as it travels.
    pub fn to_value(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Why the request may not be stored, whatever the seats: the claim was granted outside the sale it names, or the
    /// request alone is over the limit it names. (The claim refuses both; a message is judged by itself.)
    pub fn refusal(&self) -> Option<Reason> {
        if self.held_at_ms < self.opens_at_ms {
            return Some(Reason::SaleNotOpen);
        }
        if self.held_at_ms >= self.closes_at_ms {
            return Some(Reason::SaleClosed);
        }
        let over = self.max_per_customer.is_some_and(|limit| self.seats.len() > limit as usize);
        over.then_some(Reason::LimitReached)
    }
}

/// What became of a request, as `reservation-outcomes` carries it: key and header `correlation-id` are the reservation id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeMessage {
    /// [`MESSAGE_VERSION`].
    pub version: u32,
    /// Which reservation.
    pub reservation_id: ReservationId,
    /// Whose it is.
    pub customer: CustomerId,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The seats as stored.
    pub seats: Vec<Seat>,
    /// When the claim was granted, in milliseconds since the epoch.
    pub held_at_ms: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = include_str!("message/written/request-v1.json");
    const KEY: &[u8] = b"club.2c5ea4c0-4067-51f9-8f6d-2b7a4f3f7c11";

    fn with(from: &str, to: &str) -> Result<Request, Malformed> {
        assert!(VALUE.contains(from));
        Request::read(Some(KEY), Some(VALUE.replace(from, to).as_bytes()))
    }

    #[test]
    fn a_request_survives_the_round_trip_byte_for_byte() {
        let request = Request::read(Some(KEY), Some(VALUE.as_bytes())).unwrap();
        assert_eq!(String::from_utf8(request.to_value()).unwrap(), VALUE);
        assert_eq!(request.refusal(), None);
    }

    #[test]
    fn what_the_script_appends_to_a_draft_is_a_request() {
        let request = Request::read(Some(KEY), Some(VALUE.as_bytes())).unwrap();
        let sale = SaleWindow { opens_at: ms(1), closes_at: ms(9_000) };
        let terms = Terms {
            layout_version: 3,
            amount: request.amount_cents,
            currency: request.currency,
            section_cents: SectionCents::new(),
            max_per_customer: Some(8),
            sale,
        };
        let draft = Draft::new(request.reservation_id, request.customer, "f0".into(), &terms);
        let seats = serde_json::to_string(&request.seats).unwrap();
        assert_eq!(
            format!("{},\"seats\":{seats},\"held_at_ms\":1000,\"expires_at_ms\":2000}}", draft.open_json()),
            VALUE
        );
    }

    fn ms(milliseconds: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(milliseconds).unwrap()
    }

    #[test]
    fn unknown_optional_fields_are_read_over_and_another_major_is_not() {
        assert!(with("\"version\":1", "\"version\":1,\"new\":{\"a\":[1]}").is_ok());
        assert_eq!(with("\"version\":1", "\"version\":2"), Err(Malformed::Version(2)));
    }

    #[test]
    fn each_broken_rule_has_its_name() {
        assert_eq!(Request::read(None, Some(VALUE.as_bytes())), Err(Malformed::NoKey));
        assert_eq!(Request::read(Some(KEY), None), Err(Malformed::NoValue));
        assert_eq!(Request::read(Some(b"club.x"), Some(VALUE.as_bytes())), Err(Malformed::Key));
        assert_eq!(
            Request::read(Some(KEY), Some(&vec![b' '; MAX_MESSAGE_BYTES + 1])).unwrap_err().reason(),
            "too-large"
        );
        let doubled = r#"{"id":"A-1-12","number":11},{"id":"A-1-12","number":11}"#;
        for (from, to) in [
            ("alice", ""),
            ("\"seats\":[{\"id\":\"A-1-12\",\"number\":11}]", "\"seats\":[]"),
            (r#"{"id":"A-1-12","number":11}"#, doubled),
            (r#"{"id":"A-1-12","number":11}"#, r#"{"id":"A-1-12","number":11},{"id":"A-1-13","number":11}"#),
            ("\"number\":11", "\"number\":-1"),
            ("\"number\":11", "\"number\":4000000000"),
            ("8900", "\"8900\""),
            ("8900", "89.5"),
            ("\"expires_at_ms\":2000", "\"expires_at_ms\":1000"),
            ("{\"version\":1", "[1"),
        ] {
            assert_eq!(with(from, to).unwrap_err().reason(), "schema", "{from} -> {to}");
        }
    }

    #[test]
    fn an_amount_is_split_over_the_very_sections_and_to_the_cent() {
        let two = r#"{"id":"A-1-12","number":11},{"id":"B-1-1","number":0}"#;
        let split = |cents: &str| {
            let amount = format!("\"currency\":\"EUR\",\"section_cents\":{cents}");
            let value = VALUE.replace("\"currency\":\"EUR\"", &amount).replace(r#"{"id":"A-1-12","number":11}"#, two);
            Request::from_value(value.as_bytes()).map(|request| request.section_cents.len())
        };
        assert_eq!(split(r#"{"A":8000,"B":900}"#), Ok(2));
        assert_eq!(split("{}"), Ok(0));
        for wrong in [
            r#"{"A":8000,"B":901}"#,
            r#"{"A":8900}"#,
            r#"{"A":8000,"C":900}"#,
            r#"{"A":8000,"B":800,"C":100}"#,
            r#"{"A":18446744073709551615,"B":8901}"#,
            r#"{"A":8000,"B":-1}"#,
            "[]",
        ] {
            assert_eq!(split(wrong).unwrap_err().reason(), "schema", "{wrong}");
        }
    }

    #[test]
    fn a_claim_outside_its_sale_or_over_its_limit_is_refused() {
        assert_eq!(with("\"opens_at_ms\":1", "\"opens_at_ms\":1001").unwrap().refusal(), Some(Reason::SaleNotOpen));
        assert_eq!(with("\"closes_at_ms\":9000", "\"closes_at_ms\":1000").unwrap().refusal(), Some(Reason::SaleClosed));
        let two = r#"{"id":"A-1-12","number":11},{"id":"A-1-13","number":12}"#;
        let over = VALUE
            .replace(r#"{"id":"A-1-12","number":11}"#, two)
            .replace("\"max_per_customer\":8", "\"max_per_customer\":1");
        assert_eq!(Request::from_value(over.as_bytes()).unwrap().refusal(), Some(Reason::LimitReached));
    }
}
