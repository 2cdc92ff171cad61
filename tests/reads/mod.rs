//! Reads at the scale of an on-sale: maps in two forms, tags that change when a status does, copies that are a second old at
//! most, and crowds that cause one read.
//!
//! [`tag`]: equal statuses, equal tag. [`forms`]: the two forms, the layout, and what caches are told. [`counted`]: what Redis
//! counts for whom. [`crowd`]: a cold event, and many who look. [`resumed`]: a load that broke off. [`pages`]: what is seen,
//! and when. [`listed`]: the list of events. [`copied`]: an event in Redis. [`away`]: Redis away.

mod away;
mod copied;
mod counted;
mod crowd;
mod forms;
mod listed;
mod pages;
mod resumed;
mod tag;

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The media type of the compact form.
const COMPACT: (&str, &str) = ("accept", "application/vnd.event-tickets.seatmap+json");
/// Past every copy.
const NO_CACHE: (&str, &str) = ("cache-control", "no-cache");
/// What a machine that builds beside the test may take longer.
const SLACK: Duration = Duration::from_secs(2);

/// The status of each seat that a readable map lists.
fn readable(map: &Value) -> BTreeMap<String, String> {
    let sections = map["sections"].as_array().into_iter().flatten();
    let seats = sections.flat_map(|section| section["seats"].as_array().into_iter().flatten());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    seats.map(|seat| (text(&seat["id"]), text(&seat["status"]))).collect()
}

/// The same of a compact map and its layout, as a program that has only read the README would.
fn unpacked(map: &Value, layout: &Value) -> BTreeMap<String, String> {
    assert_eq!(map["version"], layout["version"]);
    let mut seats = BTreeMap::new();
    for section in map["sections"].as_array().unwrap() {
        let Some(statuses) = section["statuses"].as_str() else { continue };
        let statuses = STANDARD.decode(statuses).unwrap();
        let mut two_bits = statuses.iter().flat_map(|byte| [6, 4, 2, 0].map(|shift| byte >> shift & 3));
        let laid_out = layout["sections"].as_array().unwrap().iter().find(|other| other["id"] == section["id"]);
        for row in laid_out.unwrap()["rows"].as_array().unwrap() {
            let labels: Vec<String> = match &row["seats"] {
                Value::Array(labels) => labels.iter().map(|label| label.as_str().unwrap().to_owned()).collect(),
                count => (1..=count.as_u64().unwrap()).map(|label| label.to_string()).collect(),
            };
            for label in labels {
                let id = format!("{}-{}-{label}", section["id"].as_str().unwrap(), row["id"].as_str().unwrap());
                let status = ["free", "held", "sold", "blocked"][usize::from(two_bits.next().unwrap())];
                seats.insert(id, status.to_owned());
            }
        }
        let rest: Vec<u8> = two_bits.collect();
        assert!(rest.len() < 4 && rest.iter().all(|status| *status == 0), "more statuses than seats");
    }
    seats
}
