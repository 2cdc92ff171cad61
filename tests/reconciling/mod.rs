//! Reconciling: every kind of drift between Redis and the table is found and repaired, nothing that is newer than the look is
//! overwritten, what is in doubt comes first and survives its runner, and what is long over is dropped. [`customers`]: what
//! they have. [`storm`]: under random damage. [`unhindered`]: what cannot be read, and what comes too late, stops nothing else.

mod customers;
mod storm;
mod unhindered;

use std::collections::BTreeMap;

use axum::http::Method;
use fred::clients::Client;
use local::client::ApiClient;
use local::servers::ServerSet;
use scheduled_jobs::{Jobs, Reconciled, Report, run_job};
use serde_json::{Value, json};
use shared::clock;
use shared::domain::ids::{CustomerId, EventId, ReservationId};
use shared::redis::{Redis, keys};
use tokio::time::Instant;

use crate::harness::changing::{cancel, confirm};
use crate::harness::storm::{insist, insist_on};
use crate::harness::wire::{Fate, Gate, Wire};
use crate::harness::{Office, PATIENCE, hall, on_both_sets, redis};

on_both_sets!(
    every_kind_of_drift_is_repaired_and_told,
    what_changes_after_the_look_is_left_as_it_is,
    a_hold_that_ended_between_look_and_repair_is_taken_back,
    a_claim_that_nobody_has_decided_stays,
    what_is_in_doubt_comes_first_and_outlives_its_runner,
    what_is_disputed_stays_in_doubt_until_it_is_decided,
    the_rest_comes_in_turn_a_bounded_part_a_run,
    an_event_of_long_ago_is_dropped_and_loaded_again_for_who_asks,
);

/// A reservation that never was.
const NOBODY: &str = "11111111-1111-5111-8111-111111111111";

/// A system, what it has in Redis, and the event that is sold there.
struct Desk {
    office: Office,
    raw: Client,
    event: EventId,
}

impl Desk {
    async fn selling(set: ServerSet, event: &str, document: &Value) -> Self {
        let office = Office::open(set).await;
        office.sells(event, document).await;
        let raw = redis::connect(&office.system.servers().redis_url()).await;
        Self { office, raw, event: EventId::parse(event).unwrap() }
    }

    async fn reconcile(&self) -> Reconciled {
        reconciled(self.office.system.run_job("reconcile").await.unwrap())
    }

    /// What was repaired by one run, by kind.
    async fn repaired(&self) -> BTreeMap<&'static str, usize> {
        let done = self.reconcile().await;
        assert!(!done.without_redis && !done.cut_short && !done.overtaken, "{done:?}");
        done.repaired
    }

    async fn redis(&self, words: &[&str]) {
        redis::command::<fred::types::Value>(&self.raw, words).await;
    }

    fn key(&self, section: &str, part: &str) -> String {
        let at = ["claims", "taken", "blocked", "used", "ends"].iter().position(|name| *name == part).unwrap();
        keys::section_keys(&self.event, section)[at].clone()
    }

    /// The key of what a customer has.
    fn entries_of(&self, customer: &str) -> String {
        keys::customer(&self.event, &CustomerId::parse(customer).unwrap())
    }

    async fn status(&self, seat: &str) -> String {
        self.office.seat_status(self.event.as_str(), seat).await
    }

    async fn claim_of(&self, section: &str, number: &str) -> Option<String> {
        redis::command(&self.raw, &["HGET", &self.key(section, "claims"), number]).await
    }

    /// A reservation of a seat, held.
    async fn held(&self, customer: &str, seat: &str) -> ApiClient {
        let client = self.office.customer(customer);
        self.office.holds(&client, self.event.as_str(), seat, &[seat]).await;
        client
    }

    async fn sold(&self, customer: &str, seat: &str) {
        let client = self.office.customer(customer);
        let id = self.office.holds(&client, self.event.as_str(), seat, &[seat]).await;
        let answer = confirm(&self.office.payments(), &id, "p").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    async fn blocked(&self, seat: &str) {
        let path = format!("/admin/events/{}/blocks/b", self.event);
        let body = json!({ "seats": [seat], "note": "camera" });
        let answer = self.office.system.organiser().unwrap().send(Method::PUT, &path, &[], Some(&body)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

fn reconciled(report: Report) -> Reconciled {
    let Report::Reconcile(done) = report else { panic!("{report:?}") };
    done
}

fn kinds<const N: usize>(kinds: [(&'static str, usize); N]) -> BTreeMap<&'static str, usize> {
    BTreeMap::from(kinds)
}

async fn every_kind_of_drift_is_repaired_and_told(set: ServerSet) {
    let desk = Desk::selling(set, "drift", &hall::standing(8)).await;
    desk.held("alice", "A-1-1").await;
    desk.sold("bob", "A-1-2").await;
    desk.blocked("A-1-3").await;
    let floor = json!({ "section": "FLOOR", "quantity": 2 });
    assert_eq!(insist_on(&desk.office.customer("carol"), "drift", "floor", &floor).await.status, 202);
    desk.office.drained().await;
    assert_eq!(desk.repaired().await, kinds([]), "nothing is wrong yet");

    let (claims, taken, blocked) = (desk.key("A", "claims"), desk.key("A", "taken"), desk.key("A", "blocked"));
    let (used, ends) = (desk.key("FLOOR", "used"), desk.key("FLOOR", "ends"));
    let held = desk.claim_of("A", "0").await.unwrap();
    let (end, owner) = held.split_once(':').unwrap();
    let short = format!("{:013}:{owner}", end.parse::<i64>().unwrap() - 1);
    let long = format!("{:013}:{owner}", end.parse::<i64>().unwrap() + 60_000);
    let nobody = format!("9999999999999:{owner}");
    for (words, seat, wrong, right, kind) in [
        (&["HDEL", &claims, "0"][..], "A-1-1", "free", "held", "held-as-free"),
        (&["HSET", &claims, "0", &short], "A-1-1", "held", "held", "wrong-end"),
        (&["HSET", &claims, "0", &long], "A-1-1", "held", "held", "wrong-end"),
        (&["SETBIT", &taken, "0", "1"], "A-1-1", "sold", "held", "marked"),
        (&["SETBIT", &taken, "1", "0"], "A-1-2", "free", "sold", "sold-as-free"),
        (&["SETBIT", &blocked, "1", "1"], "A-1-2", "blocked", "sold", "marked"),
        (&["SETBIT", &taken, "2", "0"], "A-1-3", "free", "blocked", "blocked-as-free"),
        (&["SETBIT", &taken, "3", "1"], "A-1-4", "sold", "free", "marked"),
        (&["HSET", &claims, "3", &nobody], "A-1-4", "held", "free", "orphan"),
    ] {
        desk.redis(words).await;
        assert_eq!(desk.status(seat).await, wrong, "{words:?}");
        assert_eq!(desk.repaired().await, kinds([(kind, 1)]), "{words:?}");
        assert_eq!(desk.status(seat).await, right, "{words:?}");
        assert_eq!(desk.repaired().await, kinds([]), "{words:?}: once");
    }
    assert_eq!(desk.claim_of("A", "0").await.unwrap(), held, "to the millisecond");
    // The draw of places goes by structures of its own, which no map shows.
    for words in [&["ZREM", &ends, "0"][..], &["SETBIT", &used, "1", "0"], &["SETBIT", &used, "5", "1"]] {
        desk.redis(words).await;
        assert_eq!(desk.repaired().await, kinds([("places", 1)]), "{words:?}");
        assert_eq!(desk.repaired().await, kinds([]), "{words:?}: once");
    }
    // What is right again sells as it should: six places are left, and the seventh is not.
    let (eve, frank) = (desk.office.customer("eve"), desk.office.customer("frank"));
    let six = json!({ "section": "FLOOR", "quantity": 6 });
    assert_eq!(insist_on(&eve, "drift", "six", &six).await.status, 202);
    let one = json!({ "section": "FLOOR", "quantity": 1 });
    assert_eq!(insist_on(&frank, "drift", "one", &one).await.text("type"), Some("contended"));
    desk.office.close().await;
}

/// A runner with a wire of its own to the table, on which reading some partition of seats waits at a gate.
async fn runner_at_a_gate(desk: &Desk) -> (Jobs, Gate) {
    let gate = Gate::shut();
    let held = gate.clone();
    let wire = Wire::new(move |operation, body| {
        let is_of_seats = body["ExpressionAttributeValues"][":pk"]["S"].as_str().is_some_and(|pk| pk.contains("#A#"));
        if operation == "Query" && is_of_seats { Fate::HoldReply(held.clone()) } else { Fate::Pass }
    });
    let config = desk.office.system.config();
    let redis = Redis::connect(&config.redis_url, 1).await.unwrap();
    (Jobs::new(config, redis, wire.under(&desk.office.table().await)), gate)
}

async fn what_changes_after_the_look_is_left_as_it_is(set: ServerSet) {
    let desk = Desk::selling(set, "newer", &hall::small(1, 4)).await;
    desk.held("alice", "A-1-1").await;
    desk.held("bob", "A-1-2").await;
    // Both are lost in Redis; what the runner reads in the table is that they are held.
    desk.redis(&["HDEL", &desk.key("A", "claims"), "0", "1"]).await;
    let (runner, gate) = runner_at_a_gate(&desk).await;
    let run = tokio::spawn(async move {
        let payload = json!({ "job": "reconcile" });
        reconciled(run_job(&runner, payload, clock::wall_ms(), Instant::now() + PATIENCE).await.unwrap())
    });
    gate.reached().await;
    // Meanwhile one of the two is claimed by another, whose message nobody has decided yet.
    desk.office.system.event_source().pause();
    let carol = desk.office.customer("carol");
    assert_eq!(insist(&carol, "newer", "k", &["A-1-1"]).await.status, 202);
    let hers = desk.claim_of("A", "0").await;
    gate.open();
    let done = run.await.unwrap();
    assert_eq!((done.repaired, done.unsettled), (kinds([("held-as-free", 1)]), 1));
    assert_eq!(desk.claim_of("A", "0").await, hers, "it is hers until she is refused");
    assert_eq!(desk.status("A-1-2").await, "held");
    desk.office.system.event_source().resume();
    desk.office.drained().await;
    assert_eq!(desk.repaired().await, kinds([]), "who refused her has told the truth");
    desk.office.close().await;
}

async fn a_hold_that_ended_between_look_and_repair_is_taken_back(set: ServerSet) {
    let desk = Desk::selling(set, "ended", &hall::small(1, 4)).await;
    let alice = desk.held("alice", "A-1-1").await;
    let id = alice.get("/reservations").await.unwrap().body["reservations"][0]["reservation_id"].clone();
    desk.redis(&["HDEL", &desk.key("A", "claims"), "0"]).await;
    let (runner, gate) = runner_at_a_gate(&desk).await;
    let run = tokio::spawn(async move {
        let payload = json!({ "job": "reconcile" });
        reconciled(run_job(&runner, payload, clock::wall_ms(), Instant::now() + PATIENCE).await.unwrap())
    });
    gate.reached().await;
    // The seat is free in Redis, by damage; that it is free by right now leaves it as it was.
    let answer = cancel(&alice, &ReservationId::parse(id.as_str().unwrap()).unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    gate.open();
    let done = run.await.unwrap();
    assert_eq!((done.repaired, done.unsettled), (kinds([("held-as-free", 1)]), 0));
    assert_eq!(desk.status("A-1-1").await, "free");
    desk.office.close().await;
}

async fn a_claim_that_nobody_has_decided_stays(set: ServerSet) {
    let desk = Desk::selling(set, "undecided", &hall::small(1, 4)).await;
    desk.office.system.event_source().pause();
    assert_eq!(insist(&desk.office.customer("alice"), "undecided", "k", &["A-1-1"]).await.status, 202);
    let claim = desk.claim_of("A", "0").await;
    assert_eq!(desk.repaired().await, kinds([]));
    assert!(claim.is_some() && desk.claim_of("A", "0").await == claim);
    desk.office.close().await;
}

async fn what_is_in_doubt_comes_first_and_outlives_its_runner(set: ServerSet) {
    let desk = Desk::selling(set, "doubt", &hall::small(1, 4)).await;
    desk.sold("alice", "A-1-1").await;
    desk.redis(&["SETBIT", &desk.key("A", "taken"), "0", "0"]).await;
    desk.redis(&["SADD", &keys::dirty(&desk.event), "A", "UNPUBLISHED"]).await;
    let (runner, gate) = runner_at_a_gate(&desk).await;
    let run = tokio::spawn(async move {
        let payload = json!({ "job": "reconcile" });
        run_job(&runner, payload, clock::wall_ms(), Instant::now() + PATIENCE).await
    });
    gate.reached().await;
    // Dies over it, and takes the lock along; what was in doubt is by no means settled.
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    desk.redis(&["DEL", &keys::job_lock("reconcile")]).await;
    let done = desk.reconcile().await;
    assert_eq!((done.in_doubt, done.repaired), (1, kinds([("sold-as-free", 1)])));
    let done = desk.reconcile().await;
    assert_eq!((done.in_doubt, done.repaired), (0, kinds([])), "it is settled");
    let left: i64 =
        redis::command(&desk.raw, &["EXISTS", &keys::dirty(&desk.event), &keys::dirty_at_work(&desk.event)]).await;
    assert_eq!(left, 0);
    desk.office.close().await;
}

async fn what_is_disputed_stays_in_doubt_until_it_is_decided(set: ServerSet) {
    let desk = Desk::selling(set, "disputed", &hall::small(1, 4)).await;
    desk.held("alice", "A-1-1").await;
    desk.office.system.event_source().pause();
    desk.redis(&["HDEL", &desk.key("A", "claims"), "0"]).await;
    assert_eq!(insist(&desk.office.customer("bob"), "disputed", "k", &["A-1-1"]).await.status, 202);
    desk.redis(&["SADD", &keys::dirty(&desk.event), "A"]).await;
    for _ in 0..2 {
        let done = desk.reconcile().await;
        assert_eq!((done.in_doubt, done.repaired), (1, kinds([])));
    }
    // His message is lost, and his claim runs out: now the seat would be sold a second time, until the table says no.
    desk.redis(&["HSET", &desk.key("A", "claims"), "0", "0000000000001:nobody"]).await;
    let done = desk.reconcile().await;
    assert_eq!((done.in_doubt, done.repaired), (1, kinds([("held-as-free", 1)])));
    assert_eq!(desk.reconcile().await.in_doubt, 0);
    desk.office.close().await;
}

async fn the_rest_comes_in_turn_a_bounded_part_a_run(set: ServerSet) {
    let desk = Desk::selling(set, "a-turn", &hall::standing(450)).await;
    desk.office.sells("b-turn", &hall::small(1, 4)).await;
    desk.sold("alice", "A-1-1").await;
    desk.redis(&["SETBIT", &desk.key("A", "taken"), "0", "0"]).await;
    // Two of the first section's three partitions would do; it is compared whole.
    let config = desk.office.system.config();
    let redis = Redis::connect(&config.redis_url, 1).await.unwrap();
    let jobs = Jobs::new(config, redis, desk.office.table().await).comparing(2);
    let run = async || {
        let payload = json!({ "job": "reconcile" });
        let done = reconciled(run_job(&jobs, payload, clock::wall_ms(), Instant::now() + PATIENCE).await.unwrap());
        (done.in_turn, done.repaired)
    };
    assert_eq!(run().await, (1, kinds([])));
    // Goes on behind it, through the next event, and begins anew.
    assert_eq!(run().await, (2, kinds([("sold-as-free", 1)])));
    assert_eq!(run().await, (1, kinds([])));
    assert_eq!(run().await, (1, kinds([])));
    assert_eq!(run().await, (2, kinds([])));
    desk.office.close().await;
}

async fn an_event_of_long_ago_is_dropped_and_loaded_again_for_who_asks(set: ServerSet) {
    let desk = Desk::selling(set, "past", &hall::small(1, 4)).await;
    desk.office.sells("now", &hall::small(1, 4)).await;
    let alice = desk.held("alice", "A-1-1").await;
    desk.sold("bob", "A-1-2").await;
    assert_eq!(desk.reconcile().await.dropped, 0);
    // Eight days ago it began, and its sale was over.
    let ago =
        |days: i64| json!(jiff::Timestamp::from_second(clock::wall_ms() / 1_000 - days * 86_400).unwrap().to_string());
    let mut document = hall::with(hall::small(1, 4), "starts_at", ago(8));
    document["sale"] = json!({ "opens_at": "2020-01-01T00:00:00Z", "closes_at": ago(8) });
    desk.office.sells("past", &document).await;
    let kept = |pattern: &'static str| {
        let raw = &desk.raw;
        async move { redis::command::<Vec<String>>(raw, &["KEYS", pattern]).await }
    };
    assert!(!kept("t1:{past}:s:*").await.is_empty());
    assert_eq!(desk.reconcile().await.dropped, 1);
    let left: Vec<String> = kept("t1:{past}:*").await;
    let ours = left.iter().filter(|key| !key.contains(":r:") && !key.contains(":c:") && !key.contains(":views"));
    assert_eq!(ours.collect::<Vec<_>>(), [""; 0], "of {left:?}");
    // What customers have goes by itself.
    for key in left.iter().filter(|key| key.contains(":r:") || key.contains(":c:")) {
        assert!(redis::command::<i64>(&desk.raw, &["TTL", key]).await > 0, "{key} stays for ever");
    }
    assert_eq!(desk.reconcile().await.dropped, 0, "once");
    assert!(!kept("t1:{now}:s:*").await.is_empty());
    assert_eq!((desk.status("A-1-1").await.as_str(), desk.status("A-1-2").await.as_str()), ("held", "sold"));
    let id = alice.get("/reservations").await.unwrap().body["reservations"][0]["reservation_id"].clone();
    let answer = cancel(&alice, &ReservationId::parse(id.as_str().unwrap()).unwrap()).await;
    assert_eq!((answer.status, desk.status("A-1-1").await.as_str()), (200, "free"), "{}", answer.body);
    desk.office.close().await;
}
