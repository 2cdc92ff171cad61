//! Which seats "best available" asks for. A claim takes the first candidate that is wholly free, so the list must be
//! good from the top, and it must differ between customers who look at the same map in the same moment.
//!
//! # Class: what is never traded
//! Candidates are compared by class first, and no random choice ever crosses a class. The smaller, the better, in turn:
//! 1. **runs**: 1 = all seats adjacent in one row; otherwise one run in each of as many consecutive rows;
//! 2. **singles**: parts of a split with one seat, so somebody sits alone (0 if the seats are not split);
//! 3. **orphans**: free seats left alone between taken seats and row ends which were not alone before.
//!
//! # Penalty: what counts within a class
//! About the distance from the middle of the front row, in half seats so that it stays an integer:
//! `ROW_WEIGHT × first row + distance of the block's centre from the middle of its own row`. A split has one, too, that
//! also keeps its parts together ([`best_split`](super::best_split)).
//!
//! # Near-equals: what is random
//! The first candidate is any of the best class whose penalty is within [`TOLERANCE`] of the least. Each further one is
//! drawn alike from what is left of the best class there is, those that share no seat with an earlier one first, with a
//! tolerance [`WIDENING`] times as wide each time: who loses race after race should leave the crowd.
//!
//! Seats scattered over the hall are a last resort, if neither one row nor neighbouring rows have room.

use std::slice;

use rand::Rng;
use serde::Deserialize;

use crate::best_split;

/// Candidates of one claim: what the script tries without giving other scripts a turn.
pub const MAX_CANDIDATES: usize = 8;

/// Half seats one row further back is worth: a row is about as deep as two seats are wide.
pub(super) const ROW_WEIGHT: u64 = 4;

/// Half seats by which two candidates of one class may differ and still be as good to a customer: three rows, or six
/// seats to the side. In a wide empty hall 28 blocks are that near to the best.
pub(super) const TOLERANCE: u64 = 12;

/// How many times as wide the tolerance gets with each candidate. With 3, of 1,000 customers who see the same empty
/// section of 5,000 seats and ask for half of it, 97 % find one of their candidates free, the fourth on average; with 2
/// it is 94 % and the fifth.
const WIDENING: u64 = 3;

/// Whether the seats must be adjacent in one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Adjacent {
    /// Adjacent in one row, or none.
    Required,
    /// Adjacent if possible, else split.
    #[default]
    Preferred,
}

/// Adjacent seats of one row, as positions in the rows given to [`rank`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Run {
    /// Index of the row, 0 nearest the stage.
    pub row: usize,
    /// Position of the leftmost seat within the row.
    pub first: usize,
    /// Number of seats.
    pub length: usize,
}

impl Run {
    fn shares_a_seat_with(&self, other: &Self) -> bool {
        self.row == other.row && self.first < other.first + other.length && other.first < self.first + self.length
    }
}

/// Seats to claim together, front to back and left to right: one run if all are adjacent.
pub type Candidate = Vec<Run>;

/// Compared in the order of the fields; see the module.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class {
    pub(super) runs: usize,
    pub(super) singles: usize,
    pub(super) orphans: usize,
}

/// A way to seat everybody.
pub(super) struct Ranked<R> {
    pub(super) class: Class,
    pub(super) penalty: u64,
    pub(super) runs: R,
}

/// A longest stretch of free seats: its neighbours are taken or do not exist.
#[derive(Clone, Copy)]
pub(super) struct Gap {
    pub(super) row: usize,
    pub(super) first: usize,
    pub(super) end: usize,
    /// Seats of the whole row.
    pub(super) width: usize,
}

/// A run within a gap.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) run: Run,
    pub(super) orphans: usize,
    /// Of the centre from the middle of the row, in half seats; negative to the left.
    pub(super) offset: i64,
}

impl Gap {
    pub(super) fn length(&self) -> usize {
        self.end - self.first
    }

    /// Every block of `length` seats, left to right.
    pub(super) fn blocks(self, length: usize) -> impl Iterator<Item = Block> {
        let past_the_last = (self.end + 1).saturating_sub(length);
        (self.first..past_the_last).map(move |first| {
            let end = first + length;
            Block {
                run: Run { row: self.row, first, length },
                orphans: usize::from(first - self.first == 1) + usize::from(self.end - end == 1),
                offset: (first + end) as i64 - self.width as i64,
            }
        })
    }
}

impl Block {
    pub(super) fn penalty(&self) -> u64 {
        ROW_WEIGHT * self.run.row as u64 + self.offset.unsigned_abs()
    }
}

/// At most [`MAX_CANDIDATES`] different ways to seat `quantity` people in `rows` (front to back, each left to right,
/// `true` = free; an aisle within a row is a `false`), the best first; the module says what is best. With
/// [`Adjacent::Preferred`] empty only if fewer than `quantity` seats are free, with [`Adjacent::Required`] also if
/// no row has that many side by side.
pub fn rank(rows: &[Vec<bool>], quantity: usize, adjacent: Adjacent, random: &mut impl Rng) -> Vec<Candidate> {
    let mut candidates = Vec::with_capacity(MAX_CANDIDATES);
    if quantity == 0 {
        return candidates;
    }
    let gaps: Vec<Vec<Gap>> = rows.iter().enumerate().map(|(row, seats)| gaps(row, seats)).collect();
    draw(side_by_side(&gaps, quantity), &mut candidates, random);
    if adjacent == Adjacent::Preferred && candidates.len() < MAX_CANDIDATES {
        best_split::neighbouring(&gaps, quantity, &mut candidates, random);
        if candidates.is_empty() {
            candidates = best_split::scattered(&gaps, quantity, random);
        }
    }
    candidates
}

fn gaps(row: usize, seats: &[bool]) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut first = 0;
    for stretch in seats.chunk_by(|one, next| one == next) {
        let end = first + stretch.len();
        if stretch[0] {
            gaps.push(Gap { row, first, end, width: seats.len() });
        }
        first = end;
    }
    gaps
}

fn side_by_side(gaps: &[Vec<Gap>], quantity: usize) -> Vec<Ranked<[Run; 1]>> {
    let ranked = |block: Block| Ranked {
        class: Class { runs: 1, singles: 0, orphans: block.orphans },
        penalty: block.penalty(),
        runs: [block.run],
    };
    gaps.iter().flatten().flat_map(|gap| gap.blocks(quantity)).map(ranked).collect()
}

/// Moves the best of `ranked` to the end of `candidates`, class by class, until there are enough.
pub(super) fn draw<R: AsRef<[Run]>>(
    mut ranked: Vec<Ranked<R>>,
    candidates: &mut Vec<Candidate>,
    random: &mut impl Rng,
) {
    while candidates.len() < MAX_CANDIDATES
        && let Some(best) = ranked.iter().map(|one| one.class).min()
    {
        let (mut apart, others) = ranked.into_iter().partition(|one| one.class == best);
        ranked = others;
        let mut overlapping = take_overlapping(&mut apart, candidates);
        while candidates.len() < MAX_CANDIDATES {
            let pool = if apart.is_empty() { &mut overlapping } else { &mut apart };
            let Some(index) = near_equal(pool, tolerance(candidates.len()), random) else { break };
            let chosen = pool.swap_remove(index).runs.as_ref().to_vec();
            overlapping.extend(take_overlapping(&mut apart, slice::from_ref(&chosen)));
            overlapping.retain(|one| one.runs.as_ref() != chosen);
            candidates.push(chosen);
        }
    }
}

/// Of the candidate that comes after `earlier` others.
fn tolerance(earlier: usize) -> u64 {
    (0..earlier).fold(TOLERANCE, |tolerance, _| tolerance * WIDENING)
}

/// Takes those out of `ranked` that share a seat with one of `chosen`.
fn take_overlapping<R: AsRef<[Run]>>(ranked: &mut Vec<Ranked<R>>, chosen: &[Candidate]) -> Vec<Ranked<R>> {
    ranked.extract_if(.., |one| chosen.iter().any(|other| overlap(one.runs.as_ref(), other))).collect()
}

fn overlap(one: &[Run], other: &[Run]) -> bool {
    let rows = |runs: &[Run]| Some((runs.first()?.row, runs.last()?.row));
    // Most are told apart by their rows alone, which spares comparing every part with every other.
    let (Some((one_front, one_back)), Some((other_front, other_back))) = (rows(one), rows(other)) else { return false };
    one_front <= other_back
        && other_front <= one_back
        && one.iter().any(|run| other.iter().any(|other| run.shares_a_seat_with(other)))
}

/// The index of one of those whose penalty is within `tolerance` of the least, each with the same probability.
fn near_equal<R>(ranked: &[Ranked<R>], tolerance: u64, random: &mut impl Rng) -> Option<usize> {
    let limit = ranked.iter().map(|one| one.penalty).min()? + tolerance;
    let near = || ranked.iter().enumerate().filter(|(_, one)| one.penalty <= limit);
    near().nth(random.random_range(0..near().count())).map(|(index, _)| index)
}
