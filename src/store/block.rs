//! Bytes of a block: the records of one commit, or a single state row. Pure.
//!
//! ```text
//! block   version u8 = 1 | epoch u64 | wall_ms u64 of the commit | entry*
//! entry   length u32 of what follows | seq u64 | flags u8 | kind_len u8 | topic_len u8 | kind | topic | data
//! flags   1 = in `global`   2 = state (else record)   4 = the last value of its key
//! ```
//! Numbers are little-endian; `data` is the envelope, one line of JSON.

use crate::model::{Class, Event};

const VERSION: u8 = 1;
const HEAD: usize = 1 + 8 + 8;
const ENTRY: usize = 8 + 1 + 1 + 1;
const GLOBAL: u8 = 1;
const STATE: u8 = 2;
const RETIRED: u8 = 4;

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

/// Writes a block.
pub(super) fn encode<'a>(epoch: u64, wall_ms: u64, events: impl Iterator<Item = &'a Event>) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    out.push(VERSION);
    out.extend(epoch.to_le_bytes());
    out.extend(wall_ms.to_le_bytes());
    for event in events {
        let (kind, topic, data) =
            (event.kind.as_bytes(), event.topic.as_str().as_bytes(), event.data().as_bytes());
        out.extend(((ENTRY + kind.len() + topic.len() + data.len()) as u32).to_le_bytes());
        out.extend(event.cursor.seq.to_le_bytes());
        let bit = |is: bool, flag: u8| if is { flag } else { 0 };
        out.push(
            bit(event.global, GLOBAL)
                | bit(event.class == Class::State, STATE)
                | bit(event.is_retired(), RETIRED),
        );
        // Types are at most 64 and topics at most 128 bytes: checked when they were drafted.
        out.push(kind.len() as u8);
        out.push(topic.len() as u8);
        out.extend(kind);
        out.extend(topic);
        out.extend(data);
    }
    out
}

/// The events of a block; ends early where the bytes make no sense.
pub(super) fn entries(block: &[u8]) -> impl Iterator<Item = Stored<'_>> {
    let epoch = match (block.first(), block.get(1..9)) {
        (Some(&VERSION), Some(bytes)) => bytes.try_into().ok().map(u64::from_le_bytes),
        _ => None,
    };
    let mut rest = block.get(HEAD..).unwrap_or_default();
    std::iter::from_fn(move || {
        let epoch = epoch?;
        let length = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        let entry = rest.get(4..)?.get(..length)?;
        rest = &rest[4 + length..];
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

    fn event(seq: u64, text: &str) -> Event {
        let draft = Draft::checked("note", Some("app/x"), serde_json::json!({ "text": text })).unwrap();
        Event::publish(draft, Cursor { epoch: 7, seq }, "2026-01-07T15:30:00.412Z", false)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(texts in proptest::collection::vec(".*", 0..20)) {
            let events: Vec<_> = texts.iter().enumerate().map(|(i, t)| event(i as u64 + 5, t)).collect();
            let block = encode(7, 99, events.iter());
            let read: Vec<_> = entries(&block).collect();
            prop_assert_eq!(read.len(), events.len());
            for (stored, event) in read.iter().zip(&events) {
                prop_assert_eq!((stored.epoch, stored.seq, stored.data), (7, event.cursor.seq, event.data()));
                prop_assert_eq!((stored.kind, stored.topic, stored.global), ("note", "app/x", false));
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let mut block = vec![VERSION];
            block.extend(&bytes);
            prop_assert!(entries(&block).count() <= bytes.len());
            prop_assert!(entries(&bytes).count() <= bytes.len());
        }
    }
}
