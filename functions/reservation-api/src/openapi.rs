//! The API's description (OpenAPI 3.1), made of the code that serves it: schemas are derived from the types that are read
//! and written, refusals come from the table of slugs, and [`routes`] says what each route takes and answers.

mod operation;
mod routes;
mod schemas;

use utoipa::openapi::path::{PathItem, PathsBuilder};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Info, OpenApi, OpenApiBuilder};

use operation::{Schemas, TOKEN};

/// The version of the contract: the first number changes when a caller has to.
const VERSION: &str = "1.0.0";

/// What callers should know before they read on.
const ABOUT: &str = "Reserves seats and places of events. Refusals are RFC 9457 problems whose `type` stays what it is. \
    The customer is the token's `sub`. Unknown fields of a body are refused. Times are RFC 3339 in UTC, money is integer cents.";

/// The description of an API whose shortest hold is so many seconds.
pub fn document(min_hold_seconds: u32) -> OpenApi {
    let (mut paths, mut schemas) = (PathsBuilder::new(), Schemas::new());
    for mut route in routes::routes() {
        schemas.append(&mut route.schemas);
        let (path, method) = (route.path, route.method.clone());
        paths = paths.path(path, PathItem::new(method, route.operation()));
    }
    let mut components = Components::new();
    components.schemas = schemas::finished(schemas, min_hold_seconds);
    let token = Http::builder()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("Scopes: `tickets/admin` for organisers, `tickets/payments` for the payment side."));
    components.add_security_scheme(TOKEN, SecurityScheme::Http(token.build()));
    let info = Info::builder().title("Ticket reservations").version(VERSION).description(Some(ABOUT));
    OpenApiBuilder::new()
        .info(info.build())
        .paths(paths.build())
        .components(Some(components))
        .security(Some([SecurityRequirement::new::<_, [&str; 0], &str>(TOKEN, [])]))
        .build()
}
