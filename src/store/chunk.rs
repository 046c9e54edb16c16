//! Rows of one measurement of a scan, a column each, and the bytes of a block of them. Pure, and exact: what is read is
//! what was written, to the sign of a zero.
//!
//! ```text
//! block    version u8: 1 | head_len varint | head (`summary`) | first varint | rows varint | columns varint | column* (`columns`)
//! columns  the time at the source in milliseconds | t_rel | late_ms | quality, JSON | then those of the measurement
//! ```

use super::columns::{self, Place, Read, cut, put, take};
use super::summary::{Head, Summary};
use crate::clock::Wall;
use serde_json::{Number, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Rows of a block; a block holds the rows `n * BLOCK` to `n * BLOCK + 255`.
pub const BLOCK: u64 = 256;
const VERSION: u8 = 1;
/// Columns before those of the measurement.
const OWN: usize = 4;
/// The most columns that are read of a block.
const MOST_COLUMNS: u64 = 4_096;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Null, or the row has it not: the same here.
    Null,
    /// A number without a point, less than 2^53.
    Whole(i64),
    /// A number.
    Float(f64),
    /// Text, a flag, an array, or a larger whole number: as JSON.
    Json(Box<str>),
}

impl Cell {
    /// The cell of a JSON value.
    pub fn of(value: &Value) -> Cell {
        match value {
            Value::Null => Cell::Null,
            Value::Number(n) => match n.as_i64() {
                Some(whole) if whole.unsigned_abs() < 1 << 53 => Cell::Whole(whole),
                None if n.is_f64() => n.as_f64().map_or(Cell::Null, Cell::Float),
                _ => Cell::Json(n.to_string().into()),
            },
            other => Cell::Json(other.to_string().into()),
        }
    }

    /// The value as JSON.
    pub fn json(&self) -> Value {
        match self {
            Cell::Null => Value::Null,
            Cell::Whole(n) => (*n).into(),
            Cell::Float(x) => Number::from_f64(*x).map_or(Value::Null, Value::Number),
            Cell::Json(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        }
    }

    /// The same as text.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Cell::Null => "null".into(),
            Cell::Whole(n) => n.to_string().into(),
            // What is not finite has no JSON.
            Cell::Float(x) => Number::from_f64(*x).map_or("null".into(), |n| n.to_string().into()),
            Cell::Json(text) => Cow::Borrowed(text),
        }
    }

    /// The number, where it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Cell::Whole(n) => Some(*n as f64),
            Cell::Float(x) => Some(*x),
            _ => None,
        }
    }

    /// Whether it says the same: 1 and 1.0 do.
    pub fn says(&self, other: &Cell) -> bool {
        self == other || (self.number().is_some() && self.number() == other.number())
    }
}

/// What a row has besides its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// When it was true at the source.
    pub at: Wall,
    /// Seconds since the scan's start; finite.
    pub t_rel: Option<f64>,
    /// How late it was measured.
    pub late_ms: Option<u64>,
    /// Qualities that are not good, as a JSON object by column.
    pub quality: Option<Box<str>>,
}

/// Rows that follow each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chunk {
    /// The index of the first.
    pub first: u64,
    /// What the rows have besides values.
    pub labels: Vec<Label>,
    /// The columns by name; each has as many cells as there are labels.
    pub columns: Vec<(Box<str>, Vec<Cell>)>,
}

impl Chunk {
    /// No rows yet; the next has this index.
    pub fn at(first: u64) -> Chunk {
        Chunk { first, ..Chunk::default() }
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The index after the last.
    pub fn end(&self) -> u64 {
        self.first + self.labels.len() as u64
    }

    /// Appends a row. Columns it does not name are null in it; columns it is the first to name were null before.
    pub fn push<'a>(&mut self, label: Label, cells: impl IntoIterator<Item = (&'a str, Cell)>) {
        let rows = self.labels.len();
        self.labels.push(label);
        for (name, cell) in cells {
            let at = match self.columns.iter().position(|(n, _)| **n == *name) {
                Some(at) => at,
                None => {
                    self.columns.push((name.into(), vec![Cell::Null; rows]));
                    self.columns.len() - 1
                }
            };
            if let Some((_, column)) = self.columns.get_mut(at) {
                column.truncate(rows);
                column.push(cell);
            }
        }
        for (_, column) in &mut self.columns {
            column.resize(rows + 1, Cell::Null);
        }
    }

    /// Takes the last rows off again, from this index on.
    pub fn cut(&mut self, index: u64) {
        let rows = index.saturating_sub(self.first) as usize;
        self.labels.truncate(rows);
        self.columns.iter_mut().for_each(|(_, column)| column.truncate(rows));
    }

    /// The rows from `from` up to before `to`.
    pub fn part(&self, from: u64, to: u64) -> Chunk {
        let begin = from.clamp(self.first, self.end());
        let (a, b) = ((begin - self.first) as usize, (to.clamp(begin, self.end()) - self.first) as usize);
        let cells = |column: &Vec<Cell>| column.get(a..b).unwrap_or_default().to_vec();
        Chunk {
            first: begin,
            labels: self.labels.get(a..b).unwrap_or_default().to_vec(),
            columns: self.columns.iter().map(|(name, column)| (name.clone(), cells(column))).collect(),
        }
    }

    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&[Cell]> {
        self.columns.iter().find(|(n, _)| **n == *name).map(|(_, cells)| cells.as_slice())
    }

    /// The cell of a row, by its place in the chunk.
    pub fn cell(&self, name: &str, row: usize) -> &Cell {
        self.column(name).and_then(|cells| cells.get(row)).unwrap_or(&Cell::Null)
    }

    /// Memory that it takes, about.
    pub fn bytes(&self) -> usize {
        let json = |cell: &Cell| if let Cell::Json(text) = cell { text.len() } else { 0 };
        let column = |cells: &Vec<Cell>| {
            std::mem::size_of_val(cells.as_slice()) + cells.iter().map(json).sum::<usize>()
        };
        std::mem::size_of_val(self.labels.as_slice())
            + self.columns.iter().map(|(name, cells)| name.len() + 40 + column(cells)).sum::<usize>()
    }

    /// Memory that one row takes, about.
    pub fn row_bytes(&self, row: usize) -> usize {
        let json = |cell: &Cell| if let Cell::Json(text) = cell { text.len() } else { 0 };
        let cells = self.columns.iter().filter_map(|(_, cells)| cells.get(row));
        std::mem::size_of::<Label>() + cells.map(|c| std::mem::size_of::<Cell>() + json(c)).sum::<usize>()
    }

    /// The bytes of a block of these rows.
    pub(super) fn encode(&self) -> Vec<u8> {
        let rows = self.len();
        let mut out = vec![VERSION];
        let mut head = Vec::new();
        Head::of(Summary::of(self, 0, rows).into_iter().collect()).write(&mut head);
        put(&mut out, head.len() as u64);
        out.extend(head);
        put(&mut out, self.first);
        put(&mut out, rows as u64);
        put(&mut out, (OWN + self.columns.len()) as u64);
        let at: Vec<Cell> = self.labels.iter().map(|l| Cell::Whole(l.at.0.min(1 << 52) as i64)).collect();
        let t_rel: Vec<Cell> = self.labels.iter().map(|l| l.t_rel.map_or(Cell::Null, Cell::Float)).collect();
        let late = |l: &Label| l.late_ms.map_or(Cell::Null, |ms| Cell::Whole(ms.min(1 << 52) as i64));
        let late: Vec<Cell> = self.labels.iter().map(late).collect();
        let quality = |l: &Label| l.quality.clone().map_or(Cell::Null, Cell::Json);
        let quality: Vec<Cell> = self.labels.iter().map(quality).collect();
        for (name, cells) in [("", &at), ("", &t_rel), ("", &late), ("", &quality)]
            .into_iter()
            .chain(self.columns.iter().map(|(name, cells)| (&**name, cells)))
        {
            let texts: Vec<Cow<'_, str>> = cells.iter().map(Cell::text).collect();
            let texts: Vec<Option<&str>> = texts.iter().map(|text| Some(&**text)).collect();
            // Names are at most 200 bytes: checked when a measurement is declared.
            let _ = columns::column(&mut out, name, &texts, Place::Rows);
        }
        out
    }

    /// The rows of a block; none when the bytes are not of one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Chunk> {
        let mut from = body(bytes)?;
        let (first, rows, count) = (take(&mut from)?, take(&mut from)?, take(&mut from)?);
        if rows > BLOCK || count > MOST_COLUMNS || first > u64::MAX / 2 {
            return None;
        }
        let rows = rows as usize;
        let read = |from: &mut &[u8]| {
            let (name, cells) = columns::read_column(from, rows, cell)?;
            Some((Box::<str>::from(name), cells))
        };
        let (at, t_rel, late, quality) =
            (read(&mut from)?.1, read(&mut from)?.1, read(&mut from)?.1, read(&mut from)?.1);
        let mut labels = Vec::with_capacity(rows);
        for (((at, t_rel), late), quality) in at.iter().zip(&t_rel).zip(&late).zip(quality) {
            let whole = |cell: &Cell| if let Cell::Whole(n) = cell { u64::try_from(*n).ok() } else { None };
            let quality = if let Cell::Json(text) = quality { Some(text) } else { None };
            labels.push(Label { at: Wall(whole(at)?), t_rel: t_rel.number(), late_ms: whole(late), quality });
        }
        let mut columns = Vec::new();
        for _ in OWN as u64..count {
            columns.push(read(&mut from)?);
        }
        Some(Chunk { first, labels, columns })
    }

    /// Qualities of a row, by its place.
    pub fn quality(&self, row: usize) -> BTreeMap<String, String> {
        let text = self.labels.get(row).and_then(|l| l.quality.as_deref());
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }
}

/// The head of a block, without unpacking its rows.
pub(super) fn head(bytes: &[u8]) -> Option<Head> {
    let (&version, mut from) = bytes.split_first()?;
    let length = take(&mut from)? as usize;
    (version == VERSION).then(|| Head::read(cut(&mut from, length)?)).flatten()
}

/// What follows the head.
fn body(bytes: &[u8]) -> Option<&[u8]> {
    let (&version, mut from) = bytes.split_first()?;
    let length = take(&mut from)? as usize;
    cut(&mut from, length)?;
    (version == VERSION).then_some(from)
}

fn cell(read: Read<'_>) -> Option<Cell> {
    Some(match read {
        Read::Missing | Read::Null => Cell::Null,
        Read::Whole(n) => Cell::Whole(n),
        Read::Time(ms) => Cell::Json(format!("\"{}\"", Wall(u64::try_from(ms).ok()?).rfc3339()).into()),
        Read::Decimal(n, digits) => Cell::Float(columns::decimal_value(n, digits)),
        Read::Float(x) if x.is_finite() => Cell::Float(x),
        Read::Float(_) => Cell::Null,
        Read::Text(text) => Cell::Json(text.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn label(n: u64) -> Label {
        Label {
            at: Wall(1_767_799_800_000 + n * 100),
            t_rel: Some(n as f64 / 10.0),
            late_ms: None,
            quality: None,
        }
    }

    fn any_number() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>().prop_filter("finite", |x| x.is_finite()),
            (-1_000_000_i64..1_000_000).prop_map(|n| n as f64 / 1000.0),
            Just(-0.0),
            Just(0.0),
            Just(f64::MIN_POSITIVE / 4.0),
            Just(f64::MAX),
            Just(9_007_199_254_740_993.0),
        ]
    }

    fn any_cell() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any_number().prop_map(|x| json!(x)),
            any::<i64>().prop_map(|n| json!(n)),
            any::<u64>().prop_map(|n| json!(n)),
            (-50_i64..50).prop_map(|n| json!(n)),
            any::<bool>().prop_map(|b| json!(b)),
            ".{0,12}".prop_map(|text| json!(text)),
            Just(json!("2026-01-07T15:30:00Z")),
            Just(json!("2026-01-07T15:30:00.412Z")),
            proptest::collection::vec(any_number(), 0..4).prop_map(|list| json!(list)),
        ]
    }

    fn same(a: &Value, b: &Value) -> bool {
        match (a.as_f64(), b.as_f64()) {
            (Some(x), Some(y)) if a.is_f64() && b.is_f64() => x.to_bits() == y.to_bits(),
            _ => a == b,
        }
    }

    proptest! {
        #[test]
        fn any_cells_come_back_as_they_were(
            column in proptest::collection::vec(any_cell(), 1..60),
            numbers in proptest::collection::vec(any_number(), 1..60),
            mixed in proptest::collection::vec(prop_oneof![(-99_i64..99).prop_map(|n| json!(n)), (-99_i64..99).prop_map(|n| json!(n as f64 / 8.0))], 1..60),
            first in 0_u64..1_000_000,
        ) {
            let mut chunk = Chunk::at(first);
            let rows = column.len().min(numbers.len()).min(mixed.len());
            for row in 0..rows {
                let label = Label {
                    at: Wall(row as u64 * 7), t_rel: (row % 3 != 0).then_some(numbers[row]), late_ms: (row % 2 == 0).then_some(row as u64),
                    quality: (row % 5 == 0).then(|| "{\"a\":\"bad/nan\"}".into()),
                };
                chunk.push(label, [("any", Cell::of(&column[row])), ("number", Cell::of(&json!(numbers[row]))), ("mixed \"x\"", Cell::of(&mixed[row]))]);
            }
            let bytes = chunk.encode();
            let read = Chunk::decode(&bytes).unwrap();
            prop_assert_eq!(&read.labels, &chunk.labels);
            prop_assert_eq!((read.first, read.len()), (first, rows));
            for row in 0..rows {
                for (name, value) in [("any", &column[row]), ("number", &json!(numbers[row])), ("mixed \"x\"", &mixed[row])] {
                    let got = read.cell(name, row).json();
                    prop_assert!(same(&got, value), "{name} {row}: {got} is not {value}");
                }
            }
            let head = head(&bytes).unwrap();
            prop_assert_eq!(head.entries.len(), 1);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = (Chunk::decode(&bytes), head(&bytes));
            let mut block = vec![VERSION, 0];
            block.extend(&bytes);
            let _ = (Chunk::decode(&block), head(&block));
        }
    }

    #[test]
    fn a_row_of_a_scan_takes_a_few_bytes() {
        let mut chunk = Chunk::at(0);
        for n in 0..256_u64 {
            let volts = (n % 101) as f64 / 20.0;
            chunk.push(
                label(n),
                [
                    ("psu.voltage", Cell::Float(volts)),
                    ("dmm.current", Cell::Float((volts * 1.7 * 1000.0).round() / 1000.0)),
                ],
            );
        }
        let bytes = chunk.encode();
        assert!(bytes.len() < 256 * 10, "{}", bytes.len());
        assert_eq!(Chunk::decode(&bytes).unwrap(), chunk);
    }

    #[test]
    fn columns_that_come_and_go_are_null_elsewhere() {
        let mut chunk = Chunk::at(7);
        chunk.push(label(0), [("a", Cell::Whole(1))]);
        chunk.push(label(1), [("b", Cell::Whole(2))]);
        chunk.push(label(2), [("a", Cell::Whole(3)), ("b", Cell::Whole(4))]);
        assert_eq!(chunk.column("a").unwrap(), [Cell::Whole(1), Cell::Null, Cell::Whole(3)]);
        assert_eq!(chunk.column("b").unwrap(), [Cell::Null, Cell::Whole(2), Cell::Whole(4)]);
        let part = chunk.part(8, 9);
        assert_eq!((part.first, part.len(), part.cell("b", 0)), (8, 1, &Cell::Whole(2)));
        chunk.cut(8);
        assert_eq!((chunk.len(), chunk.end()), (1, 8));
    }
}
