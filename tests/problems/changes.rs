//! Refusals of what may become of a reservation, and of seats that are not chosen by name.

use serde_json::json;

use super::Gallery;
use crate::harness::changing::{assert_answer, cancel, confirm, extend, id_of, rebook, reserve_of};
use crate::harness::{Office, hall};

/// A hold that is paid for, step by step; what stands in its way at each.
pub(super) async fn changes(office: &Office, gallery: &mut Gallery) {
    let (ada, payments) = (office.customer("ada"), office.payments());
    office.sells("changes", &hall::with(hall::small(1, 4), "extend_seconds", json!(60))).await;
    office.system.event_source().pause();
    let id = id_of(&ada.reserve("changes", "k", &["A-1-1"]).await.unwrap());
    gallery.show("pending", &confirm(&payments, &id, "payment-1").await);
    office.system.event_source().resume();
    office.drained().await;
    assert_answer(&extend(&ada, &id).await, 200, "HELD");
    gallery.show("already-extended", &extend(&ada, &id).await);
    gallery.show("forbidden-to-the-owner", &confirm(&ada, &id, "payment-1").await);
    assert_answer(&confirm(&payments, &id, "payment-1").await, 200, "CONFIRMED");
    gallery.show("already-confirmed", &confirm(&payments, &id, "payment-2").await);
    gallery.show("not-extendable", &extend(&ada, &id).await);
    gallery.show("not-held-but-confirmed", &cancel(&ada, &id).await);
}

/// A payment that came too late, and somebody was quicker.
pub(super) async fn late_payments(office: &Office, gallery: &mut Gallery) {
    let (ada, payments) = (office.customer("ada"), office.payments());
    office.sells("late", &hall::with(hall::small(1, 2), "hold_seconds", json!(1))).await;
    let id = office.holds(&ada, "late", "k", &["A-1-1"]).await;
    office.ran_out(&ada, &id).await;
    gallery.show("hold-expired-before-payment", &confirm(&payments, &id, "payment-1").await);
    office.sells("late", &hall::small(1, 2)).await;
    office.holds(&office.customer("bob"), "late", "k", &["A-1-1"]).await;
    gallery.show("hold-expired-with-alternatives", &rebook(&payments, &id, "payment-1").await);
}

/// A row of three whose middle seat is held: two are free, three may be had, and no two are side by side.
pub(super) async fn sections(office: &Office, gallery: &mut Gallery) {
    let ada = office.customer("ada");
    office.sells("best", &hall::small(1, 3)).await;
    office.holds(&ada, "best", "k", &["A-1-2"]).await;
    for (name, quantity, adjacent) in
        [("no-adjacent-seats", 2, "required"), ("contended-seats", 3, "preferred"), ("sold-out", 4, "preferred")]
    {
        let wish = json!({ "section": "A", "quantity": quantity, "adjacent": adjacent });
        gallery.show(name, &reserve_of(&office.customer("bob"), "best", name, &wish).await);
    }
}
