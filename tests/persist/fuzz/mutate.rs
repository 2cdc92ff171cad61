//! Ten thousand ways to get a record wrong, by chance: each takes a good request and makes a record of it, and says what must
//! become of that by construction.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};
use serde_json::{Value, json};
use shared::message::{MAX_MESSAGE_BYTES, Request};

use crate::harness::handmade::{carrying, record};

/// What must become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is stored: nothing that matters is wrong with it.
    Stored,
    /// It is kept as a dead letter.
    Poison,
    /// One of the two: nobody can say what a flipped bit spells.
    Either,
}

/// A record, what must become of it, and which mutation made it.
pub struct Mutant {
    pub record: Value,
    pub fate: Fate,
    pub made_by: &'static str,
}

type Mutation = fn(&mut StdRng, i64, &Request) -> Value;

/// Every mutation, by name.
const MUTATIONS: [(&str, Fate, Mutation); 24] = [
    ("something unknown added", Fate::Stored, with_unknown_fields),
    ("fields in another order", Fate::Stored, |_, offset, good| with_value(offset, good, tree(good).to_string())),
    ("blanks around it", Fate::Stored, |_, offset, good| with_value(offset, good, format!(" \n\t{}\r\n ", text(good)))),
    ("letters escaped", Fate::Stored, escaped),
    ("strange around the record", Fate::Stored, strange_surroundings),
    ("cut off", Fate::Poison, |random, offset, good| {
        let value = good.to_value();
        with_value(offset, good, &value[..random.random_range(0..value.len())])
    }),
    ("more behind it", Fate::Poison, |random, offset, good| {
        let more = *["}", "x", "{}", "\0", ",", "\u{feff}"].choose(random).unwrap();
        with_value(offset, good, text(good) + more)
    }),
    ("a field that is missing", Fate::Poison, |random, offset, good| {
        let mut tree = tree(good);
        tree.as_object_mut().unwrap().remove(required(random));
        with_value(offset, good, tree.to_string())
    }),
    ("a field of another type", Fate::Poison, another_type),
    ("a field that comes twice", Fate::Poison, |random, offset, good| {
        let field = required(random);
        let again = format!("{{\"{field}\":{},", tree(good)[field]);
        with_value(offset, good, text(good).replacen('{', &again, 1))
    }),
    ("a number too large", Fate::Poison, too_large_a_number),
    ("no object", Fate::Poison, |random, offset, good| {
        let others = [json!([tree(good)]), json!(text(good)), json!(null), json!(7), json!([]), json!({})];
        with_value(offset, good, others.choose(random).unwrap().to_string())
    }),
    ("another key", Fate::Poison, |random, offset, good| {
        let id = good.reservation_id.as_str();
        let (upper, longer) = (id.to_uppercase(), format!("{id}a"));
        let others = [b"".as_slice(), upper.as_bytes(), longer.as_bytes(), b"\xff\xfe", &id.as_bytes()[1..]];
        record(offset, Some(others.choose(random).unwrap()), Some(&good.to_value()))
    }),
    ("no UTF-8", Fate::Poison, |random, offset, good| {
        let mut value = good.to_value();
        let at = random.random_range(0..value.len());
        value.insert(at, *[0x80, 0xc0, 0xf5, 0xfe, 0xff].choose(random).unwrap());
        with_value(offset, good, value)
    }),
    ("half a surrogate", Fate::Poison, |_, offset, good| {
        with_value(offset, good, text(good).replacen(good.customer.as_str(), "\\ud800", 1))
    }),
    ("seats that cannot be", Fate::Poison, impossible_seats),
    ("another version", Fate::Poison, |random, offset, good| {
        let version = format!("\"version\":{}", [0, 2, 3, u64::MAX].choose(random).unwrap());
        with_value(offset, good, text(good).replacen("\"version\":1", &version, 1))
    }),
    ("too many bytes", Fate::Poison, |random, offset, good| {
        let blanks = MAX_MESSAGE_BYTES + random.random_range(0..1_000);
        with_value(offset, good, text(good) + &" ".repeat(blanks))
    }),
    ("any bytes", Fate::Poison, |random, offset, good| {
        let bytes: Vec<u8> = (0..random.random_range(0..600)).map(|_| random.random()).collect();
        with_value(offset, good, bytes)
    }),
    ("no base64", Fate::Poison, no_base64),
    ("key or value of no use", Fate::Poison, |random, offset, good| {
        let mut record = carrying(offset, good);
        let field = *["key", "value"].choose(random).unwrap();
        record[field] = [json!(null), json!(1), json!(true), json!({}), json!([65])].choose(random).unwrap().clone();
        record
    }),
    ("flipped bits", Fate::Either, |random, offset, good| {
        let mut value = good.to_value();
        for _ in 0..random.random_range(1..4) {
            *value.iter_mut().choose(random).unwrap() ^= 1 << random.random_range(0..8);
        }
        with_value(offset, good, value)
    }),
    ("bytes swapped, doubled and dropped", Fate::Either, |random, offset, good| {
        let mut value = good.to_value();
        let (at, to) = (random.random_range(0..value.len()), random.random_range(0..value.len()));
        match random.random_range(0..3) {
            0 => value.swap(at, to),
            1 => value.insert(at, value[to]),
            _ => drop(value.remove(at)),
        }
        with_value(offset, good, value)
    }),
    ("another letter of its base64", Fate::Either, |random, offset, good| {
        let mut record = carrying(offset, good);
        let field = *["key", "value"].choose(random).unwrap();
        let mut letters = record[field].as_str().unwrap().as_bytes().to_vec();
        *letters.iter_mut().choose(random).unwrap() = *b"AZaz09+/=".choose(random).unwrap();
        record[field] = json!(String::from_utf8(letters).unwrap());
        record
    }),
];

/// How many there are.
pub const KINDS: usize = MUTATIONS.len();

/// Makes a mutant of a good request: one of the [`KINDS`].
pub fn mutate(random: &mut StdRng, kind: usize, offset: i64, good: &Request) -> Mutant {
    let (made_by, fate, mutation) = MUTATIONS[kind];
    Mutant { record: mutation(random, offset, good), fate, made_by }
}

/// What is no record with an offset at all: nobody can say where it stood.
pub fn nowhere(random: &mut StdRng, good: &Request) -> Value {
    let mut record = carrying(0, good);
    match random.random_range(0..3) {
        0 => drop(record.as_object_mut().unwrap().remove("offset")),
        1 => record["offset"] = [json!("7"), json!(1.5), json!(u64::MAX), json!(null)].choose(random).unwrap().clone(),
        _ => record = [json!(null), json!(5), json!("record"), json!([]), json!({})].choose(random).unwrap().clone(),
    }
    record
}

fn text(good: &Request) -> String {
    String::from_utf8(good.to_value()).unwrap()
}

fn tree(good: &Request) -> Value {
    serde_json::from_slice(&good.to_value()).unwrap()
}

fn with_value(offset: i64, good: &Request, value: impl AsRef<[u8]>) -> Value {
    record(offset, Some(good.reservation_id.as_str().as_bytes()), Some(value.as_ref()))
}

/// A field no request can be without.
fn required(random: &mut StdRng) -> &'static str {
    let fields = [
        "version",
        "reservation_id",
        "customer",
        "fingerprint",
        "layout_version",
        "amount_cents",
        "currency",
        "opens_at_ms",
        "closes_at_ms",
        "seats",
        "held_at_ms",
        "expires_at_ms",
    ];
    fields.choose(random).unwrap()
}

/// However deep: what nobody knows is read over without a stack.
fn with_unknown_fields(random: &mut StdRng, offset: i64, good: &Request) -> Value {
    let depth = *[0, 3, 127, 128, 20_000].choose(random).unwrap();
    let deep = format!("{{\"later\":{}1e300{},", "[".repeat(depth), "]".repeat(depth));
    with_value(offset, good, text(good).replacen('{', &deep, 1))
}

/// Letters as JSON may also write them.
fn escaped(random: &mut StdRng, offset: i64, good: &Request) -> Value {
    let customer = good.customer.as_str();
    let letter = customer.chars().filter(char::is_ascii_alphanumeric).choose(random).unwrap();
    let written = customer.replace(letter, &format!("\\u{:04x}", u32::from(letter)));
    with_value(offset, good, text(good).replacen(customer, &written, 1))
}

/// Headers and other fields that nobody reads in order to decide.
fn strange_surroundings(random: &mut StdRng, offset: i64, good: &Request) -> Value {
    let mut record = carrying(offset, good);
    let junk = [json!(null), json!(7), json!("x"), json!([[1, -129, 4_000, "x"]]), json!([{ "": [-1, 255, 1.5] }])];
    for field in ["headers", "timestamp", "timestampType", "topic", "partition", "later"] {
        match random.random_range(0..3) {
            0 => record[field] = junk.choose(random).unwrap().clone(),
            1 => drop(record.as_object_mut().unwrap().remove(field)),
            _ => {}
        }
    }
    record
}

fn another_type(random: &mut StdRng, offset: i64, good: &Request) -> Value {
    let mut tree = tree(good);
    let field = required(random);
    let others = [json!(null), json!(true), json!(-1.5), json!(""), json!([[]]), json!({ "a": 1 })];
    // An empty fingerprint is one, if an odd one.
    let others = others.iter().filter(|other| field != "fingerprint" || !other.is_string());
    tree[field] = others.choose(random).unwrap().clone();
    with_value(offset, good, tree.to_string())
}

fn too_large_a_number(random: &mut StdRng, offset: i64, good: &Request) -> Value {
    let fields =
        ["version", "layout_version", "amount_cents", "opens_at_ms", "closes_at_ms", "held_at_ms", "expires_at_ms"];
    let field = *fields.choose(random).unwrap();
    let numbers = ["1e400", "-1e400", "18446744073709551616", "-9223372036854775809", "1e18", "0.1"];
    let before = format!("\"{field}\":{}", tree(good)[field]);
    let after = format!("\"{field}\":{}", numbers.choose(random).unwrap());
    with_value(offset, good, text(good).replacen(&before, &after, 1))
}

fn impossible_seats(random: &mut StdRng, offset: i64, good: &Request) -> Value {
    let mut tree = tree(good);
    let seat = tree["seats"][0].clone();
    let with = |field: &str, value: Value| {
        let mut seat = seat.clone();
        seat[field] = value;
        json!([seat])
    };
    let many: Vec<Value> = (1..=21).map(|n| json!({ "id": format!("Z-1-{n}"), "number": n })).collect();
    let shapes = [
        json!([]),
        json!([seat, seat]),
        json!([seat, { "id": "A-9-9", "number": seat["number"] }]),
        json!(many),
        json!(["A-1-1"]),
        json!([null]),
        with("number", json!(-1)),
        with("number", json!(10_000_001)),
        with("number", json!(1_u64 << 32)),
        with("id", json!("A")),
        with("id", json!("A--1")),
        with("id", json!("A-1-1-1")),
        with("id", json!("A-1-\u{0}")),
        with("id", json!("A-1-ß")),
        with("id", json!(format!("A-1-{}", "9".repeat(17)))),
    ];
    tree["seats"] = shapes.choose(random).unwrap().clone();
    with_value(offset, good, tree.to_string())
}

fn no_base64(random: &mut StdRng, offset: i64, good: &Request) -> Value {
    let mut record = carrying(offset, good);
    let field = *["key", "value"].choose(random).unwrap();
    let mut letters = record[field].as_str().unwrap().trim_end_matches('=').to_owned();
    match random.random_range(0..3) {
        0 => letters
            .insert(random.random_range(0..letters.len()), *['%', '-', '_', ' ', '\n', 'é'].choose(random).unwrap()),
        1 => letters.insert_str(1, "=="),
        _ => letters.truncate(letters.len() / 4 * 4 - 3),
    }
    assert!(STANDARD.decode(&letters).is_err(), "{letters}");
    record[field] = json!(letters);
    record
}
