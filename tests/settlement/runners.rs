//! More than one runner: the lock lets one at it; where it does not, the fence refuses the older one and the marks whatever
//! was counted or has changed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use local::servers::ServerSet;
use scheduled_jobs::Settled;
use shared::domain::reservation::Status;
use shared::dynamodb::settlement::{Counted, Settlements};
use shared::dynamodb::to_settle::Page;

use super::{Till, books, counted, end_the_lease, expected, jobs, ms, plain_jobs, settle};
use crate::harness::wire::{Fate, Gate, Wire};
use crate::harness::{Office, on_both_sets};

on_both_sets!(
    a_page_counts_once_however_often_it_is_sent,
    a_page_read_before_a_cancelling_is_refused_and_read_again,
    a_runner_frozen_past_his_lock_counts_nothing_any_more,
    two_runners_at_once_count_everything_once,
    a_lost_answer_counts_once,
);

/// The last moment any day here ends before.
const LONG_AFTER: i64 = 2_000_000_000_000;

async fn a_page_counts_once_however_often_it_is_sent(set: ServerSet) {
    let office = Office::open(set).await;
    let mut till = Till::of(&office, "twice", "Asia/Seoul").await;
    let row = till.sells(&[("A", 2)], ms("2024-06-01T12:00:00Z")).await;
    let settlements = Settlements::new(office.table().await);
    let turn = settlements.begin().await.unwrap();
    let pages = Page::of(vec![row.clone()], LONG_AFTER);
    assert_eq!(pages.len(), 1);
    assert!(matches!(settlements.count(turn, '0', &pages[0]).await.unwrap(), Counted::Done(_)));
    // By the same runner, who was told nothing of it; and by a later one, who has read the row before.
    assert_eq!(settlements.count(turn, '0', &pages[0]).await.unwrap(), Counted::Changed);
    let later = settlements.begin().await.unwrap();
    assert_eq!(settlements.count(later, '0', &pages[0]).await.unwrap(), Counted::Changed);
    assert_eq!(settlements.count(turn, '0', &pages[0]).await.unwrap(), Counted::Overtaken);
    assert_eq!(books(&office, "twice").await, expected(&[("2024-06-01 A", [2, 17_800, 0, 0])]));
    // The refund, too.
    let refunded = till.takes_back(&till.row(&row).await, ms("2024-06-01T13:00:00Z")).await;
    let pages = Page::of(vec![refunded], LONG_AFTER);
    assert!(matches!(settlements.count(later, '0', &pages[0]).await.unwrap(), Counted::Done(_)));
    assert_eq!(settlements.count(later, '0', &pages[0]).await.unwrap(), Counted::Changed);
    assert_eq!(books(&office, "twice").await, expected(&[("2024-06-01 A", [2, 17_800, 2, 17_800])]));
    office.close().await;
}

async fn a_page_read_before_a_cancelling_is_refused_and_read_again(set: ServerSet) {
    let office = Office::open(set).await;
    let mut till = Till::of(&office, "cross", "Asia/Seoul").await;
    let row = till.sells(&[("A", 1)], ms("2024-06-01T12:00:00Z")).await;
    let (gate, held) = (Gate::shut(), AtomicBool::new(false));
    let fate = Fate::Hold(gate.clone());
    let wire = Wire::new(move |operation, _| {
        let first = operation == "TransactWriteItems" && !held.swap(true, Ordering::Relaxed);
        if first { fate.clone() } else { Fate::Pass }
    });
    let runner = jobs(&office, wire.under(&office.table().await)).await;
    let crossing = async {
        gate.reached().await;
        let cancelled = till.takes_back(&row, ms("2024-06-02T12:00:00Z")).await;
        assert_eq!(cancelled.status, Status::Cancelled);
        gate.open();
    };
    let (done, ()) = tokio::join!(settle(&runner), crossing);
    assert_eq!(done, counted(1, 1, 2));
    let lines = [("2024-06-01 A", [1, 8_900, 0, 0]), ("2024-06-02 A", [0, 0, 1, 8_900])];
    assert_eq!(books(&office, "cross").await, expected(&lines));
    office.close().await;
}

async fn a_runner_frozen_past_his_lock_counts_nothing_any_more(set: ServerSet) {
    let office = Office::open(set).await;
    for (event, counted_by_others) in [("begun", 0), ("done", 1)] {
        let mut till = Till::of(&office, event, "Asia/Seoul").await;
        till.sells(&[("A", 1)], ms("2024-06-01T12:00:00Z")).await;
        let (gate, held) = (Gate::shut(), AtomicBool::new(false));
        let fate = Fate::Hold(gate.clone());
        let wire = Wire::new(move |operation, _| {
            let first = operation == "TransactWriteItems" && !held.swap(true, Ordering::Relaxed);
            if first { fate.clone() } else { Fate::Pass }
        });
        let frozen = jobs(&office, wire.under(&office.table().await)).await;
        let others = async {
            gate.reached().await;
            end_the_lease(&office).await;
            if counted_by_others > 0 {
                let awake = plain_jobs(&office).await;
                assert_eq!(settle(&awake).await, counted(1, 0, 1));
            } else {
                // Another has begun, and not come to this page yet.
                Settlements::new(office.table().await).begin().await.unwrap();
            }
            gate.open();
        };
        let (done, ()) = tokio::join!(settle(&frozen), others);
        assert_eq!(done, Settled { overtaken: true, ..counted(0, 0, 0) }, "{event}");
        let line = ("2024-06-01 A", [1, 8_900, 0, 0]);
        let so_far = [line];
        assert_eq!(books(&office, event).await, expected(&so_far[..counted_by_others]), "{event}");
        end_the_lease(&office).await;
        settle(&plain_jobs(&office).await).await;
        assert_eq!(books(&office, event).await, expected(&[line]), "{event}");
    }
    office.close().await;
}

async fn two_runners_at_once_count_everything_once(set: ServerSet) {
    const SOLD: u64 = 40;
    let office = Office::open(set).await;
    let mut till = Till::of(&office, "crowd", "Asia/Seoul").await;
    for _ in 0..SOLD {
        let row = till.sells(&[("B", 1)], ms("2024-06-01T12:00:00Z")).await;
        till.takes_back(&row, ms("2024-06-02T12:00:00Z")).await;
    }
    let (first, second) = (plain_jobs(&office).await, plain_jobs(&office).await);
    let running = AtomicUsize::new(2);
    let run = async |jobs| {
        let mut done = (0, 0);
        for _ in 0..4 {
            let settled = settle(jobs).await;
            assert_eq!(settled.failed, 0, "{settled:?}");
            done = (done.0 + settled.sales_settled, done.1 + settled.refunds_settled);
        }
        running.fetch_sub(1, Ordering::Relaxed);
        done
    };
    // No lock holds long enough here to keep one of them out.
    let no_locks = async {
        while running.load(Ordering::Relaxed) > 0 {
            end_the_lease(&office).await;
        }
    };
    let (one, other, ()) = tokio::join!(run(&first), run(&second), no_locks);
    end_the_lease(&office).await;
    let rest = settle(&first).await;
    let lines = [("2024-06-01 B", [SOLD, SOLD * 4_900, 0, 0]), ("2024-06-02 B", [0, 0, SOLD, SOLD * 4_900])];
    assert_eq!(books(&office, "crowd").await, expected(&lines));
    // Whose answer was cut off with his lock has not told; nobody has told too much.
    let told = (one.0 + other.0 + rest.sales_settled, one.1 + other.1 + rest.refunds_settled);
    assert!(told.0 <= SOLD as usize && told.1 <= SOLD as usize, "{told:?}");
    office.close().await;
}

async fn a_lost_answer_counts_once(set: ServerSet) {
    let office = Office::open(set).await;
    let mut till = Till::of(&office, "lost", "Asia/Seoul").await;
    till.sells(&[("A", 1)], ms("2024-06-01T12:00:00Z")).await;
    let lost = AtomicBool::new(false);
    let wire = Wire::new(move |operation, _| {
        let first = operation == "TransactWriteItems" && !lost.swap(true, Ordering::Relaxed);
        if first { Fate::LoseReply } else { Fate::Pass }
    });
    settle(&jobs(&office, wire.under(&office.table().await)).await).await;
    assert_eq!(wire.count("TransactWriteItems", |fate| matches!(fate, Fate::LoseReply)), 1);
    assert_eq!(books(&office, "lost").await, expected(&[("2024-06-01 A", [1, 8_900, 0, 0])]));
    office.close().await;
}
