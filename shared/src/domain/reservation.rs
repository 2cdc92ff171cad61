//! What becomes of a reservation: its outcome, written once, and its status, which moves only as [`Status::after`] says.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ids::SeatId;

/// Where a reservation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Accepted; nothing stored yet.
    Pending,
    /// Stored; the seats are the customer's until the hold ends.
    Held,
    /// Refused by DynamoDB's condition, or closed before it was stored.
    Rejected,
    /// Paid.
    Confirmed,
    /// Given up by the customer.
    Cancelled,
    /// The hold ran out.
    Expired,
}

/// What may happen to a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The conditional transaction made it.
    Hold,
    /// The conditional transaction refused it, or it was closed.
    Reject,
    /// It was paid.
    Confirm,
    /// The customer gave it up.
    Cancel,
    /// Its hold ran out.
    Expire,
}

impl Status {
    /// The status after `step`, or `None` where the step is not allowed.
    pub fn after(self, step: Step) -> Option<Status> {
        match (self, step) {
            (Status::Pending, Step::Hold) => Some(Status::Held),
            (Status::Pending, Step::Reject) => Some(Status::Rejected),
            (Status::Held, Step::Confirm) => Some(Status::Confirmed),
            (Status::Pending | Status::Held | Status::Confirmed, Step::Cancel) => Some(Status::Cancelled),
            (Status::Held, Step::Expire) => Some(Status::Expired),
            _ => None,
        }
    }

    /// Whether no step leads out of it.
    pub fn is_terminal(self) -> bool {
        matches!(self, Status::Rejected | Status::Cancelled | Status::Expired)
    }

    /// How a stored status reads at `now_ms`: a hold past its expiry reads as expired, swept or not.
    /// Without a clock to ask (`None`) it reads as it is stored.
    #[must_use]
    pub fn read_at(self, expires_at_ms: i64, now_ms: Option<i64>) -> Status {
        match (self, now_ms) {
            (Status::Held, Some(now)) if expires_at_ms <= now => Status::Expired,
            (status, _) => status,
        }
    }

    /// How far along it is: no step leads to a lower one. What is told of a reservation is ordered by it.
    pub fn rank(self) -> u8 {
        match self {
            Status::Pending => 0,
            Status::Held => 1,
            Status::Confirmed => 2,
            Status::Rejected | Status::Cancelled | Status::Expired => 3,
        }
    }

    /// The name used on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "PENDING",
            Status::Held => "HELD",
            Status::Rejected => "REJECTED",
            Status::Confirmed => "CONFIRMED",
            Status::Cancelled => "CANCELLED",
            Status::Expired => "EXPIRED",
        }
    }
}

/// Why a reservation was rejected. The names are the `type` slugs callers see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Somebody else owns one of the seats.
    SeatsTaken,
    /// Somebody else was given the place first.
    Contended,
    /// The customer has as many live seats as the event allows.
    LimitReached,
    /// The sale had not begun at the time of the claim.
    SaleNotOpen,
    /// The sale was over at the time of the claim.
    SaleClosed,
    /// The claim ended before anything was stored.
    Lapsed,
}

impl Reason {
    /// The slug.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::SeatsTaken => "seats-taken",
            Reason::Contended => "contended",
            Reason::LimitReached => "limit-reached",
            Reason::SaleNotOpen => "sale-not-open",
            Reason::SaleClosed => "sale-closed",
            Reason::Lapsed => "lapsed",
        }
    }
}

/// What became of a request; written once, with the row, and never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "reason", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// The seats are held.
    Held,
    /// It was refused.
    Rejected(Reason),
    /// It was given up before it was stored.
    Cancelled,
}

impl Outcome {
    /// The step it stands for.
    pub fn step(self) -> Step {
        match self {
            Outcome::Held => Step::Hold,
            Outcome::Rejected(_) => Step::Reject,
            Outcome::Cancelled => Step::Cancel,
        }
    }

    /// The name used on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Held => "HELD",
            Outcome::Rejected(_) => "REJECTED",
            Outcome::Cancelled => "CANCELLED",
        }
    }

    /// Why it was refused, where it was.
    pub fn reason(self) -> Option<Reason> {
        match self {
            Outcome::Rejected(reason) => Some(reason),
            Outcome::Held | Outcome::Cancelled => None,
        }
    }
}

/// An outcome with what belongs to it, as record, row and answer carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What became of the request.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The seats that somebody else owned, where that was the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<SeatId>,
}

impl Decision {
    /// An outcome without taken seats.
    pub fn plain(outcome: Outcome) -> Self {
        Self { outcome, taken: Vec::new() }
    }
}

/// What is told of a stored reservation: its outcome, and how it stood when it was told. Short, because Redis keeps one of
/// every reservation for a day: the status is left out where the outcome says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// What became of the request.
    #[serde(flatten)]
    pub decision: Decision,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    /// Until when its hold was prolonged, in milliseconds since the epoch; `None` = it ends as its request says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prolonged_to_ms: Option<i64>,
}

impl Told {
    /// What is told of a reservation that stands so.
    pub fn new(decision: Decision, status: Status, prolonged_to_ms: Option<i64>) -> Self {
        let prolonged_to_ms = prolonged_to_ms.filter(|_| status == Status::Held);
        let said = Status::Pending.after(decision.outcome.step());
        Self { decision, status: (said != Some(status)).then_some(status), prolonged_to_ms }
    }

    /// Where it stood.
    pub fn status(&self) -> Status {
        let said = || Status::Pending.after(self.decision.outcome.step());
        self.status.or_else(said).unwrap_or(Status::Pending)
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// As a record keeps it.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STATUSES: [Status; 6] =
        [Status::Pending, Status::Held, Status::Rejected, Status::Confirmed, Status::Cancelled, Status::Expired];
    const STEPS: [Step; 5] = [Step::Hold, Step::Reject, Step::Confirm, Step::Cancel, Step::Expire];

    #[test]
    fn nothing_leads_out_of_a_terminal_status_and_something_out_of_every_other() {
        for status in STATUSES {
            let moves = STEPS.iter().filter(|step| status.after(**step).is_some()).count();
            assert_eq!(moves == 0, status.is_terminal(), "{status:?}");
        }
    }

    #[test]
    fn a_hold_reads_as_expired_from_its_last_millisecond_on() {
        assert_eq!(Status::Held.read_at(1_000, Some(999)), Status::Held);
        assert_eq!(Status::Held.read_at(1_000, Some(1_000)), Status::Expired);
        assert_eq!(Status::Held.read_at(1_000, None), Status::Held);
        assert_eq!(Status::Confirmed.read_at(1_000, Some(5_000)), Status::Confirmed);
    }

    proptest! {
        #[test]
        fn any_walk_holds_confirms_and_ends_at_most_once(walk in prop::collection::vec(prop::sample::select(&STEPS[..]), 0..40)) {
            let mut status = Status::Pending;
            let (mut held, mut confirmed, mut ended) = (0, 0, 0);
            for step in walk {
                if let Some(next) = status.after(step) {
                    prop_assert!(next.rank() > status.rank());
                    status = next;
                    held += u32::from(status == Status::Held);
                    confirmed += u32::from(status == Status::Confirmed);
                    ended += u32::from(status.is_terminal());
                }
            }
            prop_assert!(held <= 1 && confirmed <= held && ended <= 1);
        }
    }
}
