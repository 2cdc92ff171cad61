//! `local redrive`: the same code from a command line, by the environment file of a running system.

use local::config::of_functions;
use local::redrive::{is_complete, run, table};
use local::servers::ServerSet;
use scheduled_jobs::redrive::order::{Action, Asked};

use super::{Letter, key};
use crate::harness::handmade::asks;
use crate::harness::{Office, on_both_sets};

on_both_sets!(a_person_lists_shows_and_replays_by_the_environment_file_of_a_running_system);

async fn a_person_lists_shows_and_replays_by_the_environment_file_of_a_running_system(set: ServerSet) {
    let office = Office::open(set).await;
    let file = std::env::temp_dir().join(format!("redrive-{}-{}", std::process::id(), uuid::Uuid::new_v4()));
    let lines: String =
        office.system.environment().iter().map(|(name, value)| format!("{name}=\"{value}\"\n")).collect();
    std::fs::write(&file, &lines).unwrap();
    let config = of_functions(Some(&file)).unwrap();
    std::fs::write(&file, lines.replace("DLQ_TOPIC", "OTHER")).unwrap();
    let missing = of_functions(Some(&file)).unwrap_err().to_string();
    assert!(missing.contains("DLQ_TOPIC"), "{missing}");
    std::fs::remove_file(&file).unwrap();
    assert!(of_functions(Some(&file)).unwrap_err().to_string().contains("redrive-"));

    let says = async |asked: Asked| {
        let done = run(&config, asked).await.unwrap();
        (table(&done), is_complete(&done))
    };
    assert_eq!(says(Asked::default()).await, ("Nothing has been given up.".to_owned(), true));
    let all = Asked { action: Action::Replay, all: true, ..Asked::default() };
    assert_eq!(says(all.clone()).await, ("There is nothing to replay.".to_owned(), true));
    let request = asks("hand", "alice", &["A-1-1"], (1, 2));
    let entry = office.buries(&Letter::of(key(&request), &request.to_value())).await;
    let cut = Letter { more: &[("truncated-from", "9000000")], ..Letter::of(b"k", b"\x1b[2J{") };
    let cut = office.buries(&cut).await;

    let (text, complete) = says(Asked::default()).await;
    let (id, row) = (request.reservation_id.as_str(), text.lines().find(|line| line.starts_with(&entry)).unwrap());
    assert!(
        complete && row.contains("schema") && row.contains(id) && row.contains("2026-11-22T13:50:49.392Z"),
        "{text}"
    );
    assert!(text.lines().any(|line| line.starts_with(&cut) && line.ends_with("truncated")), "{text}");
    let show = |entry: &str| Asked { action: Action::Show, entry: Some(entry.parse().unwrap()), ..Asked::default() };
    let (text, _) = says(show(&entry)).await;
    assert!(text.contains("correlation-id: kept") && text.contains("the code of today can read it"), "{text}");
    let (text, _) = says(show(&cut)).await;
    assert!(text.contains("\\u{1b}[2J{") && !text.contains('\u{1b}'), "no terminal is drawn over: {text}");

    let (text, complete) = says(Asked { dry_run: true, ..all.clone() }).await;
    assert!(text.contains("would be replayed") && text.contains("cannot be replayed"), "{text}");
    assert!(text.contains("Dry run, nothing was produced: 2 looked at, 1 readable, 1 lost") && !complete, "{text}");
    let (text, _) = says(all).await;
    assert!(text.contains("1 replayed (1 readable), 1 lost, 0 failed"), "{text}");
    office.drained().await;
    assert!(office.scan().await.iter().any(|item| item.contains("outcome=\"HELD\"")));
    office.close().await;
}
