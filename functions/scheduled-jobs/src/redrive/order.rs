//! What an administrator asks of a redrive, as JSON of the job's event or words of a command line, made sure of at once.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Entries a list shows, unless it is told a limit.
const LISTED: usize = 100;
/// Entries of a list, or replayed in one run, at most. Each takes some 300 bytes of the report, and a report has 6 MB.
pub const MAX_LIMIT: usize = 10_000;
/// Entries that may be named at once.
pub const MAX_NAMED: usize = 100;

/// Names an entry of a failure topic by its place: `<topic>-<partition>@<offset>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryId {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}@{}", self.topic, self.partition, self.offset)
    }
}

/// Why an order cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoOrder(String);

impl NoOrder {
    /// With this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl FromStr for EntryId {
    type Err = NoOrder;

    fn from_str(text: &str) -> Result<Self, NoOrder> {
        let parsed = text.rsplit_once('@').and_then(|(partition, offset)| {
            let (topic, partition) = topic_and_partition(partition)?;
            let offset = number(offset)?;
            Some(Self { topic, partition, offset })
        });
        parsed.ok_or_else(|| NoOrder::new(format!("{text:?} is no entry: <topic>-<partition>@<offset>")))
    }
}

impl TryFrom<String> for EntryId {
    type Error = NoOrder;

    fn try_from(text: String) -> Result<Self, NoOrder> {
        text.parse()
    }
}

impl From<EntryId> for String {
    fn from(id: EntryId) -> Self {
        id.to_string()
    }
}

/// Topic and partition of `<topic>-<partition>`.
pub fn topic_and_partition(text: &str) -> Option<(String, i32)> {
    let (topic, partition) = text.rsplit_once('-')?;
    Some((topic.to_owned(), number(partition)?)).filter(|(topic, _)| !topic.is_empty())
}

/// A number of digits alone, so that each place has one name.
fn number<T: FromStr>(digits: &str) -> Option<T> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
    if plain { digits.parse().ok() } else { None }
}

/// One of the two failure topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Our dead letters: what can never be handled.
    Dlq,
    /// What the event source gave up.
    Failed,
}

/// What a redrive is to do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Asked")]
pub enum Order {
    /// Show what there is.
    List {
        /// In one of the topics only.
        topic: Option<Topic>,
        /// Begin behind this entry.
        after: Option<EntryId>,
        /// Most entries.
        limit: usize,
    },
    /// Show all of one entry.
    Show(EntryId),
    /// Produce again what entries keep.
    Replay {
        /// Which entries.
        which: Which,
        /// Only say what would be done.
        dry_run: bool,
    },
}

/// Which entries to replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// These.
    Named(Vec<EntryId>),
    /// All that stood there when the run began and no earlier run has passed.
    All {
        /// Of one of the topics only.
        topic: Option<Topic>,
        /// Whether to begin at the first that is retained, whatever earlier runs have passed.
        from_start: bool,
        /// Most entries in this run.
        limit: usize,
    },
}

/// An order as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asked {
    /// What to do; listing unless said.
    pub action: Action,
    /// For `list` and `replay` of all: one of the topics.
    pub topic: Option<Topic>,
    /// For `list`: where to go on.
    pub after: Option<EntryId>,
    /// For `list` and `replay` of all: most entries.
    pub limit: Option<usize>,
    /// For `show`: which.
    pub entry: Option<EntryId>,
    /// For `replay`: which.
    pub entries: Vec<EntryId>,
    /// For `replay`: all.
    pub all: bool,
    /// For `replay` of all: whatever earlier runs have passed.
    pub from_start: bool,
    /// For `replay`: only say what would be done.
    pub dry_run: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Show what there is.
    #[default]
    List,
    /// Show all of one entry.
    Show,
    /// Produce again what entries keep.
    Replay,
}

impl TryFrom<Asked> for Order {
    type Error = NoOrder;

    fn try_from(asked: Asked) -> Result<Self, NoOrder> {
        let limit = asked.limit.unwrap_or(if asked.action == Action::List { LISTED } else { MAX_LIMIT });
        if limit == 0 || limit > MAX_LIMIT {
            return Err(NoOrder::new(format!("limit must be 1 to {MAX_LIMIT}")));
        }
        // What would have no effect is a misunderstanding, and the next one may be dearer.
        let list = Asked { topic: asked.topic, after: asked.after.clone(), limit: asked.limit, ..Asked::default() };
        let show = Asked { action: Action::Show, entry: asked.entry.clone(), ..Asked::default() };
        let named = Asked { action: Action::Replay, entries: asked.entries.clone(), ..Asked::default() };
        let named = Asked { dry_run: asked.dry_run, ..named };
        let all = Asked { topic: asked.topic, limit: asked.limit, from_start: asked.from_start, ..named.clone() };
        let all = Asked { all: true, entries: Vec::new(), ..all };
        match asked.action {
            Action::List if asked == list => Ok(Self::List { topic: asked.topic, after: asked.after, limit }),
            Action::List => Err(NoOrder::new("to list takes topic, after and limit, and nothing else")),
            Action::Show if asked == show => match asked.entry {
                Some(entry) => Ok(Self::Show(entry)),
                None => Err(NoOrder::new("to show names an entry")),
            },
            Action::Show => Err(NoOrder::new("to show takes an entry, and nothing else")),
            Action::Replay if asked == all => {
                let which = Which::All { topic: asked.topic, from_start: asked.from_start, limit };
                Ok(Self::Replay { which, dry_run: asked.dry_run })
            }
            Action::Replay if asked == named && (1..=MAX_NAMED).contains(&asked.entries.len()) => {
                Ok(Self::Replay { which: Which::Named(asked.entries), dry_run: asked.dry_run })
            }
            Action::Replay => Err(NoOrder::new(format!(
                "to replay names 1 to {MAX_NAMED} entries, or says all, which takes topic, from_start and limit"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn order(asked: Value) -> Result<Order, String> {
        serde_json::from_value(asked).map_err(|error| error.to_string())
    }

    #[test]
    fn an_entry_has_one_name() {
        let id = EntryId { topic: "reservation-requests-dlq".into(), partition: 3, offset: 17 };
        assert_eq!("reservation-requests-dlq-3@17".parse(), Ok(id.clone()));
        assert_eq!(id.to_string(), "reservation-requests-dlq-3@17");
        for wrong in
            ["", "t", "t-1", "t@1", "-1@1", "t-@1", "t-1@", "t-01@1", "t-1@+1", "t-1@-1", "t-1@99999999999999999999"]
        {
            assert!(wrong.parse::<EntryId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_order_says_what_it_means() {
        assert_eq!(order(json!({})), Ok(Order::List { topic: None, after: None, limit: LISTED }));
        let entry: EntryId = "t-1@2".parse().unwrap();
        assert_eq!(order(json!({ "action": "show", "entry": "t-1@2" })), Ok(Order::Show(entry.clone())));
        let named = Order::Replay { which: Which::Named(vec![entry]), dry_run: true };
        assert_eq!(order(json!({ "action": "replay", "entries": ["t-1@2"], "dry_run": true })), Ok(named));
        let which = Which::All { topic: Some(Topic::Failed), from_start: true, limit: 5 };
        assert_eq!(
            order(json!({ "action": "replay", "all": true, "topic": "failed", "from_start": true, "limit": 5 })),
            Ok(Order::Replay { which, dry_run: false })
        );
    }

    #[test]
    fn an_order_that_could_be_a_misunderstanding_is_none() {
        for wrong in [
            json!({ "action": "replay" }),
            json!({ "action": "replay", "entries": [] }),
            json!({ "action": "replay", "all": true, "entries": ["t-1@2"] }),
            json!({ "action": "replay", "entries": ["t-1@2"], "from_start": true }),
            json!({ "action": "replay", "entries": ["t-1@2"], "limit": 1 }),
            json!({ "action": "replay", "entries": vec!["t-1@2"; MAX_NAMED + 1] }),
            json!({ "action": "replay", "all": true, "limit": 0 }),
            json!({ "action": "replay", "all": true, "limit": MAX_LIMIT + 1 }),
            json!({ "action": "replay", "all": true, "dryrun": true }),
            json!({ "action": "show" }),
            json!({ "action": "show", "entry": "t-1@2", "all": true }),
            json!({ "dry_run": true }),
            json!({ "action": "list", "entries": ["t-1@2"] }),
            json!({ "action": "drop" }),
            json!({ "action": "show", "entry": "t" }),
        ] {
            assert!(order(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
