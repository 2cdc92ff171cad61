//! The stable names of refusals, each with its status code: one table, so that none is without a code or left out of the
//! API's description.

use axum::http::StatusCode;

macro_rules! slugs {
    ($($slug:ident $status:ident $name:literal,)*) => {
        /// A refusal's stable name, its `type` on the wire.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Slug {
            $($slug,)*
        }

        impl Slug {
            /// Every one there is.
            pub const ALL: &[Self] = &[$(Self::$slug),*];

            /// As it stands in `type`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$slug => $name,)*
                }
            }

            /// The status code it is answered with.
            pub fn status(self) -> StatusCode {
                match self {
                    $(Self::$slug => StatusCode::$status,)*
                }
            }
        }
    };
}

slugs! {
    InvalidRequest BAD_REQUEST "invalid-request",
    IdempotencyKeyMissing BAD_REQUEST "idempotency-key-missing",
    SectionRequired BAD_REQUEST "section-required",
    Unauthorized UNAUTHORIZED "unauthorized",
    Forbidden FORBIDDEN "forbidden",
    RouteNotFound NOT_FOUND "route-not-found",
    EventNotFound NOT_FOUND "event-not-found",
    SeatNotFound NOT_FOUND "seat-not-found",
    LayoutNotFound NOT_FOUND "layout-not-found",
    ReservationNotFound NOT_FOUND "reservation-not-found",
    MethodNotAllowed METHOD_NOT_ALLOWED "method-not-allowed",
    SeatsInUse CONFLICT "seats-in-use",
    SeatsTaken CONFLICT "seats-taken",
    SoldOut CONFLICT "sold-out",
    Contended CONFLICT "contended",
    NoAdjacentSeats CONFLICT "no-adjacent-seats",
    LimitReached CONFLICT "limit-reached",
    SaleNotOpen CONFLICT "sale-not-open",
    SaleClosed CONFLICT "sale-closed",
    SalePaused CONFLICT "sale-paused",
    Lapsed CONFLICT "lapsed",
    HoldExpired CONFLICT "hold-expired",
    NotHeld CONFLICT "not-held",
    Pending CONFLICT "pending",
    AlreadyConfirmed CONFLICT "already-confirmed",
    AlreadyExtended CONFLICT "already-extended",
    NotExtendable CONFLICT "not-extendable",
    PreconditionFailed PRECONDITION_FAILED "precondition-failed",
    BodyTooLarge PAYLOAD_TOO_LARGE "body-too-large",
    IdempotencyKeyReused UNPROCESSABLE_ENTITY "idempotency-key-reused",
    TooManyAttempts TOO_MANY_REQUESTS "too-many-attempts",
    Unavailable SERVICE_UNAVAILABLE "unavailable",
}

impl Slug {
    /// Whether an answer says after how long to come back.
    pub fn comes_with_retry_after(self) -> bool {
        matches!(self, Self::Unavailable | Self::TooManyAttempts | Self::Contended | Self::Pending)
    }
}
