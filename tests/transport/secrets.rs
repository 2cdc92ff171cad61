//! No secret and no customer in the log, at the level we ship and below it, whatever happens; and the reservation's id in
//! every line that is about one.

use std::io::{Read, Write};
use std::net::TcpStream;

use axum::http::Method;
use bytes::Bytes;
use local::config::DEVELOPMENT_KEY;
use local::servers::ServerSet;
use serde_json::json;
use shared::kafka::Message;
use tracing::Level;

use super::logs::Logged;
use crate::harness::changing::{cancel, confirm, extend, id_of, show};
use crate::harness::logs::{Mood, Moody};
use crate::harness::storm::insist;
use crate::harness::wire::{Fate, Wire, error};
use crate::harness::{Office, Wishes, eventually, hall, signal};

const REDIS_PASSWORD: &str = "redis-password-2f90";
const CUSTOMER: &str = "customer-8d21";
const OTHER: &str = "customer-3c55";
const KEY: &str = "idempotency-key-66f1";
const PAYMENT: &str = "payment-reference-b07a";
const EVENT: &str = "unseen";

/// Whatever may not be told. A token begins with `eyJ`, and what AWS is sent has a signature.
const SECRETS: [&str; 8] =
    [REDIS_PASSWORD, CUSTOMER, OTHER, KEY, PAYMENT, DEVELOPMENT_KEY, "eyJ", "Signature="];

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
    assert_eq!(cancel(&customer, &bought).await.status, 200);
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
    let redis = crate::harness::redis::connect(&office.system.servers().redis_url()).await;
    crate::harness::redis::command::<String>(&redis, &["FLUSHALL"]).await;
    insist(&office.customer(OTHER), EVENT, "late", &["A-1-2"]).await;
    office.drained().await;
    // Kafka fails for certain, and in doubt.
    for (mood, seat) in [(Mood::Definite, "A-1-3"), (Mood::InDoubtAndLost, "A-1-4")] {
        moody.set(move |_| mood.clone());
        let refused = customer.reserve(EVENT, seat, &[seat]).await.unwrap();
        assert_eq!(refused.status, 503, "{}", refused.body);
    }
    moody.set(|_| Mood::Well);
    // DynamoDB is busy, then refuses for ever.
    refusing.turn("ProvisionedThroughputExceededException");
    assert_eq!(confirm(&payments, &held, PAYMENT).await.status, 503);
    refusing.turn("ValidationException");
    confirm(&payments, &held, PAYMENT).await;
    insist(&customer, EVENT, "refused", &["A-1-5"]).await;
    office.drained().await;
    refusing.turn("");
    // Redis goes away.
    signal("-KILL", office.system.servers().redis_pid());
    eventually("redis to be missed", || async {
        let answer = customer.reserve(EVENT, "away", &["A-1-6"]).await.unwrap();
        (answer.status == 503).then_some(())
    })
    .await;
    show(&customer, &held).await;
    for job in ["expire", "heal", "write-back"] {
        office.system.run_job(job).await.unwrap();
    }
    // Whatever prints the configuration tells no password.
    tracing::error!(config = ?office.system.config(), "as configured");
    eventually("a reason in the log", || async { logged.text().contains("no connection to redis").then_some(()) }).await;
    office.close().await;

    for secret in SECRETS {
        let telling: Vec<_> = logged.text().lines().filter(|line| line.contains(secret)).map(str::to_owned).collect();
        assert!(telling.is_empty(), "{secret}, {} times, first in {}", telling.len(), telling[0]);
    }
    let lines = logged.lines();
    let about = |id: &str| lines.iter().filter(|line| line["fields"]["reservation_id"] == id).count();
    assert!(about(held.as_str()) > 0, "nothing is said of {held}: {}", logged.text());
    let debug = lines.iter().filter(|line| line["level"] == "DEBUG").count();
    let shipped = lines.len() - debug;
    assert!(debug > 0 && shipped > 5, "{debug} and {shipped} lines");
}

/// Makes every writing transaction fail, or none.
#[derive(Clone, Default)]
struct Switch(std::sync::Arc<std::sync::Mutex<&'static str>>);

impl Switch {
    fn turn(&self, code: &'static str) {
        *self.0.lock().unwrap() = code;
    }

    fn wire(&self) -> Wire {
        let switch = self.clone();
        Wire::new(move |operation, _| match *switch.0.lock().unwrap() {
            code if !code.is_empty() && operation == "TransactWriteItems" => error(400, code),
            _ => Fate::Pass,
        })
    }
}
