//! `Accept` (RFC 9110, 12.5.1): in which of its two forms a caller wants a seat map.

use axum::http::{HeaderMap, header};

/// The media type of the compact form.
pub const COMPACT: &str = "application/vnd.event-tickets.seatmap+json";
/// The media type of the readable form.
pub const READABLE: &str = "application/json";

/// How a seat map is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Every seat with its name and status.
    Readable,
    /// A string of statuses a section, in the order of a layout that is had separately.
    Compact,
}

impl Form {
    /// The form asked for. The compact one only where it is named, and wanted at least as much as the readable one; who can
    /// read neither is sent the readable one, as he would be without the header.
    pub fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
        let (mut compact, mut readable) = (None, None);
        for (range, weight) in lines.flat_map(|line| line.split(',')).map(weighed) {
            if range.eq_ignore_ascii_case(COMPACT) {
                compact = compact.max(Some(weight));
            } else if range.eq_ignore_ascii_case(READABLE) {
                readable = readable.max(Some(weight));
            }
        }
        match compact {
            Some(weight) if weight > 0 && readable.is_none_or(|other| weight >= other) => Self::Compact,
            _ => Self::Readable,
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Readable => READABLE,
            Self::Compact => COMPACT,
        }
    }
}

/// A media range and its weight in thousandths; one that cannot be read weighs nothing.
fn weighed(entry: &str) -> (&str, u16) {
    let mut parts = entry.split(';').map(str::trim);
    let range = parts.next().unwrap_or_default();
    let weight = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse::<f32>().unwrap_or(0.0))
    });
    (range, (weight.unwrap_or(1.0).clamp(0.0, 1.0) * 1_000.0) as u16)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(lines: &[&'static str]) -> Form {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::ACCEPT, HeaderValue::from_static(line));
        }
        Form::of(&headers)
    }

    #[test]
    fn the_compact_form_is_for_who_names_it() {
        for lines in [
            &[COMPACT][..],
            &["Application/vnd.event-tickets.SeatMap+json"],
            &["application/vnd.event-tickets.seatmap+json;q=0.9, */*"],
            &["application/json, application/vnd.event-tickets.seatmap+json"],
            &["application/json; q=0.5", "application/vnd.event-tickets.seatmap+json ; Q=0.5"],
        ] {
            assert_eq!(of(lines), Form::Compact, "{lines:?}");
        }
    }

    #[test]
    fn everybody_else_is_sent_the_readable_one() {
        for lines in [
            &[][..],
            &["*/*"],
            &["application/*"],
            &["text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"],
            &["text/plain"],
            &["application/vnd.event-tickets.seatmap+json;q=0"],
            &["application/vnd.event-tickets.seatmap+json;q=0.5, application/json"],
            &["application/vnd.event-tickets.seatmap+json;q=much"],
            &["application/vnd.event-tickets.seatmap+jsonp"],
            &[";;,,q=1"],
        ] {
            assert_eq!(of(lines), Form::Readable, "{lines:?}");
        }
    }
}
