//! What a test may ask of an event source (pause, replay, repeat, stop), and what it survives by itself.

use super::*;

#[tokio::test]
async fn f20_a_paused_source_delivers_nothing_and_catches_up_in_order() {
    let broker = broker_with(1, 0).await;
    let recorder = Recorder::default();
    let source = EventSource::start(settings(&broker), recorder.handler(|_, _| success())).await.unwrap();
    let log = log_of(&broker);
    log.produce(message("before")).await.unwrap();
    source.drained(SOON).await.unwrap();
    source.pause();
    for answer in join_all((0..300).map(|n| log.produce(message(&format!("key-{n}"))))).await {
        answer.unwrap();
    }
    let error = source.drained(A_WHILE).await.unwrap_err();
    assert!(matches!(error, EventSourceError::NotDrained { .. }), "{error:?}");
    assert_eq!(recorder.deliveries(), [(0, 0)]);
    source.resume();
    source.drained(SOON).await.unwrap();
    assert_eq!(recorder.deliveries(), (0..301).map(|offset| (0, offset)).collect::<Vec<_>>());
    source.stop().await;
}

#[tokio::test]
async fn a_pause_ends_retries_too() {
    let broker = broker_with(1, 1).await;
    let recorder = Recorder::default();
    let source = EventSource::start(settings(&broker), recorder.handler(|_, _| Err("down".to_owned()))).await.unwrap();
    recorder.until("a retry", |seen| seen.payloads().len() >= 2).await;
    source.pause();
    let calls = recorder.payloads().len();
    assert!(source.drained(A_WHILE).await.is_err());
    assert!(recorder.payloads().len() <= calls + 1, "a retry after the pause");
    source.stop().await;
}

#[tokio::test]
async fn f19_a_replay_delivers_the_whole_topic_again() {
    let broker = broker_with(3, 40).await;
    let recorder = Recorder::default();
    let mut settings = settings(&broker);
    settings.pollers = 3;
    let source = EventSource::start(settings, recorder.handler(|_, _| success())).await.unwrap();
    source.drained(SOON).await.unwrap();
    for replays in 1..=3 {
        source.replay_from_start().await;
        source.drained(SOON).await.unwrap();
        for delivery in (0..3).flat_map(|partition| (0..40).map(move |offset| (partition, offset))) {
            assert_eq!(recorder.count(delivery), 1 + replays, "{delivery:?} after {replays} replays");
        }
    }
    source.stop().await;
}

#[tokio::test]
async fn f19_the_answer_of_an_invocation_that_a_replay_overtook_does_not_count() {
    let broker = broker_with(1, 1).await;
    let recorder = Recorder::default();
    let gate = Arc::new(Semaphore::new(0));
    let (seen, held) = (recorder.handler(|_, _| success()), Arc::clone(&gate));
    let handler: Handler = Arc::new(move |event| {
        let (answer, held) = (seen(event), Arc::clone(&held));
        async move {
            held.acquire().await.unwrap().forget();
            answer.await
        }
        .boxed()
    });
    let source = EventSource::start(settings(&broker), handler).await.unwrap();
    recorder.until("the first delivery", |seen| seen.count((0, 0)) == 1).await;
    source.replay_from_start().await;
    gate.add_permits(1);
    recorder.until("the second delivery", |seen| seen.count((0, 0)) == 2).await;
    assert!(source.drained(Duration::ZERO).await.is_err());
    gate.add_permits(1);
    source.drained(SOON).await.unwrap();
    source.stop().await;
}

#[tokio::test]
async fn f7_each_payload_is_delivered_as_often_as_asked() {
    let broker = broker_with(1, 5).await;
    let recorder = Recorder::default();
    let mut settings = settings(&broker);
    settings.deliveries = 4;
    let source = EventSource::start(settings, recorder.handler(|_, _| success())).await.unwrap();
    source.drained(SOON).await.unwrap();
    for four in recorder.payloads().chunks(4) {
        assert!(four.len() == 4 && four.iter().all(|payload| *payload == four[0]), "{four:?}");
    }
    source.stop().await;
}

#[tokio::test]
async fn a_broker_restart_loses_nothing_and_repeats_nothing() {
    let broker = broker_with(2, 10).await;
    let recorder = Recorder::default();
    let source = EventSource::start(settings(&broker), recorder.handler(|_, _| success())).await.unwrap();
    source.drained(SOON).await.unwrap();
    broker.crash(0);
    broker.restart(0);
    let log = log_of(&broker);
    for n in 0..10 {
        log.produce(message(&format!("key-{n}"))).await.unwrap();
    }
    source.drained(SOON).await.unwrap();
    assert_eq!(recorder.deliveries().len(), 30);
    source.stop().await;
}

/// Without the readers' own reconnect this takes krafka's back-off, which has grown to seconds by then.
#[tokio::test]
async fn a_broker_that_was_away_for_a_while_is_read_again_soon_after_it_is_back() {
    let broker = broker_with(2, 10).await;
    let recorder = Recorder::default();
    let source = EventSource::start(settings(&broker), recorder.handler(|_, _| success())).await.unwrap();
    source.drained(SOON).await.unwrap();
    broker.crash(0);
    assert!(
        source.drained(Duration::from_secs(4)).await.is_err(),
        "the end of the topic is not known while the broker is away"
    );
    broker.restart(0);
    let back = Instant::now();
    log_of(&broker).produce(message("after")).await.unwrap();
    recorder.until("the record after the outage", |seen| seen.deliveries().len() == 21).await;
    assert!(back.elapsed() < Duration::from_millis(1500), "{:?}", back.elapsed());
    source.stop().await;
}

#[tokio::test]
async fn a_stopped_source_lets_the_invocation_under_way_end_and_starts_none() {
    let broker = broker_with(1, 3).await;
    let recorder = Recorder::default();
    let (gate, ended) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (seen, held, count) = (recorder.handler(|_, _| success()), Arc::clone(&gate), Arc::clone(&ended));
    let handler: Handler = Arc::new(move |event| {
        let (answer, held, count) = (seen(event), Arc::clone(&held), Arc::clone(&count));
        async move {
            held.acquire().await.unwrap().forget();
            count.fetch_add(1, Ordering::SeqCst);
            answer.await
        }
        .boxed()
    });
    let mut settings = settings(&broker);
    settings.batch_size = 1;
    let source = EventSource::start(settings, handler).await.unwrap();
    recorder.until("an invocation", |seen| !seen.payloads().is_empty()).await;
    tokio::join!(source.stop(), async { gate.add_permits(3) });
    assert_eq!((recorder.payloads().len(), ended.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test]
async fn a_topic_that_is_not_there_and_settings_out_of_bounds_are_refused() {
    let broker = broker_with(1, 0).await;
    let start = |settings| EventSource::start(settings, Recorder::default().handler(|_, _| success()));
    let error = start(EventSourceSettings::new(broker.bootstrap_servers(), "nowhere")).await.unwrap_err();
    assert!(matches!(error, EventSourceError::UnknownTopic(_)), "{error:?}");
    for settings in [
        EventSourceSettings { batch_size: 0, ..settings(&broker) },
        EventSourceSettings { deliveries: 0, ..settings(&broker) },
        EventSourceSettings { pollers: 0, ..settings(&broker) },
        EventSourceSettings { on_failure_destination: Some(format!("kafka://{TOPIC}")), ..settings(&broker) },
        EventSourceSettings { on_failure_destination: Some("kafka://".to_owned()), ..settings(&broker) },
        EventSourceSettings { on_failure_destination: Some("arn:aws:sqs:x".to_owned()), ..settings(&broker) },
        EventSourceSettings { window: Duration::from_secs(301), ..settings(&broker) },
        EventSourceSettings { invocations_per_poller: 6, ..settings(&broker) },
        EventSourceSettings { max_retry_attempts: Some(10_001), ..settings(&broker) },
        EventSourceSettings { max_record_age: Some(Duration::from_secs(59)), ..settings(&broker) },
        EventSourceSettings { invocation_timeout: Duration::from_secs(14 * 60 + 1), ..settings(&broker) },
    ] {
        let error = start(settings).await.unwrap_err();
        assert!(matches!(error, EventSourceError::Settings(_)), "{error:?}");
    }
}
