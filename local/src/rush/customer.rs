//! One customer: wants seats, asks, waits for the outcome, and looks at the seat map before asking again.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rand::rngs::StdRng;

use super::{Counters, OnSale};
use crate::client::{Answer, ApiClient, ClientError};

/// How often a customer picks seats before giving up.
const TRIES: usize = 3;

/// How often one key is asked again after 503 or no answer at all, before the customer gives it up in doubt.
const REPEATS: usize = 5;

/// The longest pause before a key is asked again, whatever `Retry-After` says: the rush should end.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The pause where an answer names none, and the first one between two looks at a pending reservation.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between two looks at a pending reservation.
const POLL_PAUSE: Duration = Duration::from_secs(1);

/// Somebody who wants seats.
pub(super) struct Customer {
    pub(super) name: String,
    pub(super) client: ApiClient,
    /// Sends each request twice at once, under one key.
    pub(super) impatient: bool,
    pub(super) rng: StdRng,
}

/// What happened to one customer.
pub(super) struct CustomerLog {
    /// Asks as this customer.
    pub(super) client: ApiClient,
    /// Requests to reserve that were sent.
    pub(super) asked: u64,
    /// Those of them whose answer accepted a reservation.
    pub(super) accepted: u64,
    /// Those of them that repeated a key.
    pub(super) repeated: u64,
    /// How long each answer took.
    pub(super) latencies: Vec<Duration>,
    /// Refusals at once, by problem type.
    pub(super) refused: BTreeMap<String, u64>,
    /// Requests without any answer.
    pub(super) unanswered: u64,
    /// Reservations this customer was told of.
    pub(super) told: Vec<Told>,
    /// Keys under which two different reservations were accepted.
    pub(super) split_keys: Vec<String>,
    /// Whether a key was given up with 503 or no answer, so that a reservation may exist that the customer never heard of.
    pub(super) in_doubt: bool,
    /// Whether the customer gave up because no seat was free.
    pub(super) nothing_free: bool,
}

/// A reservation the customer was told of.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) id: String,
    /// Told "accepted", not "in doubt".
    pub(super) accepted: bool,
    /// The first status other than PENDING, with the reason if it is a rejection.
    pub(super) outcome: Option<Outcome>,
}

/// How a reservation ended up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) status: String,
    pub(super) reason: Option<String>,
}

/// How one key was answered in the end.
enum Verdict {
    Accepted { id: String, outcome: Option<Outcome> },
    Refused,
    InDoubt { id: Option<String> },
}

/// One key asked until it was answered.
struct Asked {
    latencies: Vec<Duration>,
    refused: Vec<String>,
    unanswered: u64,
    asked: u64,
    verdict: Verdict,
}

impl Outcome {
    /// The outcome in the answer to a look at a reservation; `None` while there is none.
    pub(super) fn of(answer: &Answer) -> Option<Self> {
        let status = answer.text("status").filter(|status| answer.status < 300 && *status != "PENDING")?;
        Some(Self { status: status.to_owned(), reason: answer.text("reason").map(str::to_owned) })
    }

    /// Whether the reservation owns its seats.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.status.as_str(), "HELD" | "CONFIRMED")
    }
}

impl Customer {
    /// Tries to get seats, up to [`TRIES`] times.
    pub(super) async fn buy(mut self, sale: &OnSale) -> CustomerLog {
        let mut log = CustomerLog::new(self.client.clone());
        for attempt in 1..=TRIES {
            let free = if attempt == 1 { None } else { sale.seat_map.free(sale, &self.client).await };
            let wish = match &free {
                Some(free) => sale.venue.choose(free, &mut self.rng),
                // At first, and without a map, the customer tries their luck.
                None => sale.venue.any(&mut self.rng),
            };
            if wish.is_empty() {
                log.nothing_free = true;
                break;
            }
            if self.try_seats(&format!("{}-{attempt}", self.name), &wish, sale, &mut log).await {
                Counters::count(&sale.counters.won);
                break;
            }
        }
        log
    }

    /// Asks for these seats under this key, waits for the outcome and says whether the customer now owns seats.
    async fn try_seats(&self, key: &str, wish: &[&str], sale: &OnSale, log: &mut CustomerLog) -> bool {
        let mut told = Vec::new();
        if self.impatient {
            let (one, other) = tokio::join!(self.ask(key, wish, sale), self.ask(key, wish, sale));
            log.repeated += 1;
            log.take(one, &mut told);
            log.take(other, &mut told);
        } else {
            log.take(self.ask(key, wish, sale).await, &mut told);
        }
        if told.iter().filter(|one| one.accepted).count() > 1 {
            log.split_keys.push(key.to_owned());
        }
        for one in &mut told {
            if one.outcome.is_none() {
                one.outcome = self.follow(&one.id, sale).await;
            }
        }
        let won = told.iter().any(|one| one.outcome.as_ref().is_some_and(Outcome::is_live));
        log.told.extend(told);
        won
    }

    /// Asks until there is an answer other than 503.
    async fn ask(&self, key: &str, wish: &[&str], sale: &OnSale) -> Asked {
        let verdict = Verdict::InDoubt { id: None };
        let mut asked = Asked { latencies: Vec::new(), refused: Vec::new(), unanswered: 0, asked: 0, verdict };
        for _ in 0..=REPEATS {
            asked.asked += 1;
            let question = async {
                Counters::count(&sale.counters.asked);
                self.client.reserve(&sale.event_id, key, wish).await
            };
            let (answer, latency) = sale.ask(question).await;
            let pause = asked.hear(answer, latency);
            if !matches!(asked.verdict, Verdict::InDoubt { .. }) {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        if matches!(asked.verdict, Verdict::Refused) {
            Counters::count(&sale.counters.refused);
        }
        asked
    }

    /// Looks at a reservation until it has an outcome; `None` once the deadline has passed without one.
    async fn follow(&self, id: &str, sale: &OnSale) -> Option<Outcome> {
        let deadline = Instant::now() + sale.outcome_deadline;
        let path = format!("/reservations/{id}");
        let mut pause = FIRST_PAUSE;
        loop {
            // A refusal or a lost answer is no outcome: what counts is what is known at the deadline.
            if let Ok(answer) = sale.ask(self.client.get(&path)).await.0
                && let Some(outcome) = Outcome::of(&answer)
            {
                return Some(outcome);
            }
            if Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL_PAUSE);
        }
    }
}

impl Asked {
    /// Takes in one answer, and says how long to wait if it must be asked again.
    fn hear(&mut self, answer: Result<Answer, ClientError>, latency: Duration) -> Duration {
        let Ok(answer) = answer else {
            self.unanswered += 1;
            return FIRST_PAUSE;
        };
        self.latencies.push(latency);
        let id = answer.text("reservation_id").map(str::to_owned);
        match (answer.refusal(), id) {
            (None, Some(id)) => self.verdict = Verdict::Accepted { id, outcome: Outcome::of(&answer) },
            // A success that names no reservation is no success one could follow up.
            (None, None) => self.refuse("answer-without-id".to_owned()),
            (Some(reason), id) if answer.status >= 500 => {
                self.refused.push(reason);
                // An id once heard stays in doubt, even if a later answer to the same key brings none.
                if let (Some(id), Verdict::InDoubt { id: known }) = (id, &mut self.verdict) {
                    *known = Some(id);
                }
            }
            (Some(reason), _) => self.refuse(reason),
        }
        let seconds = answer.header("retry-after").and_then(|value| value.parse().ok());
        seconds.map_or(FIRST_PAUSE, Duration::from_secs).min(LONGEST_PAUSE)
    }

    /// The key is refused for good.
    fn refuse(&mut self, reason: String) {
        self.refused.push(reason);
        self.verdict = Verdict::Refused;
    }
}

impl CustomerLog {
    pub(super) fn new(client: ApiClient) -> Self {
        Self {
            client,
            asked: 0,
            accepted: 0,
            repeated: 0,
            latencies: Vec::new(),
            refused: BTreeMap::new(),
            unanswered: 0,
            told: Vec::new(),
            split_keys: Vec::new(),
            in_doubt: false,
            nothing_free: false,
        }
    }

    /// Adds up one key's answers. A reservation that is already among `told` under the same id is the same one.
    fn take(&mut self, asked: Asked, told: &mut Vec<Told>) {
        self.asked += asked.asked;
        self.accepted += u64::from(matches!(asked.verdict, Verdict::Accepted { .. }));
        self.repeated += asked.asked - 1;
        self.latencies.extend(asked.latencies);
        self.unanswered += asked.unanswered;
        for reason in asked.refused {
            *self.refused.entry(reason).or_default() += 1;
        }
        let (id, accepted, outcome) = match asked.verdict {
            Verdict::Accepted { id, outcome } => (id, true, outcome),
            Verdict::InDoubt { id: Some(id) } => (id, false, None),
            Verdict::InDoubt { id: None } => {
                self.in_doubt = true;
                return;
            }
            Verdict::Refused => return,
        };
        match told.iter_mut().find(|one| one.id == id) {
            Some(known) => {
                known.accepted |= accepted;
                known.outcome = known.outcome.take().or(outcome);
            }
            None => told.push(Told { id, accepted, outcome }),
        }
    }
}
