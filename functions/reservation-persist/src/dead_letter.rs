//! Dead letters: a record that can never be handled goes to our own topic, with its bytes and the reason, and only then
//! is it acknowledged. If that topic cannot be written, the record stays where it is.

use bytes::Bytes;
use shared::kafka::{MAX_MESSAGE_BYTES, Message};

use crate::payload::{Poison, Record};

/// Room kept for key and headers beside a value that has to be cut, in bytes.
const HEADROOM: usize = 8 * 1024;

/// The message that keeps a poisonous record. Headers: `reason`, `detail`, `source-partition` (`<topic>-<n>`),
/// `source-offset`, and `truncated-from` (bytes) where the value was too large to keep whole.
pub fn message(topic: &str, record: &Record, poison: &Poison) -> Message {
    let header = |name: &str, value: String| (name.to_owned(), Bytes::from(value));
    let mut headers = vec![
        header("reason", poison.reason().to_owned()),
        header("detail", poison.to_string()),
        header("source-partition", record.place.partition.clone()),
        header("source-offset", record.place.offset.to_string()),
    ];
    let room = MAX_MESSAGE_BYTES - HEADROOM;
    let key = record.key.clone().filter(|key| key.len() <= HEADROOM / 2);
    let value = record.value.as_ref().map(|value| value.slice(..value.len().min(room)));
    if let Some(whole) = record.value.as_ref().filter(|whole| whole.len() > room) {
        headers.push(header("truncated-from", whole.len().to_string()));
    }
    Message { topic: topic.to_owned(), key, value, headers }
}
