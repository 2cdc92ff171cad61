//! One walk: the system and the model side by side. Every answer is judged as it comes, and everything whenever the topic
//! has been drained.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::http::Method;
use fred::clients::Client;
use local::client::{Answer, ApiClient};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use scheduled_jobs::{Expired, Report};
use serde_json::{Value, json};
use shared::domain::ids::ReservationId;
use shared::domain::reservation::Status;
use shared::dynamodb::changes::End;
use shared::dynamodb::reservations::Repository;
use shared::redis::Redis;
use shared::redis::truth::Truths;
use tokio::time::Instant;

use super::Step;
use super::booking::{Act, Ask};
use super::model::{LIMIT, Model, PLACES, SEATS};
use crate::harness::table::difference;
use crate::harness::{Office, changing, fresh, redis, storm};

/// How long what is shown may take to agree. A failure is looked for again and again, so it is short.
const AGREES: Duration = Duration::from_secs(3);
/// How long "not now" may last where it should not.
const NOT_NOW: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(30);
const CUSTOMERS: usize = 3;
/// After the end of every hold, in milliseconds since the epoch.
const FAR: i64 = 4_100_000_000_000;

/// A request that was sent, and the reservation its key stands for.
struct Asked {
    customer: usize,
    key: String,
    ask: Ask,
    booking: Option<usize>,
}

pub struct Walk<'a> {
    office: &'a Office,
    redis: &'a Client,
    event: String,
    customers: Vec<ApiClient>,
    payments: ApiClient,
    asked: Vec<Asked>,
    model: Model,
    /// Nothing is delivered.
    paused: bool,
}

fn document(prices: &BTreeMap<&'static str, u64>, state: &str) -> Value {
    json!({
        "name": "A hall", "venue": "Test venue", "starts_at": "2098-06-01T18:00:00Z", "time_zone": "Asia/Seoul",
        "currency": "EUR", "state": state,
        "sale": { "opens_at": "2020-01-01T00:00:00Z", "closes_at": "2098-06-01T18:00:00Z" },
        "hold_seconds": 3000, "extend_seconds": 300, "cancellable_until": "2098-01-01T00:00:00Z",
        "max_per_customer": LIMIT,
        "sections": [
            { "id": "A", "name": "Stalls", "kind": "seated", "price_cents": prices["A"],
              "rows": [{ "id": "1", "seats": 3 }, { "id": "2", "seats": 3 }] },
            { "id": "FLOOR", "name": "Floor", "kind": "general", "price_cents": prices["FLOOR"], "capacity": PLACES },
        ],
    })
}

impl<'a> Walk<'a> {
    pub async fn begin(office: &'a Office, redis: &'a Client, event: String) -> Self {
        let prices = BTreeMap::from([("A", 1_000), ("FLOOR", 300)]);
        office.sells(&event, &document(&prices, "on_sale")).await;
        // Names of its own: the list of a customer's reservations goes over all events.
        let customers = (0..CUSTOMERS).map(|n| office.customer(&format!("{event}-{n}"))).collect();
        let payments = office.payments();
        Self { office, redis, event, customers, payments, asked: Vec::new(), model: Model::new(prices), paused: false }
    }

    pub async fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Reserve(customer, ask) => {
                let key = format!("k{}", self.asked.len());
                self.asked.push(Asked { customer: *customer, key, ask: ask.clone(), booking: None });
                self.ask(self.asked.len() - 1).await?;
            }
            Step::Again(back) => {
                if let Some(back) = back.checked_rem(self.asked.len()) {
                    self.ask(self.asked.len() - 1 - back).await?;
                }
            }
            Step::Act(which, act) => {
                if let Some(at) = which.checked_rem(self.model.bookings.len()) {
                    self.settled(at).await;
                    self.act(at, *act).await?;
                }
            }
            Step::Price(by) => {
                self.model.prices.values_mut().for_each(|price| *price += by);
                self.publish().await;
            }
            Step::Sale(paused) => {
                self.model.sale_paused = *paused;
                self.publish().await;
            }
            Step::Replay => self.office.system.event_source().replay_from_start().await,
            Step::Source(paused) => {
                self.paused = *paused;
                let source = self.office.system.event_source();
                if *paused { source.pause() } else { source.resume() }
            }
            Step::Drain(replays) => self.drain(*replays).await?,
            Step::Flush => {
                redis::command::<String>(self.redis, &["FLUSHALL"]).await;
                self.model.lost();
            }
            Step::Jobs => {
                let done = self.office.system.expire().await.unwrap();
                prop_assert!(matches!(&done, Report::Expire(done) if *done == Expired::default()), "{:?}", done);
                self.office.system.run_job("heal").await.unwrap();
            }
            Step::RunOut(which) => {
                if let Some(at) = which.checked_rem(self.model.bookings.len()) {
                    self.settled(at).await;
                    self.run_out(at).await;
                }
            }
            Step::Block(seats) => self.block(*seats).await?,
        }
        self.model.remember();
        self.adds_up().await
    }

    /// Whatever is going on, free, held, sold and blocked are the capacity, in every view.
    async fn adds_up(&self) -> Result<(), TestCaseError> {
        let anyone = self.office.system.anyone();
        for path in [format!("/events/{}", self.event), format!("/events/{}/seats", self.event)] {
            let answer = anyone.get(&path).await.unwrap();
            // Cold, a moment after Redis was lost.
            if answer.status == 503 {
                continue;
            }
            let page = answer.body["availability"].as_object().into_iter().flat_map(|sections| sections.values());
            let map = answer.body["sections"].as_array().into_iter().flatten();
            let counted = page.chain(map.filter(|section| section["free"].is_u64()));
            for counts in counted {
                let sum: u64 =
                    ["free", "held", "sold", "blocked"].iter().filter_map(|name| counts[name].as_u64()).sum();
                prop_assert_eq!(&counts["capacity"], &json!(sum), "{}", counts);
            }
        }
        Ok(())
    }

    /// Sells on, ends everything, and finds everything free again.
    pub async fn end(&mut self) -> Result<(), TestCaseError> {
        self.drain(false).await?;
        if self.model.sale_paused {
            self.take(&Step::Sale(false)).await?;
        }
        self.take(&Step::Block(0)).await?;
        for at in 0..self.model.bookings.len() {
            if self.model.bookings[at].may_live() {
                self.act(at, Act::Cancel).await?;
            }
        }
        prop_assert!(self.model.shown().is_empty());
        // The limit is free again: everybody may have as much as ever.
        for customer in 0..CUSTOMERS {
            self.take(&Step::Reserve(customer, Ask::Seats(0b1_1111))).await?;
            let booked = self.asked.last().and_then(|asked| asked.booking);
            prop_assert!(booked.is_some(), "customer {} may have {} again", customer, LIMIT);
            if let Some(at) = booked {
                if customer + 1 == CUSTOMERS {
                    // Also as the table counts.
                    self.drain(false).await?;
                    prop_assert_eq!(self.model.shown().len(), LIMIT, "{:?}", self.model.bookings[at]);
                }
                self.act(at, Act::Cancel).await?;
            }
        }
        self.drain(true).await
    }

    /// Where Redis has no record to order them by, what a delivery tells may come behind what a change tells, and stay until
    /// the hold's end: such a change waits here for deliveries under way.
    async fn settled(&self, at: usize) {
        if !self.model.bookings[at].record && !self.paused {
            self.office.drained().await;
        }
    }

    /// What the job does with a hold that has run out, by a clock that is far ahead.
    async fn run_out(&mut self, at: usize) {
        let booking = &mut self.model.bookings[at];
        if !booking.stored || booking.status != Status::Held {
            return;
        }
        let repository = Repository::new(self.office.table().await);
        let row = repository.get(&ReservationId::parse(&booking.id).unwrap()).await.unwrap().unwrap();
        let End::Ended(row) = repository.end(&row, shared::domain::reservation::Step::Expire, FAR).await.unwrap()
        else {
            panic!("a hold did not end")
        };
        let redis = Redis::connect(&self.office.system.servers().redis_url(), 1).await.unwrap();
        Truths::new(redis).write(&row.truth(&[])).await.unwrap();
        booking.status = Status::Expired;
    }

    async fn block(&mut self, seats: u16) -> Result<(), TestCaseError> {
        let all = SEATS.iter().map(ToString::to_string).chain((1..=PLACES).map(|serial| format!("FLOOR-{serial}")));
        let asked: Vec<String> = all.enumerate().filter(|(at, _)| seats >> at & 1 == 1).map(|(_, seat)| seat).collect();
        let (path, body) = (format!("/admin/events/{}/blocks/camera", self.event), json!({ "seats": asked }));
        let organiser = self.office.system.organiser().unwrap();
        let until = Instant::now() + NOT_NOW;
        let answer = loop {
            let answer = organiser.send(Method::PUT, &path, &[], Some(&body)).await.unwrap();
            if answer.status != 503 || Instant::now() > until {
                break answer;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        prop_assert_eq!(answer.status, 200, "{}", answer.body);
        self.model.block(&asked, &answer.body).map_err(|error| with(error, &answer))
    }

    async fn publish(&self) {
        let state = if self.model.sale_paused { "paused" } else { "on_sale" };
        self.office.sells(&self.event, &document(&self.model.prices, state)).await;
    }

    async fn ask(&mut self, at: usize) -> Result<(), TestCaseError> {
        let asked = &mut self.asked[at];
        let client = &self.customers[asked.customer];
        let answer = storm::insist_on(client, &self.event, &asked.key, &asked.ask.body()).await;
        let judged = self.model.reserved(asked.customer, &asked.ask, asked.booking, &answer);
        asked.booking = judged.map_err(|error| with(error, &answer))?;
        Ok(())
    }

    async fn act(&mut self, at: usize, act: Act) -> Result<(), TestCaseError> {
        let booking = &self.model.bookings[at];
        let (owner, id) = (&self.customers[booking.customer], ReservationId::parse(&booking.id).unwrap());
        let until = Instant::now() + NOT_NOW;
        let answer = loop {
            let answer = match act {
                Act::Confirm(reference) => changing::confirm(&self.payments, &id, reference).await,
                Act::Cancel => changing::cancel(owner, &id).await,
                Act::Extend => changing::extend(owner, &id).await,
            };
            if answer.status != 503 || self.model.may_be_unknown(at) || Instant::now() > until {
                break answer;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        self.model.acted(at, act, &answer).map_err(|error| with(error, &answer))
    }

    async fn drain(&mut self, replays: bool) -> Result<(), TestCaseError> {
        self.paused = false;
        self.office.system.event_source().resume();
        self.office.drained().await;
        self.look().await?;
        if replays {
            let before = self.office.scan().await;
            self.office.system.event_source().replay_from_start().await;
            self.office.drained().await;
            let difference = difference(&before, &self.office.scan().await);
            prop_assert!(difference.is_empty(), "a replay changed the table: {:#?}", difference);
            self.look().await?;
        }
        Ok(())
    }

    /// Everything is decided: all that can be looked at says the same.
    async fn look(&mut self) -> Result<(), TestCaseError> {
        let mut shown = Vec::new();
        for booking in &self.model.bookings {
            let path = format!("/reservations/{}", booking.id);
            let answer = self.customers[booking.customer].get(&path).await.unwrap();
            prop_assert_eq!(answer.status, 200, "{}", answer.body);
            shown.push(answer.body);
        }
        self.model.drained(&shown)?;
        let until = Instant::now() + AGREES;
        while let Err(disagrees) = self.agrees().await {
            prop_assert!(Instant::now() < until, "{}\n{:#?}", disagrees, self.model.bookings);
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn agrees(&self) -> Result<(), String> {
        let anyone = self.office.system.anyone();
        let map = fresh(&anyone, &format!("/events/{}/seats", self.event)).await;
        let page = fresh(&anyone, &format!("/events/{}", self.event)).await;
        let expected = self.model.shown();
        let sections = map.body["sections"].as_array().into_iter().flatten();
        let seats = sections.flat_map(|section| section["seats"].as_array().into_iter().flatten());
        let seats: BTreeMap<_, _> = seats.map(|seat| (seat["id"].as_str(), seat["status"].as_str())).collect();
        for seat in SEATS {
            let (shown, expected) = (seats.get(&Some(seat)).copied().flatten(), expected.get(seat).copied());
            if shown != Some(expected.unwrap_or("free")) {
                return Err(format!("{seat} is shown as {shown:?} and is {expected:?}"));
            }
        }
        for (section, capacity) in [("A", SEATS.len()), ("FLOOR", PLACES)] {
            let count = |status: &str| {
                expected.iter().filter(|(seat, shown)| seat.starts_with(section) && **shown == status).count()
            };
            let (held, sold, blocked) = (count("held"), count("sold"), count("blocked"));
            let free = capacity - held - sold - blocked;
            let wanted = json!({ "capacity": capacity, "free": free, "held": held, "sold": sold, "blocked": blocked });
            let mapped = map.body["sections"].as_array().into_iter().flatten().find(|found| found["id"] == section);
            for shown in [mapped, page.body["availability"].get(section)] {
                let shown = shown.unwrap_or(&Value::Null);
                let same =
                    ["capacity", "free", "held", "sold", "blocked"].iter().all(|name| shown[name] == wanted[name]);
                if !same {
                    return Err(format!("section {section} is shown as {shown} and is {wanted}"));
                }
            }
        }
        for (at, customer) in self.customers.iter().enumerate() {
            let mine = customer.get(&format!("/events/{}/seats/mine", self.event)).await.unwrap();
            let mine = mine.body["seats"].as_array().into_iter().flatten();
            let mine: BTreeSet<_> = mine.map(|seat| (seat["id"].as_str(), seat["status"].as_str())).collect();
            let his = self.model.bookings.iter().filter(|booking| booking.customer == at && booking.may_live());
            let his = his.flat_map(|booking| booking.seats().iter());
            let his: BTreeSet<_> =
                his.map(|seat| (Some(seat.as_str()), expected.get(seat.as_str()).copied())).collect();
            if mine != his {
                return Err(format!("customer {at} is shown {mine:?} and has {his:?}"));
            }
        }
        Ok(())
    }
}

fn with(error: TestCaseError, answer: &Answer) -> TestCaseError {
    TestCaseError::fail(format!("{error}\nanswered {} {}", answer.status, answer.body))
}
