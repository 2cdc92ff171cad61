//! The report as callers see it: JSON, or CSV (RFC 4180) where they would rather have that.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};
use jiff::civil::Date;
use serde::Serialize;
use shared::domain::ids::{EventId, ReservationId};
use shared::domain::money::{Cents, Currency};
use shared::dynamodb::rows::ReservationRow;
use shared::dynamodb::settlement::SettledDay;
use shared::dynamodb::to_settle::Sums;
use utoipa::ToSchema;

/// The media type of the table.
pub const CSV: &str = "text/csv; charset=utf-8; header=present";

/// What an event has come to.
#[derive(Serialize, ToSchema)]
pub struct Report {
    event_id: EventId,
    currency: Currency,
    days: Vec<Day>,
    refunds: Vec<Refund>,
    total_cents: i64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SettledDay)]
struct Day {
    #[schema(value_type = String, format = Date)]
    date: Date,
    currency: Currency,
    sections: BTreeMap<String, Section>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SettledSection)]
struct Section {
    sold: u64,
    revenue_cents: u64,
    refunded: u64,
    refunds_cents: u64,
}

#[derive(Serialize, ToSchema)]
struct Refund {
    reservation_id: ReservationId,
    payment_reference: Option<String>,
    amount_cents: Cents,
}

impl Report {
    /// The view of an event that sells in `currency`. Days of another one are listed, and not in the total.
    pub fn new(event_id: EventId, currency: Currency, days: Vec<SettledDay>, refunds: Vec<ReservationRow>) -> Self {
        let refund = |row: ReservationRow| Refund {
            reservation_id: row.reservation_id,
            payment_reference: row.payment_reference,
            amount_cents: row.amount_cents,
        };
        let of_currency = days.iter().filter(|day| day.currency == currency);
        let total_cents = of_currency.flat_map(|day| day.sections.values()).map(net_cents).sum();
        let days = days.into_iter().map(Day::new).collect();
        Self { event_id, currency, days, refunds: refunds.into_iter().map(refund).collect(), total_cents }
    }
}

/// Money that came in less what goes back: less than nothing on many a day.
fn net_cents(sums: &Sums) -> i64 {
    let cents = |cents: u64| i64::try_from(cents).unwrap_or(i64::MAX);
    cents(sums.revenue_cents).saturating_sub(cents(sums.refunds_cents))
}

impl Day {
    fn new(day: SettledDay) -> Self {
        let section = |(id, Sums { sold, revenue_cents, refunded, refunds_cents })| {
            (id, Section { sold, revenue_cents, refunded, refunds_cents })
        };
        Self { date: day.date, currency: day.currency, sections: day.sections.into_iter().map(section).collect() }
    }
}

/// The settled days as a table: a line for each section of a day. No field can hold what would have to be quoted: ids,
/// dates, codes and whole numbers.
pub fn csv(event_id: &EventId, days: &[SettledDay]) -> String {
    let mut text = "event_id,date,section,currency,sold,revenue_cents,refunded,refunds_cents\r\n".to_owned();
    for SettledDay { date, currency, sections } in days {
        for (section, Sums { sold, revenue_cents, refunded, refunds_cents }) in sections {
            let numbers = format!("{sold},{revenue_cents},{refunded},{refunds_cents}");
            text.push_str(&format!("{event_id},{date},{section},{currency},{numbers}\r\n"));
        }
    }
    text
}

/// Whether the caller would rather have CSV than JSON, by `Accept` (RFC 9110): what is named most exactly counts, and JSON
/// where both are as welcome.
pub fn prefers_csv(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let ranges: Vec<(String, f32)> = lines.flat_map(|line| line.split(',')).filter_map(range).collect();
    let weight = |names: [&str; 3]| {
        let named = |name: &&str| ranges.iter().find(|(range, _)| range == name).map(|(_, weight)| *weight);
        names.iter().find_map(named).unwrap_or(0.0)
    };
    weight(["text/csv", "text/*", "*/*"]) > weight(["application/json", "application/*", "*/*"])
}

/// A media range and its weight.
fn range(text: &str) -> Option<(String, f32)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
    let weight = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().unwrap_or(0.0))
    });
    Some((name, weight.unwrap_or(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_for_those_who_would_rather_have_it() {
        for (accept, csv) in [
            (&["text/csv"][..], true),
            (&["TEXT/CSV; charset=utf-8"], true),
            (&["application/json;q=0.5", "text/csv;q=0.9"], true),
            (&["text/csv, */*;q=0.1"], true),
            (&["text/*"], true),
            (&[], false),
            (&["*/*"], false),
            (&["application/json, text/csv"], false),
            (&["text/csv;q=0"], false),
            (&["text/csv;q=much"], false),
            (&["text/csvs", ",;q=1,"], false),
            (&["text/*, text/csv;q=0.1, application/json;q=0.2"], false),
        ] {
            let headers = accept.iter().map(|line| (header::ACCEPT, line.parse().unwrap())).collect();
            assert_eq!(prefers_csv(&headers), csv, "{accept:?}");
        }
    }
}
