//! The sum of the days equals the reservations: anything confirmed and taken back at any moment, written in any order, with
//! the job run in between by clocks of any time.

use local::servers::ServerSet;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use shared::dynamodb::rows::ReservationRow;

use super::{Books, PRICES, Till, books, ms, plain_jobs, settle, settle_at};
use crate::harness::{Office, on_both_sets};

on_both_sets!(the_sum_of_the_days_equals_the_reservations);

const ZONES: [&str; 4] = ["Pacific/Auckland", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"];
const HOUR_MS: i64 = 3_600_000;

/// What was done with a reservation: by section, when it was paid, and when taken back.
struct Deal {
    row: ReservationRow,
    wish: Vec<(&'static str, u32)>,
    sold_at_ms: i64,
    refunded_at_ms: Option<i64>,
}

/// The books by what was done alone.
fn by_hand(zone: &str, deals: &[Deal]) -> Books {
    let mut books = Books::new();
    let date = |at_ms: i64| {
        let moment = jiff::Timestamp::from_millisecond(at_ms).unwrap();
        moment.in_tz(zone).unwrap().strftime("%Y-%m-%d").to_string()
    };
    for deal in deals {
        for (section, seats) in &deal.wish {
            let price = PRICES.iter().find(|(id, _)| id == section).unwrap().1;
            let (seats, cents) = (u64::from(*seats), price * u64::from(*seats));
            let sale = books.entry(format!("{} {section}", date(deal.sold_at_ms))).or_default();
            (sale[0], sale[1]) = (sale[0] + seats, sale[1] + cents);
            if let Some(at_ms) = deal.refunded_at_ms {
                let refund = books.entry(format!("{} {section}", date(at_ms))).or_default();
                (refund[2], refund[3]) = (refund[2] + seats, refund[3] + cents);
            }
        }
    }
    books
}

async fn the_sum_of_the_days_equals_the_reservations(set: ServerSet) {
    let seed: u64 = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    let office = Office::open(set).await;
    let jobs = plain_jobs(&office).await;
    // Clocks go back in New York, and have gone forward in Auckland.
    let start = ms("2024-11-01T00:00:00Z");
    let mut tills = Vec::new();
    for zone in ZONES {
        let event = zone.to_lowercase().replace(['/', '_'], "-");
        tills.push((Till::of(&office, &event, zone).await, Vec::<Deal>::new()));
    }
    for _ in 0..160 {
        let at_ms = start + rng.random_range(0..6 * 24 * HOUR_MS);
        let at = rng.random_range(0..tills.len());
        let (till, deals) = &mut tills[at];
        let open: Vec<usize> = (0..deals.len()).filter(|at| deals[*at].refunded_at_ms.is_none()).collect();
        match rng.random_range(0..10) {
            0..=5 => {
                let mut wish: Vec<(&'static str, u32)> = Vec::new();
                for (section, _) in PRICES {
                    if rng.random_bool(0.5) {
                        wish.push((section, rng.random_range(1..=3)));
                    }
                }
                if wish.is_empty() {
                    wish.push(("A", 1));
                }
                let row = till.sells(&wish, at_ms).await;
                deals.push(Deal { row, wish, sold_at_ms: at_ms, refunded_at_ms: None });
            }
            6..=8 => {
                if let Some(at) = open.choose(&mut rng) {
                    let deal = &mut deals[*at];
                    let at_ms = deal.sold_at_ms + rng.random_range(0..3 * 24 * HOUR_MS);
                    let row = till.row(&deal.row).await;
                    till.takes_back(&row, at_ms).await;
                    deal.refunded_at_ms = Some(at_ms);
                }
            }
            _ => {
                let done = settle_at(&jobs, at_ms).await;
                assert_eq!(done.failed, 0, "seed {seed}: {done:?}");
            }
        }
    }
    settle(&jobs).await;
    for (till, deals) in &tills {
        assert_eq!(books(&office, &till.event).await, by_hand(&till.zone, deals), "seed {seed}, {}", till.event);
    }
    let refunds = tills.iter().flat_map(|(_, deals)| deals).filter(|deal| deal.refunded_at_ms.is_some()).count();
    assert!(refunds > 5, "seed {seed}: only {refunds} refunds");
    office.close().await;
}
