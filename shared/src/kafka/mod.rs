//! The log that remembers: what is produced, where it stands, and what a failed produce proves.
//!
//! # Layout
//! - this file: the message, the trait and its error contract, free of any client library
//! - [`krafka_log`]: the adapter that produces; [`krafka_reader`]: the one that looks back;
//!   `krafka_security`: who they say they are. Nothing else names the client library
//! - [`bootstrap`]: the brokers' addresses, asked of MSK's control plane

pub mod bootstrap;
pub mod krafka_log;
#[cfg(test)]
mod krafka_log_tests;
pub mod krafka_reader;
#[cfg(test)]
mod krafka_reader_tests;
mod krafka_security;
#[cfg(test)]
mod krafka_security_tests;

use std::error::Error;

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub use krafka_log::{KafkaSettings, KrafkaLog};
pub use krafka_reader::{KrafkaReader, ReadError};
pub use krafka_security::Security;

/// Largest message taken, in bytes as [`Message::size`] counts them.
///
/// A broker takes batches of 1,048,588 bytes by default; the 48 KB between are room for the framing of batch, record and headers.
pub const MAX_MESSAGE_BYTES: usize = 1_000_000;

/// What one header adds besides its bytes: two lengths as varints, at most 5 bytes each.
const HEADER_FRAMING_BYTES: usize = 10;

/// A message to produce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic's name.
    pub topic: String,
    /// Chooses the partition (murmur2, as the Java client does); without one the message goes anywhere.
    pub key: Option<Bytes>,
    /// The payload; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Headers, in order; a name may occur more than once.
    pub headers: Vec<(String, Bytes)>,
}

impl Message {
    /// Bytes this message takes in a batch, framing of the headers included: what [`MAX_MESSAGE_BYTES`] bounds.
    #[must_use]
    pub fn size(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|(name, value)| name.len() + value.len() + HEADER_FRAMING_BYTES).sum();
        self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len) + headers
    }
}

/// Where a message stands in its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Partition, from 0.
    pub partition: i32,
    /// Offset inside the partition, from 0; -1 where the broker only said that it already had the message.
    pub offset: i64,
}

/// A message as it stands in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its offset.
    pub offset: i64,
    /// When it was produced, or appended, in milliseconds since the epoch; the topic decides which.
    pub timestamp_ms: Option<i64>,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers, in order; one without a value has an empty one.
    pub headers: Vec<(String, Bytes)>,
}

/// What a partition retains: the offsets from `start` up to, and without, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Which partition.
    pub partition: i32,
    /// The first offset that is still there.
    pub start: i64,
    /// The offset the next message will get.
    pub end: i64,
}

/// What lies below a failed produce, for the log.
pub type Source = Box<dyn Error + Send + Sync>;

/// A produce that was not acknowledged. The variant is the whole decision: give back, or keep.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// Nothing was written and nothing ever will be: the message was not handed over.
    #[error("not produced ({})", .reason.slug())]
    Definite {
        /// What refused it.
        reason: Refusal,
        /// The client library's own error, where it had one.
        source: Option<Source>,
    },
    /// The message was handed over and may stand in the log, now or a moment from now.
    #[error("produce in doubt ({})", .reason.slug())]
    InDoubt {
        /// Why nobody knows.
        reason: Doubt,
        /// The client library's own error, where it had one.
        source: Option<Source>,
    },
}

/// Why a message was not handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No broker answered, or none let us in.
    NotConnected,
    /// The brokers do not know the topic, or did not say in time (or did not drain the producer's buffer in time: the same outage).
    NoMetadata,
    /// More than [`MAX_MESSAGE_BYTES`].
    TooLarge,
    /// The message is malformed (a topic name no broker takes), or the producer is closed.
    NotAccepted,
}

impl Refusal {
    fn slug(self) -> &'static str {
        match self {
            Self::NotConnected => "not-connected",
            Self::NoMetadata => "no-metadata",
            Self::TooLarge => "too-large",
            Self::NotAccepted => "not-accepted",
        }
    }
}

/// Why nobody knows whether a message was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// No answer within the time for the whole produce.
    Deadline,
    /// The producer gave up, or a broker answered with an error: it may have appended before it did.
    NotAcknowledged,
}

impl Doubt {
    fn slug(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::NotAcknowledged => "not-acknowledged",
        }
    }
}

impl ProduceError {
    /// A refusal without a cause of its own.
    #[must_use]
    pub fn definite(reason: Refusal) -> Self {
        Self::Definite { reason, source: None }
    }

    /// A doubt without a cause of its own.
    #[must_use]
    pub fn in_doubt(reason: Doubt) -> Self {
        Self::InDoubt { reason, source: None }
    }

    /// A stable word for logs and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Definite { reason, .. } => reason.slug(),
            Self::InDoubt { reason, .. } => reason.slug(),
        }
    }

    /// Whether it is certain that the message is in no log and never will be.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        matches!(self, Self::Definite { .. })
    }
}

/// A log that acknowledges a message only once it is safe (all in-sync replicas have it).
///
/// # Error contract
///
/// An implementation MUST return [`ProduceError::Definite`] only if the message failed before a batch was formed:
/// there was no connection or no metadata to be had for the topic, or it was refused here (its size, no room).
///
/// It MUST return [`ProduceError::InDoubt`] for everything after the hand-over, whatever the client library calls it. A producer resends by itself,
/// and a broker that loses leadership while it waits for its followers answers NOT_LEADER or UNKNOWN_TOPIC *after* the append.
///
/// It MUST answer within a named bound, and a produce cut by that bound after the hand-over is in doubt.
/// A caller that drops the future before it is ready MUST treat the message as in doubt.
pub trait RequestLog: Send + Sync + 'static {
    /// Appends one message and waits until it is safe.
    fn produce(&self, message: Message) -> BoxFuture<'_, Result<Position, ProduceError>>;

    /// Sends what is still queued, within a named bound, and lets the connections go. A log that queues nothing has
    /// nothing to do.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
