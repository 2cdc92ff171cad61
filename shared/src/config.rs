//! How a function is configured: the only place that reads the environment (invariant 7), once, typed; it names all that is missing.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::dynamodb::TableSettings;
use crate::kafka::Security;
use crate::redis::iam::IamUser;
use crate::secret::{Secret, without_user};

/// Connections to Redis where `REDIS_CONNECTIONS` does not say: an environment of classic Lambda serves one request at a time.
const DEFAULT_REDIS_CONNECTIONS: usize = 1;

/// The configuration is wrong: every name that is missing or cannot be read, at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("configuration: {}", .0.join("; "))]
pub struct ConfigError(pub Vec<String>);

/// How to reach Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `host:port,host:port`; `None` = ask MSK's control plane for the brokers of `cluster_arn`.
    pub bootstrap_servers: Option<String>,
    /// The MSK cluster.
    pub cluster_arn: Option<String>,
    /// How connections are secured.
    pub security: Security,
    /// PEM file of the authorities whose certificates are believed; `None` = those that browsers believe.
    pub ca_file: Option<PathBuf>,
    /// The topics.
    pub topics: Topics,
}

/// The names of the topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Reservation requests.
    pub requests: String,
    /// Their outcomes.
    pub outcomes: String,
    /// What can never be handled.
    pub dlq: String,
    /// What the event source gave up, in Lambda's own envelope.
    pub failed: String,
}

/// What every function is told. Printing it shows no password.
#[derive(Clone)]
pub struct Config {
    /// The table.
    pub table: TableSettings,
    /// Redis' URL.
    pub redis_url: String,
    /// PEM file of the authorities whose certificates are believed, by the servers for locks, too; `None` = the system's.
    pub redis_ca_file: Option<PathBuf>,
    /// Whom ElastiCache knows; `None` = the URL says who we are.
    pub redis_iam: Option<IamUser>,
    /// Connections to Redis a process opens.
    pub redis_connections: usize,
    /// Independent servers whose majority gives locks; none = locks stand on `redis_url`.
    pub lock_redis_urls: Vec<String>,
    /// Kafka.
    pub kafka: KafkaConfig,
    /// Where X-Ray's daemon takes spans; Lambda sets it where a function's tracing is active.
    pub xray_daemon: Option<SocketAddr>,
    /// Where the metrics are told.
    pub metrics_namespace: String,
    /// Shortest hold an event may have, in seconds.
    pub min_hold_seconds: u32,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let locks: Vec<String> = self.lock_redis_urls.iter().map(|url| without_user(url)).collect();
        f.debug_struct("Config")
            .field("table", &self.table)
            .field("redis_url", &without_user(&self.redis_url))
            .field("redis_ca_file", &self.redis_ca_file)
            .field("redis_iam", &self.redis_iam)
            .field("redis_connections", &self.redis_connections)
            .field("lock_redis_urls", &locks)
            .field("kafka", &self.kafka)
            .field("xray_daemon", &self.xray_daemon)
            .field("metrics_namespace", &self.metrics_namespace)
            .field("min_hold_seconds", &self.min_hold_seconds)
            .finish()
    }
}

impl Config {
    /// Whose certificates Redis is believed by.
    pub(crate) fn redis_ca(&self) -> Option<&Path> {
        self.redis_ca_file.as_deref()
    }

    /// Reads the process' environment.
    ///
    /// # Errors
    /// All names that are missing or unreadable.
    pub fn from_env() -> Result<Self, ConfigError> {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads from any source of named values.
    ///
    /// # Errors
    /// All names that are missing or unreadable.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let lookup = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let mut wrong = Vec::new();
        let mut required = |name: &str| {
            lookup(name).unwrap_or_else(|| {
                wrong.push(format!("{name} is not set"));
                String::new()
            })
        };
        let table = required("TABLE_NAME");
        let redis_url = required("REDIS_URL");
        let topics = Topics {
            requests: required("REQUESTS_TOPIC"),
            outcomes: required("OUTCOMES_TOPIC"),
            dlq: required("DLQ_TOPIC"),
            failed: required("FAILED_TOPIC"),
        };
        let bootstrap_servers = lookup("KAFKA_BOOTSTRAP_SERVERS");
        let cluster_arn = lookup("MSK_CLUSTER_ARN");
        // arn:aws:kafka:<region>:<account>:cluster/<name>/<uuid>
        let region = cluster_arn.as_deref().and_then(|arn| arn.split(':').nth(3)).unwrap_or_default().to_owned();
        let security = match lookup("KAFKA_SECURITY").as_deref() {
            None | Some("msk-iam") => Security::MskIam { region },
            Some("plaintext") => Security::Plaintext,
            Some("tls") => Security::Tls,
            Some("scram") => {
                Security::Scram { user: required("KAFKA_USER"), password: Secret::new(required("KAFKA_PASSWORD")) }
            }
            Some(other) => {
                wrong.push(format!("KAFKA_SECURITY is {other:?}, must be msk-iam, scram, tls or plaintext"));
                Security::MskIam { region }
            }
        };
        let msk_iam = matches!(security, Security::MskIam { .. });
        if cluster_arn.is_none() && (msk_iam || bootstrap_servers.is_none()) {
            let own = "unless KAFKA_BOOTSTRAP_SERVERS is set and KAFKA_SECURITY is scram, tls or plaintext";
            wrong.push(format!("MSK_CLUSTER_ARN is not set; it is needed {own}"));
        }
        let ca_file = lookup("KAFKA_CA_FILE").map(PathBuf::from);
        if ca_file.is_some() && security == Security::Plaintext {
            wrong.push("KAFKA_CA_FILE is set where KAFKA_SECURITY is plaintext".to_owned());
        }
        let encrypted = |url: &str| url.starts_with("rediss") || url.starts_with("valkeys");
        let mut number = |name: &str, default: usize| match lookup(name).map(|text| text.parse()) {
            None => default,
            Some(Ok(number)) => number,
            Some(Err(_)) => {
                wrong.push(format!("{name} is no number"));
                default
            }
        };
        let redis_connections = number("REDIS_CONNECTIONS", DEFAULT_REDIS_CONNECTIONS);
        let min_hold = number("MIN_HOLD_SECONDS", crate::domain::document::MIN_HOLD_SECONDS as usize);
        let redis_iam = match (lookup("REDIS_IAM_USER"), lookup("REDIS_IAM_CACHE")) {
            (None, None) => None,
            (Some(user), Some(cache)) => {
                // Whoever reads a token is us for a quarter of an hour.
                if !encrypted(&redis_url) {
                    wrong.push("REDIS_URL must be rediss:// where REDIS_IAM_USER is set".to_owned());
                }
                Some(IamUser { user, cache })
            }
            _ => {
                wrong.push("REDIS_IAM_USER and REDIS_IAM_CACHE are set together or not at all".to_owned());
                None
            }
        };
        let lock_urls = lookup("LOCK_REDIS_URLS").unwrap_or_default();
        let lock_redis_urls = lock_urls.split(',').map(str::trim).filter(|url| !url.is_empty());
        let lock_redis_urls: Vec<String> = lock_redis_urls.map(str::to_owned).collect();
        let redis_ca_file = lookup("REDIS_CA_FILE").map(PathBuf::from);
        if redis_ca_file.is_some() && !(encrypted(&redis_url) && lock_redis_urls.iter().all(|url| encrypted(url))) {
            wrong.push("REDIS_URL and LOCK_REDIS_URLS must be rediss:// where REDIS_CA_FILE is set".to_owned());
        }
        if !wrong.is_empty() {
            return Err(ConfigError(wrong));
        }
        Ok(Self {
            table: TableSettings { table, endpoint: lookup("DYNAMODB_ENDPOINT") },
            redis_url,
            redis_ca_file,
            redis_iam,
            redis_connections,
            lock_redis_urls,
            kafka: KafkaConfig { bootstrap_servers, cluster_arn, security, ca_file, topics },
            // Lambda's own variable: one it cannot be read from is no reason not to sell.
            xray_daemon: lookup("AWS_XRAY_DAEMON_ADDRESS").and_then(|address| address.parse().ok()),
            metrics_namespace: lookup("METRICS_NAMESPACE").unwrap_or_else(|| crate::telemetry::NAMESPACE.to_owned()),
            min_hold_seconds: u32::try_from(min_hold).unwrap_or(u32::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: [(&str, &str); 7] = [
        ("TABLE_NAME", "tickets"),
        ("REDIS_URL", "redis://127.0.0.1:1"),
        ("REQUESTS_TOPIC", "requests"),
        ("OUTCOMES_TOPIC", "outcomes"),
        ("DLQ_TOPIC", "dlq"),
        ("FAILED_TOPIC", "failed"),
        ("MSK_CLUSTER_ARN", "arn:aws:kafka:eu-central-1:123456789012:cluster/tickets/uuid"),
    ];

    fn read(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::read(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        let ConfigError(wrong) =
            read(&[("REDIS_URL", ""), ("KAFKA_SECURITY", "ssl"), ("REDIS_CONNECTIONS", "x")]).unwrap_err();
        for name in [
            "TABLE_NAME",
            "REDIS_URL",
            "REQUESTS_TOPIC",
            "DLQ_TOPIC",
            "FAILED_TOPIC",
            "MSK_CLUSTER_ARN",
            "KAFKA_SECURITY",
            "REDIS_CONNECTIONS",
        ] {
            assert!(wrong.iter().any(|line| line.contains(name)), "{name} in {wrong:?}");
        }
    }

    /// Reads what is complete but for these.
    fn complete(pairs: &[(&'static str, &'static str)]) -> Result<Config, ConfigError> {
        let rest = COMPLETE.iter().filter(|(key, _)| !pairs.iter().any(|(name, _)| name == key));
        read(&rest.chain(pairs).copied().collect::<Vec<_>>())
    }

    #[test]
    fn a_user_of_elasticache_comes_with_its_cache_and_never_in_plain() {
        let (user, cache) = (("REDIS_IAM_USER", "tickets"), ("REDIS_IAM_CACHE", "tickets-cache"));
        let tls = ("REDIS_URL", "rediss-cluster://cache:6379");
        let iam = complete(&[tls, user, cache]).unwrap().redis_iam.unwrap();
        assert_eq!((iam.user.as_str(), iam.cache.as_str()), ("tickets", "tickets-cache"));
        assert_eq!(complete(&[tls, ("REDIS_IAM_USER", "")]).unwrap().redis_iam, None);
        assert!(complete(&[tls, user]).unwrap_err().to_string().contains("REDIS_IAM_CACHE"));
        assert!(complete(&[user, cache]).unwrap_err().to_string().contains("REDIS_URL"));
    }

    #[test]
    fn a_deployed_system_speaks_iam_and_takes_no_short_holds_unless_told() {
        let config = read(&COMPLETE).unwrap();
        assert_eq!(config.kafka.security, Security::MskIam { region: "eu-central-1".to_owned() });
        assert_eq!((config.redis_connections, config.min_hold_seconds, config.table.endpoint), (1, 60, None));
        assert_eq!(config.lock_redis_urls, [""; 0]);
    }

    #[test]
    fn servers_for_locks_are_named_with_commas_between_them() {
        let urls = ("LOCK_REDIS_URLS", "redis://a:1, redis://b:2,,redis://c:3");
        let config = read(&[&COMPLETE[..], &[urls]].concat()).unwrap();
        assert_eq!(config.lock_redis_urls, ["redis://a:1", "redis://b:2", "redis://c:3"]);
    }

    const SCRAM: [(&str, &str); 5] = [
        ("KAFKA_SECURITY", "scram"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:9094"),
        ("MSK_CLUSTER_ARN", ""),
        ("KAFKA_USER", "tickets"),
        ("KAFKA_PASSWORD", "scram-secret"),
    ];

    #[test]
    fn a_broker_of_one_s_own_is_told_a_user_and_his_password() {
        let kafka = complete(&SCRAM).unwrap().kafka;
        let password = Secret::new("scram-secret");
        assert_eq!(kafka.security, Security::Scram { user: "tickets".to_owned(), password });
        let missing = complete(&SCRAM[..3]).unwrap_err().to_string();
        assert!(missing.contains("KAFKA_USER") && missing.contains("KAFKA_PASSWORD"), "{missing}");
        let tls = [("KAFKA_SECURITY", "tls"), ("KAFKA_CA_FILE", "/ca.pem"), SCRAM[1], SCRAM[2]];
        let kafka = complete(&tls).unwrap().kafka;
        assert_eq!((kafka.security, kafka.ca_file), (Security::Tls, Some(PathBuf::from("/ca.pem"))));
        let plain = complete(&[("KAFKA_SECURITY", "plaintext"), tls[1], SCRAM[1]]).unwrap_err().to_string();
        assert!(plain.contains("KAFKA_CA_FILE"), "{plain}");
    }

    #[test]
    fn an_authority_is_believed_where_there_are_certificates_to_see() {
        let (tls, ca) = (("REDIS_URL", "rediss://cache:6379"), ("REDIS_CA_FILE", "/ca.pem"));
        assert_eq!(complete(&[tls, ca]).unwrap().redis_ca(), Some(Path::new("/ca.pem")));
        let (plain, locks) = (("REDIS_URL", "redis://cache:6379"), ("LOCK_REDIS_URLS", "rediss://a:1,redis://b:1"));
        for unseen in [&[plain, ca][..], &[tls, ca, locks]] {
            assert!(complete(unseen).unwrap_err().to_string().contains("REDIS_CA_FILE"), "{unseen:?}");
        }
    }

    #[test]
    fn printing_it_shows_no_password() {
        let urls = [("REDIS_URL", "redis://u:redis-secret@h:1"), ("LOCK_REDIS_URLS", "redis://:lock-secret@h:2")];
        let printed = format!("{:?}", complete(&[&SCRAM[..], &urls].concat()).unwrap());
        assert!(!printed.contains("-secret"), "{printed}");
        assert!(printed.contains("redis://h:1") && printed.contains("redis://h:2"), "{printed}");
    }
}
