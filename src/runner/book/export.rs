//! A measurement as a file: CSV, NDJSON or JSON, written piece by piece as it is read. Never in memory as a whole, and no
//! transaction is open while a piece goes out.

use super::frames::{number, point_text, quoted};
use super::rows::View;
use crate::clock::Wall;
use crate::sheet;
use crate::store::{Cell, Chunk};
use serde_json::{Value as Json, json};
use std::fmt::Write as _;
use std::io::{self, Write};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// UTF-8, a line a row, names in the first line.
    Csv,
    /// A line a row, as a `data_point` has it.
    Ndjson,
    /// One object with all rows.
    Json,
}

/// Rows that are read at a time.
const STEP: u64 = 4_096;
/// Bytes that are written at a time.
const PIECE: usize = 32 * 1024;
/// No more fields: the end of a line of CSV.
const END: [&str; 0] = [];

impl View {
    /// What a file says of itself besides its rows.
    pub fn about(&self) -> Json {
        json!({
            "scan_id": self.scan,
            "measurement": self.measurement,
            "columns": self.columns,
            "first_index": self.first,
            "last_index": self.last_index(),
            "num_points": self.len(),
            "ended": self.ended,
        })
    }

    /// Writes the whole of it. With `meta` a CSV begins with `#` lines and an NDJSON with a line `about`.
    ///
    /// # Errors
    /// `out` takes no more, or the rows can't be read: what was written ends in the middle.
    pub fn export(&self, format: Format, meta: bool, out: &mut dyn Write) -> io::Result<()> {
        let mut text = String::new();
        match format {
            Format::Csv => return self.csv(meta, out),
            Format::Ndjson if meta => {
                let _ = writeln!(text, "{}", json!({ "about": self.about() }));
            }
            Format::Ndjson => {}
            Format::Json => {
                let about = self.about().to_string();
                // The object goes on with its rows.
                text.push_str(about.strip_suffix('}').unwrap_or(&about));
                text.push_str(",\"rows\":[");
            }
        }
        let (mut at, mut first) = (Some(self.first), true);
        while let Some(from) = at.filter(|from| *from < self.next) {
            let page = self.rows(from, STEP).map_err(io::Error::other)?;
            for chunk in &page.chunks {
                for row in 0..chunk.len() {
                    if format == Format::Json {
                        if !std::mem::take(&mut first) {
                            text.push(',');
                        }
                        text.push_str(&json_row(chunk, row));
                    } else {
                        let _ = writeln!(text, "{}", point_text(&self.scan, &self.measurement, chunk, row));
                    }
                    if text.len() > PIECE {
                        out.write_all(text.as_bytes())?;
                        text.clear();
                    }
                }
            }
            at = page.next;
        }
        if format == Format::Json {
            text.push_str("]}\n");
        }
        out.write_all(text.as_bytes())
    }

    fn csv(&self, meta: bool, out: &mut dyn Write) -> io::Result<()> {
        if meta {
            let mut text = String::new();
            self.comment(&mut text);
            out.write_all(text.as_bytes())?;
        }
        let mut file = csv::WriterBuilder::new().buffer_capacity(PIECE).from_writer(out);
        for own in ["sequence_index", "timestamp", "t_rel"] {
            file.write_field(own)?;
        }
        for column in &self.columns {
            file.write_field(sheet::cell(&self.title(&column.name)).as_bytes())?;
        }
        file.write_record(END)?;
        let mut at = Some(self.first);
        while let Some(from) = at.filter(|from| *from < self.next) {
            let page = self.rows(from, STEP).map_err(io::Error::other)?;
            for chunk in &page.chunks {
                for row in 0..chunk.len() {
                    self.csv_row(chunk, row, &mut file)?;
                }
            }
            at = page.next;
        }
        file.flush()
    }

    fn csv_row(&self, rows: &Chunk, row: usize, file: &mut csv::Writer<&mut dyn Write>) -> io::Result<()> {
        let label = rows.labels.get(row);
        file.write_field((rows.first + row as u64).to_string())?;
        file.write_field(label.map(|l| l.at.rfc3339()).unwrap_or_default())?;
        file.write_field(label.and_then(|l| l.t_rel).map(number).unwrap_or_default())?;
        for column in &self.columns {
            match rows.cell(&column.name, row) {
                Cell::Null => file.write_field("")?,
                Cell::Json(text) => match serde_json::from_str(text) {
                    Ok(Json::String(text)) => file.write_field(sheet::cell(&text).as_bytes())?,
                    _ => file.write_field(&**text)?,
                },
                cell => file.write_field(cell.text().as_bytes())?,
            }
        }
        Ok(file.write_record(END)?)
    }

    /// `name (unit)`.
    fn title(&self, name: &str) -> String {
        match self.unit(name).filter(|unit| !unit.is_empty() && *unit != "1") {
            Some(unit) => format!("{name} ({unit})"),
            None => name.to_string(),
        }
    }

    fn comment(&self, text: &mut String) {
        let _ = writeln!(text, "# scan: {}", meta_word(&self.scan));
        let _ = writeln!(text, "# measurement: {}", meta_word(&self.measurement));
        let _ = writeln!(text, "# rows: {}{}", self.len(), if self.ended { "" } else { " (still running)" });
        let _ = writeln!(text, "# exported: {}", Wall::now().rfc3339());
        for column in &self.columns {
            let _ = writeln!(text, "# column: {}", meta_json(&json!(column)));
        }
    }
}

/// A name as it stands in a `#` line: as it is where it is plain, else as JSON text.
fn meta_word(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_.:-/ ".contains(c);
    if !word.is_empty() && word.chars().all(plain) && word.trim() == word {
        return word.to_string();
    }
    meta_json(&Json::from(word))
}

/// JSON as it stands in a `#` line. A spreadsheet cuts the line into cells and takes one that begins with `=` for a formula, or
/// one that begins with a quote for everything up to the next: so there is a blank behind each comma of the JSON, and in its text
/// no separator, no quote and no sign that begins a formula is written as itself. It reads back as the same JSON.
fn meta_json(value: &Json) -> String {
    let text = value.to_string();
    let mut out = String::with_capacity(text.len() + 16);
    let (mut inside, mut escaped) = (false, false);
    for c in text.chars() {
        match c {
            // serde_json writes nothing else behind a backslash that has to be changed.
            '"' if escaped => {
                out.pop();
                out.push_str("\\u0022");
            }
            't' if escaped => {
                out.pop();
                out.push_str("\\u0009");
            }
            _ if escaped => out.push(c),
            '"' => {
                inside = !inside;
                out.push(c);
            }
            ',' if !inside => out.push_str(", "),
            c if inside && (",;=+-@'#".contains(c) || c.is_control() || "\u{2028}\u{2029}".contains(c)) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    out
}

fn json_row(rows: &Chunk, row: usize) -> String {
    let mut text = format!("{{\"sequence_index\":{}", rows.first + row as u64);
    if let Some(label) = rows.labels.get(row) {
        let _ = write!(text, ",\"timestamp\":\"{}\"", label.at.rfc3339());
        if let Some(t) = label.t_rel {
            let _ = write!(text, ",\"t_rel\":{}", number(t));
        }
        if let Some(quality) = &label.quality {
            let _ = write!(text, ",\"quality\":{quality}");
        }
        if let Some(late) = label.late_ms {
            let _ = write!(text, ",\"late_ms\":{late}");
        }
    }
    text.push_str(",\"data\":{");
    for (n, (name, cells)) in rows.columns.iter().enumerate() {
        let cell = cells.get(row).unwrap_or(&Cell::Null);
        let _ = write!(text, "{}{}:{}", if n > 0 { "," } else { "" }, quoted(name), cell.text());
    }
    text.push_str("}}");
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::world;
    use super::*;
    use crate::runner::data::{Column, Row};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn rows() -> Vec<Row> {
        let cells = [json!(1.5), json!(-0.0), json!(1e300), json!(null), json!(7), json!(0.1)];
        let words = ["plain", "with, comma", "two\nlines", "\"quoted\"", "=1+1", ""];
        (0..600_u64)
            .map(|n| Row {
                sequence_index: Some(n),
                data: BTreeMap::from([
                    ("v".to_string(), cells[n as usize % 6].clone()),
                    ("word".to_string(), json!(words[n as usize % 6])),
                    ("list".to_string(), json!([n, 0.5])),
                ]),
                t_rel: (n % 3 > 0).then_some(n as f64 / 8.0),
                timestamp: Wall(1_767_799_800_000 + n),
                quality: if n % 6 == 3 {
                    BTreeMap::from([("v".into(), "bad/nan".into())])
                } else {
                    BTreeMap::new()
                },
                late_ms: (n == 5).then_some(3),
            })
            .collect()
    }

    fn file(view: &View, format: Format, meta: bool) -> String {
        let mut out = Vec::new();
        view.export(format, meta, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn files_read_back_are_the_rows() {
        let world = world();
        let column = |name: &str, unit: Option<&str>, dtype: Option<&str>| Column {
            name: name.into(),
            unit: unit.map(Into::into),
            dtype: dtype.map(Into::into),
            ..Column::default()
        };
        let columns = vec![
            column("v", Some("V"), None),
            column("word", Some("1"), Some("string")),
            column("list", None, Some("array")),
        ];
        world.book.declare("S1", "main", columns).unwrap();
        let rows = rows();
        world.book.append("S1", "main", rows.clone(), Vec::new()).unwrap();
        world.settle();
        world.book.work().unwrap();
        let view = world.book.view("S1", None).unwrap().unwrap();

        let text = file(&view, Format::Csv, false);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(
            reader.headers().unwrap(),
            vec!["sequence_index", "timestamp", "t_rel", "v (V)", "word", "list"]
        );
        let mut count = 0;
        for (record, row) in reader.records().map(Result::unwrap).zip(&rows) {
            count += 1;
            assert_eq!(record[0].parse(), Ok(row.sequence_index.unwrap()));
            assert_eq!(Wall::parse(&record[1]), Some(row.timestamp));
            assert_eq!(record[2].parse().ok(), row.t_rel);
            let v: Option<f64> = record[3].parse().ok();
            assert_eq!(v.map(f64::to_bits), row.data["v"].as_f64().map(f64::to_bits));
            let word = row.data["word"].as_str().unwrap();
            assert_eq!(
                &record[4],
                if word == "=1+1" { "'=1+1" } else { word },
                "no formula for a spreadsheet"
            );
            assert_eq!(serde_json::from_str::<Json>(&record[5]).unwrap(), row.data["list"]);
        }
        assert_eq!(count, 600);
        let with_meta = file(&view, Format::Csv, true);
        assert!(
            with_meta.starts_with("# scan: S1\n# measurement: main\n# rows: 600 (still running)\n"),
            "{with_meta}"
        );
        assert!(
            with_meta.contains("\n# column: {\"name\":\"v\", \"role\":\"measured\", \"unit\":\"V\"}\n"),
            "{with_meta}"
        );

        let text = file(&view, Format::Ndjson, false);
        let read: Vec<Row> = text
            .lines()
            .flat_map(|line| super::super::frames::read("data_point", line, Wall(0)).unwrap().2)
            .collect();
        assert_eq!(read, rows);
        assert_eq!(file(&view, Format::Ndjson, true).lines().count(), 601);

        let all: Json = serde_json::from_str(&file(&view, Format::Json, false)).unwrap();
        assert_eq!((&all["num_points"], &all["last_index"]), (&json!(600), &json!(599)));
        for (got, row) in all["rows"].as_array().unwrap().iter().zip(&rows) {
            assert_eq!(got["sequence_index"], json!(row.sequence_index));
            assert_eq!(got["data"], json!(row.data));
            assert_eq!(got["quality"].as_object().map_or(0, |q| q.len()), row.quality.len());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever names, units and values are, the lines before the table are lines, no cell is a formula in any spreadsheet, and
        /// all of it is read back.
        #[test]
        fn a_file_with_meta_lines_is_safe_and_reads_back(
            measurement in r#"[a,;=+@#'" \\\u{2028}\u{e9}-]{1,8}"#,
            names in proptest::collection::btree_set(r#"[a,;=+@#'" \\\u{e9}-]{1,8}"#, 1..4),
            unit in r#"[a,;=+@#'"\\\t\n\r\u{85}\u{2028}-]{0,8}"#,
            word in r#"[a,;=+@#'"\t\n\r-]{0,8}"#,
        ) {
            let columns: Vec<Column> = names
                .iter()
                .map(|name| Column {
                    name: name.clone(),
                    unit: Some(unit.clone()),
                    source: Some(format!("={unit}")),
                    dtype: Some("string".into()),
                    ..Column::default()
                })
                .collect();
            let world = world();
            world.book.declare("S1", &measurement, columns.clone()).unwrap();
            let row = Row {
                sequence_index: Some(0),
                data: names.iter().map(|name| (name.clone(), json!(word))).collect(),
                t_rel: Some(0.0),
                timestamp: Wall(1_767_799_800_000),
                quality: BTreeMap::new(),
                late_ms: None,
            };
            world.book.append("S1", &measurement, vec![row], Vec::new()).unwrap();
            let view = world.book.view("S1", Some(&measurement)).unwrap().unwrap();
            let text = file(&view, Format::Csv, true);

            let meta: Vec<&str> = text.split_inclusive('\n').take_while(|line| line.starts_with('#')).collect();
            prop_assert_eq!(meta.len(), 4 + columns.len());
            for line in &meta {
                for cell in line.trim_end_matches('\n').split([',', ';', '\t', '\r', '\u{85}', '\u{2028}']).skip(1) {
                    prop_assert!(cell.starts_with(' '), "{:?} in {:?}", cell, line);
                }
            }
            let said = meta[1].strip_prefix("# measurement: ").unwrap().trim_end();
            let said = serde_json::from_str::<String>(said).unwrap_or_else(|_| said.to_string());
            prop_assert_eq!(&said, &measurement);
            for (line, column) in meta[4..].iter().zip(&columns) {
                let said: Column = serde_json::from_str(line.strip_prefix("# column: ").unwrap()).unwrap();
                prop_assert_eq!(&said, column);
            }

            let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(text.as_bytes());
            let heads: Vec<String> = reader.headers().unwrap().iter().skip(3).map(str::to_string).collect();
            let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
            prop_assert_eq!(rows.len(), 1);
            let formula = |cell: &str| cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
            for (head, column) in heads.iter().zip(&columns) {
                prop_assert!(!formula(head));
                prop_assert_eq!(sheet::bare(head), view.title(&column.name));
            }
            for cell in rows[0].iter().skip(3) {
                prop_assert!(!formula(cell));
                prop_assert_eq!(sheet::bare(cell), &word);
            }
        }
    }

    #[test]
    fn what_is_no_number_never_gets_out() {
        let world = world();
        let row = |t: f64| Row {
            sequence_index: None,
            data: BTreeMap::from([("v".to_string(), json!(f64::NAN))]),
            t_rel: Some(t),
            timestamp: Wall(u64::MAX),
            quality: BTreeMap::new(),
            late_ms: Some(u64::MAX),
        };
        world
            .book
            .append("S1", "main", vec![row(f64::NAN), row(f64::INFINITY), row(1e300)], Vec::new())
            .unwrap();
        world.settle();
        world.book.end("S1");
        world.book.work().unwrap();
        let view = world.book.view("S1", None).unwrap().unwrap();
        for format in [Format::Csv, Format::Ndjson, Format::Json] {
            let text = file(&view, format, false).to_lowercase();
            assert!(!text.contains("nan") && !text.contains("inf"), "{text}");
        }
        for event in world.bus.after(0, 100).unwrap() {
            serde_json::from_str::<Json>(event.payload()).unwrap();
        }
    }
}
