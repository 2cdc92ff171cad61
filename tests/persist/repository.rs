//! The repository on the table: what a hold makes, what refuses it, and that whatever is stored stays.

use aws_sdk_dynamodb::types::AttributeValue;
use local::servers::ServerSet;
use shared::domain::ids::EventId;
use shared::domain::reservation::{Decision, Outcome, Reason, Status};
use shared::dynamodb::reservations::{Hold, Repository};
use shared::dynamodb::rows::{ReservationRow, SeatItemState};
use shared::dynamodb::{Table, keys};
use shared::message::Request;

use crate::harness::handmade::{self, Asked, asks};
use crate::harness::{Office, on_both_sets, table};

on_both_sets!(
    a_hold_is_made_once_and_its_replay_changes_no_byte,
    a_taken_seat_shows_its_owner_and_nothing_of_the_loser_is_kept,
    a_customer_holds_as_many_seats_as_the_limit_allows_and_no_more,
    a_hold_that_ran_out_is_taken_over_from_its_last_millisecond_on_and_a_paid_seat_never,
    a_rejection_adopts_what_is_stored_and_a_stored_rejection_stays,
    the_taken_seats_of_a_partition_are_its_own,
    a_customers_reservations_come_newest_first_page_by_page,
);

/// An office with its repository.
async fn repository(set: ServerSet) -> (Office, Repository) {
    let office = Office::open(set).await;
    let repository = Repository::new(office.table().await);
    (office, repository)
}

async fn made(repository: &Repository, request: &Request) -> ReservationRow {
    match repository.hold(request).await.unwrap() {
        Hold::Made(row) => row,
        other => panic!("not made: {other:?}"),
    }
}

/// Fails unless `left` is the whole table.
async fn assert_unchanged(office: &Office, left: &[String]) {
    let now = office.scan().await;
    assert!(now == left, "{:#?}", table::difference(left, &now));
}

async fn a_hold_is_made_once_and_its_replay_changes_no_byte(set: ServerSet) {
    let (office, repository) = repository(set).await;
    let request = asks("hold", "alice", &["A-1-1", "A-1-2"], (1_000, 2_000));
    let row = made(&repository, &request).await;
    assert_eq!((row.status, row.outcome, row.counted), (Status::Held, Outcome::Held, 2));
    assert_eq!(repository.get(&request.reservation_id).await.unwrap(), Some(row.clone()));
    let stored = office.scan().await;
    assert_eq!(stored.len(), 4, "a row, a limit and two seats: {stored:#?}");

    assert_eq!(repository.hold(&request).await.unwrap(), Hold::Stored(row.clone()));
    // A forged second message under the same id, for other seats and later: the stored row answers.
    let other = Request { expires_at_ms: 9_000, held_at_ms: 5_000, ..asks("hold", "alice", &["A-1-3"], (1, 2)) };
    assert_eq!(repository.hold(&other).await.unwrap(), Hold::Stored(row));
    assert_unchanged(&office, &stored).await;
    office.close().await;
}

async fn a_taken_seat_shows_its_owner_and_nothing_of_the_loser_is_kept(set: ServerSet) {
    let (office, repository) = repository(set).await;
    let first = asks("taken", "alice", &["A-1-1", "A-1-2"], (1_000, 2_000));
    made(&repository, &first).await;
    let stored = office.scan().await;
    let second = asks("taken", "bob", &["A-1-3", "A-1-2", "A-1-4"], (1_500, 2_500));
    let Hold::Taken(seen) = repository.hold(&second).await.unwrap() else { panic!("not taken") };
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].seat.id.as_str(), seen[0].seat.number, seen[0].state), ("A-1-2", 1, SeatItemState::Held));
    assert_eq!((&seen[0].reservation_id, seen[0].expires_at_ms), (&first.reservation_id, 2_000));
    assert_eq!(seen[0].customer.as_str(), "alice");
    assert_unchanged(&office, &stored).await;
    office.close().await;
}

async fn a_customer_holds_as_many_seats_as_the_limit_allows_and_no_more(set: ServerSet) {
    let (office, repository) = repository(set).await;
    let asked = |customer, key, seats, limit| {
        Asked { event: "limit", customer, key, seats, limit, held: (1_000, 2_000) }.request()
    };
    made(&repository, &asked("alice", "1", &["A-1-1", "A-1-2"], Some(3))).await;
    let stored = office.scan().await;
    let over = asked("alice", "2", &["A-1-3", "A-1-4"], Some(3));
    assert_eq!(repository.hold(&over).await.unwrap(), Hold::LimitReached);
    assert_unchanged(&office, &stored).await;
    // A taken seat is the better reason, and the one that is looked at first.
    let both = asked("alice", "3", &["A-1-1", "A-1-4"], Some(3));
    assert!(matches!(repository.hold(&both).await.unwrap(), Hold::Taken(_)));
    made(&repository, &asked("alice", "4", &["A-1-3"], Some(3))).await;
    assert_eq!(repository.hold(&asked("alice", "5", &["A-1-4"], Some(3))).await.unwrap(), Hold::LimitReached);
    made(&repository, &asked("bob", "1", &["A-1-4", "A-1-5", "A-1-6"], Some(3))).await;
    // What was held while the event had no limit counts once it has one.
    made(&repository, &asked("carol", "1", &["A-1-7", "A-1-8"], None)).await;
    assert_eq!(repository.hold(&asked("carol", "2", &["A-1-9"], Some(2))).await.unwrap(), Hold::LimitReached);
    office.close().await;
}

async fn a_hold_that_ran_out_is_taken_over_from_its_last_millisecond_on_and_a_paid_seat_never(set: ServerSet) {
    let (office, repository) = repository(set).await;
    made(&repository, &asks("over", "alice", &["A-1-1"], (1_000, 2_000))).await;
    let early = asks("over", "bob", &["A-1-1"], (1_999, 9_000));
    assert!(matches!(repository.hold(&early).await.unwrap(), Hold::Taken(_)));
    let in_time = asks("over", "carol", &["A-1-1"], (2_000, 9_000));
    made(&repository, &in_time).await;
    let Hold::Taken(seen) = repository.hold(&early).await.unwrap() else { panic!("not taken") };
    assert_eq!((&seen[0].reservation_id, seen[0].expires_at_ms), (&in_time.reservation_id, 9_000));

    pay_for(&office.table().await, "over", "A-1-1").await;
    let late = asks("over", "dora", &["A-1-1"], (9_000, 10_000));
    let Hold::Taken(seen) = repository.hold(&late).await.unwrap() else { panic!("a paid seat was taken over") };
    assert_eq!(seen[0].state, SeatItemState::Confirmed);
    office.close().await;
}

/// Marks a seat item as paid, as a confirmation does.
async fn pay_for(table: &Table, event: &str, seat: &str) {
    let (client, name) = table.raw();
    let text = |value: &str| AttributeValue::S(value.to_owned());
    let (pk, sk) = keys::seat(&EventId::parse(event).unwrap(), &handmade::seat(seat));
    let update = client.update_item().table_name(name).key("pk", text(&pk)).key("sk", text(&sk));
    let update = update.update_expression("SET #state = :paid").expression_attribute_names("#state", "state");
    update.expression_attribute_values(":paid", text("CONFIRMED")).send().await.unwrap();
}

async fn a_rejection_adopts_what_is_stored_and_a_stored_rejection_stays(set: ServerSet) {
    let (office, repository) = repository(set).await;
    let rejected = |reason| Decision::plain(Outcome::Rejected(reason));
    let held = asks("adopt", "alice", &["A-1-1"], (1_000, 2_000));
    let row = made(&repository, &held).await;
    let stored = office.scan().await;
    assert_eq!(repository.put_unless_stored(ReservationRow::new(&held, rejected(Reason::Lapsed))).await.unwrap(), row);
    assert_unchanged(&office, &stored).await;

    let lapsed = asks("adopt", "bob", &["A-1-2"], (1_000, 2_000));
    let row = repository.put_unless_stored(ReservationRow::new(&lapsed, rejected(Reason::Lapsed))).await.unwrap();
    assert_eq!((row.status, row.outcome, row.counted), (Status::Rejected, Outcome::Rejected(Reason::Lapsed), 0));
    let stored = office.scan().await;
    assert_eq!(
        repository.put_unless_stored(ReservationRow::new(&lapsed, rejected(Reason::SeatsTaken))).await.unwrap(),
        row
    );
    assert_eq!(repository.hold(&lapsed).await.unwrap(), Hold::Stored(row));
    assert_unchanged(&office, &stored).await;
    office.close().await;
}

async fn the_taken_seats_of_a_partition_are_its_own(set: ServerSet) {
    let (office, repository) = repository(set).await;
    // Numbers 199 and 200: the last of one partition and the first of the next; and another section with the same number.
    let seats = ["A-2-100", "A-3-1", "B-3-1"];
    let request = asks("parts", "alice", &seats, (1_000, 2_000));
    made(&repository, &request).await;
    pay_for(&office.table().await, "parts", "A-3-1").await;
    let event = request.reservation_id.event();
    let taken = async |section: &str, partition| {
        let seats = repository.taken(&event, section, partition).await.unwrap();
        seats.into_iter().map(|seat| (seat.number, seat.state)).collect::<Vec<_>>()
    };
    use shared::domain::event::TakenState::{Held, Sold};
    let owner = request.reservation_id.uuid().to_owned();
    assert_eq!(taken("A", 0).await, [(199, Held { owner: owner.clone(), expires_at_ms: 2_000 })]);
    assert_eq!(taken("A", 1).await, [(200, Sold { owner: owner.clone() })]);
    assert_eq!(taken("B", 0).await, []);
    assert_eq!(taken("B", 1).await, [(200, Held { owner, expires_at_ms: 2_000 })]);
    office.close().await;
}

async fn a_customers_reservations_come_newest_first_page_by_page(set: ServerSet) {
    let (office, repository) = repository(set).await;
    let mut expected = Vec::new();
    for n in 1..=7_i64 {
        let (key, seat) = (format!("key-{n}"), format!("A-1-{n}"));
        let asked = |customer, event| {
            Asked { event, customer, key: &key, seats: &[&seat], limit: None, held: (1_000 * n, 99_000) }.request()
        };
        made(&repository, &asked("alice", "pages")).await;
        made(&repository, &asked("bob", "others")).await;
        expected.insert(0, asked("alice", "pages").reservation_id);
    }
    let alice = asks("pages", "alice", &["A-1-1"], (1, 2)).customer;
    let (mut listed, mut sizes, mut cursor) = (Vec::new(), Vec::new(), None);
    loop {
        let page = repository.of_customer(&alice, 3, cursor).await.unwrap();
        sizes.push(page.rows.len());
        listed.extend(page.rows.into_iter().map(|row| row.reservation_id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, expected);
    assert_eq!(sizes, [3, 3, 1]);
    office.close().await;
}
