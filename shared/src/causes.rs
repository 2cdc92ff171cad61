//! Errors for the log: with all that lies below them, and without the data they are about.

use std::fmt::Display;

/// An error and everything below it, in one line: the JSON lines of the functions print an error alone, and what lies below
/// it is mostly what somebody has to know.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What is wrong with data, without the data: serde quotes the value it cannot take, and that may be somebody's name.
/// Cut from the first quote to the last, for a value may have quotes in it.
pub fn without_values(error: impl Display) -> String {
    let text = error.to_string();
    if text.starts_with("missing field ") {
        return text;
    }
    match (text.find(['`', '"']), text.rfind(['`', '"'])) {
        (Some(first), Some(last)) => format!("{}[…]{}", &text[..first], &text[last + 1..]),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    enum Status {
        Held,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only what is wrong with it is looked at")]
    struct Row {
        status: Status,
        seats: u32,
    }

    #[test]
    fn what_is_wrong_with_data_is_said_without_it() {
        for (data, said) in [
            (r#"{"status":"alice"}"#, "unknown variant […] at line 1 column 17"),
            (r#"{"status":"Held","seats":"al\"ice"}"#, "invalid type: string […], expected u32 at line 1 column 34"),
            (r#"{"status":"Held"}"#, "missing field `seats` at line 1 column 17"),
        ] {
            let error = serde_json::from_str::<Row>(data).unwrap_err();
            assert_eq!(without_values(error), said);
        }
        assert_eq!(without_values("a lone ` stays out, too"), "a lone […] stays out, too");
        assert_eq!(without_values("no pk"), "no pk");
    }
}
