//! Which seat of a section has which number. Numbers are append-only: a seat keeps its own through every republish and a
//! removed seat's is never given out again, so a bit in Redis or a message in flight always means the same seat.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::document::{RowDocument, SeatsDocument, SectionDocument};
use super::ids::Label;

/// Seats of one load partition in DynamoDB (`SEATS#<event>#<section>#<number ÷ 200>`): all of them selling within one
/// second take 400 of the 1,000 write units a partition has.
pub const SEATS_PER_PARTITION: u32 = 200;

/// The numbered seats of one section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    rows: Vec<Row>,
    /// By number: the seat's id within the section. `None` = removed.
    seats: Vec<Option<Box<str>>>,
    numbers: HashMap<Box<str>, u32>,
    /// The places among them; empty where there are rows.
    runs: Vec<PlaceRun>,
}

/// A row with its seats left to right; a general section is one row without a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    id: String,
    labels: Vec<String>,
    numbers: Vec<u32>,
}

impl Row {
    fn document(&self) -> Option<RowDocument> {
        let id = Label::parse(&self.id).ok()?;
        let counted = SeatsDocument::Count(u32::try_from(self.labels.len()).ok()?);
        let seats = if counted.labels() == self.labels {
            counted
        } else {
            SeatsDocument::Labels(self.labels.iter().map(|label| Label::parse(label)).collect::<Result<_, _>>().ok()?)
        };
        Some(RowDocument { id, seats })
    }

    /// The places of a general section's one row.
    fn runs(&self) -> Vec<PlaceRun> {
        let mut runs: Vec<PlaceRun> = Vec::new();
        for (label, number) in self.labels.iter().zip(&self.numbers) {
            let Ok(serial) = label.parse::<u32>() else { continue };
            match runs.last_mut() {
                Some(run) if (run.first + run.length, run.serial + run.length) == (*number, serial) => run.length += 1,
                _ => runs.push(PlaceRun { first: *number, length: 1, serial }),
            }
        }
        runs
    }
}

/// What is stored of a layout.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// How many numbers have ever been given out.
    numbered: u32,
    /// Places of a general section have no rows: their serial is their number plus one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rows: Vec<Row>,
}

/// Places with successive numbers and serials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaceRun {
    /// Number of the first.
    pub first: u32,
    /// How many.
    pub length: u32,
    /// Serial of the first.
    pub serial: u32,
}

impl Layout {
    /// Numbers the seats of a section published for the first time.
    pub fn first(section: &SectionDocument) -> Self {
        Self::empty().followed_by(section)
    }

    /// The layout that succeeds this one when the section is republished as `section`: known seats keep their numbers,
    /// new ones take the next, removed ones leave theirs unused for ever.
    #[must_use]
    pub fn followed_by(&self, section: &SectionDocument) -> Self {
        let mut numbers = self.all_numbers();
        let mut next = u32::try_from(self.seats.len()).unwrap_or(u32::MAX);
        let mut number_of = |within: String| {
            *numbers.entry(within.into_boxed_str()).or_insert_with(|| {
                next += 1;
                next - 1
            })
        };
        let rows: Vec<Row> = match (&section.rows, section.capacity) {
            (Some(rows), _) => rows
                .iter()
                .map(|row| {
                    let labels = row.seats.labels();
                    let numbers = labels.iter().map(|label| number_of(format!("{}-{label}", row.id))).collect();
                    Row { id: row.id.to_string(), labels, numbers }
                })
                .collect(),
            (None, capacity) => {
                let labels = SeatsDocument::Count(capacity.unwrap_or(0)).labels();
                let numbers = labels.iter().map(|label| number_of(label.clone())).collect();
                vec![Row { id: String::new(), labels, numbers }]
            }
        };
        Self::from_rows(rows, next)
    }

    /// This layout with every seat removed: what is published again later takes new numbers.
    #[must_use]
    pub fn without_seats(&self) -> Self {
        let row = Row { id: String::new(), labels: Vec::new(), numbers: Vec::new() };
        Self::from_rows(vec![row], self.numbered())
    }

    fn empty() -> Self {
        Self { rows: Vec::new(), seats: Vec::new(), numbers: HashMap::new(), runs: Vec::new() }
    }

    /// Every number ever given to a seat that still exists.
    fn all_numbers(&self) -> HashMap<Box<str>, u32> {
        self.numbers.clone()
    }

    fn from_rows(rows: Vec<Row>, numbered: u32) -> Self {
        let mut seats = vec![None; numbered as usize];
        let mut numbers = HashMap::new();
        for row in &rows {
            for (label, number) in row.labels.iter().zip(&row.numbers) {
                let within: Box<str> =
                    if row.id.is_empty() { label.as_str().into() } else { format!("{}-{label}", row.id).into() };
                if let Some(seat) = seats.get_mut(*number as usize) {
                    *seat = Some(within.clone());
                }
                numbers.insert(within, *number);
            }
        }
        let runs = rows.iter().filter(|row| row.id.is_empty()).flat_map(Row::runs).collect();
        Self { rows, seats, numbers, runs }
    }

    /// The number of the seat named `<row>-<seat>` (or by its serial), if the section has it.
    pub fn number(&self, within: &str) -> Option<u32> {
        self.numbers.get(within).copied()
    }

    /// The seat's id within the section, if a seat of this number exists.
    pub fn seat(&self, number: u32) -> Option<&str> {
        self.seats.get(number as usize).and_then(|seat| seat.as_deref())
    }

    /// All seats in the order a map shows them: id within the section, and number.
    pub fn seats(&self) -> impl Iterator<Item = (&str, u32)> {
        let numbers = self.rows.iter().flat_map(|row| row.numbers.iter().copied());
        numbers.filter_map(|number| self.seat(number).map(|seat| (seat, number)))
    }

    /// The rows as a document writes them; `None` for a general section.
    pub fn rows(&self) -> Option<Vec<RowDocument>> {
        self.rows.iter().map(Row::document).collect()
    }

    /// The places of a general section as runs of successive numbers and serials; one run unless places were removed.
    /// Every claim of places names them all, so they are found once.
    pub fn runs(&self) -> &[PlaceRun] {
        &self.runs
    }

    /// The rows front to back, each with its seats left to right as id within the section and number.
    pub fn seats_by_row(&self) -> impl Iterator<Item = Vec<(&str, u32)>> {
        let named = |number: &u32| self.seat(*number).map(|seat| (seat, *number));
        self.rows.iter().map(move |row| row.numbers.iter().filter_map(named).collect())
    }

    /// How many seats exist.
    pub fn capacity(&self) -> u32 {
        u32::try_from(self.numbers.len()).unwrap_or(u32::MAX)
    }

    /// How many numbers have ever been given out: the length of the section's bitmaps.
    pub fn numbered(&self) -> u32 {
        u32::try_from(self.seats.len()).unwrap_or(u32::MAX)
    }

    /// How many load partitions the section has.
    pub fn partitions(&self) -> u32 {
        self.numbered().div_ceil(SEATS_PER_PARTITION)
    }

    /// Seats this layout has and `next` has not.
    pub fn removed_in<'a>(&'a self, next: &Layout) -> Vec<(&'a str, u32)> {
        let kept: HashSet<&str> = next.numbers.keys().map(AsRef::as_ref).collect();
        self.seats().filter(|(within, _)| !kept.contains(within)).collect()
    }

    /// The stored form: JSON, to be compressed by the repository.
    pub fn to_json(&self) -> Vec<u8> {
        let general = self.rows.len() == 1 && self.rows[0].id.is_empty();
        let contiguous = general
            && self.rows[0].numbers.len() == self.seats.len()
            && self.rows[0].numbers.iter().enumerate().all(|(at, number)| at as u32 == *number);
        let rows = if contiguous { Vec::new() } else { self.rows.clone() };
        serde_json::to_vec(&Stored { numbered: self.numbered(), rows }).unwrap_or_default()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When the bytes are no layout.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let stored: Stored = serde_json::from_slice(bytes)?;
        if stored.rows.is_empty() {
            let labels = SeatsDocument::Count(stored.numbered).labels();
            let row = Row { id: String::new(), labels, numbers: (0..stored.numbered).collect() };
            return Ok(Self::from_rows(vec![row], stored.numbered));
        }
        Ok(Self::from_rows(stored.rows, stored.numbered))
    }
}
