//! Pollers come and go while the source runs, and the faults that make a function's answer late, lost or out of order.

use std::num::NonZeroU64;

use super::super::Chaos;
use super::*;

#[tokio::test]
async fn a_rebalance_delivers_from_the_committed_offset_again_and_the_old_poller_s_answer_does_not_count() {
    let broker = broker_with(2, 3).await;
    let (recorder, gate) = (Recorder::default(), Arc::new(Semaphore::new(0)));
    let (seen, held) = (recorder.handler(|_, _| success()), Arc::clone(&gate));
    // The first payload is answered at once; later ones wait.
    let calls = Arc::new(AtomicUsize::new(0));
    let handler: Handler = Arc::new(move |event| {
        let (answer, held, call) = (seen(event), Arc::clone(&held), calls.fetch_add(1, Ordering::SeqCst));
        async move {
            if call > 0 {
                held.acquire().await.unwrap().forget();
            }
            answer.await
        }
        .boxed()
    });
    let settings = EventSourceSettings { window: Duration::from_millis(500), ..settings(&broker) };
    let source = EventSource::start(settings, handler).await.unwrap();
    source.drained(SOON).await.unwrap();
    let log = log_of(&broker);
    for n in 0..8 {
        log.produce(message(&format!("key-{n}"))).await.unwrap();
    }
    recorder.until("all of the second payload", |seen| seen.deliveries().len() == 14).await;
    assert_eq!(source.committed(), [3, 3]);

    source.set_pollers(2).unwrap();
    recorder.until("the records that were under way, again", |seen| seen.deliveries().len() == 22).await;
    assert_eq!(recorder.count((0, 2)) + recorder.count((1, 2)), 2, "what was committed came again");
    let again: Vec<Vec<Delivery>> = recorder.payloads()[2..].to_vec();
    assert!(again.iter().all(|payload| payload.iter().all(|record| record.0 == payload[0].0)), "{again:?}");
    // The semaphore is fair: this is the old poller's answer.
    gate.add_permits(1);
    assert!(source.drained(A_WHILE).await.is_err());
    assert_eq!(source.committed(), [3, 3], "an answer counted that others had taken over");
    gate.add_permits(2);
    source.drained(SOON).await.unwrap();
    assert_eq!(recorder.deliveries().len(), 22);
    source.stop().await;
}

#[tokio::test]
async fn pollers_that_come_and_go_lose_nothing_and_keep_each_partition_s_order() {
    let broker = broker_with(6, 60).await;
    let recorder = Recorder::default();
    let settings = EventSourceSettings { batch_size: 7, ..settings(&broker) };
    let source = EventSource::start(settings, recorder.handler(|_, _| success())).await.unwrap();
    for pollers in [3, 6, 2, 9, 1, 4] {
        let reached = recorder.deliveries().len() + 5;
        recorder.until("some deliveries", |seen| seen.deliveries().len() >= reached.min(360)).await;
        source.set_pollers(pollers).unwrap();
    }
    source.drained(SOON).await.unwrap();
    let all: Vec<i64> = (0..60).collect();
    assert_eq!(first_deliveries(&recorder), (0..6).map(|partition| (partition, all.clone())).collect());
    assert_eq!(source.committed(), [60; 6]);
    assert!(source.set_pollers(0).is_err());
    source.stop().await;
}

#[tokio::test]
async fn chaos_f8_shuffled_partitions_overtake_each_other_and_keep_their_own_order() {
    let broker = broker_with(6, 30).await;
    let mut orders: Vec<Vec<i32>> = Vec::new();
    for seed in 1..=3 {
        let recorder = Recorder::default();
        let mut settings = settings(&broker);
        settings.window = Duration::from_millis(200);
        settings.batch_size = 30;
        settings.chaos = Chaos { shuffle_partitions: Some(seed), ..Chaos::default() };
        let source = EventSource::start(settings, recorder.handler(|_, _| success())).await.unwrap();
        source.drained(SOON).await.unwrap();
        let all: Vec<i64> = (0..30).collect();
        assert_eq!(first_deliveries(&recorder), (0..6).map(|partition| (partition, all.clone())).collect());
        let mut order: Vec<i32> = recorder.deliveries().iter().map(|record| record.0).collect();
        order.dedup();
        orders.push(order);
        source.stop().await;
    }
    assert!(orders.iter().any(|order| !order.is_sorted()), "no partition overtook another: {orders:?}");
}

#[tokio::test]
async fn chaos_a_delayed_answer_counts_and_is_no_time_out_of_the_function() {
    let broker = broker_with(1, 2).await;
    let recorder = Recorder::default();
    let mut settings = settings(&broker);
    settings.window = Duration::from_millis(200);
    settings.invocation_timeout = Duration::from_millis(100);
    settings.chaos = Chaos { answer_delay: Duration::from_millis(600), ..Chaos::default() };
    let source = EventSource::start(settings, recorder.handler(|_, _| success())).await.unwrap();
    recorder.until("the delivery", |seen| seen.deliveries().len() == 2).await;
    assert!(source.drained(Duration::from_millis(200)).await.is_err(), "the answer was not delayed");
    source.drained(SOON).await.unwrap();
    assert_eq!(recorder.deliveries().len(), 2);
    source.stop().await;
}

#[tokio::test]
async fn chaos_f14_a_lost_answer_is_a_delivery_again_of_what_the_function_has_done() {
    let broker = broker_with(1, 4).await;
    let recorder = Recorder::default();
    let mut settings = settings(&broker);
    settings.batch_size = 1;
    settings.chaos = Chaos { lose_every_nth_answer: NonZeroU64::new(2), ..Chaos::default() };
    let source = EventSource::start(settings, recorder.handler(|_, _| success())).await.unwrap();
    source.drained(SOON).await.unwrap();
    let offsets: Vec<i64> = recorder.deliveries().iter().map(|record| record.1).collect();
    assert_eq!(offsets, [0, 1, 1, 2, 2, 3, 3]);
    source.stop().await;
}
