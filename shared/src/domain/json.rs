//! JSON read strictly, with the path of whatever does not fit: a clear error names the field.

use serde::Deserialize;

use super::Invalid;

/// Reads a JSON body, naming the path of what does not fit.
///
/// # Errors
/// The path and the parser's reason; the field is `body` where the text is no JSON at all.
pub fn from_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Invalid> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value: T = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let field =
            if path == "." || error.inner().is_syntax() || error.inner().is_eof() { "body".into() } else { path };
        Invalid::new(field, error.inner().to_string())
    })?;
    deserializer.end().map_err(|error| Invalid::new("body", error.to_string()))?;
    Ok(value)
}
