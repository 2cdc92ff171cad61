//! Whole rushes against an API in memory: one that keeps its promises, and one for each promise that is broken.

use super::{
    fake::{FakeApi, Misdeed, token},
    *,
};

/// Few seats for many, so that most are refused; deadlines short enough to wait for, since the API answers from memory.
fn settings() -> RushSettings {
    RushSettings {
        customers: 60,
        seats: 45,
        concurrency: 16,
        seed: 11,
        outcome_deadline: Duration::from_secs(2),
        list_deadline: Duration::from_secs(2),
        show_progress: false,
    }
}

async fn rush_at(api: &FakeApi) -> Result<RushReport, RushError> {
    run(settings(), ApiClient::new(&api.url).unwrap(), token, None).await
}

/// A rush at an API that does this, which must have come to do it.
async fn rush(misdeed: Misdeed) -> RushReport {
    let api = FakeApi::start(misdeed).await;
    let report = rush_at(&api).await.unwrap();
    assert!(api.misdeed_done(), "the API had no occasion for its misdeed");
    let lines: Vec<String> = report.to_string().lines().map(str::to_owned).collect();
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{report}");
    report
}

/// Everything that can be found wrong, in the order of the report.
fn breaches(report: &RushReport) -> [usize; 7] {
    let found = &report.findings;
    [
        found.two_owners.len(),
        found.forgotten.len(),
        found.changed.len(),
        found.split_keys.len(),
        found.unlisted.len(),
        found.untold.len(),
        found.miscounted.len(),
    ]
}

#[tokio::test]
async fn a_system_that_keeps_its_promises_gets_a_clean_report() {
    let api = FakeApi::start(Misdeed::None).await;
    let report = rush_at(&api).await.unwrap();

    assert_eq!((breaches(&report), report.exit_code()), ([0; 7], 0), "{report}");
    assert_eq!(report.asked, report.accepted + report.refused.values().sum::<u64>() + report.unanswered);
    assert!(report.won > 0 && report.refused["seats-taken"] > 0 && report.repeated > 0, "{report}");
    assert!(report.p50 > Duration::ZERO && report.p50 <= report.p99);
    assert_eq!(report.findings.stored, report.won);
    assert_eq!((report.findings.seats_stored, report.findings.capacity.held), (api.seats_held(), api.seats_held()));
    assert_eq!(report.findings.capacity.capacity, 45);
    let table = report.to_string();
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    assert!(table.ends_with("Every promise was kept."), "{table}");
    assert!(table.contains("seats with two owners                  0\n"), "{table}");
}

#[tokio::test]
async fn an_unchanged_seat_map_is_not_read_twice_and_a_changed_one_is() {
    let api = FakeApi::start(Misdeed::None).await;
    let client = ApiClient::new(&api.url).unwrap().with_token(&token("anna", &["tickets/admin"]));
    let sale = OnSale::new(&settings());
    publish(&sale, &client).await.unwrap();

    let all = sale.seat_map.free(&sale, &client).await.unwrap();
    assert_eq!((sale.seat_map.free(&sale, &client).await.unwrap(), api.maps_saved()), (all.clone(), 1));
    client.reserve(&sale.event_id, "key", &["101-1-1"]).await.unwrap();
    let rest = sale.seat_map.free(&sale, &client).await.unwrap();
    assert_eq!((all.len(), &all[1..], api.maps_saved()), (45, &rest[..], 1));
}

#[tokio::test]
async fn a_seat_sold_twice_is_found_and_named() {
    let report = rush(Misdeed::TwoOwners).await;

    assert_eq!(report.exit_code(), 1);
    let (seat, owners) = report.findings.two_owners.first_key_value().unwrap();
    assert_eq!(owners.len(), 2);
    let table = report.to_string();
    assert!(table.contains(&format!("{seat} is owned by")) && owners.iter().all(|id| table.contains(id)), "{table}");
}

#[tokio::test]
async fn an_accepted_reservation_that_is_never_decided_is_found() {
    let report = rush(Misdeed::Forget).await;
    assert_eq!((breaches(&report), report.exit_code()), ([0, 1, 0, 0, 0, 0, 0], 1), "{report}");
}

#[tokio::test]
async fn an_accepted_reservation_that_is_gone_is_found() {
    let report = rush(Misdeed::Lose).await;
    assert_eq!((breaches(&report), report.exit_code()), ([0, 1, 0, 0, 0, 0, 0], 1), "{report}");
}

#[tokio::test]
async fn an_outcome_that_changes_is_found() {
    let report = rush(Misdeed::ChangeMind).await;
    assert_eq!((breaches(&report), report.exit_code()), ([0, 0, 1, 0, 0, 0, 0], 1), "{report}");
    assert!(report.findings.changed[0].ends_with("HELD became REJECTED"), "{report}");
}

#[tokio::test]
async fn two_reservations_of_one_key_are_found() {
    let report = rush(Misdeed::SplitKey).await;
    assert_eq!((breaches(&report), report.exit_code()), ([0, 0, 0, 1, 0, 0, 0], 1), "{report}");
}

#[tokio::test]
async fn held_reservations_that_stay_out_of_the_list_are_found() {
    let report = rush(Misdeed::Unlist).await;
    let [two_owners, forgotten, changed, split, unlisted, untold, miscounted] = breaches(&report);
    assert_eq!([two_owners, forgotten, changed, split, untold, miscounted], [0; 6], "{report}");
    assert_eq!((unlisted as u64, report.findings.stored, report.exit_code()), (report.won, 0, 1), "{report}");
}

#[tokio::test]
async fn a_reservation_held_for_somebody_who_was_refused_is_found() {
    let report = rush(Misdeed::HoldUntold).await;
    assert_eq!((breaches(&report), report.exit_code()), ([0, 0, 0, 0, 0, 1, 0], 1), "{report}");
}

#[tokio::test]
async fn a_capacity_that_does_not_add_up_is_found() {
    let report = rush(Misdeed::Miscount).await;
    assert_eq!((breaches(&report), report.exit_code()), ([0, 0, 0, 0, 0, 0, 1], 1), "{report}");
}

#[tokio::test]
async fn a_late_rejection_is_counted_and_no_breach() {
    let report = rush(Misdeed::RejectLate).await;
    assert_eq!((breaches(&report), report.exit_code()), ([0; 7], 0), "{report}");
    assert_eq!(report.rejected, [("seats-taken".to_owned(), 1)].into());
}

#[tokio::test]
async fn an_unavailable_system_is_asked_again_with_the_same_key() {
    let report = rush(Misdeed::Unavailable).await;
    assert_eq!((breaches(&report), report.exit_code()), ([0; 7], 0), "{report}");
    assert!(report.refused["unavailable"] >= 60 && report.repeated >= 60 && report.won > 0, "{report}");
}

#[tokio::test]
async fn a_rush_that_cannot_begin_says_why() {
    let api = FakeApi::start(Misdeed::Unpublished).await;
    let error = rush_at(&api).await.unwrap_err();
    assert!(matches!(error, RushError::Publish { status: 400, .. }), "{error}");

    let client = ApiClient::new(&api.url).unwrap();
    let error = run(RushSettings { seats: 0, ..settings() }, client, token, None).await.unwrap_err();
    assert_eq!(error.to_string(), "seats must be 1 to 20000, not 0");
}
