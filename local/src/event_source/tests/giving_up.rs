//! When Lambda stops trying: retries, record age, and what goes where then.

use super::*;

fn conditions(broker: &FakeBroker) -> Vec<String> {
    let envelope = |value: &Bytes| serde_json::from_slice::<Value>(value).unwrap();
    let records = broker.all_records(FAILED).unwrap();
    let envelopes = records.iter().map(|record| envelope(record.value.as_ref().unwrap()));
    envelopes.map(|envelope| envelope["requestContext"]["condition"].as_str().unwrap().to_owned()).collect()
}

/// Long enough for the pauses between eleven deliveries.
const TEN_RETRIES: Duration = Duration::from_secs(30);

#[tokio::test]
async fn retries_without_end_are_ten_where_there_is_a_destination_and_have_no_end_where_there_is_none() {
    let broker = broker_with(1, 1).await;
    let recorder = Recorder::default();
    let mut settings = settings(&broker);
    settings.max_retry_attempts = None;
    let unending = settings.clone();
    settings.on_failure_destination = Some(format!("kafka://{FAILED}"));
    let source = EventSource::start(settings, recorder.handler(|_, _| Err("down".to_owned()))).await.unwrap();
    source.drained(TEN_RETRIES).await.unwrap();
    assert_eq!(recorder.count((0, 0)), 11, "once, and ten retries");
    assert_eq!(conditions(&broker), ["RetriesExhausted"]);
    source.stop().await;

    let recorder = Recorder::default();
    let handler = recorder.handler(|before, _| if before < 12 { Err("down".to_owned()) } else { success() });
    let source = EventSource::start(unending, handler).await.unwrap();
    source.drained(TEN_RETRIES).await.unwrap();
    assert_eq!(recorder.count((0, 0)), 13);
    source.stop().await;
}

#[tokio::test]
async fn without_bisect_a_failed_payload_comes_again_as_it_was_and_is_given_up_as_a_whole() {
    let broker = broker_with(2, 2).await;
    let recorder = Recorder::default();
    let handler =
        recorder.handler(
            |_, records| if records.iter().any(|record| record.1 < 2) { Err("cannot".to_owned()) } else { success() },
        );
    let mut settings = settings(&broker);
    settings.bisect = false;
    settings.window = Duration::from_millis(500);
    settings.max_retry_attempts = Some(2);
    settings.on_failure_destination = Some(format!("kafka://{FAILED}"));
    let source = EventSource::start(settings, handler).await.unwrap();
    recorder.until("the first delivery", |seen| !seen.payloads().is_empty()).await;
    let log = log_of(&broker);
    for n in 0..6 {
        log.produce(message(&format!("later-{n}"))).await.unwrap();
    }
    source.drained(SOON).await.unwrap();
    let failing: Vec<Vec<Delivery>> = recorder.payloads().into_iter().take(3).collect();
    assert_eq!(failing, vec![vec![(0, 0), (0, 1), (1, 0), (1, 1)]; 3], "later records joined a retry");
    assert_eq!(conditions(&broker), vec!["RetriesExhausted"; 4]);
    assert_eq!(recorder.deliveries().len(), 12 + 6);
    source.stop().await;
}

#[tokio::test]
async fn a_record_older_than_the_maximum_age_is_never_delivered_and_goes_to_the_destination() {
    for age in [Some(Duration::from_secs(3_600)), None] {
        let broker = broker_with(1, 0).await;
        let kafka = Kafka::builder(broker.bootstrap_servers()).connect().await.unwrap();
        let producer = kafka.producer().build().await.unwrap();
        let now = shared::clock::wall_ms();
        for (offset, at, key) in [(0, now, "new"), (1, now - 3_700_000, "old"), (2, now - 3_000_000, "not yet")] {
            let sent = producer.send(Record::new(TOPIC, "{}").key(key).partition(0).timestamp(at)).await.unwrap();
            assert_eq!(sent.offset, offset);
        }
        let recorder = Recorder::default();
        let mut settings = settings(&broker);
        settings.max_record_age = age;
        settings.on_failure_destination = Some(format!("kafka://{FAILED}"));
        let source = EventSource::start(settings, recorder.handler(|_, _| success())).await.unwrap();
        source.drained(SOON).await.unwrap();
        if age.is_some() {
            assert_eq!(recorder.deliveries(), [(0, 0), (0, 2)]);
            let given_up = broker.all_records(FAILED).unwrap();
            assert_eq!(given_up[0].key.as_deref(), Some(&b"old"[..]));
            assert_eq!(conditions(&broker), ["MaximumRecordAgeExceeded"]);
        } else {
            assert_eq!(recorder.deliveries(), [(0, 0), (0, 1), (0, 2)], "no age limit");
        }
        source.stop().await;
    }
}

#[tokio::test]
async fn splitting_a_payload_is_no_attempt_of_its_records() {
    let broker = broker_with(1, 64).await;
    let recorder = Recorder::default();
    let handler = recorder.handler(|_, records| if records.len() > 1 { Err("cut".to_owned()) } else { success() });
    let mut settings = settings(&broker);
    settings.window = Duration::from_millis(500);
    settings.max_retry_attempts = Some(0);
    settings.on_failure_destination = Some(format!("kafka://{FAILED}"));
    let source = EventSource::start(settings, handler).await.unwrap();
    source.drained(Duration::from_secs(30)).await.unwrap();
    assert!(conditions(&broker).is_empty(), "{:?}", conditions(&broker));
    assert_eq!(first_deliveries(&recorder)[&0], (0..64).collect::<Vec<i64>>());
    source.stop().await;
}

#[tokio::test]
async fn answers_are_not_read_unless_report_batch_item_failures_is_on() {
    let broker = broker_with(1, 3).await;
    let recorder = Recorder::default();
    let settings = EventSourceSettings { report_batch_item_failures: false, ..settings(&broker) };
    let source = EventSource::start(settings, recorder.handler(|_, records| failed(records))).await.unwrap();
    source.drained(SOON).await.unwrap();
    assert_eq!(recorder.deliveries().len(), 3);
    source.stop().await;
}

#[tokio::test]
async fn a_malformed_answer_fails_the_whole_payload() {
    let malformed = [
        json!("ok"),
        json!(1),
        json!(true),
        json!([]),
        json!({ "batchItemFailures": {} }),
        json!({ "batchItemFailures": [{}] }),
        json!({ "batchItemFailures": [{ "itemIdentifier": null }] }),
        json!({ "batchItemFailures": [{ "itemIdentifier": "requests-0-0" }] }),
        json!({ "batchItemFailures": [{ "itemIdentifier": { "partition": "requests-0", "offset": "0" } }] }),
    ];
    let broker = broker_with(1, 1).await;
    let (recorder, expected) = (Recorder::default(), malformed.len() + 1);
    let handler =
        recorder.handler(move |before, _| malformed.get(before).map_or_else(success, |answer| Ok(answer.clone())));
    let source = EventSource::start(settings(&broker), handler).await.unwrap();
    source.drained(SOON).await.unwrap();
    assert_eq!(recorder.count((0, 0)), expected);
    source.stop().await;
}
