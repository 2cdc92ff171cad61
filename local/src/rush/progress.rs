//! What is shown while customers buy: a bar on a terminal, and a plain line now and then where output goes to a file.

use std::{
    io::IsTerminal,
    sync::{Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Counters, RushSettings, report::grouped};

/// How often a line is written where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(2);

/// The bar and the longest counters fit 80 columns together.
const TEMPLATE: &str = "{bar:24} {percent:>3}%  {elapsed:>3}  {msg}";

/// Shows how far a rush is.
pub(super) struct Progress {
    customers: usize,
    kind: Kind,
}

enum Kind {
    Silent,
    Bar(ProgressBar),
    /// With the time of the last line.
    Lines(Mutex<Instant>),
}

impl Progress {
    /// Says what is about to happen; the seed comes first, so that it is known even if the rush never ends.
    pub(super) fn begin(settings: &RushSettings, event_id: &str) -> Self {
        let customers = settings.customers;
        if !settings.show_progress {
            return Self { customers, kind: Kind::Silent };
        }
        let (wanting, seats) = (grouped(customers as u64), grouped(settings.seats as u64));
        println!("{event_id}: {wanting} customers for {seats} seats (seed {})", settings.seed);
        if !std::io::stdout().is_terminal() {
            return Self { customers, kind: Kind::Lines(Mutex::new(Instant::now())) };
        }
        let bar = ProgressBar::with_draw_target(Some(customers as u64), ProgressDrawTarget::stdout());
        let style = ProgressStyle::with_template(TEMPLATE).expect("a constant that a test parses");
        bar.set_style(style.progress_chars("━╸─"));
        Self { customers, kind: Kind::Bar(bar) }
    }

    /// Shows how many customers are done, and what all of them have been answered so far.
    pub(super) fn show(&self, done: usize, counters: &Counters) {
        let count = |counter: &std::sync::atomic::AtomicU64| grouped(counter.load(Ordering::Relaxed));
        let (asked, won, refused) = (count(&counters.asked), count(&counters.won), count(&counters.refused));
        match &self.kind {
            Kind::Silent => {}
            Kind::Bar(bar) => {
                bar.set_position(done as u64);
                bar.set_message(format!("asked {asked} won {won} refused {refused}"));
            }
            Kind::Lines(last) => {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.elapsed() >= PLAIN_EVERY || done == self.customers {
                    *last = Instant::now();
                    let (done, customers) = (grouped(done as u64), grouped(self.customers as u64));
                    println!("{done} of {customers} done; asked {asked}, won {won}, refused {refused}");
                }
            }
        }
    }

    /// All have bought; the books come next.
    pub(super) fn checking(&self) {
        match &self.kind {
            Kind::Silent => {}
            Kind::Bar(bar) => bar.set_message("checking what is stored"),
            Kind::Lines(_) => println!("checking what is stored"),
        }
    }

    /// Makes room for the report.
    pub(super) fn end(&self) {
        if let Kind::Bar(bar) = &self.kind {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_and_the_longest_counters_fit_80_columns() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
        // Bar, percentage and elapsed time as the template lays them out, then the message of the largest rush: three
        // tries of 200,000 customers.
        let rest = "100%  10m  asked 720,000 won 20,000 refused 600,000";
        assert!(24 + 1 + rest.len() <= 80, "{} columns", 25 + rest.len());
    }
}
