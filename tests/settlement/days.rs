//! Which day is whose: by the zone of the event, once the day is over there, and on its own day however late it is written.

use local::servers::ServerSet;
use shared::clock;

use super::{Till, books, counted, expected, ms, plain_jobs, settle, settle_at};
use crate::harness::{Office, on_both_sets};

on_both_sets!(
    sales_and_refunds_count_on_their_own_days_in_the_events_zone,
    a_day_is_settled_once_it_is_over_there_and_not_before,
    what_is_written_late_counts_on_its_own_day,
    what_was_not_paid_and_what_was_never_told_counts_as_it_should,
);

async fn sales_and_refunds_count_on_their_own_days_in_the_events_zone(set: ServerSet) {
    let office = Office::open(set).await;
    let mut kiwi = Till::of(&office, "kiwi", "Pacific/Auckland").await;
    // Thirteen hours ahead: the last moment of the 20th, and the first of the 21st.
    kiwi.sells(&[("A", 2)], ms("2024-11-20T10:59:59.999Z")).await;
    kiwi.sells(&[("A", 1), ("B", 3)], ms("2024-11-20T11:00:00Z")).await;
    // Given back on the very day, on the next, and a week later.
    let same = kiwi.sells(&[("B", 1)], ms("2024-11-20T12:00:00Z")).await;
    kiwi.takes_back(&same, ms("2024-11-21T10:59:59Z")).await;
    let next = kiwi.sells(&[("A", 1), ("B", 1)], ms("2024-11-20T12:00:00Z")).await;
    kiwi.takes_back(&next, ms("2024-11-21T11:00:00Z")).await;
    let later = kiwi.sells(&[("F", 4)], ms("2024-11-20T01:00:00Z")).await;
    kiwi.takes_back(&later, ms("2024-11-27T11:00:00Z")).await;

    let mut apple = Till::of(&office, "apple", "America/New_York").await;
    // Clocks go back on the 3rd, so it has 25 hours; and forward on the 10th of March, which has 23.
    for (moment, seats) in [
        ("2024-11-03T03:59:59Z", 1),
        ("2024-11-03T04:00:00Z", 2),
        ("2024-11-04T04:59:59Z", 4),
        ("2024-11-04T05:00:00Z", 8),
        ("2024-03-10T05:00:00Z", 1),
        ("2024-03-11T03:59:59Z", 2),
        ("2024-03-11T04:00:00Z", 4),
    ] {
        apple.sells(&[("B", seats)], ms(moment)).await;
    }
    let done = settle(&plain_jobs(&office).await).await;
    assert_eq!((done.sales_settled, done.refunds_settled), (12, 3));
    let kiwis = [
        ("2024-11-20 A", [2, 17_800, 0, 0]),
        ("2024-11-20 F", [4, 0, 0, 0]),
        ("2024-11-21 A", [2, 17_800, 0, 0]),
        ("2024-11-21 B", [5, 24_500, 1, 4_900]),
        ("2024-11-22 A", [0, 0, 1, 8_900]),
        ("2024-11-22 B", [0, 0, 1, 4_900]),
        ("2024-11-28 F", [0, 0, 4, 0]),
    ];
    assert_eq!(books(&office, "kiwi").await, expected(&kiwis));
    let apples = [
        ("2024-03-10 B", [3, 14_700, 0, 0]),
        ("2024-03-11 B", [4, 19_600, 0, 0]),
        ("2024-11-02 B", [1, 4_900, 0, 0]),
        ("2024-11-03 B", [6, 29_400, 0, 0]),
        ("2024-11-04 B", [8, 39_200, 0, 0]),
    ];
    assert_eq!(books(&office, "apple").await, expected(&apples));
    office.close().await;
}

async fn a_day_is_settled_once_it_is_over_there_and_not_before(set: ServerSet) {
    /// As long after its end as the job waits.
    const MARGIN_MS: i64 = 5 * 60_000;
    let office = Office::open(set).await;
    let jobs = plain_jobs(&office).await;
    let mut till = Till::of(&office, "patient", "America/New_York").await;
    let (sale, refund) = (ms("2024-11-03T12:00:00Z"), ms("2024-11-05T12:00:00Z"));
    let sold = till.sells(&[("A", 1)], sale).await;
    till.takes_back(&sold, refund).await;
    // This one's day is under way.
    till.sells(&[("B", 1)], clock::wall_ms()).await;
    let (sale_over, refund_over) = (ms("2024-11-04T05:00:00Z") + MARGIN_MS, ms("2024-11-06T05:00:00Z") + MARGIN_MS);
    assert_eq!(settle_at(&jobs, sale_over).await, counted(0, 0, 0));
    assert_eq!(settle_at(&jobs, sale_over + 1).await, counted(1, 0, 1));
    let sold = ("2024-11-03 A", [1, 8_900, 0, 0]);
    assert_eq!(books(&office, "patient").await, expected(&[sold]));
    assert_eq!(settle_at(&jobs, refund_over).await, counted(0, 0, 0));
    assert_eq!(settle_at(&jobs, refund_over + 1).await, counted(0, 1, 1));
    let refunded = ("2024-11-05 A", [0, 0, 1, 8_900]);
    assert_eq!(books(&office, "patient").await, expected(&[sold, refunded]));
    // A clock that is ahead of Redis' ends no day.
    assert_eq!(settle_at(&jobs, clock::wall_ms() + 3 * 24 * 3_600_000).await, counted(0, 0, 0));
    office.close().await;
}

async fn what_is_written_late_counts_on_its_own_day(set: ServerSet) {
    let office = Office::open(set).await;
    let jobs = plain_jobs(&office).await;
    let mut till = Till::of(&office, "late", "Asia/Kathmandu").await;
    let noon = ms("2024-06-01T06:15:00Z");
    let first = till.sells(&[("A", 1)], noon).await;
    assert_eq!(settle(&jobs).await, counted(1, 0, 1));
    // Written after its day was settled: a sale, and one that is taken back before the job has come by again.
    till.sells(&[("A", 2)], noon + 1).await;
    let second = till.sells(&[("B", 1)], noon + 2).await;
    till.takes_back(&second, ms("2024-06-02T06:15:00Z")).await;
    // And a refund of what was settled long ago, by somebody who has read it before that.
    till.takes_back(&first, ms("2024-06-02T18:14:59Z")).await;
    assert_eq!(till.row(&first).await.to_settle().map(|next| (next.sale, next.refund)), Some((false, true)));
    let done = settle(&jobs).await;
    assert_eq!((done.sales_settled, done.refunds_settled), (2, 2));
    let lines = [
        ("2024-06-01 A", [3, 26_700, 0, 0]),
        ("2024-06-01 B", [1, 4_900, 0, 0]),
        ("2024-06-02 A", [0, 0, 1, 8_900]),
        ("2024-06-02 B", [0, 0, 1, 4_900]),
    ];
    assert_eq!(books(&office, "late").await, expected(&lines));
    let settled = office.scan().await;
    assert_eq!(settle(&jobs).await, counted(0, 0, 0));
    let without_fence = |items: Vec<String>| -> Vec<String> {
        items.into_iter().filter(|item| !item.contains("pk=\"JOB#settle#")).collect()
    };
    assert_eq!(without_fence(office.scan().await), without_fence(settled), "a run with nothing to do changes nothing");
    office.close().await;
}

async fn what_was_not_paid_and_what_was_never_told_counts_as_it_should(set: ServerSet) {
    let office = Office::open(set).await;
    let mut till = Till::of(&office, "odd", "Europe/Dublin").await;
    let noon = ms("2024-06-01T12:00:00Z");
    let held = till.holds(&[("A", 1)], noon).await;
    till.takes_back(&held, noon + 1).await;
    till.holds(&[("A", 1)], noon).await;
    // Another currency has books of its own.
    let mut dollars = Till::of(&office, "odd", "Europe/Dublin").await;
    dollars.sold = 100;
    let asked = crate::harness::handmade::Asked {
        event: "odd",
        customer: "bob",
        key: "k",
        seats: &["A-2-1", "B-2-1", "A-2-2"],
        limit: None,
        held: (noon - 1, noon + 1),
    };
    // Asked for before requests told what each section costs.
    let mut request = asked.request();
    request.currency = shared::domain::money::Currency::parse("USD").unwrap();
    let shared::dynamodb::reservations::Hold::Made(old) = till.repository.hold(&request).await.unwrap() else {
        panic!("not held");
    };
    till.confirms(&old, noon).await;
    assert_eq!(settle(&plain_jobs(&office).await).await, counted(1, 0, 1));
    let lines = [("2024-06-01 A", [2, 17_800, 0, 0]), ("2024-06-01 B", [1, 8_900, 0, 0])];
    assert_eq!(books(&office, "odd").await, expected(&lines));
    dollars.sells(&[("A", 1)], noon).await;
    assert_eq!(settle(&plain_jobs(&office).await).await, counted(1, 0, 1));
    let items: Vec<String> = office.scan().await.into_iter().filter(|item| item.contains("pk=\"SETTLED#odd")).collect();
    assert!(items.len() == 2 && items[0].contains("#EUR") != items[1].contains("#EUR"), "{items:?}");
    office.close().await;
}
