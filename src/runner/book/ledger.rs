//! One scan's rows that are in memory: those that are in no block yet, and what is known of the others. No I/O.

use super::BookError;
use super::frames;
use crate::limits;
use crate::model::Topic;
use crate::runner::data::{Column, Row};
use crate::store::{BLOCK, Cell, Chunk, Label, Measured, Written};
use serde_json::Value as Json;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// A scan.
#[derive(Debug)]
pub(super) struct Ledger {
    pub topic: Topic,
    pub pages: BTreeMap<String, Page>,
    /// When rows were last told.
    pub last_frame: Option<Instant>,
    pub used: Instant,
    pub ended: bool,
    /// That it has ended is on the disk.
    pub end_written: bool,
    /// It was let go: who has it asks for it again.
    pub gone: bool,
}

/// A measurement.
#[derive(Debug)]
pub(super) struct Page {
    pub columns: Vec<Column>,
    pub declared: bool,
    /// The index of the first row, 0 or 1; none while there is no row.
    pub first: Option<u64>,
    /// The index of the next row.
    pub next: u64,
    /// Rows before this index have been told.
    pub told: u64,
    /// Rows before this index are in blocks.
    pub stored: u64,
    /// The rows from some block on, cut at the bounds of blocks; at least from `stored` on.
    /// Readers share them: one that is written while somebody reads it is copied first.
    pub chunks: VecDeque<Arc<Chunk>>,
    /// The seq of each frame that was told and whose rows are not all in blocks, and the index after its last row.
    pub seqs: VecDeque<(u64, u64)>,
    /// When rows were first told that are in no block.
    pub waits_since: Option<Instant>,
    /// The columns were declared and that is not on the disk.
    pub fresh: bool,
}

/// A row that was checked.
pub(super) struct Checked {
    pub index: Option<u64>,
    pub row: Row,
    pub cells: Vec<(Box<str>, Cell)>,
}

impl Checked {
    /// Memory that it takes, about.
    pub fn bytes(&self) -> usize {
        let json = |cell: &Cell| if let Cell::Json(text) = cell { text.len() } else { 0 };
        let cells = self.cells.iter().map(|(_, cell)| std::mem::size_of::<Cell>() + json(cell));
        std::mem::size_of::<Label>() + cells.sum::<usize>()
    }
}

impl Ledger {
    /// A scan as the disk knows it: what is there of each measurement, and the last block where that is not full.
    pub fn new(topic: Topic, known: Vec<(String, Measured, Option<Chunk>)>) -> Ledger {
        let ended = !known.is_empty() && known.iter().all(|(_, m, _)| m.ended);
        let pages = known.into_iter().map(|(name, measured, last)| {
            let columns = serde_json::from_value(measured.columns).unwrap_or_default();
            let page = Page {
                columns,
                declared: measured.declared,
                first: (measured.next > measured.first).then_some(measured.first),
                next: measured.next,
                told: measured.next,
                stored: measured.next,
                chunks: last.into_iter().map(Arc::new).collect(),
                seqs: VecDeque::new(),
                waits_since: None,
                fresh: false,
            };
            (name, page)
        });
        Ledger {
            topic,
            pages: pages.collect(),
            last_frame: None,
            used: Instant::now(),
            ended,
            end_written: ended,
            gone: false,
        }
    }

    /// The page of a measurement, new where there is none.
    pub fn page(&mut self, name: &str) -> Result<&mut Page, BookError> {
        if !self.pages.contains_key(name) {
            if name.is_empty() || name.len() > limits::COLUMN_NAME || name.chars().any(char::is_control) {
                let said = format!(
                    "a measurement is named {name:?}; expected 1 to {} bytes of plain text",
                    limits::COLUMN_NAME
                );
                return Err(BookError::Columns(said));
            }
            if self.pages.len() >= limits::MEASUREMENTS {
                let said = format!("there are {} measurements already; at most that many", self.pages.len());
                return Err(BookError::Columns(said));
            }
        }
        Ok(self.pages.entry(name.to_string()).or_insert_with(Page::empty))
    }

    /// Whether anything waits to be told.
    pub fn holds(&self) -> bool {
        self.pages.values().any(|page| page.told < page.next)
    }

    /// Whether all of it is on the disk.
    pub fn is_stored(&self) -> bool {
        self.pages.values().all(|p| p.stored == p.next && !p.fresh) && self.ended == self.end_written
    }

    /// The seq of the oldest frame that is not in blocks.
    pub fn oldest(&self) -> Option<u64> {
        self.pages.values().filter_map(|page| page.seqs.front().map(|(seq, _)| *seq)).min()
    }

    /// Memory of its rows that are in no block, about.
    pub fn fresh_bytes(&self) -> usize {
        let fresh = |page: &Page| -> usize {
            page.chunks.iter().filter(|c| c.end() > page.stored).map(|c| c.bytes()).sum()
        };
        self.pages.values().map(fresh).sum()
    }

    /// Memory of its rows, about.
    pub fn bytes(&self) -> usize {
        self.pages.values().flat_map(|p| &p.chunks).map(|c| c.bytes()).sum()
    }
}

impl Page {
    pub fn empty() -> Page {
        Page {
            columns: Vec::new(),
            declared: false,
            first: None,
            next: 0,
            told: 0,
            stored: 0,
            chunks: VecDeque::new(),
            seqs: VecDeque::new(),
            waits_since: None,
            fresh: false,
        }
    }

    /// Checks the values of a row against the columns; learns columns where they were not declared.
    pub fn check(&self, row: Row, learnt: &mut Vec<Column>) -> Result<Checked, BookError> {
        let mut cells = Vec::with_capacity(row.data.len());
        let mut bytes = row.quality.iter().map(|(a, b)| a.len() + b.len() + 8).sum::<usize>();
        for (name, value) in &row.data {
            let known = self.columns.iter().chain(learnt.iter()).find(|c| c.name == *name);
            match known {
                Some(column) if self.declared => fits(column, value)?,
                Some(_) => plain(name, value)?,
                None if self.declared => {
                    let names: Vec<&str> = self.columns.iter().map(|c| c.name.as_str()).collect();
                    return Err(BookError::Columns(format!(
                        "there is no column {name:?}; the columns are {}",
                        names.join(", ")
                    )));
                }
                None => {
                    plain(name, value)?;
                    named(name)?;
                    if self.columns.len() + learnt.len() >= limits::COLUMNS {
                        return Err(BookError::Columns(format!("more than {} columns", limits::COLUMNS)));
                    }
                    learnt.push(Column { name: name.clone(), dtype: kind_of(value), ..Column::default() });
                }
            }
            let cell = Cell::of(value);
            bytes += name.len() + 4 + if let Cell::Json(text) = &cell { text.len() } else { 24 };
            cells.push((name.as_str().into(), cell));
        }
        if bytes > limits::ROW_BYTES {
            return Err(BookError::Columns(format!(
                "a row has about {bytes} bytes; at most {}, so that it fits into an event",
                limits::ROW_BYTES
            )));
        }
        Ok(Checked { index: row.sequence_index, row, cells })
    }

    /// Appends a row as the next one.
    pub fn push(&mut self, checked: &Checked) {
        let index = self.next;
        self.first.get_or_insert(index);
        if self.chunks.back().is_none_or(|c| c.end() % BLOCK == 0 && !c.is_empty()) {
            self.chunks.push_back(Arc::new(Chunk::at(index)));
        }
        if let Some(chunk) = self.chunks.back_mut() {
            Arc::make_mut(chunk)
                .push(frames::label(&checked.row), checked.cells.iter().map(|(n, c)| (&**n, c.clone())));
        }
        self.next = index + 1;
    }

    /// Takes rows off again, from `index` on.
    pub fn cut(&mut self, index: u64) {
        while let Some(chunk) = self.chunks.back_mut()
            && chunk.end() > index
        {
            if chunk.first >= index {
                self.chunks.pop_back();
            } else {
                Arc::make_mut(chunk).cut(index);
            }
        }
        self.next = index;
        if self.first.is_some_and(|first| first >= index) {
            // As if there had never been one: the next may be numbered from 0 or from 1.
            self.first = None;
            (self.next, self.told, self.stored) = (0, 0, 0);
        }
    }

    /// The cells of a row that is in memory.
    pub fn cells(&self, index: u64) -> Option<Vec<(&str, &Cell)>> {
        let chunk = self.chunks.iter().find(|c| (c.first..c.end()).contains(&index))?;
        Some(cells(chunk, index))
    }

    /// The rows from `from` up to before `to` that are in memory.
    pub fn rows(&self, from: u64, to: u64) -> Vec<Chunk> {
        self.chunks.iter().filter(|c| c.end() > from && c.first < to).map(|c| c.part(from, to)).collect()
    }

    /// The frame of these rows is in the log with this seq.
    pub fn told(&mut self, seq: u64, end: u64) {
        self.told = end;
        self.seqs.push_back((seq, end));
        self.waits_since.get_or_insert_with(Instant::now);
    }

    /// The index up to which rows may be put in blocks: those whose frames are committed; with `all` also into a block
    /// that will not be full.
    pub fn storable(&self, committed: u64, all: bool) -> u64 {
        let sure = self.seqs.iter().take_while(|(seq, _)| *seq <= committed).last();
        let end = sure.map_or(self.stored, |(_, end)| *end);
        if all { end } else { end / BLOCK * BLOCK }
    }

    /// What is to be written so that rows before `to` are in blocks.
    pub fn written(&self, scan: &str, name: &str, to: u64, ended: bool) -> Written {
        let chunks = self.chunks.iter().filter(|c| c.end() > self.stored && c.first < to);
        let chunks: Vec<Chunk> = chunks.map(|c| c.part(c.first, to)).collect();
        let last = chunks.last().or(self.chunks.back().map(|c| &**c)).and_then(|c| c.labels.last());
        let measured = Measured {
            columns: serde_json::to_value(&self.columns).unwrap_or_default(),
            declared: self.declared,
            first: self.first.unwrap_or(0),
            next: to.max(self.stored),
            bytes: 0,
            ended,
            last_at: last.map(|label| label.at),
        };
        Written { scan: scan.into(), measurement: name.into(), measured, chunks }
    }

    /// Rows before `to` are in blocks: what is whole of them goes from memory.
    pub fn is_written(&mut self, to: u64) {
        self.stored = self.stored.max(to);
        while self.chunks.front().is_some_and(|c| c.end() <= self.stored && c.end() % BLOCK == 0) {
            self.chunks.pop_front();
        }
        while self.seqs.front().is_some_and(|(_, end)| *end <= self.stored) {
            self.seqs.pop_front();
        }
        self.waits_since = (!self.seqs.is_empty()).then(Instant::now);
    }
}

/// The cells of a row.
pub(super) fn cells(chunk: &Chunk, index: u64) -> Vec<(&str, &Cell)> {
    let place = (index - chunk.first) as usize;
    chunk.columns.iter().map(|(name, column)| (&**name, column.get(place).unwrap_or(&Cell::Null))).collect()
}

/// Whether two rows say the same: a column that one lacks is null in it.
pub(super) fn same(a: &[(&str, &Cell)], b: &[(&str, &Cell)]) -> bool {
    let says = |list: &[(&str, &Cell)], name: &str, cell: &Cell| {
        list.iter().find(|(n, _)| *n == name).map_or(*cell == Cell::Null, |(_, other)| cell.says(other))
    };
    a.iter().all(|(name, cell)| says(b, name, cell)) && b.iter().all(|(name, cell)| says(a, name, cell))
}

/// Checks columns that somebody declares.
pub(super) fn check_columns(columns: &[Column]) -> Result<(), BookError> {
    if columns.len() > limits::COLUMNS {
        return Err(BookError::Columns(format!("{} columns; at most {}", columns.len(), limits::COLUMNS)));
    }
    for (n, column) in columns.iter().enumerate() {
        named(&column.name)?;
        if columns.iter().take(n).any(|c| c.name == column.name) {
            return Err(BookError::Columns(format!("the column {:?} is there twice", column.name)));
        }
        if let Some(dtype) = &column.dtype
            && !["number", "integer", "string", "boolean", "array"].contains(&dtype.as_str())
        {
            return Err(BookError::Columns(format!(
                "the dtype of {:?} is {dtype:?}; expected number, integer, string, boolean or array",
                column.name
            )));
        }
    }
    Ok(())
}

fn named(name: &str) -> Result<(), BookError> {
    if name.is_empty() || name.len() > limits::COLUMN_NAME || name.chars().any(char::is_control) {
        return Err(BookError::Columns(format!(
            "a column is named {name:?}; expected 1 to {} bytes of plain text",
            limits::COLUMN_NAME
        )));
    }
    Ok(())
}

/// The `dtype` of a first value; a number is not said.
fn kind_of(value: &Json) -> Option<String> {
    let word = match value {
        Json::String(_) => "string",
        Json::Bool(_) => "boolean",
        Json::Array(_) => "array",
        _ => return None,
    };
    Some(word.into())
}

/// A value that may be in a row: a number, text, a flag, null, or an array of numbers.
fn plain(name: &str, value: &Json) -> Result<(), BookError> {
    let wrong = match value {
        Json::Object(_) => "an object",
        Json::Array(items) if items.iter().any(|i| !(i.is_number() || i.is_null())) => {
            "an array of something else than numbers"
        }
        _ => return Ok(()),
    };
    Err(BookError::Columns(format!(
        "{name} is {wrong}; expected a number, text, true or false, an array of numbers, or null"
    )))
}

fn fits(column: &Column, value: &Json) -> Result<(), BookError> {
    plain(&column.name, value)?;
    let fits = match (column.dtype.as_deref().unwrap_or("number"), value) {
        (_, Json::Null) => true,
        ("integer", Json::Number(n)) => !n.is_f64() || n.as_f64().is_some_and(|x| x.fract() == 0.0),
        ("integer", _) => false,
        ("string", value) => value.is_string(),
        ("boolean", value) => value.is_boolean(),
        ("array", value) => value.is_array(),
        (_, value) => value.is_number(),
    };
    if fits {
        return Ok(());
    }
    let mut shown = value.to_string();
    if shown.chars().count() > 40 {
        shown = format!("{}...", shown.chars().take(40).collect::<String>());
    }
    Err(BookError::Columns(format!(
        "{} is {shown}; its column is declared as {}",
        column.name,
        column.dtype.as_deref().unwrap_or("number")
    )))
}
