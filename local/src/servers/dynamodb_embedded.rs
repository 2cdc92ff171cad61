//! DynamoDB in this process: dynoxide over HTTP, so that the functions' own SDK client meets it as it meets AWS.

use std::net::{Ipv4Addr, SocketAddr};

use dynoxide::{Database, server};
use tokio::{net::TcpListener, sync::oneshot};

use super::{embedded::Threads, error::StartError};

/// An empty in-memory DynamoDB on a free port of 127.0.0.1. Stops accepting when dropped.
#[derive(Debug)]
pub struct DynamoDbEmbedded {
    address: SocketAddr,
    /// Dropping it is the signal to stop.
    _running: oneshot::Sender<()>,
}

impl DynamoDbEmbedded {
    /// Starts it; it answers when this returns.
    pub(super) async fn start(threads: &Threads) -> Result<Self, StartError> {
        let database = Database::memory().map_err(|error| StartError::Io {
            doing: "opening the embedded DynamoDB",
            source: std::io::Error::other(error.to_string()),
        })?;
        let bound = threads.run(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).await?;
        let listener = bound.map_err(StartError::io("listening for the embedded DynamoDB"))?;
        let address = listener.local_addr().map_err(StartError::io("listening for the embedded DynamoDB"))?;
        let (running, stopped) = oneshot::channel::<()>();
        threads.leave(async move {
            // Its error is that the sender was dropped, which is how it is told to stop.
            let until_dropped = async move { drop(stopped.await) };
            if let Err(error) = server::serve_with_shutdown(listener, database, until_dropped).await {
                tracing::error!(error, "the embedded DynamoDB stopped");
            }
        });
        Ok(Self { address, _running: running })
    }

    /// What the SDK takes as its endpoint.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}
