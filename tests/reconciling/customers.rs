//! What customers have in Redis: whatever is lost, left over or wrong is made what the table has, so that the limit holds for
//! all and binds nobody too early; nothing that is newer is overwritten; a bounded part a run.

use std::collections::BTreeMap;

use local::client::ApiClient;
use local::servers::ServerSet;
use scheduled_jobs::{Jobs, run_job};
use serde_json::{Value, json};
use shared::clock;
use shared::domain::ids::{CustomerId, ReservationId};
use shared::dynamodb::keys::shard;
use shared::redis::{Redis, keys};
use tokio::time::Instant;

use super::{Desk, NOBODY, kinds, reconciled};
use crate::harness::changing::{cancel, confirm};
use crate::harness::handmade::reservation_id;
use crate::harness::storm::insist;
use crate::harness::wire::{Fate, Gate, Wire};
use crate::harness::{PATIENCE, hall, on_both_sets, redis};

on_both_sets!(
    whatever_is_wrong_with_an_entry_is_repaired_and_told,
    what_is_lost_is_counted_again_and_what_is_left_over_no_more,
    a_claim_on_its_way_is_left_alone,
    an_entry_that_was_told_anew_after_the_look_stays,
    a_hold_given_up_between_look_and_repair_is_taken_back,
    entries_are_compared_a_bounded_part_a_run,
    a_row_that_cannot_be_read_keeps_nobody_else_waiting_and_its_entry_stays,
);

/// An event of which everybody may have three seats.
async fn limited(set: ServerSet, event: &str) -> Desk {
    Desk::selling(set, event, &hall::with(hall::small(2, 10), "max_per_customer", json!(3))).await
}

impl Desk {
    async fn entry(&self, customer: &str, id: &ReservationId) -> Option<String> {
        redis::command(&self.raw, &["HGET", &self.entries_of(customer), id.uuid()]).await
    }

    async fn holds(&self, client: &ApiClient, seats: &[&str]) -> ReservationId {
        self.office.holds(client, self.event.as_str(), seats[0], seats).await
    }

    /// A runner with a wire of its own to the table, on which reading that reservation by its id waits at a gate.
    async fn runner_at_row(&self, id: &ReservationId) -> (Jobs, Gate) {
        let gate = Gate::shut();
        let (held, id) = (gate.clone(), id.to_string());
        let wire = Wire::new(move |operation, body| {
            if operation == "BatchGetItem" && body.to_string().contains(&id) {
                Fate::HoldReply(held.clone())
            } else {
                Fate::Pass
            }
        });
        let config = self.office.system.config();
        let redis = Redis::connect(&config.redis_url, 1).await.unwrap();
        (Jobs::new(config, redis, wire.under(&self.office.table().await)), gate)
    }
}

async fn a_row_that_cannot_be_read_keeps_nobody_else_waiting_and_its_entry_stays(set: ServerSet) {
    let desk = limited(set, "pill").await;
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|customer| desk.office.customer(customer));
    let (pill, lost) = (desk.holds(&alice, &["A-1-1"]).await, desk.holds(&bob, &["A-1-2"]).await);
    // One that is read with the pill, on one page.
    let key = (0..).map(|n| n.to_string()).find(|key| {
        let id = reservation_id("pill", "carol", key);
        shard(&id) == shard(&pill)
    });
    let beside = desk.office.holds(&carol, "pill", &key.unwrap(), &["A-1-3"]).await;
    desk.office.spoil(&pill).await;
    // In his stands what nobody can judge, and one that needs no row to be judged.
    let hers = desk.entry("alice", &pill).await;
    desk.redis(&["HSET", &desk.entries_of("bob"), pill.uuid(), "0:1:s:A-1-1"]).await;
    desk.redis(&["HSET", &desk.entries_of("bob"), NOBODY, "0:1:s:A-1-4"]).await;
    desk.redis(&["HDEL", &desk.entries_of("bob"), lost.uuid()]).await;
    desk.redis(&["HDEL", &desk.entries_of("carol"), beside.uuid()]).await;
    let done = desk.reconcile().await;
    assert_eq!((done.repaired, done.unsettled), (kinds([("entry-missing", 2), ("entry-of-nobody", 1)]), 1));
    assert!(hers.is_some() && desk.entry("alice", &pill).await == hers);
    assert!(desk.entry("bob", &lost).await.is_some() && desk.entry("carol", &beside).await.is_some());
    // Lists leave it out; what the organiser owes may be in it, and is not told without.
    let organiser = desk.office.system.organiser().unwrap();
    let listed = async |client: &ApiClient, path: &str| {
        let answer = client.get(path).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["reservations"].as_array().unwrap().len()
    };
    assert_eq!(listed(&alice, "/reservations").await, 0);
    assert_eq!(listed(&organiser, "/admin/events/pill/reservations").await, 2);
    let report = organiser.get("/admin/events/pill/report").await.unwrap();
    assert_eq!((report.status, report.text("type")), (503, Some("unavailable")), "{}", report.body);
    desk.office.close().await;
}

/// The caller's own seats, with their statuses.
async fn mine(client: &ApiClient, event: &str) -> BTreeMap<String, String> {
    let answer = client.get(&format!("/events/{event}/seats/mine")).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let text = |seat: &Value, name: &str| seat[name].as_str().unwrap().to_owned();
    answer.body["seats"].as_array().unwrap().iter().map(|seat| (text(seat, "id"), text(seat, "status"))).collect()
}

async fn whatever_is_wrong_with_an_entry_is_repaired_and_told(set: ServerSet) {
    let desk = limited(set, "entries").await;
    let alice = desk.office.customer("alice");
    let held = desk.holds(&alice, &["A-1-1"]).await;
    let sold = desk.holds(&alice, &["A-1-2"]).await;
    assert_eq!(confirm(&desk.office.payments(), &sold, "p").await.status, 200);
    let gone = desk.holds(&alice, &["A-1-3"]).await;
    assert_eq!(cancel(&alice, &gone).await.status, 200);
    assert_eq!(desk.repaired().await, kinds([]), "nothing is wrong yet");

    let entries = desk.entries_of("alice");
    let (of_held, of_sold) = (desk.entry("alice", &held).await.unwrap(), desk.entry("alice", &sold).await.unwrap());
    let (end, _) = of_held.split_once(':').unwrap();
    let longer = format!("{}:1:h:A-1-1", end.parse::<i64>().unwrap() + 60_000);
    let [held_id, sold_id, gone_id] = [&held, &sold, &gone].map(ReservationId::uuid);
    for (words, kind) in [
        (&["HDEL", &entries, held_id][..], "entry-missing"),
        (&["HDEL", &entries, sold_id], "entry-missing"),
        (&["HSET", &entries, held_id, "1:1:h:A-1-1"], "entry-missing"),
        (&["HSET", &entries, held_id, &longer], "entry-wrong"),
        (&["HSET", &entries, held_id, "0:1:s:A-1-1"], "entry-wrong"),
        (&["HSET", &entries, sold_id, "0:2:s:A-1-1,A-1-2"], "entry-wrong"),
        (&["HSET", &entries, sold_id, "rubbish"], "entry-wrong"),
        (&["HSET", &entries, gone_id, "0:1:s:A-1-3"], "entry-of-nobody"),
        (&["HSET", &entries, NOBODY, "0:1:s:A-1-4"], "entry-of-nobody"),
        (&["HSET", &entries, NOBODY, "9999999999999:1:c:A-1-4"], "entry-of-nobody"),
        (&["HSET", &entries, "no-uuid", "0:1:s:A-1-4"], "entry-of-nobody"),
    ] {
        desk.redis(words).await;
        assert_eq!(desk.repaired().await, kinds([(kind, 1)]), "{words:?}");
        assert_eq!(desk.repaired().await, kinds([]), "{words:?}: once");
        let now: BTreeMap<String, String> = redis::command(&desk.raw, &["HGETALL", &entries]).await;
        let now: BTreeMap<&str, &str> = now.iter().map(|(uuid, entry)| (uuid.as_str(), entry.as_str())).collect();
        let without_rate: BTreeMap<&str, &str> = now.into_iter().filter(|(uuid, _)| *uuid != "@rate").collect();
        assert_eq!(without_rate, BTreeMap::from([(held_id, of_held.as_str()), (sold_id, &of_sold)]), "{words:?}");
    }
    assert_eq!(desk.reconcile().await.entries_in_turn, 3);
    desk.office.close().await;
}

async fn what_is_lost_is_counted_again_and_what_is_left_over_no_more(set: ServerSet) {
    let desk = limited(set, "counted").await;
    let (alice, bob) = (desk.office.customer("alice"), desk.office.customer("bob"));
    let held = desk.holds(&alice, &["A-1-1", "A-1-2"]).await;
    let sold = desk.holds(&alice, &["A-1-3"]).await;
    assert_eq!(confirm(&desk.office.payments(), &sold, "p").await.status, 200);
    let gone = desk.holds(&bob, &["A-2-1"]).await;
    assert_eq!(cancel(&bob, &gone).await.status, 200);
    // Alice's seats are lost, and with them the end of what is kept for her; Bob has three of a reservation he gave up.
    desk.redis(&["DEL", &desk.entries_of("alice")]).await;
    desk.redis(&["HSET", &desk.entries_of("bob"), gone.uuid(), "0:3:s:A-2-1,A-2-2,A-2-3"]).await;
    let over = insist(&bob, "counted", "k", &["A-2-4"]).await;
    assert_eq!(over.text("type"), Some("limit-reached"), "{}", over.body);
    assert_eq!(desk.repaired().await, kinds([("entry-missing", 2), ("entry-of-nobody", 1)]));
    let over = insist(&alice, "counted", "k", &["A-2-5"]).await;
    assert_eq!(over.text("type"), Some("limit-reached"), "{}", over.body);
    assert_eq!(insist(&bob, "counted", "k", &["A-2-4"]).await.status, 202);
    desk.office.drained().await;
    let has = |seats: &[(&str, &str)]| seats.iter().map(|(id, status)| ((*id).into(), (*status).into())).collect();
    let hers: BTreeMap<String, String> = has(&[("A-1-1", "held"), ("A-1-2", "held"), ("A-1-3", "sold")]);
    assert_eq!(mine(&alice, "counted").await, hers);
    assert_eq!(mine(&bob, "counted").await, has(&[("A-2-4", "held")]));
    let left: i64 = redis::command(&desk.raw, &["TTL", &desk.entries_of("alice")]).await;
    assert!(left > 0, "it ends with the sale, and not never: {left}");
    // What is given up afterwards is given up, as ever.
    assert_eq!(cancel(&alice, &held).await.status, 200);
    assert_eq!((desk.entry("alice", &held).await, desk.repaired().await), (None, kinds([])));
    desk.office.close().await;
}

async fn a_claim_on_its_way_is_left_alone(set: ServerSet) {
    let desk = limited(set, "claimed").await;
    let alice = desk.office.customer("alice");
    // Somebody she is known by, so that her entries are looked at.
    desk.holds(&alice, &["A-1-1"]).await;
    desk.office.system.event_source().pause();
    let accepted = insist(&alice, "claimed", "k", &["A-1-2"]).await;
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    let id = crate::harness::changing::id_of(&accepted);
    let claim = desk.entry("alice", &id).await;
    assert_eq!(desk.repaired().await, kinds([]));
    assert!(claim.is_some() && desk.entry("alice", &id).await == claim);
    desk.office.system.event_source().resume();
    desk.office.drained().await;
    assert_eq!(mine(&alice, "claimed").await["A-1-2"], "held");
    desk.office.close().await;
}

async fn an_entry_that_was_told_anew_after_the_look_stays(set: ServerSet) {
    let desk = limited(set, "newer").await;
    let alice = desk.office.customer("alice");
    let id = desk.holds(&alice, &["A-1-1"]).await;
    desk.redis(&["HDEL", &desk.entries_of("alice"), id.uuid()]).await;
    desk.redis(&["HSET", &desk.entries_of("alice"), NOBODY, "0:1:s:A-1-4"]).await;
    let (runner, gate) = desk.runner_at_row(&id).await;
    let run = tokio::spawn(async move {
        let payload = json!({ "job": "reconcile" });
        reconciled(run_job(&runner, payload, clock::wall_ms(), Instant::now() + PATIENCE).await.unwrap())
    });
    gate.reached().await;
    // Meanwhile it is paid for, and the truth of that brings the entry back.
    assert_eq!(confirm(&desk.office.payments(), &id, "p").await.status, 200);
    let told = desk.entry("alice", &id).await;
    assert_eq!(told.as_deref(), Some("0:1:s:A-1-1"));
    gate.open();
    assert_eq!(run.await.unwrap().repaired, kinds([("entry-of-nobody", 1)]));
    assert_eq!(desk.entry("alice", &id).await, told);
    desk.office.close().await;
}

async fn a_hold_given_up_between_look_and_repair_is_taken_back(set: ServerSet) {
    let desk = limited(set, "given-up").await;
    let alice = desk.office.customer("alice");
    let id = desk.holds(&alice, &["A-1-1"]).await;
    desk.redis(&["HDEL", &desk.entries_of("alice"), id.uuid()]).await;
    let (runner, gate) = desk.runner_at_row(&id).await;
    let run = tokio::spawn(async move {
        let payload = json!({ "job": "reconcile" });
        reconciled(run_job(&runner, payload, clock::wall_ms(), Instant::now() + PATIENCE).await.unwrap())
    });
    gate.reached().await;
    // There is no entry, by damage; that there is none by right now leaves it so.
    assert_eq!(cancel(&alice, &id).await.status, 200);
    gate.open();
    let done = run.await.unwrap();
    assert_eq!((done.repaired, done.unsettled), (kinds([("entry-missing", 1)]), 0));
    assert_eq!(desk.entry("alice", &id).await, None);
    desk.office.close().await;
}

async fn entries_are_compared_a_bounded_part_a_run(set: ServerSet) {
    let desk = Desk::selling(set, "a-turn", &hall::small(2, 10)).await;
    desk.office.sells("b-turn", &hall::small(1, 4)).await;
    let bob = desk.office.customer("bob");
    let id = desk.office.holds(&bob, "b-turn", "k", &["A-1-1"]).await;
    let his = keys::customer(&id.event(), &CustomerId::parse("bob").unwrap());
    for n in 1..=9 {
        desk.held(&format!("customer-{n}"), &format!("A-1-{n}")).await;
    }
    desk.redis(&["HDEL", &his, id.uuid()]).await;
    let config = desk.office.system.config();
    let redis = Redis::connect(&config.redis_url, 1).await.unwrap();
    // Of an event's sixteen shards each has a page, empty or not.
    let jobs = Jobs::new(config, redis, desk.office.table().await).paging(10);
    let run = async || {
        let payload = json!({ "job": "reconcile" });
        let done = reconciled(run_job(&jobs, payload, clock::wall_ms(), Instant::now() + PATIENCE).await.unwrap());
        (done.entries_in_turn, done.repaired.values().sum::<usize>())
    };
    let mut turn = Vec::new();
    for _ in 0..4 {
        turn.push(run().await);
    }
    let sum = |of: fn(&(usize, usize)) -> usize| turn.iter().map(of).sum::<usize>();
    // Two events, 32 pages, ten a run: all of them once, and the last run comes to the end.
    assert_eq!((sum(|(compared, _)| *compared), sum(|(_, repaired)| *repaired)), (10, 1), "{turn:?}");
    assert!(turn[..3].iter().all(|(compared, _)| *compared < 10), "{turn:?}");
    // And begins anew.
    desk.redis(&["HDEL", &his, id.uuid()]).await;
    let mut again = 0;
    for _ in 0..4 {
        again += run().await.1;
    }
    assert_eq!(again, 1);
    desk.office.close().await;
}
