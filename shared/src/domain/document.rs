//! The event document as an organiser sends it: its shape, its defaults, and the bounds it is held to.

use std::collections::HashSet;
use std::fmt;

use jiff::Timestamp;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, Object, OneOf, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::Invalid;
use super::ids::Label;
use super::json::from_json_strictly;
use super::money::{Cents, Currency};

/// Seats and places of one event. A claim script, a map and a load are all sized for it.
pub const MAX_SEATS_PER_EVENT: u32 = 200_000;
/// Sections of one event: the script that publishes them takes a key each, and a script takes at most 1,000 arguments.
pub const MAX_SECTIONS: usize = 300;
/// Rows of one section.
pub const MAX_ROWS_PER_SECTION: usize = 2_000;
/// Seats of one seated section: its map, at 60 bytes a seat with the longest labels, has to fit into one answer of a Lambda
/// (6 MB).
pub const MAX_SEATS_PER_SEATED_SECTION: u64 = 50_000;
/// Longest name of an event, venue or section, in characters.
pub const MAX_NAME_LENGTH: usize = 200;
/// Most seats one reservation may hold: 20 seat updates, the row and the limit stay below DynamoDB's 100 items a transaction.
pub const MAX_SEATS_PER_RESERVATION: usize = 20;
/// Longest hold, in seconds, and the most that extending may add; in all a hold may last twice as long.
pub const MAX_HOLD_SECONDS: u32 = 3_600;
/// Shortest hold a deployed system takes, in seconds. The local system allows [`MIN_LOCAL_HOLD_SECONDS`].
pub const MIN_HOLD_SECONDS: u32 = 60;
/// Shortest hold of the local system, in seconds: short enough to watch one run out.
pub const MIN_LOCAL_HOLD_SECONDS: u32 = 1;
/// Largest `max_per_customer`.
pub const MAX_LIMIT: u32 = 10_000;

/// Whether seats are being sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SaleState {
    /// Open, inside the sale window.
    #[default]
    OnSale,
    /// Stopped for a while.
    Paused,
    /// Over for good.
    Ended,
}

impl SaleState {
    /// The name used on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnSale => "on_sale",
            Self::Paused => "paused",
            Self::Ended => "ended",
        }
    }
}

/// When seats may be claimed: from `opens_at`, before `closes_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
pub struct SaleWindow {
    /// First moment a claim is granted.
    pub opens_at: Timestamp,
    /// First moment a claim is refused again.
    pub closes_at: Timestamp,
}

/// The event document: what `PUT /admin/events/{event_id}` takes and `GET /events/{event_id}` shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventDocument {
    /// Title of the event.
    #[schema(max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$")]
    pub name: String,
    /// Where it takes place.
    #[schema(max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$")]
    pub venue: String,
    /// When it starts.
    pub starts_at: Timestamp,
    /// IANA time zone of the venue; settlement days are its days.
    #[schema(format = "time-zone", examples("Asia/Seoul"))]
    pub time_zone: String,
    /// Currency of every price.
    pub currency: Currency,
    /// Whether seats are being sold.
    #[serde(default)]
    pub state: SaleState,
    /// When seats are being sold.
    pub sale: SaleWindow,
    /// Length of a hold, in seconds.
    #[schema(minimum = 60, maximum = 3600)]
    pub hold_seconds: u32,
    /// What extending adds once, in seconds; 0 = holds do not extend.
    #[serde(default)]
    #[schema(maximum = 3600)]
    pub extend_seconds: u32,
    /// Longest a hold may last in all, in seconds. Left out: hold + extend.
    #[serde(default)]
    #[schema(minimum = 60, maximum = 7200)]
    pub max_hold_seconds: Option<u32>,
    /// Until when a confirmed reservation may be cancelled; null = never.
    #[serde(default)]
    pub cancellable_until: Option<Timestamp>,
    /// Most live seats of one customer; null = no limit.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 10_000)]
    pub max_per_customer: Option<u32>,
    /// What is sold.
    #[schema(min_items = 1, max_items = 300)]
    pub sections: Vec<SectionDocument>,
}

/// Whether a section's seats are chosen by the customer or handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SectionKind {
    /// Rows of numbered seats.
    Seated,
    /// Numbered places, handed out by the claim.
    General,
}

/// One section: `rows` where it is seated, `capacity` where it is general.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
pub struct SectionDocument {
    /// Names the section within the event.
    pub id: Label,
    /// What the customer reads.
    #[schema(max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$")]
    pub name: String,
    /// Seated or general.
    pub kind: SectionKind,
    /// Price of each of its seats.
    #[schema(maximum = 10_000_000_000u64)]
    pub price_cents: u64,
    /// Rows, front to back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 2000)]
    pub rows: Option<Vec<RowDocument>>,
    /// Number of places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 200_000)]
    pub capacity: Option<u32>,
}

/// One row of a seated section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
pub struct RowDocument {
    /// Names the row within the section.
    pub id: Label,
    /// Its seats, left to right.
    pub seats: SeatsDocument,
}

/// Seats of a row: a count (labelled from 1), or their labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SeatsDocument {
    /// So many, labelled 1, 2, 3 …
    Count(u32),
    /// These labels.
    Labels(Vec<Label>),
}

impl SeatsDocument {
    /// How many seats.
    pub fn len(&self) -> usize {
        match self {
            Self::Count(count) => *count as usize,
            Self::Labels(labels) => labels.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The labels, left to right.
    pub fn labels(&self) -> Vec<String> {
        match self {
            Self::Count(count) => (1..=*count).map(|number| number.to_string()).collect(),
            Self::Labels(labels) => labels.iter().map(ToString::to_string).collect(),
        }
    }
}

impl<'de> Deserialize<'de> for SeatsDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// By hand: an untagged enum would lose the path and the reason of a bad label, and read a huge count as labels.
        struct Seats;
        impl<'de> Visitor<'de> for Seats {
            type Value = SeatsDocument;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of seats or a list of seat labels")
            }
            fn visit_u64<E: serde::de::Error>(self, count: u64) -> Result<Self::Value, E> {
                u32::try_from(count)
                    .ok()
                    .filter(|count| *count <= MAX_SEATS_PER_EVENT)
                    .map(SeatsDocument::Count)
                    .ok_or_else(|| E::custom(format!("must be at most {MAX_SEATS_PER_EVENT} seats")))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut labels = Vec::new();
                while let Some(label) = seq.next_element()? {
                    labels.push(label);
                }
                Ok(SeatsDocument::Labels(labels))
            }
        }
        deserializer.deserialize_any(Seats)
    }
}

/// By hand like its reading, which is where the bounds are.
impl PartialSchema for SeatsDocument {
    fn schema() -> RefOr<Schema> {
        let count =
            Object::builder().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(MAX_SEATS_PER_SEATED_SECTION));
        let labels = ArrayBuilder::new().items(Label::schema()).min_items(Some(1)).unique_items(true);
        let either =
            OneOf::builder().description(Some("So many seats, labelled from 1, or their labels, left to right."));
        either.item(count).item(labels).into()
    }
}

impl ToSchema for SeatsDocument {}

impl EventDocument {
    /// Parses and checks a document; `shortest_hold` is [`MIN_HOLD_SECONDS`], or less in the local system.
    ///
    /// # Errors
    /// The first field that breaks a rule, by its path.
    pub fn parse(body: &[u8], shortest_hold: u32) -> Result<Self, Invalid> {
        let mut document: Self = from_json_strictly(body)?;
        document.check(shortest_hold)?;
        // Shown with the bound that holds, like every other field that may be left out.
        document.max_hold_seconds = Some(document.longest_hold_seconds());
        Ok(document)
    }

    /// Longest a hold may last in all, in seconds.
    pub fn longest_hold_seconds(&self) -> u32 {
        self.max_hold_seconds.unwrap_or(self.hold_seconds.saturating_add(self.extend_seconds))
    }

    fn check(&self, shortest_hold: u32) -> Result<(), Invalid> {
        check_name("name", &self.name)?;
        check_name("venue", &self.venue)?;
        if jiff::tz::TimeZone::get(&self.time_zone).is_err() {
            return Err(Invalid::new("time_zone", "must be an IANA time zone, such as Asia/Seoul"));
        }
        if self.sale.closes_at <= self.sale.opens_at {
            return Err(Invalid::new("sale.closes_at", "must be after sale.opens_at"));
        }
        if !(shortest_hold..=MAX_HOLD_SECONDS).contains(&self.hold_seconds) {
            return Err(Invalid::new("hold_seconds", format!("must be {shortest_hold} to {MAX_HOLD_SECONDS}")));
        }
        if self.extend_seconds > MAX_HOLD_SECONDS {
            return Err(Invalid::new("extend_seconds", format!("must be at most {MAX_HOLD_SECONDS}")));
        }
        if !(self.hold_seconds..=2 * MAX_HOLD_SECONDS).contains(&self.longest_hold_seconds()) {
            let reason = format!("must be hold_seconds to {}", 2 * MAX_HOLD_SECONDS);
            return Err(Invalid::new("max_hold_seconds", reason));
        }
        if self.max_per_customer.is_some_and(|limit| !(1..=MAX_LIMIT).contains(&limit)) {
            return Err(Invalid::new("max_per_customer", format!("must be 1 to {MAX_LIMIT}, or null for no limit")));
        }
        self.check_sections()
    }

    fn check_sections(&self) -> Result<(), Invalid> {
        if self.sections.is_empty() || self.sections.len() > MAX_SECTIONS {
            return Err(Invalid::new("sections", format!("must be 1 to {MAX_SECTIONS} sections")));
        }
        let mut ids = HashSet::new();
        let mut seats: u64 = 0;
        for (index, section) in self.sections.iter().enumerate() {
            let path = format!("sections[{index}]");
            if !ids.insert(&section.id) {
                return Err(Invalid::new("id", "is used by another section").within(&path));
            }
            seats += section.check().map_err(|invalid| invalid.within(&path))?;
            if seats > u64::from(MAX_SEATS_PER_EVENT) {
                return Err(Invalid::new("sections", format!("hold more than {MAX_SEATS_PER_EVENT} seats together")));
            }
        }
        Ok(())
    }
}

impl SectionDocument {
    /// Checks the section and counts its seats.
    fn check(&self) -> Result<u64, Invalid> {
        check_name("name", &self.name)?;
        Cents::price(self.price_cents)?;
        match (self.kind, &self.rows, self.capacity) {
            (SectionKind::Seated, Some(rows), None) => check_rows(rows),
            (SectionKind::General, None, Some(capacity)) if (1..=MAX_SEATS_PER_EVENT).contains(&capacity) => {
                Ok(u64::from(capacity))
            }
            (SectionKind::General, None, Some(_)) => {
                Err(Invalid::new("capacity", format!("must be 1 to {MAX_SEATS_PER_EVENT}")))
            }
            (SectionKind::Seated, None, _) => Err(Invalid::new("rows", "a seated section needs rows")),
            (SectionKind::Seated, _, Some(_)) => {
                Err(Invalid::new("capacity", "a seated section has rows, no capacity"))
            }
            (SectionKind::General, _, None) => Err(Invalid::new("capacity", "a general section needs a capacity")),
            (SectionKind::General, Some(_), _) => {
                Err(Invalid::new("rows", "a general section has a capacity, no rows"))
            }
        }
    }
}

fn check_rows(rows: &[RowDocument]) -> Result<u64, Invalid> {
    if rows.is_empty() || rows.len() > MAX_ROWS_PER_SECTION {
        return Err(Invalid::new("rows", format!("must be 1 to {MAX_ROWS_PER_SECTION} rows")));
    }
    let mut ids = HashSet::new();
    let mut seats: u64 = 0;
    for (index, row) in rows.iter().enumerate() {
        let path = format!("rows[{index}]");
        if !ids.insert(&row.id) {
            return Err(Invalid::new("id", "is used by another row of the section").within(&path));
        }
        if row.seats.is_empty() {
            return Err(Invalid::new("seats", "must hold at least one seat").within(&path));
        }
        if let SeatsDocument::Labels(labels) = &row.seats {
            let mut seen = HashSet::new();
            if let Some((at, _)) = labels.iter().enumerate().find(|(_, label)| !seen.insert(*label)) {
                return Err(Invalid::new(format!("seats[{at}]"), "is used by another seat of the row").within(&path));
            }
        }
        seats += row.seats.len() as u64;
    }
    if seats > MAX_SEATS_PER_SEATED_SECTION {
        return Err(Invalid::new("rows", format!("hold more than {MAX_SEATS_PER_SEATED_SECTION} seats together")));
    }
    Ok(seats)
}

fn check_name(field: &str, name: &str) -> Result<(), Invalid> {
    let length = name.chars().count();
    if name.trim().is_empty() || length > MAX_NAME_LENGTH || name.chars().any(char::is_control) {
        let reason = format!("must be 1 to {MAX_NAME_LENGTH} characters, none of them control characters");
        return Err(Invalid::new(field, reason));
    }
    Ok(())
}
