//! The brokers' addresses from MSK's control plane, for a deployment whose template cannot know them.

use std::time::Duration;

use aws_sdk_kafka::Client;
use aws_sdk_kafka::error::SdkError;
use aws_sdk_kafka::operation::get_bootstrap_brokers::GetBootstrapBrokersError;

use super::{KafkaSettings, KrafkaLog};
use crate::config::KafkaConfig;

/// Time for the lookup, the SDK's retries included. It runs in a function's init, which has 10 s in all.
pub const DISCOVER_DEADLINE: Duration = Duration::from_secs(5);

/// Why the brokers cannot be reached as configured.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// MSK did not answer in time: mostly no route to its API from the function's subnets.
    #[error("MSK did not name the brokers of {cluster_arn} within {} s; is there a route to its API?", DISCOVER_DEADLINE.as_secs())]
    TimedOut {
        /// The cluster asked for.
        cluster_arn: String,
    },
    /// MSK refused: mostly a missing `kafka:GetBootstrapBrokers`, or a wrong ARN.
    #[error("MSK refused to name the brokers of {cluster_arn}")]
    Refused {
        /// The cluster asked for.
        cluster_arn: String,
        /// The SDK's error.
        source: Box<SdkError<GetBootstrapBrokersError>>,
    },
    /// The cluster offers no listener for SASL/IAM.
    #[error("the cluster {cluster_arn} has no SASL/IAM listener; enable IAM access control")]
    NoIamListener {
        /// The cluster asked for.
        cluster_arn: String,
    },
    /// There is nobody to believe.
    #[error("the certificates of KAFKA_CA_FILE, {file}, cannot be read")]
    Ca {
        /// The file.
        file: String,
        /// Why not.
        source: std::io::Error,
    },
}

/// The SASL/IAM bootstrap string of a cluster (`host:port`, comma separated), within [`DISCOVER_DEADLINE`].
///
/// # Errors
/// [`DiscoverError`], each with the cluster's ARN and what to look at.
pub async fn discover(client: &Client, cluster_arn: &str) -> Result<String, DiscoverError> {
    let arn = || cluster_arn.to_owned();
    let asked = client.get_bootstrap_brokers().cluster_arn(cluster_arn).send();
    let answer = tokio::time::timeout(DISCOVER_DEADLINE, asked)
        .await
        .map_err(|_| DiscoverError::TimedOut { cluster_arn: arn() })?
        .map_err(|source| DiscoverError::Refused { cluster_arn: arn(), source: Box::new(source) })?;
    answer
        .bootstrap_broker_string_sasl_iam()
        .filter(|servers| !servers.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| DiscoverError::NoIamListener { cluster_arn: arn() })
}

/// The request log a function is configured for; it connects with the first produce, or [`KrafkaLog::warm_up`].
///
/// # Errors
/// [`DiscoverError`], where the brokers have to be asked for.
pub async fn open(config: &KafkaConfig) -> Result<KrafkaLog, DiscoverError> {
    settings(config).await.map(KrafkaLog::new)
}

/// How the brokers a function is configured for are reached.
///
/// # Errors
/// [`DiscoverError`], where they have to be asked for, or their certificates cannot be read.
pub async fn settings(config: &KafkaConfig) -> Result<KafkaSettings, DiscoverError> {
    let cluster_arn = config.cluster_arn.as_deref().unwrap_or_default();
    let servers = match &config.bootstrap_servers {
        Some(servers) => servers.clone(),
        None => {
            let aws = crate::aws::config(false).await;
            let client = Client::from_conf(aws_sdk_kafka::config::Builder::from(&aws).build());
            discover(&client, cluster_arn).await?
        }
    };
    let mut settings = KafkaSettings::new(servers, config.security.clone());
    if let Some(file) = &config.ca_file {
        let read = std::fs::read_to_string(file);
        let wrong = |source| DiscoverError::Ca { file: file.display().to_string(), source };
        settings.ca_pem = Some(read.map_err(wrong)?);
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use aws_sdk_kafka::config::retry::RetryConfig;
    use aws_sdk_kafka::config::{BehaviorVersion, Credentials, Region};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const CLUSTER: &str =
        "arn:aws:kafka:ap-northeast-2:123456789012:cluster/tickets/00000000-0000-0000-0000-000000000000-1";

    /// A client whose control plane answers one request with this status and body, and a task that returns the request's first line.
    async fn client_answered_with(
        status: &'static str,
        body: &'static str,
    ) -> (Client, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.windows(4).any(|four| four == b"\r\n\r\n") {
                assert!(stream.read_buf(&mut request).await.unwrap() > 0, "the request ended early");
            }
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(request).unwrap().lines().next().unwrap().to_owned()
        });
        let config = aws_sdk_kafka::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("ap-northeast-2"))
            .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
            .endpoint_url(format!("http://{address}"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .retry_config(RetryConfig::disabled())
            .build();
        (Client::from_conf(config), served)
    }

    #[tokio::test]
    async fn the_iam_listener_is_found_among_the_others() {
        let body = r#"{"bootstrapBrokerStringTls":"b-1.tickets:9094","bootstrapBrokerStringSaslIam":"b-1.tickets:9098,b-2.tickets:9098"}"#;
        let (client, served) = client_answered_with("200 OK", body).await;
        assert_eq!(discover(&client, CLUSTER).await.unwrap(), "b-1.tickets:9098,b-2.tickets:9098");
        let asked = served.await.unwrap();
        assert!(asked.starts_with("GET /v1/clusters/arn%3Aaws%3Akafka"), "{asked}");
        assert!(asked.contains("/bootstrap-brokers"), "{asked}");
    }

    #[tokio::test]
    async fn a_cluster_without_an_iam_listener_is_said_to_have_none() {
        let (client, _served) =
            client_answered_with("200 OK", r#"{"bootstrapBrokerStringTls":"b-1.tickets:9094"}"#).await;
        let error = discover(&client, CLUSTER).await.unwrap_err();
        assert!(matches!(error, DiscoverError::NoIamListener { .. }), "{error:?}");
        assert!(error.to_string().contains(CLUSTER));
    }

    #[tokio::test]
    async fn a_refusal_keeps_the_sdk_s_error_as_its_source() {
        let (client, _served) =
            client_answered_with("403 Forbidden", r#"{"message":"no","invalidParameter":null}"#).await;
        let error = discover(&client, CLUSTER).await.unwrap_err();
        assert!(matches!(error, DiscoverError::Refused { .. }), "{error:?}");
        assert!(error.source().is_some());
    }
}
