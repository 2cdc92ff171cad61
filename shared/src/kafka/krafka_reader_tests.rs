//! The reader against a broker in this process: what it brings, where it goes on, and that it waits for nothing.

use std::time::Duration;

use bytes::Bytes;
use krafka::error::ErrorCode;
use krafka::testing::{ApiKey, Control, FakeBroker};
use tokio::time::Instant;

use super::krafka_reader::PAGE_RECORDS;
use super::{Extent, KafkaSettings, KrafkaLog, KrafkaReader, Message, ReadError, RequestLog, Security, Stored};

const TOPIC: &str = "dlq";

/// Far beyond what an answer takes here.
const PATIENCE: Duration = Duration::from_secs(10);

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// A topic of two partitions with `many` messages in the first.
async fn filled(many: usize) -> (FakeBroker, KrafkaReader) {
    let broker = FakeBroker::start().await.unwrap();
    broker.create_topic(TOPIC, 2);
    let settings = KafkaSettings::new(broker.bootstrap_servers(), Security::Plaintext);
    let log = KrafkaLog::new(settings.clone());
    for at in 0..many {
        // "b" is of partition 0 of two.
        let (key, value) = (Bytes::from_static(b"b"), Bytes::from(at.to_string()));
        let headers = vec![("h".to_owned(), Bytes::from_static(b"\xff"))];
        let message = Message { topic: TOPIC.to_owned(), key: Some(key), value: Some(value), headers };
        assert_eq!(log.produce(message).await.unwrap().partition, 0);
    }
    log.close().await;
    (broker, KrafkaReader::new(settings))
}

fn offsets(messages: &[Stored]) -> Vec<i64> {
    messages.iter().map(|stored| stored.offset).collect()
}

#[tokio::test]
async fn a_page_ends_where_it_is_told_and_the_next_goes_on_there() {
    let (_broker, mut reader) = filled(7).await;
    let extents = reader.extents(TOPIC, soon()).await.unwrap();
    let extent = |partition, end| Extent { partition, start: 0, end };
    assert_eq!(extents, [extent(0, 7), extent(1, 0)]);
    for (range, most, expected, next) in [
        ((0, 7), 3, vec![0, 1, 2], 3),
        ((3, 7), PAGE_RECORDS, vec![3, 4, 5, 6], 7),
        ((2, 4), PAGE_RECORDS, vec![2, 3], 4),
        ((6, 7), 1, vec![6], 7),
        ((5, 5), 9, vec![], 5),
        ((5, 6), 0, vec![], 5),
    ] {
        let page = reader.page(TOPIC, 0, range, most, soon()).await.unwrap();
        assert_eq!((offsets(&page.messages), page.next), (expected, next), "{range:?} {most}");
    }
    let page = reader.page(TOPIC, 0, (4, 5), 1, soon()).await.unwrap();
    let message = &page.messages[0];
    assert_eq!((message.key.as_deref(), message.value.as_deref()), (Some(&b"b"[..]), Some(&b"4"[..])));
    assert_eq!(message.headers, [("h".to_owned(), Bytes::from_static(b"\xff"))]);
    assert!(message.timestamp_ms.is_some_and(|ms| ms > 0));
    reader.close().await;
}

#[tokio::test]
async fn a_page_is_bounded_whatever_is_asked_for() {
    let (_broker, mut reader) = filled(PAGE_RECORDS + 5).await;
    let page = reader.page(TOPIC, 0, (0, 105), usize::MAX, soon()).await.unwrap();
    assert_eq!((page.messages.len(), page.next), (PAGE_RECORDS, 100));
    let page = reader.page(TOPIC, 0, (page.next, 105), usize::MAX, soon()).await.unwrap();
    assert_eq!((offsets(&page.messages), page.next), ((100..105).collect(), 105));
}

#[tokio::test]
async fn a_topic_nobody_knows_and_a_deadline_that_has_passed_are_errors() {
    let (_broker, mut reader) = filled(1).await;
    assert!(reader.extents("nowhere", soon()).await.is_err());
    let late = reader.page(TOPIC, 0, (0, 1), 1, Instant::now()).await;
    assert!(matches!(late, Err(ReadError::TimedOut)), "{late:?}");
    // A reader that was cut goes on.
    assert_eq!(reader.page(TOPIC, 0, (0, 1), 1, soon()).await.unwrap().next, 1);
}

#[tokio::test]
async fn a_leader_that_is_not_yet_one_is_asked_again() {
    let (broker, mut reader) = filled(2).await;
    broker.on_times(ApiKey::ListOffsets, 3, |_| Control::Error(ErrorCode::NotLeaderForPartition));
    assert_eq!(reader.extents(TOPIC, soon()).await.unwrap()[0].end, 2);
    broker.on_times(ApiKey::Fetch, 2, |_| Control::Error(ErrorCode::NotLeaderForPartition));
    assert_eq!(offsets(&reader.page(TOPIC, 0, (0, 2), 9, soon()).await.unwrap().messages), [0, 1]);
    broker.crash(0);
    let away = reader.extents(TOPIC, Instant::now() + Duration::from_millis(500)).await;
    assert!(matches!(away, Err(ReadError::TimedOut)), "{away:?}");
}

#[tokio::test]
async fn what_never_comes_is_waited_for_until_the_deadline_and_no_longer() {
    let (_broker, mut reader) = filled(1).await;
    let within = Duration::from_millis(700);
    let started = Instant::now();
    let waited = reader.page(TOPIC, 0, (1, 2), 1, started + within).await;
    assert!(matches!(waited, Err(ReadError::TimedOut)), "{waited:?}");
    assert!(started.elapsed() >= within && started.elapsed() < PATIENCE, "{:?}", started.elapsed());
}
