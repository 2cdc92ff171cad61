//! What is known of an event's reservations from the answers alone, and what each further answer may say in view of it.
//! Where Redis was flushed with messages under way, several things are possible; nowhere is there an owner without a reason.

use std::collections::{BTreeMap, BTreeSet};

use local::client::Answer;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::Value;
use shared::domain::reservation::Status;

use super::booking::{Act, Ask, Booking, Offer, status_of};

/// The seats of section A.
pub const SEATS: [&str; 6] = ["A-1-1", "A-1-2", "A-1-3", "A-2-1", "A-2-2", "A-2-3"];
/// Places of the floor.
pub const PLACES: usize = 4;
/// Most live seats of a customer.
pub const LIMIT: usize = 5;

/// Who has what is blocked.
const ORGANISER: usize = usize::MAX;

#[derive(Debug)]
pub struct Model {
    pub bookings: Vec<Booking>,
    /// By section.
    pub prices: BTreeMap<&'static str, u64>,
    pub sale_paused: bool,
    /// What the organiser has taken off sale.
    pub blocked: BTreeSet<String>,
    /// Redis was lost in this walk: the limit is known to the table alone.
    flushed: bool,
    /// Messages were under way when it was, and may be still.
    blind: bool,
    /// Most that was taken and sold of section A: best seats are looked for in a map that may be a second old.
    most: (usize, usize),
    /// What the last drain found of who was ever refused for whom: seats each reservation had at any time since.
    had: BTreeSet<(usize, String)>,
}

impl Model {
    pub fn new(prices: BTreeMap<&'static str, u64>) -> Self {
        Self {
            bookings: Vec::new(),
            prices,
            sale_paused: false,
            blocked: BTreeSet::new(),
            flushed: false,
            blind: false,
            most: (0, 0),
            had: BTreeSet::new(),
        }
    }

    /// To be called after every step.
    pub fn remember(&mut self) {
        let taken = SEATS.iter().filter(|seat| self.may_be_taken(seat)).count();
        self.most = (self.most.0.max(taken), self.most.1.max(self.sold("A")));
        let bookings = self.bookings.iter().enumerate();
        let now = bookings.flat_map(|(at, booking)| booking.may_have().map(move |seat| (at, seat.clone())));
        let now: Vec<_> = now.collect();
        self.had.extend(now);
        self.had.extend(self.blocked.iter().map(|seat| (ORGANISER, seat.clone())));
    }

    pub fn lost(&mut self) {
        self.flushed = true;
        let under_way = |booking: &Booking| booking.status == Status::Pending || !booking.phantoms.is_empty();
        self.blind |= self.bookings.iter().any(under_way);
        for booking in &mut self.bookings {
            booking.record = false;
            booking.doubt |= booking.status == Status::Pending;
        }
    }

    fn may_be_taken(&self, seat: &str) -> bool {
        self.blocked.contains(seat) || self.bookings.iter().flat_map(Booking::may_have).any(|taken| taken == seat)
    }

    fn surely_taken(&self, seat: &str, but: Option<usize>) -> bool {
        let others = self.bookings.iter().enumerate().filter(|(at, _)| Some(*at) != but);
        self.blocked.contains(seat)
            || others.filter(|(_, booking)| booking.surely_lives()).any(|(_, booking)| booking.seats().contains(seat))
    }

    fn sold(&self, section: &str) -> usize {
        let sold = self.bookings.iter().filter(|booking| booking.status == Status::Confirmed);
        sold.flat_map(Booking::seats).chain(&self.blocked).filter(|seat| seat.starts_with(section)).count()
    }

    fn live(&self, customer: usize, counts: impl Fn(&Booking) -> bool, but: Option<usize>) -> usize {
        let his =
            self.bookings.iter().enumerate().filter(|(at, booking)| booking.customer == customer && Some(*at) != but);
        his.filter(|(_, booking)| counts(booking)).map(|(_, booking)| booking.ask.quantity()).sum()
    }

    /// Judges the answer to a request; `known` is the reservation its key stood for before. Answers which it stands for now.
    pub fn reserved(
        &mut self,
        customer: usize,
        ask: &Ask,
        known: Option<usize>,
        answer: &Answer,
    ) -> Result<Option<usize>, TestCaseError> {
        if let (Some(at), Some(id)) = (known, answer.text("reservation_id")) {
            prop_assert_eq!(id, &self.bookings[at].id, "one key, one id");
        }
        let Some(at) = known else { return self.judged_anew(customer, ask, None, answer) };
        let booking = &mut self.bookings[at];
        let possible = booking.possible();
        let slug = answer.text("type").unwrap_or_default();
        let (bound, record) = (answer.text("reservation_id").is_some(), booking.record);
        match answer.status {
            200 => {
                let status =
                    status_of(&answer.body).filter(|status| [Status::Held, Status::Confirmed].contains(status));
                prop_assert!(status.is_some_and(|status| possible.contains(&status)), "{:?}", possible);
                booking.learn(status.unwrap_or(Status::Held), &answer.body)?;
            }
            202 if record => {
                prop_assert!(possible.contains(&Status::Pending), "it was decided: {:?}", possible);
                prop_assert_eq!(Some(&Offer::of(&answer.body)), booking.offers.last());
            }
            409 if bound && slug == "hold-expired" => prop_assert_eq!(booking.status, Status::Expired),
            409 if bound && slug == "not-held" => prop_assert_eq!(booking.status, Status::Cancelled),
            409 if bound => {
                prop_assert!(possible.contains(&Status::Rejected), "{:?}", possible);
                let reasons = ["seats-taken", "contended", "limit-reached", "lapsed"];
                prop_assert!(reasons.contains(&slug));
            }
            _ if record => prop_assert!(false, "its record is there, and it is {:?}", possible),
            _ => return self.judged_anew(customer, ask, known, answer),
        }
        Ok(known)
    }

    fn judged_anew(
        &mut self,
        customer: usize,
        ask: &Ask,
        known: Option<usize>,
        answer: &Answer,
    ) -> Result<Option<usize>, TestCaseError> {
        if answer.status == 202 {
            return self.accepted(customer, ask, known, &answer.body).map(Some);
        }
        prop_assert_eq!(answer.status, 409);
        prop_assert!(answer.body.get("reservation_id").is_none(), "refused, and it bound the key");
        let slug = answer.text("type").unwrap_or_default();
        if self.sale_paused {
            prop_assert_eq!(slug, "sale-paused");
            return Ok(known);
        }
        let (quantity, asked) = (ask.quantity(), ask.seats());
        match (slug, ask) {
            ("seats-taken", Ask::Seats(_)) => {
                let named = |field: &str| -> Vec<String> {
                    serde_json::from_value(answer.body[field].clone()).unwrap_or_default()
                };
                let (taken, mine) = (named("taken"), named("held_by_you"));
                prop_assert!(!taken.is_empty() && mine.iter().all(|seat| taken.contains(seat)));
                for seat in &taken {
                    prop_assert!(asked.contains(&seat.as_str()) && self.may_be_taken(seat), "nobody has {}", seat);
                }
                for seat in asked.iter().filter(|seat| self.surely_taken(seat, known)) {
                    prop_assert!(taken.iter().any(|named| named == seat), "{} is taken, too", seat);
                }
                let his = |seat: &&String| {
                    let mut own = self.bookings.iter().filter(|booking| booking.customer == customer);
                    own.any(|booking| booking.may_have().any(|had| had == *seat))
                };
                prop_assert!(mine.iter().all(|seat| his(&seat)), "not all of {:?} are his", mine);
            }
            ("limit-reached", _) => {
                let most = self.live(customer, |booking| booking.may_live() || !booking.phantoms.is_empty(), None);
                prop_assert!(most + quantity > LIMIT, "he has {} and wants {}", most, quantity);
            }
            ("sold-out", Ask::Best(_)) => prop_assert!(self.most.1 + quantity > SEATS.len(), "{:?}", self.most),
            ("contended", Ask::Best(_)) => prop_assert!(self.most.0 + quantity > SEATS.len(), "{:?}", self.most),
            ("sold-out", Ask::Places(_)) => {
                prop_assert!(self.sold("FLOOR") + quantity > PLACES, "{} are sold", self.sold("FLOOR"));
            }
            ("contended", Ask::Places(_)) => {
                let places = (1..=PLACES).map(|serial| format!("FLOOR-{serial}"));
                let taken = places.filter(|seat| self.may_be_taken(seat)).count();
                prop_assert!(taken + quantity > PLACES, "at most {} are taken", taken);
                prop_assert!(self.sold("FLOOR") + quantity <= PLACES, "it is sold out");
            }
            _ => prop_assert!(false, "no reason to refuse"),
        }
        Ok(known)
    }

    fn accepted(
        &mut self,
        customer: usize,
        ask: &Ask,
        known: Option<usize>,
        body: &Value,
    ) -> Result<usize, TestCaseError> {
        let offer = Offer::of(body);
        prop_assert!(!self.sale_paused, "the sale is paused");
        prop_assert_eq!(offer.seats.len(), ask.quantity());
        prop_assert_eq!(offer.amount, self.prices[ask.section()] * ask.quantity() as u64);
        match ask {
            Ask::Seats(_) => prop_assert!(ask.seats().iter().all(|seat| offer.seats.contains(*seat))),
            _ => prop_assert!(offer.seats.iter().all(|seat| seat.starts_with(ask.section()))),
        }
        for seat in &offer.seats {
            prop_assert!(!self.surely_taken(seat, known), "{} is somebody's", seat);
        }
        if !self.flushed {
            let live = self.live(customer, Booking::surely_lives, known);
            prop_assert!(live + ask.quantity() <= LIMIT, "he has {} already", live);
        }
        let id = body["reservation_id"].as_str().unwrap_or_default().to_owned();
        let doubt = self.blind;
        let Some(at) = known else {
            prop_assert!(self.bookings.iter().all(|booking| booking.id != id));
            self.bookings.push(Booking {
                customer,
                id,
                ask: ask.clone(),
                status: Status::Pending,
                offers: vec![offer],
                stored: false,
                record: true,
                doubt,
                phantoms: BTreeSet::new(),
                extended: false,
                reference: None,
            });
            return Ok(self.bookings.len() - 1);
        };
        // Redis has forgotten it; the row, where there is one, has not.
        let booking = &mut self.bookings[at];
        booking.record = true;
        booking.phantoms.extend(offer.seats.iter().cloned());
        if !booking.stored && !booking.offers.contains(&offer) {
            booking.offers.push(offer);
        }
        Ok(at)
    }

    /// Whether "not now" is an answer for good: nothing is stored that anybody could be sure of, and Redis was lost.
    pub fn may_be_unknown(&self, at: usize) -> bool {
        let booking = &self.bookings[at];
        booking.status == Status::Pending && !booking.record
    }

    /// Judges what became of a block of these seats.
    pub fn block(&mut self, asked: &[String], body: &Value) -> Result<(), TestCaseError> {
        let named =
            |field: &str| -> BTreeSet<String> { serde_json::from_value(body[field].clone()).unwrap_or_default() };
        let (blocked, others) = (named("blocked"), named("not_blocked"));
        let wanted: BTreeSet<String> = asked.iter().cloned().collect();
        prop_assert_eq!(&blocked | &others, wanted, "each is one or the other");
        let before = std::mem::take(&mut self.blocked);
        for seat in &blocked {
            prop_assert!(!self.surely_taken(seat, None), "{} is somebody's", seat);
        }
        for seat in &others {
            prop_assert!(self.may_be_taken(seat) && !before.contains(seat), "nobody has {}", seat);
        }
        self.blocked = blocked;
        Ok(())
    }

    /// Judges the answer to a change.
    pub fn acted(&mut self, at: usize, act: Act, answer: &Answer) -> Result<(), TestCaseError> {
        if answer.status == 503 {
            prop_assert!(self.may_be_unknown(at), "somebody knows it");
            return Ok(());
        }
        let booking = &mut self.bookings[at];
        prop_assert_eq!(answer.text("reservation_id"), Some(booking.id.as_str()));
        let said = (answer.status, answer.text("type").unwrap_or_default());
        let explained = booking.possible().into_iter().find(|status| said == booking.expected(*status, act));
        prop_assert!(explained.is_some(), "{:?} of what may be {:?}", act, booking.possible());
        let before = explained.unwrap_or(Status::Pending);
        if answer.status == 200 {
            let after = match act {
                Act::Confirm(_) => Status::Confirmed,
                Act::Cancel => Status::Cancelled,
                Act::Extend => Status::Held,
            };
            prop_assert_eq!(status_of(&answer.body), Some(after));
            booking.learn(after, &answer.body)?;
            match act {
                Act::Confirm(reference) => booking.reference = Some(reference.to_owned()),
                Act::Extend => booking.extended = true,
                Act::Cancel => {}
            }
        } else if before != Status::Pending && booking.offers.len() == 1 {
            booking.status = before;
        }
        Ok(())
    }

    /// Judges what is shown once everything is decided, and takes it for known.
    pub fn drained(&mut self, shown: &[Value]) -> Result<(), TestCaseError> {
        for (at, body) in shown.iter().enumerate() {
            let status = status_of(body);
            prop_assert!(status.is_some_and(|status| status != Status::Pending), "not decided: {}", body);
            let rejected = status == Some(Status::Rejected) && self.bookings[at].status != Status::Rejected;
            if rejected {
                self.explain(at, body)?;
            }
            let booking = &mut self.bookings[at];
            let possible = booking.possible();
            let known = status.unwrap_or(Status::Pending);
            prop_assert!(rejected || possible.contains(&known), "{:?} is {}", possible, body);
            booking.learn(known, body)?;
        }
        let mut owners = BTreeMap::new();
        for booking in self.bookings.iter().filter(|booking| booking.may_live()) {
            for seat in booking.seats() {
                let before = owners.insert(seat.clone(), booking.id.clone());
                prop_assert_eq!(before, None, "two own {}", seat);
            }
        }
        self.blind = false;
        for booking in &mut self.bookings {
            booking.doubt = false;
            booking.phantoms.clear();
        }
        self.had.clear();
        Ok(())
    }

    /// Accepted, and refused by the table: somebody else had it, or the customer had too much.
    fn explain(&self, at: usize, body: &Value) -> Result<(), TestCaseError> {
        let booking = &self.bookings[at];
        let others = || self.had.iter().filter(|(other, _)| *other != at);
        match body["reason"].as_str().unwrap_or_default() {
            "limit-reached" => {
                prop_assert!(self.flushed, "the limit was known");
                let is_his = |other: &usize| self.bookings.get(*other).is_some_and(|b| b.customer == booking.customer);
                let his = others().filter(|(other, _)| is_his(other)).count();
                prop_assert!(his + booking.ask.quantity() > LIMIT, "he had {} besides", his);
            }
            "seats-taken" | "contended" | "lapsed" => {
                prop_assert!(booking.doubt, "it was promised: {}", body);
                let seats = || booking.offers.iter().flat_map(|offer| &offer.seats);
                let wanted = others().any(|(_, had)| seats().any(|seat| seat == had));
                prop_assert!(wanted, "nobody else wanted {:?}", booking.offers);
            }
            reason => prop_assert!(false, "no reason: {}", reason),
        }
        Ok(())
    }

    /// Who has each seat, and how it should be shown.
    pub fn shown(&self) -> BTreeMap<&str, &'static str> {
        let live = self.bookings.iter().filter(|booking| booking.may_live());
        let status = |booking: &Booking| if booking.status == Status::Confirmed { "sold" } else { "held" };
        let owned = live.flat_map(|booking| booking.seats().iter().map(move |seat| (seat.as_str(), status(booking))));
        owned.chain(self.blocked.iter().map(|seat| (seat.as_str(), "blocked"))).collect()
    }
}
