//! How a waiter hears that a lock is free: one subscription a process and server, whatever the number of locks and waiters.
//! The releasing script rings for one waiter, on the channel of its process.

use std::future::pending;
use std::sync::{Mutex, PoisonError};

use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::Server;
use metrics::counter;
use tokio::sync::OnceCell;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::redis::{Redis, RedisError, keys, within_deadline};
use crate::telemetry::LOCK_COMMANDS;

/// One process' ear at one server.
pub(super) struct Ear {
    redis: Redis,
    channel: String,
    client: OnceCell<Client>,
    /// New connections since the last subscription; subscriptions end with their connection.
    since: Mutex<Option<Receiver<Server>>>,
}

impl Ear {
    pub(super) fn new(redis: Redis) -> Self {
        let channel = keys::lock_bell(&uuid::Uuid::new_v4().simple().to_string());
        Self { redis, channel, client: OnceCell::new(), since: Mutex::new(None) }
    }

    /// The name under which a waiter with this token is woken.
    pub(super) fn waiter(&self, token: &str) -> String {
        format!("{} {token}", self.channel)
    }

    /// Begins to listen. Whoever asks for the lock again after this misses no bell.
    pub(super) async fn listen(&self) -> Result<Heard, RedisError> {
        let client = self
            .client
            .get_or_try_init(|| async {
                let client = self.redis.another()?;
                // The task it runs in lives as long as the client; how the first attempt went is told by what is sent.
                drop(client.connect());
                Ok::<_, RedisError>(client)
            })
            .await?;
        let (heard, since) = (Heard::on(client), client.reconnect_rx());
        counter!(LOCK_COMMANDS).increment(1);
        within_deadline(client.subscribe(self.channel.as_str())).await?;
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(since);
        Ok(heard)
    }

    /// The same without a word to the server, where the connection is still the one that was subscribed on.
    pub(super) fn listening(&self) -> Option<Heard> {
        // What it hears begins here: a connection that is new only after the look is noticed by its waiter.
        let heard = self.client.get().map(Heard::on)?;
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = matches!(since.as_mut()?.try_recv(), Err(TryRecvError::Empty));
        if !is_same {
            *since = None;
        }
        Some(heard).filter(|heard| is_same && heard.client.is_connected())
    }
}

/// What one waiter hears, from when it began to listen.
pub(super) struct Heard {
    bells: Receiver<fred::types::Message>,
    connections: Receiver<Server>,
    client: Client,
}

impl Heard {
    fn on(client: &Client) -> Self {
        Self { bells: client.message_rx(), connections: client.reconnect_rx(), client: client.clone() }
    }

    /// Ends when the bell was rung for this token, or may have been unheard: after a new connection, or in a crowd.
    pub(super) async fn rung(&mut self, ear: &Ear, token: &str) {
        loop {
            tokio::select! {
                bell = self.bells.recv() => match bell {
                    Ok(bell) if bell.value.as_str().as_deref() == Some(token) => return,
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return,
                    Err(RecvError::Closed) => pending().await,
                },
                connected = self.connections.recv() => {
                    if connected.is_err() {
                        pending::<()>().await;
                    }
                    // Subscriptions end with their connection.
                    if let Err(error) = within_deadline(self.client.subscribe(ear.channel.as_str())).await {
                        tracing::debug!(error = crate::causes::chain(&error), "deaf until reconnected");
                    }
                    return;
                }
            }
        }
    }
}
