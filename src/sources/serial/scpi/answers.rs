//! Bytes into answers, and answers into values. Pure.
//!
//! **Promises.** An answer is a line with its blocks taken out; whatever comes is bounded, and what is not understood is
//! never a value. Sources: as of the module above.

use super::super::protocol::Action;
use crate::config::ScpiChannel;
use crate::limits;
use crate::model::QualityReason;
use crate::sources::reading::Value;

/// The longest answer that a manual query gives back, in characters.
const SHOWN: usize = 1000;

/// The value that a channel takes from an answer.
pub(super) fn value_of(channel: &ScpiChannel, answer: &Answer, part: Option<u32>) -> Result<Value, String> {
    let piece = match part {
        None => answer.line.as_slice(),
        Some(n) => {
            parts(&answer.line).into_iter().nth(n as usize).ok_or_else(|| format!("has no part {n}"))?
        }
    };
    if answer.overlong {
        return Err(format!("is longer than {} bytes", limits::SERIAL_LINE));
    }
    if let Some(before) = piece.iter().position(|b| *b == BLOCK) {
        // Blocks are numbered over the whole answer.
        let start = piece.as_ptr() as usize - answer.line.as_ptr() as usize + before;
        let n = answer.line.iter().take(start).filter(|b| **b == BLOCK).count();
        let block = answer.blocks.get(n).ok_or("has a broken block")?;
        return match block {
            Block { whole: true, data } => Ok(match printable(data) {
                Some(text) => scaled(channel, Value::text(&text)),
                None => Value::Number(data.len() as f64),
            }),
            Block { whole: false, .. } => {
                Err(format!("has a block of more than {} bytes", limits::SCPI_BLOCK))
            }
        };
    }
    if channel.block {
        return Err("is not a block".into());
    }
    let text = printable(piece).ok_or("is not text")?;
    let text = text.trim();
    let text = ['"', '\''].iter().find_map(|q| text.strip_prefix(*q)?.strip_suffix(*q)).unwrap_or(text);
    let number = number_in(text);
    let same = |key: &str| {
        key.eq_ignore_ascii_case(text) || number.zip(key.parse::<f64>().ok()).is_some_and(|(a, b)| a == b)
    };
    if let Some((_, word)) = channel.words.iter().find(|(key, _)| same(key)) {
        return Ok(Value::text(word));
    }
    if text.is_empty() {
        return Err("is empty".into());
    }
    let wants_number = channel.unit.is_some() || channel.scale != 1.0 || channel.offset != 0.0;
    match number {
        Some(number) => Ok(scaled(channel, Value::number(number))),
        None if wants_number => {
            // A unit behind the number, as meters for people have it: `12.05 VDC`.
            let end = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || matches!(c, ' ' | '%'));
            match number_in(end) {
                Some(number) if text.len() - end.len() <= 8 => Ok(scaled(channel, Value::number(number))),
                _ => Err("is no number".into()),
            }
        }
        None => Ok(Value::Text(text.to_string())),
    }
}

fn scaled(channel: &ScpiChannel, value: Value) -> Value {
    match value {
        Value::Number(number) => {
            let number = number * channel.scale + channel.offset;
            if number.is_finite() { Value::Number(number) } else { Value::Missing(QualityReason::Overrange) }
        }
        other => other,
    }
}

/// A decimal number, or one that is not: `#HFF`, `#Q17`, `#B101`.
fn number_in(text: &str) -> Option<f64> {
    let radix = |digits: &str, radix| u64::from_str_radix(digits, radix).ok().map(|n| n as f64);
    let text = text.trim();
    let based = text.strip_prefix('#').and_then(|rest| {
        let digits = rest.get(1..)?;
        match rest.as_bytes().first()? {
            b'H' | b'h' => radix(digits, 16),
            b'Q' | b'q' => radix(digits, 8),
            b'B' | b'b' => radix(digits, 2),
            _ => None,
        }
    });
    based.or_else(|| text.parse::<f64>().ok())
}

/// The parts of `1;2;3`, or without a semicolon of `1,2,3`; not inside quotes.
fn parts(line: &[u8]) -> Vec<&[u8]> {
    let split = |by: u8| {
        let mut quoted = false;
        line.split(move |b| {
            quoted ^= *b == b'"';
            !quoted && *b == by
        })
        .collect::<Vec<_>>()
    };
    let all = split(b';');
    if all.len() > 1 { all } else { split(b',') }
}

/// As text, if it is; tabs are.
pub(super) fn printable(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.contains(|c: char| c.is_control() && c != '\t')).then(|| text.to_string())
}

/// Stands for a block within a line.
pub(super) const BLOCK: u8 = 0;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    pub data: Vec<u8>,
    /// It was within the bound.
    pub whole: bool,
}

/// A line, with its blocks taken out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Answer {
    /// [`BLOCK`] stands where a block was.
    pub line: Vec<u8>,
    pub blocks: Vec<Block>,
    pub overlong: bool,
    /// Bytes of blocks that were too long.
    pub skipped: usize,
}

impl Answer {
    pub(super) fn text(&self) -> Option<String> {
        let text = printable(&self.line)?.trim().to_string();
        (!text.is_empty()).then_some(text)
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        let mut blocks = self.blocks.iter();
        let mut out = String::new();
        for c in String::from_utf8_lossy(&self.line).chars() {
            match (c, blocks.as_slice()) {
                ('\0', [_, ..]) => {
                    let Some(block) = blocks.next() else { continue };
                    match printable(&block.data) {
                        Some(text) if block.whole => out.push_str(&text),
                        _ => {
                            let size = if block.whole { block.data.len() } else { self.skipped };
                            out.push_str(&format!("(block of {size} bytes)"));
                        }
                    }
                }
                (c, _) if c.is_control() && c != '\t' => out.extend(c.escape_debug()),
                (c, _) => out.push(c),
            }
        }
        out.chars().take(SHOWN).collect()
    }

    pub(super) fn bad(&self, why: &str) -> Action {
        Action::Bad { line: self.line.clone(), why: why.to_string() }
    }
}

/// Bytes into answers.
#[derive(Debug)]
pub(super) struct Answers {
    end: Vec<u8>,
    answer: Answer,
    mode: Mode,
    quoted: bool,
    /// Bytes since the last answer.
    heard: usize,
}

#[derive(Debug, PartialEq)]
enum Mode {
    Text,
    /// After a `#` where a block may begin.
    Hash,
    /// Digits of the length.
    Length {
        digits: u32,
        length: usize,
    },
    /// What is left of a block; kept, or too long for that.
    Data {
        left: usize,
        kept: bool,
    },
    /// `#0`: to the end of the line.
    Rest,
}

impl Answers {
    pub(super) fn new(end: &str) -> Self {
        let end = if end.is_empty() { b"\n".to_vec() } else { end.as_bytes().to_vec() };
        Answers { end, answer: Answer::default(), mode: Mode::Text, quoted: false, heard: 0 }
    }

    /// Forgets what was half heard.
    pub(super) fn begin(&mut self) {
        self.answer = Answer::default();
        self.mode = Mode::Text;
        self.quoted = false;
        self.heard = 0;
    }

    pub(super) fn heard(&self) -> usize {
        self.heard
    }

    pub(super) fn half(&self) -> &[u8] {
        self.answer.line.get(..self.answer.line.len().min(limits::BAD_LINE)).unwrap_or_default()
    }

    /// It talks on without an end, so that waiting for one is no use.
    pub(super) fn is_endless(&self) -> bool {
        self.answer.overlong || self.heard > limits::SCPI_SKIP
    }

    pub(super) fn feed(&mut self, byte: u8) -> Option<Answer> {
        self.heard += 1;
        match &mut self.mode {
            Mode::Data { left, kept } => {
                *left = left.saturating_sub(1);
                let over = *left == 0;
                if *kept {
                    if let Some(block) = self.answer.blocks.last_mut() {
                        block.data.push(byte);
                    }
                } else {
                    self.answer.skipped += 1;
                }
                if over {
                    self.mode = Mode::Text;
                }
                return None;
            }
            Mode::Rest => {
                let Some(block) = self.answer.blocks.last_mut() else {
                    self.mode = Mode::Text;
                    return None;
                };
                if block.data.len() >= limits::SCPI_BLOCK + self.end.len() {
                    block.whole = false;
                    self.answer.skipped += block.data.len() - self.end.len();
                    block.data.drain(..block.data.len() - self.end.len());
                }
                block.data.push(byte);
                if block.data.ends_with(&self.end) {
                    block.data.truncate(block.data.len() - self.end.len());
                    if self.end == b"\n" && block.data.last() == Some(&b'\r') {
                        block.data.pop();
                    }
                    if !block.whole {
                        self.answer.skipped += block.data.len();
                        block.data.clear();
                    }
                    return Some(self.finish());
                }
                return None;
            }
            Mode::Length { digits, length } => {
                if let Some(digit) = (byte as char).to_digit(10) {
                    *length = *length * 10 + digit as usize;
                    *digits -= 1;
                    if *digits > 0 {
                        return None;
                    }
                    let (left, kept) = (*length, *length <= limits::SCPI_BLOCK);
                    self.answer.line.push(BLOCK);
                    self.answer.blocks.push(Block { data: Vec::new(), whole: kept });
                    self.mode = match left {
                        0 => Mode::Text,
                        _ if left > limits::SCPI_SKIP || self.answer.blocks.len() > limits::FIELDS => {
                            // A header that lies: what follows is read as text, and is a fault.
                            self.answer.overlong = true;
                            Mode::Text
                        }
                        _ => Mode::Data { left, kept },
                    };
                    return None;
                }
                // Not a block after all.
                self.answer.line.extend_from_slice(b"#?");
                self.mode = Mode::Text;
            }
            Mode::Hash => {
                self.mode = Mode::Text;
                match byte {
                    b'0' => {
                        self.answer.line.push(BLOCK);
                        self.answer.blocks.push(Block { data: Vec::new(), whole: true });
                        self.mode = Mode::Rest;
                        return None;
                    }
                    b'1'..=b'9' => {
                        self.mode = Mode::Length { digits: u32::from(byte - b'0'), length: 0 };
                        return None;
                    }
                    _ => self.answer.line.push(b'#'),
                }
            }
            Mode::Text => {}
        }
        self.text(byte)
    }

    fn text(&mut self, byte: u8) -> Option<Answer> {
        let line = &mut self.answer.line;
        let before = line.iter().rev().find(|b| **b != b' ');
        if byte == b'#' && !self.quoted && matches!(before, None | Some(b';' | b',')) {
            self.mode = Mode::Hash;
            return None;
        }
        // A zero on the line is what switching a device on sounds like, and our own sign for a block.
        if byte == BLOCK {
            return None;
        }
        self.quoted ^= byte == b'"';
        line.push(byte);
        if line.ends_with(&self.end) {
            line.truncate(line.len() - self.end.len());
            if self.end == b"\n" && line.last() == Some(&b'\r') {
                line.pop();
            }
            while line.first().is_some_and(|b| matches!(b, b'\r' | b'\n')) {
                line.remove(0);
            }
            if line.is_empty() && !self.answer.overlong {
                self.begin();
                return None;
            }
            return Some(self.finish());
        }
        if line.len() > limits::SERIAL_LINE {
            self.answer.overlong = true;
            let keep = self.end.len();
            line.drain(..line.len() - keep);
            self.answer.blocks.clear();
        }
        None
    }

    fn finish(&mut self) -> Answer {
        let answer = std::mem::take(&mut self.answer);
        self.begin();
        answer
    }
}
