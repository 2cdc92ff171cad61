//! One invocation of the function: its time-out, its answer, and what may become of the answer on the way.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use serde_json::Value;

use super::payload::{self, Failed, Reason};
use super::poller::Shared;

/// Delivers a payload as often as asked. The last answer counts.
pub(super) async fn deliver(shared: &Shared, event: Value) -> Result<Failed, Reason> {
    let mut answer = Err("never delivered".to_owned());
    for _ in 0..shared.settings.deliveries {
        answer = once(shared, event.clone()).await;
    }
    answer
}

async fn once(shared: &Shared, event: Value) -> Result<Failed, Reason> {
    let chaos = &shared.settings.chaos;
    let number = shared.invocations.fetch_add(1, Ordering::Relaxed) + 1;
    let answer = invoke(shared, event).await;
    if !chaos.answer_delay.is_zero() {
        tokio::time::sleep(chaos.answer_delay).await;
    }
    if chaos.lose_every_nth_answer.is_some_and(|nth| number % nth == 0) {
        return Err("the answer was lost".to_owned());
    }
    match answer {
        Ok(_) if !shared.settings.report_batch_item_failures => Ok(Failed::new()),
        Ok(answer) => payload::failures(answer),
        Err(reason) => Err(reason),
    }
}

/// A panic or a time-out is an error of the function, as it is in Lambda.
async fn invoke(shared: &Shared, event: Value) -> Result<Value, Reason> {
    let handler = Arc::clone(&shared.handler);
    let invocation = AssertUnwindSafe(async move { handler(event).await }).catch_unwind();
    match tokio::time::timeout(shared.settings.invocation_timeout, invocation).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err("the function panicked".to_owned()),
        Err(_) => Err("the function timed out".to_owned()),
    }
}
