//! Digests: what tells one body from another under the same key (of what was asked for, as parsed), and one answer from
//! another under an `ETag`.

use sha2::{Digest, Sha256};
use shared::domain::ids::{Label, ReservationId, SeatId};

use crate::best::Adjacent;

/// Bytes of the digest that are kept: enough that nobody meets another body by chance.
const BYTES: usize = 16;

/// The fingerprint of a request for named seats. Their order, like white space, makes no difference.
pub fn of_seats(seats: &[SeatId]) -> String {
    let mut sorted: Vec<&str> = seats.iter().map(SeatId::as_str).collect();
    sorted.sort_unstable();
    hex(&Sha256::digest(format!("seats:{}", sorted.join(","))))
}

/// The fingerprint of a request for so many seats of a section.
pub fn of_section(section: &Label, quantity: u32, adjacent: Adjacent) -> String {
    let adjacent = match adjacent {
        Adjacent::Required => "required",
        Adjacent::Preferred => "preferred",
    };
    hex(&Sha256::digest(format!("section:{section},{quantity},{adjacent}")))
}

/// The fingerprint of a late payment's wish to book once more.
pub fn of_rebooking(old: &ReservationId) -> String {
    hex(&Sha256::digest(format!("rebook:{old}")))
}

/// A strong validator of what has been digested.
pub fn tag(digest: Sha256) -> String {
    format!("\"{}\"", hex(&digest.finalize()))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().take(BYTES).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(seats: &[&str]) -> String {
        of_seats(&seats.iter().map(|seat| SeatId::parse(seat).unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn only_what_is_asked_for_matters() {
        assert_eq!(of(&["A-1-1", "A-1-2"]), of(&["A-1-2", "A-1-1"]));
        assert_ne!(of(&["A-1-1"]), of(&["A-1-1", "A-1-2"]));
        assert_eq!(of(&["A-1-1"]).len(), 32);
    }
}
