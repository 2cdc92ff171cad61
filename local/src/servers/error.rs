//! Why a server did not start, in exactly one line: it is printed as it is, by the binary and by a failing test.

use std::{io, net::SocketAddr, time::Duration};

/// A server that could not be started, or asked to do what only a running one can.
///
/// `Display` is one line, whatever a server or Maven had to say.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A program that has to be installed by hand.
    #[error("{program} is missing; install it with `{apt}`, `{dnf}` or `{brew}`")]
    Missing {
        /// What was looked for on the search path.
        program: &'static str,
        /// The command on Debian and Ubuntu.
        apt: &'static str,
        /// The command on Fedora and Amazon Linux.
        dnf: &'static str,
        /// The command on macOS.
        brew: &'static str,
    },
    /// Somebody listens there already.
    #[error("{0} is already in use; stop what listens there, or choose another port")]
    PortTaken(SocketAddr),
    /// The process ended before it answered.
    #[error("{server} ended before it answered: {}", one_line(.last_words))]
    Ended {
        /// Its name for people.
        server: &'static str,
        /// The last thing it logged.
        last_words: String,
    },
    /// The process lives, but did not answer in time.
    #[error("{server} did not answer within {} s: {}", .bound.as_secs(), one_line(.last_words))]
    Silent {
        /// Its name for people.
        server: &'static str,
        /// How long it was given.
        bound: Duration,
        /// The last thing it logged, or the last refusal.
        last_words: String,
    },
    /// The jars could not be fetched.
    #[error("the jars of {server} could not be fetched: {}", one_line(.reason))]
    Jars {
        /// The server they are for.
        server: &'static str,
        /// What Maven said.
        reason: String,
    },
    /// A topic could not be created.
    #[error("topic {topic} could not be created: {}", one_line(.reason))]
    Topic {
        /// Its name.
        topic: String,
        /// What the broker said.
        reason: String,
    },
    /// The operating system refused something else.
    #[error("{doing}: {}", one_line(&.source.to_string()))]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The refusal.
        source: io::Error,
    },
}

impl StartError {
    /// For `map_err`: names what was being done when the operating system refused.
    pub(super) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

/// The last line that says something, cut to a length that fits a terminal.
fn one_line(text: &str) -> String {
    /// Longer than any of our servers' last words, shorter than a stack trace on one line.
    const LONGEST: usize = 300;
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it logged nothing");
    line.trim().chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_one_line() {
        let words = "first line\nlast line\n\n".to_owned();
        for error in [
            StartError::Missing { program: "redis-server", apt: "a", dnf: "d", brew: "b" },
            StartError::PortTaken(SocketAddr::from(([127, 0, 0, 1], 9000))),
            StartError::Ended { server: "redis-server", last_words: words.clone() },
            StartError::Silent { server: "redis-server", bound: Duration::from_secs(5), last_words: String::new() },
            StartError::Jars { server: "Apache Kafka", reason: words.clone() },
            StartError::Topic { topic: "t".to_owned(), reason: words.clone() },
            StartError::Io { doing: "making a folder", source: io::Error::other(words) },
        ] {
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
            assert!(!error.to_string().contains("first line"), "{error}");
        }
    }
}
