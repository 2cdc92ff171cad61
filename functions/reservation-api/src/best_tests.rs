//! The best available seats: held against a brute force on small halls (`best_oracle`), and shown
//! by drawn halls (front row first, `.` free, `x` taken).

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::best::{Adjacent, Candidate, MAX_CANDIDATES, Run, rank};
use super::best_oracle::{class, fewest_gaps, fewest_rows, free, orphans, penalty, seats, ways};

/// Seats by which the first candidate may miss the least penalty, as documented.
const TOLERANCE: f64 = 6.0;

fn run(row: usize, first: usize, length: usize) -> Run {
    Run { row, first, length }
}

fn hall(drawn: &[&str]) -> Vec<Vec<bool>> {
    drawn.iter().map(|row| row.chars().map(|seat| seat == '.').collect()).collect()
}

fn empty_hall(rows: usize, seats: usize) -> Vec<Vec<bool>> {
    vec![vec![true; seats]; rows]
}

fn ranked(rows: &[Vec<bool>], quantity: usize, adjacent: Adjacent, seed: u64) -> Vec<Candidate> {
    rank(rows, quantity, adjacent, &mut StdRng::seed_from_u64(seed))
}

/// What every customer gets first, over many seeds.
fn firsts(rows: &[Vec<bool>], quantity: usize) -> HashSet<Candidate> {
    (0..200).map(|seed| ranked(rows, quantity, Adjacent::Preferred, seed).remove(0)).collect()
}

/// Rows of different lengths, from nearly sold out to nearly empty.
fn halls(rows: usize, seats: usize) -> impl Strategy<Value = Vec<Vec<bool>>> {
    prop::sample::select(vec![0.1, 0.3, 0.5, 0.7, 0.9]).prop_flat_map(move |free| {
        prop::collection::vec(prop::collection::vec(prop::bool::weighted(free), 0..=seats), 0..=rows)
    })
}

fn adjacents() -> impl Strategy<Value = Adjacent> {
    prop::sample::select(vec![Adjacent::Required, Adjacent::Preferred])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn candidates_are_free_seats_as_many_as_asked_for_and_differ(
        rows in halls(12, 30), quantity in 1usize..=20, adjacent in adjacents(), seed: u64,
    ) {
        let candidates = ranked(&rows, quantity, adjacent, seed);
        prop_assert!(candidates.len() <= MAX_CANDIDATES);
        let different: HashSet<_> = candidates.iter().map(|one| seats(one)).collect();
        prop_assert_eq!(different.len(), candidates.len());
        for candidate in &candidates {
            let seats = seats(candidate);
            prop_assert!(seats.iter().all(|&(row, seat)| rows[row][seat]));
            prop_assert_eq!(seats.len(), quantity);
            prop_assert_eq!(seats.iter().collect::<HashSet<_>>().len(), quantity, "overlaps itself");
            prop_assert!(candidate.iter().all(|run| run.length > 0) && candidate.is_sorted());
            prop_assert!(adjacent == Adjacent::Preferred || candidate.len() == 1);
        }
    }

    #[test]
    fn there_are_candidates_exactly_when_there_can_be(
        rows in halls(6, 12), quantity in 1usize..=20, seed: u64,
    ) {
        let required = ranked(&rows, quantity, Adjacent::Required, seed);
        let adjacent = rows.iter().any(|row| row.split(|free| !free).any(|gap| gap.len() >= quantity));
        prop_assert_eq!(!required.is_empty(), adjacent);
        let preferred = ranked(&rows, quantity, Adjacent::Preferred, seed);
        prop_assert_eq!(!preferred.is_empty(), free(&rows) >= quantity);
    }

    #[test]
    fn no_adjacent_block_of_a_better_class_or_much_nearer_is_overlooked(
        rows in halls(10, 8), quantity in 1usize..=8, adjacent in adjacents(), seed: u64,
    ) {
        let blocks: Vec<_> = (0..rows.len()).flat_map(|row| ways(&rows, row, 1, quantity)).collect();
        let Some(best) = blocks.iter().map(|block| class(&rows, block)).min() else { return Ok(()) };
        let candidates = ranked(&rows, quantity, adjacent, seed);
        prop_assert_eq!(class(&rows, &candidates[0]), best);
        let same = blocks.iter().filter(|block| class(&rows, block) == best);
        let least = same.map(|block| penalty(&rows, block)).fold(f64::INFINITY, f64::min);
        prop_assert!(penalty(&rows, &candidates[0]) <= least + TOLERANCE);
        let adjacents = candidates.iter().filter(|one| one.len() == 1).count();
        prop_assert_eq!(adjacents, blocks.len().min(MAX_CANDIDATES), "adjacent blocks come before splits");
    }

    #[test]
    fn no_split_of_a_better_class_or_much_nearer_is_overlooked(
        rows in halls(10, 6), quantity in 2usize..=7, seed: u64,
    ) {
        let splits = fewest_rows(&rows, quantity);
        let candidates = ranked(&rows, quantity, Adjacent::Preferred, seed);
        let Some(best) = splits.iter().map(|one| class(&rows, one)).min() else { return Ok(()) };
        prop_assert_eq!(class(&rows, &candidates[0]), best);
        let same = splits.iter().filter(|one| class(&rows, one) == best);
        let least = same.map(|one| penalty(&rows, one)).fold(f64::INFINITY, f64::min);
        prop_assert!(penalty(&rows, &candidates[0]) <= least + TOLERANCE);
        let neighbours = |one: &Candidate| one.windows(2).all(|pair| pair[0].row + 1 == pair[1].row);
        prop_assert!(candidates.iter().all(neighbours));
    }

    #[test]
    fn scattered_seats_are_the_last_resort_and_in_as_few_stretches_as_possible(
        rows in halls(5, 8), quantity in 1usize..=8, seed: u64,
    ) {
        if free(&rows) >= quantity && fewest_rows(&rows, quantity).is_empty() {
            let candidates = ranked(&rows, quantity, Adjacent::Preferred, seed);
            prop_assert_eq!(candidates[0].len(), fewest_gaps(&rows, quantity));
        }
    }

    #[test]
    fn candidates_never_get_better_in_class_down_the_list(
        rows in halls(8, 16), quantity in 1usize..=12, adjacent in adjacents(), seed: u64,
    ) {
        let candidates = ranked(&rows, quantity, adjacent, seed);
        prop_assert!(candidates.iter().map(|one| class(&rows, one)).is_sorted());
    }

    #[test]
    fn an_orphan_is_left_only_when_every_adjacent_block_leaves_one(
        rows in halls(5, 12), quantity in 1usize..=8, adjacent in adjacents(), seed: u64,
    ) {
        let blocks: Vec<_> = (0..rows.len()).flat_map(|row| ways(&rows, row, 1, quantity)).collect();
        if let Some(first) = ranked(&rows, quantity, adjacent, seed).first()
            && !blocks.is_empty()
            && orphans(&rows, first) > 0
        {
            prop_assert!(blocks.iter().all(|block| orphans(&rows, block) > 0));
        }
    }

    #[test]
    fn within_a_class_blocks_apart_come_before_those_that_overlap_an_earlier_one(
        rows in halls(5, 12), quantity in 1usize..=5, seed: u64,
    ) {
        let candidates = ranked(&rows, quantity, Adjacent::Required, seed);
        let blocks: Vec<_> = (0..rows.len()).flat_map(|row| ways(&rows, row, 1, quantity)).collect();
        for (index, candidate) in candidates.iter().enumerate() {
            let asked: HashSet<_> = candidates[..index].iter().flat_map(|one| seats(one)).collect();
            let apart = |one: &Candidate| seats(one).iter().all(|seat| !asked.contains(seat));
            let alike = |one: &&Candidate| class(&rows, one) == class(&rows, candidate);
            prop_assert!(apart(candidate) || !blocks.iter().filter(alike).any(apart));
        }
    }
}

#[test]
fn in_an_empty_hall_everybody_is_offered_the_middle_of_the_front() {
    let rows = empty_hall(40, 40);
    for candidate in firsts(&rows, 2) {
        let [Run { row, first, length: 2 }] = candidate[..] else { panic!("split: {candidate:?}") };
        assert!(row <= 3 && (13..=25).contains(&first), "row {row}, seat {first}");
    }
    assert!(firsts(&rows, 2).contains(&vec![run(0, 19, 2)]), "the very best block is among them");
}

#[test]
fn two_customers_of_an_empty_hall_are_offered_different_blocks() {
    let rows = empty_hall(40, 40);
    let [one, other] = [1, 2].map(|seed| ranked(&rows, 4, Adjacent::Preferred, seed));
    assert_ne!(one[0], other[0]);
    assert_eq!(firsts(&rows, 4).len(), 28, "all that are near-equal, and no others");
    assert_eq!(ranked(&rows, 4, Adjacent::Preferred, 1), one, "the same seed gives the same list");
}

#[test]
fn a_short_front_row_is_measured_from_its_own_middle() {
    let rows = hall(&["xx..xx", "xxxxxxxxxxxxxxxxxx.."]);
    assert_eq!(ranked(&rows, 2, Adjacent::Required, 1)[0], [run(0, 2, 2)]);
}

#[test]
fn an_aisle_parts_neighbours_and_makes_orphans() {
    let rows = hall(&["..x..."]);
    assert_eq!(ranked(&rows, 4, Adjacent::Required, 1), Vec::<Candidate>::new());
    assert_eq!(firsts(&rows, 2), HashSet::from([vec![run(0, 0, 2)]]), "the right half would leave one alone");
    assert_eq!(firsts(&rows, 3), HashSet::from([vec![run(0, 3, 3)]]));
}

#[test]
fn the_last_row_without_an_orphan_goes_before_the_first_row_with_one() {
    let rows = hall(&["...", "...", "...", "...", "...", "x..", "..."]);
    assert_eq!(firsts(&rows, 2), HashSet::from([vec![run(5, 1, 2)]]));
    assert_eq!(firsts(&hall(&["..."]), 2).len(), 2, "an orphan that cannot be avoided is left");
}

#[test]
fn a_seat_that_was_alone_before_is_no_orphan_and_is_sold_first() {
    let rows = hall(&["x.x..x"]);
    assert_eq!(firsts(&rows, 1), HashSet::from([vec![run(0, 1, 1)]]));
}

#[test]
fn a_party_is_split_over_neighbouring_rows_with_nobody_alone_and_near_each_other() {
    let rows = hall(&["...xxxxxxx...", "xxxxxxxxxx...", "xxxxxxxxxxxxx", "..xxxxxxxxxxx"]);
    assert_eq!(ranked(&rows, 6, Adjacent::Required, 1), Vec::<Candidate>::new());
    assert_eq!(firsts(&rows, 6), HashSet::from([vec![run(0, 10, 3), run(1, 10, 3)]]), "not across the hall");
    let rows = hall(&["...x", "..xx"]);
    assert_eq!(firsts(&rows, 5), HashSet::from([vec![run(0, 0, 3), run(1, 0, 2)]]));
    let pairs = firsts(&hall(&["...x", "...x"]), 4);
    assert!(pairs.iter().flatten().all(|part| part.length == 2), "orphans rather than somebody alone: {pairs:?}");
}

#[test]
fn fewer_rows_go_before_larger_parts_and_larger_parts_before_orphans() {
    let rows = hall(&["..x", "..x", "..x", "xxx", "...", "x.x"]);
    assert_eq!(firsts(&rows, 6), HashSet::from([vec![run(0, 0, 2), run(1, 0, 2), run(2, 0, 2)]]));
    let rows = hall(&["..x", "..x", "..x", "xxx", "....x", "..xxx"]);
    assert_eq!(firsts(&rows, 6), HashSet::from([vec![run(4, 0, 4), run(5, 0, 2)]]));
}

#[test]
fn single_seats_all_over_the_hall_are_sold_to_those_who_only_prefer_to_sit_together() {
    let rows = hall(&[".x.x.", "xxxxx", "x.x.."]);
    assert_eq!(ranked(&rows, 5, Adjacent::Required, 1), Vec::<Candidate>::new());
    let all = ranked(&rows, 6, Adjacent::Preferred, 1);
    assert_eq!(all, [vec![run(0, 0, 1), run(0, 2, 1), run(0, 4, 1), run(2, 1, 1), run(2, 3, 2)]]);
    assert_eq!(ranked(&rows, 7, Adjacent::Preferred, 1), Vec::<Candidate>::new());
}

#[test]
fn among_scattered_seats_two_pairs_go_before_three_and_one_alone() {
    let rows = hall(&["...", "xxx", "..x", "xxx", "..x", "xxx", "..x"]);
    let all = ranked(&rows, 4, Adjacent::Preferred, 1);
    let lengths: Vec<Vec<usize>> = all.iter().map(|one| one.iter().map(|run| run.length).collect()).collect();
    assert_eq!(lengths, [[2, 2], [3, 1]]);
}

#[test]
fn nobody_is_no_party_and_no_rows_have_no_seats() {
    assert!(ranked(&empty_hall(2, 2), 0, Adjacent::Preferred, 1).is_empty());
    assert!(ranked(&[], 2, Adjacent::Preferred, 1).is_empty());
    assert!(ranked(&[vec![]], 2, Adjacent::Preferred, 1).is_empty());
}

/// The claim script in small: the first candidate that is wholly free, for customers who all saw the same map.
fn served(rows: &[Vec<bool>], customers: u64) -> HashMap<Option<usize>, usize> {
    let (mut taken, mut served) = (HashSet::new(), HashMap::new());
    for seed in 0..customers {
        let candidates = ranked(rows, 1 + seed as usize % 4, Adjacent::Preferred, seed);
        let won = candidates.iter().position(|one| seats(one).iter().all(|seat| !taken.contains(seat)));
        taken.extend(won.iter().flat_map(|won| seats(&candidates[*won])));
        *served.entry(won).or_default() += 1;
    }
    served
}

#[test]
fn nearly_all_of_a_thousand_simultaneous_customers_find_one_of_their_eight_free() {
    let served = served(&empty_hall(100, 50), 1_000);
    println!("served by candidate: {served:?}");
    assert!(served.get(&None).is_none_or(|contended| *contended < 50), "{served:?}");
}
