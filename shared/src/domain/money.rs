//! Money: integer cents (the smallest unit of the event's currency), never a float, never from a request (invariant 10).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Invalid;
use super::ids::Label;

/// Dearest seat, in cents. Twenty of them, a reservation's bound, stay far below what JSON numbers carry exactly (2^53).
pub const MAX_PRICE_CENTS: u64 = 10_000_000_000;

/// An amount in the smallest unit of its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(examples(8900))]
pub struct Cents(u64);

impl Cents {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The price of one seat.
    ///
    /// # Errors
    /// More than [`MAX_PRICE_CENTS`].
    pub fn price(cents: u64) -> Result<Self, Invalid> {
        if cents > MAX_PRICE_CENTS {
            return Err(Invalid::new("price_cents", format!("must be at most {MAX_PRICE_CENTS}")));
        }
        Ok(Self(cents))
    }

    /// The number of cents.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The sum, or `None` when it does not fit.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// So many times the amount, or `None` when it does not fit.
    pub fn checked_mul(self, times: u32) -> Option<Self> {
        self.0.checked_mul(u64::from(times)).map(Self)
    }
}

/// What of an amount each section has. Empty where all of it is one section's.
pub type SectionCents = BTreeMap<Label, Cents>;

/// An ISO 4217 code: three capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ToSchema)]
#[schema(value_type = String, pattern = "^[A-Z]{3}$", examples("EUR"))]
pub struct Currency([u8; 3]);

impl Currency {
    /// Parses a currency code.
    ///
    /// # Errors
    /// Anything but three letters from A to Z.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            _ => Err(Invalid::new("currency", "must be three capital letters, such as EUR")),
        }
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|invalid| serde::de::Error::custom(invalid.reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dearest_reservation_stays_exact_in_json() {
        const { assert!(20 * MAX_PRICE_CENTS < 1 << 53) };
        assert!(Cents::price(MAX_PRICE_CENTS).is_ok());
        assert_eq!(Cents::price(MAX_PRICE_CENTS + 1).unwrap_err().field, "price_cents");
    }

    #[test]
    fn sums_that_do_not_fit_are_none() {
        assert_eq!(Cents(u64::MAX).checked_add(Cents(1)), None);
        assert_eq!(Cents(1).checked_add(Cents(2)), Some(Cents(3)));
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        for text in ["", "eur", "EURO", "E R", "ÉU"] {
            assert!(Currency::parse(text).is_err(), "{text}");
        }
        assert_eq!(Currency::parse("KRW").unwrap().to_string(), "KRW");
    }
}
