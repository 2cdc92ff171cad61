//! What a payload holds and when it goes: batch size, window, bytes, partitions, and how many are under way.

use super::*;

/// A handler that records, and answers when a permit is there.
fn held(recorder: &Recorder, gate: &Arc<Semaphore>) -> Handler {
    let (seen, gate) = (recorder.handler(|_, _| success()), Arc::clone(gate));
    Arc::new(move |event| {
        let (answer, gate) = (seen(event), Arc::clone(&gate));
        async move {
            gate.acquire().await.unwrap().forget();
            answer.await
        }
        .boxed()
    })
}

async fn produce_sized(broker: &FakeBroker, records: usize, bytes: usize) {
    let kafka = Kafka::builder(broker.bootstrap_servers()).connect().await.unwrap();
    let producer = kafka.producer().max_request_size(16 * 1024 * 1024).build().await.unwrap();
    for _ in 0..records {
        let sent = producer.send(Record::new(TOPIC, vec![b'x'; bytes]).key("k").partition(0)).await.unwrap();
        assert_eq!(sent.partition, 0);
    }
    producer.close().await.unwrap();
}

/// A handler that tells each payload's bytes and number of records.
fn measured() -> (Handler, tokio::sync::mpsc::UnboundedReceiver<(usize, usize)>) {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let handler: Handler = Arc::new(move |event: Value| {
        tell.send((event.to_string().len(), records_of(&event).len())).unwrap();
        std::future::ready(success()).boxed()
    });
    (handler, told)
}

#[tokio::test]
async fn a_full_batch_does_not_wait_for_the_window() {
    let broker = broker_with(1, 20).await;
    let recorder = Recorder::default();
    let settings = EventSourceSettings { window: Duration::from_secs(60), batch_size: 10, ..settings(&broker) };
    let source = EventSource::start(settings, recorder.handler(|_, _| success())).await.unwrap();
    source.drained(SOON).await.unwrap();
    assert!(recorder.payloads().iter().all(|payload| payload.len() == 10), "{:?}", recorder.payloads());
    source.stop().await;
}

#[tokio::test]
async fn the_window_counts_from_the_first_record_and_a_later_one_does_not_prolong_it() {
    const WINDOW: Duration = Duration::from_millis(1000);
    let broker = broker_with(1, 0).await;
    let recorder = Recorder::default();
    let settings = EventSourceSettings { window: WINDOW, ..settings(&broker) };
    let source = EventSource::start(settings, recorder.handler(|_, _| success())).await.unwrap();
    let log = log_of(&broker);
    let first = Instant::now();
    // One every 100 ms: a window that began anew with each would never end.
    while recorder.payloads().is_empty() {
        assert!(first.elapsed() < WINDOW * 4, "the window never ended");
        log.produce(message("key")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(first.elapsed() >= WINDOW, "{:?}", first.elapsed());
    assert!(recorder.payloads()[0].len() > 3, "{:?}", recorder.payloads());
    source.stop().await;
}

#[tokio::test]
async fn a_payload_is_cut_before_six_megabytes_and_six_megabytes_end_the_window() {
    let broker = broker_with(1, 0).await;
    // 30 records of 300 kB are 12 MB in base64.
    produce_sized(&broker, 30, 300_000).await;
    let (handler, mut told) = measured();
    let settings = EventSourceSettings { window: Duration::from_secs(60), ..settings(&broker) };
    let source = EventSource::start(settings, handler).await.unwrap();
    let (bytes, records) = tokio::time::timeout(SOON, told.recv()).await.unwrap().unwrap();
    assert_eq!(records, 15, "as many as fit");
    assert!((5_900_000..=6 * 1024 * 1024).contains(&bytes), "{bytes} bytes");
    source.stop().await;
}

#[tokio::test]
async fn a_record_no_payload_can_hold_is_never_delivered_and_goes_to_the_destination_by_its_place() {
    let broker = broker_with(1, 1).await;
    produce_sized(&broker, 1, 5_000_000).await;
    log_of(&broker).produce(message("after")).await.unwrap();
    let recorder = Recorder::default();
    let mut settings = settings(&broker);
    settings.on_failure_destination = Some(format!("kafka://{FAILED}"));
    let source = EventSource::start(settings, recorder.handler(|_, _| success())).await.unwrap();
    source.drained(SOON).await.unwrap();
    let mut delivered = recorder.deliveries();
    delivered.sort_unstable();
    assert_eq!(delivered, [(0, 0), (0, 2)]);
    let given_up = broker.all_records(FAILED).unwrap();
    assert_eq!((given_up.len(), given_up[0].key.as_deref()), (1, Some(&b"k"[..])));
    let envelope: Value = serde_json::from_slice(given_up[0].value.as_ref().unwrap()).unwrap();
    assert_eq!(envelope["requestContext"]["condition"], "MaximumPayloadSizeExceeded");
    assert_eq!(envelope["responseContext"], Value::Null);
    assert_eq!(envelope["KafkaBatchInfo"]["recordsInfo"]["requests-0"]["firstRecordOffset"], "1");
    assert_eq!(envelope.get("payload"), None);
    source.stop().await;
}

#[tokio::test]
async fn an_offset_is_committed_after_the_answer_and_not_before() {
    let broker = broker_with(1, 3).await;
    let (recorder, gate) = (Recorder::default(), Arc::new(Semaphore::new(0)));
    let settings = EventSourceSettings { window: Duration::from_millis(300), ..settings(&broker) };
    let source = EventSource::start(settings, held(&recorder, &gate)).await.unwrap();
    recorder.until("the delivery", |seen| seen.deliveries().len() == 3).await;
    assert_eq!(source.committed(), [0]);
    gate.add_permits(1);
    source.drained(SOON).await.unwrap();
    assert_eq!(source.committed(), [3]);
    source.stop().await;
}

#[tokio::test]
async fn a_poller_has_five_invocations_under_way_and_a_partition_is_in_one_of_them() {
    let broker = broker_with(8, 4).await;
    let (recorder, gate) = (Recorder::default(), Arc::new(Semaphore::new(0)));
    let settings = EventSourceSettings {
        pollers: 1,
        batch_size: 2,
        ..EventSourceSettings::new(broker.bootstrap_servers(), TOPIC)
    };
    let source = EventSource::start(settings, held(&recorder, &gate)).await.unwrap();
    recorder.until("five invocations", |seen| seen.payloads().len() == 5).await;
    assert!(source.drained(A_WHILE).await.is_err());
    let under_way = recorder.payloads();
    assert_eq!(under_way.len(), 5, "a sixth invocation of one poller");
    let mut partitions: Vec<i32> = under_way.iter().flatten().map(|record| record.0).collect();
    assert!(under_way.iter().all(|payload| payload.len() <= 2));
    partitions.dedup();
    let distinct: std::collections::BTreeSet<i32> = partitions.iter().copied().collect();
    assert_eq!(partitions.len(), distinct.len(), "a partition is in two invocations: {under_way:?}");
    gate.add_permits(1_000);
    source.drained(SOON).await.unwrap();
    let all: Vec<i64> = (0..4).collect();
    assert_eq!(first_deliveries(&recorder), (0..8).map(|partition| (partition, all.clone())).collect());
    source.stop().await;
}

#[tokio::test]
async fn a_partition_under_way_is_in_no_second_invocation() {
    let broker = broker_with(2, 4).await;
    let (recorder, gate) = (Recorder::default(), Arc::new(Semaphore::new(0)));
    let settings = EventSourceSettings { batch_size: 2, invocations_per_poller: 5, ..settings(&broker) };
    let source = EventSource::start(settings, held(&recorder, &gate)).await.unwrap();
    recorder.until("both partitions", |seen| seen.count((0, 0)) + seen.count((1, 0)) >= 2).await;
    assert!(source.drained(A_WHILE).await.is_err());
    assert!(recorder.payloads().len() <= 2, "{:?}", recorder.payloads());
    gate.add_permits(1_000);
    source.drained(SOON).await.unwrap();
    assert_eq!(recorder.deliveries().len(), 8, "something was delivered twice");
    source.stop().await;
}
