//! What is asked for and how it is delivered: few seats, many wishes, any order, any repetitions, any split into payloads.

use proptest::collection::vec;
use proptest::prelude::*;
use shared::message::Request;

use crate::harness::handmade::Asked;

/// The event of every plan: each has a table of its own.
pub const EVENT: &str = "orders";
const SEATS: [&str; 3] = ["A-1-1", "A-1-2", "A-3-1"];
const CUSTOMERS: [&str; 2] = ["alice", "bob"];
/// Wishes of a plan at most.
const WISHES: usize = 8;
/// A claim is granted at a multiple of this, in milliseconds, so that holds often end just when others begin.
const TICK_MS: i64 = 1_000;

/// One request: by whom, which seats (one bit each), from when to when in ticks.
#[derive(Debug, Clone)]
pub struct Wish {
    customer: usize,
    seats: usize,
    from: i64,
    ticks: i64,
}

#[derive(Debug, Clone)]
pub struct Plan {
    wishes: Vec<Wish>,
    /// Most live seats of a customer.
    pub limit: Option<u32>,
    /// Wishes in the order of their deliveries, each at least once.
    deliveries: Vec<usize>,
    /// Records of a payload.
    pub per_payload: usize,
    /// Whether the payloads are handled at the same time.
    pub at_once: bool,
}

fn wish() -> impl Strategy<Value = Wish> {
    (0..CUSTOMERS.len(), 1..1_usize << SEATS.len(), 0..12_i64, 1..5_i64)
        .prop_map(|(customer, seats, from, ticks)| Wish { customer, seats, from, ticks })
}

fn delivered(wishes: Vec<Wish>, limit: Option<u32>) -> impl Strategy<Value = Plan> {
    let times = vec(1..3_usize, wishes.len());
    let deliveries = times.prop_map(|times| {
        times.into_iter().enumerate().flat_map(|(at, times)| std::iter::repeat_n(at, times)).collect::<Vec<_>>()
    });
    (deliveries.prop_shuffle(), prop_oneof![Just(1), 1..6_usize], any::<bool>()).prop_map(
        move |(deliveries, per_payload, at_once)| Plan {
            wishes: wishes.clone(),
            limit,
            deliveries,
            per_payload,
            at_once,
        },
    )
}

/// Any wishes, with or without a limit.
pub fn any_plan() -> impl Strategy<Value = Plan> {
    let limit = prop_oneof![2 => Just(None), 1 => (1..4_u32).prop_map(Some)];
    (vec(wish(), 1..=WISHES), limit).prop_flat_map(|(wishes, limit)| delivered(wishes, limit))
}

/// Wishes of which no two want a seat at the same time, and no limit: what Redis grants as long as it loses nothing.
pub fn orderly_plan() -> impl Strategy<Value = Plan> {
    vec(wish(), 2..=2 * WISHES).prop_flat_map(|wishes| {
        let mut orderly: Vec<Wish> = Vec::new();
        for wish in wishes {
            let meets = |other: &Wish| {
                let at_one_time = wish.from < other.from + other.ticks && other.from < wish.from + wish.ticks;
                wish.seats & other.seats != 0 && at_one_time
            };
            if !orderly.iter().any(meets) {
                orderly.push(wish);
            }
        }
        delivered(orderly, None)
    })
}

impl Plan {
    /// The requests, each under a key of its own.
    pub fn requests(&self) -> Vec<Request> {
        let request = |(at, wish): (usize, &Wish)| {
            let seats: Vec<&str> =
                (0..SEATS.len()).filter(|bit| wish.seats >> bit & 1 == 1).map(|bit| SEATS[bit]).collect();
            let held = (wish.from * TICK_MS, (wish.from + wish.ticks) * TICK_MS);
            let (customer, key) = (CUSTOMERS[wish.customer], format!("key-{at}"));
            Asked { event: EVENT, customer, key: &key, seats: &seats, limit: self.limit, held }.request()
        };
        self.wishes.iter().enumerate().map(request).collect()
    }

    /// The deliveries, payload by payload.
    pub fn payloads(&self) -> impl Iterator<Item = &[usize]> {
        self.deliveries.chunks(self.per_payload)
    }

    /// The deliveries one by one, where they are made one by one.
    pub fn one_by_one(&self) -> Option<&[usize]> {
        (self.per_payload == 1 && !self.at_once).then_some(&self.deliveries)
    }
}
