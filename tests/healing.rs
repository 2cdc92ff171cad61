//! What a death between DynamoDB's answer and Redis leaves behind, and the job that heals it.

use local::client::Answer;
use local::servers::ServerSet;
use scheduled_jobs::Report;
use shared::domain::ids::ReservationId;
use shared::domain::reservation::Step;
use shared::dynamodb::changes::{Change, End};
use shared::dynamodb::reservations::Repository;
use shared::dynamodb::rows::ReservationRow;
use shared::redis::records::Records;
use shared::redis::{Redis, keys};

use crate::harness::storm::insist;
use crate::harness::{Office, hall, on_both_sets, redis};

on_both_sets!(
    a_confirmation_whose_maker_died_is_told_by_the_job,
    a_cancellation_whose_maker_died_frees_the_seat_by_the_job,
    an_announcement_of_which_nothing_came_is_forgotten,
    a_reservation_that_cannot_be_read_keeps_nobody_else_waiting,
    a_change_that_was_told_leaves_no_announcement,
    a_replay_of_long_ago_frees_no_seat_that_was_sold_again,
);

struct Broken {
    office: Office,
    repository: Repository,
    records: Records,
    raw: fred::clients::Client,
}

/// A reservation of seat A-1-1 that is held and known everywhere.
async fn held(set: ServerSet) -> (Broken, ReservationRow) {
    let office = Office::open(set).await;
    office.sells("heal", &hall::small(1, 4)).await;
    let accepted = insist(&office.customer("alice"), "heal", "k", &["A-1-1"]).await;
    office.drained().await;
    let repository = Repository::new(office.table().await);
    let row = repository.get(&id(&accepted)).await.unwrap().unwrap();
    let url = office.system.servers().redis_url();
    let records = Records::new(Redis::connect(&url, 1).await.unwrap());
    let raw = redis::connect(&url).await;
    (Broken { office, repository, records, raw }, row)
}

fn id(answer: &Answer) -> ReservationId {
    ReservationId::parse(answer.text("reservation_id").unwrap()).unwrap()
}

impl Broken {
    /// Announces a change as the API does, and lets so much time go by that somebody has to look after it.
    async fn announce(&self, row: &ReservationRow) -> i64 {
        let (look, _) = self.records.ask(&row.reservation_id, None).await.unwrap();
        let long_ago = (look.now_ms - 60_000).to_string();
        let key = keys::moving(&row.reservation_id.event());
        let members: Vec<String> = redis::command(&self.raw, &["ZRANGE", &key, "0", "-1"]).await;
        for member in members.iter().filter(|member| member.starts_with(row.reservation_id.uuid())) {
            redis::command::<i64>(&self.raw, &["ZADD", &key, "XX", &long_ago, member]).await;
        }
        look.now_ms
    }

    async fn announced(&self) -> i64 {
        redis::command(&self.raw, &["ZCARD", "t1:{heal}:moving"]).await
    }

    async fn heal(&self) -> (usize, usize) {
        match self.office.system.run_job("heal").await.unwrap() {
            Report::Heal(done) => (done.healed, done.forgotten),
            other => panic!("{other:?}"),
        }
    }
}

async fn a_confirmation_whose_maker_died_is_told_by_the_job(set: ServerSet) {
    let (broken, row) = held(set).await;
    let now_ms = broken.announce(&row).await;
    let confirmed = broken.repository.confirm(&row, Some("p"), "Asia/Seoul", now_ms, Some(now_ms)).await.unwrap();
    assert!(matches!(confirmed, Change::Done(_)), "{confirmed:?}");
    assert_eq!(broken.office.seat_status("heal", "A-1-1").await, "held");
    assert_eq!(broken.heal().await, (1, 0));
    assert_eq!(broken.office.seat_status("heal", "A-1-1").await, "sold");
    assert_eq!((broken.announced().await, broken.heal().await), (0, (0, 0)));
    broken.office.close().await;
}

async fn a_reservation_that_cannot_be_read_keeps_nobody_else_waiting(set: ServerSet) {
    let (broken, row) = held(set).await;
    let bob = insist(&broken.office.customer("bob"), "heal", "k", &["A-1-2"]).await;
    broken.office.drained().await;
    let beside = broken.repository.get(&id(&bob)).await.unwrap().unwrap();
    // Hers comes first.
    broken.announce(&row).await;
    broken.office.spoil(&row.reservation_id).await;
    let now_ms = broken.announce(&beside).await;
    let confirmed = broken.repository.confirm(&beside, Some("p"), "Asia/Seoul", now_ms, Some(now_ms)).await.unwrap();
    assert!(matches!(confirmed, Change::Done(_)), "{confirmed:?}");
    let Report::Heal(done) = broken.office.system.run_job("heal").await.unwrap() else { panic!("another job") };
    assert_eq!((done.healed, done.failed, broken.announced().await), (1, 1, 1));
    assert_eq!(broken.office.seat_status("heal", "A-1-2").await, "sold");
    broken.office.close().await;
}

async fn a_cancellation_whose_maker_died_frees_the_seat_by_the_job(set: ServerSet) {
    let (broken, row) = held(set).await;
    let now_ms = broken.announce(&row).await;
    let Change::Done(paid) =
        broken.repository.confirm(&row, Some("p"), "Asia/Seoul", now_ms, Some(now_ms)).await.unwrap()
    else {
        panic!("not confirmed")
    };
    broken.heal().await;
    assert_eq!(broken.office.seat_status("heal", "A-1-1").await, "sold");
    broken.announce(&paid).await;
    let ended = broken.repository.end(&paid, Step::Cancel, now_ms).await.unwrap();
    assert!(matches!(ended, End::Ended(_)), "{ended:?}");
    // Nobody could buy what is free, until somebody says so; also where the record is gone by then.
    assert_eq!(broken.office.seat_status("heal", "A-1-1").await, "sold");
    redis::command::<i64>(&broken.raw, &["DEL", &keys::record(&row.reservation_id)]).await;
    assert_eq!(broken.heal().await, (1, 0));
    assert_eq!(broken.office.seat_status("heal", "A-1-1").await, "free");
    assert_eq!(broken.announced().await, 0);
    let bob = insist(&broken.office.customer("bob"), "heal", "k", &["A-1-1"]).await;
    assert_eq!(bob.status, 202, "{}", bob.body);
    broken.office.close().await;
}

async fn an_announcement_of_which_nothing_came_is_forgotten(set: ServerSet) {
    let (broken, row) = held(set).await;
    broken.office.system.event_source().pause();
    let pending = insist(&broken.office.customer("alice"), "heal", "k2", &["A-1-2"]).await;
    let request = broken.records.look(&id(&pending)).await.unwrap().request.unwrap();
    let nothing = ReservationRow::held(&request, None);
    broken.announce(&nothing).await;
    broken.announce(&row).await;
    assert_eq!(broken.heal().await, (1, 1));
    assert_eq!(broken.announced().await, 0);
    assert_eq!(broken.office.seat_status("heal", "A-1-1").await, "held");
    assert_eq!(broken.office.seat_status("heal", "A-1-2").await, "held");
    broken.office.close().await;
}

async fn a_change_that_was_told_leaves_no_announcement(set: ServerSet) {
    let (broken, row) = held(set).await;
    let alice = broken.office.customer("alice");
    let path = format!("/reservations/{}", row.reservation_id);
    let cancelled = alice.send(axum::http::Method::DELETE, &path, &[], None).await.unwrap();
    assert_eq!((cancelled.status, cancelled.text("status")), (200, Some("CANCELLED")), "{}", cancelled.body);
    assert_eq!(broken.announced().await, 0);
    assert_eq!(broken.office.seat_status("heal", "A-1-1").await, "free");
    broken.office.close().await;
}

async fn a_replay_of_long_ago_frees_no_seat_that_was_sold_again(set: ServerSet) {
    let (broken, row) = held(set).await;
    let document = hall::with(hall::small(1, 4), "cancellable_until", serde_json::json!("2098-01-01T00:00:00Z"));
    broken.office.sells("heal", &document).await;
    let payments = broken.office.payments();
    let pay = async |id: &ReservationId| {
        let body = serde_json::json!({ "payment_reference": "p" });
        let path = format!("/reservations/{id}/confirm");
        assert_eq!(payments.send(axum::http::Method::POST, &path, &[], Some(&body)).await.unwrap().status, 200);
    };
    pay(&row.reservation_id).await;
    let path = format!("/reservations/{}", row.reservation_id);
    // Redis has forgotten the record and what the customer has, and the cancellation still frees the seat.
    redis::command::<i64>(&broken.raw, &["DEL", &keys::record(&row.reservation_id), "t1:{heal}:c:alice"]).await;
    let alice = broken.office.customer("alice");
    assert_eq!(alice.send(axum::http::Method::DELETE, &path, &[], None).await.unwrap().status, 200);
    assert_eq!(broken.office.seat_status("heal", "A-1-1").await, "free");
    let next = insist(&broken.office.customer("bob"), "heal", "k", &["A-1-1"]).await;
    broken.office.drained().await;
    pay(&id(&next)).await;
    redis::command::<i64>(&broken.raw, &["DEL", &keys::record(&id(&next))]).await;
    broken.office.system.event_source().replay_from_start().await;
    broken.office.drained().await;
    assert_eq!(broken.office.seat_status("heal", "A-1-1").await, "sold");
    broken.office.close().await;
}
