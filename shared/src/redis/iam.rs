//! ElastiCache's IAM authentication: the password is a signed request to connect, made in this process without a call.
//!
//! A token is good for 15 minutes and is looked at when a connection begins, so fred asks for one with every connection it
//! opens. After 12 hours ElastiCache cuts the connection, and the next one begins with a token of its own. Renewing it in
//! between would take a task that runs while nobody asks; a frozen Lambda has none.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use fred::error::{Error as FredError, ErrorKind};
use fred::types::config::{CredentialProvider, Server};

use crate::causes::chain;
use crate::clock;

/// How long a token may be used. ElastiCache takes no longer one.
const TOKEN_LIFE: Duration = Duration::from_secs(900);
/// ElastiCache's name in a signature.
const SERVICE: &str = "elasticache";

/// Whom ElastiCache knows, and in which cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IamUser {
    /// Name of the user, which for IAM is also its id.
    pub user: String,
    /// Name of the replication group, in small letters.
    pub cache: String,
}

/// A token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There is no region to sign for.
    #[error("no AWS region to sign the Redis token for")]
    Region,
    /// There is nothing to sign with.
    #[error("no AWS credentials to sign the Redis token with")]
    Credentials(#[source] Option<aws_credential_types::provider::error::CredentialsError>),
    /// The names or the credentials cannot be signed.
    #[error("the Redis token cannot be signed")]
    Sign(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl IamUser {
    /// The password for a connection that begins about `at`: the request's URL without its scheme, as ElastiCache wants it.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn token(&self, region: &str, credentials: Credentials, at: SystemTime) -> Result<String, TokenError> {
        let wrong = |error: Box<dyn std::error::Error + Send + Sync>| TokenError::Sign(error);
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(TOKEN_LIFE);
        let identity = credentials.into();
        let params = v4::SigningParams::builder().identity(&identity).region(region).name(SERVICE).time(at);
        let params = params.settings(settings).build().map_err(|error| wrong(error.into()))?.into();
        let url = format!("http://{}/?Action=connect&User={}", self.cache, self.user);
        let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[]))
            .and_then(|request| sign(request, &params))
            .map_err(|error| wrong(error.into()))?;
        let mut signed = http::Request::get(&url).body(()).map_err(|error| wrong(error.into()))?;
        request.into_parts().0.apply_to_request_http1x(&mut signed);
        Ok(signed.uri().to_string().trim_start_matches("http://").to_owned())
    }
}

/// Signs a token for each connection.
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) user: IamUser,
    pub(super) aws: SdkConfig,
}

impl Tokens {
    async fn token(&self) -> Result<String, TokenError> {
        let region = self.aws.region().ok_or(TokenError::Region)?;
        let provider = self.aws.credentials_provider().ok_or(TokenError::Credentials(None))?;
        let credentials = provider.provide_credentials().await.map_err(|error| TokenError::Credentials(Some(error)))?;
        let at = UNIX_EPOCH + Duration::from_millis(u64::try_from(clock::wall_ms()).unwrap_or_default());
        self.user.token(region.as_ref(), credentials, at)
    }
}

#[async_trait]
impl CredentialProvider for Tokens {
    async fn fetch(&self, _: Option<&Server>) -> Result<(Option<String>, Option<String>), FredError> {
        let token = self.token().await.map_err(|error| {
            tracing::error!(cause = chain(&error), "redis cannot be told who connects");
            FredError::new(ErrorKind::Auth, error.to_string())
        })?;
        Ok((Some(self.user.user.clone()), Some(token)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use aws_config::{BehaviorVersion, Region};
    use aws_credential_types::provider::SharedCredentialsProvider;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::redis::Redis;

    /// 2026-11-25T12:00:00Z.
    const AT: u64 = 1_795_608_000;

    fn user() -> IamUser {
        IamUser { user: "tickets-51af3dc0".to_owned(), cache: "tickets-cache".to_owned() }
    }

    fn credentials(session: Option<&str>) -> Credentials {
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        Credentials::new("AKIDEXAMPLE", secret, session.map(str::to_owned), None, "test")
    }

    /// What stands before the parameters, and the parameters: their order is nobody's business.
    fn parts(token: &str) -> (&str, BTreeSet<&str>) {
        let (address, query) = token.split_once('?').unwrap();
        (address, query.split('&').collect())
    }

    // Made by botocore 1.35.99 with its clock held at AT:
    //   RequestSigner(ServiceId("elasticache"), "eu-central-1", "elasticache", "v4", Credentials(<as above>), emitter)
    //     .generate_presigned_url({"method": "GET", "url": "https://tickets-cache/?Action=connect&User=tickets-51af3dc0",
    //       "body": {}, "headers": {}, "context": {}}, operation_name="connect", expires_in=900)
    // and its scheme taken off, as AWS' own samples for ElastiCache do it.
    const PLAIN: &str = "tickets-cache/?Action=connect&User=tickets-51af3dc0&X-Amz-Algorithm=AWS4-HMAC-SHA256\
        &X-Amz-Credential=AKIDEXAMPLE%2F20261125%2Feu-central-1%2Felasticache%2Faws4_request&X-Amz-Date=20261125T120000Z\
        &X-Amz-Expires=900&X-Amz-SignedHeaders=host\
        &X-Amz-Signature=7c4b2c8780c4b64ab8774fb3cfea57fd799c7895a93bd7b7bd837df69b999161";
    // The same with the session token "AQoEXAMPLE//token+=", as a Lambda's credentials have one.
    const SESSION: &str = "tickets-cache/?Action=connect&User=tickets-51af3dc0&X-Amz-Algorithm=AWS4-HMAC-SHA256\
        &X-Amz-Credential=AKIDEXAMPLE%2F20261125%2Feu-central-1%2Felasticache%2Faws4_request&X-Amz-Date=20261125T120000Z\
        &X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Security-Token=AQoEXAMPLE%2F%2Ftoken%2B%3D\
        &X-Amz-Signature=a7afbd533d677e148977191c817b89942c45eb9f8a620b6c15fa58da63400d0f";

    #[test]
    fn a_token_is_the_one_that_aws_own_library_makes() {
        let at = UNIX_EPOCH + Duration::from_secs(AT);
        let plain = user().token("eu-central-1", credentials(None), at).unwrap();
        assert_eq!(parts(&plain), parts(PLAIN));
        let session = user().token("eu-central-1", credentials(Some("AQoEXAMPLE//token+=")), at).unwrap();
        assert_eq!(parts(&session), parts(SESSION));
    }

    /// The user and the password that the next connection begins with; it is refused then.
    async fn login(listener: &TcpListener) -> (String, String) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        loop {
            assert!(stream.read_buf(&mut seen).await.unwrap() > 0, "the connection ended early");
            let text = String::from_utf8(seen.clone()).unwrap();
            let words: Vec<&str> = text.split("\r\n").collect();
            // Three words, each behind its length.
            if let ["*3", "$4", "AUTH", _, user, _, password, ""] = words.as_slice() {
                stream.write_all(b"-WRONGPASS\r\n").await.unwrap();
                return ((*user).to_owned(), (*password).to_owned());
            }
        }
    }

    #[tokio::test]
    async fn every_connection_begins_with_a_token_of_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let aws = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials(None)))
            .build();
        let tokens = Tokens { user: user(), aws };
        let connecting = tokio::spawn(async move { Redis::connect_by(&url, 1, None, Some(tokens)).await.map(drop) });
        let (name, first) = login(&listener).await;
        assert_eq!(name, "tickets-51af3dc0");
        assert!(first.starts_with("tickets-cache/?Action=connect&User=tickets-51af3dc0&"), "{first}");
        // A token is signed to the second: another one has another date.
        tokio::time::timeout(Duration::from_secs(10), async { while login(&listener).await.1 == first {} })
            .await
            .unwrap();
        connecting.abort();
    }
}
