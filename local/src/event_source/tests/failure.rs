//! What a failure of the function means: what comes again, when, how much of it, and what is given up.

use super::*;

#[tokio::test]
async fn f9_a_reported_failure_comes_again_with_everything_after_it_and_nothing_else() {
    let broker = broker_with(2, 6).await;
    let recorder = Recorder::default();
    let handler =
        recorder.handler(
            |before, records| {
                if before == 0 && records.contains(&(0, 4)) { failed(&[(0, 4), (0, 2)]) } else { success() }
            },
        );
    let mut settings = settings(&broker);
    settings.window = Duration::from_secs(1);
    settings.batch_size = 12;
    let source = EventSource::start(settings, handler).await.unwrap();
    source.drained(SOON).await.unwrap();
    let payloads = recorder.payloads();
    assert_eq!(payloads[0].len(), 12);
    assert_eq!(payloads[1..].concat(), [(0, 2), (0, 3), (0, 4), (0, 5)]);
    source.stop().await;
}

#[tokio::test]
async fn an_empty_list_a_null_list_no_list_and_no_answer_are_success() {
    let broker = broker_with(1, 5).await;
    let recorder = Recorder::default();
    let answers =
        [json!({}), json!({ "batchItemFailures": null }), Value::Null, json!(""), json!({ "batchItemFailures": [] })];
    let mut settings = settings(&broker);
    settings.batch_size = 1;
    let source =
        EventSource::start(settings, recorder.handler(move |before, _| Ok(answers[before].clone()))).await.unwrap();
    source.drained(SOON).await.unwrap();
    assert_eq!(recorder.payloads(), (0..5).map(|offset| vec![(0, offset)]).collect::<Vec<_>>());
    source.stop().await;
}

#[tokio::test]
async fn an_identifier_of_nothing_fails_the_whole_payload() {
    let unusable = [
        json!({ "batchItemFailures": [{ "itemIdentifier": { "partition": "requests-0", "offset": 99 } }] }),
        json!({ "batchItemFailures": [{ "itemIdentifier": { "partition": "other-0", "offset": 0 } }] }),
        json!({ "batchItemFailures": [{ "itemIdentifier": "" }] }),
    ];
    for answer in unusable {
        let broker = broker_with(1, 1).await;
        let recorder = Recorder::default();
        let handler = recorder.handler(move |before, _| if before == 0 { Ok(answer.clone()) } else { success() });
        let source = EventSource::start(settings(&broker), handler).await.unwrap();
        source.drained(SOON).await.unwrap();
        assert_eq!(recorder.payloads(), [vec![(0, 0)], vec![(0, 0)]]);
        source.stop().await;
    }
}

/// A payload that fails as a whole is halved until the record to blame is alone; it goes to the on-failure topic, its neighbours are done.
#[tokio::test]
async fn f18_a_record_that_fails_whole_payloads_is_isolated_and_given_up_in_lambda_s_envelope() {
    const POISON: Delivery = (1, 13);
    let broker = broker_with(2, 20).await;
    let recorder = Recorder::default();
    let handler =
        recorder.handler(|_, records| if records.contains(&POISON) { Err("cannot".to_owned()) } else { success() });
    let mut settings = settings(&broker);
    settings.on_failure_destination = Some(format!("kafka://{FAILED}"));
    settings.max_retry_attempts = Some(2);
    let source = EventSource::start(settings, handler).await.unwrap();
    source.drained(SOON).await.unwrap();

    let alone = recorder.payloads().iter().filter(|payload| **payload == [POISON]).count();
    assert_eq!(alone, 3, "delivered once and retried twice");
    for partition in 0..2 {
        assert!((0..20).all(|offset| recorder.count((partition, offset)) >= 1));
    }
    let given_up = broker.all_records(FAILED).unwrap();
    assert_eq!(given_up.len(), 1);
    assert_eq!(given_up[0].key.as_deref(), Some(&b"1-13"[..]));
    let envelope: Value = serde_json::from_slice(given_up[0].value.as_ref().unwrap()).unwrap();
    assert_eq!(envelope["requestContext"]["condition"], "RetriesExhausted");
    assert_eq!(envelope["requestContext"]["approximateInvokeCount"], 3);
    assert_eq!(envelope["KafkaBatchInfo"]["recordInfo"]["offset"], "13");
    assert_eq!(records_of(&envelope["payload"]), [POISON]);
    assert_eq!(envelope["payload"]["records"]["requests-1"][0]["key"], STANDARD.encode("1-13"));
    source.stop().await;
}

#[tokio::test]
async fn a_reported_failure_is_given_up_after_its_attempts_and_without_a_topic_it_is_dropped() {
    let broker = broker_with(1, 3).await;
    let recorder = Recorder::default();
    let handler = recorder.handler(|_, records| if records.contains(&(0, 1)) { failed(&[(0, 1)]) } else { success() });
    let mut settings = settings(&broker);
    settings.max_retry_attempts = Some(3);
    let source = EventSource::start(settings, handler).await.unwrap();
    source.drained(SOON).await.unwrap();
    assert_eq!(recorder.count((0, 1)), 4);
    assert!(broker.all_records(FAILED).unwrap().is_empty());
    source.stop().await;
}

#[tokio::test]
async fn a_record_that_cannot_be_written_to_the_on_failure_topic_is_not_acknowledged() {
    let broker = broker_with(1, 1).await;
    let recorder = Recorder::default();
    let mut settings = settings(&broker);
    settings.on_failure_destination = Some("kafka://nowhere".to_owned());
    settings.max_retry_attempts = Some(0);
    let source = EventSource::start(settings, recorder.handler(|_, records| failed(records))).await.unwrap();
    recorder.until("a second delivery", |seen| seen.count((0, 0)) >= 2).await;
    assert!(source.drained(A_WHILE).await.is_err());
    broker.create_topic("nowhere", 1);
    source.drained(SOON).await.unwrap();
    assert_eq!(broker.all_records("nowhere").unwrap().len(), 1);
    source.stop().await;
}

#[tokio::test]
async fn a_failing_handler_is_called_ever_more_rarely_and_soon_again_once_it_works() {
    let broker = broker_with(1, 50).await;
    let recorder = Recorder::default();
    let works = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&works);
    let handler =
        recorder.handler(move |_, _| if switch.load(Ordering::SeqCst) { success() } else { Err("down".to_owned()) });
    let source = EventSource::start(settings(&broker), handler).await.unwrap();
    assert!(source.drained(Duration::from_millis(1500)).await.is_err());
    let calls = recorder.payloads().len();
    assert!((3..=10).contains(&calls), "{calls} calls in 1.5 s");
    works.store(true, Ordering::SeqCst);
    source.drained(Duration::from_secs(3)).await.unwrap();
    assert_eq!(first_deliveries(&recorder)[&0], (0..50).collect::<Vec<i64>>());
    source.stop().await;
}

#[tokio::test]
async fn a_partition_that_fails_does_not_hold_up_the_others() {
    let broker = broker_with(2, 300).await;
    let recorder = Recorder::default();
    let handler =
        recorder.handler(
            |_, records| if records.iter().any(|record| record.0 == 0) { Err("cannot".to_owned()) } else { success() },
        );
    let source = EventSource::start(settings(&broker), handler).await.unwrap();
    recorder.until("all of partition 1", |seen| seen.count((1, 299)) >= 1).await;
    let error = source.drained(A_WHILE).await.unwrap_err().to_string();
    assert!(error.contains("requests-0 at 0 of 300") && !error.contains("requests-1"), "{error}");
    source.stop().await;
}

#[tokio::test]
async fn a_panic_and_a_time_out_are_errors_of_the_function_and_the_payload_comes_again() {
    let broker = broker_with(1, 1).await;
    let recorder = Recorder::default();
    let (seen, calls) = (recorder.handler(|_, _| success()), Arc::new(AtomicUsize::new(0)));
    let handler: Handler = Arc::new(move |event| {
        let answer = seen(event);
        match calls.fetch_add(1, Ordering::SeqCst) {
            0 => panic!("the handler fails on purpose"),
            1 => std::future::pending().boxed(),
            _ => answer,
        }
    });
    let mut settings = settings(&broker);
    settings.invocation_timeout = Duration::from_millis(100);
    let source = EventSource::start(settings, handler).await.unwrap();
    source.drained(SOON).await.unwrap();
    assert_eq!(recorder.count((0, 0)), 3);
    source.stop().await;
}
