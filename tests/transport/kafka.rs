//! Kafka behind TLS and SCRAM: let in as configured, and refused with the reason, for certain and before anything was sent.
//! One cluster serves all of it, since it takes seconds to start.

use bytes::Bytes;
use local::config::cache_dir;
use local::servers::{Doors, Kafka};
use shared::causes::chain;
use shared::kafka::{KrafkaReader, Message, Position, RequestLog, bootstrap};
use tokio::time::Instant;
use tracing::Level;

use super::certificates::{Authority, HERE};
use super::config;
use super::logs::Logged;
use crate::harness::PATIENCE;

const PASSWORD: &str = "scram-password-c41e";
const WRONG: &str = "wrong-password-0d77";
const TOPIC: &str = "requests";

/// A cluster with two doors, whose certificates are for this name and for another.
async fn cluster(authority: &Authority) -> Kafka {
    let keystores = [HERE, "elsewhere.example"].map(|host| {
        let shown = authority.certify(host);
        format!("{}{}", shown.key, shown.certificate)
    });
    let doors = Doors { user: Some(("tickets".to_owned(), PASSWORD.to_owned())), keystores: keystores.into() };
    let kafka = Kafka::start_secured(&cache_dir(), &doors).await.unwrap_or_else(|error| panic!("{error}"));
    kafka.create_topics(&[(TOPIC, 1)]).await.unwrap();
    kafka
}

/// Produces once as configured; why not, as the log of a 503 says it.
async fn produce(set: &[(&str, &str)]) -> Result<Position, String> {
    let log = bootstrap::open(&config(set).kafka).await.unwrap();
    log.warm_up().await;
    let key = Some(Bytes::from("key"));
    let message = Message { topic: TOPIC.to_owned(), key, value: Some(Bytes::from("{}")), headers: Vec::new() };
    let produced = log.produce(message).await;
    log.close().await;
    produced.map_err(|error| {
        assert!(error.is_definite(), "{error:?}");
        assert!(!format!("{error:?}").contains(PASSWORD), "{error:?}");
        chain(&error)
    })
}

#[tokio::test]
async fn a_broker_is_believed_and_lets_in_as_configured_and_refuses_with_its_reason() {
    let (logged, _guard) = Logged::down_to(Level::DEBUG);
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let kafka = cluster(&ours).await;
    let [ca, other_ca] = [&ours, &theirs].map(|authority| authority.file().display().to_string());
    let (door, misnamed, plain) = (kafka.door(0), kafka.door(1), kafka.bootstrap());
    let secured = [
        ("KAFKA_SECURITY", "scram"),
        ("KAFKA_BOOTSTRAP_SERVERS", door.as_str()),
        ("KAFKA_USER", "tickets"),
        ("KAFKA_PASSWORD", PASSWORD),
        ("KAFKA_CA_FILE", ca.as_str()),
    ];
    let but = |name: &str, value| secured.map(|(key, right)| (key, if key == name { value } else { right }));

    assert_eq!(produce(&secured).await, Ok(Position { partition: 0, offset: 0 }));
    let refusals = [
        ("another authority's certificate", but("KAFKA_CA_FILE", &other_ca), "UnknownIssuer"),
        ("an authority nobody named", but("KAFKA_CA_FILE", ""), "UnknownIssuer"),
        ("a certificate for another name", but("KAFKA_BOOTSTRAP_SERVERS", &misnamed), "elsewhere.example"),
        ("a wrong password", but("KAFKA_PASSWORD", WRONG), "invalid credentials"),
        ("a stranger", but("KAFKA_USER", "stranger"), "invalid credentials"),
        ("no user at all", but("KAFKA_SECURITY", "tls"), "connection closed"),
        ("TLS at a port for plain text", but("KAFKA_BOOTSTRAP_SERVERS", &plain), "tls handshake eof"),
    ];
    let plain_text = [("KAFKA_SECURITY", "plaintext"), ("KAFKA_BOOTSTRAP_SERVERS", door.as_str())];
    // The first bytes of a TLS alert, taken for the length of an answer.
    let plain_text = ("plain text at a port for TLS", &plain_text[..], "message size 352518912");
    for (what, set, reason) in refusals.iter().map(|(what, set, reason)| (*what, &set[..], *reason)).chain([plain_text])
    {
        let before = logged.text().len();
        let refused = produce(set).await.unwrap_err();
        let text = logged.text().split_off(before);
        assert!(refused.contains("not-connected") && refused.contains(reason), "{what}: {refused}");
        let security = set.iter().find(|(name, _)| *name == "KAFKA_SECURITY").unwrap().1;
        let said = ["Kafka is not reachable yet", reason, &format!("\"security\":\"{security}\"")];
        assert!(said.iter().all(|part| text.contains(part)), "{what}: {text}");
    }

    // Nothing of what was refused is there, and whoever looks back is let in the same way.
    let settings = bootstrap::settings(&config(&secured).kafka).await.unwrap();
    let mut reader = KrafkaReader::new(settings);
    let extents = reader.extents(TOPIC, Instant::now() + PATIENCE).await.unwrap();
    assert_eq!((extents.len(), extents[0].end), (1, 1));
    reader.close().await;
    for secret in [PASSWORD, WRONG] {
        assert!(!logged.text().contains(secret), "{secret} in {}", logged.text());
    }
}

#[tokio::test]
async fn a_file_of_authorities_that_is_missing_is_refused_at_the_start() {
    let set = [("KAFKA_SECURITY", "tls"), ("KAFKA_CA_FILE", "/nowhere/ca.pem")];
    let refused = bootstrap::open(&config(&set).kafka).await.err().unwrap().to_string();
    assert!(refused.contains("KAFKA_CA_FILE") && refused.contains("/nowhere/ca.pem"), "{refused}");
}
