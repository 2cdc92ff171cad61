//! F6: after the hand-over every failure is in doubt, whatever was written, and the next produces recover.

use super::*;

/// The broker appends every batch and then says `code`: the produce is in doubt, the message is there once, and the next one gets through.
async fn apply_then_error_is_in_doubt(code: ErrorCode) {
    let (broker, log) = warm().await;
    broker.on(ApiKey::Produce, move |_| Control::ApplyThen(Box::new(Control::Error(code))));
    assert_in_doubt(produce_in_time(&log, message("doubted")).await);
    assert_eq!(written(&broker, "doubted"), 1, "{code:?}");
    broker.clear_hooks();
    assert_recovers(&broker, &log).await;
}

/// The broker appends one batch, says `code` once, and is well: the resend is recognised, so there is one message and its true position.
async fn apply_then_error_once_is_resent(code: ErrorCode) {
    let (broker, log) = warm().await;
    broker.on_once(ApiKey::Produce, move |_| Control::ApplyThen(Box::new(Control::Error(code))));
    assert_eq!(produce_in_time(&log, message("resent")).await.unwrap(), Position { partition: 0, offset: 1 });
    assert_eq!(written(&broker, "resent"), 1, "{code:?}");
    assert!(broker.request_count(ApiKey::Produce) >= 3, "the producer did not resend after {code:?}");
}

#[tokio::test]
async fn f6_applied_then_disconnected_once_is_resent_and_stands_once() {
    let (broker, log) = warm().await;
    broker.on_once(ApiKey::Produce, |_| Control::ApplyThen(Box::new(Control::Disconnect)));
    assert_eq!(produce_in_time(&log, message("a")).await.unwrap(), Position { partition: 0, offset: 1 });
    assert_eq!(written(&broker, "a"), 1);
}

#[tokio::test]
async fn f6_applied_then_disconnected_every_time_is_in_doubt() {
    let (broker, log) = warm().await;
    broker.on(ApiKey::Produce, |_| Control::ApplyThen(Box::new(Control::Disconnect)));
    assert_in_doubt(produce_in_time(&log, message("a")).await);
    assert_eq!(written(&broker, "a"), 1);
    broker.clear_hooks();
    assert_recovers(&broker, &log).await;
}

#[tokio::test]
async fn f6_applied_then_not_leader_is_in_doubt() {
    apply_then_error_is_in_doubt(ErrorCode::NotLeaderForPartition).await;
}

#[tokio::test]
async fn f6_applied_then_not_leader_once_is_resent_and_stands_once() {
    apply_then_error_once_is_resent(ErrorCode::NotLeaderForPartition).await;
}

#[tokio::test]
async fn f6_applied_then_unknown_topic_is_in_doubt() {
    apply_then_error_is_in_doubt(ErrorCode::UnknownTopicOrPartition).await;
}

#[tokio::test]
async fn f6_applied_then_unknown_topic_once_is_resent_and_stands_once() {
    apply_then_error_once_is_resent(ErrorCode::UnknownTopicOrPartition).await;
}

#[tokio::test]
async fn f6_too_few_replicas_after_the_append_is_in_doubt() {
    apply_then_error_is_in_doubt(ErrorCode::NotEnoughReplicasAfterAppend).await;
}

#[tokio::test]
async fn f6_too_few_replicas_after_the_append_once_is_resent_and_stands_once() {
    apply_then_error_once_is_resent(ErrorCode::NotEnoughReplicasAfterAppend).await;
}

#[tokio::test]
async fn f6_applied_then_timed_out_in_the_broker_is_in_doubt() {
    apply_then_error_is_in_doubt(ErrorCode::RequestTimedOut).await;
}

/// What the broker itself calls too large has been handed over: the word of the broker is not looked at.
#[tokio::test]
async fn f6_a_refusal_by_the_broker_is_in_doubt_even_where_nothing_was_appended() {
    let (broker, log) = warm().await;
    broker.on_once(ApiKey::Produce, |_| Control::Error(ErrorCode::MessageTooLarge));
    assert_in_doubt(produce_in_time(&log, message("a")).await);
    assert_eq!(written(&broker, "a"), 0);
    assert_recovers(&broker, &log).await;
}

#[tokio::test]
async fn f6_a_frozen_broker_is_in_doubt_within_the_deadline_and_later_produces_recover() {
    let (broker, log) = warm().await;
    broker.on(ApiKey::Produce, |_| Control::Silence);
    assert_in_doubt(produce_in_time(&log, message("a")).await);
    broker.clear_hooks();
    assert_recovers(&broker, &log).await;
}

#[tokio::test]
async fn f6_a_broker_that_writes_and_freezes_is_in_doubt_and_has_written() {
    let (broker, log) = warm().await;
    broker.on(ApiKey::Produce, |_| Control::ApplyThen(Box::new(Control::Silence)));
    assert_in_doubt(produce_in_time(&log, message("a")).await);
    assert_eq!(written(&broker, "a"), 1);
    broker.clear_hooks();
    assert_recovers(&broker, &log).await;
}

/// krafka reports `possibly_written: false` here, and is right; the next leader's answer would look the same, so it counts for nothing.
#[tokio::test]
async fn f6_a_broker_that_died_after_the_metadata_was_read_is_in_doubt_and_recovers_after_its_restart() {
    let (broker, log) = warm().await;
    broker.crash(0);
    assert_in_doubt(produce_in_time(&log, message("a")).await);
    assert_eq!(written(&broker, "a"), 0);
    broker.restart(0);
    assert_recovers(&broker, &log).await;
}

#[tokio::test]
async fn f6_many_produces_at_a_frozen_broker_are_all_in_doubt_and_all_in_time() {
    let (broker, log) = warm().await;
    broker.on(ApiKey::Produce, |_| Control::Silence);
    for answer in join_all((0..50).map(|n| produce_in_time(&log, message(&format!("key-{n}"))))).await {
        assert_in_doubt(answer);
    }
    broker.clear_hooks();
    assert_recovers(&broker, &log).await;
}

#[tokio::test]
async fn f6_a_producer_the_broker_shuts_out_is_replaced_by_the_next_produce() {
    let (broker, log) = warm().await;
    broker.on_once(ApiKey::Produce, |_| Control::Error(ErrorCode::ClusterAuthorizationFailed));
    assert_in_doubt(produce_in_time(&log, message("a")).await);
    log.produce(message("b")).await.unwrap();
    assert_eq!(broker.request_count(ApiKey::InitProducerId), 2);
}
