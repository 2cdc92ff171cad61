//! Somebody else's reservation is answered for as one that does not exist, whatever is asked and however it stands.

use local::client::{Answer, ApiClient};
use local::servers::ServerSet;
use shared::domain::ids::ReservationId;

use super::{assert_unchanged, free_of_charge};
use crate::harness::changing::{assert_answer, cancel, confirm, confirm_for_nothing, extend, id_of, rebook, show};
use crate::harness::handmade::reservation_id;
use crate::harness::{Office, on_both_sets, storm};

on_both_sets!(somebody_elses_reservation_is_one_that_does_not_exist);

async fn everything(client: &ApiClient, id: &ReservationId) -> Vec<Answer> {
    vec![
        show(client, id).await,
        cancel(client, id).await,
        extend(client, id).await,
        confirm_for_nothing(client, id).await,
        confirm(client, id, "payment-1").await,
        rebook(client, id, "payment-1").await,
    ]
}

async fn somebody_elses_reservation_is_one_that_does_not_exist(set: ServerSet) {
    let office = Office::open(set).await;
    office.sells("own", &free_of_charge(4)).await;
    let (ada, eve) = (office.customer("ada"), office.customer("eve"));
    let never = everything(&eve, &reservation_id("own", "ada", "never")).await;
    for answer in &never {
        assert_answer(answer, 404, "reservation-not-found");
    }
    let held = office.holds(&ada, "own", "held", &["A-1-1"]).await;
    let paid = office.holds(&ada, "own", "paid", &["A-1-2"]).await;
    assert_answer(&confirm_for_nothing(&ada, &paid).await, 200, "CONFIRMED");
    let gone = office.holds(&ada, "own", "gone", &["A-1-3"]).await;
    assert_answer(&cancel(&ada, &gone).await, 200, "CANCELLED");
    office.system.event_source().pause();
    let pending = id_of(&storm::insist(&ada, "own", "pending", &["A-1-4"]).await);

    let before = office.scan().await;
    for id in [&held, &paid, &gone, &pending] {
        for (answer, never) in everything(&eve, id).await.iter().zip(&never) {
            assert_eq!((answer.status, &answer.raw), (404, &never.raw), "{id}");
        }
    }
    // The payment side, too, finds nothing where there is nothing.
    let nothing = confirm(&office.payments(), &reservation_id("own", "ada", "never"), "payment-1").await;
    assert_answer(&nothing, 404, "reservation-not-found");
    assert_unchanged(&office, &before).await;
    assert_eq!(office.seat_status("own", "A-1-4").await, "held");
    office.close().await;
}
