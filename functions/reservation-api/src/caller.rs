//! Who is calling: the verified token's claims as API Gateway's authorizer passes them on, never anything from the body.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use lambda_http::request::RequestContext;
use shared::domain::ids::CustomerId;

use crate::problem::Problem;

/// The scope of the organiser.
const ADMIN: &str = "tickets/admin";

/// A caller with a valid token.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The token's `sub`.
    pub customer: CustomerId,
}

/// A caller whose token carries the organiser's scope. The gateway checks it first; this holds where it does not.
#[derive(Debug, Clone)]
pub struct Admin;

fn claims(parts: &Parts) -> Option<&lambda_http::aws_lambda_events::apigw::ApiGatewayRequestAuthorizerJwtDescription> {
    match parts.extensions.get::<RequestContext>()? {
        RequestContext::ApiGatewayV2(context) => context.authorizer.as_ref()?.jwt.as_ref(),
        _ => None,
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let sub = claims(parts).and_then(|jwt| jwt.claims.get("sub")).ok_or(Problem::Unauthorized)?;
        let customer = CustomerId::parse(sub).map_err(|_| Problem::Unauthorized)?;
        Ok(Self { customer })
    }
}

impl<S: Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let jwt = claims(parts).ok_or(Problem::Unauthorized)?;
        let listed = ["scope", "scp"].iter().filter_map(|name| jwt.claims.get(*name));
        // A claim that is a list in the token arrives as `[a b]`.
        let mut words = listed.flat_map(|scopes| scopes.trim_matches(['[', ']']).split_whitespace());
        let granted = words.any(|scope| scope == ADMIN);
        if granted { Ok(Self) } else { Err(Problem::Forbidden) }
    }
}
