//! Holds what the outcome topic says against what customers were told.

use std::collections::BTreeSet;
use std::time::Duration;

use shared::domain::reservation::{Outcome as Decided, Reason};

use super::Findings;
use super::customer::{CustomerLog, Outcome, Told};
use crate::outcomes::{Heard, Outcomes};

/// How long an outcome may be on its way after the row could be read: it is sent before the message is acknowledged.
const ON_ITS_WAY: Duration = Duration::from_secs(20);

/// Waits for the outcome of everything that was decided, and adds what is wrong to the findings.
pub(super) async fn check(event_id: &str, logs: &[CustomerLog], outcomes: &Outcomes, findings: &mut Findings) {
    let decided = logs.iter().flat_map(|log| &log.told).filter(|told| told.outcome.as_ref().is_some_and(is_sent));
    let decided: BTreeSet<String> = decided.map(|told| told.id.clone()).collect();
    let heard = outcomes.heard(&decided, ON_ITS_WAY).await;
    let ours = heard.outcomes.keys().filter(|id| id.split('.').next() == Some(event_id)).count();
    findings.heard = Some(ours as u64);
    findings.heard_otherwise = compare(logs, &heard);
}

/// What does not agree. Every message counts, also of other events: none may be unreadable or contradict another.
fn compare(logs: &[CustomerLog], heard: &Heard) -> Vec<String> {
    let mut wrong = heard.unreadable.clone();
    let twofold = heard.outcomes.iter().filter(|(_, outcomes)| outcomes.len() > 1);
    wrong.extend(twofold.map(|(id, outcomes)| format!("{id}: the topic says {outcomes:?}")));
    for Told { id, outcome, .. } in logs.iter().flat_map(|log| &log.told) {
        let Some(outcome) = outcome else { continue };
        match heard.outcomes.get(id).and_then(|outcomes| outcomes.first()) {
            Some(heard) if !agrees(outcome, *heard) => {
                wrong.push(format!("{id}: told {}, and the topic says {heard:?}", outcome.status));
            }
            None if is_sent(outcome) => wrong.push(format!("{id}: told {}, and the topic is silent", outcome.status)),
            Some(_) | None => {}
        }
    }
    wrong
}

/// Whether an outcome is one that was decided from a message. An attempt that lapsed may never have had one.
fn is_sent(outcome: &Outcome) -> bool {
    outcome.reason.as_deref() != Some(Reason::Lapsed.as_str())
}

/// The outcome is written once; the status of what was held moves on.
fn agrees(told: &Outcome, heard: Decided) -> bool {
    match heard {
        Decided::Held => matches!(told.status.as_str(), "HELD" | "CONFIRMED" | "EXPIRED" | "CANCELLED"),
        Decided::Rejected(reason) => told.status == "REJECTED" && told.reason.as_deref() == Some(reason.as_str()),
        Decided::Cancelled => told.status == "CANCELLED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ApiClient;

    const ID: &str = "rush.1";

    fn told(status: &str, reason: Option<&str>) -> CustomerLog {
        let outcome = Outcome { status: status.to_owned(), reason: reason.map(str::to_owned) };
        let mut log = CustomerLog::new(ApiClient::new("http://127.0.0.1:9").unwrap());
        log.told.push(Told { id: ID.to_owned(), accepted: true, outcome: Some(outcome) });
        log
    }

    fn heard(outcomes: &[Decided]) -> Heard {
        let outcomes = (!outcomes.is_empty()).then(|| (ID.to_owned(), outcomes.to_vec()));
        Heard { outcomes: outcomes.into_iter().collect(), ..Heard::default() }
    }

    #[test]
    fn what_agrees_is_not_reported() {
        let taken = Decided::Rejected(Reason::SeatsTaken);
        for (status, reason, said) in [
            ("HELD", None, vec![Decided::Held]),
            ("EXPIRED", None, vec![Decided::Held]),
            ("REJECTED", Some("seats-taken"), vec![taken]),
            // Closed by the API before its message was written: nobody will ever send an outcome.
            ("REJECTED", Some("lapsed"), vec![]),
        ] {
            let wrong = compare(&[told(status, reason)], &heard(&said));
            assert_eq!(wrong, [""; 0], "{status} {said:?}");
        }
    }

    #[test]
    fn another_outcome_two_of_them_none_or_another_reason_is_reported() {
        let (held, taken) = (Decided::Held, Decided::Rejected(Reason::SeatsTaken));
        for (status, reason, said) in [
            ("HELD", None, vec![taken]),
            ("HELD", None, vec![held, taken]),
            ("HELD", None, vec![]),
            ("REJECTED", Some("seats-taken"), vec![held]),
            ("REJECTED", Some("limit-reached"), vec![taken]),
            ("REJECTED", Some("seats-taken"), vec![]),
        ] {
            let wrong = compare(&[told(status, reason)], &heard(&said));
            assert_eq!(wrong.len(), 1, "{status} {said:?}: {wrong:?}");
        }
        let unreadable = Heard { unreadable: vec!["partition 0 offset 7".to_owned()], ..Heard::default() };
        assert_eq!(compare(&[], &unreadable).len(), 1);
    }
}
