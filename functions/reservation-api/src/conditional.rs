//! `If-None-Match` (RFC 9110, 13.1.2): whether a caller has what he would be sent.

use axum::http::{HeaderMap, header};

/// Whether one of the caller's tags is `tag`, by the weak comparison: `W/` makes no difference. `*` is any. What is no list
/// of tags is as if it had not been sent: the whole answer is never wrong.
pub fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    lines.into_iter().any(|line| line.trim() == "*" || tags(line).is_some_and(|tags| tags.contains(&tag)))
}

/// The tags of a list with their quotes and without `W/`; `None` = it is none. A tag may have commas in it.
fn tags(line: &str) -> Option<Vec<&str>> {
    let (mut tags, mut rest) = (Vec::new(), line);
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(tags);
        }
        let tag = rest.strip_prefix("W/").unwrap_or(rest);
        let length = tag.strip_prefix('"')?.find('"')? + 2;
        let (tag, after) = tag.split_at(length);
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
        tags.push(tag);
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn known(lines: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::IF_NONE_MATCH, HeaderValue::from_static(line));
        }
        is_known(&headers, "\"a,b\"")
    }

    #[test]
    fn a_tag_is_found_in_any_list_and_weak_is_as_good() {
        for lines in [
            &["\"a,b\""][..],
            &["W/\"a,b\""],
            &["\"x\", \"a,b\""],
            &["\"x\",W/\"y\" ,\t\"a,b\", \"z\""],
            &["\"x\"", "\"a,b\""],
            &[", \"a,b\","],
            &["*"],
        ] {
            assert!(known(lines), "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_list_of_tags_is_as_if_it_had_not_been_sent() {
        for lines in [
            &[][..],
            &[""],
            &["\"a\", \"b\""],
            &["a,b"],
            &["\"a,b"],
            &["\"a,b\" \"c\""],
            &["\"x\"\"a,b\""],
            &["w/\"a,b\""],
            &["\"x\", *"],
        ] {
            assert!(!known(lines), "{lines:?}");
        }
    }
}
