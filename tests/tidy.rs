//! Rules about the source that no compiler checks: they keep the numbered invariants of the architecture true in every file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use local::gateway::{Auth, ROUTES};
use shared::dynamodb::keys::INDEXES;

use crate::harness::functions::root;

/// Lines of a file at most.
const MAX_LINES: usize = 400;

/// Every Rust file of the project by its path within it.
fn sources() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> =
        ["functions", "local", "shared", "tests", "bench"].map(|name| root().join(name)).into();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(found.len() > 80, "only {} files found", found.len());
    found
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The code that is deployed or served: without tests, comments and what follows `#[cfg(test)] mod tests {`.
pub fn product() -> BTreeMap<String, String> {
    let is_test = |name: &str| name.starts_with("tests/") || name.ends_with("tests.rs") || name.contains("tests/");
    let code = |text: String| {
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
    };
    sources().into_iter().filter(|(name, _)| !is_test(name)).map(|(name, text)| (name, code(text))).collect()
}

/// The files of the product that say any of `words`.
fn saying(words: &[&str]) -> BTreeSet<String> {
    let says = |text: &String| words.iter().any(|word| text.contains(word));
    product().into_iter().filter(|(_, text)| says(text)).map(|(name, _)| name).collect()
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn every_file_begins_with_what_it_is_for() {
    let silent: Vec<String> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(name, _)| name).collect();
    assert!(silent.is_empty(), "these do not begin with `//! `: {silent:?}");
}

#[test]
fn no_file_is_longer_than_a_reader_bears() {
    let lines = |text: &String| text.lines().count();
    let long: Vec<(String, usize)> = sources()
        .into_iter()
        .map(|(name, text)| (name, lines(&text)))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .collect();
    assert!(long.is_empty(), "more than {MAX_LINES} lines: {long:?}");
}

#[test]
fn only_the_configurations_read_the_environment() {
    let readers = saying(&["env::var", "env::vars", "env::set_var", "env::remove_var"]);
    assert_eq!(readers, names(&["local/src/config.rs", "shared/src/config.rs"]));
}

#[test]
fn only_the_keys_files_spell_keys() {
    let redis = saying(&["\"t1:", ":claims\"", ":taken\"", ":blocked\"", "{{{event}}}"]);
    assert_eq!(redis, names(&["shared/src/redis/keys.rs"]));
    let table = saying(&[
        "EVENT#",
        "\"EVENTS\"",
        "LAYOUT#",
        "SEATS#",
        "LIMIT#",
        "RES#",
        "JOB#",
        "SETTLED#",
        "expire#",
        "settle#",
    ]);
    assert_eq!(table, names(&["shared/src/dynamodb/keys.rs"]));
}

#[test]
fn only_the_problems_and_the_routes_of_the_api_know_http_status_codes() {
    let functions: BTreeSet<String> =
        saying(&["StatusCode"]).into_iter().filter(|name| !name.starts_with("local/")).collect();
    let (routes, others): (Vec<String>, Vec<String>) =
        functions.into_iter().partition(|name| name.starts_with("functions/reservation-api/src/routes"));
    assert_eq!(others, ["functions/reservation-api/src/problem/slug.rs"]);
    assert!(!routes.is_empty());
    for name in routes {
        let text = &product()[&name];
        for refused in [
            "StatusCode::BAD_",
            "StatusCode::UN",
            "StatusCode::FORBIDDEN",
            "StatusCode::NOT_FOUND",
            "StatusCode::CONFLICT",
        ] {
            assert!(!text.contains(refused), "{name} answers a refusal itself: {refused}");
        }
    }
}

/// `METHOD /path` of every route that the API's router serves.
pub fn router() -> BTreeSet<String> {
    let text = &product()["functions/reservation-api/src/routes.rs"];
    let mut routes = BTreeSet::new();
    for route in text.split(".route(").skip(1) {
        let path = route.split('"').nth(1).unwrap();
        // One call may take several methods: get(a).delete(b).
        let methods = route.split_once(',').unwrap().1.split("\n").next().unwrap();
        for method in ["get", "post", "put", "delete"] {
            if methods.contains(&format!("{method}(")) {
                routes.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    assert!(routes.len() >= 8, "{routes:?}");
    routes
}

/// `METHOD /path` of every route the template opens, and the scope it asks for, `-` where it asks for no token.
fn template_routes() -> BTreeMap<String, String> {
    let text = read("template.yaml");
    let value = |line: &str, name: &str| {
        let rest = line.split_once(&format!("{name}: "))?.1;
        Some(rest.trim_start_matches('"').split(['"', ',', ' ']).next()?.to_owned())
    };
    let routes = text.lines().filter(|line| line.contains("ApiId: !Ref Api, Method"));
    let scope = |line: &str| match line.split_once("AuthorizationScopes: [") {
        Some((_, rest)) => rest.split(']').next().unwrap_or_default().to_owned(),
        None if line.contains("Authorizer: NONE") => "-".to_owned(),
        None => String::new(),
    };
    routes
        .map(|line| (format!("{} {}", value(line, "Method").unwrap(), value(line, "Path").unwrap()), scope(line)))
        .collect()
}

#[test]
fn every_route_stands_in_the_gateway_and_in_the_template_with_the_same_door() {
    let gateway: BTreeMap<String, String> = ROUTES
        .iter()
        .map(|route| {
            let door = match route.auth {
                Auth::None => "-",
                Auth::Jwt => "",
                Auth::Scope(scope) => scope,
            };
            (format!("{} {}", route.method, route.path), door.to_owned())
        })
        .collect();
    let template = template_routes();
    for route in router() {
        let door = gateway.get(&route).unwrap_or_else(|| panic!("the gateway does not know {route}"));
        assert_eq!(template.get(&route), Some(door), "template.yaml, {route}");
    }
    // The template may open a route before the function serves it; never one that the gateway's stand-in lacks.
    for (route, door) in &template {
        assert_eq!(gateway.get(route), Some(door), "local/src/gateway/routes.rs, {route}");
    }
}

/// `METHOD /path` of every row of the README's table: the row's first code, without what may follow the path.
fn readme_routes() -> Option<BTreeSet<String>> {
    let readme = std::fs::read_to_string(root().join("README.md")).ok()?;
    let codes = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned));
    let routes =
        codes.filter(|code| ["GET /", "POST /", "PUT /", "DELETE /"].iter().any(|method| code.starts_with(method)));
    Some(routes.map(|route| route.split(['[', '?']).next().unwrap().trim().to_owned()).collect())
}

#[test]
fn the_readme_names_the_routes_there_are_and_no_other() {
    if let Some(routes) = readme_routes() {
        assert_eq!(routes, router());
    }
}

#[test]
fn the_template_has_the_indexes_that_the_code_creates_and_queries() {
    let text = read("template.yaml");
    let table = text.split("GlobalSecondaryIndexes:").nth(1).unwrap();
    let value = |line: &str, name: &str| {
        line.split_once(&format!("{name}: ")).map(|(_, rest)| rest.split([',', ' ', '}']).next().unwrap().to_owned())
    };
    let mut indexes: Vec<[String; 4]> = Vec::new();
    for line in table.lines().skip(1).map(str::trim).take_while(|line| !line.is_empty()) {
        if let Some(name) = value(line, "- IndexName") {
            indexes.push([name, String::new(), String::new(), String::new()]);
        }
        let Some(index) = indexes.last_mut() else { continue };
        match (value(line, "AttributeName"), value(line, "KeyType").as_deref(), value(line, "ProjectionType")) {
            (Some(name), Some("HASH"), _) => index[1] = name,
            (Some(name), Some("RANGE"), _) => index[2] = name,
            (_, _, Some(projection)) => index[3] = projection,
            _ => {}
        }
    }
    let code: Vec<[String; 4]> = INDEXES
        .iter()
        .map(|(name, hash, range, whole)| {
            [*name, *hash, *range, if *whole { "ALL" } else { "KEYS_ONLY" }].map(str::to_owned)
        })
        .collect();
    assert_eq!(indexes, code);
    for attribute in INDEXES.iter().flat_map(|(_, hash, range, _)| [hash, range]) {
        let defined = format!("AttributeName: {attribute}, AttributeType: S");
        assert!(text.contains(&defined), "template.yaml does not define {attribute}");
    }
}

#[test]
fn every_event_has_a_golden_and_every_golden_an_event() {
    use crate::harness::functions::{events, goldens};
    let (events, goldens): (BTreeSet<_>, BTreeSet<_>) =
        (events().into_keys().collect(), goldens().into_keys().collect());
    assert_eq!(events, goldens);
}
