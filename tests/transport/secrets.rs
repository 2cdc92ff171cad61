//! No secret and no customer in the log, at the level we ship and below it, whatever happens; and the reservation's id in
//! every line that is about one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use axum::http::Method;
use bytes::Bytes;
use local::config::DEVELOPMENT_KEY;
use local::servers::ServerSet;
use serde_json::{Value, json};
use shared::config::Config;
use shared::kafka::Message;
use shared::message::Request;
use tracing::Level;

use super::logs::Logged;
use crate::harness::changing::{cancel, confirm, extend, id_of, show};
use crate::harness::handmade::asks;
use crate::harness::logs::{Mood, Moody};
use crate::harness::storm::insist;
use crate::harness::wire::{Fate, Wire, error};
use crate::harness::{Office, Wishes, eventually, hall, redis, signal};

const REDIS_PASSWORD: &str = "redis-password-2f90";
const CUSTOMER: &str = "customer-8d21";
const OTHER: &str = "customer-3c55";
const KEY: &str = "idempotency-key-66f1";
const PAYMENT: &str = "payment-reference-b07a";
const EVENT: &str = "unseen";

/// Whatever may not be told. A token begins with `eyJ`, and what AWS is sent has a signature.
const SECRETS: [&str; 8] = [REDIS_PASSWORD, CUSTOMER, OTHER, KEY, PAYMENT, DEVELOPMENT_KEY, "eyJ", "Signature="];

/// Gives the server at `url` a user with a password, and says where he connects.
fn with_password(url: &str) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("redis://")).unwrap();
    stream.write_all(format!("ACL SETUSER tickets on >{REDIS_PASSWORD} ~* &* +@all\r\n").as_bytes()).unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+OK\r\n");
    url.replace("redis://", &format!("redis://tickets:{REDIS_PASSWORD}@"))
}

#[tokio::test]
async fn no_secret_and_no_customer_is_in_the_log_and_the_reservation_is() {
    let (logged, _guard) = Logged::down_to(Level::DEBUG);
    let (moody, refusing) = (Moody::new(), Switch::default());
    let (api, persist) = (refusing.wire(), refusing.wire());
    let office = Office::open_with(Wishes {
        wrap_log: Some(moody.wrap()),
        wrap_api_table: Some(Box::new(move |table| api.under(&table))),
        wrap_table: Some(Box::new(move |table| persist.under(&table))),
        front_redis: Some(Box::new(with_password)),
        ..Wishes::plain(ServerSet::Embedded)
    })
    .await;
    office.sells(EVENT, &hall::small(1, 12)).await;
    let (customer, payments) = (office.customer(CUSTOMER), office.system.payments().unwrap());

    // All well.
    let bought = id_of(&insist(&customer, EVENT, KEY, &["A-1-1"]).await);
    assert_eq!(insist(&office.customer(OTHER), EVENT, KEY, &["A-1-1"]).await.status, 409);
    office.drained().await;
    extend(&customer, &bought).await;
    assert_eq!(confirm(&payments, &bought, PAYMENT).await.status, 200);
    assert_eq!(confirm(&payments, &bought, "another").await.status, 409);
    show(&office.customer(OTHER), &bought).await;
    let list = customer.get("/reservations").await.unwrap();
    assert_eq!(list.status, 200, "{}", list.body);
    cancel(&customer, &bought).await;
    // What is no request: to the API, and in the topic.
    let path = format!("/events/{EVENT}/reservations");
    for body in [json!({ "seats": CUSTOMER }), json!({ "seats": [CUSTOMER] }), json!({ CUSTOMER: PAYMENT })] {
        let refused = customer.send(Method::POST, &path, &[("idempotency-key", KEY)], Some(&body)).await.unwrap();
        assert!(refused.status >= 400, "{}", refused.body);
    }
    let requests = office.system.config().kafka.topics.requests.clone();
    let poison = Bytes::from(json!({ "version": 1, "customer": CUSTOMER, "seats": PAYMENT }).to_string());
    moody.write(Message { topic: requests, key: None, value: Some(poison), headers: Vec::new() }).await;
    office.drained().await;
    // Once more, so that every condition is refused and shows what is stored.
    office.system.event_source().replay_from_start().await;
    office.drained().await;
    // Redis has forgotten that somebody has the seat, and the table refuses it.
    let held = id_of(&insist(&customer, EVENT, "held", &["A-1-2"]).await);
    office.drained().await;
    let raw = redis::connect(&office.system.servers().redis_url()).await;
    redis::command::<String>(&raw, &["FLUSHALL"]).await;
    insist(&office.customer(OTHER), EVENT, "late", &["A-1-2"]).await;
    office.drained().await;
    // Kafka fails for certain, and in doubt.
    for (mood, seat) in [(Mood::Definite, "A-1-3"), (Mood::InDoubtAndLost, "A-1-4")] {
        moody.set(move |_| mood.clone());
        let refused = customer.reserve(EVENT, seat, &[seat]).await.unwrap();
        assert_eq!(refused.status, 503, "{}", refused.body);
    }
    moody.set(|_| Mood::Well);
    // DynamoDB is busy, then refuses for ever, then answers what nobody can read.
    refusing.turn(BUSY);
    assert_eq!(confirm(&payments, &held, PAYMENT).await.status, 503);
    let asked = id_of(&insist(&customer, EVENT, "busy", &["A-1-5"]).await);
    eventually("persist to ask again", || async { logged.text().contains("asking again").then_some(()) }).await;
    refusing.turn("ValidationException");
    assert_eq!(confirm(&payments, &held, PAYMENT).await.status, 503);
    office.drained().await;
    for way in [GARBLED, MISSHAPEN] {
        refusing.turn(way);
        assert_eq!(show(&customer, &held).await.status, 503);
    }
    refusing.turn("");
    // Redis goes away.
    signal("-KILL", office.system.servers().redis_pid());
    eventually("redis to be missed", || async {
        let answer = customer.reserve(EVENT, "away", &["A-1-6"]).await.unwrap();
        (answer.status == 503).then_some(())
    })
    .await;
    show(&customer, &held).await;
    let now = shared::clock::wall_ms();
    moody.write(message(office.system.config(), &asks(EVENT, CUSTOMER, &["A-1-7"], (now, now + 60_000)))).await;
    office.drained().await;
    for job in ["expire", "heal", "write_back"] {
        office.system.run_job(job).await.unwrap();
    }
    // Whatever prints the configuration tells no password.
    tracing::error!(config = ?office.system.config(), "as configured");
    eventually("a reason in the log", || async { logged.text().contains("no connection to redis").then_some(()) })
        .await;
    office.close().await;

    for secret in SECRETS {
        let telling: Vec<_> = logged.text().lines().filter(|line| line.contains(secret)).map(str::to_owned).collect();
        assert!(telling.is_empty(), "{secret}, {} times, first in {}", telling.len(), telling[0]);
    }
    let (debug, shipped): (Vec<_>, Vec<_>) = logged.lines().into_iter().partition(|line| line["level"] == "DEBUG");
    assert!(debug.len() > 100, "{} lines below the level we ship", debug.len());
    for (id, said) in [(&held, "answered 503"), (&asked, "never to be stored")] {
        let is = |line: &Value| line["fields"]["reservation_id"] == id.as_str() && line["fields"]["message"] == said;
        assert!(shipped.iter().any(is), "nothing says {said} of {id}: {shipped:#?}");
    }
}

/// The message of a request.
fn message(config: &Config, request: &Request) -> Message {
    let key = Some(Bytes::from(request.reservation_id.as_str().to_owned()));
    let value = Some(Bytes::from(serde_json::to_vec(request).unwrap()));
    Message { topic: config.kafka.topics.requests.clone(), key, value, headers: Vec::new() }
}

/// What DynamoDB says when it has too much to do.
const BUSY: &str = "ProvisionedThroughputExceededException";
/// Not what it says, but that its answer cannot be read.
const GARBLED: &str = "garbled";
/// Nor this: a row as none of ours is.
const MISSHAPEN: &str = "misshapen";

/// Makes every writing transaction fail in the same way, or garbles what is read.
#[derive(Clone, Default)]
struct Switch(Arc<Mutex<&'static str>>);

impl Switch {
    fn turn(&self, way: &'static str) {
        *self.0.lock().unwrap() = way;
    }

    fn wire(&self) -> Wire {
        let switch = self.clone();
        Wire::new(move |operation, _| match (*switch.0.lock().unwrap(), operation) {
            (GARBLED, "GetItem") => Fate::Answer(200, json!({ "Item": [CUSTOMER, PAYMENT] })),
            (MISSHAPEN, "GetItem") => {
                Fate::Answer(200, json!({ "Item": { "customer": { "S": CUSTOMER }, "status": { "S": PAYMENT } } }))
            }
            ("" | GARBLED | MISSHAPEN, _) => Fate::Pass,
            (code, "TransactWriteItems") => error(400, code),
            _ => Fate::Pass,
        })
    }
}
