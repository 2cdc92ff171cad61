//! The table that ends a rush.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{Findings, RushSettings, customer::CustomerLog};

/// The width of the table, in columns: a terminal of 80, less a margin.
const WIDTH: usize = 76;

/// How many of one kind of finding are shown; the count tells of the others.
const EXAMPLES: usize = 5;

/// What a rush came to. `Display` is the table.
#[derive(Clone, Debug)]
pub struct RushReport {
    /// The event that was sold; it is still there.
    pub event_id: String,
    /// The seed, to ask for the same seats again.
    pub seed: u64,
    /// How many wanted seats.
    pub customers: u64,
    /// How many seats there were.
    pub seats: u64,
    /// From the first request to the last outcome.
    pub elapsed: Duration,
    /// Requests to reserve. Each was accepted, refused or not answered.
    pub asked: u64,
    /// Those of them that asked a key again.
    pub repeated: u64,
    /// Answers by which a reservation was accepted.
    pub accepted: u64,
    /// Reservations that became HELD.
    pub won: u64,
    /// Requests refused at once, by problem type.
    pub refused: BTreeMap<String, u64>,
    /// Accepted reservations that were not held after all, by reason (or status, where there is none).
    pub rejected: BTreeMap<String, u64>,
    /// Requests without an answer.
    pub unanswered: u64,
    /// Reservations whose customer was told 503 to the last and that have no outcome.
    pub in_doubt: u64,
    /// Customers who gave up because the seat map showed nothing free.
    pub nothing_free: u64,
    /// The latency that half of the answers to reserve keep within.
    pub p50: Duration,
    /// The latency that 99 of 100 answers to reserve keep within.
    pub p99: Duration,
    /// What the books say.
    pub findings: Findings,
}

impl RushReport {
    /// Adds up what all customers saw.
    pub(super) fn new(
        settings: &RushSettings,
        event_id: &str,
        elapsed: Duration,
        logs: &[CustomerLog],
        findings: Findings,
    ) -> Self {
        let mut latencies: Vec<Duration> = logs.iter().flat_map(|log| log.latencies.iter().copied()).collect();
        latencies.sort_unstable();
        let mut report = Self {
            event_id: event_id.to_owned(),
            seed: settings.seed,
            customers: settings.customers as u64,
            seats: settings.seats as u64,
            elapsed,
            asked: 0,
            repeated: 0,
            accepted: 0,
            won: 0,
            refused: BTreeMap::new(),
            rejected: BTreeMap::new(),
            unanswered: 0,
            in_doubt: 0,
            nothing_free: 0,
            p50: percentile(&latencies, 50),
            p99: percentile(&latencies, 99),
            findings,
        };
        for log in logs {
            report.add(log);
        }
        report
    }

    /// Adds one customer.
    fn add(&mut self, log: &CustomerLog) {
        self.asked += log.asked;
        self.accepted += log.accepted;
        self.repeated += log.repeated;
        self.unanswered += log.unanswered;
        self.nothing_free += u64::from(log.nothing_free);
        for (reason, count) in &log.refused {
            *self.refused.entry(reason.clone()).or_default() += count;
        }
        for told in &log.told {
            match &told.outcome {
                Some(outcome) if outcome.is_live() => self.won += 1,
                Some(outcome) => {
                    let reason = outcome.reason.as_ref().unwrap_or(&outcome.status);
                    *self.rejected.entry(reason.clone()).or_default() += 1;
                }
                None => self.in_doubt += u64::from(!told.accepted),
            }
        }
    }

    /// 0 where every promise was kept, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        u8::from(self.broken() > 0)
    }

    /// How many promises were broken.
    fn broken(&self) -> usize {
        self.promises().iter().map(|(_, findings)| findings.len()).sum()
    }

    /// Every promise by what its breach is called, with the breaches found.
    fn promises(&self) -> [(&'static str, Vec<String>); 8] {
        let found = &self.findings;
        let owners = found.two_owners.iter().map(|(seat, ids)| format!("{seat} is owned by {}", ids.join(" and ")));
        [
            ("seats with two owners", owners.collect()),
            ("accepted and forgotten", found.forgotten.clone()),
            ("outcomes that changed", found.changed.clone()),
            ("keys with two reservations", found.split_keys.clone()),
            ("held but not in the list", found.unlisted.clone()),
            ("held and never told", found.untold.clone()),
            ("outcomes unlike the topic's", found.heard_otherwise.clone()),
            ("capacities that do not add up", found.miscounted.clone()),
        ]
    }
}

impl fmt::Display for RushReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = "─".repeat(WIDTH);
        let sum = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
        let (wanting, seats) = (grouped(self.customers), grouped(self.seats));
        writeln!(f, "{}: {wanting} customers, {seats} seats, {:.1} s", self.event_id, self.elapsed.as_secs_f64())?;
        writeln!(f, "{rule}")?;
        line(f, "asked", self.asked, &format!("requests, {} of them repeating a key", grouped(self.repeated)))?;
        line(f, "accepted", self.accepted, "answers")?;
        line(f, "won", self.won, "reservations held")?;
        line(f, "refused", sum(&self.refused), "requests")?;
        for (reason, count) in &self.refused {
            line(f, &format!("  {reason}"), *count, "")?;
        }
        line(f, "rejected after 202", sum(&self.rejected), "reservations")?;
        for (reason, count) in &self.rejected {
            line(f, &format!("  {reason}"), *count, "")?;
        }
        line(f, "not answered", self.unanswered, "requests")?;
        line(f, "in doubt to the end", self.in_doubt, "reservations")?;
        line(f, "found nothing free", self.nothing_free, "customers")?;
        writeln!(f, "{:<31}{:>9}   p99 {}", "latency of an answer: p50", millis(self.p50), millis(self.p99))?;
        writeln!(f, "{rule}")?;
        let stored = format!("of {} held, {} seats in them", grouped(self.won), grouped(self.findings.seats_stored));
        line(f, "reservations stored", self.findings.stored, &stored)?;
        if let Some(heard) = self.findings.heard {
            line(f, "outcomes in the topic", heard, "")?;
        }
        let count = &self.findings.capacity;
        line(f, "seats in the event", count.capacity, "")?;
        for (state, seats) in
            [("free", count.free), ("held", count.held), ("sold", count.sold), ("blocked", count.blocked)]
        {
            line(f, &format!("  {state}"), seats, "")?;
        }
        for (breach, found) in self.promises() {
            line(f, breach, found.len() as u64, if found.is_empty() { "" } else { "<-- WRONG" })?;
        }
        writeln!(f, "{rule}")?;
        self.verdict(f)
    }
}

impl RushReport {
    /// The last lines: all is well, or what is not, with examples.
    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.broken() == 0 {
            return write!(f, "Every promise was kept.");
        }
        for (breach, found) in self.promises().iter().filter(|(_, found)| !found.is_empty()) {
            writeln!(f, "{breach}:")?;
            for example in found.iter().take(EXAMPLES) {
                wrapped(f, example)?;
            }
        }
        let times = match self.broken() as u64 {
            1 => "once".to_owned(),
            more => format!("{} times", grouped(more)),
        };
        write!(f, "A promise was broken {times} (seed {}).", self.seed)
    }
}

/// One line of the table: what, how many, of what.
fn line(f: &mut fmt::Formatter<'_>, what: &str, count: u64, of: &str) -> fmt::Result {
    writeln!(f, "{}", format!("{what:<31}{:>9}   {of}", grouped(count)).trim_end())
}

/// An example, indented, over as many lines as it takes.
fn wrapped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let mut column = 0;
    for word in text.split(' ') {
        if column == 0 || column + 1 + word.len() > WIDTH {
            write!(f, "{}    {word}", if column == 0 { "" } else { "\n" })?;
            column = 4 + word.len();
        } else {
            write!(f, " {word}")?;
            column += 1 + word.len();
        }
    }
    writeln!(f)
}

/// The smallest value that this share of the sorted values keeps within (nearest rank); zero where there is none.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// Milliseconds with one decimal.
fn millis(latency: Duration) -> String {
    format!("{:.1} ms", latency.as_secs_f64() * 1e3)
}

/// A number with a comma for the thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let sorted: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!((percentile(&sorted, 50), percentile(&sorted, 99)), (sorted[99], sorted[197]));
        assert_eq!((percentile(&sorted[..1], 50), percentile(&sorted[..1], 99)), (sorted[0], sorted[0]));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }

    #[test]
    fn thousands_are_grouped() {
        let texts = [0, 999, 1_000, 12_345, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }
}
