//! Any bytes as a message's value: a request or a refusal with a name, never a panic; and what is a request says the same
//! after it was written and read again.
//!
//!     cargo +nightly fuzz run message fuzz/corpus/message shared/src/message/written

#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::message::Request;

fuzz_target!(|value: &[u8]| {
    match Request::from_value(value) {
        Ok(request) => {
            let key = request.reservation_id.as_str().as_bytes();
            assert_eq!(Request::read(Some(key), Some(&request.to_value())).as_ref(), Ok(&request));
            assert!(Request::read(Some(&key[1..]), Some(value)).is_err());
            request.refusal();
        }
        Err(malformed) => assert!(!malformed.reason().is_empty() && !malformed.to_string().is_empty()),
    }
});
