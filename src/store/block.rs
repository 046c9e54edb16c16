//! Bytes of a block: the records of one commit, or a single state row. Pure.
//!
//! ```text
//! block   version u8 | epoch u64 | wall_ms u64 of the commit | trails, from version 3 | entry*
//! version 1 plain, 2 with packed entries; 3 and 4 the same with trails (`trail`), which blocks of the log have
//! entry   length u32 of what follows | seq u64 | flags u8 | kind_len u8 | topic_len u8 | kind | topic | data
//! flags   1 = in `global`   2 = state (else record)   4 = the last value of its key   8 = data is packed (`columns`)
//! ```
//! Numbers are little-endian; `data` is the envelope, one line of JSON. A block is read through [`expand`], which turns
//! packed entries back into what they were.

use super::columns;
use super::trail::{Newest, Set, Trails};
use crate::model::{Class, Event, SharedEvent};
use std::borrow::Cow;

const VERSION: u8 = 1;
const PACKED_VERSION: u8 = 2;
const TRAILS_VERSION: u8 = 3;
const PACKED_TRAILS_VERSION: u8 = 4;
const HEAD: usize = 1 + 8 + 8;
const ENTRY: usize = 8 + 1 + 1 + 1;
const GLOBAL: u8 = 1;
const STATE: u8 = 2;
const RETIRED: u8 = 4;
const PACKED: u8 = 8;
/// The type whose events are packed.
const SAMPLES: &str = "signal_batch";

/// One event as it is stored, borrowed from its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Its epoch.
    pub epoch: u64,
    /// Its seq.
    pub seq: u64,
    /// State or record.
    pub class: Class,
    /// Whether it is part of `global`.
    pub global: bool,
    /// Whether it is the last value of its state key.
    pub retired: bool,
    /// Its type.
    pub kind: &'a str,
    /// Its topic.
    pub topic: &'a str,
    /// Its envelope.
    pub data: &'a str,
}

/// Writes a block of the log, and sets the newest blocks on the trails to what they are with it.
pub(super) fn encode_log(epoch: u64, wall_ms: u64, events: &[SharedEvent], newest: &mut Newest) -> Vec<u8> {
    let mut out = head(TRAILS_VERSION, epoch, wall_ms);
    let held = events.iter().fold(0, |held, e| held | Set::of(&e.kind, e.global).0);
    let trails = Trails { held: Set(held), earlier: *newest };
    let last = events.last().map_or(0, |e| e.cursor.seq);
    trails.write(last, &mut out);
    *newest = trails.after(last);
    if write_entries(&mut out, events.iter().map(|e| &**e)) {
        out[0] = PACKED_TRAILS_VERSION;
    }
    out
}

/// Writes a block of one: a row of the state.
pub(super) fn encode_one(epoch: u64, wall_ms: u64, event: &Event) -> Vec<u8> {
    let mut out = head(VERSION, epoch, wall_ms);
    if write_entries(&mut out, std::iter::once(event)) {
        out[0] = PACKED_VERSION;
    }
    out
}

fn head(version: u8, epoch: u64, wall_ms: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    out.push(version);
    out.extend(epoch.to_le_bytes());
    out.extend(wall_ms.to_le_bytes());
    out
}

/// Appends entries; true when one of them is packed.
fn write_entries<'a>(out: &mut Vec<u8>, events: impl Iterator<Item = &'a Event>) -> bool {
    let mut any_packed = false;
    for event in events {
        let (kind, topic) = (event.kind.as_bytes(), event.topic.as_str().as_bytes());
        let packed = if &*event.kind == SAMPLES { columns::pack(event.data()) } else { None };
        any_packed |= packed.is_some();
        let data = packed.as_deref().unwrap_or(event.data().as_bytes());
        out.extend(((ENTRY + kind.len() + topic.len() + data.len()) as u32).to_le_bytes());
        out.extend(event.cursor.seq.to_le_bytes());
        let bit = |is: bool, flag: u8| if is { flag } else { 0 };
        out.push(
            bit(event.global, GLOBAL)
                | bit(event.class == Class::State, STATE)
                | bit(event.is_retired(), RETIRED)
                | bit(packed.is_some(), PACKED),
        );
        // Types are at most 64 and topics at most 128 bytes: checked when they were drafted.
        out.push(kind.len() as u8);
        out.push(topic.len() as u8);
        out.extend(kind);
        out.extend(topic);
        out.extend(data);
    }
    any_packed
}

/// What a block that ends with `last` says of the trails; none when it is older than they are.
pub(super) fn trails(last: u64, block: &[u8]) -> Option<Trails> {
    match block.first() {
        Some(&(TRAILS_VERSION | PACKED_TRAILS_VERSION)) => {
            Trails::read(last, block.get(HEAD..)?).map(|(trails, _)| trails)
        }
        _ => None,
    }
}

/// The block as it was written before there were trails.
#[cfg(test)]
pub(super) fn without_trails(block: &[u8]) -> Vec<u8> {
    let mut out = block[..HEAD].to_vec();
    out[0] -= 2;
    out.extend(body(block));
    out
}

/// Where the entries begin.
fn body(block: &[u8]) -> &[u8] {
    let rest = block.get(HEAD..).unwrap_or_default();
    match block.first() {
        // How far it is to an earlier block does not matter for how long it is.
        Some(&(TRAILS_VERSION | PACKED_TRAILS_VERSION)) => {
            Trails::read(u64::MAX, rest).map_or(&[][..], |(_, rest)| rest)
        }
        _ => rest,
    }
}

/// The block with nothing packed. An entry that can't be unpacked is left out.
pub(super) fn expand(block: &[u8]) -> Cow<'_, [u8]> {
    if !matches!(block.first(), Some(&(PACKED_VERSION | PACKED_TRAILS_VERSION))) {
        return Cow::Borrowed(block);
    }
    let mut out = block.get(..HEAD).unwrap_or_default().to_vec();
    if let Some(version) = out.first_mut() {
        *version = VERSION;
    }
    let mut rest = body(block);
    while let Some((entry, more)) = next_entry(rest) {
        rest = more;
        let Some([flags, kind_len, topic_len]) =
            entry.get(8..ENTRY).and_then(|b| <[u8; 3]>::try_from(b).ok())
        else {
            break;
        };
        let data_at = ENTRY + kind_len as usize + topic_len as usize;
        let (Some(head), Some(data)) = (entry.get(..data_at), entry.get(data_at..)) else { break };
        let unpacked = if flags & PACKED != 0 {
            let Some(text) = columns::unpack(data) else { continue };
            Cow::Owned(text.into_bytes())
        } else {
            Cow::Borrowed(data)
        };
        out.extend(((data_at + unpacked.len()) as u32).to_le_bytes());
        let flags_at = out.len() + 8;
        out.extend(head);
        out[flags_at] = flags & !PACKED;
        out.extend(unpacked.iter());
    }
    Cow::Owned(out)
}

/// How many entries a block has, packed ones among them; nothing is unpacked for it.
pub(super) fn count(block: &[u8]) -> u64 {
    let mut rest = body(block);
    std::iter::from_fn(|| next_entry(rest).map(|(_, more)| rest = more)).count() as u64
}

/// The first entry without its length, and what follows it.
fn next_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    bytes.get(4..)?.split_at_checked(length)
}

/// The events of a block that was expanded; ends early where the bytes make no sense.
pub(super) fn entries(block: &[u8]) -> impl Iterator<Item = Stored<'_>> {
    let epoch = match (block.first(), block.get(1..9)) {
        (Some(&(VERSION | TRAILS_VERSION)), Some(bytes)) => bytes.try_into().ok().map(u64::from_le_bytes),
        _ => None,
    };
    let mut rest = body(block);
    std::iter::from_fn(move || {
        let epoch = epoch?;
        let (entry, more) = next_entry(rest)?;
        rest = more;
        let seq = u64::from_le_bytes(entry.get(..8)?.try_into().ok()?);
        let [flags, kind_len, topic_len] = *entry.get(8..ENTRY)? else { return None };
        let text = std::str::from_utf8(&entry[ENTRY..]).ok()?;
        let (kind, text) = text.split_at_checked(kind_len as usize)?;
        let (topic, data) = text.split_at_checked(topic_len as usize)?;
        let class = if flags & STATE != 0 { Class::State } else { Class::Record };
        let (global, retired) = (flags & GLOBAL != 0, flags & RETIRED != 0);
        Some(Stored { epoch, seq, class, global, retired, kind, topic, data })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cursor, Draft};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn event(seq: u64, text: &str) -> Event {
        let draft = Draft::checked("note", Some("app/x"), serde_json::json!({ "text": text })).unwrap();
        Event::publish(draft, Cursor { epoch: 7, seq }, "2026-01-07T15:30:00.412Z", false)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(texts in proptest::collection::vec(".*", 0..20)) {
            let events: Vec<_> = texts.iter().enumerate().map(|(i, t)| Arc::new(event(i as u64 + 5, t))).collect();
            let block = encode_log(7, 99, &events, &mut Newest::default());
            let read: Vec<_> = entries(&block).collect();
            prop_assert_eq!(read.len(), events.len());
            for (stored, event) in read.iter().zip(&events) {
                prop_assert_eq!((stored.epoch, stored.seq, stored.data), (7, event.cursor.seq, event.data()));
                prop_assert_eq!((stored.kind, stored.topic, stored.global), ("note", "app/x", false));
            }
        }

        #[test]
        fn packed_samples_come_back_as_they_were(values in proptest::collection::vec(-1000_i32..1000, 0..50)) {
            let rows: Vec<_> = values.iter().enumerate().map(|(n, v)| serde_json::json!({
                "seq": n, "t": "2026-01-07T15:30:00.412Z", "value": f64::from(*v) / 8.0, "anomaly": *v > 990,
            })).collect();
            let payload = serde_json::json!({ "signal_id": "a", "events": rows, "totals": { "events": 9, "anomalies": 0 } });
            let draft = Draft::checked("signal_batch", None, payload).unwrap();
            let samples = Event::publish(draft, Cursor { epoch: 7, seq: 6 }, "2026-01-07T15:30:00.412Z", false);
            let all = [event(5, "before"), samples, event(7, "after")].map(Arc::new);
            let block = encode_log(7, 99, &all, &mut Newest([3, 4, 0, 0, 0, 0]));
            prop_assert_eq!(block[0] == PACKED_TRAILS_VERSION, values.len() > 1);
            prop_assert_eq!(trails(7, &block).map(|t| (t.held, t.earlier)), Some((Set(0), Newest([3, 4, 0, 0, 0, 0]))));
            // As it was written before there were trails.
            let mut old = head(VERSION, 7, 99);
            if write_entries(&mut old, all.iter().map(|e| &**e)) {
                old[0] = PACKED_VERSION;
            }
            prop_assert_eq!(trails(7, &old), None);
            for block in [block, old] {
                let block = expand(&block);
                let read: Vec<_> = entries(&block).map(|s| (s.seq, s.kind, s.topic, s.data)).collect();
                let written: Vec<_> = all.iter().map(|e| (e.cursor.seq, &*e.kind, e.topic.as_str(), e.data())).collect();
                prop_assert_eq!(read, written);
            }
            prop_assert_eq!((count(&encode_log(7, 99, &all, &mut Newest::default())), count(&[])), (3, 0));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let mut block = vec![VERSION];
            block.extend(&bytes);
            prop_assert!(entries(&block).count() <= bytes.len());
            for version in [PACKED_VERSION, TRAILS_VERSION, PACKED_TRAILS_VERSION] {
                block[0] = version;
                prop_assert!(entries(&expand(&block)).count() <= bytes.len());
                let _ = trails(9, &block);
                prop_assert!(count(&block) <= bytes.len() as u64);
            }
            prop_assert!(entries(&bytes).count() <= bytes.len());
        }
    }
}
