//! Why there is no connection. Commands that wait for one only run out of time, and fred keeps its reasons to itself.

use std::sync::{Arc, Mutex, PoisonError};

use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface};
use tokio::sync::broadcast::error::RecvError;

use super::RedisError;
use crate::causes::chain;

/// Logs each reason that one of these connections meets, once until one of them is there again. What runs here ends with
/// them and does nothing of its own: it is woken by fred's own attempts.
pub(super) fn tell(connections: &[Client]) {
    let told: Arc<Mutex<Option<String>>> = Arc::default();
    for client in connections {
        let (mut troubles, mut connected) = (client.error_rx(), client.reconnect_rx());
        let (tls, told) = (client.client_config().uses_tls(), Arc::clone(&told));
        tokio::spawn(async move {
            let replace = |reason| {
                let before = std::mem::replace(&mut *told.lock().unwrap_or_else(PoisonError::into_inner), reason);
                before.unwrap_or_default()
            };
            loop {
                tokio::select! {
                    trouble = troubles.recv() => match trouble {
                        Ok((error, _)) => {
                            let reason = error.details().to_owned();
                            if replace(Some(reason.clone())) != reason {
                                let cause = chain(&RedisError::Unavailable(error));
                                tracing::warn!(tls, cause, "no connection to redis");
                            }
                        }
                        Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => return,
                    },
                    Ok(_) = connected.recv() => drop(replace(None)),
                }
            }
        });
    }
}
