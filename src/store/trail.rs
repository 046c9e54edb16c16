//! Trails: how reading back finds what is rare without reading what lies between. Pure.
//!
//! Each block says, for a few kinds of records that people look for, which earlier block is the newest that holds one. So
//! the warnings among a million samples are found by going from block to block, each step one read.
//!
//! ```text
//! trails  count u8 | held u8: a bit for each trail this block is on | for each trail: distance, a varint
//! ```
//! `distance` is this block's last seq minus that of the newest earlier block on the trail, 0 when there is none that has
//! trails. Varints are little-endian, seven bits a byte, the highest bit says that more follow (as in protocol buffers).

/// A kind of records that can be looked for going back. The order is that of the layout; new ones come at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trail {
    /// `log` and `queue_log`.
    Log,
    /// Those of them from WARNING up.
    Warnings,
    /// `alert`.
    Alerts,
    /// `command_result`.
    Commands,
    /// `recording_changed`.
    Recordings,
    /// `detection`.
    Detections,
}

/// How many there are.
pub(super) const TRAILS: usize = 6;

/// A set of trails: one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Set(pub u8);

impl Set {
    /// The trails a record is on.
    pub fn of(kind: &str, global: bool) -> Set {
        let bit = |trail: Trail| 1 << trail as u8;
        Set(match kind {
            // Lines are in `global` from WARNING up.
            "log" | "queue_log" if global => bit(Trail::Log) | bit(Trail::Warnings),
            "log" | "queue_log" => bit(Trail::Log),
            "alert" => bit(Trail::Alerts),
            "command_result" => bit(Trail::Commands),
            "recording_changed" => bit(Trail::Recordings),
            "detection" => bit(Trail::Detections),
            _ => 0,
        })
    }
}

/// The newest block on each trail, by the seq of its last record; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Newest(pub [u64; TRAILS]);

/// What a block says of the trails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trails {
    /// Those it is on itself.
    pub held: Set,
    /// The newest earlier block on each.
    pub earlier: Newest,
}

impl Trails {
    /// Appends them for a block that ends with `last`.
    pub fn write(self, last: u64, out: &mut Vec<u8>) {
        out.push(TRAILS as u8);
        out.push(self.held.0);
        for earlier in self.earlier.0 {
            let distance = if earlier == 0 { 0 } else { last.saturating_sub(earlier) };
            write_varint(distance, out);
        }
    }

    /// Reads them from the front of `bytes` and gives what follows. Trails that are not known are skipped; of those that
    /// are lacking nothing is known, as if there were no earlier block.
    pub fn read(last: u64, bytes: &[u8]) -> Option<(Trails, &[u8])> {
        let (&[count, held], mut rest) = bytes.split_first_chunk::<2>()?;
        let mut trails = Trails { held: Set(held), ..Trails::default() };
        for n in 0..usize::from(count) {
            let (distance, more) = read_varint(rest)?;
            rest = more;
            if let Some(earlier) = trails.earlier.0.get_mut(n)
                && distance != 0
            {
                *earlier = last.checked_sub(distance)?;
            }
        }
        Some((trails, rest))
    }

    /// The newest block on each trail once the block that ends with `last` is there.
    pub fn after(self, last: u64) -> Newest {
        let mut newest = self.earlier;
        for (n, seq) in newest.0.iter_mut().enumerate() {
            if self.held.0 & 1 << n != 0 {
                *seq = last;
            }
        }
        newest
    }
}

fn write_varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut n = 0;
    for (i, byte) in bytes.iter().enumerate().take(10) {
        n |= u64::from(byte & 0x7f).checked_shl(7 * i as u32)?;
        if byte & 0x80 == 0 {
            return Some((n, &bytes[i + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_is_on_the_trails_of_its_kind() {
        for (kind, global, on) in [
            ("log", true, vec![Trail::Log, Trail::Warnings]),
            ("queue_log", false, vec![Trail::Log]),
            ("alert", true, vec![Trail::Alerts]),
            ("data_point", false, vec![]),
        ] {
            let set = Set::of(kind, global);
            for trail in [
                Trail::Log,
                Trail::Warnings,
                Trail::Alerts,
                Trail::Commands,
                Trail::Recordings,
                Trail::Detections,
            ] {
                assert_eq!(set.0 & 1 << trail as u8 != 0, on.contains(&trail), "{kind} {trail:?}");
            }
        }
        assert_eq!(Trail::Detections as usize + 1, TRAILS);
    }

    #[test]
    fn a_layout_with_more_or_fewer_trails_is_read() {
        let more = [8, 1, 5, 0, 0, 0, 0, 0, 7, 9, 42];
        let (trails, rest) = Trails::read(100, &more).unwrap();
        assert_eq!((trails.earlier.0[0], rest), (95, &[42][..]));
        let (trails, rest) = Trails::read(100, &[1, 1, 5, 42]).unwrap();
        assert_eq!((trails.earlier.0, rest), ([95, 0, 0, 0, 0, 0], &[42][..]));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(last in 0u64.., back in proptest::array::uniform6(0u64..), held in 0u8..64) {
            let earlier = Newest(back.map(|n| if last == 0 { 0 } else { n % last }));
            let trails = Trails { held: Set(held), earlier };
            let mut bytes = Vec::new();
            trails.write(last, &mut bytes);
            bytes.push(7);
            prop_assert_eq!(Trails::read(last, &bytes), Some((trails, &[7][..])));
        }

        #[test]
        fn any_bytes_are_read_without_panic(last: u64, bytes: Vec<u8>) {
            let _ = Trails::read(last, &bytes);
        }
    }
}
