//! The on-sale of `local rush`, small, over the whole system: every promise is kept, and the outcome topic says the same.

use local::rush::{RushSettings, run};
use local::servers::ServerSet;
use local::system::token;

use crate::harness::{Office, on_both_sets};

on_both_sets!(a_rush_ends_with_every_promise_kept_and_an_outcome_for_every_reservation);

async fn a_rush_ends_with_every_promise_kept_and_an_outcome_for_every_reservation(set: ServerSet) {
    let office = Office::open(set).await;
    let outcomes = office.system.outcomes().await.unwrap();
    let settings =
        RushSettings { customers: 150, seats: 60, concurrency: 32, show_progress: false, ..Default::default() };
    let sign = |customer: &str, scopes: &[&str]| token(customer, scopes).unwrap();
    let report = run(settings, office.system.anyone(), sign, Some(&outcomes)).await.unwrap();
    assert_eq!(report.exit_code(), 0, "{report}");
    assert!(report.won > 0, "{report}");
    assert!(report.findings.heard.is_some_and(|heard| heard >= report.won), "{report}");
    outcomes.stop().await;
    office.close().await;
}
