//! Who a connection to Kafka says it is, and whose certificates it believes.

use std::sync::Arc;

use aws_sdk_kafka::config::{ProvideCredentials, SharedCredentialsProvider};
use krafka::auth::{AuthConfig, AwsMskIamCredentials, TlsConfig};
use krafka::error::KrafkaError;
use tokio::sync::OnceCell;

use crate::secret::Secret;

/// How a connection is secured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// No TLS, no authentication: local servers only.
    Plaintext,
    /// TLS, to brokers that ask nobody who he is.
    Tls,
    /// TLS and `SCRAM-SHA-512`. The brokers learn no password, and have to prove that they know it, too.
    Scram {
        /// Name of the user.
        user: String,
        /// His password.
        password: Secret,
    },
    /// TLS and `AWS_MSK_IAM`, signed with the AWS SDK's default credentials, asked anew for every connection.
    MskIam {
        /// The cluster's region.
        region: String,
    },
}

impl Security {
    /// Its word in the configuration and in logs.
    pub(super) fn slug(&self) -> &'static str {
        match self {
            Self::Plaintext => "plaintext",
            Self::Tls => "tls",
            Self::Scram { .. } => "scram",
            Self::MskIam { .. } => "msk-iam",
        }
    }
}

/// The credentials of the process, looked up by the first connection.
pub(super) type Chain = Arc<OnceCell<Option<SharedCredentialsProvider>>>;

/// What a connection authenticates with; `None` = it is a plain one. `ca` is the only authority believed, as PEM; without one
/// those that browsers believe are.
pub(super) fn auth(security: &Security, ca: Option<&str>) -> Option<AuthConfig> {
    let tls = ca.map_or_else(TlsConfig::new, |pem| TlsConfig::new().with_ca_cert_pem(pem));
    let auth = match security {
        Security::Plaintext => return None,
        Security::Tls => AuthConfig::plaintext(),
        Security::Scram { user, password } => AuthConfig::sasl_scram_sha512(user, password.expose()),
        Security::MskIam { region } => msk_iam(region.clone(), Chain::default()),
    };
    Some(auth.with_tls(tls))
}

/// `AWS_MSK_IAM` with the SDK's default chain, looked up once and asked for credentials at every new connection.
pub(super) fn msk_iam(region: String, chain: Chain) -> AuthConfig {
    AuthConfig::aws_msk_iam_provider(move || {
        let (region, chain) = (region.clone(), Arc::clone(&chain));
        async move {
            let provider = chain.get_or_init(|| async { crate::aws::config(false).await.credentials_provider() }).await;
            let provider =
                provider.as_ref().ok_or_else(|| KrafkaError::auth("the AWS SDK has no credentials provider"))?;
            let found = provider
                .provide_credentials()
                .await
                .map_err(|error| KrafkaError::auth_with_source("no AWS credentials", error))?;
            let credentials = AwsMskIamCredentials::new(found.access_key_id(), found.secret_access_key(), region);
            Ok(match found.session_token() {
                Some(token) => credentials.with_session_token(token),
                None => credentials,
            })
        }
    })
}
