//! What rows are in short: the extremes of every number column, with where they are. The pyramid of a measurement is made
//! of these: a block's head has one of its 256 rows, a row of the next level sixteen of those, and so on. Pure.
//!
//! ```text
//! head    names varint | (length varint, name)* | entries varint | entry*
//! entry   first varint | rows varint | has_times u8 | when 1: t_first f64 | t_last f64 | t_longest f64 | span* (one a name)
//! span    n varint | when n > 0: min f64 | max f64 | first f64 | last f64 | min_at varint | max_at varint, both from `first`
//! ```

use super::chunk::Chunk;
use super::columns::{cut, put, take};

const MOST_NAMES: u64 = 4_096;
const MOST_ENTRIES: u64 = 256;

/// A number column in a stretch of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// How many numbers.
    pub n: u64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The first.
    pub first: f64,
    /// The last.
    pub last: f64,
    /// The index of the first that is the least.
    pub min_at: u64,
    /// The index of the first that is the greatest.
    pub max_at: u64,
}

impl Span {
    fn add(&mut self, index: u64, value: f64) {
        self.n += 1;
        self.last = value;
        if value < self.min {
            (self.min, self.min_at) = (value, index);
        }
        if value > self.max {
            (self.max, self.max_at) = (value, index);
        }
    }

    fn join(&mut self, next: &Span) {
        self.n += next.n;
        self.last = next.last;
        if next.min < self.min {
            (self.min, self.min_at) = (next.min, next.min_at);
        }
        if next.max > self.max {
            (self.max, self.max_at) = (next.max, next.max_at);
        }
    }
}

/// The `t_rel` of a stretch of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Times {
    /// Of the first row that has one.
    pub first: f64,
    /// Of the last.
    pub last: f64,
    /// The longest from one row to the next.
    pub longest: f64,
}

/// A stretch of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// The index of the first.
    pub first: u64,
    /// How many.
    pub rows: u64,
    /// Their `t_rel`.
    pub times: Option<Times>,
    /// The columns that have a number.
    pub spans: Vec<(Box<str>, Span)>,
}

impl Summary {
    /// Of the rows at the places `from..to` of a chunk; none of no rows.
    pub fn of(chunk: &Chunk, from: usize, to: usize) -> Option<Summary> {
        let labels = chunk.labels.get(from..to).filter(|labels| !labels.is_empty())?;
        let mut times: Option<Times> = None;
        for t in labels.iter().filter_map(|l| l.t_rel) {
            match &mut times {
                None => times = Some(Times { first: t, last: t, longest: 0.0 }),
                Some(times) => {
                    times.longest = times.longest.max((t - times.last).min(f64::MAX));
                    times.last = t;
                }
            }
        }
        let mut spans = Vec::new();
        for (name, cells) in &chunk.columns {
            let mut span: Option<Span> = None;
            for (place, cell) in cells.iter().enumerate().take(to).skip(from) {
                let Some(value) = cell.number() else { continue };
                let index = chunk.first + place as u64;
                match &mut span {
                    None => {
                        let (min, max, first, last) = (value, value, value, value);
                        span = Some(Span { n: 1, min, max, first, last, min_at: index, max_at: index });
                    }
                    Some(span) => span.add(index, value),
                }
            }
            if let Some(span) = span {
                spans.push((name.clone(), span));
            }
        }
        Some(Summary { first: chunk.first + from as u64, rows: labels.len() as u64, times, spans })
    }

    /// The index after the last row.
    pub fn end(&self) -> u64 {
        self.first + self.rows
    }

    /// The column of this name.
    pub fn span(&self, name: &str) -> Option<&Span> {
        self.spans.iter().find(|(n, _)| **n == *name).map(|(_, span)| span)
    }

    /// Lets go of all columns but these.
    pub fn keep(&mut self, columns: &[&str]) {
        self.spans.retain(|(name, _)| columns.contains(&&**name));
        self.spans.shrink_to_fit();
    }

    /// Takes in the stretch that follows.
    pub fn join(&mut self, next: &Summary) {
        self.rows = next.end().saturating_sub(self.first);
        self.times = match (self.times, next.times) {
            (Some(a), Some(b)) => {
                let between = a.longest.max(b.longest).max((b.first - a.last).min(f64::MAX));
                Some(Times { first: a.first, last: b.last, longest: between })
            }
            (a, b) => a.or(b),
        };
        for (name, span) in &next.spans {
            match self.spans.iter_mut().find(|(n, _)| n == name) {
                Some((_, mine)) => mine.join(span),
                None => self.spans.push((name.clone(), *span)),
            }
        }
    }
}

/// Stretches that follow each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Head {
    /// In order.
    pub entries: Vec<Summary>,
}

impl Head {
    /// Of these.
    pub fn of(entries: Vec<Summary>) -> Head {
        Head { entries }
    }

    /// All of them as one.
    pub fn whole(self) -> Option<Summary> {
        let mut entries = self.entries.into_iter();
        let mut first = entries.next()?;
        entries.for_each(|next| first.join(&next));
        Some(first)
    }

    /// Appends its bytes.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in self.entries.iter().flat_map(|e| &e.spans) {
            if !names.contains(&&**name) {
                names.push(name);
            }
        }
        put(out, names.len() as u64);
        for name in &names {
            put(out, name.len() as u64);
            out.extend(name.as_bytes());
        }
        put(out, self.entries.len() as u64);
        for entry in &self.entries {
            put(out, entry.first);
            put(out, entry.rows);
            out.push(u8::from(entry.times.is_some()));
            if let Some(t) = entry.times {
                [t.first, t.last, t.longest].iter().for_each(|x| out.extend(x.to_le_bytes()));
            }
            for name in &names {
                let span = entry.span(name);
                put(out, span.map_or(0, |s| s.n));
                if let Some(s) = span {
                    [s.min, s.max, s.first, s.last].iter().for_each(|x| out.extend(x.to_le_bytes()));
                    put(out, s.min_at.saturating_sub(entry.first));
                    put(out, s.max_at.saturating_sub(entry.first));
                }
            }
        }
    }

    /// Reads them; none when the bytes are not of [`Head::write`].
    pub(super) fn read(mut from: &[u8]) -> Option<Head> {
        let from = &mut from;
        let count = take(from)?;
        if count > MOST_NAMES {
            return None;
        }
        let mut names = Vec::new();
        for _ in 0..count {
            let length = take(from)? as usize;
            names.push(std::str::from_utf8(cut(from, length)?).ok()?);
        }
        let count = take(from)?;
        if count > MOST_ENTRIES {
            return None;
        }
        let float = |from: &mut &[u8]| {
            Some(f64::from_le_bytes(cut(from, 8)?.try_into().ok()?)).filter(|x| x.is_finite())
        };
        let mut entries = Vec::new();
        for _ in 0..count {
            let (first, rows) = (take(from)?, take(from)?);
            if first > u64::MAX / 2 || rows > u64::MAX / 4 {
                return None;
            }
            let times = match *cut(from, 1)? {
                [0] => None,
                _ => Some(Times { first: float(from)?, last: float(from)?, longest: float(from)? }),
            };
            let mut spans = Vec::new();
            for name in &names {
                let n = take(from)?;
                if n > 0 {
                    let (min, max, start, last) = (float(from)?, float(from)?, float(from)?, float(from)?);
                    let (min_at, max_at) = (first.checked_add(take(from)?)?, first.checked_add(take(from)?)?);
                    spans.push(((*name).into(), Span { n, min, max, first: start, last, min_at, max_at }));
                }
            }
            entries.push(Summary { first, rows, times, spans });
        }
        Some(Head { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use crate::store::chunk::{Cell, Label};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn joined_parts_are_the_whole(
            values in proptest::collection::vec(proptest::option::of(-1e9..1e9_f64), 1..200),
            cut in 1_usize..50,
        ) {
            let mut chunk = Chunk::at(1);
            for (n, value) in values.iter().enumerate() {
                let label = Label { at: Wall(0), t_rel: Some((n * n) as f64), late_ms: None, quality: None };
                chunk.push(label, [("v", value.map_or(Cell::Null, Cell::Float)), ("n", Cell::Whole(n as i64))]);
            }
            let whole = Summary::of(&chunk, 0, chunk.len()).unwrap();
            let parts: Vec<_> = (0..chunk.len()).step_by(cut).filter_map(|a| Summary::of(&chunk, a, (a + cut).min(chunk.len()))).collect();
            let mut bytes = Vec::new();
            Head::of(parts.clone()).write(&mut bytes);
            let read = Head::read(&bytes).unwrap();
            prop_assert_eq!(&read.entries.len(), &parts.len());
            let mut joined = read.whole().unwrap();
            joined.spans.sort_by(|a, b| a.0.cmp(&b.0));
            let mut expected = whole;
            expected.spans.sort_by(|a, b| a.0.cmp(&b.0));
            prop_assert_eq!(joined, expected);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = Head::read(&bytes);
        }
    }
}
