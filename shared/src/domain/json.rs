//! JSON read strictly, with the path of whatever does not fit: a clear error names the field.

use serde::Deserialize;

use super::Invalid;

/// Reads a JSON body, naming the path of what does not fit.
///
/// # Errors
/// The path and the parser's reason; the field is `body` where the text is no JSON object at all.
pub fn from_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Invalid> {
    // Serde would take a list for a struct, its fields by position, and name our type where it takes neither.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| *byte != b'{') {
        return Err(Invalid::new("body", "must be a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value: T = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
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
        assert_eq!(refused("{"), "body: is no JSON: EOF while parsing an object");
        assert_eq!(refused("{\"inner\":[]} x"), "body: trailing characters");
    }
}
