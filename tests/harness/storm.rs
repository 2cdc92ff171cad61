//! Crowds that want the same seats, and what must hold after each. The predicates are functions, so that a test which takes
//! a guard away can show that they fail without it.

use std::collections::BTreeSet;

use axum::http::Method;
use local::client::{Answer, ApiClient};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::json;

use super::{Office, all_at_once, eventually};

/// Reserves until there is an answer: on 503 the same key continues, as the contract tells a customer to.
pub async fn insist(client: &ApiClient, event: &str, key: &str, seats: &[&str]) -> Answer {
    eventually("an answer that is none of a loaded machine's", || async {
        let answer = client.reserve(event, key, seats).await.unwrap();
        assert!(answer.status != 503 || answer.header("retry-after") == Some("1"), "{}", answer.body);
        (answer.status != 503).then_some(answer)
    })
    .await
}

/// The same for any body.
pub async fn insist_on(client: &ApiClient, event: &str, key: &str, body: &serde_json::Value) -> Answer {
    let path = format!("/events/{event}/reservations");
    eventually("an answer that is none of a loaded machine's", || async {
        let answer = client.send(Method::POST, &path, &[("idempotency-key", key)], Some(body)).await.unwrap();
        assert!(answer.status != 503 || answer.header("retry-after") == Some("1"), "{}", answer.body);
        (answer.status != 503).then_some(answer)
    })
    .await
}

/// Accepted, or decided already when a retry came to ask.
fn has_won(answer: &Answer) -> bool {
    [200, 202].contains(&answer.status)
}

/// So many customers want one seat at once: what each was answered.
pub async fn on_one_seat(office: &Office, event: &str, seat: &str, customers: usize) -> Vec<(ApiClient, Answer)> {
    let asked = (0..customers).map(|n| {
        let client = office.customer(&format!("customer-{n}"));
        let (event, seat) = (event.to_owned(), seat.to_owned());
        async move {
            let answer = insist(&client, &event, "key", &[&seat]).await;
            (client, answer)
        }
    });
    all_at_once(asked).await
}

/// Exactly one of them has the seat, and everybody else was told that it is taken: the winner, or what is wrong.
pub fn one_winner<'a>(answers: &'a [(ApiClient, Answer)], seat: &str) -> Result<(&'a ApiClient, &'a Answer), String> {
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|(_, answer)| has_won(answer));
    let [(client, answer)] = won.as_slice() else { return Err(format!("{} winners", won.len())) };
    let refused = |answer: &Answer| {
        answer.status == 409 && answer.text("type") == Some("seats-taken") && answer.body["taken"] == json!([seat])
    };
    match lost.iter().find(|(_, answer)| !refused(answer)) {
        Some((_, other)) => Err(format!("neither won nor refused: {} {}", other.status, other.body)),
        None => Ok((client, answer)),
    }
}

/// Three seats A, B, C of a row, wanted as {A,B}, {B,C} and {C,A} by three customers each, in random order. Exactly one of
/// the nine has both of his, and the third seat is free; or what is wrong.
pub async fn triangle(office: &Office, event: &str, row: usize, random: &mut StdRng) -> Result<(), String> {
    let seat = |n: usize| format!("A-{row}-{}", n % 3 + 1);
    let mut pairs: Vec<[String; 2]> = (0..9).map(|n| [seat(n), seat(n + 1)]).collect();
    pairs.shuffle(random);
    let asked = pairs.into_iter().enumerate().map(|(n, pair)| {
        let client = office.customer(&format!("row-{row}-customer-{n}"));
        let event = event.to_owned();
        async move { (insist(&client, &event, "key", &[&pair[0], &pair[1]]).await, pair) }
    });
    let answers = all_at_once(asked).await;
    let won: Vec<_> = answers.iter().filter(|(answer, _)| has_won(answer)).collect();
    if won.len() != 1 {
        return Err(format!("row {row}: two of three seats can be had once, not {} times", won.len()));
    }
    let held: BTreeSet<&String> = won.iter().flat_map(|(_, pair)| pair).collect();
    for n in 0..3 {
        let expected = if held.contains(&seat(n)) { "held" } else { "free" };
        let shown = office.seat_status(event, &seat(n)).await;
        if shown != expected {
            return Err(format!("row {row}: {} is {shown} and should be {expected}", seat(n)));
        }
    }
    Ok(())
}
