//! Why there is no connection. Commands that wait for one only run out of time, and fred keeps its reasons to itself.

use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface};
use tokio::sync::broadcast::error::RecvError;

use super::RedisError;
use crate::causes::chain;

/// Logs each reason once, until there is a connection again. What runs here ends with the client and does nothing of its
/// own: it is woken by fred's own attempts.
pub(super) fn tell(client: &Client) {
    let (mut troubles, mut connections) = (client.error_rx(), client.reconnect_rx());
    let tls = client.client_config().uses_tls();
    tokio::spawn(async move {
        let mut told: Option<String> = None;
        loop {
            tokio::select! {
                trouble = troubles.recv() => match trouble {
                    Ok((error, _)) if told.as_deref() != Some(error.details()) => {
                        told = Some(error.details().to_owned());
                        let error = RedisError::Unavailable(error);
                        tracing::warn!(tls, cause = chain(&error), "no connection to redis");
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                Ok(_) = connections.recv() => told = None,
            }
        }
    });
}
