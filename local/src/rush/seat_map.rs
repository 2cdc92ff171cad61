//! The seat map as all customers of a rush see it: through one cache that asks with the `ETag` it knows, as a page served
//! from a CDN would. A sold-out map is then a 304 without a body, and not half a million seats to render and to read.

use std::sync::{Arc, Mutex, PoisonError};

use axum::http::Method;

use super::OnSale;
use crate::client::ApiClient;

/// The last map seen.
#[derive(Default)]
pub(super) struct SeatMap {
    last: Mutex<Option<Seen>>,
}

#[derive(Clone)]
struct Seen {
    etag: String,
    free: Arc<Vec<usize>>,
}

impl SeatMap {
    /// The free seats, in the venue's order, by a question of this customer's; `None` where it was not answered.
    pub(super) async fn free(&self, sale: &OnSale, client: &ApiClient) -> Option<Arc<Vec<usize>>> {
        let path = format!("/events/{}/seats", sale.event_id);
        let known = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let headers: Vec<(&str, &str)> = known.iter().map(|seen| ("if-none-match", seen.etag.as_str())).collect();
        let answer = sale.ask(client.send(Method::GET, &path, &headers, None)).await.0.ok()?;
        match answer.status {
            304 => known.map(|seen| seen.free),
            200 => {
                let free = Arc::new(sale.venue.free_in(&answer.body));
                let seen = answer.header("etag").map(|etag| Seen { etag: etag.to_owned(), free: free.clone() });
                // Of two answers that cross, the older one may stay: its ETag then brings a whole map the next time.
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = seen;
                Some(free)
            }
            _ => None,
        }
    }
}
