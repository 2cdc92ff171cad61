//! One seat as Redis has it beside the same seat as DynamoDB has it, and one customer's entry beside its reservation: what is
//! wrong, and what it has to be. Pure.
//!
//! DynamoDB was read after Redis, so where the two differ Redis is behind, has lost something, or runs ahead by a claim that
//! nobody has decided yet. A live claim is somebody's until it is decided or ends, and is never taken away here.

use shared::domain::event::TakenState;
use shared::dynamodb::rows::ReservationRow;
use shared::redis::entries::Entry;
use shared::redis::records::GRACE_MS;
use shared::redis::repair::{FARTHEST_END_MS, Seen, Wanted};

/// What was wrong with a seat or an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drift {
    /// Sold, and offered.
    SoldAsFree,
    /// Taken off sale, and offered.
    BlockedAsFree,
    /// Held, and offered.
    HeldAsFree,
    /// Free or held, and marked as gone for good.
    Marked,
    /// Held until another time.
    WrongEnd,
    /// Claimed for longer than anybody may.
    Orphan,
    /// A place that would not be drawn, or would be drawn twice.
    Places,
    /// A customer has it, and it is not counted for him.
    EntryMissing,
    /// A customer has it no more, or never had it, and it is counted for him.
    EntryOfNobody,
    /// It is counted for a customer as something else than it is.
    EntryWrong,
}

impl Drift {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SoldAsFree => "sold-as-free",
            Self::BlockedAsFree => "blocked-as-free",
            Self::HeldAsFree => "held-as-free",
            Self::Marked => "marked",
            Self::WrongEnd => "wrong-end",
            Self::Orphan => "orphan",
            Self::Places => "places",
            Self::EntryMissing => "entry-missing",
            Self::EntryOfNobody => "entry-of-nobody",
            Self::EntryWrong => "entry-wrong",
        }
    }
}

/// What comparing a seat brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Both say the same, or will by themselves.
    Right,
    /// Redis has to be told; `None` = nothing was wrong, only litter lay about.
    Wrong(Wanted, Option<Drift>),
    /// Held by one and claimed by another, who will be refused: to be looked at again once he was.
    Disputed,
}

/// Compares.
pub fn compare(seen: &Seen, stored: Option<&TakenState>, is_general: bool, now_ms: i64) -> Verdict {
    let stored_end = |owner: &String| match stored {
        Some(TakenState::Held { owner: stored, expires_at_ms }) if stored == owner => *expires_at_ms + GRACE_MS,
        _ => 0,
    };
    // As far as nobody's claim reaches, unless the table says that his does.
    let farthest = |owner: &String| (now_ms + FARTHEST_END_MS).max(stored_end(owner));
    let is_orphan = seen.claim.as_ref().is_some_and(|(end, owner)| *end > farthest(owner));
    let live = seen.claim.as_ref().filter(|(end, _)| *end > now_ms && !is_orphan);
    let foreign = |owner: &String| live.is_some_and(|(_, claimant)| claimant != owner);
    match stored {
        Some(TakenState::Sold { owner }) => {
            let is_marked = seen.taken && !seen.blocked;
            gone(seen, is_general, is_marked, foreign(owner), Drift::SoldAsFree, Wanted::Sold(owner.clone()))
        }
        Some(TakenState::Blocked { owner }) => {
            let is_marked = seen.taken && seen.blocked;
            gone(seen, is_general, is_marked, foreign(owner), Drift::BlockedAsFree, Wanted::Blocked(owner.clone()))
        }
        Some(TakenState::Held { owner, expires_at_ms }) if *expires_at_ms > now_ms => {
            let wrong = |drift| Verdict::Wrong(Wanted::Held(*expires_at_ms, owner.clone()), Some(drift));
            match live {
                Some((_, claimant)) if claimant != owner => Verdict::Disputed,
                _ if seen.taken => wrong(Drift::Marked),
                None => wrong(if is_orphan { Drift::Orphan } else { Drift::HeldAsFree }),
                Some((end, _)) if !(*expires_at_ms..=*expires_at_ms + GRACE_MS).contains(end) => wrong(Drift::WrongEnd),
                Some((end, _)) if is_general && !is_drawable_after(seen, *end) => wrong(Drift::Places),
                Some(_) => Verdict::Right,
            }
        }
        // A hold that ended is nobody's, stored or not.
        Some(TakenState::Held { .. }) | None => match live {
            Some((end, owner)) => {
                let keep = |drift| Verdict::Wrong(Wanted::Held(*end, owner.clone()), Some(drift));
                if seen.taken || seen.blocked {
                    keep(Drift::Marked)
                } else if is_general && !is_drawable_after(seen, *end) {
                    keep(Drift::Places)
                } else {
                    Verdict::Right
                }
            }
            None if is_orphan => Verdict::Wrong(Wanted::Free, Some(Drift::Orphan)),
            None if seen.taken || seen.blocked => Verdict::Wrong(Wanted::Free, Some(Drift::Marked)),
            // What has run out is harvested by the next draw, as long as its end is known.
            None if seen.used && seen.ends_at_ms.is_none() => Verdict::Wrong(Wanted::Free, Some(Drift::Places)),
            None if seen.claim.is_some() || seen.ends_at_ms.is_some() => Verdict::Wrong(Wanted::Free, None),
            None => Verdict::Right,
        },
    }
}

/// A seat that is gone for good.
fn gone(seen: &Seen, is_general: bool, is_marked: bool, is_foreign: bool, offered: Drift, wanted: Wanted) -> Verdict {
    // Its own claim is over; somebody else's is refused when it is decided, and ends.
    let is_littered = !is_foreign && (seen.claim.is_some() || seen.ends_at_ms.is_some());
    if !is_marked {
        Verdict::Wrong(wanted, Some(if seen.taken { Drift::Marked } else { offered }))
    } else if is_general && !seen.used {
        Verdict::Wrong(wanted, Some(Drift::Places))
    } else if is_littered {
        Verdict::Wrong(wanted, None)
    } else {
        Verdict::Right
    }
}

/// Whether a claimed place is out of the draw now, and back in it when its claim has ended.
fn is_drawable_after(seen: &Seen, end: i64) -> bool {
    seen.used && seen.ends_at_ms == Some(end)
}

/// Compares what stands for a customer under a reservation (empty = nothing) with his reservation as it is stored: what has to
/// stand there (empty = nothing), and what was wrong; `None` = it is right, or will be by itself.
pub fn compare_entry(seen: &str, row: Option<&ReservationRow>, now_ms: i64) -> Option<(String, Option<Drift>)> {
    let is_over = |until_ms: i64| until_ms != 0 && until_ms <= now_ms;
    let stored = row.map(|row| row.truth(&[]).entry()).unwrap_or_default();
    let is_wanted = Entry::parse(&stored).is_some_and(|entry| !is_over(entry.until_ms));
    let wanted = if is_wanted { stored } else { String::new() };
    if seen == wanted {
        return None;
    }
    match Entry::parse(seen) {
        None if !seen.is_empty() => Some((wanted, Some(Drift::EntryWrong))),
        // The next claim clears away what is over.
        None => Some((wanted, Some(Drift::EntryMissing))),
        Some(entry) if is_over(entry.until_ms) => is_wanted.then_some((wanted, Some(Drift::EntryMissing))),
        // Claimed, and not decided yet.
        Some(Entry { kind: 'c', until_ms, .. })
            if row.is_none() && until_ms != 0 && until_ms <= now_ms + FARTHEST_END_MS =>
        {
            None
        }
        Some(_) if !is_wanted => Some((wanted, Some(Drift::EntryOfNobody))),
        Some(entry) => {
            let is_behind = Entry::parse(&wanted)
                .is_some_and(|wanted| entry.seats == wanted.seats && entry.kind < wanted.kind && entry.until_ms != 0);
            // A truth that is on its way, or was lost: it counts as many seats as it should.
            Some((wanted, if is_behind { None } else { Some(Drift::EntryWrong) }))
        }
    }
}

#[cfg(test)]
mod tests {
    use shared::message::Request;

    use super::*;

    const NOW: i64 = 1_760_000_000_000;

    fn claimed(end: i64, owner: &str) -> Seen {
        Seen { claim: Some((end, owner.to_owned())), ..Seen::default() }
    }

    fn held(end: i64) -> TakenState {
        TakenState::Held { owner: "o".into(), expires_at_ms: end }
    }

    fn wrong(verdict: Verdict) -> (Wanted, Option<Drift>) {
        let Verdict::Wrong(wanted, drift) = verdict else { panic!("{verdict:?}") };
        (wanted, drift)
    }

    #[test]
    fn an_undecided_claim_is_nobody_elses_business() {
        assert_eq!(compare(&claimed(NOW + 1, "u"), None, false, NOW), Verdict::Right);
        assert_eq!(compare(&claimed(NOW + 1, "u"), Some(&held(NOW)), false, NOW), Verdict::Right);
        let longest = claimed(NOW + FARTHEST_END_MS, "u");
        assert_eq!(compare(&longest, None, false, NOW), Verdict::Right);
        let orphan = claimed(NOW + FARTHEST_END_MS + 1, "u");
        assert_eq!(wrong(compare(&orphan, None, false, NOW)), (Wanted::Free, Some(Drift::Orphan)));
        let stored = held(NOW + 1);
        let owned = (Wanted::Held(NOW + 1, "o".into()), Some(Drift::Orphan));
        assert_eq!(wrong(compare(&orphan, Some(&stored), false, NOW)), owned);
        let far = NOW + 2 * FARTHEST_END_MS;
        assert_eq!(compare(&claimed(far, "o"), Some(&held(far)), false, NOW), Verdict::Right, "so it is stored");
        // Its mark is wrong, and the claim stays.
        let marked = Seen { taken: true, ..claimed(NOW + 1, "u") };
        let kept = (Wanted::Held(NOW + 1, "u".into()), Some(Drift::Marked));
        assert_eq!(wrong(compare(&marked, None, false, NOW)), kept);
    }

    #[test]
    fn a_hold_is_what_is_stored_and_disputed_while_another_claims_it() {
        let stored = held(NOW + 60_000);
        let wanted = Wanted::Held(NOW + 60_000, "o".into());
        let is = |seen: &Seen| compare(seen, Some(&stored), false, NOW);
        assert_eq!(is(&claimed(NOW + 60_000, "o")), Verdict::Right);
        assert_eq!(is(&claimed(NOW + 75_000, "o")), Verdict::Right, "a change under way keeps it a little longer");
        for (seen, drift) in [
            (Seen::default(), Drift::HeldAsFree),
            (claimed(NOW, "u"), Drift::HeldAsFree),
            (claimed(NOW + 59_999, "o"), Drift::WrongEnd),
            (claimed(NOW + 75_001, "o"), Drift::WrongEnd),
            (Seen { taken: true, ..Seen::default() }, Drift::Marked),
        ] {
            assert_eq!(wrong(is(&seen)), (wanted.clone(), Some(drift)), "{seen:?}");
        }
        assert_eq!(is(&claimed(NOW + 1, "u")), Verdict::Disputed);
    }

    #[test]
    fn what_is_gone_for_good_is_marked_and_others_claims_stay() {
        let sold = TakenState::Sold { owner: "o".into() };
        let blocked = TakenState::Blocked { owner: "o".into() };
        let taken = Seen { taken: true, ..Seen::default() };
        let both = Seen { blocked: true, ..taken.clone() };
        assert_eq!(compare(&taken, Some(&sold), false, NOW), Verdict::Right);
        assert_eq!(compare(&both, Some(&blocked), false, NOW), Verdict::Right);
        let is = |seen: &Seen, stored| wrong(compare(seen, Some(stored), false, NOW)).1;
        assert_eq!(is(&Seen::default(), &sold), Some(Drift::SoldAsFree));
        assert_eq!(is(&Seen::default(), &blocked), Some(Drift::BlockedAsFree));
        assert_eq!((is(&both, &sold), is(&taken, &blocked)), (Some(Drift::Marked), Some(Drift::Marked)));
        assert_eq!(is(&Seen { taken: true, ..claimed(NOW + 1, "o") }, &sold), None, "its own claim is litter");
        assert_eq!(compare(&Seen { taken: true, ..claimed(NOW + 1, "u") }, Some(&sold), false, NOW), Verdict::Right);
        assert_eq!(wrong(compare(&both, None, false, NOW)), (Wanted::Free, Some(Drift::Marked)));
    }

    #[test]
    fn places_are_drawn_when_they_are_free_and_only_then() {
        let place = |used, ends_at_ms, seen: Seen| Seen { used, ends_at_ms, ..seen };
        let is = |seen: &Seen, stored: Option<&TakenState>| compare(seen, stored, true, NOW);
        let live = claimed(NOW + 5, "u");
        assert_eq!(is(&place(true, Some(NOW + 5), live.clone()), None), Verdict::Right);
        for seen in
            [place(false, Some(NOW + 5), live.clone()), place(true, None, live.clone()), place(true, Some(NOW), live)]
        {
            assert_eq!(wrong(is(&seen, None)), (Wanted::Held(NOW + 5, "u".into()), Some(Drift::Places)), "{seen:?}");
        }
        // What has run out and is not harvested yet is litter; what nobody would harvest is lost.
        let past = place(true, Some(NOW), claimed(NOW, "u"));
        assert_eq!(wrong(is(&past, None)), (Wanted::Free, None));
        assert_eq!(wrong(is(&place(true, None, Seen::default()), None)), (Wanted::Free, Some(Drift::Places)));
        let sold = TakenState::Sold { owner: "o".into() };
        let undrawn = Seen { taken: true, ..Seen::default() };
        assert_eq!(wrong(is(&undrawn, Some(&sold))).1, Some(Drift::Places), "it would be drawn again");
        assert_eq!(is(&place(true, None, undrawn), Some(&sold)), Verdict::Right);
    }

    fn row(expires_at_ms: i64) -> ReservationRow {
        let message = format!(
            r#"{{"version":1,"reservation_id":"e.2c5ea4c0-4067-51f9-8f6d-2b7a4f3f7c11","customer":"alice",
            "fingerprint":"f","layout_version":1,"seats":[{{"id":"A-1-1","number":0}},{{"id":"A-1-2","number":1}}],
            "amount_cents":2,"currency":"EUR","opens_at_ms":0,"closes_at_ms":{NOW},"held_at_ms":1,
            "expires_at_ms":{expires_at_ms}}}"#
        );
        ReservationRow::held(&Request::from_value(message.as_bytes()).unwrap(), None)
    }

    #[test]
    fn an_entry_is_what_its_reservation_is() {
        let end = NOW + 60_000;
        let (held, over, seats) = (row(end), row(NOW), "A-1-1,A-1-2");
        let (sold, gone) = (held.confirmed(None, "UTC", NOW), held.expired(NOW));
        let [claim, hold, sale] =
            [format!("{end}:2:c:{seats}"), format!("{end}:2:h:{seats}"), format!("0:2:s:{seats}")];
        let is = |seen: &str, row: &ReservationRow| compare_entry(seen, Some(row), NOW);
        for (seen, row) in [(hold.as_str(), &held), (&sale, &sold), ("", &gone), ("", &over)] {
            assert_eq!(is(seen, row), None, "{seen}");
        }
        let past = format!("{NOW}:2:h:{seats}");
        assert_eq!(
            (is(&past, &over), is(&past, &gone)),
            (None, None),
            "what is over is cleared away by the next claim"
        );
        for (seen, row, wanted, drift) in [
            ("", &held, &hold, Some(Drift::EntryMissing)),
            (&past, &held, &hold, Some(Drift::EntryMissing)),
            ("", &sold, &sale, Some(Drift::EntryMissing)),
            (&claim, &held, &hold, None),
            (&claim, &sold, &sale, None),
            (&hold, &sold, &sale, None),
            (&sale, &held, &hold, Some(Drift::EntryWrong)),
            (&format!("{}:2:h:{seats}", end + 1), &held, &hold, Some(Drift::EntryWrong)),
            (&format!("{end}:1:h:A-1-1"), &sold, &sale, Some(Drift::EntryWrong)),
            ("rubbish", &held, &hold, Some(Drift::EntryWrong)),
            ("rubbish", &gone, &String::new(), Some(Drift::EntryWrong)),
            (&hold, &gone, &String::new(), Some(Drift::EntryOfNobody)),
            (&hold, &over, &String::new(), Some(Drift::EntryOfNobody)),
            (&sale, &gone, &String::new(), Some(Drift::EntryOfNobody)),
        ] {
            assert_eq!(is(seen, row), Some((wanted.clone(), drift)), "{seen}");
        }
    }

    #[test]
    fn an_entry_without_a_reservation_is_a_claim_or_nobodys() {
        let is = |seen: &str| compare_entry(seen, None, NOW).map(|(wanted, drift)| (wanted, drift.unwrap()));
        let claim = |end: i64| format!("{end}:1:c:A-1-1");
        assert_eq!((is(""), is(&claim(NOW)), is(&claim(NOW + FARTHEST_END_MS))), (None, None, None));
        let nobodys = Some((String::new(), Drift::EntryOfNobody));
        for seen in [claim(NOW + FARTHEST_END_MS + 1), claim(0), format!("{}:1:h:A", NOW + 1), "0:1:s:A".into()] {
            assert_eq!(is(&seen), nobodys, "{seen}");
        }
        assert_eq!(is("rubbish"), Some((String::new(), Drift::EntryWrong)));
    }
}
