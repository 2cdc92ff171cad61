//! What MSK is told of us is what AWS' own signer tells it, over a connection that it alone can read.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::krafka_security::{Chain, msk_iam};
use super::{KafkaSettings, KrafkaLog, Message, RequestLog, Security};
use crate::secret::Secret;

/// 2026-11-25T12:00:00Z.
const AT: u64 = 1_795_608_000;
const REGION: &str = "eu-central-1";
const BROKER: &str = "b-1.tickets.abc123.c2.kafka.eu-central-1.amazonaws.com";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SESSION_TOKEN: &str = "AQoEXAMPLE//token+=";

// What the Python package aws-msk-iam-sasl-signer-python 1.0.2 signs over botocore 1.35.99 with its clock held at AT, the
// credentials below, and its ENDPOINT_URL_TEMPLATE set to "https://<BROKER>/": its mechanism, OAUTHBEARER, signs the address
// of the region, and AWS_MSK_IAM the broker's, and nothing else differs. botocore.auth.SigV4QueryAuth(credentials,
// "kafka-cluster", "eu-central-1", expires=900) over GET https://<BROKER>/?Action=kafka-cluster:Connect makes the same.
const PLAIN: &str = "Action=kafka-cluster%3AConnect&X-Amz-Algorithm=AWS4-HMAC-SHA256\
    &X-Amz-Credential=AKIDEXAMPLE%2F20261125%2Feu-central-1%2Fkafka-cluster%2Faws4_request&X-Amz-Date=20261125T120000Z\
    &X-Amz-Expires=900&X-Amz-SignedHeaders=host\
    &X-Amz-Signature=825ebb18a02d577ceeb8ef4dbdddb00ab0ad9be994cd7dc8fb53429130f1aaa2";
const SESSION: &str = "Action=kafka-cluster%3AConnect&X-Amz-Algorithm=AWS4-HMAC-SHA256\
    &X-Amz-Credential=AKIDEXAMPLE%2F20261125%2Feu-central-1%2Fkafka-cluster%2Faws4_request&X-Amz-Date=20261125T120000Z\
    &X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Security-Token=AQoEXAMPLE%2F%2Ftoken%2B%3D\
    &X-Amz-Signature=01c91fb351170924a062816ab6b792cde0dc12fb1c0ed4ce403242243d1d40ad";
// The package as it is, for the region's address.
const REGIONAL: &str = "c4dbaf33f88fd6ce17b64515b9aa334fa1a992e2a91a1808afcb727f7aaba0a3";

fn credentials(session: Option<&str>) -> Credentials {
    Credentials::new("AKIDEXAMPLE", SECRET_KEY, session.map(str::to_owned), None, "test")
}

/// The parameters of a signed query, small letters, decoded.
fn parameters(query: &str) -> BTreeMap<String, String> {
    let decoded = |text: &str| text.replace("%3A", ":").replace("%2F", "/").replace("%2B", "+").replace("%3D", "=");
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| (name.to_lowercase(), decoded(value))).collect()
}

/// What there is to say to a broker at that time: signed by AWS' library for Rust, which the vectors hold to account.
fn signed(host: &str, session: Option<&str>, at: SystemTime) -> BTreeMap<String, String> {
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(Duration::from_secs(900));
    let identity = credentials(session).into();
    let params = v4::SigningParams::builder().identity(&identity).region(REGION).name("kafka-cluster").time(at);
    let params = params.settings(settings).build().unwrap().into();
    let url = format!("https://{host}/?Action=kafka-cluster%3AConnect");
    let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[])).unwrap();
    let mut made = http::Request::get(&url).body(()).unwrap();
    sign(request, &params).unwrap().into_parts().0.apply_to_request_http1x(&mut made);
    parameters(made.uri().query().unwrap())
}

#[test]
fn what_is_to_be_said_is_what_aws_own_signer_says() {
    let at = UNIX_EPOCH + Duration::from_secs(AT);
    assert_eq!(signed(BROKER, None, at), parameters(PLAIN));
    assert_eq!(signed(BROKER, Some(SESSION_TOKEN), at), parameters(SESSION));
    assert_eq!(signed("kafka.eu-central-1.amazonaws.com", None, at)["x-amz-signature"], REGIONAL);
}

/// A broker's certificate for 127.0.0.1: what it shows, and what is to be believed.
fn certificate() -> (TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let server = server.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    (TlsAcceptor::from(Arc::new(server)), made.cert.pem())
}

/// One request: its kind, its number, and what follows the client's name.
async fn request(stream: &mut TlsStream<TcpStream>) -> (i16, i32, Vec<u8>) {
    let mut frame = vec![0; usize::try_from(stream.read_i32().await.unwrap()).unwrap()];
    stream.read_exact(&mut frame).await.unwrap();
    let number = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
    let body = 10 + usize::try_from(number(8)).unwrap();
    (number(0), i32::from_be_bytes(frame[4..8].try_into().unwrap()), frame[body..].to_vec())
}

/// Whom the next connection says to speak for. It is let go then.
async fn introduction(listener: &TcpListener, acceptor: &TlsAcceptor) -> Value {
    let mut stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
    let (kind, correlation, body) = request(&mut stream).await;
    assert_eq!((kind, &body[2..]), (17, &b"AWS_MSK_IAM"[..]), "SaslHandshake, before anything else");
    // No error, and the one mechanism.
    let answer = [&correlation.to_be_bytes()[..], &[0, 0, 0, 0, 0, 1, 0, 11], b"AWS_MSK_IAM"].concat();
    stream.write_i32(i32::try_from(answer.len()).unwrap()).await.unwrap();
    stream.write_all(&answer).await.unwrap();
    let (kind, _, body) = request(&mut stream).await;
    assert_eq!(kind, 36, "SaslAuthenticate");
    serde_json::from_slice(&body[4..]).unwrap()
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_broker_is_told_what_aws_own_signer_says_anew_with_every_connection() {
    let (logged, level) = (Logged::default(), tracing::Level::DEBUG);
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(level).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (acceptor, ca) = certificate();
    let security = Security::MskIam { region: REGION.to_owned() };
    let settings = KafkaSettings {
        ca_pem: Some(ca.clone()),
        ..KafkaSettings::new(listener.local_addr().unwrap().to_string(), security)
    };
    let found = SharedCredentialsProvider::new(credentials(Some(SESSION_TOKEN)));
    let auth = msk_iam(REGION.to_owned(), Chain::new(Some(found).into()));
    let tls = krafka::auth::TlsConfig::new().with_ca_cert_pem(ca);
    let log = KrafkaLog::authenticated(settings, Some(auth.with_tls(tls)));
    let message = Message { topic: "requests".to_owned(), key: None, value: None, headers: Vec::new() };
    let mut dates = Vec::new();
    while dates.len() < 2 {
        let (said, produced) = tokio::join!(introduction(&listener, &acceptor), log.produce(message.clone()));
        // Nobody was let in, so nothing was written.
        assert!(produced.unwrap_err().is_definite());
        let date = said["x-amz-date"].as_str().unwrap();
        let at: jiff::Timestamp = jiff::fmt::strtime::parse("%Y%m%dT%H%M%S%z", date.replace('Z', "+0000"))
            .and_then(|parsed| parsed.to_timestamp())
            .unwrap();
        let expected = signed("127.0.0.1", Some(SESSION_TOKEN), at.into());
        for (name, value) in &expected {
            assert_eq!(said[name], **value, "{name} of {said}");
        }
        // What is said besides is no part of the signature.
        assert_eq!((&said["version"], &said["host"]), (&"2020_10_22".into(), &"127.0.0.1".into()));
        // It is signed to the second.
        if dates.last() != Some(&at) {
            dates.push(at);
        }
    }
    let text = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("SASL handshake"), "{text}");
    for secret in [SECRET_KEY, SESSION_TOKEN, "x-amz-signature", "X-Amz-Signature"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn printing_how_a_broker_is_reached_shows_no_password() {
    let password = Secret::new("scram-secret");
    let settings = KafkaSettings::new("b:1", Security::Scram { user: "tickets".to_owned(), password });
    let printed = format!("{settings:?} {:?}", settings.auth());
    assert!(printed.contains("tickets") && !printed.contains("scram-secret"), "{printed}");
}
