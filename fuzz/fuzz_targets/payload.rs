//! Any JSON as the trigger's payload: it is no Kafka event, or each of its records is a request or poison with a reason, in
//! the order in which they are reported; never a panic.
//!
//!     cargo +nightly fuzz run payload fuzz/corpus/payload events

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|payload: &[u8]| {
    let Ok(payload) = serde_json::from_slice::<Value>(payload) else { return };
    let Ok(records) = reservation_persist::decode(&payload) else { return };
    let listed = payload["records"].as_object().into_iter().flat_map(|partitions| partitions.values());
    assert_eq!(records.len(), listed.map(|list| list.as_array().map_or(0, Vec::len)).sum::<usize>());
    assert!(records.is_sorted_by(|a, b| a.place <= b.place));
    for record in records {
        match record.request {
            Ok(request) => assert_eq!(record.key.as_deref(), Some(request.reservation_id.as_str().as_bytes())),
            Err(poison) => assert!(!poison.reason().is_empty()),
        }
    }
});
