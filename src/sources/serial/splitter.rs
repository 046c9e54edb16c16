//! Bytes into lines: pure.
//!
//! A line ends with LF, CRLF or CR; empty lines are nothing. Right after opening, and after an over-long line, what
//! comes may be the rest of a line that began earlier: it is dropped up to the next line end, because half a line
//! can be a wrong value (`1.5` of `21.5`). A pause before the first byte shows that it does begin a line.

/// What came of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A whole line, without its end. Not necessarily UTF-8.
    Line(Vec<u8>),
    /// The end of a line that began before we listened, dropped.
    Joined,
    /// A line longer than the bound, dropped; with its beginning.
    Overlong(Vec<u8>),
}

/// See the module above.
#[derive(Debug)]
pub struct Splitter {
    most: usize,
    line: Vec<u8>,
    skipping: Skipping,
    /// The last byte was a CR: an LF right after it belongs to it.
    after_cr: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skipping {
    No,
    /// Nothing has come since opening, or only what may be the rest of a line.
    Unsure {
        any: bool,
    },
    Overlong,
}

impl Splitter {
    /// For lines of at most `most` bytes.
    pub fn new(most: usize) -> Self {
        Splitter {
            most: most.max(1),
            line: Vec::new(),
            skipping: Skipping::Unsure { any: false },
            after_cr: false,
        }
    }

    /// The port was quiet for a while: if nothing has come yet, the next byte begins a line.
    pub fn quiet(&mut self) {
        if self.skipping == (Skipping::Unsure { any: false }) {
            self.skipping = Skipping::No;
        }
    }

    /// Takes bytes; gives what they completed.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match (byte, self.skipping) {
                (b'\n', _) if after_cr => {}
                (b'\n' | b'\r', Skipping::No) => {
                    if !self.line.is_empty() {
                        pieces.push(Piece::Line(std::mem::take(&mut self.line)));
                    }
                }
                (b'\n' | b'\r', skipping) => {
                    self.skipping = Skipping::No;
                    if skipping == (Skipping::Unsure { any: true }) {
                        pieces.push(Piece::Joined);
                    }
                }
                (_, Skipping::No) if self.line.len() == self.most => {
                    self.skipping = Skipping::Overlong;
                    pieces.push(Piece::Overlong(std::mem::take(&mut self.line)));
                }
                (_, Skipping::No) => self.line.push(byte),
                (_, Skipping::Unsure { .. }) => self.skipping = Skipping::Unsure { any: true },
                (_, Skipping::Overlong) => {}
            }
        }
        pieces
    }

    /// The port is closed: gives the line that was under way, and begins anew.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.line);
        *self = Splitter::new(self.most);
        (!line.is_empty()).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(splitter: &mut Splitter, bytes: &[u8]) -> Vec<String> {
        let shown = |piece| match piece {
            Piece::Line(line) => String::from_utf8_lossy(&line).into_owned(),
            Piece::Joined => "<joined>".into(),
            Piece::Overlong(start) => format!("<overlong {}>", start.len()),
        };
        splitter.feed(bytes).into_iter().map(shown).collect()
    }

    fn listening(most: usize) -> Splitter {
        let mut splitter = Splitter::new(most);
        splitter.quiet();
        splitter
    }

    #[test]
    fn every_line_end_is_one() {
        assert_eq!(lines(&mut listening(10), b"a\nb\r\nc\rd\n\n\r\n\re\n"), ["a", "b", "c", "d", "e"]);
        let mut split = listening(10);
        assert_eq!(lines(&mut split, b"a\r"), ["a"]);
        assert_eq!(lines(&mut split, b"\nb"), [""; 0]);
        assert_eq!(lines(&mut split, b"c\n"), ["bc"]);
    }

    #[test]
    fn the_rest_of_a_line_that_began_earlier_is_dropped() {
        assert_eq!(lines(&mut Splitter::new(10), b"1.5\n21.6\n"), ["<joined>", "21.6"]);
        assert_eq!(lines(&mut listening(10), b"21.5\n21.6\n"), ["21.5", "21.6"]);
        // A line end comes first: what follows is whole.
        assert_eq!(lines(&mut Splitter::new(10), b"\n21.6\n"), ["21.6"]);
        let mut split = Splitter::new(10);
        assert_eq!(lines(&mut split, b"1."), [""; 0]);
        split.quiet();
        assert_eq!(lines(&mut split, b"5\n3\n"), ["<joined>", "3"], "a pause inside a line proves nothing");
    }

    #[test]
    fn a_line_that_is_too_long_is_told_once_and_skipped() {
        let mut split = listening(4);
        assert_eq!(lines(&mut split, b"1234\n12345"), ["1234", "<overlong 4>"]);
        assert_eq!(lines(&mut split, b"67890"), [""; 0]);
        assert_eq!(lines(&mut split, b"1\r\nab\n"), ["ab"]);
    }

    #[test]
    fn closing_gives_the_half_line() {
        let mut split = listening(10);
        split.feed(b"ok\nhal");
        assert_eq!(split.finish(), Some(b"hal".to_vec()));
        assert_eq!(split.finish(), None);
        assert_eq!(lines(&mut split, b"f\nnew\n"), ["<joined>", "new"]);
    }

    proptest! {
        /// How the bytes arrive makes no difference, and no line is longer than the bound or holds a line end.
        #[test]
        fn chunks_do_not_matter(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(1usize..9, 0..60),
            most in 1usize..20,
            quiet: bool,
        ) {
            let make = || if quiet { listening(most) } else { Splitter::new(most) };
            let whole = make().feed(&bytes);
            let (mut split, mut rest, mut pieces) = (make(), bytes.as_slice(), Vec::new());
            for cut in cuts {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                pieces.extend(split.feed(head));
                rest = tail;
            }
            pieces.extend(split.feed(rest));
            for piece in &pieces {
                if let Piece::Line(line) = piece {
                    prop_assert!((1..=most).contains(&line.len()));
                    prop_assert!(!line.iter().any(|b| matches!(b, b'\n' | b'\r')));
                }
            }
            prop_assert_eq!(pieces, whole);
        }
    }
}
