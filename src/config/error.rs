//! What is wrong with the settings, and where it is written.

use std::fmt;
use std::path::PathBuf;

/// One fault in the settings; reads as `file:line:column: what was written; what was expected`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it is written.
    pub place: Place,
    /// One sentence.
    pub detail: String,
}

/// Where a setting is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file; line and column count from 1, columns in characters.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// The file as a whole: it can't be read.
    Whole(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl Place {
    /// Whether the fault is in the file rather than around it.
    pub fn is_file(&self) -> bool {
        matches!(self, Place::File { .. } | Place::Whole(_))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Place::Whole(path) => write!(f, "{}", path.display()),
            Place::Variable(name) => f.write_str(name),
            Place::Flag(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.detail)
    }
}

impl std::error::Error for ConfigError {}

/// Where the lines of a text begin, so that the place of a fault is found without reading the text again for each.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub fn of(text: &'a str) -> Self {
        let after = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        Lines { text, starts: std::iter::once(0).chain(after).collect() }
    }

    /// The line, from 1, of a byte offset; one past the end is in the last line.
    pub fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// Line and column, from 1, in characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.line(offset);
        let before = &self.text.as_bytes()
            [self.starts[line - 1]..offset.clamp(self.starts[line - 1], self.text.len())];
        // Continuation bytes are not counted: what is left is characters.
        (line, before.iter().filter(|b| **b & 0xC0 != 0x80).count() + 1)
    }

    /// The text of a line, counted from 1.
    pub fn text(&self, line: usize) -> &'a str {
        let start = self.starts.get(line - 1).copied().unwrap_or(self.text.len());
        self.text[start..].lines().next().unwrap_or_default()
    }
}

/// Outside text made fit for a message: printable, one line, at most 48 characters.
pub(super) fn shorten(text: &str) -> String {
    const MOST: usize = 48;
    let mut short: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST).collect();
    if text.chars().nth(MOST).is_some() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let text = "a = 1\nüb = 2\r\nc";
        let lines = Lines::of(text);
        let position = |offset| lines.position(offset);
        assert_eq!(position(0), (1, 1));
        assert_eq!(position(4), (1, 5));
        assert_eq!(position(6), (2, 1));
        assert_eq!(position(text.find('b').unwrap()), (2, 2));
        assert_eq!(position(text.find('c').unwrap()), (3, 1));
        assert_eq!(position(1000), (3, 2));
        assert_eq!(lines.text(2), "üb = 2");
        assert_eq!(Lines::of("").position(0), (1, 1));
    }
}
