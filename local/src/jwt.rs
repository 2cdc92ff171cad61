//! Tokens of the local API: HS256 with a development key, where API Gateway would take an identity provider's RS256.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode, errors::Error};
use serde_json::{Map, Value, json};

/// Who issues the tokens.
pub const ISSUER: &str = "https://local.invalid/";

/// For whom they are.
pub const AUDIENCE: &str = "reservations";

/// What a token says, as the issuer wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// The customer; a token may lack it, which is the function's affair.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.0.get("sub").and_then(Value::as_str)
    }

    /// The scopes, from `scope` or `scp`, each of which may be a list or one space-separated string.
    #[must_use]
    pub fn scopes(&self) -> Vec<&str> {
        match self.0.get("scope").or_else(|| self.0.get("scp")) {
            Some(Value::String(scopes)) => scopes.split_ascii_whitespace().collect(),
            Some(Value::Array(scopes)) => scopes.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// The claims as API Gateway hands them to a function: everything is a string, a list is `[a b]`.
    #[must_use]
    pub fn as_strings(&self) -> BTreeMap<&str, String> {
        self.0.iter().map(|(name, value)| (name.as_str(), as_string(value))).collect()
    }
}

fn as_string(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => format!("[{}]", values.iter().map(as_string).collect::<Vec<_>>().join(" ")),
        other => other.to_string(),
    }
}

/// Signs a token for a customer, valid from now on for `valid_for`.
///
/// # Errors
/// When the claims cannot be encoded.
pub fn issue(key: &str, customer: &str, scopes: &[String], valid_for: Duration) -> Result<String, Error> {
    let now = since_1970();
    let claims = json!({
        "sub": customer,
        "scope": scopes.join(" "),
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now.as_secs(),
        "exp": (now + valid_for).as_secs(),
    });
    sign(key, &claims)
}

fn sign(key: &str, claims: &Value) -> Result<String, Error> {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(key.as_bytes()))
}

/// The claims of a token with our signature, issuer and audience that is valid now, to the second.
///
/// # Errors
/// What is wrong with it. API Gateway tells the caller none of that.
pub fn verify(key: &str, token: &str) -> Result<Claims, Error> {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = 0;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    let decoded = decode::<Map<String, Value>>(token, &DecodingKey::from_secret(key.as_bytes()), &validation)?;
    Ok(Claims(decoded.claims))
}

/// The wall clock, which is what `exp` and a gateway's `timeEpoch` mean.
#[expect(
    clippy::disallowed_methods,
    reason = "a token's validity, and a request's arrival, are matters of the wall clock"
)]
pub(crate) fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use jsonwebtoken::errors::ErrorKind;

    use super::*;

    const KEY: &str = "a development key of some length";
    const HOUR: Duration = Duration::from_secs(3_600);

    /// A token with claims that [`issue`] would not write.
    pub(crate) fn signed(key: &str, change: impl FnOnce(&mut Map<String, Value>)) -> String {
        let mut claims = Map::new();
        claims.insert("iss".to_owned(), ISSUER.into());
        claims.insert("aud".to_owned(), AUDIENCE.into());
        claims.insert("exp".to_owned(), (since_1970() + HOUR).as_secs().into());
        change(&mut claims);
        sign(key, &Value::Object(claims)).unwrap()
    }

    fn refusal(token: &str) -> ErrorKind {
        verify(KEY, token).unwrap_err().into_kind()
    }

    #[test]
    fn a_token_says_who_and_what_for() {
        let scopes = ["tickets/admin".to_owned(), "tickets/payments".to_owned()];
        let claims = verify(KEY, &issue(KEY, "ada", &scopes, HOUR).unwrap()).unwrap();
        assert_eq!(claims.subject(), Some("ada"));
        assert_eq!(claims.scopes(), scopes);
        let strings = claims.as_strings();
        assert_eq!(strings["scope"], "tickets/admin tickets/payments");
        assert_eq!(strings["exp"].parse::<u64>().unwrap() - strings["iat"].parse::<u64>().unwrap(), HOUR.as_secs());
    }

    #[test]
    fn a_list_of_scopes_under_its_short_name_counts_too() {
        let claims = verify(KEY, &signed(KEY, |claims| drop(claims.insert("scp".into(), json!(["a", "b"]))))).unwrap();
        assert_eq!(claims.scopes(), ["a", "b"]);
        assert_eq!(claims.as_strings()["scp"], "[a b]");
        assert_eq!(claims.subject(), None);
    }

    #[test]
    fn another_key_issuer_audience_or_time_is_refused() {
        let refused =
            |name: &str, value: Value| refusal(&signed(KEY, |claims| drop(claims.insert(name.to_owned(), value))));
        assert!(matches!(refusal(&signed("another key", |_| ())), ErrorKind::InvalidSignature));
        assert!(matches!(refused("iss", "https://elsewhere.invalid/".into()), ErrorKind::InvalidIssuer));
        assert!(matches!(refused("aud", "others".into()), ErrorKind::InvalidAudience));
        assert!(matches!(refused("exp", (since_1970().as_secs() - 2).into()), ErrorKind::ExpiredSignature));
        assert!(matches!(refused("nbf", (since_1970() + HOUR).as_secs().into()), ErrorKind::ImmatureSignature));
        assert!(matches!(refusal("no token at all"), ErrorKind::InvalidToken));
    }

    #[test]
    fn an_unsigned_token_is_refused() {
        // {"alg":"none","typ":"JWT"}
        let signed = signed(KEY, |_| ());
        let claims = signed.split('.').nth(1).unwrap();
        assert!(verify(KEY, &format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.")).is_err());
    }
}
