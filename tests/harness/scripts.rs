//! Redis alone, with the product's scripts and an event to try them on: what is under test is one script, not the system.

use std::collections::HashMap;
use std::sync::Arc;

use fred::clients::Client;
use local::servers;
use serde_json::Value;
use shared::domain::document::EventDocument;
use shared::domain::event::{Event, Seat};
use shared::domain::ids::{CustomerId, EventId, IdempotencyKey, ReservationId, SeatId};
use shared::domain::layout::Layout;
use shared::domain::money::{Cents, SectionCents};
use shared::message::{Draft, Request, Terms};
use shared::redis::claims::{Choice, Claim, Claimed, Claims};
use shared::redis::loading::Loading;
use shared::redis::seat_map::{Availability, SeatMaps};
use shared::redis::truth::Truths;
use shared::redis::{Redis, keys};

use super::redis;

/// A Redis of one test's own and everything the product does with it.
pub struct Scripts {
    /// The server; dropping it kills it.
    server: servers::Redis,
    /// The product's connections.
    pub redis: Redis,
    /// Claims.
    pub claims: Claims,
    /// Truths.
    pub truths: Truths,
    /// Publications and loads.
    pub loading: Loading,
    /// Seat maps.
    pub maps: SeatMaps,
    /// The test's own connection.
    pub raw: Client,
}

impl Scripts {
    /// Where the server answers.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Starts an empty Redis.
    pub async fn start() -> Self {
        let server = servers::Redis::start().await.unwrap();
        let redis = Redis::connect(&server.url(), 1).await.unwrap();
        let raw = redis::connect(&server.url()).await;
        Self {
            claims: Claims::new(redis.clone()),
            truths: Truths::new(redis.clone()),
            loading: Loading::new(redis.clone()),
            maps: SeatMaps::new(redis.clone()),
            server,
            redis,
            raw,
        }
    }

    /// The same with a first publication of `document`.
    pub async fn selling(document: &Value) -> (Self, Event) {
        let scripts = Self::start().await;
        let event = event("hall", 1, document);
        scripts.publish_first(&event).await;
        (scripts, event)
    }

    /// Publishes an event for the first time.
    pub async fn publish_first(&self, event: &Event) {
        self.loading.announce(&event.id, "nonce").await.unwrap();
        self.loading.publish(event, Some("nonce")).await.unwrap();
    }

    /// Claims, having just read the event.
    pub async fn claim(&self, event: &Event, attempt: &Attempt) -> Claimed {
        self.claim_as(event, true, attempt).await
    }

    /// Claims by a copy of the event.
    pub async fn claim_unread(&self, event: &Event, attempt: &Attempt) -> Claimed {
        self.claim_as(event, false, attempt).await
    }

    async fn claim_as(&self, event: &Event, fresh: bool, attempt: &Attempt) -> Claimed {
        let Attempt { id, customer, fingerprint, seats, queued } = attempt;
        let draft = attempt.draft(event);
        self.claims
            .claim(Claim {
                event,
                fresh,
                id,
                customer,
                fingerprint,
                queued: *queued,
                choice: Choice::Seats(seats),
                draft: &draft,
            })
            .await
            .unwrap()
    }

    /// Draws places of the section FLOOR for a customer, which must be granted.
    pub async fn draw(&self, event: &Event, customer: &str, quantity: u32) -> Request {
        match self.try_draw(event, customer, quantity).await {
            Claimed::Granted { message, .. } => request(&message),
            refused => panic!("{refused:?}"),
        }
    }

    /// Draws places of the section FLOOR for a customer.
    pub async fn try_draw(&self, event: &Event, customer: &str, quantity: u32) -> Claimed {
        let attempt = Attempt::new(event, customer, "k", &[]);
        let (draft, section) = (attempt.draft(event), event.section("FLOOR").unwrap());
        let choice = Choice::Places { section, quantity, random: 0 };
        let Attempt { id, customer, fingerprint, .. } = &attempt;
        let claim = Claim { event, fresh: true, id, customer, fingerprint, queued: true, choice, draft: &draft };
        self.claims.claim(claim).await.unwrap()
    }

    /// Claims what must be granted, and returns the message with the attempts.
    pub async fn granted(&self, event: &Event, attempt: &Attempt) -> (String, u32) {
        match self.claim(event, attempt).await {
            Claimed::Granted { message, attempts, .. } => (message, attempts),
            refused => panic!("{refused:?}"),
        }
    }

    /// Sends a command as it would be typed.
    pub async fn command<T: fred::types::FromValue>(&self, words: &[&str]) -> T {
        redis::command(&self.raw, words).await
    }

    /// What the claims hash of a section holds under a seat's number.
    pub async fn entry(&self, event: &Event, seat: &str) -> Option<String> {
        let seat = SeatId::parse(seat).unwrap();
        let number = event.locate(&seat).unwrap().0.number.to_string();
        self.command(&["HGET", &keys::claims(&event.id, seat.section()), &number]).await
    }

    /// What the seat map shows of a seat; `None` = its section is cold.
    pub async fn shown(&self, event: &Event, seat: &str) -> Option<Availability> {
        let (seat, section) = event.locate(&SeatId::parse(seat).unwrap()).unwrap();
        let read = self.maps.read(event, &[section]).await.unwrap();
        read.sections[0].as_ref().map(|state| state.seat(seat.number))
    }
}

/// The event a document makes when it is published for the first time, under any version.
pub fn event(id: &str, version: u64, document: &Value) -> Event {
    let document = EventDocument::parse(&serde_json::to_vec(document).unwrap(), 1).unwrap();
    let layout = |section| (version, Arc::new(Layout::first(section)));
    let layouts: HashMap<_, _> =
        document.sections.iter().map(|section| (section.id.clone(), layout(section))).collect();
    Event::new(EventId::parse(id).unwrap(), version, document, &layouts).unwrap()
}

/// The same event with holds that end as they begin: a lease that has run out, without the wait.
pub fn without_a_lease(event: &Event) -> Event {
    let mut event = event.clone();
    event.document.hold_seconds = 0;
    event
}

/// An attempt to reserve.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Derived from event, customer and key.
    pub id: ReservationId,
    /// Whose it is.
    pub customer: CustomerId,
    /// Stands for the body.
    pub fingerprint: String,
    /// What is asked for.
    pub seats: Vec<Seat>,
    /// Whether its message goes to Kafka.
    pub queued: bool,
}

impl Attempt {
    /// Of `customer` under `key`.
    pub fn new(event: &Event, customer: &str, key: &str, seats: &[&str]) -> Self {
        let customer = CustomerId::parse(customer).unwrap();
        let locate = |seat: &&str| event.locate(&SeatId::parse(seat).unwrap()).unwrap().0;
        Self {
            id: ReservationId::derive(&event.id, &customer, &IdempotencyKey::parse(key).unwrap()),
            customer,
            fingerprint: seats.join(","),
            seats: seats.iter().map(locate).collect(),
            queued: true,
        }
    }

    fn draft(&self, event: &Event) -> Draft {
        let terms = Terms {
            layout_version: event.version,
            amount: Cents::ZERO,
            currency: event.document.currency,
            section_cents: SectionCents::new(),
            max_per_customer: event.document.max_per_customer,
            sale: event.document.sale,
        };
        Draft::new(self.id.clone(), self.customer.clone(), self.fingerprint.clone(), &terms)
    }
}

/// The request a message carries, also where its hold ended as it began.
pub fn request(message: &str) -> Request {
    serde_json::from_str(message).unwrap()
}
