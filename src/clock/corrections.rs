//! What the steps of a clock mean for events that were published before them, while nobody vouched for it. Pure.
//!
//! A correction says: what was published from `first` (the first event of that boot) up to `through` (the last one
//! before the step) was stamped `delta_ms` too early. An event that carries `"clock":"unsynced"` is given the sum of
//! all corrections that cover it; as they cover one boot only and the time since boot goes on evenly, corrected times of
//! a boot are in the order of the ids again.

use super::Wall;
use crate::limits;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// One step, and which events were published before it in the same boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correction {
    /// The first seq of the boot.
    pub first: u64,
    /// The last seq before the step.
    pub through: u64,
    /// How far the clock was set forward, in milliseconds; below 0 back.
    pub delta_ms: i64,
}

/// The corrections of the events that are still there, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Corrections(Vec<Correction>);

/// What an envelope of an unsynchronised clock says of it, right before its payload.
const MARK: &str = r#","clock":"unsynced""#;
const PAYLOAD: &str = r#","payload":"#;
const STAMP: &str = r#""timestamp":""#;

impl Corrections {
    /// Whether there is nothing to correct.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is to be added to the time of an event that was published while the clock was not synchronised; none when
    /// nothing is known of it.
    pub fn delta_ms(&self, seq: u64) -> Option<i64> {
        let mut covering = self.0.iter().filter(|c| c.first <= seq && seq <= c.through).peekable();
        covering.peek()?;
        Some(covering.map(|c| c.delta_ms).fold(0, i64::saturating_add))
    }

    /// The clock was set by `delta_ms` after `through`, in a boot whose first event is `first`.
    pub(super) fn add(&mut self, first: u64, through: u64, delta_ms: i64) {
        if through < first {
            return;
        }
        match self.0.last_mut() {
            // Nothing was published between the two steps: together they are one.
            Some(last) if (last.first, last.through) == (first, through) => {
                last.delta_ms = last.delta_ms.saturating_add(delta_ms);
                if last.delta_ms == 0 {
                    self.0.pop();
                }
            }
            _ => self.0.push(Correction { first, through, delta_ms }),
        }
        if self.0.len() > limits::CLOCK_CORRECTIONS {
            // A sum that lacks a part is worse than none: what the lost one covered is not corrected any more.
            let lost = self.0.remove(0);
            for kept in self.0.iter_mut().filter(|c| c.first == lost.first) {
                kept.first = lost.through + 1;
            }
        }
    }

    /// Forgets what only covers events up to `seq`, as they are gone.
    pub fn forget_through(&mut self, seq: u64) {
        self.0.retain(|c| c.through > seq);
    }

    /// The envelope as it is read again: with `"corrected"` when it is of an unsynchronised clock that was set later.
    pub fn envelope<'e>(&self, seq: u64, data: &'e str) -> Cow<'e, str> {
        match self.corrected(seq, data) {
            Some((at, time)) => {
                let (head, payload) = data.split_at(at);
                Cow::Owned(format!(r#"{head},"corrected":"{}"{payload}"#, time.rfc3339()))
            }
            None => Cow::Borrowed(data),
        }
    }

    /// When the event was published by what is known now; none when its own time is the best there is.
    pub fn time(&self, seq: u64, data: &str) -> Option<Wall> {
        self.corrected(seq, data).map(|(_, time)| time)
    }

    /// When the event was published, where somebody vouches for that: a clock that was right then, or was set later in
    /// the same boot.
    pub fn known_time(&self, seq: u64, data: &str) -> Option<Wall> {
        let head = Head::of(data)?;
        if head.unsynced { self.time(seq, data) } else { Some(head.stamp) }
    }

    /// The time, and where in the envelope it belongs.
    fn corrected(&self, seq: u64, data: &str) -> Option<(usize, Wall)> {
        let delta = self.delta_ms(seq)?;
        let head = Head::of(data).filter(|head| head.unsynced)?;
        let told = i64::try_from(head.stamp.0).ok()?;
        Some((head.end, Wall::from_ms(told.saturating_add(delta))))
    }
}

/// What an envelope says of its time.
struct Head {
    stamp: Wall,
    unsynced: bool,
    /// Where the payload's member begins, comma included.
    end: usize,
}

impl Head {
    fn of(data: &str) -> Option<Head> {
        // Type, id, topic and time can't contain this, so the first one is the member's name.
        let end = data.find(PAYLOAD)?;
        let head = data.get(..end)?;
        let (head, unsynced) = head.strip_suffix(MARK).map_or((head, false), |head| (head, true));
        let stamp = Wall::parse(head.rsplit_once(STAMP)?.1.strip_suffix('"')?)?;
        Some(Head { stamp, unsynced, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cursor, Draft, Event};
    use proptest::prelude::*;

    fn envelope(seq: u64, ms: u64, unsynced: bool, text: &str) -> String {
        let draft = Draft::checked("note", Some("app/x"), serde_json::json!({ "text": text })).unwrap();
        Event::publish(draft, Cursor { epoch: 7, seq }, &Wall(ms).rfc3339(), unsynced).data().to_string()
    }

    #[test]
    fn events_before_a_step_are_corrected_and_no_others() {
        let mut all = Corrections::default();
        all.add(10, 20, 3_600_000);
        all.add(10, 25, -1_000);
        for (seq, delta) in
            [(9, None), (10, Some(3_599_000)), (20, Some(3_599_000)), (21, Some(-1_000)), (26, None)]
        {
            assert_eq!(all.delta_ms(seq), delta, "{seq}");
        }
        let unsynced = envelope(10, 1_767_799_800_412, true, r#"","clock":"unsynced","payload":"#);
        let again: serde_json::Value = serde_json::from_str(&all.envelope(10, &unsynced)).unwrap();
        assert_eq!(again["corrected"], "2026-01-07T16:29:59.412Z");
        assert_eq!(again["timestamp"], "2026-01-07T15:30:00.412Z", "what was said stays");
        let synced = envelope(10, 1_767_799_800_412, false, r#","clock":"unsynced","payload":"#);
        assert_eq!(all.envelope(10, &synced), synced, "the mark counts, not text of the payload");
        assert_eq!(all.envelope(26, &unsynced), unsynced);
        assert_eq!(all.known_time(26, &unsynced), None);
        assert_eq!(all.known_time(26, &synced), Some(Wall(1_767_799_800_412)));
    }

    #[test]
    fn steps_without_events_between_them_are_one() {
        let mut all = Corrections::default();
        all.add(10, 9, 5_000);
        assert!(all.is_empty(), "nothing had been published");
        all.add(10, 20, 5_000);
        all.add(10, 20, 2_000);
        assert_eq!((all.0.len(), all.delta_ms(15)), (1, Some(7_000)));
        all.add(10, 20, -7_000);
        assert!(all.is_empty(), "back where it was");
    }

    #[test]
    fn the_table_is_bounded_and_what_is_lost_is_not_corrected_wrongly() {
        let mut all = Corrections::default();
        let most = limits::CLOCK_CORRECTIONS as u64;
        for n in 0..=most {
            all.add(1, 10 + n, 1_000);
        }
        assert_eq!(all.0.len() as u64, most);
        assert_eq!(all.delta_ms(10), None, "its sum would lack a part");
        assert_eq!(all.delta_ms(11), Some(most as i64 * 1_000));
        all.forget_through(11);
        assert_eq!(all.0.len() as u64, most - 1);
    }

    proptest! {
        /// Whatever is done to the clock while it is not synchronised, corrected times of one boot follow the ids.
        #[test]
        fn corrected_order_is_the_order_of_the_ids(moves in proptest::collection::vec((0u64..5_000, proptest::option::of(-10_000_000i64..10_000_000)), 1..40)) {
            let mut all = Corrections::default();
            let (mut boot_ms, mut offset) = (0u64, 1_700_000_000_000i64);
            let mut told = Vec::new();
            for (n, (wait, step)) in moves.into_iter().enumerate() {
                if let Some(delta) = step {
                    offset += delta;
                    all.add(100, 99 + n as u64, delta);
                }
                boot_ms += wait;
                told.push((100 + n as u64, (boot_ms as i64 + offset) as u64, boot_ms));
            }
            for (seq, wall, boot) in told {
                let data = envelope(seq, wall, true, "x");
                let time = all.time(seq, &data).unwrap_or(Wall(wall)).0 as i64;
                prop_assert_eq!(time, boot as i64 + offset, "the time since boot by the last offset");
            }
        }

        #[test]
        fn any_text_is_read_without_panic(data in ".*", first in 0u64..3, delta in any::<i64>()) {
            let mut all = Corrections::default();
            all.add(first, 5, delta);
            let _ = all.envelope(3, &data);
            let marked = format!("{{\"timestamp\":\"{data}\"{MARK}{PAYLOAD}{{}}}}");
            let _ = all.envelope(3, &marked);
        }
    }
}
