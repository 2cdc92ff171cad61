//! reservation-persist
