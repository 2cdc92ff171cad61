//! Apache Kafka and DynamoDB Local, which take seconds and hundreds of megabytes to start: one pair serves a whole process.

use std::{path::Path, sync::Arc};

use tokio::sync::OnceCell;

use super::{dynamodb_local::DynamoDbLocal, error::StartError, kafka::Kafka};

/// The pair that everybody in this process shares. A static is never dropped; the guards of the two end them with the
/// process.
static SHARED: OnceCell<Arc<RealPair>> = OnceCell::const_new();

/// A Kafka and a DynamoDB Local. Both die when dropped.
#[derive(Debug)]
pub struct RealPair {
    pub(super) kafka: Kafka,
    pub(super) dynamodb: DynamoDbLocal,
}

impl RealPair {
    /// The pair of this process, started by the first who asks. Topics and tables are the callers' to keep apart.
    ///
    /// # Errors
    /// As [`RealPair::start`]; the next who asks tries again.
    pub async fn shared(cache: &Path) -> Result<Arc<Self>, StartError> {
        SHARED.get_or_try_init(|| async { Self::start(cache).await.map(Arc::new) }).await.cloned()
    }

    /// A pair of the caller's own, for tests that stop or freeze a server.
    ///
    /// # Errors
    /// As [`Kafka::start`] and [`DynamoDbLocal::start`].
    pub async fn start(cache: &Path) -> Result<Self, StartError> {
        let (kafka, dynamodb) = tokio::try_join!(Kafka::start(cache), DynamoDbLocal::start(cache))?;
        Ok(Self { kafka, dynamodb })
    }
}
