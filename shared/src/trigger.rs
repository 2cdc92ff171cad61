//! One record as Lambda's trigger for Kafka puts it into JSON: key and value in base64, header bytes *signed*, as Java has
//! them. In the persisting function's payload it is a request; the event source's failure topic keeps it in the same shape.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

/// Why a record's bytes cannot be had from its JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// Not a record of this shape.
    #[error("the record has no {0}")]
    Record(&'static str),
    /// Key or value is no base64.
    #[error("the record's {0} is no base64")]
    Base64(&'static str),
}

impl Undecodable {
    /// The stable name.
    pub fn reason(self) -> &'static str {
        match self {
            Undecodable::Record(_) => "record",
            Undecodable::Base64(_) => "base64",
        }
    }
}

/// Key and value of a record.
///
/// # Errors
/// The first thing that is wrong with it. Headers and timestamp are not looked at.
pub fn key_and_value(record: &Value) -> Result<(Option<Bytes>, Option<Bytes>), Undecodable> {
    offset(record).ok_or(Undecodable::Record("offset"))?;
    Ok((decode(record, "key")?, decode(record, "value")?))
}

/// The record's offset.
pub fn offset(record: &Value) -> Option<i64> {
    record.get("offset").and_then(Value::as_i64)
}

/// When the record was produced, in milliseconds since the epoch. Kafka's -1 is no time.
pub fn timestamp_ms(record: &Value) -> Option<i64> {
    record.get("timestamp").and_then(Value::as_i64).filter(|ms| *ms >= 0)
}

/// The record's headers, in order. They are no part of what is asked for, so a malformed one is left out and fails nothing.
pub fn headers(record: &Value) -> Vec<(String, Bytes)> {
    let maps = record.get("headers").and_then(Value::as_array).into_iter().flatten();
    let named = maps.filter_map(Value::as_object).flatten();
    named.filter_map(|(name, value)| Some((name.clone(), signed_bytes(value)?))).collect()
}

/// Signed and unsigned bytes are told apart by nothing but their numbers, and mean the same bits.
fn signed_bytes(value: &Value) -> Option<Bytes> {
    let number = |number: &Value| {
        let number = number.as_i64()?;
        i8::try_from(number).map(i8::cast_unsigned).or_else(|_| u8::try_from(number)).ok()
    };
    value.as_array()?.iter().map(number).collect::<Option<Vec<u8>>>().map(Bytes::from)
}

fn decode(record: &Value, field: &'static str) -> Result<Option<Bytes>, Undecodable> {
    match record.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            STANDARD.decode(text).map(|bytes| Some(Bytes::from(bytes))).map_err(|_| Undecodable::Base64(field))
        }
        Some(_) => Err(Undecodable::Base64(field)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(headers_json: Value) -> Vec<(String, Vec<u8>)> {
        let record = json!({ "offset": 1, "key": "YQ==", "value": null, "headers": headers_json });
        assert!(key_and_value(&record).is_ok(), "headers never make a record undecodable: {record}");
        headers(&record).into_iter().map(|(name, value)| (name, value.to_vec())).collect()
    }

    #[test]
    fn header_bytes_are_signed_and_their_order_stays() {
        let read = read(json!([{ "a": [104, 105] }, { "b": [-61, -92] }, { "a": [] }, { "c": [195, 255, -128] }]));
        let expected = [("a", &b"hi"[..]), ("b", "ä".as_bytes()), ("a", b""), ("c", &[195, 255, 128])];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_vec())));
    }

    #[test]
    fn malformed_headers_are_left_out_and_their_neighbours_are_not() {
        let good = vec![("ok".to_owned(), vec![1])];
        for bad in [
            json!({ "bad": "text" }),
            json!({ "bad": null }),
            json!({ "bad": [256] }),
            json!({ "bad": [-129] }),
            json!({ "bad": [1.5] }),
            json!({ "bad": [1, "2"] }),
            json!({ "bad": { "1": 2 } }),
            json!([["bad", [1]]]),
            json!("bad"),
            json!(7),
            Value::Null,
        ] {
            assert_eq!(read(json!([bad, { "ok": [1] }])), good, "{bad}");
        }
        for none in [Value::Null, json!([]), json!({}), json!({ "ok": [1] }), json!("ok"), json!(3)] {
            assert_eq!(read(none.clone()), [], "{none}");
        }
        let absent = json!({ "offset": 1 });
        assert_eq!((headers(&absent), key_and_value(&absent)), (Vec::new(), Ok((None, None))));
    }

    #[test]
    fn a_timestamp_that_is_none_is_none() {
        for (timestamp, expected) in
            [(json!(5), Some(5)), (json!(0), Some(0)), (json!(-1), None), (json!("5"), None), (Value::Null, None)]
        {
            assert_eq!(timestamp_ms(&json!({ "timestamp": timestamp })), expected, "{timestamp}");
        }
    }
}
