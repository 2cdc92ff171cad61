//! Creates topics on Apache Kafka and waits until their partitions have leaders.

use std::time::Duration;

use krafka::{
    Kafka,
    admin::{AdminClient, CreateTopicsOptions, DescribeTopicsOptions, NewTopic},
    error::KrafkaError,
};
use tokio::time::{self, Instant};

use super::{child::LOOK_EVERY, error::StartError};

/// A new Kafka takes about a second for the first topics; the rest is for a loaded machine.
const CREATED_WITHIN: Duration = Duration::from_secs(30);

/// Creates each topic with its number of partitions and returns when all of them have leaders.
pub(super) async fn create(bootstrap: &str, topics: &[(&str, u32)]) -> Result<(), StartError> {
    let refused = |topic: &str| {
        let topic = topic.to_owned();
        move |error: KrafkaError| StartError::Topic { topic, reason: error.to_string() }
    };
    let Some(&(first, _)) = topics.first() else { return Ok(()) };
    let client = Kafka::builder(bootstrap).connect().await.map_err(refused(first))?;
    let admin = client.admin();
    let mut wanted = Vec::with_capacity(topics.len());
    for &(name, partitions) in topics {
        let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        wanted.push(NewTopic::new(name, partitions, 1).map_err(refused(name))?);
    }
    let options = CreateTopicsOptions::default().timeout(CREATED_WITHIN);
    let answers = admin.create_topics(wanted, options).await.map_err(refused(first))?;
    for (name, answer) in answers {
        answer.map_err(refused(&name))?;
    }
    let deadline = Instant::now() + CREATED_WITHIN;
    for (name, partitions) in topics {
        while !has_leaders(&admin, name, *partitions).await {
            if Instant::now() > deadline {
                let reason = format!("no leaders within {} s", CREATED_WITHIN.as_secs());
                return Err(StartError::Topic { topic: (*name).to_owned(), reason });
            }
            time::sleep(LOOK_EVERY).await;
        }
    }
    admin.close().await.map_err(refused(first))
}

/// The controller answers before the broker has heard of the topic, so "unknown topic" is only "not yet".
async fn has_leaders(admin: &AdminClient, topic: &str, partitions: u32) -> bool {
    match admin.describe_topics([topic], DescribeTopicsOptions::default()).await {
        Ok(answers) => answers.into_values().all(|answer| {
            answer.is_ok_and(|description| {
                description.partitions.len() == partitions as usize
                    && description.partitions.iter().all(|partition| partition.leader.is_some())
            })
        }),
        Err(_) => false,
    }
}
