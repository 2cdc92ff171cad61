//! Every partition and sort key of the table, spelled here and nowhere else, and the definition the local system creates.
//!
//! | item | pk | sk |
//! |---|---|---|
//! | event | `EVENT#<event>` | `-` |
//! | directory | `EVENTS` | event |
//! | layout | `LAYOUT#<event>` | `<section>#<version>#<nonce>` |
//! | seat | `SEATS#<event>#<section>#<number ÷ 200>` | `<seat id>#<number>`: a seat published again after its removal is another |
//! | limit | `LIMIT#<event>#<customer>` | `-` |
//! | reservation | `RES#<reservation>` | `-` |
//! | job state | `JOB#<job>#<scope>` | `-` |
//! | settled day | `SETTLED#<event>` | `<date>#<currency>` |

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use jiff::civil::Date;

use super::{StoreError, Table, store_error};
use crate::domain::Invalid;
use crate::domain::event::Seat;
use crate::domain::ids::{CustomerId, EventId, ReservationId, SeatId};
use crate::domain::layout::SEATS_PER_PARTITION;
use crate::domain::money::Currency;

/// The sort key of items that are alone in their partition.
pub const ALONE: &str = "-";
/// The partition of the directory of events.
pub const DIRECTORY: &str = "EVENTS";
/// Index: a customer's reservations by time.
pub const BY_CUSTOMER: &str = "by_customer";
/// Index: an event's reservations by time, in [`SHARDS`] partitions.
pub const BY_EVENT: &str = "by_event";
/// Index: what is to be done next, by kind and time, in [`SHARDS`] partitions.
pub const DUE: &str = "due";
/// Shards of an index partition: one for each first hex digit of the uuid. Sixteen partitions of 1,000 write units take
/// 16,000 holds of an event in one second; a hot index partition would throttle the table.
pub const SHARDS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];

/// How long creating the table may take: a local server that has just started needs seconds for its first one.
const CREATE: Duration = Duration::from_secs(30);

/// The event item.
pub fn event(event: &EventId) -> String {
    format!("EVENT#{event}")
}

/// The event's layouts.
pub fn layouts(event: &EventId) -> String {
    format!("LAYOUT#{event}")
}

/// The load partition of a section's seats.
pub fn seats(event: &EventId, section: &str, partition: u32) -> String {
    format!("SEATS#{event}#{section}#{partition}")
}

/// Partition and sort key of a seat.
pub fn seat(event: &EventId, seat: &Seat) -> (String, String) {
    (seats(event, seat.id.section(), seat.number / SEATS_PER_PARTITION), format!("{}#{}", seat.id, seat.number))
}

/// The seat whose sort key this is.
///
/// # Errors
/// When it is no seat's.
pub fn seat_of(sk: &str) -> Result<Seat, Invalid> {
    let parsed = sk.split_once('#').and_then(|(id, number)| Some((id, number.parse().ok()?)));
    let (id, number) = parsed.ok_or_else(|| Invalid::new("sk", "must be <seat id>#<number>"))?;
    Ok(Seat { id: SeatId::parse(id)?, number })
}

/// The limit item.
pub fn limit(event: &EventId, customer: &CustomerId) -> String {
    format!("LIMIT#{event}#{customer}")
}

/// The reservation.
pub fn reservation(id: &ReservationId) -> String {
    format!("RES#{id}")
}

/// The reservation whose partition key this is.
///
/// # Errors
/// When it is no reservation's.
pub fn reservation_id(pk: &str) -> Result<ReservationId, Invalid> {
    ReservationId::parse(pk.strip_prefix("RES#").unwrap_or_default())
}

/// What a job remembers between its runs, of one scope.
pub fn job(job: &str, scope: &str) -> String {
    format!("JOB#{job}#{scope}")
}

/// The shard of a reservation.
pub fn shard(id: &ReservationId) -> char {
    id.uuid().chars().next().unwrap_or('0')
}

/// The `by_event` partition of one shard.
pub fn event_shard(event: &EventId, shard: char) -> String {
    format!("{event}#{shard}")
}

/// The `due` partition of holds to be expired, of one shard.
pub fn due_expire(shard: char) -> String {
    format!("expire#{shard}")
}

/// The `due` partition of what is to be settled, of one shard.
pub fn due_settle(shard: char) -> String {
    format!("settle#{shard}")
}

/// The settled days of an event.
pub fn settled(event: &EventId) -> String {
    format!("SETTLED#{event}")
}

/// A day's sort key among those of its event: sums of two currencies are never added.
pub fn settled_day(date: Date, currency: Currency) -> String {
    format!("{date}#{currency}")
}

/// The day whose sort key this is.
///
/// # Errors
/// When it is no day's.
pub fn day_of(sk: &str) -> Result<(Date, Currency), Invalid> {
    let parsed = sk.split_once('#').and_then(|(date, currency)| Some((date.parse().ok()?, currency)));
    let (date, currency) = parsed.ok_or_else(|| Invalid::new("sk", "must be <date>#<currency>"))?;
    Ok((date, Currency::parse(currency)?))
}

/// A time that sorts as text: milliseconds in 13 digits.
pub fn sortable(ms: i64) -> String {
    format!("{ms:013}")
}

/// Where a reservation stands among those of its index partition: by time, and at one time by id.
pub fn created_at_id(ms: i64, id: &ReservationId) -> String {
    format!("{}#{id}", sortable(ms))
}

/// The reservation that stands there.
///
/// # Errors
/// When it is no place in an index.
pub fn created(created_at_id: &str) -> Result<ReservationId, Invalid> {
    let (time, id) = created_at_id.split_once('#').unwrap_or_default();
    if time.len() != 13 || !time.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Invalid::new("created_at_id", "must be 13 digits, # and a reservation"));
    }
    ReservationId::parse(id)
}

/// A primary key as the SDK takes it.
pub(crate) fn primary(pk: impl Into<String>, sk: impl Into<String>) -> HashMap<String, AttributeValue> {
    HashMap::from([("pk".into(), AttributeValue::S(pk.into())), ("sk".into(), AttributeValue::S(sk.into()))])
}

/// The table's indexes: name, partition key, sort key, whether whole items are projected.
pub const INDEXES: [(&str, &str, &str, bool); 3] = [
    (BY_CUSTOMER, "customer", "created_at_id", true),
    (BY_EVENT, "event_shard", "created_at_id", true),
    (DUE, "due_shard", "due_at", false),
];

impl Table {
    /// Creates the table with its indexes, as `template.yaml` does.
    ///
    /// # Errors
    /// When the server refuses, or has such a table.
    pub async fn create(&self) -> Result<(), StoreError> {
        let mut names: Vec<&str> = vec!["pk", "sk"];
        names.extend(INDEXES.iter().flat_map(|(_, hash, range, _)| [*hash, *range]));
        names.sort_unstable();
        names.dedup();
        let mut request = self.client.create_table().table_name(&self.name).billing_mode(BillingMode::PayPerRequest);
        for name in names {
            request = request.attribute_definitions(attribute(name)?);
        }
        request = request.key_schema(key("pk", KeyType::Hash)?).key_schema(key("sk", KeyType::Range)?);
        for (name, hash, range, whole) in INDEXES {
            let projected = if whole { ProjectionType::All } else { ProjectionType::KeysOnly };
            let index = GlobalSecondaryIndex::builder()
                .index_name(name)
                .key_schema(key(hash, KeyType::Hash)?)
                .key_schema(key(range, KeyType::Range)?)
                .projection(Projection::builder().projection_type(projected).build())
                .build()
                .map_err(StoreError::corrupt)?;
            request = request.global_secondary_indexes(index);
        }
        // Asked once, and given time: a second ask would be refused for the table that the first one made.
        let once = Builder::default().retry_config(RetryConfig::disabled()).timeout_config(
            TimeoutConfig::builder().operation_timeout(CREATE).operation_attempt_timeout(CREATE).build(),
        );
        request.customize().config_override(once).send().await.map_err(store_error)?;
        Ok(())
    }
}

fn attribute(name: &str) -> Result<AttributeDefinition, StoreError> {
    AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(ScalarAttributeType::S)
        .build()
        .map_err(StoreError::corrupt)
}

fn key(name: &str, kind: KeyType) -> Result<KeySchemaElement, StoreError> {
    KeySchemaElement::builder().attribute_name(name).key_type(kind).build().map_err(StoreError::corrupt)
}
