//! The on-sale of `local rush`, small, over the whole system: every promise is kept, and the outcome topic says the same.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::time::Duration;

use local::event_source::Chaos;
use local::outcomes::Heard;
use local::rush::{RushSettings, run};
use local::servers::ServerSet;
use local::system::{ShapeSource, token};

use crate::harness::{Office, Wishes, on_both_sets};

on_both_sets!(
    a_rush_ends_with_every_promise_kept_and_an_outcome_for_every_reservation,
    f7_f8_f14_payloads_doubled_shuffled_and_answered_late_or_never_break_no_promise,
);

async fn a_rush_ends_with_every_promise_kept_and_an_outcome_for_every_reservation(set: ServerSet) {
    rush(Wishes::plain(set)).await;
}

async fn f7_f8_f14_payloads_doubled_shuffled_and_answered_late_or_never_break_no_promise(set: ServerSet) {
    let shape: ShapeSource = Box::new(|source| {
        source.batch_size = 7;
        source.deliveries = 2;
        source.chaos = Chaos {
            shuffle_partitions: Some(20),
            answer_delay: Duration::from_millis(20),
            lose_every_nth_answer: NonZeroU64::new(3),
        };
    });
    let heard = rush(Wishes { shape_source: Some(shape), ..Wishes::plain(set) }).await;
    assert!(heard.messages > 2 * heard.outcomes.len() as u64, "each is told with every delivery");
}

/// Holds a rush in such a system, and returns what the outcome topic said.
async fn rush(wishes: Wishes) -> Heard {
    let office = Office::open_with(wishes).await;
    let outcomes = office.system.outcomes().await.unwrap();
    let settings =
        RushSettings { customers: 150, seats: 60, concurrency: 32, show_progress: false, ..Default::default() };
    let sign = |customer: &str, scopes: &[&str]| token(customer, scopes).unwrap();
    let report = run(settings, office.system.anyone(), sign, Some(&outcomes)).await.unwrap();
    assert_eq!(report.exit_code(), 0, "{report}");
    assert!(report.won > 0, "{report}");
    assert!(report.findings.heard.is_some_and(|heard| heard >= report.won), "{report}");
    let heard = outcomes.heard(&BTreeSet::new(), Duration::ZERO).await;
    outcomes.stop().await;
    office.close().await;
    heard
}
