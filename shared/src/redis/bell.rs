//! The bell: wakes whoever waits for the outcome of a reservation. The truth script rings it, on the channel that is named
//! like the record, right after it has written the outcome there.
//!
//! It only saves time. The outcome stands in the record and in the table; a bell that nobody heard (the connection was
//! away, the process frozen) is made up for by looking. One channel a reservation, and not one for all: a bell goes to the
//! one or two who wait for it, where a common channel would bring every outcome of an on-sale to every process, and pile
//! them up in Redis' memory for those that are frozen and do not read.
//!
//! A process hears over one connection, opened by the first who waits. Nothing is sent when a waiter leaves, since he may
//! leave by being dropped: the next one gives up the channels on which nobody listens any more.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, OnceCell};

use super::{Redis, RedisError, keys, within_deadline};
use crate::causes::chain;
use crate::domain::ids::ReservationId;

/// Hears bells. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct Bells {
    redis: Redis,
    ear: Arc<OnceCell<Client>>,
    /// Channels subscribed to, and how many listen on each; 0 = to be given up.
    channels: Arc<Mutex<HashMap<String, usize>>>,
}

impl Bells {
    /// Bells of this Redis. Nothing is connected yet.
    pub fn new(redis: Redis) -> Self {
        Self { redis, ear: Arc::default(), channels: Arc::default() }
    }

    /// Ends when the bell of `id` has rung. Tells `look` whenever it may have rung unheard: after each (re)subscription.
    /// Where nothing can be heard it never ends, so it takes no part in deciding how long to wait.
    pub async fn rung(&self, id: &ReservationId, look: &Notify) {
        if let Err(error) = self.listen(&keys::record(id), look).await {
            tracing::warn!(cause = chain(&error), "bells cannot be heard; waiters look by themselves");
            pending().await
        }
    }

    async fn listen(&self, channel: &str, look: &Notify) -> Result<(), RedisError> {
        let ear = self.ear.get_or_try_init(|| async { self.connect() }).await?;
        let (mut bells, mut connections) = (ear.message_rx(), ear.reconnect_rx());
        let (_listener, silent) = self.enter(channel);
        if !silent.is_empty() {
            // Whoever enters one of them at this moment may be deaf to it. Where Redis does not answer, they end with the
            // connection.
            report("gave up no channel", within_deadline(ear.unsubscribe(silent)).await);
        }
        loop {
            report("deaf until reconnected", within_deadline(ear.subscribe(channel)).await);
            look.notify_one();
            loop {
                tokio::select! {
                    bell = bells.recv() => match bell {
                        Ok(bell) if bell.channel == channel => return Ok(()),
                        Ok(_) => {}
                        Err(RecvError::Lagged(_)) => look.notify_one(),
                        Err(RecvError::Closed) => pending().await,
                    },
                    // Subscriptions end with their connection.
                    Ok(_) = connections.recv() => break,
                }
            }
        }
    }

    fn connect(&self) -> Result<Client, RedisError> {
        let ear = self.redis.another()?;
        // The task it runs in lives as long as the client; how the first attempt went is told by what is sent.
        drop(ear.connect());
        Ok(ear)
    }

    /// Adds a listener to a channel, and takes away the channels that have none.
    fn enter(&self, channel: &str) -> (Listener<'_>, Vec<String>) {
        let mut channels = self.channels();
        *channels.entry(channel.to_owned()).or_default() += 1;
        let silent: Vec<String> = channels.extract_if(|_, listeners| *listeners == 0).map(|(name, _)| name).collect();
        (Listener { bells: self, channel: channel.to_owned() }, silent)
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn report(what: &str, answer: Result<(), RedisError>) {
    if let Err(error) = answer {
        tracing::debug!(error = chain(&error), "{what}");
    }
}

/// Somebody on a channel, until dropped.
struct Listener<'a> {
    bells: &'a Bells,
    channel: String,
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        if let Some(listeners) = self.bells.channels().get_mut(&self.channel) {
            *listeners = listeners.saturating_sub(1);
        }
    }
}
