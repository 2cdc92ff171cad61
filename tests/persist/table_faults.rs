//! A table that fails: F10, the reply that is lost after the write, and F11, a table that says "not now" for a while or for
//! ever. Nobody is refused for it, nothing is written twice, and nothing is acknowledged that was not done.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use local::servers::ServerSet;
use serde_json::Value;
use shared::domain::reservation::{Outcome, Reason, Status};
use shared::dynamodb::reservations::Repository;
use shared::message::Request;
use tokio::time::Instant;

use super::batch::{DONE, answered, assert_held, reporting};
use crate::harness::handmade::{asks, carrying, payload};
use crate::harness::wire::{Fate, Wire, cancelled, error, reservation_of};
use crate::harness::{Office, PATIENCE, on_both_sets};

on_both_sets!(
    f10_a_reply_lost_after_the_write_makes_one_hold_of_ones_own_and_one_owner_a_seat,
    f10_replies_lost_until_the_sdk_gives_up_are_met_by_our_own_retry,
    f11_a_table_that_is_busy_for_a_while_delays_and_refuses_nobody,
    f11_a_rejection_meets_conflicts_too_and_is_written_all_the_same,
    f11_a_table_that_stays_busy_is_a_failure_and_never_an_acknowledgement,
    f11_each_attempt_of_ours_has_a_token_of_its_own_and_the_sdks_repetitions_share_it,
    a_request_the_table_refuses_for_good_is_a_dead_letter_and_its_neighbours_are_stored,
);

/// The SDK's attempts of one call.
const SDK_ATTEMPTS: usize = 3;

/// Says what becomes of the `n`th transaction (from 0) of each reservation, by its partition key.
fn by_transaction(judge: impl Fn(&str, usize) -> Fate + Send + Sync + 'static) -> Wire {
    let seen: Mutex<HashMap<String, usize>> = Mutex::default();
    Wire::new(move |operation, body| {
        let Some(pk) = reservation_of(body).filter(|_| operation == "TransactWriteItems") else { return Fate::Pass };
        let mut seen = seen.lock().unwrap();
        let times = seen.entry(pk.to_owned()).or_default();
        *times += 1;
        judge(pk, *times - 1)
    })
}

fn is_lost(fate: &Fate) -> bool {
    matches!(fate, Fate::LoseReply)
}

fn is_answered(fate: &Fate) -> bool {
    matches!(fate, Fate::Answer(..))
}

fn in_one_partition(requests: &[Request]) -> Value {
    payload([("t-0", requests.iter().zip(0..).map(|(request, offset)| carrying(offset, request)).collect())])
}

/// Every shape in which the table says "not now", or in which it is the deployment that is wrong.
fn not_now() -> Vec<Fate> {
    vec![
        error(400, "ThrottlingException"),
        error(400, "ProvisionedThroughputExceededException"),
        error(400, "RequestLimitExceeded"),
        error(400, "TransactionInProgressException"),
        error(500, "InternalServerError"),
        error(503, "ServiceUnavailable"),
        cancelled(&["None", "None", "TransactionConflict"]),
        cancelled(&["ThrottlingError", "None", "None"]),
        cancelled(&["None", "ProvisionedThroughputExceeded", "None"]),
        error(400, "AccessDeniedException"),
        error(400, "ResourceNotFoundException"),
    ]
}

/// One request of its own for each of those, in order.
fn one_for_each(event: &str, fates: &[Fate]) -> Vec<Request> {
    let ask = |n: usize| asks(event, &format!("customer-{n}"), &[&format!("A-1-{n}")], (1, 2));
    (1..=fates.len()).map(ask).collect()
}

async fn f10_a_reply_lost_after_the_write_makes_one_hold_of_ones_own_and_one_owner_a_seat(set: ServerSet) {
    // Every fifth is asked for twice.
    const SEATS: usize = 500;
    let office = Office::open(set).await;
    let wire = by_transaction(|_, nth| if nth == 0 { Fate::LoseReply } else { Fate::Pass });
    let persist = office.persist(wire.under(&office.table().await), office.log()).await;
    let mut requests = Vec::new();
    for n in 0..SEATS {
        let seat = format!("A-{}-{}", n / 100 + 1, n % 100 + 1);
        requests.push(asks("lost", &format!("first-{n}"), &[&seat], (1_000, 2_000)));
        if n % 5 == 0 {
            requests.push(asks("lost", &format!("rival-{n}"), &[&seat], (1_000, 2_000)));
        }
    }
    for batch in requests.chunks(100) {
        assert_eq!(answered(&persist, in_one_partition(batch), PATIENCE).await, DONE);
    }
    assert_eq!(wire.count("TransactWriteItems", is_lost), requests.len());

    let repository = Repository::new(office.table().await);
    let (mut owners, mut rejected) = (BTreeMap::<String, usize>::new(), 0);
    for request in &requests {
        let row = repository.get(&request.reservation_id).await.unwrap().unwrap();
        match row.outcome {
            Outcome::Held => *owners.entry(row.seats[0].id.to_string()).or_default() += 1,
            outcome => {
                assert_eq!(outcome, Outcome::Rejected(Reason::SeatsTaken));
                rejected += 1;
            }
        }
    }
    assert_eq!((owners.len(), rejected), (SEATS, requests.len() - SEATS));
    assert!(owners.values().all(|owners| *owners == 1), "{owners:?}");

    let outcomes = office.outcomes().await;
    let told: HashSet<_> = outcomes.iter().map(|outcome| outcome.key.clone()).collect();
    assert_eq!((outcomes.len(), told.len()), (requests.len(), requests.len()), "one outcome each");
    assert_eq!(office.dead_letters().await, []);
    office.close().await;
}

async fn f10_replies_lost_until_the_sdk_gives_up_are_met_by_our_own_retry(set: ServerSet) {
    let office = Office::open(set).await;
    let wire = by_transaction(|_, nth| if nth < SDK_ATTEMPTS { Fate::LoseReply } else { Fate::Pass });
    let persist = office.persist(wire.under(&office.table().await), office.log()).await;
    let requests: Vec<Request> =
        (1..=20).map(|n| asks("again", &format!("c-{n}"), &[&format!("A-1-{n}")], (1, 2))).collect();
    assert_eq!(answered(&persist, in_one_partition(&requests), PATIENCE).await, DONE);
    assert_eq!(wire.count("TransactWriteItems", is_lost), SDK_ATTEMPTS * requests.len());
    for request in &requests {
        assert_held(&office, request).await;
    }
    assert_eq!(office.scan().await.len(), 3 * requests.len(), "a row, a limit and a seat each");
    assert_eq!(office.topic(&office.system.config().kafka.topics.dlq).await, []);
    office.close().await;
}

async fn f11_a_table_that_is_busy_for_a_while_delays_and_refuses_nobody(set: ServerSet) {
    /// More than the SDK tries by itself.
    const TIMES: usize = 5;
    let office = Office::open(set).await;
    let fates = not_now();
    let requests = one_for_each("busy", &fates);
    let fate_of: HashMap<String, Fate> =
        requests.iter().map(|request| format!("RES#{}", request.reservation_id)).zip(fates).collect();
    let wire = by_transaction(move |pk, nth| if nth < TIMES { fate_of[pk].clone() } else { Fate::Pass });
    let persist = office.persist(wire.under(&office.table().await), office.log()).await;
    assert_eq!(answered(&persist, in_one_partition(&requests), PATIENCE).await, DONE);
    assert_eq!(wire.count("TransactWriteItems", is_answered), TIMES * requests.len());
    for request in &requests {
        assert_held(&office, request).await;
    }
    assert_eq!(office.topic(&office.system.config().kafka.topics.dlq).await, []);
    office.close().await;
}

async fn f11_a_rejection_meets_conflicts_too_and_is_written_all_the_same(set: ServerSet) {
    let office = Office::open(set).await;
    let met = Mutex::new(0);
    let wire = Wire::new(move |operation, _| {
        let mut met = met.lock().unwrap();
        if operation != "PutItem" || *met == 5 {
            return Fate::Pass;
        }
        *met += 1;
        error(400, if *met % 2 == 0 { "TransactionConflictException" } else { "ThrottlingException" })
    });
    let persist = office.persist(wire.under(&office.table().await), office.log()).await;
    let (first, second) = (asks("put", "alice", &["A-1-1"], (1, 2)), asks("put", "bob", &["A-1-1"], (1, 2)));
    for request in [&first, &second] {
        assert_eq!(answered(&persist, in_one_partition(std::slice::from_ref(request)), PATIENCE).await, DONE);
    }
    assert_eq!(wire.count("PutItem", is_answered), 5);
    assert_held(&office, &first).await;
    let row = Repository::new(office.table().await).get(&second.reservation_id).await.unwrap().unwrap();
    assert_eq!((row.status, row.outcome), (Status::Rejected, Outcome::Rejected(Reason::SeatsTaken)));
    office.close().await;
}

async fn f11_a_table_that_stays_busy_is_a_failure_and_never_an_acknowledgement(set: ServerSet) {
    /// What a deadline is overrun by on a loaded machine.
    const SLACK: Duration = Duration::from_secs(2);
    let office = Office::open(set).await;
    let fates = not_now();
    let requests = one_for_each("stuck", &fates);
    let fate_of: HashMap<String, Fate> =
        requests.iter().map(|request| format!("RES#{}", request.reservation_id)).zip(fates).collect();
    let well = Arc::new(AtomicBool::new(false));
    let healed = Arc::clone(&well);
    let wire = by_transaction(move |pk, _| if well.load(Ordering::Relaxed) { Fate::Pass } else { fate_of[pk].clone() });
    let persist = office.persist(wire.under(&office.table().await), office.log()).await;
    let (began, within) = (Instant::now(), Duration::from_millis(1_500));
    let all: Vec<(&str, i64)> = (0..requests.len() as i64).map(|offset| ("t-0", offset)).collect();
    assert_eq!(answered(&persist, in_one_partition(&requests), within).await, reporting(&all));
    assert!(began.elapsed() < within + SLACK, "{:?}", began.elapsed());
    assert_eq!(office.scan().await, Vec::<String>::new());
    let topics = office.system.config().kafka.topics.clone();
    assert_eq!((office.topic(&topics.outcomes).await, office.topic(&topics.dlq).await), (vec![], vec![]));
    let asked: HashSet<&str> = requests.iter().map(|request| request.reservation_id.as_str()).collect();
    assert!(wire.count("TransactWriteItems", is_answered) > 2 * asked.len(), "it was asked again");
    // The SDK does not repeat these. Our own pauses of at least 20, 40, 80, 160, 320 and 640 ms leave room for seven calls.
    let is_cancelled = |fate: &Fate| matches!(fate, Fate::Answer(_, body) if body["CancellationReasons"].is_array());
    let (kinds, times) =
        (not_now().iter().filter(|fate| is_cancelled(fate)).count(), wire.count("TransactWriteItems", is_cancelled));
    assert!((2 * kinds..=7 * kinds).contains(&times), "{times} times for {kinds} requests");

    healed.store(true, Ordering::Relaxed);
    assert_eq!(answered(&persist, in_one_partition(&requests), PATIENCE).await, DONE);
    for request in &requests {
        assert_held(&office, request).await;
    }
    office.close().await;
}

async fn f11_each_attempt_of_ours_has_a_token_of_its_own_and_the_sdks_repetitions_share_it(set: ServerSet) {
    /// Two calls of the SDK's, less the last of its attempts.
    const TIMES: usize = 2 * SDK_ATTEMPTS - 1;
    let office = Office::open(set).await;
    let fates =
        [error(500, "InternalServerError"), cancelled(&["None", "None", "TransactionConflict"]), Fate::LoseReply];
    let requests = one_for_each("tokens", &fates);
    let pks: Vec<String> = requests.iter().map(|request| format!("RES#{}", request.reservation_id)).collect();
    let fate_of: HashMap<String, Fate> = pks.iter().cloned().zip(fates).collect();
    let sent: Arc<Mutex<HashMap<String, Vec<String>>>> = Arc::default();
    let seen = Arc::clone(&sent);
    let wire = Wire::new(move |operation, body| {
        let Some(pk) = reservation_of(body).filter(|_| operation == "TransactWriteItems") else { return Fate::Pass };
        let mut sent = seen.lock().unwrap();
        let tokens = sent.entry(pk.to_owned()).or_default();
        tokens.push(body["ClientRequestToken"].as_str().unwrap().to_owned());
        // What was carried out answers from the table from then on.
        if tokens.len() <= TIMES { fate_of[pk].clone() } else { Fate::Pass }
    });
    let persist = office.persist(wire.under(&office.table().await), office.log()).await;
    assert_eq!(answered(&persist, in_one_partition(&requests), PATIENCE).await, DONE);

    let sent = sent.lock().unwrap().clone();
    // A token used again after our own pause would answer success for what has been cancelled meanwhile.
    let runs = |pk: &String| -> Vec<usize> {
        let runs: Vec<_> = sent[pk].chunk_by(|a, b| a == b).collect();
        let distinct: HashSet<&String> = runs.iter().map(|run| &run[0]).collect();
        assert_eq!(distinct.len(), runs.len(), "a token that came back: {runs:?}");
        runs.iter().map(|run| run.len()).collect()
    };
    // A fault the SDK repeats by itself, a conflict it does not, and lost replies.
    assert_eq!(runs(&pks[0]), [SDK_ATTEMPTS, SDK_ATTEMPTS]);
    assert_eq!(runs(&pks[1]), [1; TIMES + 1]);
    assert_eq!(runs(&pks[2]), [SDK_ATTEMPTS, SDK_ATTEMPTS]);
    for request in &requests {
        assert_held(&office, request).await;
    }
    office.close().await;
}

async fn a_request_the_table_refuses_for_good_is_a_dead_letter_and_its_neighbours_are_stored(set: ServerSet) {
    let office = Office::open(set).await;
    let (bad, worse, good) = (
        asks("never", "alice", &["A-1-1"], (1, 2)),
        asks("never", "bob", &["A-1-2"], (1, 2)),
        asks("never", "carol", &["A-1-3"], (1, 2)),
    );
    let [first, second] = [&bad, &worse].map(|request| format!("RES#{}", request.reservation_id));
    let wire = by_transaction(move |pk, _| match pk {
        pk if pk == first => error(400, "ValidationException"),
        pk if pk == second => cancelled(&["None", "None", "ValidationError"]),
        _ => Fate::Pass,
    });
    let persist = office.persist(wire.under(&office.table().await), office.log()).await;
    let requests = [bad, worse, good];
    assert_eq!(answered(&persist, in_one_partition(&requests), PATIENCE).await, DONE);
    assert_eq!(wire.count("TransactWriteItems", is_answered), 2, "what is refused for good is not asked again");
    assert_held(&office, &requests[2]).await;
    let kept = office.topic(&office.system.config().kafka.topics.dlq).await;
    let mut values: Vec<_> = kept.iter().map(|letter| letter.value.clone().unwrap()).collect();
    let mut expected = vec![requests[0].to_value(), requests[1].to_value()];
    values.sort();
    expected.sort();
    assert_eq!(values, expected);
    let reason = |letter: &crate::harness::topic::Seen| letter.headers.contains(&("reason".into(), "refused".into()));
    assert!(kept.iter().all(reason), "{kept:?}");
    office.close().await;
}
