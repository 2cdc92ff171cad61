//! The trace of a request goes with its message: what X-Ray's daemon is told of the API, of the decision and of its outcome is
//! one trace, and what Lambda does not sample is carried on and told to nobody.

use std::collections::BTreeMap;

use axum::http::Method;
use local::servers::ServerSet;
use serde_json::{Value, json};
use shared::clock;
use shared::trace::{self, TRACEPARENT};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::harness::topic::Seen;
use crate::harness::{Office, PATIENCE, hall};

const LAMBDA: &str = "53995c3f42cd8ad8";

/// A trace begun now, for X-Ray takes none that is older than 30 days.
fn begun_now(random: &str) -> String {
    format!("{:08x}{random}", clock::wall_ms() / 1_000)
}

/// As Lambda hands it over.
fn lambdas(trace: &str, sampled: u8) -> String {
    format!("Root=1-{}-{};Parent={LAMBDA};Sampled={sampled}", &trace[..8], &trace[8..])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_from_the_request_to_its_outcome() {
    let (sampled, unsampled) = (begun_now("bd862e3fe1be46a994272793"), begun_now("bd862e3fe1be46a994272794"));
    let daemon = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    trace::init(daemon.local_addr().unwrap(), "ticket-office").unwrap();
    let office = Office::open(ServerSet::Embedded).await;
    office.sells("traced", &hall::small(1, 3)).await;
    reserve(&office, "A-1-1", Some(lambdas(&unsampled, 0))).await;
    reserve(&office, "A-1-2", None).await;
    reserve(&office, "A-1-3", Some(lambdas(&sampled, 1))).await;
    office.drained().await;

    // Sent in this order: the request when it is produced, then the outcome, which is a part of the decision, then that.
    let mut told: BTreeMap<String, Value> = BTreeMap::new();
    while told.len() < 3 {
        let document = heard(&daemon).await;
        assert_eq!(document["trace_id"], format!("1-{}-{}", &sampled[..8], &sampled[8..]), "{document}");
        told.insert(document["name"].as_str().unwrap().to_owned(), document);
    }
    let topics = &office.system.config().kafka.topics;
    let (request, outcome) = (&told[&format!("{} send", topics.requests)], &told[&format!("{} send", topics.outcomes)]);
    let decision = &told["ticket-office"];
    assert_eq!((&request["type"], &request["parent_id"]), (&json!("subsegment"), &json!(LAMBDA)), "{request}");
    assert_eq!((&decision["type"], &decision["parent_id"]), (&Value::Null, &request["id"]), "{decision}");
    assert_eq!(outcome["parent_id"], decision["id"], "{outcome}");

    let parents = |seen: Vec<Seen>| {
        let mut parents: Vec<_> = seen.into_iter().map(|message| header(&message)).collect();
        parents.sort();
        parents
    };
    let id = |document: &Value| document["id"].as_str().unwrap().to_owned();
    let requests = parents(office.produced().await);
    let outcomes = parents(office.topic(&topics.outcomes).await);
    for (seen, document) in [(&requests, request), (&outcomes, outcome)] {
        assert_eq!(seen[0], None, "nobody traces it");
        assert_eq!(seen[1], Some(format!("00-{sampled}-{}-01", id(document))));
        let silent = seen[2].as_deref().unwrap();
        assert!(silent.starts_with(&format!("00-{unsampled}-")) && silent.ends_with("-00"), "{silent}");
    }
    office.close().await;
}

async fn reserve(office: &Office, seat: &str, trace: Option<String>) {
    let mut headers = vec![("Idempotency-Key", seat)];
    headers.extend(trace.as_deref().map(|trace| ("X-Amzn-Trace-Id", trace)));
    let body = json!({ "seats": [seat] });
    let alice = office.customer("alice");
    let answer = alice.send(Method::POST, "/events/traced/reservations", &headers, Some(&body)).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
}

fn header(message: &Seen) -> Option<String> {
    message.headers.iter().find(|(name, _)| name == TRACEPARENT).map(|(_, value)| value.clone())
}

/// The next thing the daemon is told: a line that says how, and the document.
async fn heard(daemon: &UdpSocket) -> Value {
    let mut datagram = vec![0; 65_536];
    let length = timeout(PATIENCE, daemon.recv(&mut datagram)).await.expect("the daemon is told something").unwrap();
    let text = std::str::from_utf8(&datagram[..length]).unwrap();
    let (form, document) = text.split_once('\n').unwrap();
    assert_eq!(serde_json::from_str::<Value>(form).unwrap(), json!({ "format": "json", "version": 1 }));
    serde_json::from_str(document).unwrap()
}
