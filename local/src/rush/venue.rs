//! The hall that a rush sells: sections and rows of ordinary size, and a taste for the good seats.

use std::collections::HashMap;

use rand::Rng;
use serde_json::{Value, json};

/// Seats in a row: what lies between two aisles of a large hall.
const ROW_SEATS: usize = 20;

/// Seats in a section: six such rows.
const SECTION_SEATS: usize = 6 * ROW_SEATS;

/// The share of wishes for two seats next to each other; the others are for one.
const PAIRS: f64 = 0.5;

/// The price of the first section and what each further one is cheaper, in cents, down to the last price.
const PRICES: (usize, usize, usize) = (12_000, 1_500, 4_500);

/// More seats than one customer's tries can take together, so that the limit is counted and never met.
const MAX_PER_CUSTOMER: usize = 6;

/// One hall, its seats from the best to the worst.
pub(super) struct Venue {
    /// The body of `PUT /admin/events/{event_id}`.
    pub(super) document: Value,
    seats: Vec<String>,
    /// Every place in `seats`.
    all: Vec<usize>,
    index: HashMap<String, usize>,
}

impl Venue {
    /// A hall of exactly this many seats.
    pub(super) fn with_seats(count: usize) -> Self {
        let mut seats = Vec::with_capacity(count);
        let mut sections = Vec::new();
        while seats.len() < count {
            let id = 101 + sections.len();
            let price = PRICES.0.saturating_sub(sections.len() * PRICES.1).max(PRICES.2);
            let size = SECTION_SEATS.min(count - seats.len());
            let mut rows = Vec::new();
            for first in (0..size).step_by(ROW_SEATS) {
                let row = rows.len() + 1;
                let width = ROW_SEATS.min(size - first);
                rows.push(json!({ "id": row.to_string(), "seats": width }));
                seats.extend((1..=width).map(|seat| format!("{id}-{row}-{seat}")));
            }
            sections.push(json!({
                "id": id.to_string(), "name": format!("Section {id}"), "kind": "seated", "price_cents": price, "rows": rows,
            }));
        }
        let document = json!({
            "name": format!("Rush for {count} seats"),
            "venue": "Test hall",
            "starts_at": "2099-12-31T19:00:00Z",
            "time_zone": "Europe/Berlin",
            "currency": "EUR",
            "state": "on_sale",
            "sale": { "opens_at": "2026-01-01T00:00:00Z", "closes_at": "2099-12-31T18:00:00Z" },
            "hold_seconds": 600,
            "max_per_customer": MAX_PER_CUSTOMER,
            "sections": sections,
        });
        let index = seats.iter().enumerate().map(|(at, seat)| (seat.clone(), at)).collect();
        Self { document, all: (0..count).collect(), seats, index }
    }

    /// What somebody wants who has seen no seat map: any seats, rather good ones.
    pub(super) fn any(&self, rng: &mut impl Rng) -> Vec<&str> {
        self.choose(&self.all, rng)
    }

    /// Our seats that are free in this seat map, from the best to the worst.
    pub(super) fn free_in(&self, map: &Value) -> Vec<usize> {
        let sections = map["sections"].as_array().map(Vec::as_slice).unwrap_or_default();
        let seats =
            sections.iter().flat_map(|section| section["seats"].as_array().map(Vec::as_slice).unwrap_or_default());
        let mut free: Vec<usize> = seats
            .filter(|seat| seat["status"] == "free")
            .filter_map(|seat| self.index.get(seat["id"].as_str()?).copied())
            .collect();
        free.sort_unstable();
        free
    }

    /// What somebody wants who has seen which seats are free: one or two of them, which must be in order. Half of all wishes
    /// go to the best eighth.
    pub(super) fn choose(&self, free: &[usize], rng: &mut impl Rng) -> Vec<&str> {
        // `random` is below 1, so the place is inside the list; the cube crowds it towards the front.
        let place = (free.len() as f64 * rng.random::<f64>().powi(3)) as usize;
        let pair = rng.random_bool(PAIRS);
        let Some(&first) = free.get(place) else { return Vec::new() };
        let mut chosen = vec![self.seats[first].as_str()];
        if pair && free.get(place + 1) == Some(&(first + 1)) && self.same_row(first, first + 1) {
            chosen.push(&self.seats[first + 1]);
        }
        chosen
    }

    /// Whether two seats are in one row: all of the id up to its last part.
    fn same_row(&self, one: usize, other: usize) -> bool {
        let row = |at: usize| self.seats[at].rsplit_once('-').map(|(row, _)| row);
        row(one) == row(other)
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn a_hall_has_exactly_the_seats_asked_for_in_rows_of_ordinary_size() {
        for count in [1, 19, 20, 21, 120, 121, 500, 20_000] {
            let venue = Venue::with_seats(count);
            let published: u64 = venue.document["sections"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|section| section["rows"].as_array().unwrap())
                .map(|row| row["seats"].as_u64().unwrap())
                .inspect(|width| assert!((1..=20).contains(width), "a row of {width}"))
                .sum();
            assert_eq!((published, venue.seats.len(), venue.index.len()), (count as u64, count, count));
        }
    }

    #[test]
    fn wishes_crowd_at_the_front_and_pairs_are_neighbours_in_one_row() {
        let venue = Venue::with_seats(500);
        let mut rng = StdRng::seed_from_u64(7);
        let (mut front, mut pairs) = (0, 0);
        for _ in 0..1_000 {
            let wish: Vec<usize> = venue.any(&mut rng).iter().map(|seat| venue.index[*seat]).collect();
            front += usize::from(wish[0] < 500 / 8);
            if let [one, other] = wish[..] {
                pairs += 1;
                assert_eq!((other, venue.same_row(one, other)), (one + 1, true));
            }
        }
        assert!((430..570).contains(&front), "{front} of 1,000 wishes in the best eighth");
        assert!((400..550).contains(&pairs), "{pairs} pairs of 1,000");
    }

    #[test]
    fn a_wish_after_the_seat_map_is_for_what_it_shows_free() {
        let venue = Venue::with_seats(40);
        let mut rng = StdRng::seed_from_u64(7);
        let seat = |id: &str, status: &str| json!({ "id": id, "status": status });
        let map = json!({ "sections": [{ "id": "GENERAL", "kind": "general" }, { "id": "101", "seats": [
            seat("101-2-1", "free"), seat("101-1-20", "free"), seat("101-1-1", "held"), seat("101-1-2", "sold"),
            seat("101-1-3", "blocked"), seat("999-1-1", "free"),
        ] }] });
        for _ in 0..100 {
            let wish = venue.choose(&venue.free_in(&map), &mut rng);
            assert!(wish == ["101-1-20"] || wish == ["101-2-1"], "{wish:?}");
        }
        assert!(venue.choose(&venue.free_in(&json!({ "sections": [] })), &mut rng).is_empty());
    }
}
