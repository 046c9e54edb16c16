//! Bytes into lines: pure.
//!
//! A line ends with LF, CRLF or CR, or with the one terminator that is configured; empty lines are nothing. Right after
//! opening, and after an over-long line, what comes may be the rest of a line that began earlier: it is dropped up to the
//! next line end, because half a line can be a wrong value (`1.5` of `21.5`). A pause before the first byte shows that it
//! does begin a line.

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
    ends: Ends,
    line: Vec<u8>,
    skipping: Skipping,
}

#[derive(Clone, Debug)]
enum Ends {
    /// LF, CRLF or CR. The last byte was a CR: an LF right after it belongs to it.
    Usual { after_cr: bool },
    /// This and nothing else; and the last bytes, as many as it has.
    Exactly { terminator: Vec<u8>, last: Vec<u8> },
}

/// What a byte is to the line.
enum Role {
    Inside,
    /// It ended the line, of which so many bytes are the terminator's.
    End(usize),
    /// The rest of a line end.
    Nothing,
}

impl Ends {
    fn role(&mut self, byte: u8) -> Role {
        match self {
            Ends::Usual { after_cr } => {
                let after_cr = std::mem::replace(after_cr, byte == b'\r');
                match byte {
                    b'\n' if after_cr => Role::Nothing,
                    b'\n' | b'\r' => Role::End(0),
                    _ => Role::Inside,
                }
            }
            Ends::Exactly { terminator, last } => {
                last.push(byte);
                if last.len() > terminator.len() {
                    last.remove(0);
                }
                if last == terminator {
                    last.clear();
                    Role::End(terminator.len() - 1)
                } else {
                    Role::Inside
                }
            }
        }
    }

    fn forget(&mut self) {
        match self {
            Ends::Usual { after_cr } => *after_cr = false,
            Ends::Exactly { last, .. } => last.clear(),
        }
    }
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
    /// For lines of at most `most` bytes that end with LF, CRLF or CR.
    pub fn new(most: usize) -> Self {
        Splitter {
            most: most.max(1),
            ends: Ends::Usual { after_cr: false },
            line: Vec::new(),
            skipping: Skipping::Unsure { any: false },
        }
    }

    /// The same for lines that end with `terminator`, which has at least one byte.
    pub fn ending_with(terminator: &[u8], most: usize) -> Self {
        let ends = Ends::Exactly { terminator: terminator.to_vec(), last: Vec::new() };
        Splitter { ends, ..Splitter::new(most) }
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
            match (self.ends.role(byte), self.skipping) {
                (Role::Nothing, _) => {}
                (Role::End(surplus), Skipping::No) => {
                    let mut line = std::mem::take(&mut self.line);
                    line.truncate(line.len().saturating_sub(surplus));
                    if line.len() > self.most {
                        line.truncate(self.most);
                        pieces.push(Piece::Overlong(line));
                    } else if !line.is_empty() {
                        pieces.push(Piece::Line(line));
                    }
                }
                (Role::End(_), skipping) => {
                    self.skipping = Skipping::No;
                    if skipping == (Skipping::Unsure { any: true }) {
                        pieces.push(Piece::Joined);
                    }
                }
                (Role::Inside, Skipping::No) if self.line.len() == self.room() => {
                    self.skipping = Skipping::Overlong;
                    let mut line = std::mem::take(&mut self.line);
                    line.truncate(self.most);
                    pieces.push(Piece::Overlong(line));
                }
                (Role::Inside, Skipping::No) => self.line.push(byte),
                (Role::Inside, Skipping::Unsure { .. }) => self.skipping = Skipping::Unsure { any: true },
                (Role::Inside, Skipping::Overlong) => {}
            }
        }
        pieces
    }

    /// A line and the beginning of its terminator.
    fn room(&self) -> usize {
        match &self.ends {
            Ends::Usual { .. } => self.most,
            Ends::Exactly { terminator, .. } => self.most + terminator.len() - 1,
        }
    }

    /// The port is closed: gives the line that was under way, and begins anew.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.line);
        self.skipping = Skipping::Unsure { any: false };
        self.ends.forget();
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

    #[test]
    fn a_terminator_of_its_own_is_the_only_one() {
        let make = |terminator: &str, most| {
            let mut split = Splitter::ending_with(terminator.as_bytes(), most);
            split.quiet();
            split
        };
        assert_eq!(lines(&mut make(";", 10), b"a\nb;;c;d"), ["a\nb", "c"]);
        let mut split = make("\r\n", 4);
        assert_eq!(lines(&mut split, b"a\rb\r\n1234\r"), ["a\rb"]);
        assert_eq!(lines(&mut split, b"\n\r\r\n12345\r\nz\r\n"), ["1234", "\r", "<overlong 4>", "z"]);
        assert_eq!(lines(&mut split, b"1234567890\r"), ["<overlong 4>"]);
        assert_eq!(lines(&mut split, b"\nok\r\n"), ["ok"]);
        assert_eq!(lines(&mut Splitter::ending_with(b"--", 9), b"x--y--z-"), ["<joined>", "y"]);
    }

    proptest! {
        /// Whatever the terminator is: what lies between its occurrences comes out, whole or not at all.
        #[test]
        fn lines_are_what_lies_between(
            terminator in proptest::sample::select(vec![";", "\r\n", "--", "END"]),
            words in proptest::collection::vec("[a-z]{0,30}", 0..20),
            most in 1usize..20,
        ) {
            let text: String = words.iter().map(|word| format!("{word}{terminator}")).collect();
            let mut split = Splitter::ending_with(terminator.as_bytes(), most);
            split.quiet();
            let expected: Vec<Piece> = words
                .iter()
                .filter(|word| !word.is_empty())
                .map(|word| match word.len() <= most {
                    true => Piece::Line(word.as_bytes().to_vec()),
                    false => Piece::Overlong(word.as_bytes()[..most].to_vec()),
                })
                .collect();
            prop_assert_eq!(split.feed(text.as_bytes()), expected);
        }

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
