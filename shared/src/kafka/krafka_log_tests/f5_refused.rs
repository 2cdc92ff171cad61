//! F5: a produce refused for certain is definite, in time, and leaves nothing behind.

use super::*;

#[tokio::test]
async fn f5_a_broker_that_was_never_there_is_definite() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let log = log_of(&address);
    log.warm_up().await;
    assert_definite(produce_in_time(&log, message("a")).await, "not-connected");
}

#[tokio::test]
async fn f5_a_broker_that_accepts_and_never_answers_is_definite() {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let log = log_of(&mute.local_addr().unwrap().to_string());
    assert_definite(produce_in_time(&log, message("a")).await, "not-connected");
}

#[tokio::test]
async fn f5_many_produces_without_a_broker_are_all_definite_and_all_in_time() {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let log = log_of(&mute.local_addr().unwrap().to_string());
    for answer in join_all((0..50).map(|_| produce_in_time(&log, message("a")))).await {
        assert_definite(answer, "not-connected");
    }
}

#[tokio::test]
async fn f5_a_broker_that_comes_up_late_is_met_by_the_next_produce() {
    let broker = FakeBroker::start().await.unwrap();
    broker.create_topic(TOPIC, 1);
    broker.crash(0);
    let log = log_of(&broker.bootstrap_servers());
    log.warm_up().await;
    assert_definite(produce_in_time(&log, message("early")).await, "not-connected");
    broker.restart(0);
    log.produce(message("late")).await.unwrap();
    assert_eq!((written(&broker, "early"), written(&broker, "late")), (0, 1));
}

#[tokio::test]
async fn f5_a_topic_nobody_knows_is_definite_and_found_once_it_exists() {
    let (broker, log) = warm().await;
    let elsewhere = || Message { topic: "elsewhere".to_owned(), ..message("a") };
    assert_definite(produce_in_time(&log, elsewhere()).await, "no-metadata");
    broker.create_topic("elsewhere", 1);
    assert_eq!(broker.next_offset("elsewhere", 0), Some(0));
    log.produce(elsewhere()).await.unwrap();
    assert_eq!(broker.next_offset("elsewhere", 0), Some(1));
}

#[tokio::test]
async fn f5_metadata_that_never_comes_is_definite() {
    let (broker, log) = warm().await;
    broker.create_topic("fresh", 1);
    broker.on(ApiKey::Metadata, |_| Control::Silence);
    assert_definite(produce_in_time(&log, Message { topic: "fresh".to_owned(), ..message("a") }).await, "no-metadata");
    assert_eq!(broker.next_offset("fresh", 0), Some(0));
}

#[tokio::test]
async fn f5_one_byte_too_many_is_definite_and_the_largest_message_passes() {
    let (broker, log) = warm().await;
    let sized = |bytes: usize| Message { key: None, value: Some(vec![7; bytes].into()), ..message("") };
    assert_eq!(sized(MAX_MESSAGE_BYTES).size(), MAX_MESSAGE_BYTES);

    let produced = broker.request_count(ApiKey::Produce);
    assert_definite(log.produce(sized(MAX_MESSAGE_BYTES + 1)).await, "too-large");
    assert_eq!(broker.request_count(ApiKey::Produce), produced);
    log.produce(sized(MAX_MESSAGE_BYTES)).await.unwrap();
}

#[tokio::test]
async fn f5_a_name_no_broker_takes_is_definite() {
    let (_broker, log) = warm().await;
    assert_definite(
        produce_in_time(&log, Message { topic: "no spaces".to_owned(), ..message("a") }).await,
        "not-accepted",
    );
}

#[tokio::test]
async fn f5_msk_iam_meeting_a_plain_text_broker_is_definite_and_sends_nothing_in_the_clear() {
    let broker = FakeBroker::start().await.unwrap();
    broker.create_topic(TOPIC, 1);
    let security = Security::MskIam { region: "ap-northeast-2".to_owned() };
    let log = KrafkaLog::new(KafkaSettings {
        produce_deadline: DEADLINE,
        ..KafkaSettings::new(broker.bootstrap_servers(), security)
    });
    assert_definite(produce_in_time(&log, message("a")).await, "not-connected");
    assert!(broker.requests().is_empty());
}
