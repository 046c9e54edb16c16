//! The cursor: where a reader stands in the log.

use std::fmt;
use std::str::FromStr;

/// `<epoch>-<seq>`, the id of an event and the position of a reader.
///
/// `epoch` grows by one at every start of the daemon and begins at a random number in a new database, so that an id
/// of another database is recognised. `seq` is dense within the log and goes on across epochs: the first event of an
/// epoch follows the last *committed* event of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// Which run of the daemon.
    pub epoch: u64,
    /// Which event; 0 is before the first.
    pub seq: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

impl FromStr for Cursor {
    type Err = ();

    /// Reads exactly what [`fmt::Display`] writes: two decimal numbers without sign or leading zeros.
    fn from_str(text: &str) -> Result<Self, ()> {
        fn number(digits: &str) -> Result<u64, ()> {
            let canonical =
                digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()));
            if canonical { digits.parse().map_err(|_| ()) } else { Err(()) }
        }
        let (epoch, seq) = text.split_once('-').ok_or(())?;
        Ok(Cursor { epoch: number(epoch)?, seq: number(seq)? })
    }
}

impl serde::Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// What a reader asks to be given: `since=`, `last_event_id=` or the `Last-Event-ID` header.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Since {
    /// Nothing given: a snapshot, then what comes.
    #[default]
    Nothing,
    /// `earliest`: everything still stored.
    Earliest,
    /// `latest`: only what comes.
    Latest,
    /// Everything after this id.
    After(Cursor),
    /// Text that no telltale ever issued, kept (shortened, printable) to be named in the `gap`.
    Unreadable(String),
}

impl Since {
    /// Reads a cursor as it came from outside; never fails, as an EventSource must not be answered 4xx.
    pub fn from_text(text: &str) -> Self {
        match text {
            "" => Since::Nothing,
            "earliest" => Since::Earliest,
            "latest" => Since::Latest,
            other => other.parse().map(Since::After).unwrap_or_else(|()| {
                Since::Unreadable(other.chars().filter(|c| c.is_ascii_graphic()).take(40).collect())
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn display_and_parse_are_inverse(epoch: u64, seq: u64) {
            let cursor = Cursor { epoch, seq };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
            prop_assert!(cursor.to_string().len() <= 41);
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".*") {
            let _ = Since::from_text(&text);
        }
    }

    #[test]
    fn only_canonical_text_is_a_cursor() {
        for bad in
            ["", "-", "7", "7-", "-7", "07-1", "7-01", "+7-1", "7-1-2", "7 -1", "99999999999999999999-1"]
        {
            assert_eq!(bad.parse::<Cursor>(), Err(()), "{bad}");
        }
        assert_eq!(Since::from_text("x\u{0}\r\ny"), Since::Unreadable("xy".into()));
    }
}
