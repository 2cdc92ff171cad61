//! How it is read: the report as JSON and as CSV, and the job run by hand.

use axum::http::Method;
use local::client::Answer;
use local::config::of_functions;
use local::job;
use local::servers::ServerSet;
use serde_json::{Value, json};

use super::{Till, ms};
use crate::harness::{Office, hall, on_both_sets};

on_both_sets!(
    a_job_run_by_hand_settles_and_the_report_says_what_days_have_come_to,
    days_of_another_currency_are_listed_and_not_in_the_total,
);

async fn report(office: &Office, event: &str, accept: &str) -> Answer {
    let path = format!("/admin/events/{event}/report");
    office.system.organiser().unwrap().send(Method::GET, &path, &[("accept", accept)], None).await.unwrap()
}

async fn by_hand(office: &Office, name: &str) -> Value {
    let file = std::env::temp_dir().join(format!("job-{}-{}", std::process::id(), uuid::Uuid::new_v4()));
    let lines: String =
        office.system.environment().iter().map(|(name, value)| format!("{name}=\"{value}\"\n")).collect();
    std::fs::write(&file, lines).unwrap();
    let config = of_functions(Some(&file)).unwrap();
    std::fs::remove_file(&file).unwrap();
    match job::run(&config, name).await {
        Ok(report) => {
            assert!(job::is_complete(&report), "{report:?}");
            serde_json::to_value(&report).unwrap()
        }
        Err(error) => json!(error.to_string()),
    }
}

async fn a_job_run_by_hand_settles_and_the_report_says_what_days_have_come_to(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("till", &hall::small(1, 8)).await;
    let nothing = json!({ "event_id": "till", "currency": "EUR", "days": [], "refunds": [], "total_cents": 0 });
    let empty = report(&office, "till", "*/*").await;
    assert_eq!((empty.status, empty.header("vary"), &empty.body), (200, Some("Accept"), &nothing));
    let mut till = Till::of(&office, "till", "Asia/Seoul").await;
    till.sells(&[("A", 2), ("B", 1)], ms("2024-06-01T12:00:00Z")).await;
    let row = till.sells(&[("B", 1)], ms("2024-06-01T14:59:59Z")).await;
    till.takes_back(&row, ms("2024-06-01T15:00:00Z")).await;
    assert_eq!(report(&office, "till", "*/*").await.body["days"], json!([]), "settled days only");

    let unknown = by_hand(&office, "sweep").await;
    assert!(unknown.as_str().unwrap().contains("unknown variant `sweep`, expected one of `expire`"), "{unknown}");
    assert_eq!(by_hand(&office, "write-back").await["job"], json!("write_back"));
    let done = by_hand(&office, "settle").await;
    assert_eq!((&done["sales_settled"], &done["refunds_settled"]), (&json!(2), &json!(1)), "{done}");

    let section = |sums: [u64; 4]| json!({ "sold": sums[0], "revenue_cents": sums[1], "refunded": sums[2], "refunds_cents": sums[3] });
    let days = json!([
        { "date": "2024-06-01", "currency": "EUR",
          "sections": { "A": section([2, 17_800, 0, 0]), "B": section([2, 9_800, 0, 0]) } },
        { "date": "2024-06-02", "currency": "EUR", "sections": { "B": section([0, 0, 1, 4_900]) } },
    ]);
    let told = report(&office, "till", "application/json").await.body;
    assert_eq!((&told["days"], &told["total_cents"]), (&days, &json!(22_700)), "{told}");
    assert_eq!(told["refunds"].as_array().unwrap().len(), 1);

    let csv = report(&office, "till", "text/csv, application/json;q=0.5").await;
    assert_eq!((csv.status, csv.header("content-type")), (200, Some("text/csv; charset=utf-8; header=present")));
    let lines = "event_id,date,section,currency,sold,revenue_cents,refunded,refunds_cents\r\n\
                 till,2024-06-01,A,EUR,2,17800,0,0\r\n\
                 till,2024-06-01,B,EUR,2,9800,0,0\r\n\
                 till,2024-06-02,B,EUR,0,0,1,4900\r\n";
    assert_eq!(std::str::from_utf8(&csv.raw).unwrap(), lines);
    let missing = report(&office, "nobody", "text/csv").await;
    assert_eq!((missing.status, missing.text("type")), (404, Some("event-not-found")));
    office.close().await;
}

async fn days_of_another_currency_are_listed_and_not_in_the_total(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("swap", &hall::small(1, 8)).await;
    let mut till = Till::of(&office, "swap", "Asia/Seoul").await;
    till.sells(&[("A", 1)], ms("2024-06-01T12:00:00Z")).await;
    by_hand(&office, "settle").await;
    office.sells("swap", &hall::with(hall::small(1, 8), "currency", json!("USD"))).await;
    let told = report(&office, "swap", "*/*").await.body;
    assert_eq!((&told["currency"], &told["total_cents"]), (&json!("USD"), &json!(0)), "{told}");
    assert_eq!(told["days"][0]["currency"], json!("EUR"));
    office.close().await;
}
