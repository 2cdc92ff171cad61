//! Every key Redis holds for an event, spelled here and nowhere else. All carry the hash tag `{event_id}`: one event, one
//! slot, one script. The prefix is the version of the structures; a change of any of them is a new prefix.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `t1:{e}:event` | hash | version, state, opens_at, closes_at, limit, lease (ms), since (ms; when Redis last lost the event, 0 = never), `@new` (nonce of a first publication under way) |
//! | `t1:{e}:published` | hash | version and what is published of it, for half a minute; version 0 = there is no such event |
//! | `t1:{e}:published:filling` | string | nonce of who reads that from the table; lives two seconds |
//! | `t1:{e}:layout:<name>` | string | a layout, deflated; lives two minutes after it was last part of a copy |
//! | `t1:{e}:views` | counter | views not yet written back |
//! | `t1:{e}:views:on-their-way` | hash | batch and count of views that are being added to the table |
//! | `t1:{e}:views:stored` | string | how many views the table has |
//! | `t1:{e}:dirty` | set | sections whose state is in doubt |
//! | `t1:{e}:dirty:at-work` | set | those of them that a reconciler has taken over |
//! | `t1:{e}:moving` | sorted set | `<uuid>:<token>` → when a change was announced that has not been told yet (ms) |
//! | `t1:{e}:undecided` | sorted set | uuid → when it was claimed (ms), until something is told of it or its lease ends |
//! | `t1:{e}:s:<section>:claims` | hash | seat number → `<expiry, 13 digits of ms>:<uuid>`; `@loaded` (s), `@load` (nonce) |
//! | `t1:{e}:s:<section>:taken` | bitmap | sold or blocked, one bit a seat |
//! | `t1:{e}:s:<section>:blocked` | bitmap | the blocked ones among them; absent while nothing is blocked |
//! | `t1:{e}:s:<section>:used` | bitmap | general sections only: taken, or claimed and not yet seen to have run out |
//! | `t1:{e}:s:<section>:counted` | string | 13 digits of ms, then a bitmap: who was claimed at that moment; lives a second, for readers of maps |
//! | `t1:{e}:s:<section>:ends` | sorted set | general sections only: number → end of its claim (ms) |
//! | `t1:{e}:r:<uuid>` | string | three lines: attempts, what is told (JSON; empty = nothing yet), message; lives a day. A hash of the three weighs half as much again |
//! | `t1:{e}:c:<customer>` | hash | uuid → `<expiry in ms, 0 = for good>:<number of seats>:<c(laimed), h(eld), s(old)>:<seat ids>`; `@rate` → `<minute>:<claims>` |
//! | `t1:{events}:list:generation`, `:pages` | string, hash | a nonce of the last publication; page → JSON, for half a minute |
//! | `t1:{events}:list:filling:<page>` | string | somebody reads this page from the table; lives two seconds |
//! | `t1:{e}:lock:<name>` | string | the general lock: its holder's token |
//! | `t1:{e}:lock:<name>:waiters`, `:seen` | sorted sets | `<channel> <token>` → when a waiter came, and was last seen (ms) |
//! | `t1:{e}:lock:<name>:fence` | string | how often it was taken, and the token that gave it back last |

use crate::domain::ids::{CustomerId, EventId, ReservationId};

const PREFIX: &str = "t1:";

fn key(event: &EventId, rest: &str) -> String {
    format!("{PREFIX}{{{event}}}:{rest}")
}

/// What is known of the event.
pub fn event(event: &EventId) -> String {
    key(event, "event")
}

/// An event for whoever reads or fills the copy of it: what is known of it, the copy, and who fills that.
pub fn copy_of_event(event_id: &EventId) -> [String; 3] {
    [event(event_id), key(event_id, "published"), key(event_id, "published:filling")]
}

/// The copy of a layout.
pub fn copy_of_layout(event: &EventId, name: &str) -> String {
    key(event, &format!("layout:{name}"))
}

/// Views not yet written back.
pub fn views(event: &EventId) -> String {
    key(event, "views")
}

/// Views on their way to the table, in a batch with a name.
pub fn views_on_their_way(event: &EventId) -> String {
    key(event, "views:on-their-way")
}

/// Views the table has.
pub fn views_stored(event: &EventId) -> String {
    key(event, "views:stored")
}

/// Sections whose state is in doubt.
pub fn dirty(event: &EventId) -> String {
    key(event, "dirty")
}

/// Those of them that a reconciler has taken over.
pub fn dirty_at_work(event: &EventId) -> String {
    key(event, "dirty:at-work")
}

/// What is kept of an event as such, beside its sections, its customers and its views.
pub fn parts_of_event(event_id: &EventId) -> [String; 5] {
    [event(event_id), dirty(event_id), dirty_at_work(event_id), moving(event_id), undecided(event_id)]
}

/// Changes that were announced and not told yet.
pub fn moving(event: &EventId) -> String {
    key(event, "moving")
}

/// Claims whose messages are under way.
pub fn undecided(event: &EventId) -> String {
    key(event, "undecided")
}

/// Claims of a section.
pub fn claims(event: &EventId, section: &str) -> String {
    let [claims, ..] = section_keys(event, section);
    claims
}

/// Sold and blocked seats of a section.
pub fn taken(event: &EventId, section: &str) -> String {
    let [_, taken, ..] = section_keys(event, section);
    taken
}

/// Blocked seats of a section.
pub fn blocked(event: &EventId, section: &str) -> String {
    let [_, _, blocked, ..] = section_keys(event, section);
    blocked
}

/// Who was claimed in a section a moment ago, as counted for a map.
pub fn counted(event: &EventId, section: &str) -> String {
    key(event, &format!("s:{section}:counted"))
}

/// A section's five keys in the order scripts take them: claims, taken, blocked, used, ends.
pub fn section_keys(event: &EventId, section: &str) -> [String; 5] {
    ["claims", "taken", "blocked", "used", "ends"].map(|name| key(event, &format!("s:{section}:{name}")))
}

/// The same as patterns with `%s` for the section, for the one script that learns the sections from a record. They are in
/// the slot of its first key, whatever the section.
pub fn section_patterns(event: &EventId) -> [String; 5] {
    section_keys(event, "%s")
}

/// The record of a reservation; also the channel on which the bell rings when it has an outcome.
pub fn record(id: &ReservationId) -> String {
    key(&id.event(), &format!("r:{}", id.uuid()))
}

/// What a customer holds of an event.
pub fn customer(event: &EventId, customer: &CustomerId) -> String {
    key(event, &format!("c:{customer}"))
}

/// A lock within the event's slot.
pub fn lock(event: &EventId, name: &str) -> String {
    key(event, &format!("lock:{name}"))
}

/// The lock of a job, which is of no event.
pub fn job_lock(job: &str) -> String {
    format!("{PREFIX}{{jobs}}:lock:{job}")
}

/// The list of events as it is kept: its generation, its pages, and who fills the page of that name.
pub fn list_page(name: &str) -> [String; 3] {
    ["generation".to_owned(), "pages".to_owned(), format!("filling:{name}")]
        .map(|part| format!("{PREFIX}{{events}}:list:{part}"))
}

/// What a lock consists of: itself, who waits for it, when each was last seen, and its fencing counter.
pub fn parts_of_lock(lock: &str) -> [String; 4] {
    ["", ":waiters", ":seen", ":fence"].map(|part| format!("{lock}{part}"))
}

/// The channel on which waiters of a process are woken.
pub fn lock_bell(process: &str) -> String {
    format!("{PREFIX}lock-bell:{process}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_an_event_carry_its_hash_tag() {
        let e = EventId::parse("club-night").unwrap();
        let id = ReservationId::of(&e, "2c5ea4c0-4067-51f9-8f6d-2b7a4f3f7c11").unwrap();
        let someone = CustomerId::parse("a{b}c").unwrap();
        let keys = [
            event(&e),
            views(&e),
            views_on_their_way(&e),
            views_stored(&e),
            dirty(&e),
            dirty_at_work(&e),
            moving(&e),
            undecided(&e),
            record(&id),
            customer(&e, &someone),
            lock(&e, "load:A"),
            counted(&e, "A"),
            copy_of_layout(&e, "A#1#nonce"),
        ];
        let [known, copy, filler] = copy_of_event(&e);
        assert_eq!(known, event(&e));
        let keys: Vec<String> = keys.into_iter().chain(section_keys(&e, "A")).chain([copy, filler]).collect();
        for key in &keys {
            // Redis hashes what stands between the first `{` and the first `}` after it.
            assert!(key.starts_with("t1:{club-night}:"), "{key}");
        }
        assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), keys.len());
    }
}
