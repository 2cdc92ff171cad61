//! An error for the log: the JSON lines of the functions print an error without what lies below it, and that is mostly what
//! somebody has to know.

/// An error and everything below it, in one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
