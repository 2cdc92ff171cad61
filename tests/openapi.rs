//! The API's description: it says what the router serves, what `problem.rs` refuses and what the goldens show, and nothing
//! that is not so; and its snapshot in `docs/` is what the code makes of it.

use std::collections::{BTreeMap, BTreeSet};

use local::gateway::{Auth, ROUTES};
use local::servers::ServerSet;
use serde_json::Value;
use shared::domain::document::{MIN_HOLD_SECONDS, MIN_LOCAL_HOLD_SECONDS};

use crate::harness::functions::{events, goldens, root};
use crate::harness::{Office, on_both_sets};
use crate::tidy::router;

on_both_sets!(the_description_is_served_to_anyone);

/// What the function itself says of routes that are not described.
const OF_NO_ROUTE: [&str; 2] = ["method-not-allowed", "route-not-found"];

fn description() -> Value {
    serde_json::to_value(reservation_api::openapi::document(MIN_HOLD_SECONDS)).unwrap()
}

/// `METHOD /path` and the operation of everything described.
pub fn operations(description: &Value) -> BTreeMap<String, Value> {
    let paths = description["paths"].as_object().unwrap();
    let of_path = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().iter();
        methods
            .map(|(method, operation)| (format!("{} {path}", method.to_uppercase()), operation.clone()))
            .collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

/// The slugs that an operation describes, by status.
fn slugs(operation: &Value) -> BTreeMap<u16, BTreeSet<String>> {
    let responses = operation["responses"].as_object().unwrap();
    let refused = responses.iter().filter_map(|(status, response)| {
        let narrowed = &response["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"];
        let names = narrowed["type"]["enum"].as_array()?;
        assert_eq!(narrowed["status"]["enum"][0].to_string(), *status);
        Some((status.parse().unwrap(), names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()))
    });
    refused.collect()
}

/// Every slug there is, as the schema of refusals lists them.
pub fn known_slugs() -> BTreeSet<String> {
    let names = &description()["components"]["schemas"]["Problem"]["properties"]["type"]["enum"];
    names.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_snapshot_is_what_the_code_says() {
    let kept = std::fs::read_to_string(root().join("docs/openapi.json")).unwrap_or_default();
    let made = reservation_api::openapi::document(MIN_HOLD_SECONDS).to_pretty_json().unwrap() + "\n";
    let differs = kept.lines().zip(made.lines()).enumerate().find(|(_, (kept, made))| kept != made);
    assert!(kept == made, "docs/openapi.json is out of date, first in {differs:?}; renew it with `make openapi`");
}

#[test]
fn every_route_is_described_with_its_door_and_no_other() {
    let description = description();
    let described: BTreeMap<String, Option<Value>> = operations(&description)
        .into_iter()
        .map(|(route, operation)| (route, operation.get("security").cloned()))
        .collect();
    let router = router();
    let served: BTreeMap<String, Option<Value>> = ROUTES
        .iter()
        .map(|route| {
            let security = match route.auth {
                Auth::None => Some(serde_json::json!([])),
                // As the whole document says.
                Auth::Jwt => None,
                Auth::Scope(scope) => Some(serde_json::json!([{ "token": [scope] }])),
            };
            (format!("{} {}", route.method, route.path), security)
        })
        .filter(|(route, _)| router.contains(route))
        .collect();
    assert_eq!(
        described.keys().cloned().collect::<BTreeSet<_>>(),
        router,
        "openapi/routes.rs against the router's routes"
    );
    assert_eq!(described, served, "openapi/routes.rs against the gateway's doors");
    assert_eq!(description["security"], serde_json::json!([{ "token": [] }]));
}

#[test]
fn every_slug_is_described_where_it_may_be_met() {
    let mut met: BTreeSet<String> = OF_NO_ROUTE.map(str::to_owned).into();
    met.extend(operations(&description()).values().flat_map(|operation| slugs(operation).into_values().flatten()));
    assert_eq!(met, known_slugs(), "a slug of no route in functions/reservation-api/src/openapi/routes.rs");
}

#[test]
fn every_field_of_a_refusal_is_described_and_seen() {
    let described: BTreeSet<String> =
        description()["components"]["schemas"]["Problem"]["properties"].as_object().unwrap().keys().cloned().collect();
    let mut seen = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("tests/snapshots")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let problem: Value = serde_json::from_str(text.splitn(3, "---").last().unwrap()).unwrap();
        seen.extend(problem.as_object().unwrap().keys().cloned());
    }
    assert_eq!(described, seen);
}

#[test]
fn every_link_leads_to_an_operation_and_names_its_parameters() {
    let operations = operations(&description());
    let by_id: BTreeMap<&str, &Value> =
        operations.values().map(|operation| (operation["operationId"].as_str().unwrap(), operation)).collect();
    assert_eq!(by_id.len(), operations.len(), "operation ids are of one operation each");
    let mut links = 0;
    for operation in operations.values() {
        for response in operation["responses"].as_object().unwrap().values() {
            for link in response["links"].as_object().into_iter().flat_map(|links| links.values()) {
                let target = by_id[link["operationId"].as_str().unwrap()];
                let takes: Vec<&str> = target["parameters"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|taken| taken["name"].as_str().unwrap())
                    .collect();
                let given = link["parameters"].as_object().unwrap();
                assert!(given.keys().all(|name| takes.contains(&name.as_str())), "{link}");
                links += 1;
            }
        }
    }
    assert!(links > 40, "only {links} links");
}

/// Each payload of `events/` is answered as described: with its status, its content type, its slug and its headers.
#[test]
fn the_goldens_are_described() {
    let (operations, goldens) = (operations(&description()), goldens());
    let mut compared = 0;
    for (name, event) in events() {
        let Some(operation) = event["routeKey"].as_str().and_then(|route| operations.get(route)) else { continue };
        let golden = &goldens[&name];
        let status = golden["statusCode"].as_u64().unwrap();
        let response = &operation["responses"][status.to_string()];
        assert!(response.is_object(), "{name}: {status} is not described");
        let header = |header: &str| golden["headers"][header].as_str();
        if let Some(content_type) = header("content-type") {
            assert!(response["content"][content_type].is_object(), "{name}: {content_type} is not described");
        }
        if header("content-type") == Some("application/problem+json") {
            let slug = golden["body"]["type"].as_str().unwrap();
            let described = &slugs(operation)[&u16::try_from(status).unwrap()];
            assert!(described.contains(slug), "{name}: {slug} is not described");
        }
        let described: BTreeMap<String, bool> = response["headers"].as_object().map_or_else(BTreeMap::new, |headers| {
            headers.iter().map(|(name, header)| (name.to_lowercase(), header["required"] == true)).collect()
        });
        let sent: Vec<&String> = golden["headers"].as_object().unwrap().keys().collect();
        let plain = |name: &str| ["content-length", "content-type"].contains(&name);
        let silent: Vec<&&String> =
            sent.iter().filter(|name| !plain(name) && !described.contains_key(**name)).collect();
        assert!(silent.is_empty(), "{name}: {silent:?} are not described");
        let missing: Vec<&String> =
            described.iter().filter(|(name, always)| **always && !sent.contains(name)).map(|(name, _)| name).collect();
        assert!(missing.is_empty(), "{name}: {missing:?} are missing");
        compared += 1;
    }
    assert!(compared > 50, "only {compared} goldens compared");
}

async fn the_description_is_served_to_anyone(set: ServerSet) {
    let office = Office::open(set).await;
    let answer = office.system.anyone().get("/openapi.json").await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=3600"));
    // The local system takes shorter holds, and says so.
    let local = reservation_api::openapi::document(MIN_LOCAL_HOLD_SECONDS);
    assert_eq!(answer.body, serde_json::to_value(local).unwrap());
    let hold = &answer.body["components"]["schemas"]["EventDocument"]["properties"]["hold_seconds"];
    assert_eq!(hold["minimum"], MIN_LOCAL_HOLD_SECONDS);
    office.close().await;
}
