//! Small halls to sell.

use serde_json::{Value, json};

/// An event on sale: section A of `rows` rows with `seats` seats each (`A-1-1` …), and section B of one row (`B-1-1` …).
pub fn small(rows: usize, seats: usize) -> Value {
    let rows: Vec<Value> = (1..=rows).map(|row| json!({ "id": row.to_string(), "seats": seats })).collect();
    json!({
        "name": "A small hall",
        "venue": "Test venue",
        "starts_at": "2098-06-01T18:00:00Z",
        "time_zone": "Asia/Seoul",
        "currency": "EUR",
        "sale": { "opens_at": "2020-01-01T00:00:00Z", "closes_at": "2098-06-01T18:00:00Z" },
        "hold_seconds": 600,
        "sections": [
            { "id": "A", "name": "Stalls", "kind": "seated", "price_cents": 8900, "rows": rows },
            { "id": "B", "name": "Circle", "kind": "seated", "price_cents": 4900, "rows": [{ "id": "1", "seats": seats }] },
        ],
    })
}

/// The same with a field set.
pub fn with(mut document: Value, field: &str, value: Value) -> Value {
    document[field] = value;
    document
}

/// An event on sale with `places` places of a general section, `FLOOR`, beside section A of one row of four seats.
pub fn standing(places: usize) -> Value {
    let mut document = small(1, 4);
    document["sections"] = json!([
        { "id": "FLOOR", "name": "Floor", "kind": "general", "price_cents": 2800, "capacity": places },
        { "id": "A", "name": "Stalls", "kind": "seated", "price_cents": 8900, "rows": [{ "id": "1", "seats": 4 }] },
    ]);
    document
}
