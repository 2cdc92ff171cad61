//! What docs/CAPACITY.md says of limits and costs is what is calculated, and the calculation is right where it can be checked
//! by hand.

#[path = "../bench/capacity/mod.rs"]
mod model;

use std::collections::{BTreeSet, HashMap};

use model::{Bill, SALES, Sale, first_to_break, hold_units, inputs, limits, messages_per_consumer, paid_units, tables};

use crate::harness::functions::root;

#[test]
fn the_document_has_the_tables_that_are_calculated() {
    let document = std::fs::read_to_string(root().join("docs/CAPACITY.md")).unwrap();
    let calculated = tables::merged(&document).unwrap();
    assert!(document == calculated, "run: cargo bench --profile dev --bench capacity -- --write");
}

#[test]
fn a_table_without_a_place_is_an_error() {
    let document = std::fs::read_to_string(root().join("docs/CAPACITY.md")).unwrap();
    let error = tables::merged(&document.replace("<!-- costs -->", "")).unwrap_err();
    assert!(error.contains("costs"), "{error}");
}

#[test]
fn every_citation_has_its_source_and_every_source_is_cited() {
    let document = std::fs::read_to_string(root().join("docs/CAPACITY.md")).unwrap();
    let cited: BTreeSet<usize> =
        document.split('[').skip(1).filter_map(|rest| rest.split(']').next()?.parse().ok()).collect();
    assert_eq!(cited, (1..=inputs::SOURCES.len()).collect());
}

#[test]
fn a_sale_needs_what_a_hand_calculates() {
    // 600,000 requests in 10 minutes are 1,000 a second, and 3,000 in the busiest.
    let need = Sale { name: "", requests: 600_000.0, minutes: 10.0, seats: 10_000.0, events: 1.0 }.need();
    assert_eq!((need.requests, need.claims, need.granted), (3_000.0, 1_800.0, 900.0));
    // At 20 ms sixty would do, but none is given more than ten requests a second.
    assert_eq!((need.busy_environments, need.environments), (60.0, 300.0));
    assert_eq!((need.environments_s, need.connections_s), (3.0, 3.0));
    // 4 for reservation and count, 2 a seat.
    assert_eq!(need.write_units, 900.0 * 8.0);
    // 100 messages in 7 rounds of 30 ms.
    assert!((messages_per_consumer() - 476.19).abs() < 0.01);
    assert_eq!(need.consumers, 2.0);
    // 900 refused, 900 granted and told, 600 looks, 600 maps.
    let us = 900.0 * 50.0 + 900.0 * 120.0 + 600.0 * 33.0 + 600.0 * 30.0;
    assert!((need.redis - us / 1e6).abs() < 1e-9);
    assert!((need.redis - need.redis_without_maps - 0.018).abs() < 1e-9);
}

#[test]
fn no_more_is_granted_than_there_is() {
    let need = Sale { name: "", requests: 6e7, minutes: 10.0, seats: 200.0, events: 1.0 }.need();
    assert_eq!((need.granted, need.sold_out_s), (100.0, 1.0));
}

#[test]
fn a_hold_costs_what_the_embedded_server_counts() {
    // As tests/persist/cost.rs has it: 6 and 3 for one seat, 12 and 3 for four.
    assert_eq!(hold_units(1.0), (6.0, 3.0));
    assert_eq!(hold_units(4.0), (12.0, 3.0));
    assert_eq!(paid_units(1.0), (4.0, 3.0));
}

#[test]
fn what_is_deployed_is_what_samconfig_and_the_template_say() {
    let prod = std::fs::read_to_string(root().join("samconfig.toml")).unwrap();
    let prod = prod.split("[prod.deploy.parameters]").nth(1).unwrap();
    for (name, input) in [
        ("ReservationApiConcurrency", &inputs::CONCURRENCY),
        ("ReservationsPerSecond", &inputs::RESERVE_THROTTLE),
        ("RequestPartitions", &inputs::PARTITIONS),
        ("WarmWriteUnits", &inputs::WARM_UNITS),
    ] {
        assert!(prod.contains(&format!("\"{name}={}\"", input.value)), "{name} is not {}", input.value);
    }
    assert_eq!(inputs::SHARDS.value, shared::dynamodb::keys::SHARDS.len() as f64);
    let template = std::fs::read_to_string(root().join("template.yaml")).unwrap();
    for (name, input) in [("MaximumPollers", &inputs::POLLERS), ("BatchSize", &inputs::BATCH)] {
        assert!(template.contains(&format!("{name}: {}\n", input.value)), "{name} is not {}", input.value);
    }
}

#[test]
fn the_limit_that_is_exceeded_most_breaks_first() {
    let limits = limits();
    let (what, times) = first_to_break(&SALES[0].need(), &limits, |limit| limit.deployed);
    assert!(times < 1.0, "{what} breaks under the smallest sale");
    let (what, times) = first_to_break(&SALES[1].need(), &limits, |limit| limit.deployed);
    assert_eq!((what, times), ("requests to reserve a second", 1.5));
    let hard = |limit: &model::Limit| if limit.raised { f64::INFINITY } else { limit.aws };
    let (what, _) = first_to_break(&SALES[2].need(), &limits, hard);
    assert_eq!(what, "one core of Redis, an event's slot");
}

#[test]
fn a_bill_is_the_sum_a_hand_finds() {
    let bill = Bill { requests_each: 3_500.0, minutes: 1_440.0 };
    let lines: HashMap<_, _> = bill.lines().into_iter().collect();
    let close = |what: &str, dollars: f64| assert!((lines[what] - dollars).abs() < 0.01, "{what}: {}", lines[what]);
    // 300 million at 1 $ and 50 at 0.90 $.
    close("API Gateway", 345.0);
    // 100,000 times 8 + 3 for the hold and 6 + 3 for the payment: two million units.
    close("DynamoDB, holds and payments", 1.25);
    // Two nodes for 24 hours.
    close("Redis, two nodes", 9.33);
    // 350 million times 1,500 bytes are 525 GB.
    close("logs", 262.5);
}

#[test]
fn numbers_are_written_for_people() {
    for (value, text) in [
        (0.0, "0"),
        (0.02, "0.02"),
        (0.204, "0.204"),
        (1.0, "1"),
        (1_234_567.0, "1,234,567"),
        (0.000_013_333_4, "0.0000133334"),
    ] {
        assert_eq!(tables::number(value), text);
    }
}
