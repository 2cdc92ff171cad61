//! How a function is configured: the only place that reads the environment (invariant 7), once, typed; it names all that is missing.

use std::net::SocketAddr;

use crate::dynamodb::TableSettings;
use crate::redis::iam::IamUser;

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
    /// Whether connections are MSK's (TLS with IAM) or plain ones of a local broker.
    pub msk_iam: bool,
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

/// What every function is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The table.
    pub table: TableSettings,
    /// Redis' URL.
    pub redis_url: String,
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

impl Config {
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
        let msk_iam = match lookup("KAFKA_SECURITY").as_deref() {
            None | Some("msk-iam") => true,
            Some("plaintext") => false,
            Some(other) => {
                wrong.push(format!("KAFKA_SECURITY is {other:?}, must be msk-iam or plaintext"));
                true
            }
        };
        if cluster_arn.is_none() && (msk_iam || bootstrap_servers.is_none()) {
            let plain = "unless KAFKA_BOOTSTRAP_SERVERS is set and KAFKA_SECURITY is plaintext";
            wrong.push(format!("MSK_CLUSTER_ARN is not set; it is needed {plain}"));
        }
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
                if !redis_url.starts_with("rediss") && !redis_url.starts_with("valkeys") {
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
        let lock_redis_urls = lock_redis_urls.map(str::to_owned).collect();
        if !wrong.is_empty() {
            return Err(ConfigError(wrong));
        }
        Ok(Self {
            table: TableSettings { table, endpoint: lookup("DYNAMODB_ENDPOINT") },
            redis_url,
            redis_iam,
            redis_connections,
            lock_redis_urls,
            kafka: KafkaConfig { bootstrap_servers, cluster_arn, msk_iam, topics },
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

    #[test]
    fn a_user_of_elasticache_comes_with_its_cache_and_never_in_plain() {
        let complete = |pairs: &[(&'static str, &'static str)]| {
            let rest = COMPLETE.iter().filter(|(key, _)| !pairs.iter().any(|(name, _)| name == key));
            read(&rest.chain(pairs).copied().collect::<Vec<_>>())
        };
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
        assert!(config.kafka.msk_iam);
        assert_eq!((config.redis_connections, config.min_hold_seconds, config.table.endpoint), (1, 60, None));
        assert_eq!(config.lock_redis_urls, [""; 0]);
    }

    #[test]
    fn servers_for_locks_are_named_with_commas_between_them() {
        let urls = ("LOCK_REDIS_URLS", "redis://a:1, redis://b:2,,redis://c:3");
        let config = read(&[&COMPLETE[..], &[urls]].concat()).unwrap();
        assert_eq!(config.lock_redis_urls, ["redis://a:1", "redis://b:2", "redis://c:3"]);
    }
}
