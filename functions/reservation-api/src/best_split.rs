//! Parties that no row can seat side by side: split over neighbouring rows, or else over whatever is free.
//!
//! The penalty of a split is that of the column which suits it best of [`COLUMNS`], in half seats: `ROW_WEIGHT × first
//! row + distance of the column from the middle + APART × Σ distance of each part's centre from the column`. Distances
//! along a row are measured from its own middle, as if all rows were centred. Seen from one column the rows are
//! independent of each other, so that the best split is found by dynamic programming instead of trying every one.

use std::cmp::Reverse;
use std::iter::zip;

use rand::Rng;

use super::best::{Block, Candidate, Class, Gap, MAX_CANDIDATES, ROW_WEIGHT, Ranked, TOLERANCE, draw};

/// In thirds of the way from the middle to the end of the widest row. Each column costs one pass over the section; with
/// these seven a part is at most a twelfth of the row away from one.
const COLUMNS: [i64; 7] = [-3, -2, -1, 0, 1, 2, 3];

/// Friends a seat further apart are worse off than friends who sit together a seat further from the middle.
const APART: u64 = 2;

/// Costs are distances in half seats plus these per seat alone and per orphan, so that sums compare as classes do.
const SINGLE: u64 = 1 << 48;
const ORPHAN: u64 = 1 << 32;

/// More than any cost of at most 20 parts, and still far from overflowing when one is added.
const UNREACHABLE: u64 = u64::MAX / 2;

/// The cheapest place in a row for a part of one size, seen from one column.
#[derive(Clone, Copy)]
struct Part {
    cost: u64,
    block: Option<Block>,
}

/// Of one row, by size less one: the best part for each column.
type Parts = Vec<[Part; COLUMNS.len()]>;

/// Adds splits over neighbouring rows to `candidates`, those over the fewest rows first. Every row begins one split per
/// column: over as few rows as it takes from there on, and the best of all that begin there.
pub(super) fn neighbouring(gaps: &[Vec<Gap>], quantity: usize, candidates: &mut Vec<Candidate>, random: &mut impl Rng) {
    let longest = |row: &Vec<Gap>| row.iter().map(Gap::length).max().unwrap_or(0).min(quantity - 1);
    let room: Vec<usize> = gaps.iter().map(longest).collect();
    let mut windows: Vec<(usize, usize)> =
        (0..room.len()).filter_map(|row| Some((rows_needed(&room[row..], quantity)?, row))).collect();
    if windows.is_empty() {
        return;
    }
    windows.sort_unstable();
    let widest = gaps.iter().flatten().map(|gap| gap.width as i64).max().unwrap_or(0);
    let columns = COLUMNS.map(|thirds| thirds * widest / 3);
    let parts: Vec<Parts> = zip(gaps, &room).map(|(row, room)| parts(row, *room, columns)).collect();
    for windows in windows.chunk_by(|one, next| one.0 == next.0) {
        if candidates.len() == MAX_CANDIDATES {
            return;
        }
        let mut splits = Vec::with_capacity(windows.len() * columns.len());
        for &(rows, row) in windows {
            for (index, column) in columns.iter().enumerate() {
                let mut best = best_split(&parts[row..row + rows], index, quantity);
                best.penalty += ROW_WEIGHT * row as u64 + column.unsigned_abs();
                splits.push(best);
            }
        }
        draw(splits, candidates, random);
    }
}

/// How many of `room`'s rows, from the first on, have `quantity` seats if each gives one run of at most its room.
fn rows_needed(room: &[usize], quantity: usize) -> Option<usize> {
    let mut seats = 0;
    let enough = |room: &usize| {
        seats += room;
        seats >= quantity
    };
    let unbroken = room.iter().take_while(|room| **room > 0);
    unbroken.map(enough).position(|enough| enough).map(|index| index + 1)
}

/// For every size up to `room`, which is no more than the longest gap.
fn parts(row: &[Gap], room: usize, columns: [i64; COLUMNS.len()]) -> Parts {
    let cheapest = |size: usize| {
        let mut best = [Part { cost: UNREACHABLE, block: None }; COLUMNS.len()];
        for block in row.iter().flat_map(|gap| gap.blocks(size)) {
            let class = SINGLE * u64::from(size == 1) + ORPHAN * block.orphans as u64;
            for (best, column) in zip(&mut best, columns) {
                let cost = class + APART * block.offset.abs_diff(column);
                if cost < best.cost {
                    *best = Part { cost, block: Some(block) };
                }
            }
        }
        best
    };
    (1..=room).map(cheapest).collect()
}

/// The cheapest way to seat `quantity` in all of `rows`, which are at most as many and have room enough. The penalty is
/// only that of the distances from the column.
fn best_split(rows: &[Parts], column: usize, quantity: usize) -> Ranked<Candidate> {
    // By rows and people: the least cost of seating so many in so many.
    let width = quantity + 1;
    let mut least = vec![UNREACHABLE; width * (rows.len() + 1)];
    least[0] = 0;
    for (row, index) in zip(rows, 1..) {
        let (before, after) = least.split_at_mut(index * width);
        let before = &before[(index - 1) * width..];
        for (part, size) in zip(row, 1..) {
            for (after, before) in zip(&mut after[size..width], before) {
                *after = (*after).min(before + part[column].cost);
            }
        }
    }
    let cost = least[rows.len() * width + quantity];
    let mut runs = Vec::with_capacity(rows.len());
    let mut end = rows.len() * width + quantity;
    for row in rows.iter().rev() {
        // One row fewer, and as many people fewer as the part that led here seats.
        let led_here = |(part, size): (&[Part; COLUMNS.len()], usize)| {
            let before = end - width - size;
            (least[before] + part[column].cost == least[end]).then_some((before, part[column].block?.run))
        };
        if let Some((before, run)) = zip(row, 1..=end % width).find_map(led_here) {
            runs.push(run);
            end = before;
        }
    }
    runs.reverse();
    let (singles, orphans) = ((cost / SINGLE) as usize, (cost % SINGLE / ORPHAN) as usize);
    Ranked { class: Class { runs: rows.len(), singles, orphans }, penalty: cost % ORPHAN, runs }
}

/// Any free seats, in as few runs as possible: each candidate takes the longest gaps that no earlier one has touched.
pub(super) fn scattered(gaps: &[Vec<Gap>], quantity: usize, random: &mut impl Rng) -> Vec<Candidate> {
    let nearest = |gap: &Gap, size| gap.blocks(size).min_by_key(|block| (block.orphans, block.penalty()));
    let mut order: Vec<_> = (gaps.iter().flatten())
        .filter_map(|gap| {
            let penalty = nearest(gap, gap.length())?.penalty();
            Some((Reverse(gap.length()), penalty + random.random_range(0..=TOLERANCE), gap))
        })
        .collect();
    order.sort_unstable_by_key(|(length, penalty, _)| (*length, *penalty));
    let mut ranked = Vec::new();
    let (mut missing, mut blocks) = (quantity, Vec::new());
    for (_, _, gap) in order {
        let Some(block) = nearest(gap, missing.min(gap.length())) else { continue };
        missing -= block.run.length;
        blocks.push(block);
        if missing == 0 {
            let singles = blocks.iter().filter(|block| block.run.length == 1).count();
            let orphans = blocks.iter().map(|block| block.orphans).sum();
            let class = Class { runs: blocks.len(), singles, orphans };
            let mut runs: Candidate = blocks.drain(..).map(|block| block.run).collect();
            runs.sort_unstable();
            ranked.push((class, runs));
            if ranked.len() == MAX_CANDIDATES {
                break;
            }
            missing = quantity;
        }
    }
    ranked.sort_by_key(|(class, _)| *class);
    ranked.into_iter().map(|(_, runs)| runs).collect()
}
