//! `Prefer: wait=<seconds>` (RFC 7240), and what a caller may ask of `?wait=`.

use axum::http::{HeaderMap, HeaderValue, header};
use shared::domain::Invalid;

/// The longest wait, in seconds: with the rest of a request it fits well into the function's 15.
pub const MAX_WAIT_SECONDS: u64 = 10;

/// Seconds the caller prefers to wait; more than [`MAX_WAIT_SECONDS`] is as much as there is, and said so in the answer.
/// Preferences are wishes: what is unknown or malformed is as if it had not been sent, and of several `wait` the first counts.
pub fn wait(headers: &HeaderMap) -> Option<u64> {
    let lines = headers.get_all("prefer").iter().filter_map(|line| line.to_str().ok());
    let mut preferences = lines.flat_map(|line| split(line, ','));
    let (_, value) = preferences.find_map(|preference| {
        // Parameters follow a semicolon; `wait` has none.
        let (name, value) = split(preference, ';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then_some((name, value))
    })?;
    let value = value.trim();
    let word = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    seconds(word).map(|seconds| seconds.min(MAX_WAIT_SECONDS))
}

/// Seconds a caller asks to wait by `?wait=`. A query is no wish: it is met or refused.
pub fn asked(text: &str) -> Result<u64, Invalid> {
    let within = seconds(text).filter(|seconds| *seconds <= MAX_WAIT_SECONDS);
    within.ok_or_else(|| Invalid::new("wait", format!("must be 0 to {MAX_WAIT_SECONDS} seconds")))
}

/// Says in an answer that the caller's wish for a wait of so many seconds was heeded.
pub fn applied(headers: &mut HeaderMap, seconds: u64) {
    if let Ok(value) = HeaderValue::from_str(&format!("wait={seconds}")) {
        headers.insert(header::HeaderName::from_static("preference-applied"), value);
    }
}

/// Digits only; a number that does not fit is a very large one.
fn seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Splits at a separator that stands in no quoted string.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |letter| {
        let escapes = quoted && !escaped && letter == '\\';
        if letter == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = escapes;
        !quoted && letter == separator
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("prefer", line.parse().unwrap());
        }
        wait(&headers)
    }

    #[test]
    fn a_wait_is_found_among_whatever_else_is_preferred() {
        for (lines, expected) in [
            (&["wait=5"][..], Some(5)),
            (&["WAIT = 5"], Some(5)),
            (&["wait=\"5\""], Some(5)),
            (&["respond-async, wait=3"], Some(3)),
            (&["respond-async;wait=1, wait=3; foo=bar"], Some(3)),
            (&["handling=\"lenient, wait=1\", wait=4"], Some(4)),
            (&["handling=\"a\\\"b, wait=1\", wait=4"], Some(4)),
            (&["return=minimal", "wait=2"], Some(2)),
            (&["wait=0"], Some(0)),
            (&["wait=11"], Some(10)),
            (&["wait=99999999999999999999999"], Some(10)),
            (&["wait=2, wait=9"], Some(2)),
        ] {
            assert_eq!(of(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_wait_is_ignored() {
        for line in [
            "",
            "wait",
            "wait=",
            "wait=-1",
            "wait=+5",
            "wait=1.5",
            "wait=soon",
            "awaits=5",
            "wait=x, wait=5",
            ",;,=",
            "\"wait=5",
        ] {
            assert_eq!(of(&[line]), None, "{line}");
        }
    }

    #[test]
    fn a_query_is_met_or_refused() {
        assert_eq!((asked("0").unwrap(), asked("10").unwrap()), (0, 10));
        for text in ["", "11", "-1", "+1", "1.5", "5,5", "soon", "99999999999999999999999"] {
            assert_eq!(asked(text).unwrap_err().field, "wait", "{text}");
        }
    }
}
