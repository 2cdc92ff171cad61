//! Dead letters: a record that can never be handled goes to our own topic, with its bytes and the reason, and only then
//! is it acknowledged. If that topic cannot be written, the record stays where it is.

use bytes::Bytes;
use shared::dead_letter::{
    DETAIL, HEADERS_DROPPED, History, KEPT_AS, KEY_DROPPED, PAYLOAD_RECORD, REASON, SOURCE_OFFSET, SOURCE_PARTITION,
    TRUNCATED_FROM, is_ours,
};
use shared::kafka::{MAX_MESSAGE_BYTES, Message};

use crate::payload::{Poison, Record};

/// Room kept for key and headers beside a value that has to be cut, in bytes: the three bounds below, and a kilobyte each
/// for the names, numbers and framing of our headers and for those of the record's.
const HEADROOM: usize = MAX_KEY + MAX_HEADERS + 2 * MAX_TEXT + 2 * 1024;
/// Largest key that is kept. A reservation id has a hundred bytes.
const MAX_KEY: usize = 4 * 1024;
/// Bytes of the record's own headers that are kept.
const MAX_HEADERS: usize = 2 * 1024;
/// Headers a dead letter has at most: each costs framing, too.
const MAX_COUNT: usize = 60;
/// Bytes of a text of ours: what is wrong may quote the record.
const MAX_TEXT: usize = 1024;

/// The message that keeps a poisonous record; its headers are those of [`shared::dead_letter`], and the record's own.
pub fn message(topic: &str, record: &Record, poison: &Poison) -> Message {
    let mut headers = vec![
        header(REASON, poison.reason()),
        header(DETAIL, &poison.to_string()),
        header(SOURCE_PARTITION, &record.place.partition),
        header(SOURCE_OFFSET, &record.place.offset.to_string()),
    ];
    headers.extend(History::of_record(&record.headers, record.timestamp_ms).headers());
    if matches!(poison, Poison::Undecodable(_)) {
        headers.push(header(KEPT_AS, PAYLOAD_RECORD));
    }
    let key = record.key.clone().filter(|key| key.len() <= MAX_KEY);
    if let Some(dropped) = record.key.as_ref().filter(|key| key.len() > MAX_KEY) {
        headers.push(header(KEY_DROPPED, &dropped.len().to_string()));
    }
    let room = MAX_MESSAGE_BYTES - HEADROOM;
    let value = record.value.as_ref().map(|value| value.slice(..value.len().min(room)));
    if let Some(whole) = record.value.as_ref().filter(|whole| whole.len() > room) {
        headers.push(header(TRUNCATED_FROM, &whole.len().to_string()));
    }
    keep_own(&record.headers, &mut headers);
    Message { topic: topic.to_owned(), key, value, headers }
}

/// Keeps the record's own headers, one after the other, while there is room for them.
fn keep_own(own: &[(String, Bytes)], headers: &mut Vec<(String, Bytes)>) {
    let (mut room, mut dropped) = (MAX_HEADERS, 0);
    for (name, value) in own.iter().filter(|(name, _)| !is_ours(name)) {
        match room.checked_sub(name.len() + value.len()).filter(|_| headers.len() < MAX_COUNT) {
            Some(left) => {
                room = left;
                headers.push((name.clone(), value.clone()));
            }
            None => dropped += 1,
        }
    }
    if dropped > 0 {
        headers.push(header(HEADERS_DROPPED, &dropped.to_string()));
    }
}

fn header(name: &str, value: &str) -> (String, Bytes) {
    (name.to_owned(), Bytes::copy_from_slice(&value.as_bytes()[..value.floor_char_boundary(MAX_TEXT)]))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::dead_letter::{ATTEMPT, FIRST_SEEN_AT, text};

    use super::*;
    use crate::payload::decode;

    fn buried(record: Value) -> Message {
        let payload = json!({ "records": { "requests-3": [record] } });
        let record = decode(&payload).unwrap().remove(0);
        let poison = record.request.clone().unwrap_err();
        message("dlq", &record, &poison)
    }

    fn signed(text: &str) -> Vec<i8> {
        text.bytes().map(u8::cast_signed).collect()
    }

    #[test]
    fn a_first_burial_tells_when_the_record_was_produced_and_keeps_its_headers() {
        let letter = buried(json!({
            "offset": 7, "timestamp": 1_700_000_000_123_i64, "key": "aw==", "value": "bm8=",
            "headers": [{ "correlation-id": signed("club.ä") }, { "reason": signed("forged") }, { "broken": "text" }],
        }));
        let header = |name| text(&letter.headers, name);
        assert_eq!((header(REASON), header(ATTEMPT)), (Some("schema"), Some("1")));
        assert_eq!(header(FIRST_SEEN_AT), Some("2023-11-14T22:13:20.123Z"));
        assert_eq!((header(SOURCE_PARTITION), header(SOURCE_OFFSET)), (Some("requests-3"), Some("7")));
        assert_eq!((header("correlation-id"), header("broken"), header(KEPT_AS)), (Some("club.ä"), None, None));
    }

    #[test]
    fn a_record_given_up_again_counts_on_whatever_else_is_wrong_with_it() {
        let headers = json!([{ "attempt": signed("2") }, { "first-seen-at": signed("2020-01-02T03:04:05Z") }]);
        for (offset, value) in [(json!(7), "bm8="), (json!(7), "%%%"), (json!("x"), "bm8=")] {
            let record = json!({ "offset": offset, "timestamp": 5, "key": "aw==", "value": value, "headers": headers });
            let letter = buried(record);
            assert_eq!(text(&letter.headers, ATTEMPT), Some("3"));
            assert_eq!(text(&letter.headers, FIRST_SEEN_AT), Some("2020-01-02T03:04:05Z"));
            let undecodable = value == "%%%" || offset.is_string();
            assert_eq!(text(&letter.headers, KEPT_AS), undecodable.then_some(PAYLOAD_RECORD));
        }
    }

    #[test]
    fn whatever_a_record_carries_its_dead_letter_fits_into_a_message() {
        let large = |bytes: usize| Some(Bytes::from(vec![b'x'; bytes]));
        let headers = (0..500).map(|at| (format!("h{at}"), Bytes::from_static(b"12345678"))).collect();
        let record = Record {
            place: crate::payload::Place { partition: "p".repeat(5_000), offset: i64::MAX },
            key: large(2_000_000),
            value: large(2_000_000),
            headers,
            timestamp_ms: Some(i64::MAX),
            request: Err(Poison::Panic),
        };
        let letter = message("dlq", &record, &Poison::Panic);
        assert!(letter.size() <= MAX_MESSAGE_BYTES, "{}", letter.size());
        assert_eq!(text(&letter.headers, KEY_DROPPED), Some("2000000"));
        assert_eq!(text(&letter.headers, TRUNCATED_FROM), Some("2000000"));
        let kept = letter.headers.iter().filter(|(name, _)| name.starts_with('h') && name != HEADERS_DROPPED).count();
        assert_eq!(text(&letter.headers, HEADERS_DROPPED), Some((500 - kept).to_string().as_str()));
        assert!(kept > 20, "{kept}");
        let record = Record { key: large(MAX_KEY), ..record };
        let letter = message("dlq", &record, &Poison::Panic);
        assert!(letter.size() <= MAX_MESSAGE_BYTES && letter.key.is_some(), "{}", letter.size());
    }
}
