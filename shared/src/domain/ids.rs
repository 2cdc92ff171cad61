//! Identifiers: parsed once at the edge, private inside, safe to put into keys, topics and paths afterwards.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Invalid;

/// Longest event id, in characters.
pub const MAX_EVENT_ID_LENGTH: usize = 64;
/// Longest section, row or seat label, in characters.
pub const MAX_LABEL_LENGTH: usize = 16;
/// Longest customer id (a token's `sub`), in bytes. Identity providers stay well below.
pub const MAX_CUSTOMER_LENGTH: usize = 128;
/// Longest idempotency key, in characters.
pub const MAX_KEY_LENGTH: usize = 128;

/// Namespace of the reservation ids: UUIDv5 wants one, and it must never change, or every retry in flight lands on another id.
const RESERVATION_NAMESPACE: Uuid = Uuid::from_u128(0x6f0b_4f3c_3f51_4d0e_9a5e_7c1d_2b8a_90e4);

/// Namespaces of the ids that are not a customer's own attempt, so that none of them can be met by choosing a key.
const REBOOKING_NAMESPACE: Uuid = Uuid::from_u128(0x2d1c_6b0e_94f7_4a35_8e21_d06f_53b9_c7a8);
const BLOCK_NAMESPACE: Uuid = Uuid::from_u128(0xb3e8_1f57_0c2a_4d96_a1f4_68d2_7e90_35cb);

/// Gives a string newtype its accessors and its (validating) serde form.
macro_rules! text_id {
    ($name:ident) => {
        impl $name {
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(|invalid| serde::de::Error::custom(invalid.reason))
            }
        }
    };
}

/// Names an event (a concert): `[a-z0-9-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, ToSchema)]
#[schema(pattern = "^[a-z0-9-]{1,64}$", examples("club"))]
pub struct EventId(String);

impl EventId {
    /// Parses an event id.
    ///
    /// # Errors
    /// Anything but 1 to 64 characters of `a-z`, `0-9` and `-`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > MAX_EVENT_ID_LENGTH || !text.chars().all(allowed) {
            return Err(Invalid::new("event_id", "must be 1 to 64 characters of a-z, 0-9 and -"));
        }
        Ok(Self(text.to_owned()))
    }
}
text_id!(EventId);

/// Names a section, a row or a seat within its row: `[A-Za-z0-9_]{1,16}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, ToSchema)]
#[schema(pattern = "^[A-Za-z0-9_]{1,16}$", examples("BAL_C"))]
pub struct Label(String);

impl Label {
    /// Parses a label.
    ///
    /// # Errors
    /// Anything but 1 to 16 characters of `A-Z`, `a-z`, `0-9` and `_`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if !is_label(text) {
            return Err(Invalid::new("", "must be 1 to 16 characters of A-Z, a-z, 0-9 and _"));
        }
        Ok(Self(text.to_owned()))
    }
}
text_id!(Label);

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_LABEL_LENGTH
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Names a seat, `<section>-<row>-<seat>`, or a place of a general section, `<section>-<serial>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, ToSchema)]
#[schema(pattern = "^[A-Za-z0-9_]{1,16}(-[A-Za-z0-9_]{1,16}){1,2}$", examples("BAL_C-A-101"))]
pub struct SeatId(String);

impl SeatId {
    /// Parses a seat or place id.
    ///
    /// # Errors
    /// Anything but two or three labels joined by `-`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let labels = text.split('-').count();
        if !(2..=3).contains(&labels) || !text.split('-').all(is_label) {
            return Err(Invalid::new("", "must be <section>-<row>-<seat> or <section>-<serial>"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The id of the seat that `within` (`<row>-<seat>`, or a serial) names in `section`.
    pub fn of(section: &Label, within: &str) -> Self {
        Self(format!("{section}-{within}"))
    }

    /// The section's label.
    pub fn section(&self) -> &str {
        self.0.split_once('-').map_or(self.0.as_str(), |(section, _)| section)
    }

    /// Whether it names a place of a general section: those have no row.
    pub fn is_place(&self) -> bool {
        !self.within_section().contains('-')
    }

    /// What follows the section: `<row>-<seat>`, or the serial of a place.
    pub fn within_section(&self) -> &str {
        self.0.split_once('-').map_or("", |(_, rest)| rest)
    }
}
text_id!(SeatId);

/// Who asks: the `sub` of the verified token, never anything from a body.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, ToSchema)]
#[schema(min_length = 1, max_length = 128)]
pub struct CustomerId(String);

impl CustomerId {
    /// Parses a customer id.
    ///
    /// # Errors
    /// Empty, longer than 128 bytes, or with control characters.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > MAX_CUSTOMER_LENGTH || text.chars().any(char::is_control) {
            return Err(Invalid::new("sub", "must be 1 to 128 bytes without control characters"));
        }
        Ok(Self(text.to_owned()))
    }
}
text_id!(CustomerId);

impl CustomerId {
    /// Whose the blocks of an event are. Rows say so themselves that they are blocks; no token's `sub` makes them its own.
    pub fn organiser() -> Self {
        Self("organiser".to_owned())
    }
}

/// The caller's name for one logical attempt (header `Idempotency-Key`): 1 to 128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
#[schema(pattern = "^[!-~]{1,128}$", examples("my-first-reservation"))]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Parses the header's value.
    ///
    /// # Errors
    /// Anything but 1 to 128 characters from `!` to `~`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > MAX_KEY_LENGTH || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Invalid::new("Idempotency-Key", "must be 1 to 128 visible ASCII characters"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The organiser's name for a block: `[A-Za-z0-9_-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
#[schema(pattern = "^[A-Za-z0-9_-]{1,64}$", examples("press"))]
pub struct BlockId(String);

impl BlockId {
    /// Parses a block id.
    ///
    /// # Errors
    /// Anything but 1 to 64 characters of `A-Z`, `a-z`, `0-9`, `_` and `-`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if text.is_empty() || text.len() > MAX_EVENT_ID_LENGTH || !text.bytes().all(allowed) {
            return Err(Invalid::new("block_id", "must be 1 to 64 characters of A-Z, a-z, 0-9, _ and -"));
        }
        Ok(Self(text.to_owned()))
    }
}
text_id!(BlockId);

/// The payment side's name for a payment: 1 to 128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
#[schema(pattern = "^[!-~]{1,128}$", examples("payment-1"))]
pub struct PaymentReference(String);

impl PaymentReference {
    /// Parses a reference.
    ///
    /// # Errors
    /// Anything but 1 to 128 characters from `!` to `~`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > MAX_KEY_LENGTH || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Invalid::new("", "must be 1 to 128 visible ASCII characters"));
        }
        Ok(Self(text.to_owned()))
    }
}
text_id!(PaymentReference);

/// Names a reservation: `<event_id>.<uuid>`. It names its event, so that its Redis keys can be found from it alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, ToSchema)]
#[schema(
    pattern = "^[a-z0-9-]{1,64}\\.[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
    examples("club.45177acc-a09a-521b-b131-5729aae0c7f4")
)]
pub struct ReservationId(String);

impl ReservationId {
    /// Derives the id of the attempt that `customer` calls `key`: the same three always give the same id, so a retry after
    /// any crash lands where the first attempt did (invariant 6). UUIDv5 (RFC 9562) over the length-prefixed parts, so that no two
    /// triples spell the same name.
    pub fn derive(event: &EventId, customer: &CustomerId, key: &IdempotencyKey) -> Self {
        let parts = [event.as_str(), customer.as_str(), key.0.as_str()];
        let name = parts.map(|part| format!("{}:{part}", part.len())).concat();
        Self(format!("{event}.{}", Uuid::new_v5(&RESERVATION_NAMESPACE, name.as_bytes())))
    }

    /// Derives the id under which a reservation whose hold ran out is booked once more.
    pub fn rebooked(&self) -> Self {
        let event = self.event();
        Self(format!("{event}.{}", Uuid::new_v5(&REBOOKING_NAMESPACE, self.0.as_bytes())))
    }

    /// Derives the id of one chunk of a block: the seats of `section` whose number divides into `chunk`.
    pub fn block(event: &EventId, block: &str, section: &Label, chunk: u32) -> Self {
        let name = format!("{}:{event}{}:{block}{}:{section}{chunk}", event.0.len(), block.len(), section.0.len());
        Self(format!("{event}.{}", Uuid::new_v5(&BLOCK_NAMESPACE, name.as_bytes())))
    }

    /// Parses a reservation id.
    ///
    /// # Errors
    /// Anything but an event id, a dot and a UUID in lower case with hyphens.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("reservation_id", "must be <event_id>.<uuid>");
        let (event, uuid) = text.split_once('.').ok_or_else(invalid)?;
        EventId::parse(event).map_err(|_| invalid())?;
        let parsed = Uuid::try_parse(uuid).map_err(|_| invalid())?;
        if parsed.hyphenated().to_string() != uuid {
            return Err(invalid());
        }
        Ok(Self(text.to_owned()))
    }

    /// The event this reservation belongs to.
    pub fn event(&self) -> EventId {
        EventId(self.0.split_once('.').map_or_else(String::new, |(event, _)| event.to_owned()))
    }

    /// The part after the dot: unique within the event, and what Redis stores as a claim's owner.
    pub fn uuid(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, uuid)| uuid)
    }

    /// The reservation of `event` whose [`uuid`](Self::uuid) is given.
    ///
    /// # Errors
    /// When `uuid` is not one.
    pub fn of(event: &EventId, uuid: &str) -> Result<Self, Invalid> {
        Self::parse(&format!("{event}.{uuid}"))
    }
}
text_id!(ReservationId);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn derived(event: &str, customer: &str, key: &str) -> ReservationId {
        ReservationId::derive(
            &EventId::parse(event).unwrap(),
            &CustomerId::parse(customer).unwrap(),
            &IdempotencyKey::parse(key).unwrap(),
        )
    }

    #[test]
    fn a_reservation_id_never_changes_between_releases() {
        assert_eq!(derived("club", "alice", "k-1").as_str(), "club.45177acc-a09a-521b-b131-5729aae0c7f4");
    }

    #[test]
    fn shifting_a_character_between_customer_and_key_gives_another_id() {
        assert_ne!(derived("club", "ab", "c"), derived("club", "a", "bc"));
    }

    #[test]
    fn ids_outside_their_alphabet_are_refused() {
        for text in ["", "UPPER", "a_b", "a.b", "é", &"x".repeat(65)] {
            assert!(EventId::parse(text).is_err(), "{text}");
        }
        for text in ["", "A", "A-", "-1", "A-1-2-3", "A-1 -2", "A--2", "A-12345678901234567"] {
            assert!(SeatId::parse(text).is_err(), "{text}");
        }
        for text in ["", " ", "a b", "ключ", "\u{7f}", &"k".repeat(129)] {
            assert!(IdempotencyKey::parse(text).is_err(), "{text}");
        }
        for text in ["club", "club.", ".x", "club.D0A4E1A5-0000-5000-8000-000000000000", "a.b.c"] {
            assert!(ReservationId::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_derived_id_parses_and_names_its_event(event in "[a-z0-9-]{1,64}", customer in "[ -~]{1,40}", key in "[!-~]{1,128}") {
            let id = derived(&event, &customer, &key);
            prop_assert_eq!(ReservationId::parse(id.as_str()).unwrap(), id.clone());
            prop_assert_eq!(id.event().to_string(), event);
            prop_assert_eq!(ReservationId::of(&id.event(), id.uuid()).unwrap(), id);
        }

        #[test]
        fn a_seat_id_splits_into_its_section_and_the_rest(section in "[A-Za-z0-9_]{1,16}", row in "[A-Za-z0-9_]{1,16}", seat in "[A-Za-z0-9_]{1,16}") {
            let id = SeatId::parse(&format!("{section}-{row}-{seat}")).unwrap();
            prop_assert_eq!(id.section(), section.as_str());
            let rest = format!("{row}-{seat}");
            prop_assert_eq!(id.within_section(), rest.as_str());
        }
    }
}
