//! reservation-api
