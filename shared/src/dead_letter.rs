//! What a dead letter says besides its bytes, under which names, so that whoever is on call need not look elsewhere: the
//! function that buries writes it, the redrive reads it, and what both must keep goes with the message from one to the other.

use bytes::Bytes;

/// Header: the stable name of what is wrong with the record.
pub const REASON: &str = "reason";
/// Header: the same in words.
pub const DETAIL: &str = "detail";
/// Header: the record's topic and partition, `<topic>-<n>`.
pub const SOURCE_PARTITION: &str = "source-partition";
/// Header: the record's offset there.
pub const SOURCE_OFFSET: &str = "source-offset";
/// Header: how many bytes the value had, where it was too large to keep whole.
pub const TRUNCATED_FROM: &str = "truncated-from";
/// Header: how many bytes the key had, where it was too large to keep at all.
pub const KEY_DROPPED: &str = "key-dropped";
/// Header: how many of the record's own headers were too large to keep.
pub const HEADERS_DROPPED: &str = "headers-dropped";
/// Header: [`PAYLOAD_RECORD`] where the value is not the record's.
pub const KEPT_AS: &str = "kept-as";
/// The value is the JSON in which Lambda delivered the record, since its bytes could not be had from it.
pub const PAYLOAD_RECORD: &str = "payload-record";
/// Header, of dead letters and of what is replayed: how often the record has been given up.
pub const ATTEMPT: &str = "attempt";
/// Header, of dead letters and of what is replayed: when the record was produced first, in RFC 3339.
pub const FIRST_SEEN_AT: &str = "first-seen-at";
/// Header of what is replayed, and of its dead letter if it is given up again: the entry that was replayed.
pub const REDRIVEN_FROM: &str = "redriven-from";

/// Whether a dead letter writes this header itself; a record's own header of such a name is not kept.
pub fn is_ours(name: &str) -> bool {
    [
        REASON,
        DETAIL,
        SOURCE_PARTITION,
        SOURCE_OFFSET,
        TRUNCATED_FROM,
        KEY_DROPPED,
        HEADERS_DROPPED,
        KEPT_AS,
        ATTEMPT,
        FIRST_SEEN_AT,
    ]
    .contains(&name)
}

/// The last header of this name, as text.
pub fn text<'a>(headers: &'a [(String, Bytes)], name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().rev().find(|(known, _)| known == name)?;
    std::str::from_utf8(value).ok()
}

/// What is remembered of a record however often it is given up and replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// How often it has been given up, from 1.
    pub attempt: u32,
    /// When it was produced first, in milliseconds since the epoch.
    pub first_seen_ms: Option<i64>,
}

impl History {
    /// The history of a record that is given up now, by its own headers and timestamp. What cannot be read counts as absent.
    pub fn of_record(headers: &[(String, Bytes)], timestamp_ms: Option<i64>) -> Self {
        let before = Self::read(headers, timestamp_ms);
        Self { attempt: before.attempt.saturating_add(1), ..before }
    }

    /// The history that a dead letter's headers tell; `timestamp_ms` where they do not say when the record was first seen.
    pub fn of_letter(headers: &[(String, Bytes)], timestamp_ms: Option<i64>) -> Self {
        let told = Self::read(headers, timestamp_ms);
        Self { attempt: told.attempt.max(1), ..told }
    }

    fn read(headers: &[(String, Bytes)], timestamp_ms: Option<i64>) -> Self {
        let told = text(headers, FIRST_SEEN_AT).and_then(|text| text.parse::<jiff::Timestamp>().ok());
        Self {
            attempt: text(headers, ATTEMPT).and_then(|text| text.parse().ok()).unwrap_or(0),
            first_seen_ms: told.map(jiff::Timestamp::as_millisecond).or(timestamp_ms),
        }
    }

    /// When it was produced first, in RFC 3339.
    pub fn first_seen_at(&self) -> Option<String> {
        let at = jiff::Timestamp::from_millisecond(self.first_seen_ms?).ok()?;
        Some(at.to_string())
    }

    /// The headers that carry it on.
    pub fn headers(&self) -> Vec<(String, Bytes)> {
        let mut headers = vec![(ATTEMPT.to_owned(), Bytes::from(self.attempt.to_string()))];
        headers.extend(self.first_seen_at().map(|at| (FIRST_SEEN_AT.to_owned(), Bytes::from(at))));
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &str, value: &str) -> (String, Bytes) {
        (name.to_owned(), Bytes::copy_from_slice(value.as_bytes()))
    }

    #[test]
    fn a_record_given_up_again_counts_on_and_keeps_when_it_was_first_seen() {
        let first = History::of_record(&[header("correlation-id", "club.x")], Some(1_500));
        assert_eq!(first, History { attempt: 1, first_seen_ms: Some(1_500) });
        assert_eq!(first.first_seen_at().as_deref(), Some("1970-01-01T00:00:01.5Z"));
        assert_eq!(History::of_letter(&first.headers(), Some(9_000)), first);
        let second = History::of_record(&first.headers(), Some(9_000));
        assert_eq!(second, History { attempt: 2, first_seen_ms: Some(1_500) });
    }

    #[test]
    fn a_history_nobody_can_read_is_none() {
        for (attempt, first_seen) in [("x", "yesterday"), ("-1", ""), ("99999999999", "\u{fffd}"), ("", "1500")] {
            let headers = [header(ATTEMPT, attempt), header(FIRST_SEEN_AT, first_seen)];
            assert_eq!(History::of_record(&headers, Some(7)), History { attempt: 1, first_seen_ms: Some(7) });
        }
        let broken = [(ATTEMPT.to_owned(), Bytes::from_static(b"\xff\xfe"))];
        assert_eq!(History::of_letter(&broken, None), History { attempt: 1, first_seen_ms: None });
        let most = [header(ATTEMPT, &u32::MAX.to_string())];
        assert_eq!(History::of_record(&most, None).attempt, u32::MAX);
    }
}
