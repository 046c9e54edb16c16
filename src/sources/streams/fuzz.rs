//! The door through which fuzzers come in: any bytes as a message of a feed, and what it gives as history.

use super::extract::{Extract, Found};
use super::history::History;
use crate::clock::Wall;

/// The bytes as lines, each a message, read in several ways, into a history that is looked at and kept.
pub fn message(data: &[u8]) {
    let extract = |value: &str, only: Option<(&str, &str)>| Extract {
        value: value.into(),
        time: Some("T".into()),
        only: only.map(|(path, text)| (path.into(), text.into())),
    };
    let ways = [
        extract("p", Some(("s", "BTCUSDT"))),
        extract("p", None),
        extract("data.0.p", None),
        extract("", None),
        extract("p", Some(("T", "1"))),
    ];
    let mut history = History::default();
    for line in data.split(|b| *b == b'\n') {
        let Ok(message) = serde_json::from_slice(line) else { continue };
        for way in &ways {
            if let Found::Value(value, at) = way.read(&message) {
                assert!(value.is_finite(), "{value}");
                let at = at.unwrap_or(Wall(1_767_799_800_412));
                assert!(Wall::parse(&at.rfc3339()).is_some(), "{at:?} can't be written");
                history.add(at.0, value);
            }
        }
    }
    let Some((oldest, newest)) = history.reach() else { return };
    for (from, to) in [(0, u64::MAX), (oldest, newest.max(oldest)), (newest, newest)] {
        let window = history.window(from, to, 10);
        assert!(window.len() <= 12 && window.is_sorted_by_key(|b| b.t), "{window:?}");
    }
    let again = History::from_bytes(&history.bytes_between(0, u64::MAX));
    assert_eq!(again.bytes_between(0, u64::MAX), history.bytes_between(0, u64::MAX));
}
