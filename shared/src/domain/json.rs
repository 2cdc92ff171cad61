//! JSON read strictly, with the path of whatever does not fit: a clear error names the field.

use serde::Deserialize;
use serde_ignored::Path;

use super::Invalid;

/// Reads JSON, naming the path of what does not fit. Fields a type does not know are read over, unless it denies them.
///
/// # Errors
/// The path and the parser's reason; the field is `body` where the text is no JSON object at all.
pub fn from_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Invalid> {
    read(body, |_| {})
}

/// The same, and refuses every field the type does not know. Here and not in the type, so that what is stored is read over
/// by a version that does not know it yet.
///
/// # Errors
/// As [`from_json`], and the path of an unknown field.
pub fn from_json_strictly<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Invalid> {
    let mut unknown = None;
    let value = read(body, |path| {
        unknown.get_or_insert(path);
    })?;
    unknown.map_or(Ok(value), |path| Err(Invalid::new(path, "is an unknown field")))
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8], mut read_over: impl FnMut(String)) -> Result<T, Invalid> {
    // Serde would take a list for a struct, its fields by position, and name our type where it takes neither.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| *byte != b'{') {
        return Err(Invalid::new("body", "must be a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let mut track = serde_path_to_error::Track::new();
    let tracking = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
    let read = serde_ignored::deserialize(tracking, |path| read_over(path_of(&path)));
    let value: T = read.map_err(|error: serde_json::Error| {
        let path = track.path().to_string();
        if error.is_syntax() || error.is_eof() {
            return Invalid::new("body", format!("is no JSON: {}", words(&error)));
        }
        let path = if path == "." { String::new() } else { path };
        match (missing_field(&error), path.is_empty()) {
            (Some(field), _) => Invalid::new(field, "is missing").within_path(&path),
            (None, true) => Invalid::new("body", words(&error)),
            (None, false) => Invalid::new(path, words(&error)),
        }
    })?;
    deserializer.end().map_err(|error| Invalid::new("body", words(&error)))?;
    Ok(value)
}

/// A path in the notation of the other errors: `sections[1].colour`.
fn path_of(path: &Path<'_>) -> String {
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", path_of(parent)),
        Path::Map { parent, key } => match path_of(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => path_of(parent),
    }
}

/// The parser's reason without its position, which is of no use to who sent a program's output, and without our types.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or_default();
    ["u64", "u32", "u8"].iter().fold(reason.to_owned(), |reason, integer| {
        reason.replace(&format!("expected {integer}"), "expected a whole number")
    })
}

/// The field a document lacks: serde names it only in words.
fn missing_field(error: &serde_json::Error) -> Option<String> {
    let text = words(error);
    let field = text.strip_prefix("missing field `")?.strip_suffix('`')?;
    Some(field.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct Outer {
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct Inner {
        id: u8,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct Tolerant {
        id: u8,
        more: Option<Vec<Option<TolerantInner>>>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct TolerantInner {
        id: u8,
    }

    #[test]
    fn what_a_type_would_read_over_is_refused_by_its_path() {
        let refused = |body: &str| from_json_strictly::<Tolerant>(body.as_bytes()).unwrap_err().to_string();
        assert_eq!(refused(r#"{"id":1,"by":[1,{"x":2}]}"#), "by: is an unknown field");
        assert_eq!(refused(r#"{"id":1,"more":[{"id":1},{"id":2,"by":3}]}"#), "more[1].by: is an unknown field");
        assert!(from_json_strictly::<Tolerant>(br#"{"id":1,"more":[null]}"#).is_ok());
        assert!(from_json::<Tolerant>(br#"{"id":1,"by":2}"#).is_ok());
        // What is missing is said first.
        assert_eq!(refused(r#"{"by":1}"#), "id: is missing");
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_path() {
        let refused = |body: &str| from_json::<Outer>(body.as_bytes()).unwrap_err().to_string();
        assert_eq!(refused("{}"), "inner: is missing");
        assert_eq!(refused(r#"{"inner":[{"id":1},{}]}"#), "inner[1].id: is missing");
        assert_eq!(
            refused(r#"{"inner":[{"id":"x"}]}"#),
            r#"inner[0].id: invalid type: string "x", expected a whole number"#
        );
        assert_eq!(refused(r#"{"inner":[],"price":1}"#), "price: unknown field `price`, expected `inner`");
        assert_eq!(refused(r#"{"inner":[{"id":1,"by":2}]}"#), "inner[0].by: unknown field `by`, expected `id`");
        assert_eq!(refused("{"), "body: is no JSON: EOF while parsing an object");
        assert_eq!(refused("{\"inner\":[]} x"), "body: trailing characters");
    }
}
