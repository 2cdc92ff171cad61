//! Blocks: the organiser takes seats off sale and puts them back, and a call that died half way is continued by the same call.

use axum::http::Method;
use local::client::Answer;
use local::servers::ServerSet;
use serde_json::{Value, json};
use shared::domain::ids::{EventId, Label, ReservationId};
use shared::dynamodb::blocks::Released;
use shared::dynamodb::reservations::Repository;

use crate::harness::storm::{insist, insist_on};
use crate::harness::{Office, eventually, hall, on_both_sets, redis};

on_both_sets!(
    what_is_blocked_is_off_sale_until_it_is_put_back,
    what_others_have_is_not_blocked_and_is_tried_again,
    a_block_is_replaced_by_what_is_sent_last,
    a_block_of_many_chunks_and_sections_is_one_block,
    places_that_are_blocked_are_never_handed_out,
    a_call_that_died_half_way_is_continued_by_the_same_call,
    blocks_survive_the_loss_of_redis,
    a_block_is_nobodys_reservation,
    what_is_wrong_is_named,
);

async fn put(office: &Office, event: &str, block: &str, seats: &[&str]) -> Answer {
    let path = format!("/admin/events/{event}/blocks/{block}");
    let body = json!({ "seats": seats, "note": "camera" });
    let organiser = office.system.organiser().unwrap();
    // The same call continues where a section was still being loaded.
    eventually("an answer that is none of a loaded machine's", || async {
        let answer = organiser.send(Method::PUT, &path, &[], Some(&body)).await.unwrap();
        (answer.status != 503).then_some(answer)
    })
    .await
}

async fn delete(office: &Office, event: &str, block: &str) -> Answer {
    let path = format!("/admin/events/{event}/blocks/{block}");
    office.system.organiser().unwrap().send(Method::DELETE, &path, &[], None).await.unwrap()
}

fn blocked(answer: &Answer) -> (Value, Value) {
    assert_eq!(answer.status, 200, "{}", answer.body);
    (answer.body["blocked"].clone(), answer.body["not_blocked"].clone())
}

/// Free, held, sold and blocked of a section, which are its capacity.
async fn counts(office: &Office, event: &str, section: &str) -> [u64; 4] {
    let page = office.fresh(&format!("/events/{event}")).await;
    let counts = &page.body["availability"][section];
    let each = ["free", "held", "sold", "blocked"].map(|name| counts[name].as_u64().unwrap());
    assert_eq!(counts["capacity"], json!(each.iter().sum::<u64>()), "{counts}");
    each
}

async fn what_is_blocked_is_off_sale_until_it_is_put_back(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("off", &hall::small(1, 4)).await;
    let answer = put(&office, "off", "camera", &["A-1-1", "A-1-2"]).await;
    assert_eq!(answer.body["block_id"], "camera");
    assert_eq!(answer.body["note"], "camera");
    assert_eq!(blocked(&answer), (json!(["A-1-1", "A-1-2"]), json!([])));
    assert_eq!(office.seat_status("off", "A-1-1").await, "blocked");
    assert_eq!(counts(&office, "off", "A").await, [2, 0, 0, 2]);
    let refused = insist(&office.customer("alice"), "off", "k", &["A-1-2", "A-1-3"]).await;
    assert_eq!((refused.text("type"), &refused.body["taken"]), (Some("seats-taken"), &json!(["A-1-2"])));
    // Again it is the same.
    let before = office.scan().await;
    assert_eq!(blocked(&put(&office, "off", "camera", &["A-1-1", "A-1-2"]).await), blocked(&answer));
    assert_eq!(office.scan().await, before);
    for _ in 0..2 {
        assert_eq!(blocked(&delete(&office, "off", "camera").await), (json!([]), json!([])));
        assert_eq!(counts(&office, "off", "A").await, [4, 0, 0, 0]);
    }
    assert_eq!(insist(&office.customer("alice"), "off", "k", &["A-1-2", "A-1-3"]).await.status, 202);
    office.drained().await;
    office.close().await;
}

async fn what_others_have_is_not_blocked_and_is_tried_again(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("others", &hall::small(1, 4)).await;
    let alice = office.customer("alice");
    let held = insist(&alice, "others", "k", &["A-1-1"]).await;
    office.drained().await;
    office.system.event_source().pause();
    insist(&office.customer("bob"), "others", "k", &["A-1-2"]).await;
    assert_eq!(
        blocked(&put(&office, "others", "x", &["A-1-1", "A-1-2", "A-1-3"]).await),
        (json!(["A-1-3"]), json!(["A-1-1", "A-1-2"]))
    );
    office.system.event_source().resume();
    office.drained().await;
    assert_eq!(counts(&office, "others", "A").await, [1, 2, 0, 1]);
    // Another block has them, too.
    assert_eq!(blocked(&put(&office, "others", "y", &["A-1-3"]).await), (json!([]), json!(["A-1-3"])));
    let path = format!("/reservations/{}", held.text("reservation_id").unwrap());
    assert_eq!(alice.send(Method::DELETE, &path, &[], None).await.unwrap().status, 200);
    assert_eq!(
        blocked(&put(&office, "others", "x", &["A-1-1", "A-1-2", "A-1-3"]).await),
        (json!(["A-1-3", "A-1-1"]), json!(["A-1-2"]))
    );
    office.close().await;
}

async fn a_block_is_replaced_by_what_is_sent_last(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("replace", &hall::small(1, 4)).await;
    put(&office, "replace", "x", &["A-1-1", "A-1-2"]).await;
    assert_eq!(blocked(&put(&office, "replace", "x", &["A-1-2", "B-1-1"]).await).0, json!(["A-1-2", "B-1-1"]));
    assert_eq!(office.seat_status("replace", "A-1-1").await, "free");
    assert_eq!(insist(&office.customer("alice"), "replace", "k", &["A-1-1"]).await.status, 202);
    assert_eq!(blocked(&put(&office, "replace", "x", &[]).await), (json!([]), json!([])));
    assert_eq!(counts(&office, "replace", "B").await, [4, 0, 0, 0]);
    office.drained().await;
    office.close().await;
}

async fn a_block_of_many_chunks_and_sections_is_one_block(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("many", &hall::small(6, 50)).await;
    let seats: Vec<String> = (1..=6).flat_map(|row| (1..=50).map(move |seat| format!("A-{row}-{seat}"))).collect();
    let mut names: Vec<&str> = seats.iter().map(String::as_str).collect();
    names.push("B-1-7");
    let answer = put(&office, "many", "all", &names).await;
    assert_eq!(blocked(&answer).0.as_array().unwrap().len(), 301);
    assert_eq!(
        (counts(&office, "many", "A").await, counts(&office, "many", "B").await),
        ([0, 0, 0, 300], [49, 0, 0, 1])
    );
    delete(&office, "many", "all").await;
    assert_eq!(
        (counts(&office, "many", "A").await, counts(&office, "many", "B").await),
        ([300, 0, 0, 0], [50, 0, 0, 0])
    );
    office.close().await;
}

async fn places_that_are_blocked_are_never_handed_out(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("floor", &hall::standing(5)).await;
    assert_eq!(blocked(&put(&office, "floor", "x", &["FLOOR-1", "FLOOR-3"]).await).0, json!(["FLOOR-1", "FLOOR-3"]));
    let alice = office.customer("alice");
    let all = insist_on(&alice, "floor", "k", &json!({ "section": "FLOOR", "quantity": 3 })).await;
    assert_eq!(all.body["seats"], json!(["FLOOR-2", "FLOOR-4", "FLOOR-5"]));
    let refused = insist_on(&alice, "floor", "k2", &json!({ "section": "FLOOR", "quantity": 4 })).await;
    assert_eq!((refused.text("type"), &refused.body["left"]), (Some("sold-out"), &json!(3)), "{}", refused.body);
    delete(&office, "floor", "x").await;
    let more = insist_on(&alice, "floor", "k3", &json!({ "section": "FLOOR", "quantity": 2 })).await;
    assert_eq!(more.body["seats"], json!(["FLOOR-1", "FLOOR-3"]));
    office.drained().await;
    office.close().await;
}

async fn a_call_that_died_half_way_is_continued_by_the_same_call(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("half", &hall::small(1, 4)).await;
    put(&office, "half", "x", &["A-1-1", "A-1-2"]).await;
    let repository = Repository::new(office.table().await);
    let event = EventId::parse("half").unwrap();
    let id = ReservationId::block(&event, "x", &Label::parse("A").unwrap(), 0);
    let chunk = repository.chunks(std::slice::from_ref(&id)).await.unwrap().pop().unwrap();
    // DynamoDB has put them back, and Redis was never told.
    let seats = chunk.seats.clone();
    let released = repository.release(&chunk, &seats, None).await.unwrap();
    assert!(matches!(released, Released::Done(_)), "{released:?}");
    assert_eq!(office.seat_status("half", "A-1-1").await, "blocked");
    assert_eq!(blocked(&delete(&office, "half", "x").await), (json!([]), json!([])));
    assert_eq!(counts(&office, "half", "A").await, [4, 0, 0, 0]);
    assert!(repository.chunks(std::slice::from_ref(&id)).await.unwrap().is_empty());
    // The other way round: DynamoDB has blocked, and Redis was never told.
    put(&office, "half", "x", &["A-1-1"]).await;
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    redis::command::<i64>(&redis, &["SETBIT", "t1:{half}:s:A:taken", "0", "0"]).await;
    redis::command::<i64>(&redis, &["SETBIT", "t1:{half}:s:A:blocked", "0", "0"]).await;
    let late = insist(&office.customer("alice"), "half", "k", &["A-1-1"]).await;
    assert_eq!(late.status, 202, "{}", late.body);
    office.drained().await;
    assert_eq!(office.seat_status("half", "A-1-1").await, "blocked", "the refusal brings the truth back");
    office.close().await;
}

async fn blocks_survive_the_loss_of_redis(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("loss", &hall::small(1, 4)).await;
    put(&office, "loss", "x", &["A-1-1"]).await;
    let redis = redis::connect(&office.system.servers().redis_url()).await;
    redis::command::<String>(&redis, &["FLUSHALL"]).await;
    assert_eq!(office.seat_status("loss", "A-1-1").await, "blocked");
    redis::command::<String>(&redis, &["FLUSHALL"]).await;
    assert_eq!(blocked(&put(&office, "loss", "x", &["A-1-1", "A-1-2"]).await).0, json!(["A-1-1", "A-1-2"]));
    assert_eq!(counts(&office, "loss", "A").await, [2, 0, 0, 2]);
    office.close().await;
}

async fn a_block_is_nobodys_reservation(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("whose", &hall::small(1, 4)).await;
    put(&office, "whose", "x", &["A-1-1"]).await;
    let id = ReservationId::block(&EventId::parse("whose").unwrap(), "x", &Label::parse("A").unwrap(), 0);
    let organiser = office.system.organiser().unwrap();
    let path = format!("/reservations/{id}");
    for answer in [
        organiser.get(&path).await.unwrap(),
        organiser.send(Method::DELETE, &path, &[], None).await.unwrap(),
        organiser.send(Method::POST, &format!("{path}/confirm"), &[], Some(&json!({}))).await.unwrap(),
    ] {
        assert_eq!(answer.text("type"), Some("reservation-not-found"), "{}", answer.body);
    }
    assert_eq!(organiser.get("/reservations").await.unwrap().body["reservations"], json!([]));
    assert_eq!(organiser.get("/events/whose/seats/mine").await.unwrap().body["seats"], json!([]));
    let all = organiser.get("/admin/events/whose/reservations").await.unwrap();
    assert_eq!(all.body["reservations"][0]["seats"], json!(["A-1-1"]), "{}", all.body);
    office.close().await;
}

async fn what_is_wrong_is_named(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("wrong", &hall::small(1, 4)).await;
    let unknown = put(&office, "wrong", "x", &["A-1-1", "A-1-9", "Z-1-1"]).await;
    assert_eq!((unknown.status, unknown.text("type")), (404, Some("seat-not-found")));
    assert_eq!(unknown.body["seats"], json!(["A-1-9", "Z-1-1"]));
    assert_eq!(counts(&office, "wrong", "A").await, [4, 0, 0, 0]);
    let twice = put(&office, "wrong", "x", &["A-1-1", "A-1-1"]).await;
    assert_eq!((twice.status, twice.text("field")), (400, Some("seats[1]")), "{}", twice.body);
    let name = put(&office, "wrong", "~removed", &["A-1-1"]).await;
    assert_eq!((name.status, name.text("field")), (400, Some("block_id")), "{}", name.body);
    assert_eq!(put(&office, "nowhere", "x", &["A-1-1"]).await.text("type"), Some("event-not-found"));
    let path = "/admin/events/wrong/blocks/x";
    let long = json!({ "seats": [], "note": "x".repeat(501) });
    let long = office.system.organiser().unwrap().send(Method::PUT, path, &[], Some(&long)).await.unwrap();
    assert_eq!((long.status, long.text("field")), (400, Some("note")), "{}", long.body);
    let customer = office.customer("alice").send(Method::DELETE, path, &[], None).await.unwrap();
    assert_eq!(customer.status, 403);
    office.close().await;
}
