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
        let field =
            if path == "." || error.inner().is_syntax() || error.inner().is_eof() { "body".into() } else { path };
        Invalid::new(field, in_words(&error.inner().to_string()))
    })?;
    deserializer.end().map_err(|error| Invalid::new("body", error.to_string()))?;
    Ok(value)
}

/// The parser's reason without the names of our types.
fn in_words(reason: &str) -> String {
    reason.replace("expected u64", "expected a whole number").replace("expected u32", "expected a whole number")
}
