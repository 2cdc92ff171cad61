//! Replaying all: where a run stopped the next one goes on, and nothing is passed that was not acknowledged.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use local::servers::ServerSet;
use scheduled_jobs::redrive::Redrive;
use scheduled_jobs::redrive::order::Order;
use serde_json::{Value, json};
use shared::dynamodb::job_states::JobStates;
use shared::kafka::{KafkaSettings, KrafkaReader, Message, Position, ProduceError, RequestLog, Security};
use shared::message::Request;
use tokio::time::Instant;

use super::{Letter, header, key, lines, of_one_partition};
use crate::harness::logs::{Mood, Moody};
use crate::harness::{Office, PATIENCE, on_both_sets};

on_both_sets!(
    all_goes_on_where_the_last_run_stopped_and_repeats_nothing,
    a_run_ends_where_the_topic_ended_when_it_began,
    nothing_is_passed_that_was_not_acknowledged,
    a_run_without_time_does_nothing_and_says_what_is_left,
    a_cursor_moves_forward_unless_nobody_else_has_moved_it,
);

/// A dead letter of each request, all in one partition.
async fn buried(office: &Office, requests: &[Request]) -> Vec<String> {
    let mut entries = Vec::new();
    for request in requests {
        entries.push(office.buries(&Letter::of(key(request), &request.to_value())).await);
    }
    entries
}

/// How often each entry has been replayed.
async fn replays(office: &Office, entries: &[String]) -> Vec<usize> {
    let produced = office.produced().await;
    let of = |entry: &String| produced.iter().filter(|seen| header(seen, "redriven-from") == Some(entry)).count();
    entries.iter().map(of).collect()
}

/// Replays all over this log, until `deadline`.
async fn replay_all(office: &Office, log: Arc<dyn RequestLog>, deadline: Instant) -> Value {
    let settings = KafkaSettings::new(office.system.servers().kafka_bootstrap(), Security::Plaintext);
    let (topics, table) = (office.system.config().kafka.topics.clone(), office.table().await);
    let mut redrive = Redrive::new(topics, table, log, KrafkaReader::new(settings));
    let order: Order = serde_json::from_value(json!({ "action": "replay", "all": true })).unwrap();
    let done = redrive.run(order, deadline).await.unwrap();
    redrive.close().await;
    serde_json::to_value(done).unwrap()
}

async fn all_goes_on_where_the_last_run_stopped_and_repeats_nothing(set: ServerSet) {
    let office = Office::open(set).await;
    let requests = of_one_partition("stops", 5);
    let entries = buried(&office, &requests).await;
    let all = json!({ "action": "replay", "all": true });
    let two = json!({ "action": "replay", "all": true, "limit": 2 });
    for (left, replayed) in [(3, [1, 1, 0, 0, 0]), (1, [1, 1, 1, 1, 0])] {
        let done = office.redrive(two.clone()).await;
        assert_eq!((&done["replayed"], &done["left"], &done["stopped"]), (&json!(2), &json!(left), &json!("limit")));
        assert_eq!(replays(&office, &entries).await, replayed);
    }
    let listed = office.redrive(json!({ "action": "list" })).await;
    let passed: Vec<&Value> = listed["entries"].as_array().unwrap().iter().map(|row| &row["passed"]).collect();
    assert_eq!(passed, [true, true, true, true, false]);
    let done = office.redrive(all.clone()).await;
    assert_eq!((&done["replayed"], &done["left"], &done["stopped"]), (&json!(1), &json!(0), &json!(null)));
    let done = office.redrive(all).await;
    assert_eq!((lines(&done), &done["left"]), (vec![], &json!(0)));
    assert_eq!(replays(&office, &entries).await, [1; 5]);
    office.drained().await;
    let held = office.scan().await.iter().filter(|item| item.contains("outcome=\"HELD\"")).count();
    assert_eq!(held, 5);

    // From the start it is all of them again, and a run that stops early there takes the cursor nowhere.
    let again = json!({ "action": "replay", "all": true, "from_start": true, "dry_run": true });
    assert_eq!(lines(&office.redrive(again).await).len(), 5);
    assert_eq!(replays(&office, &entries).await, [1; 5], "a dry run");
    office.redrive(json!({ "action": "replay", "all": true, "from_start": true, "limit": 2 })).await;
    assert_eq!(replays(&office, &entries).await, [2, 2, 1, 1, 1]);
    assert_eq!(lines(&office.redrive(json!({ "action": "replay", "all": true })).await), []);
    office.close().await;
}

/// A log in which whatever is replayed is given up again at once.
struct Hopeless {
    log: Arc<dyn RequestLog>,
    dlq: String,
}

impl RequestLog for Hopeless {
    fn produce(&self, message: Message) -> BoxFuture<'_, Result<Position, ProduceError>> {
        let letter = Message { topic: self.dlq.clone(), ..message.clone() };
        Box::pin(async move {
            self.log.produce(letter).await?;
            self.log.produce(message).await
        })
    }
}

async fn a_run_ends_where_the_topic_ended_when_it_began(set: ServerSet) {
    let office = Office::open(set).await;
    let topics = &office.system.config().kafka.topics;
    buried(&office, &of_one_partition("hopeless", 3)).await;
    for letters in [6, 9] {
        let log = Arc::new(Hopeless { log: office.log(), dlq: topics.dlq.clone() });
        let done = replay_all(&office, log, Instant::now() + PATIENCE).await;
        assert_eq!(
            (&done["replayed"], &done["left"], &done["stopped"]),
            (&json!(3), &json!(0), &json!(null)),
            "{done}"
        );
        assert_eq!(office.topic(&topics.dlq).await.len(), letters);
    }
    office.close().await;
}

async fn nothing_is_passed_that_was_not_acknowledged(set: ServerSet) {
    let office = Office::open(set).await;
    let requests = of_one_partition("doubt", 5);
    let entries = buried(&office, &requests).await;
    for (mood, why, replayed) in [
        (Mood::InDoubtAndLost, "deadline", [1, 1, 0, 1, 1]),
        (Mood::InDoubtAndWritten, "not-acknowledged", [1, 1, 1, 2, 2]),
        (Mood::Definite, "not-connected", [1, 1, 1, 3, 3]),
    ] {
        let (third, mood) = (requests[2].clone(), mood.clone());
        let moody = Moody::over(office.log(), move |message| {
            if message.key.as_deref() == Some(key(&third)) { mood.clone() } else { Mood::Well }
        });
        let done = replay_all(&office, moody, Instant::now() + PATIENCE).await;
        assert_eq!((&done["failed"], &done["stopped"]), (&json!(1), &json!("not_produced")), "{done}");
        let failed = done["lines"].as_array().unwrap().iter().find(|line| line["done"] == "failed").unwrap();
        assert_eq!((&failed["why"], &failed["entry"]), (&json!(why), &json!(entries[2])));
        assert_eq!(done["left"], json!(3), "the first two are settled, and nothing behind the third");
        assert_eq!(replays(&office, &entries).await, replayed);
    }
    let done = office.redrive(json!({ "action": "replay", "all": true })).await;
    assert_eq!((&done["replayed"], &done["left"]), (&json!(3), &json!(0)));
    office.drained().await;
    let held = office.scan().await.iter().filter(|item| item.contains("outcome=\"HELD\"")).count();
    assert_eq!(held, 5, "what was repeated has changed nothing");
    office.close().await;
}

async fn a_run_without_time_does_nothing_and_says_what_is_left(set: ServerSet) {
    let office = Office::open(set).await;
    let entries = buried(&office, &of_one_partition("late", 2)).await;
    // Silent for ever: only the deadline ends it, and what it was about is not settled.
    let moody = Moody::over(office.log(), |_| Mood::Silent);
    let log: Arc<Moody> = Arc::clone(&moody);
    let done = replay_all(&office, log, Instant::now() + Duration::from_secs(2)).await;
    assert_eq!((&done["replayed"], &done["left"]), (&json!(0), &json!(2)), "{done}");
    assert_eq!(moody.seen().len(), 2);
    assert_eq!(replays(&office, &entries).await, [0, 0]);
    let late = office.redrive_until(json!({ "action": "replay", "entries": entries }), Instant::now()).await;
    assert!(late.unwrap_err().to_string().contains("in time"));
    let done = office.redrive(json!({ "action": "replay", "all": true })).await;
    assert_eq!((&done["replayed"], &done["left"]), (&json!(2), &json!(0)));
    office.close().await;
}

async fn a_cursor_moves_forward_unless_nobody_else_has_moved_it(set: ServerSet) {
    let office = Office::open(set).await;
    let states = JobStates::new(office.table().await, "test");
    assert_eq!(states.cursor("t-0").await.unwrap(), None);
    assert!(states.advance("t-0", None, 10).await.unwrap());
    assert_eq!((states.cursor("t-0").await.unwrap(), states.cursor("t-1").await.unwrap()), (Some(10), None));
    assert!(states.advance("t-0", None, 20).await.unwrap());
    // Somebody who last saw 10, or nothing, brings it no further back than where it is.
    for (seen, to) in [(None, 15), (Some(10), 15), (None, 20), (Some(10), 20)] {
        assert!(!states.advance("t-0", seen, to).await.unwrap(), "{seen:?} {to}");
    }
    assert_eq!(states.cursor("t-0").await.unwrap(), Some(20));
    // Only who has seen where it stands may, as when the topic was made anew.
    assert!(states.advance("t-0", Some(20), 3).await.unwrap());
    assert_eq!(states.cursor("t-0").await.unwrap(), Some(3));
    office.close().await;
}
