//! F24: the table has decided two changes of a reservation in one order, and Redis is told in the other; and changes whose
//! maker died before Redis was told.

use local::servers::ServerSet;
use shared::clock;
use shared::domain::ids::ReservationId;
use shared::domain::reservation::{Decision, Outcome, Status, Step, Told};
use shared::dynamodb::changes::{Change, End};
use shared::dynamodb::reservations::Repository;
use shared::redis::moving::{Moving, Token};
use shared::redis::records::{GRACE_MS, Records};
use shared::redis::seat_map::Availability;
use shared::redis::truth::{SeatState, Truth, Truths};
use shared::redis::{Redis, keys};

use super::{assert_unchanged, brief, row};
use crate::harness::changing::{assert_answer, cancel, confirm, extend, rebook, show};
use crate::harness::scripts::{Attempt, Scripts, request};
use crate::harness::{Office, all_at_once, eventually, hall, on_both_sets, redis};

on_both_sets!(
    a_change_whose_maker_died_stays_announced_until_it_is_settled_by_its_own_token,
    a_payment_asked_for_again_tells_redis_what_the_first_one_did_not,
    payments_and_cancellations_at_once_leave_the_map_as_the_table_has_it,
    what_was_confirmed_and_not_told_is_confirmed_after_its_hold_would_have_ended,
);

/// Far beyond every lease of these tests, in milliseconds since the epoch.
const FAR: i64 = 4_000_000_000_000;

/// The truth of a reservation that was stored as held, and stands so now.
fn truth(attempt: &Attempt, status: Status, ends_at_ms: i64) -> Truth {
    let owner = attempt.id.clone();
    let state = match status {
        Status::Held => SeatState::Held { owner, expires_at_ms: ends_at_ms },
        Status::Confirmed => SeatState::Sold { owner },
        Status::Cancelled => SeatState::Freed,
        _ => SeatState::Free,
    };
    Truth {
        id: attempt.id.clone(),
        customer: attempt.customer.clone(),
        told: Told::new(Decision::plain(Outcome::Held), status, (status == Status::Held).then_some(ends_at_ms)),
        ends_at_ms: if status == Status::Held { ends_at_ms } else { 0 },
        seats: attempt.seats.iter().map(|seat| (seat.clone(), state.clone())).collect(),
    }
}

#[tokio::test]
async fn however_a_confirmation_and_the_cancellation_after_it_are_told_the_seats_are_free() {
    use Status::{Cancelled, Confirmed, Held};
    for told in [[Held, Confirmed, Cancelled], [Held, Cancelled, Confirmed], [Cancelled, Confirmed, Held]] {
        let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
        let ada = Attempt::new(&event, "ada", "k", &["A-1-1", "B-1-1"]);
        scripts.granted(&event, &ada).await;
        for status in told {
            scripts.truths.settle(&truth(&ada, status, FAR), &Token::default()).await.unwrap();
        }
        for seat in ["A-1-1", "B-1-1"] {
            assert_eq!(scripts.shown(&event, seat).await, Some(Availability::Free), "{told:?}");
            assert_eq!(scripts.entry(&event, seat).await, None, "{told:?}");
        }
        let look = Records::new(scripts.redis.clone()).look(&ada.id).await.unwrap();
        assert_eq!(look.told.unwrap().status(), Cancelled, "{told:?}");
        let customer = keys::customer(&event.id, &ada.customer);
        assert_eq!(scripts.command::<i64>(&["HEXISTS", &customer, ada.id.uuid()]).await, 0, "{told:?}");
        scripts.granted(&event, &Attempt::new(&event, "bob", "k", &["A-1-1"])).await;
    }
}

#[tokio::test]
async fn a_cancellation_told_late_takes_nothing_from_who_bought_the_seat_since() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let (ada, bob) = (Attempt::new(&event, "ada", "k", &["A-1-1"]), Attempt::new(&event, "bob", "k", &["A-1-1"]));
    scripts.granted(&event, &ada).await;
    for status in [Status::Held, Status::Confirmed, Status::Cancelled] {
        scripts.truths.settle(&truth(&ada, status, FAR), &Token::default()).await.unwrap();
    }
    scripts.granted(&event, &bob).await;
    scripts.truths.settle(&truth(&bob, Status::Confirmed, 0), &Token::default()).await.unwrap();
    // Once more, as a repeated DELETE tells it, and as an answer lost on the way is asked for again.
    scripts.truths.settle(&truth(&ada, Status::Cancelled, 0), &Token::default()).await.unwrap();
    assert_eq!(scripts.shown(&event, "A-1-1").await, Some(Availability::Sold));
}

#[tokio::test]
async fn a_hold_told_late_does_not_shorten_the_extension() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let ada = Attempt::new(&event, "ada", "k", &["A-1-1"]);
    let claimed = request(&scripts.granted(&event, &ada).await.0);
    scripts.truths.settle(&truth(&ada, Status::Held, FAR), &Token::default()).await.unwrap();
    scripts.truths.settle(&truth(&ada, Status::Held, claimed.expires_at_ms), &Token::default()).await.unwrap();
    assert_eq!(scripts.entry(&event, "A-1-1").await, Some(format!("{FAR:013}:{}", ada.id.uuid())));
}

#[tokio::test]
async fn a_look_keeps_a_claim_that_is_about_to_end_and_revives_none_that_has() {
    let (scripts, event) = Scripts::selling(&hall::small(1, 4)).await;
    let ada = Attempt::new(&event, "ada", "k", &["A-1-1"]);
    let claimed = request(&scripts.granted(&event, &ada).await.0);
    let records = Records::new(scripts.redis.clone());
    let entry = |expires_at_ms: i64| format!("{expires_at_ms:013}:{}", ada.id.uuid());
    records.ask(&ada.id, Some(&ada.customer)).await.unwrap();
    assert_eq!(scripts.entry(&event, "A-1-1").await, Some(entry(claimed.expires_at_ms)), "it lasts long enough");

    let claims = keys::claims(&event.id, "A");
    let soon = scripts.redis.now_ms().await.unwrap() + 5_000;
    scripts.command::<i64>(&["HSET", &claims, "0", &entry(soon)]).await;
    let (look, _) = records.ask(&ada.id, None).await.unwrap();
    assert_eq!(scripts.entry(&event, "A-1-1").await, Some(entry(look.now_ms + GRACE_MS)));

    let ended = look.now_ms - 1;
    scripts.command::<i64>(&["HSET", &claims, "0", &entry(ended)]).await;
    records.ask(&ada.id, None).await.unwrap();
    assert_eq!(scripts.entry(&event, "A-1-1").await, Some(entry(ended)));
    // A stranger's look announces nothing and keeps nothing.
    scripts.command::<i64>(&["HSET", &claims, "0", &entry(soon)]).await;
    let moving = keys::moving(&event.id);
    let before: i64 = scripts.command(&["ZCARD", &moving]).await;
    let eve = Attempt::new(&event, "eve", "k", &["A-1-1"]).customer;
    records.ask(&ada.id, Some(&eve)).await.unwrap();
    assert_eq!(scripts.entry(&event, "A-1-1").await, Some(entry(soon)));
    assert_eq!(scripts.command::<i64>(&["ZCARD", &moving]).await, before);
}

/// Redis as a function sees it, and the test's own connection.
struct Sight {
    records: Records,
    truths: Truths,
    moving: Moving,
    raw: fred::clients::Client,
}

impl Sight {
    async fn of(office: &Office) -> Self {
        let url = office.system.servers().redis_url();
        let connection = Redis::connect(&url, 1).await.unwrap();
        Self {
            records: Records::new(connection.clone()),
            truths: Truths::new(connection.clone()),
            moving: Moving::new(connection),
            raw: redis::connect(&url).await,
        }
    }

    /// How many of its changes are announced.
    async fn announced(&self, id: &ReservationId) -> usize {
        let all: Vec<String> = redis::command(&self.raw, &["ZRANGE", &keys::moving(&id.event()), "0", "-1"]).await;
        all.iter().filter(|member| member.starts_with(id.uuid())).count()
    }
}

async fn a_change_whose_maker_died_stays_announced_until_it_is_settled_by_its_own_token(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("died", &hall::small(1, 4)).await;
    let id = office.holds(&office.customer("ada"), "died", "k", &["A-1-1"]).await;
    let sight = Sight::of(&office).await;
    let repository = Repository::new(office.table().await);
    assert_eq!(sight.announced(&id).await, 0);

    // The first asks, and is slow; the second asks and cancels, and dies before Redis is told.
    let (look, first) = sight.records.ask(&id, None).await.unwrap();
    let held = row(&office, &id).await;
    let confirmed =
        repository.confirm(&held, Some("payment-1"), "Asia/Seoul", look.now_ms, Some(look.now_ms)).await.unwrap();
    let Change::Done(confirmed) = confirmed else { panic!("{confirmed:?}") };
    let (_, second) = sight.records.ask(&id, None).await.unwrap();
    assert_ne!(first, second);
    let ended = repository.end(&confirmed, Step::Cancel, clock::wall_ms()).await.unwrap();
    let End::Ended(cancelled) = ended else { panic!("{ended:?}") };
    assert!(sight.announced(&id).await > 0);

    sight.truths.settle(&confirmed.truth(&[]), &first).await.unwrap();
    assert!(sight.announced(&id).await > 0, "what the first one tells says nothing of the second");
    assert_eq!(office.seat_status("died", "A-1-1").await, "sold");
    sight.truths.settle(&repository.truth_of(&cancelled).await.unwrap(), &second).await.unwrap();
    assert_eq!(sight.announced(&id).await, 0);
    assert_eq!(office.seat_status("died", "A-1-1").await, "free");
    // Told once more in the first one's words, it changes nothing.
    sight.truths.settle(&confirmed.truth(&[]), &first).await.unwrap();
    assert_eq!(office.seat_status("died", "A-1-1").await, "free");

    // Another's look, settled, says nothing of a change that is still to be told.
    let (_, dying) = sight.records.ask(&id, None).await.unwrap();
    let (_, looking) = sight.records.ask(&id, None).await.unwrap();
    sight.truths.settle(&cancelled.truth(&[]), &looking).await.unwrap();
    assert_eq!(sight.announced(&id).await, 1);
    sight.truths.settle(&cancelled.truth(&[]), &dying).await.unwrap();
    assert_eq!(sight.announced(&id).await, 0);

    // Without a record nobody knows what came first: only who has read the table anew settles it.
    let (_, third) = sight.records.ask(&id, None).await.unwrap();
    redis::command::<i64>(&sight.raw, &["DEL", &keys::record(&id)]).await;
    sight.truths.settle(&cancelled.truth(&[]), &third).await.unwrap();
    assert!(sight.announced(&id).await > 0);
    assert_eq!(
        sight.moving.waiting(&id.event()).await.unwrap().announced,
        [],
        "it is not old enough to be looked after"
    );
    sight.truths.heal(&repository.truth_of(&cancelled).await.unwrap(), &third).await.unwrap();
    assert_eq!(sight.announced(&id).await, 0);
    office.close().await;
}

async fn a_payment_asked_for_again_tells_redis_what_the_first_one_did_not(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("again", &hall::small(1, 4)).await;
    let ada = office.customer("ada");
    let id = office.holds(&ada, "again", "k", &["A-1-1"]).await;
    let sight = Sight::of(&office).await;
    let repository = Repository::new(office.table().await);
    let (look, _) = sight.records.ask(&id, None).await.unwrap();
    repository
        .confirm(&row(&office, &id).await, Some("payment-1"), "Asia/Seoul", look.now_ms, Some(look.now_ms))
        .await
        .unwrap();
    assert_eq!(office.seat_status("again", "A-1-1").await, "held");
    assert_answer(&show(&ada, &id).await, 200, "CONFIRMED");
    assert_answer(&confirm(&office.payments(), &id, "payment-1").await, 200, "CONFIRMED");
    assert_eq!(office.seat_status("again", "A-1-1").await, "sold");
    assert_eq!(sight.announced(&id).await, 1, "the first one's announcement is left to the healing job");
    office.close().await;
}

async fn what_was_confirmed_and_not_told_is_confirmed_after_its_hold_would_have_ended(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("silent", &brief(4)).await;
    let (ada, payments) = (office.customer("ada"), office.payments());
    let id = office.holds(&ada, "silent", "k", &["A-1-1"]).await;
    let held = row(&office, &id).await;
    let in_time = held.expires_at_ms - 1;
    let repository = Repository::new(office.table().await);
    repository.confirm(&held, Some("payment-1"), "Asia/Seoul", in_time, Some(in_time)).await.unwrap();
    let redis = Redis::connect(&office.system.servers().redis_url(), 1).await.unwrap();
    eventually("Redis' clock to pass the end", || async {
        (redis.now_ms().await.unwrap() > held.expires_at_ms).then_some(())
    })
    .await;
    let before = office.scan().await;
    assert_eq!(office.seat_status("silent", "A-1-1").await, "free", "Redis was not told");
    assert_answer(&extend(&ada, &id).await, 409, "not-extendable");
    assert_eq!(office.seat_status("silent", "A-1-1").await, "sold", "whoever looks tells");
    assert_answer(&cancel(&ada, &id).await, 409, "not-held");
    assert_answer(&confirm(&payments, &id, "payment-1").await, 200, "CONFIRMED");
    assert_answer(&rebook(&payments, &id, "payment-1").await, 200, "CONFIRMED");
    assert_answer(&confirm(&payments, &id, "payment-2").await, 409, "already-confirmed");
    assert_unchanged(&office, &before).await;
    office.close().await;
}

async fn payments_and_cancellations_at_once_leave_the_map_as_the_table_has_it(set: ServerSet) {
    const SEATS: usize = 12;
    let office = Office::open(set).await;
    let until = serde_json::json!("2098-05-01T00:00:00Z");
    office.sells("both", &hall::with(hall::small(1, SEATS), "cancellable_until", until)).await;
    let (ada, payments) = (office.customer("ada"), office.payments());
    let mut holds = Vec::new();
    for n in 1..=SEATS {
        let seat = format!("A-1-{n}");
        holds.push((office.holds(&ada, "both", &seat, &[&seat]).await, seat));
    }
    let asked =
        holds.iter().flat_map(|(id, _)| [(ada.clone(), id.clone(), false), (payments.clone(), id.clone(), true)]);
    let answers = all_at_once(asked.map(|(client, id, pays)| async move {
        eventually("an answer that is none of a busy table's", || async {
            let answer = if pays { confirm(&client, &id, "payment-1").await } else { cancel(&client, &id).await };
            (answer.status != 503).then_some(answer)
        })
        .await
    }));
    for answer in answers.await {
        assert!([200, 409].contains(&answer.status), "{}", answer.body);
    }
    let sight = Sight::of(&office).await;
    for (id, seat) in holds {
        // Whoever came first, the cancellation was possible.
        assert_eq!((row(&office, &id).await.status, sight.announced(&id).await), (Status::Cancelled, 0));
        assert_eq!(office.seat_status("both", &seat).await, "free");
    }
    assert!(!office.scan().await.iter().any(|item| item.contains("pk=\"SEATS#")));
    office.close().await;
}
