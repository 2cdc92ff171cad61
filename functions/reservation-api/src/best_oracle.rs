//! What "best" means, by definition and brute force: it tries everything and shares no code with the ranking.

use std::collections::HashSet;

use super::best::{Candidate, Run};

/// Runs, singles, orphans: the smaller, the better.
pub(super) type Class = (usize, usize, usize);

/// By the definition: seats that are lone once the candidate is taken, and were not before.
pub(super) fn orphans(rows: &[Vec<bool>], candidate: &[Run]) -> usize {
    let lone = |rows: &[Vec<bool>]| -> HashSet<(usize, usize)> {
        let free = |row: usize, seat: Option<usize>| seat.and_then(|seat| rows[row].get(seat)) == Some(&true);
        let all = (0..rows.len()).flat_map(|row| (0..rows[row].len()).map(move |seat| (row, seat)));
        all.filter(|&(row, seat)| {
            free(row, Some(seat)) && !free(row, seat.checked_sub(1)) && !free(row, Some(seat + 1))
        })
        .collect()
    };
    let mut after = rows.to_vec();
    for (row, seat) in seats(candidate) {
        after[row][seat] = false;
    }
    lone(&after).difference(&lone(rows)).count()
}

pub(super) fn class(rows: &[Vec<bool>], candidate: &[Run]) -> Class {
    let singles = if candidate.len() == 1 { 0 } else { candidate.iter().filter(|run| run.length == 1).count() };
    (candidate.len(), singles, orphans(rows, candidate))
}

/// In seats, as documented.
pub(super) fn penalty(rows: &[Vec<bool>], candidate: &[Run]) -> f64 {
    let off_middle = |run: &Run| {
        let centre = run.first as f64 + (run.length as f64 - 1.0) / 2.0;
        centre - (rows[run.row].len() as f64 - 1.0) / 2.0
    };
    let depth = 2.0 * candidate[0].row as f64;
    if let [only] = candidate {
        return depth + off_middle(only).abs();
    }
    let widest = rows.iter().filter(|row| row.contains(&true)).map(Vec::len).max().unwrap();
    let seen_from = |thirds: f64| {
        // Columns stand on half seats.
        let column = (thirds * widest as f64 / 3.0).trunc() / 2.0;
        column.abs() + 2.0 * candidate.iter().map(|run| (off_middle(run) - column).abs()).sum::<f64>()
    };
    depth + [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0].map(seen_from).into_iter().fold(f64::INFINITY, f64::min)
}

pub(super) fn seats(candidate: &[Run]) -> Vec<(usize, usize)> {
    candidate.iter().flat_map(|run| (run.first..run.first + run.length).map(|seat| (run.row, seat))).collect()
}

/// Every way to seat `quantity` with one run in each of `over` rows from `row` on.
pub(super) fn ways(rows: &[Vec<bool>], row: usize, over: usize, quantity: usize) -> Vec<Candidate> {
    if over == 0 {
        return if quantity == 0 { vec![vec![]] } else { vec![] };
    }
    let Some(seats) = rows.get(row) else { return vec![] };
    let mut found = Vec::new();
    for length in 1..=quantity.min(seats.len()) {
        let rest = ways(rows, row + 1, over - 1, quantity - length);
        for first in 0..=seats.len() - length {
            if seats[first..first + length].iter().all(|free| *free) {
                found.extend(rest.iter().map(|rest| [&[Run { row, first, length }], rest.as_slice()].concat()));
            }
        }
    }
    found
}

/// Every way over as few consecutive rows as it takes; empty if rows next to each other do not have the seats.
pub(super) fn fewest_rows(rows: &[Vec<bool>], quantity: usize) -> Vec<Candidate> {
    let over = |over| (0..rows.len()).flat_map(|row| ways(rows, row, over, quantity)).collect::<Vec<_>>();
    (1..=rows.len()).map(over).find(|ways| !ways.is_empty()).unwrap_or_default()
}

/// The fewest stretches of free seats that hold `quantity` together, wherever they are.
pub(super) fn fewest_gaps(rows: &[Vec<bool>], quantity: usize) -> usize {
    let gaps = |row: &Vec<bool>| row.split(|free| !free).map(<[bool]>::len).collect::<Vec<_>>();
    let mut lengths: Vec<usize> = rows.iter().flat_map(gaps).collect();
    lengths.sort_unstable();
    let mut seats = 0;
    1 + lengths
        .iter()
        .rev()
        .take_while(|length| {
            seats += **length;
            seats < quantity
        })
        .count()
}

pub(super) fn free(rows: &[Vec<bool>]) -> usize {
    rows.iter().flatten().filter(|free| **free).count()
}
