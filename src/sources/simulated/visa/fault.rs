//! What is wrong with a device file, and where.

use saphyr_parser::Span;
use std::fmt;
use std::path::{Path, PathBuf};

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl At {
    /// Where a file begins.
    pub const START: At = At { line: 1, column: 1 };

    /// Where a span of the parser begins.
    pub fn of(span: Span) -> At {
        At { line: span.start.line(), column: span.start.col() + 1 }
    }

    /// A fault here.
    pub fn fault(self, text: impl Into<String>) -> Fault {
        Fault { file: None, at: Some(self), text: text.into() }
    }
}

/// One fault of a file; reads as `file:line:column: what is wrong`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which file, once that is known.
    pub file: Option<PathBuf>,
    /// Where in it; none when it can't be read at all.
    pub at: Option<At>,
    /// One sentence.
    pub text: String,
}

impl Fault {
    /// The same fault, in this file.
    pub fn of(mut self, file: &Path) -> Fault {
        self.file.get_or_insert_with(|| file.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
        }
        if let Some(At { line, column }) = self.at {
            write!(f, "{line}:{column}:")?;
        }
        if self.file.is_some() || self.at.is_some() {
            f.write_str(" ")?;
        }
        f.write_str(&self.text)
    }
}

impl std::error::Error for Fault {}
