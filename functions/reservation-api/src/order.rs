//! What a wish comes to: the seats located or the best of them looked for, and their price. Prices come from the event.

use std::sync::Arc;

use shared::domain::document::SectionKind;
use shared::domain::event::{Event, Seat, Section};
use shared::domain::ids::{Label, SeatId};
use shared::domain::money::{Cents, SectionCents};
use shared::redis::seat_map::{Availability, SectionState};
use tokio::time::Instant;

use crate::App;
use crate::best::{self, Adjacent};
use crate::hall::{Freshness, View};
use crate::reserve::{Refusal, Wish};

/// What is to be claimed, and what it costs.
pub struct Order {
    /// What.
    pub pick: Pick,
    /// All of it together.
    pub amount: Cents,
    /// What of it each section costs, where there are several.
    pub section_cents: SectionCents,
}

/// How the claim will choose.
pub enum Pick {
    /// These seats.
    Seats(Vec<Seat>),
    /// Whichever of these options is free first.
    Best {
        /// Of this section.
        section: Label,
        /// The best first.
        options: Vec<Vec<Seat>>,
        /// When the section was read.
        seen_at: Instant,
        /// Why there is no option.
        otherwise: Option<Refusal>,
    },
    /// So many places.
    Places {
        /// Of this section.
        section: Label,
        /// How many.
        quantity: u32,
    },
}

/// Makes an order of a wish. `event` moves on to the publication that the section's map was read under, where one was.
pub async fn order(app: &App, event: &mut Arc<Event>, wish: &Wish, freshness: Freshness) -> Result<Order, Refusal> {
    let (label, quantity, adjacent) = match wish {
        Wish::Seats(seats) => return named(event, seats),
        Wish::Section { section, quantity, adjacent } => (section, *quantity, *adjacent),
    };
    let section = event.section(label.as_str()).ok_or(Refusal::SectionNotFound)?;
    if section.kind == SectionKind::General {
        let pick = Pick::Places { section: label.clone(), quantity };
        return Ok(Order { amount: times(section.price, quantity)?, section_cents: SectionCents::new(), pick });
    }
    let View { at: seen_at, map } = app.halls.section(app, event, label, freshness).await?;
    *event = Arc::clone(&map.event);
    let (section, seen) = map.sections().next().ok_or(Refusal::SectionNotFound)?;
    let state = &seen.state;
    let options = best_seats(section, state, quantity, adjacent);
    let otherwise = options.is_empty().then(|| why_none(section, state, quantity));
    let pick = Pick::Best { section: label.clone(), options, seen_at, otherwise };
    Ok(Order { amount: times(section.price, quantity)?, section_cents: SectionCents::new(), pick })
}

fn named(event: &Event, asked: &[SeatId]) -> Result<Order, Refusal> {
    let located: Vec<Option<(Seat, &Section)>> = asked.iter().map(|seat| event.locate(seat)).collect();
    let unknown: Vec<SeatId> =
        asked.iter().zip(&located).filter(|(_, found)| found.is_none()).map(|(seat, _)| seat.clone()).collect();
    if !unknown.is_empty() {
        return Err(Refusal::SeatsNotFound(unknown));
    }
    let (mut seats, mut amount) = (Vec::with_capacity(asked.len()), Cents::ZERO);
    let mut section_cents = SectionCents::new();
    for (seat, section) in located.into_iter().flatten() {
        if section.kind == SectionKind::General {
            return Err(Refusal::PlaceChosen(seat.id));
        }
        seats.push(seat);
        let add = |sum: Cents| {
            let sum = sum.checked_add(section.price);
            sum.ok_or_else(|| Refusal::unavailable(None, "a price does not fit"))
        };
        amount = add(amount)?;
        let of_section = section_cents.entry(section.id.clone()).or_default();
        *of_section = add(*of_section)?;
    }
    if section_cents.len() == 1 {
        section_cents.clear();
    }
    Ok(Order { pick: Pick::Seats(seats), amount, section_cents })
}

fn times(price: Cents, quantity: u32) -> Result<Cents, Refusal> {
    price.checked_mul(quantity).ok_or_else(|| Refusal::unavailable(None, "a price does not fit"))
}

/// The best options for so many seats of a section as it was seen.
pub fn best_seats(section: &Section, state: &SectionState, quantity: u32, adjacent: Adjacent) -> Vec<Vec<Seat>> {
    let rows: Vec<Vec<Option<(&str, u32)>>> = section.layout.seats_by_row().map(with_aisles).collect();
    let is_free = |seat: &Option<(&str, u32)>| seat.is_some_and(|(_, number)| state.seat(number) == Availability::Free);
    let free: Vec<Vec<bool>> = rows.iter().map(|row| row.iter().map(is_free).collect()).collect();
    let seat = |(within, number): (&str, u32)| Seat { id: SeatId::of(&section.id, within), number };
    let ranked = best::rank(&free, quantity as usize, adjacent, &mut rand::rng());
    let seats = |runs: Vec<best::Run>| {
        let positions = runs.iter().flat_map(|run| &rows[run.row][run.first..run.first + run.length]);
        positions.flatten().copied().map(seat).collect()
    };
    ranked.into_iter().map(seats).collect()
}

/// A row with a gap (`None`) where its numbers leave one out: 101, 102, 110 is an aisle behind 102, and 1, 3, 5 is none,
/// since that row goes by twos. Seats whose labels are no numbers stand as close as they are listed.
fn with_aisles(row: Vec<(&str, u32)>) -> Vec<Option<(&str, u32)>> {
    let label = |(within, _): &(&str, u32)| within.rsplit('-').next().and_then(|label| label.parse::<u32>().ok());
    let step = |pair: &[(&str, u32)]| Some(label(&pair[0])?.abs_diff(label(&pair[1])?));
    let usual = row.windows(2).filter_map(step).min().unwrap_or(1);
    let mut with_aisles = Vec::with_capacity(row.len());
    for (at, seat) in row.iter().enumerate() {
        if at > 0 && step(&row[at - 1..=at]).is_some_and(|step| step > usual) {
            with_aisles.push(None);
        }
        with_aisles.push(Some(*seat));
    }
    with_aisles
}

/// Held seats may come back; only what is sold or blocked makes a section sold out.
fn why_none(section: &Section, state: &SectionState, quantity: u32) -> Refusal {
    let counts = state.counts(section);
    let left = counts.free + counts.held;
    if left < quantity {
        Refusal::SoldOut { left }
    } else if counts.free < quantity {
        Refusal::Contended { free: Some(counts.free), id: None }
    } else {
        Refusal::NoAdjacentSeats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_left_out_is_an_aisle_by_the_rows_own_step() {
        let row = |labels: &[&'static str]| -> Vec<Option<&'static str>> {
            let seats = labels.iter().copied().zip(0..).collect();
            with_aisles(seats).into_iter().map(|seat| seat.map(|(within, _)| within)).collect()
        };
        assert_eq!(row(&["C-104", "C-105", "C-110"]), [Some("C-104"), Some("C-105"), None, Some("C-110")]);
        assert_eq!(row(&["A-1", "A-3", "A-5"]), [Some("A-1"), Some("A-3"), Some("A-5")]);
        assert_eq!(row(&["A-12", "A-11", "A-8"]), [Some("A-12"), Some("A-11"), None, Some("A-8")]);
        assert_eq!(row(&["BAR-S1", "BAR-S4"]), [Some("BAR-S1"), Some("BAR-S4")]);
        assert_eq!(row(&["A-1"]), [Some("A-1")]);
    }
}
