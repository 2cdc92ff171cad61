//! The JSON that API Gateway's HTTP API sends to a function for a request: payload format 2.0.

use std::{collections::BTreeMap, net::IpAddr};

use axum::{
    extract::Query,
    http::{HeaderMap, HeaderName, header, request::Parts},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::routes::{PathParameters, Route};
use crate::jwt::{Claims, since_1970};

/// Headers that end at the gateway: they are about the connection, or come in a field of their own.
const NOT_PASSED_ON: [HeaderName; 6] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, header::TE, header::EXPECT, header::COOKIE];

/// What of a request is to become an event.
pub(super) struct Asked<'a> {
    pub(super) parts: &'a Parts,
    pub(super) body: &'a Bytes,
    pub(super) route: &'static Route,
    pub(super) parameters: &'a PathParameters<'a>,
    /// What the authorizer found, on a route that has one, with the scopes the route asks for.
    pub(super) claims: Option<&'a Claims>,
    pub(super) request_id: Uuid,
    pub(super) source: IpAddr,
}

impl Asked<'_> {
    /// The event.
    pub(super) fn event(&self) -> Value {
        let (parts, uri) = (self.parts, &self.parts.uri);
        let route_key = format!("{} {}", self.route.method, self.route.path);
        let header = |name: HeaderName| parts.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let domain = header(header::HOST).unwrap_or_default();
        let now = since_1970();
        let time = Timestamp::from_second(i64::try_from(now.as_secs()).unwrap_or(i64::MAX)).unwrap_or_default();
        let mut event = json!({
            "version": "2.0",
            "routeKey": route_key,
            "rawPath": uri.path(),
            "rawQueryString": uri.query().unwrap_or_default(),
            "headers": self.headers(),
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "local",
                "domainName": domain,
                "domainPrefix": domain.split('.').next(),
                "http": {
                    "method": parts.method.as_str(),
                    "path": uri.path(),
                    "protocol": "HTTP/1.1",
                    "sourceIp": self.source,
                    "userAgent": header(header::USER_AGENT).unwrap_or_default(),
                },
                "requestId": self.request_id.to_string(),
                "routeKey": route_key,
                "stage": "$default",
                "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
                "timeEpoch": u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            },
            "isBase64Encoded": false,
        });
        let cookies = self.cookies();
        if !cookies.is_empty() {
            event["cookies"] = json!(cookies);
        }
        if !self.parameters.is_empty() {
            event["pathParameters"] = json!(self.parameters);
        }
        if let Some(parameters) = self.query_parameters() {
            event["queryStringParameters"] = json!(parameters);
        }
        if let Some(claims) = self.claims {
            let jwt = json!({ "claims": claims.as_strings(), "scopes": self.route.scope().map(|scope| [scope]) });
            event["requestContext"]["authorizer"] = json!({ "jwt": jwt });
        }
        if let Some((body, encoded)) = self.encoded_body() {
            event["body"] = body.into();
            event["isBase64Encoded"] = encoded.into();
        }
        event
    }

    /// Names are lower-case already; several values of one name are joined by a comma.
    fn headers(&self) -> BTreeMap<&str, String> {
        let headers = &self.parts.headers;
        let mut joined: BTreeMap<&str, String> = headers
            .keys()
            .filter(|name| !NOT_PASSED_ON.contains(name))
            .map(|name| (name.as_str(), values(headers, name).join(",")))
            .collect();
        joined.insert("x-forwarded-for", self.source.to_string());
        joined.insert("x-forwarded-proto", "http".to_owned());
        joined
    }

    fn cookies(&self) -> Vec<String> {
        let cookies = values(&self.parts.headers, &header::COOKIE);
        cookies.iter().flat_map(|line| line.split(';')).map(|cookie| cookie.trim().to_owned()).collect()
    }

    /// Decoded; several values of one name are joined by a comma.
    fn query_parameters(&self) -> Option<BTreeMap<String, String>> {
        self.parts.uri.query()?;
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&self.parts.uri).ok()?;
        let mut joined = BTreeMap::<String, String>::new();
        for (name, value) in pairs {
            joined.entry(name).and_modify(|values| *values = format!("{values},{value}")).or_insert(value);
        }
        Some(joined)
    }

    /// As it is when it says that it is text, and is; else in base64. `None` without a body.
    fn encoded_body(&self) -> Option<(String, bool)> {
        if self.body.is_empty() {
            return None;
        }
        match std::str::from_utf8(self.body) {
            Ok(text) if is_text(&self.parts.headers) => Some((text.to_owned(), false)),
            _ => Some((BASE64_STANDARD.encode(self.body), true)),
        }
    }
}

/// What API Gateway takes for text.
fn is_text(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return true };
    let kind = String::from_utf8_lossy(kind.as_bytes()).to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.starts_with("text/")
        || ["application/json", "application/javascript", "application/xml"].contains(&kind)
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
}

fn values(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}
