//! AWS' shared configuration: credentials and region found once, and one HTTP client for every call.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider, SharedHttpClient};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// How long finding credentials and region may take at start.
const CONFIG_TIMEOUT: Duration = Duration::from_secs(5);

/// AWS' shared configuration; `local` servers take any credentials and have no region.
pub async fn config(local: bool) -> SdkConfig {
    if local {
        return SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "local", "local", None, None, "local",
            )))
            .http_client(http_client())
            .build();
    }
    let timeouts = TimeoutConfig::builder().operation_timeout(CONFIG_TIMEOUT).build();
    aws_config::defaults(BehaviorVersion::latest()).http_client(http_client()).timeout_config(timeouts).load().await
}

/// The HTTP client of every AWS call: rustls on ring, like every other TLS connection here.
pub fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}
