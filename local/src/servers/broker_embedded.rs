//! Kafka in this process: krafka's own test broker over TCP. It keeps every record in memory and takes fault hooks.

use krafka::testing::FakeBroker;

use super::{embedded::Threads, error::StartError};

/// A one-node cluster on a free port of 127.0.0.1. Closes when dropped.
#[derive(Debug)]
pub struct BrokerEmbedded(FakeBroker);

impl BrokerEmbedded {
    /// Starts it; it answers when this returns.
    pub(super) async fn start(threads: &Threads) -> Result<Self, StartError> {
        let started = threads.run(FakeBroker::start()).await?;
        started.map(Self).map_err(|error| StartError::Io {
            doing: "starting the embedded broker",
            source: std::io::Error::other(error),
        })
    }

    /// What a client takes as its bootstrap servers.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.0.bootstrap_servers()
    }

    /// Creates topics (name, partitions); without a client, which would ask for metadata for 100 ms.
    pub(super) fn create_topics(&self, topics: &[(&str, u32)]) -> Result<(), StartError> {
        for &(name, partitions) in topics {
            if !self.0.create_topic(name, i32::try_from(partitions).unwrap_or(i32::MAX)) {
                return Err(StartError::Topic { topic: name.to_owned(), reason: "it exists already".to_owned() });
            }
        }
        Ok(())
    }

    /// The broker itself: to see its records, and to make it fail.
    #[must_use]
    pub fn broker(&self) -> &FakeBroker {
        &self.0
    }
}
