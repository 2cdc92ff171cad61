//! A value that shows itself to nobody who only prints it: not in a log line, nor in an error, nor under `{:?}`.

use std::fmt;

/// A password, or what stands for one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a value into keeping.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for whoever has to be told it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A URL as it may be printed: without the user and the password before its host.
#[must_use]
pub fn without_user(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host)),
        // Whatever it is, it is no address.
        None => "[no URL]".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_printed_nowhere() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "[secret]");
        for url in ["rediss://tickets:hunter2@cache:6379", "rediss://:hunter@2@cache:6379"] {
            assert_eq!(without_user(url), "rediss://cache:6379");
        }
        assert_eq!(without_user("redis://127.0.0.1:1"), "redis://127.0.0.1:1");
        assert_eq!(without_user("hunter2"), "[no URL]");
    }
}
