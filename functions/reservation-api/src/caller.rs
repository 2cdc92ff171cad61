//! Who is calling: the verified token's claims as API Gateway's authorizer passes them on, never anything from the body.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use lambda_http::request::RequestContext;
use shared::domain::ids::CustomerId;

use crate::problem::Problem;

/// The scope of the organiser.
pub const ADMIN: &str = "tickets/admin";
/// The scope of the payment side.
const PAYMENTS: &str = "tickets/payments";

/// A caller with a valid token.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The token's `sub`.
    pub customer: CustomerId,
    /// Whether the token carries the payment side's scope.
    pub is_payment_side: bool,
}

/// A caller whose token carries the organiser's scope. The gateway checks it first; this holds where it does not.
#[derive(Debug, Clone)]
pub struct Admin;

type Jwt = lambda_http::aws_lambda_events::apigw::ApiGatewayRequestAuthorizerJwtDescription;

fn claims(parts: &Parts) -> Option<&Jwt> {
    match parts.extensions.get::<RequestContext>()? {
        RequestContext::ApiGatewayV2(context) => context.authorizer.as_ref()?.jwt.as_ref(),
        _ => None,
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let jwt = claims(parts).ok_or(Problem::Unauthorized)?;
        let sub = jwt.claims.get("sub").ok_or(Problem::Unauthorized)?;
        let customer = CustomerId::parse(sub).map_err(|_| Problem::Unauthorized)?;
        Ok(Self { customer, is_payment_side: carries(jwt, PAYMENTS) })
    }
}

/// Whether a token carries a scope.
fn carries(jwt: &Jwt, scope: &str) -> bool {
    let listed = ["scope", "scp"].iter().filter_map(|name| jwt.claims.get(*name));
    // A claim that is a list in the token arrives as `[a b]`.
    let mut words = listed.flat_map(|scopes| scopes.trim_matches(['[', ']']).split_whitespace());
    words.any(|word| word == scope)
}

impl<S: Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let jwt = claims(parts).ok_or(Problem::Unauthorized)?;
        if carries(jwt, ADMIN) { Ok(Self) } else { Err(Problem::Forbidden) }
    }
}
