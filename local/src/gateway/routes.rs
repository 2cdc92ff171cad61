//! Which routes API Gateway knows, and whom it lets through: the template's, and those the function is still to learn.

use std::collections::BTreeMap;

use axum::http::Method;

/// What a caller must bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Nothing.
    None,
    /// A valid token.
    Jwt,
    /// A valid token with this scope.
    Scope(&'static str),
}

/// A method and path that is passed on to the function.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path; a segment in braces stands for any one segment.
    pub path: &'static str,
    /// Who may.
    pub auth: Auth,
}

impl Route {
    /// The scope it asks for.
    #[must_use]
    pub fn scope(&self) -> Option<&'static str> {
        match self.auth {
            Auth::Scope(scope) => Some(scope),
            Auth::None | Auth::Jwt => None,
        }
    }
}

const fn route(method: Method, path: &'static str, auth: Auth) -> Route {
    Route { method, path, auth }
}

const ADMIN: Auth = Auth::Scope("tickets/admin");

/// Every route there is. Who may confirm depends on the reservation, so the function decides it.
pub static ROUTES: [Route; 18] = [
    route(Method::GET, "/health", Auth::None),
    route(Method::GET, "/openapi.json", Auth::None),
    route(Method::GET, "/events", Auth::None),
    route(Method::GET, "/events/{event_id}", Auth::None),
    route(Method::GET, "/events/{event_id}/seats", Auth::None),
    route(Method::GET, "/events/{event_id}/layouts/{version}", Auth::None),
    route(Method::GET, "/events/{event_id}/seats/mine", Auth::Jwt),
    route(Method::POST, "/events/{event_id}/reservations", Auth::Jwt),
    route(Method::GET, "/reservations", Auth::Jwt),
    route(Method::GET, "/reservations/{reservation_id}", Auth::Jwt),
    route(Method::DELETE, "/reservations/{reservation_id}", Auth::Jwt),
    route(Method::POST, "/reservations/{reservation_id}/confirm", Auth::Jwt),
    route(Method::POST, "/reservations/{reservation_id}/extend", Auth::Jwt),
    route(Method::PUT, "/admin/events/{event_id}", ADMIN),
    route(Method::PUT, "/admin/events/{event_id}/blocks/{block_id}", ADMIN),
    route(Method::DELETE, "/admin/events/{event_id}/blocks/{block_id}", ADMIN),
    route(Method::GET, "/admin/events/{event_id}/reservations", ADMIN),
    route(Method::GET, "/admin/events/{event_id}/report", ADMIN),
];

/// What the braces of a route stand for, by name.
pub type PathParameters<'a> = BTreeMap<&'static str, &'a str>;

/// The route of a request, or `None`, which API Gateway answers itself.
#[must_use]
pub fn find<'a>(method: &Method, path: &'a str) -> Option<(&'static Route, PathParameters<'a>)> {
    ROUTES.iter().filter(|route| route.method == *method).find_map(|route| Some((route, matched(route.path, path)?)))
}

fn matched<'a>(template: &'static str, path: &'a str) -> Option<PathParameters<'a>> {
    let mut parameters = PathParameters::new();
    let (mut templates, mut segments) = (template.split('/'), path.split('/'));
    loop {
        match (templates.next(), segments.next()) {
            (None, None) => return Some(parameters),
            (Some(template), Some(segment)) => {
                match template.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                    Some(name) if !segment.is_empty() => drop(parameters.insert(name, segment)),
                    None if template == segment => {}
                    _ => return None,
                }
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str) -> Option<(&'static str, Auth)> {
        find(&method, path).map(|(route, _)| (route.path, route.auth))
    }

    #[test]
    fn a_route_is_found_by_method_and_every_segment() {
        assert_eq!(found(Method::GET, "/events"), Some(("/events", Auth::None)));
        assert_eq!(found(Method::GET, "/events/a/seats/mine"), Some(("/events/{event_id}/seats/mine", Auth::Jwt)));
        assert_eq!(found(Method::PUT, "/admin/events/a"), Some(("/admin/events/{event_id}", ADMIN)));
        assert_eq!(
            find(&Method::DELETE, "/admin/events/a/blocks/b").unwrap().1,
            PathParameters::from([("block_id", "b"), ("event_id", "a")])
        );
    }

    #[test]
    fn what_is_not_in_the_table_is_not_a_route() {
        for (method, path) in [
            (Method::POST, "/events"),
            (Method::HEAD, "/health"),
            (Method::GET, "/"),
            (Method::GET, "/events/"),
            (Method::GET, "/events//seats"),
            (Method::GET, "/events/a/seats/mine/now"),
            (Method::GET, "/admin/events/a"),
        ] {
            assert_eq!(found(method, path), None, "{path}");
        }
    }
}
