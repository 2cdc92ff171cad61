//! The job dies at each of its requests, before it is sent and after it was carried out, and the next run comes to the same
//! end as if nothing had happened.

use std::sync::atomic::{AtomicUsize, Ordering};

use local::servers::ServerSet;

use super::{Books, Till, books, end_the_lease, expected, jobs, ms, plain_jobs, settle};
use crate::harness::wire::{Fate, Gate, Wire};
use crate::harness::{Office, eventually, on_both_sets};

on_both_sets!(a_job_killed_at_each_of_its_requests_and_run_again_comes_to_the_same_end);

/// Sells and takes back, on two days, and says what that comes to.
async fn trade(office: &Office, event: &str) -> Books {
    let mut till = Till::of(office, event, "Pacific/Auckland").await;
    let (first, second) = (ms("2024-11-20T01:00:00Z"), ms("2024-11-21T01:00:00Z"));
    till.sells(&[("A", 2), ("B", 1)], first).await;
    till.sells(&[("B", 1)], first).await;
    let same_day = till.sells(&[("A", 1)], first).await;
    till.takes_back(&same_day, first + 1).await;
    let next_day = till.sells(&[("B", 2)], first).await;
    till.takes_back(&next_day, second).await;
    till.sells(&[("A", 1)], second).await;
    expected(&[
        ("2024-11-20 A", [3, 26_700, 1, 8_900]),
        ("2024-11-20 B", [4, 19_600, 0, 0]),
        ("2024-11-21 A", [1, 8_900, 0, 0]),
        ("2024-11-21 B", [0, 0, 2, 9_800]),
    ])
}

async fn a_job_killed_at_each_of_its_requests_and_run_again_comes_to_the_same_end(set: ServerSet) {
    let office = Office::open(set).await;
    let table = office.table().await;
    let mut deaths = 0;
    for carried_out in [false, true] {
        for fatal in 0.. {
            let event = format!("death-{fatal}-{carried_out}");
            let end = trade(&office, &event).await;
            let (gate, sent) = (Gate::shut(), AtomicUsize::new(0));
            let fate = if carried_out { Fate::HoldReply(gate.clone()) } else { Fate::Hold(gate.clone()) };
            let wire = Wire::new(
                move |_, _| {
                    if sent.fetch_add(1, Ordering::Relaxed) == fatal { fate.clone() } else { Fate::Pass }
                },
            );
            let mortal = jobs(&office, wire.under(&table)).await;
            let died = tokio::select! {
                _ = settle(&mortal) => false,
                () = gate.reached() => true,
            };
            end_the_lease(&office).await;
            let next = plain_jobs(&office).await;
            // The index may show a moment later what was put into it.
            let found = eventually("all to be settled", || async {
                let done = settle(&next).await;
                assert!(!done.overtaken && done.failed == 0, "{done:?}");
                Some(books(&office, &event).await).filter(|books| *books == end)
            });
            assert_eq!(found.await, end, "killed at request {fatal}, carried out: {carried_out}");
            assert_eq!(settle(&next).await.pages_settled, 0);
            assert_eq!(books(&office, &event).await, end, "killed at request {fatal}, carried out: {carried_out}");
            if !died {
                break;
            }
            deaths += 1;
        }
    }
    // Once a begin and sixteen shards, and for what is due a read and a page.
    assert!(deaths >= 2 * 20, "{deaths} deaths");
    office.close().await;
}
