//! Checks the books after the sale: what every customer was told against what the API says is stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use axum::http::Method;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::{
    OnSale, RushError, RushSettings,
    customer::{CustomerLog, Outcome, Told},
};
use crate::client::{Answer, ApiClient};

/// How often a question is asked again where it is answered 5xx or not at all.
const REPEATS: usize = 5;

/// The pause before a question is asked again, be it for a failure or for a list that lags.
const PAUSE: Duration = Duration::from_millis(500);

/// Customers checked at once. More than there may be requests under way, because most of them wait for a list that lags.
const CUSTOMERS: usize = 1_000;

/// Pages of one customer's list. A customer has a handful of reservations; a cursor that never ends is a defect.
const PAGES: usize = 100;

/// What the books say. Where nothing is wrong, all lists are empty.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Live reservations found in their owners' lists.
    pub stored: u64,
    /// The seats of all live reservations.
    pub seats_stored: u64,
    /// Seats in more than one live reservation, with the reservations.
    pub two_owners: BTreeMap<String, Vec<String>>,
    /// Accepted reservations that have no outcome.
    pub forgotten: Vec<String>,
    /// Reservations whose outcome changed after it was told, and how.
    pub changed: Vec<String>,
    /// Keys under which two reservations were accepted.
    pub split_keys: Vec<String>,
    /// Live reservations that are missing in their owner's list.
    pub unlisted: Vec<String>,
    /// Live reservations whose owner was told nothing of them, with no answer outstanding either, or that they were rejected.
    pub untold: Vec<String>,
    /// The event's capacity as the API counts it.
    pub capacity: Capacity,
    /// Outcomes heard in the topic, where it was followed.
    pub heard: Option<u64>,
    /// Reservations of which the topic says another thing than the API, or nothing, or two things.
    pub heard_otherwise: Vec<String>,
    /// Sections or events whose capacity is not free + held + sold + blocked, or not what was published.
    pub miscounted: Vec<String>,
}

/// The seats of an event by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// All of them.
    pub capacity: u64,
    /// For sale.
    pub free: u64,
    /// Held or claimed.
    pub held: u64,
    /// Sold.
    pub sold: u64,
    /// Taken off sale.
    pub blocked: u64,
}

/// A reservation as a list or a look shows it.
struct Row {
    id: String,
    outcome: Outcome,
    seats: Vec<String>,
}

/// What one customer's reservations come to.
#[derive(Default)]
struct Books {
    listed: u64,
    /// Live reservations and their seats.
    live: BTreeMap<String, Vec<String>>,
    forgotten: Vec<String>,
    changed: Vec<String>,
    unlisted: Vec<String>,
    untold: Vec<String>,
}

/// Checks every customer, then the event.
pub(super) async fn audit(sale: &OnSale, logs: &[CustomerLog], settings: &RushSettings) -> Result<Findings, RushError> {
    let mut findings = Findings::default();
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let deadline = Instant::now() + settings.list_deadline;
    let mut all = stream::iter(logs).map(|log| check_customer(sale, log, deadline)).buffer_unordered(CUSTOMERS);
    while let Some(books) = all.try_next().await? {
        findings.stored += books.listed;
        findings.forgotten.extend(books.forgotten);
        findings.changed.extend(books.changed);
        findings.unlisted.extend(books.unlisted);
        findings.untold.extend(books.untold);
        for (id, seats) in books.live {
            for seat in seats {
                owners.entry(seat).or_default().push(id.clone());
            }
        }
    }
    findings.seats_stored = owners.len() as u64;
    findings.two_owners = owners.into_iter().filter(|(_, ids)| ids.len() > 1).collect();
    findings.split_keys = logs.iter().flat_map(|log| log.split_keys.iter().cloned()).collect();
    if let Some(log) = logs.first() {
        let event = ask(sale, &log.client, &format!("/events/{}", sale.event_id)).await?;
        count_event(&event.body, settings.seats as u64, &mut findings);
    }
    Ok(findings)
}

/// Looks again at each reservation the customer was told of, then at the list, until it shows all that are live.
async fn check_customer(sale: &OnSale, log: &CustomerLog, deadline: Instant) -> Result<Books, RushError> {
    let mut books = Books::default();
    for told in &log.told {
        look_again(sale, log, told, &mut books).await?;
    }
    let expected: BTreeSet<String> = books.live.keys().cloned().collect();
    let rejected = |told: &&Told| told.outcome.as_ref().is_some_and(|outcome| outcome.status == "REJECTED");
    let told: BTreeSet<&str> = log.told.iter().filter(|told| !rejected(told)).map(|told| told.id.as_str()).collect();
    loop {
        let rows = list(sale, &log.client).await?;
        let listed: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        let missing: Vec<String> = expected.iter().filter(|id| !listed.contains(id.as_str())).cloned().collect();
        if !missing.is_empty() && Instant::now() < deadline {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        books.unlisted = missing;
        books.listed = rows.len() as u64;
        if !log.in_doubt {
            books.untold =
                rows.iter().filter(|row| !told.contains(row.id.as_str())).map(|row| row.id.clone()).collect();
        }
        for row in rows {
            merge_seats(books.live.entry(row.id).or_default(), row.seats);
        }
        return Ok(books);
    }
}

/// Whether a reservation still has the outcome its customer was told.
async fn look_again(sale: &OnSale, log: &CustomerLog, told: &Told, books: &mut Books) -> Result<(), RushError> {
    let Some(first) = &told.outcome else {
        if told.accepted {
            books.forgotten.push(told.id.clone());
        }
        return Ok(());
    };
    let answer = ask(sale, &log.client, &format!("/reservations/{}", told.id)).await?;
    match row(&answer.body).filter(|_| answer.status == 200) {
        Some(now) => {
            if !may_become(first, &now.outcome) {
                books.changed.push(format!("{}: {} became {}", told.id, first.status, now.outcome.status));
            }
            if now.outcome.is_live() {
                books.live.insert(now.id, now.seats);
            }
        }
        None => books.changed.push(format!("{}: {} became status {}", told.id, first.status, answer.status)),
    }
    Ok(())
}

/// An outcome stays; only a hold may still end, by its own expiry or confirmation.
fn may_become(first: &Outcome, now: &Outcome) -> bool {
    first == now || (first.status == "HELD" && matches!(now.status.as_str(), "CONFIRMED" | "EXPIRED"))
}

/// Two views of one reservation own together what either of them shows.
fn merge_seats(known: &mut Vec<String>, seats: Vec<String>) {
    for seat in seats {
        if !known.contains(&seat) {
            known.push(seat);
        }
    }
}

/// A customer's live reservations of this event, over all pages.
async fn list(sale: &OnSale, client: &ApiClient) -> Result<Vec<Row>, RushError> {
    let mut rows = Vec::new();
    let mut path = "/reservations?limit=100".to_owned();
    for _ in 0..PAGES {
        let page = ask(sale, client, &path).await?;
        let Some(entries) = page.body["reservations"].as_array().filter(|_| page.status == 200) else {
            return Err(refused(&path, &page));
        };
        let ours = entries.iter().filter(|entry| entry["event_id"] == sale.event_id.as_str());
        rows.extend(ours.filter_map(row).filter(|row| row.outcome.is_live()));
        let Some(cursor) = page.body["cursor"].as_str() else { return Ok(rows) };
        path = format!("/reservations?limit=100&cursor={}", in_query(cursor));
    }
    Err(RushError::Audit { path, status: 200, body: format!("a list of more than {PAGES} pages") })
}

/// A reservation from its JSON; `None` where it is none or still pending.
fn row(body: &Value) -> Option<Row> {
    let text = |field: &str| body[field].as_str().map(str::to_owned);
    let status = text("status").filter(|status| status != "PENDING")?;
    let seats = body["seats"].as_array()?.iter().filter_map(|seat| seat.as_str().map(str::to_owned)).collect();
    Some(Row { id: text("reservation_id")?, outcome: Outcome { status, reason: text("reason") }, seats })
}

/// Adds up the event's availability, section by section.
fn count_event(event: &Value, published: u64, findings: &mut Findings) {
    let sections = event["availability"].as_object();
    for (section, counts) in sections.into_iter().flatten() {
        let count = |state: &str| counts[state].as_u64().unwrap_or_default();
        let one = Capacity {
            capacity: count("capacity"),
            free: count("free"),
            held: count("held"),
            sold: count("sold"),
            blocked: count("blocked"),
        };
        if one.capacity != one.free + one.held + one.sold + one.blocked {
            findings.miscounted.push(format!("section {section}: {one:?}"));
        }
        let sum = &mut findings.capacity;
        sum.capacity += one.capacity;
        sum.free += one.free;
        sum.held += one.held;
        sum.sold += one.sold;
        sum.blocked += one.blocked;
    }
    if findings.capacity.capacity != published {
        findings.miscounted.push(format!("{} seats of {published} published", findings.capacity.capacity));
    }
}

/// Asks past every copy until there is an answer below 500.
async fn ask(sale: &OnSale, client: &ApiClient, path: &str) -> Result<Answer, RushError> {
    for _ in 0..REPEATS {
        if let Ok(answer) = sale.ask(client.send(Method::GET, path, &[("cache-control", "no-cache")], None)).await.0
            && answer.status < 500
        {
            return Ok(answer);
        }
        tokio::time::sleep(PAUSE).await;
    }
    let last = sale.ask(client.send(Method::GET, path, &[("cache-control", "no-cache")], None)).await.0?;
    if last.status < 500 { Ok(last) } else { Err(refused(path, &last)) }
}

/// The error for an answer the audit cannot use.
fn refused(path: &str, answer: &Answer) -> RushError {
    let body = String::from_utf8_lossy(&answer.raw).into_owned();
    RushError::Audit { path: path.to_owned(), status: answer.status, body }
}

/// A cursor is opaque, so everything that could mean something in a query is percent-encoded (RFC 3986, 2.3).
fn in_query(cursor: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    cursor.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opaque_cursor_survives_the_query() {
        assert_eq!(in_query("aZ9-._~+/=&%ü"), "aZ9-._~%2B%2F%3D%26%25%C3%BC");
    }

    #[test]
    fn only_a_hold_may_still_end() {
        let outcome = |status: &str| Outcome { status: status.to_owned(), reason: None };
        assert!(may_become(&outcome("HELD"), &outcome("HELD")));
        assert!(may_become(&outcome("HELD"), &outcome("EXPIRED")));
        assert!(!may_become(&outcome("HELD"), &outcome("REJECTED")));
        assert!(!may_become(&outcome("REJECTED"), &outcome("HELD")));
        assert!(!may_become(&outcome("EXPIRED"), &outcome("CONFIRMED")));
    }
}
