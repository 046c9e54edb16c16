//! A body of lines (NDJSON), read as it arrives: whole lines are handed on at once and forgotten.
//!
//! Promises: never more in memory than one line and what came with it, however long the body; a body that turns out not
//! to be lines is given back as a whole, under the limit of such bodies.

use crate::http::body::{Body, Budget, Whole};
use crate::http::problem::{Problem, problem};
use crate::limits;
use serde_json::value::RawValue;

/// What a body was.
pub(super) enum Came<'b> {
    /// Lines, which have all been handed on.
    Lines,
    /// Something else.
    Whole(Whole<'b>),
}

/// Hands on each piece of whole lines, with the number of lines before it. Without `said_lines` the body is looked at
/// first: it consists of lines when its first one is a whole object.
///
/// # Errors
/// Those of `take` and of reading; 413 for a line that is too long, 400 when nothing came.
pub(super) fn read<'b>(
    body: &mut Body<'_>,
    said_lines: bool,
    bodies: &'b Budget,
    mut take: impl FnMut(&[u8], usize) -> Result<(), Problem>,
) -> Result<Came<'b>, Problem> {
    let mut buffer = Vec::new();
    let mut line = 0;
    let mut sure = said_lines;
    loop {
        let ended = body.read(&mut buffer)? == 0;
        let whole = if ended {
            buffer.len()
        } else {
            buffer.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1)
        };
        if !sure && !starts_with_an_object_on_a_line(&buffer, whole, ended) {
            if whole == 0 && !ended && buffer.len() <= limits::LINE_BYTES && !buffer.starts_with(b"[") {
                continue;
            }
            return body.whole_after(buffer, limits::BODY_BYTES, bodies).map(Came::Whole);
        }
        sure |= whole > 0;
        if whole > 0 {
            let text = &buffer[..whole];
            take(text, line)?;
            line += text.split_inclusive(|b| *b == b'\n').count();
            buffer.drain(..whole);
        }
        if buffer.len() > limits::LINE_BYTES {
            return Err(problem(
                413,
                "line_too_long",
                "Line too long",
                format!("line {} has more than {} bytes", line + 1, limits::LINE_BYTES),
            )
            .with("line", line + 1));
        }
        if ended {
            return if line == 0 { Err(nothing()) } else { Ok(Came::Lines) };
        }
    }
}

/// The lines that say something, each with its number from 1; `before` are those before this text.
pub(super) fn each(text: &[u8], before: usize) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = text.split_inclusive(|b| *b == b'\n').enumerate();
    lines.filter(|(_, line)| !line.trim_ascii().is_empty()).map(move |(n, line)| (before + n + 1, line))
}

/// Whether a body that does not say what it is consists of lines: its first line is a whole JSON object.
fn starts_with_an_object_on_a_line(buffer: &[u8], whole: usize, ended: bool) -> bool {
    let first = buffer[..whole].split(|b| *b == b'\n').find(|l| !l.trim_ascii().is_empty());
    match first {
        Some(line) => {
            line.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<&RawValue>(line).is_ok()
        }
        None => ended,
    }
}

/// The answer to an empty body.
pub(super) fn nothing() -> Problem {
    problem(
        400,
        "empty_body",
        "Empty body",
        "the body is empty; expected an event, an array of events, or an event a line",
    )
}
