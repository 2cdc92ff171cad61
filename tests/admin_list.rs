//! The organiser's list of an event's reservations: every row once, whatever the page size, the filter, and what is
//! written meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{StreamExt, stream};
use local::client::ApiClient;
use local::servers::ServerSet;
use serde_json::{Value, json};
use shared::clock;
use shared::domain::reservation::{Decision, Outcome, Reason, Step};
use shared::dynamodb::Table;
use shared::dynamodb::changes::End;
use shared::dynamodb::keys;
use shared::dynamodb::reservations::{Hold, Repository};
use shared::dynamodb::rows::ReservationRow;
use shared::message::Request;

use crate::harness::handmade::{Asked, asks, reservation_id};
use crate::harness::proxy::Proxy;
use crate::harness::{Office, Wishes, eventually, hall, on_both_sets};

on_both_sets!(
    every_reservation_is_listed_once_whatever_the_page_size_and_the_filter,
    what_is_written_while_somebody_pages_costs_no_row_and_doubles_none,
    a_page_looks_at_so_many_rows_and_is_short_where_the_filter_drops_them,
    without_redis_a_hold_past_its_end_is_listed_as_held,
    a_cursor_is_good_for_its_event_and_its_filter_and_for_no_other,
    only_the_organiser_lists_and_only_what_there_is,
);

const STATUSES: [&str; 5] = ["HELD", "CONFIRMED", "CANCELLED", "EXPIRED", "REJECTED"];
/// Pages of one list at most: more mean that a cursor goes nowhere.
const MANY_PAGES: usize = 1_000;
/// Rows written at the same time.
const AT_ONCE: usize = 16;

/// Lists an event to its end: the entries, and the length of each page.
async fn listed(organiser: &ApiClient, event: &str, query: &str) -> (Vec<Value>, Vec<usize>) {
    let (mut entries, mut lengths, mut cursor) = (Vec::new(), Vec::new(), String::new());
    for _ in 0..MANY_PAGES {
        let page = organiser.get(&format!("/admin/events/{event}/reservations?{query}{cursor}")).await.unwrap();
        assert_eq!(page.status, 200, "{}", page.body);
        let reservations = page.body["reservations"].as_array().unwrap();
        lengths.push(reservations.len());
        entries.extend(reservations.iter().cloned());
        match page.text("cursor") {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (entries, lengths),
        }
    }
    panic!("no end after {MANY_PAGES} pages of {event}?{query}");
}

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry[field].as_str().unwrap_or_else(|| panic!("no {field}: {entry}"))
}

/// The ids of a list, in which none may stand twice.
fn ids(entries: &[Value]) -> BTreeSet<String> {
    let ids: BTreeSet<String> = entries.iter().map(|entry| text(entry, "reservation_id").to_owned()).collect();
    assert_eq!(ids.len(), entries.len(), "a reservation stands twice");
    ids
}

/// A reservation of customer `n`, alone on its seat, held so many milliseconds from now on, for a second or an hour.
fn request(event: &str, n: usize, held_from_now: i64, long: bool) -> Request {
    let held_at = clock::wall_ms() + held_from_now;
    let seat = format!("A-{}-{}", n / 50 + 1, n % 50 + 1);
    let ends = if long { 3_600_000 } else { 1 };
    asks(event, &format!("customer-{n}"), &[&seat], (held_at, held_at + ends))
}

/// Stores a reservation and takes it to this status; `EXPIRED` is stored, and a short hold only reads so.
async fn store(table: &Table, request: &Request, status: &str) {
    let repository = Repository::new(table.clone());
    if status == "REJECTED" {
        let rejected = ReservationRow::new(request, Decision::plain(Outcome::Rejected(Reason::SeatsTaken)));
        repository.put_unless_stored(rejected).await.unwrap();
        return;
    }
    let Hold::Made(row) = repository.hold(request).await.unwrap() else { panic!("not made") };
    let step = match status {
        "CANCELLED" => Step::Cancel,
        "EXPIRED" => Step::Expire,
        "CONFIRMED" => return confirm(table, request).await,
        _ => return,
    };
    let ended = repository.end(&row, step, request.expires_at_ms + 1).await.unwrap();
    assert!(matches!(ended, End::Ended(_)), "{ended:?}");
}

/// What confirming will do to the row.
async fn confirm(table: &Table, request: &Request) {
    let (client, name) = table.raw();
    let update = client
        .update_item()
        .table_name(name)
        .key("pk", AttributeValue::S(keys::reservation(&request.reservation_id)))
        .key("sk", AttributeValue::S(keys::ALONE.into()))
        .update_expression("SET #status = :confirmed")
        .expression_attribute_names("#status", "status")
        .expression_attribute_values(":confirmed", AttributeValue::S("CONFIRMED".into()));
    update.send().await.unwrap();
}

/// What is known of a stored reservation.
struct Stored {
    reads: &'static str,
    held_at_ms: i64,
}

/// Stores `count` reservations of every status, three in each millisecond, and says as what each reads.
async fn store_many(table: &Table, event: &str, count: usize) -> BTreeMap<String, Stored> {
    let kinds = [
        ("HELD", true),
        ("HELD", false),
        ("REJECTED", true),
        ("CANCELLED", true),
        ("EXPIRED", false),
        ("CONFIRMED", true),
    ];
    let all: Vec<_> = (0..count)
        .map(|n| (request(event, n, (n / 3) as i64 - 100_000, kinds[n % kinds.len()].1), kinds[n % kinds.len()]))
        .collect();
    let stores: Vec<_> = all.iter().map(|(request, (status, _))| store(table, request, status)).collect();
    stream::iter(stores).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    let reads = |(status, long)| if (status, long) == ("HELD", false) { "EXPIRED" } else { status };
    let stored = |(request, kind): (Request, _)| {
        (request.reservation_id.to_string(), Stored { reads: reads(kind), held_at_ms: request.held_at_ms })
    };
    all.into_iter().map(stored).collect()
}

/// Waits until the index shows so many reservations of the event.
async fn indexed(organiser: &ApiClient, event: &str, count: usize) {
    eventually("the whole index", || async {
        (listed(organiser, event, "limit=100").await.0.len() == count).then_some(())
    })
    .await;
}

async fn every_reservation_is_listed_once_whatever_the_page_size_and_the_filter(set: ServerSet) {
    const COUNT: usize = 260;
    let office = Office::open(set).await;
    office.sells("full", &hall::small(1, 1)).await;
    office.sells("empty", &hall::small(1, 1)).await;
    let organiser = office.system.organiser().unwrap();
    let stored = store_many(&office.table().await, "full", COUNT).await;
    indexed(&organiser, "full", COUNT).await;
    for limit in [1, 7, 50, 100] {
        let (entries, lengths) = listed(&organiser, "full", &format!("limit={limit}")).await;
        assert_eq!(ids(&entries), stored.keys().cloned().collect(), "limit {limit}");
        let (last, full) = lengths.split_last().unwrap();
        assert!(full.iter().all(|length| *length == limit) && *last <= limit, "limit {limit}: {lengths:?}");
        let times: Vec<i64> = entries.iter().map(|entry| stored[text(entry, "reservation_id")].held_at_ms).collect();
        assert!(times.is_sorted_by(|one, next| one >= next), "newest first");
        for entry in &entries {
            let id = text(entry, "reservation_id");
            assert_eq!((text(entry, "status"), text(entry, "event_id")), (stored[id].reads, "full"), "{id}");
            assert_eq!(id, reservation_id("full", text(entry, "customer"), "key").as_str());
        }
    }
    let usual = organiser.get("/admin/events/full/reservations").await.unwrap();
    assert_eq!(usual.body["reservations"].as_array().unwrap().len(), 50, "the usual page");

    for status in STATUSES {
        let expected: BTreeSet<String> =
            stored.iter().filter(|(_, stored)| stored.reads == status).map(|(id, _)| id.clone()).collect();
        assert!(expected.len() >= COUNT / 6, "{status}");
        for limit in [7, 100] {
            let (entries, lengths) = listed(&organiser, "full", &format!("status={status}&limit={limit}")).await;
            assert_eq!(ids(&entries), expected, "{status}, limit {limit}");
            assert!(lengths.iter().all(|length| *length <= limit), "{lengths:?}");
            assert!(entries.iter().all(|entry| text(entry, "status") == status), "{status}");
        }
    }
    let none = organiser.get("/admin/events/empty/reservations").await.unwrap();
    assert_eq!(none.body, json!({ "reservations": [], "cursor": null }));
    office.close().await;
}

async fn what_is_written_while_somebody_pages_costs_no_row_and_doubles_none(set: ServerSet) {
    const COUNT: usize = 60;
    let office = Office::open(set).await;
    office.sells("busy", &hall::small(1, 1)).await;
    let (organiser, table) = (office.system.organiser().unwrap(), office.table().await);
    let stored = store_many(&table, "busy", COUNT).await;
    indexed(&organiser, "busy", COUNT).await;
    let repository = Repository::new(table.clone());
    let mut seen: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    for round in 0.. {
        assert!(round < COUNT, "paging ends");
        let page = organiser.get(&format!("/admin/events/busy/reservations?limit=7{cursor}")).await.unwrap();
        seen.extend(page.body["reservations"].as_array().unwrap().iter().cloned());
        let Some(next) = page.text("cursor") else { break };
        cursor = format!("&cursor={next}");
        // Somebody new, a request of long ago that was decided late, and an end for one of those being listed.
        store(&table, &request("busy", 1_000 + round, 0, true), "HELD").await;
        store(&table, &request("busy", 2_000 + round, -200_000, true), "REJECTED").await;
        let ending = repository.get(&reservation_id("busy", &format!("customer-{}", round * 6), "key")).await.unwrap();
        if let Some(row) = ending {
            repository.end(&row, Step::Cancel, clock::wall_ms()).await.unwrap();
        }
    }
    let seen = ids(&seen);
    let missing: Vec<&String> = stored.keys().filter(|id| !seen.contains(*id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(seen.len() > COUNT, "those of long ago were still to come");
    office.close().await;
}

async fn a_page_looks_at_so_many_rows_and_is_short_where_the_filter_drops_them(set: ServerSet) {
    /// More than a page reads of one shard.
    const CROWD: usize = 130;
    const ELDERS: usize = 20;
    let office = Office::open(set).await;
    office.sells("shard", &hall::small(1, 1)).await;
    let (organiser, table) = (office.system.organiser().unwrap(), office.table().await);
    let now = clock::wall_ms();
    let of_shard_7 = |key: &String| keys::shard(&reservation_id("shard", "ada", key)) == '7';
    let crowd = (0..).map(|n| format!("k{n}")).filter(of_shard_7).take(CROWD);
    // Older than all of those, and each at the head of another shard: to take one of them early would lose the crowd.
    let elders = (0..).map(|n| format!("k{n}")).filter(|key| !of_shard_7(key)).take(ELDERS);
    let asked = |(n, key): (usize, String)| {
        let (held_at, seat) = (now + n as i64 - 10_000, format!("A-{}-{}", n / 50 + 1, n % 50 + 1));
        let held = (held_at, held_at + 3_600_000);
        Asked { event: "shard", customer: "ada", key: &key, seats: &[&seat], limit: None, held }.request()
    };
    let requests: Vec<Request> = elders.chain(crowd).enumerate().map(asked).collect();
    let stores: Vec<_> = requests
        .iter()
        .enumerate()
        .map(|(n, request)| store(&table, request, if n == ELDERS { "HELD" } else { "REJECTED" }))
        .collect();
    stream::iter(stores).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    indexed(&organiser, "shard", CROWD + ELDERS).await;

    let (entries, lengths) = listed(&organiser, "shard", "status=HELD&limit=1").await;
    assert_eq!(ids(&entries), BTreeSet::from([requests[ELDERS].reservation_id.to_string()]));
    assert_eq!(lengths[0], 0, "the last of {CROWD} in one shard is not reached at once: {lengths:?}");
    assert!(lengths.len() <= 3, "{lengths:?}");
    for limit in [15, 16, 31, 50, 100] {
        let (entries, lengths) = listed(&organiser, "shard", &format!("limit={limit}")).await;
        assert_eq!(ids(&entries).len(), CROWD + ELDERS, "limit {limit}");
        let (_, full) = lengths.split_last().unwrap();
        assert!(full.iter().all(|length| *length == limit), "without a filter pages are full: {lengths:?}");
    }
    office.close().await;
}

async fn without_redis_a_hold_past_its_end_is_listed_as_held(set: ServerSet) {
    let proxy = Proxy::listen().await;
    let office = Office::open_with(Wishes { front_redis: Some(proxy.front()), ..Wishes::plain(set) }).await;
    office.sells("late", &hall::small(1, 1)).await;
    let (organiser, table) = (office.system.organiser().unwrap(), office.table().await);
    store(&table, &request("late", 1, -10_000, false), "HELD").await;
    store(&table, &request("late", 2, -10_000, false), "EXPIRED").await;
    indexed(&organiser, "late", 2).await;
    let count = async |status: &str| listed(&organiser, "late", &format!("status={status}")).await.0.len();
    assert_eq!((count("HELD").await, count("EXPIRED").await), (0, 2));
    proxy.hold(true);
    assert_eq!((count("HELD").await, count("EXPIRED").await), (1, 1));
    proxy.hold(false);
    office.close().await;
}

async fn a_cursor_is_good_for_its_event_and_its_filter_and_for_no_other(set: ServerSet) {
    let office = Office::open(set).await;
    let (organiser, table) = (office.system.organiser().unwrap(), office.table().await);
    for event in ["mine", "other"] {
        office.sells(event, &hall::small(1, 1)).await;
        store_many(&table, event, 12).await;
        indexed(&organiser, event, 12).await;
    }
    let get = async |query: &str| organiser.get(&format!("/admin/events/mine/reservations?{query}")).await.unwrap();
    let page = organiser.get("/admin/events/other/reservations?limit=1").await.unwrap();
    let of_another_event = page.text("cursor").unwrap().to_owned();
    let filtered = get("limit=1&status=REJECTED").await.text("cursor").unwrap().to_owned();
    let plain = get("limit=1").await.text("cursor").unwrap().to_owned();
    assert_eq!(get(&format!("status=REJECTED&cursor={filtered}")).await.status, 200);
    assert_eq!(get(&format!("limit=100&cursor={plain}")).await.status, 200, "of another page size");

    let forged = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let id = reservation_id("mine", "customer-1", "key");
    let foreign = reservation_id("other", "customer-1", "key");
    for (query, cursor) in [
        ("", of_another_event),
        ("", filtered.clone()),
        ("status=HELD", filtered),
        ("status=HELD", plain),
        ("", "%25%25".to_owned()),
        ("", "bm90IG91cnM".to_owned()),
        ("", String::new()),
        ("", forged(json!({}))),
        ("", forged(json!({ "status": null, "before": "" }))),
        ("", forged(json!({ "status": null, "before": id }))),
        ("", forged(json!({ "status": null, "before": format!("1#{id}") }))),
        ("", forged(json!({ "status": null, "before": format!("-000000000001#{id}") }))),
        ("", forged(json!({ "status": null, "before": format!("0000000000001#{foreign}") }))),
        ("", forged(json!({ "status": null, "before": "0000000000001#mine" }))),
        ("", forged(json!({ "status": "NEW", "before": format!("0000000000001#{id}") }))),
        ("", forged(json!({ "status": null, "before": format!("0000000000001#{id}"), "shard": "0" }))),
        ("", forged(json!({ "pk": format!("x{id}"), "sk": "-", "customer": "customer-1", "created_at_id": "1" }))),
    ] {
        let refused = get(&format!("{query}&cursor={cursor}")).await;
        let seen = (refused.status, refused.text("type"), refused.text("field"));
        assert_eq!(seen, (400, Some("invalid-request"), Some("cursor")), "{query} {cursor}: {}", refused.body);
    }
    office.close().await;
}

async fn only_the_organiser_lists_and_only_what_there_is(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("doors", &hall::small(1, 1)).await;
    let organiser = office.system.organiser().unwrap();
    let path = "/admin/events/doors/reservations";
    let payments = local::system::token("ada", &["tickets/payments"]).unwrap();
    let anyone = office.system.anyone();
    for (client, status) in [(anyone.clone(), 401), (office.customer("ada"), 403), (anyone.with_token(&payments), 403)]
    {
        let refused = client.get(path).await.unwrap();
        assert_eq!(refused.status, status, "{}", refused.body);
        assert!(refused.body["message"].is_string() && refused.body.get("type").is_none(), "{}", refused.body);
    }
    for (query, field) in [
        ("status=PENDING", "status"),
        ("status=held", "status"),
        ("status=", "status"),
        ("status=HELD,EXPIRED", "status"),
        ("status=HELD&status=HELD", "query"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=all", "limit"),
        ("limit=1&limit=1", "query"),
        ("status=%FF", "status"),
    ] {
        let refused = organiser.get(&format!("{path}?{query}")).await.unwrap();
        assert_eq!((refused.status, refused.text("field")), (400, Some(field)), "{query}: {}", refused.body);
    }
    for event in ["nowhere", "DOORS", "%FF"] {
        let refused = organiser.get(&format!("/admin/events/{event}/reservations")).await.unwrap();
        assert_eq!((refused.status, refused.text("type")), (404, Some("event-not-found")), "{event}");
    }
    // As in the other lists, what is not a parameter says nothing.
    let listed = organiser.get(&format!("{path}?colour=red&limit=1")).await.unwrap();
    assert_eq!((listed.status, listed.body), (200, json!({ "reservations": [], "cursor": null })));
    office.close().await;
}
