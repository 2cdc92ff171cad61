//! A connection on which the servers' replicas are waited for: `WAIT` asks after what its own connection wrote, and keeps
//! that connection busy meanwhile.

use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Value};
use metrics::counter;
use tokio::sync::Mutex;

use crate::redis::{Redis, RedisError, Script, millis, within_deadline};
use crate::telemetry::LOCK_COMMANDS;

/// How long replicas have to acknowledge a grant: within the time of a command.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_millis(100);

/// The connection to one server, opened by who needs it first.
pub(super) struct Synced {
    redis: Redis,
    // One at a time, so that an answer of WAIT is about one's own write.
    client: Mutex<Option<Client>>,
}

impl Synced {
    pub(super) fn new(redis: Redis) -> Self {
        Self { redis, client: Mutex::new(None) }
    }

    /// Runs a script that answers two numbers, and tells in how many replicas, of so many that are wanted, what it wrote has
    /// certainly arrived.
    pub(super) async fn run(
        &self,
        script: &Script,
        keys: Vec<String>,
        args: Vec<Value>,
        wanted: usize,
    ) -> Result<((i64, i64), usize), RedisError> {
        let mut client = self.client.lock().await;
        let client = match &mut *client {
            Some(client) => client,
            none => {
                let new = self.redis.another()?;
                // The task it runs in lives as long as the client; how the first attempt went is told by what is sent.
                drop(new.connect());
                none.insert(new)
            }
        };
        counter!(LOCK_COMMANDS).increment(4);
        let connection = number(client, "CLIENT", vec!["ID".into()]).await?;
        let answer = Redis::run_on(client, script, keys, args).await?;
        let within = millis(ACKNOWLEDGED_WITHIN);
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        let arrived = number(client, "WAIT", vec![wanted.into(), within.into()]).await?;
        // Every replica has what a new connection wrote: nothing.
        let is_same = connection == number(client, "CLIENT", vec!["ID".into()]).await?;
        Ok((answer, usize::try_from(arrived).ok().filter(|_| is_same).unwrap_or(0)))
    }
}

async fn number(client: &Client, command: &'static str, args: Vec<Value>) -> Result<i64, RedisError> {
    let command = CustomCommand::new_static(command, ClusterHash::Random, false);
    within_deadline(client.custom(command, args)).await
}
