//! Samples as columns: the rows of a `signal_batch`, which are small flat objects much like each other, take a few
//! bytes each instead of some eighty. Pure, and exact: what is unpacked is the text that was packed, byte for byte, or
//! it is not packed at all.
//!
//! ```text
//! packed   prefix_len varint | prefix | rows varint | columns u8 | column* | suffix
//! column   name_len u8 | name | kind u8 | masks u8: 1 = some have it not, 2 = some are null | a bit a row for each mask | values
//! values   Whole    zigzag varints, each the change of the change (a counter costs one byte)
//!          Time     the same of milliseconds since 1970, of RFC 3339 with milliseconds
//!          Decimal  digits u8 after the point | zigzag varints of the change of value x 10^digits
//!          Runs     how many follow that are the same, length, text; all varints: for anything else, such as true
//!          Float    the eight bytes of each; only in rows of scans (`chunk`)
//! ```
//! In rows of scans a third mask, 4, marks numbers without a point among those of a Decimal or a Float.
//! `prefix` and `suffix` are the envelope before and after the rows. Varints have seven bits a byte, low ones first.
//! Differences of differences are how B. Pelkonen et al. pack times in "Gorilla: A Fast, Scalable, In-Memory Time
//! Series Database", VLDB 2015.

use crate::clock::Wall;

/// Where the rows begin in an envelope.
const ROWS: &str = "\"events\":[";
/// Rows with more members, or batches with more rows, are not packed.
const COLUMNS: usize = 16;
const MOST_ROWS: usize = 100_000;
/// Digits of a decimal: what an i64 and an f64 hold exactly.
const DIGITS: usize = 15;

const WHOLE: u8 = 1;
const TIME: u8 = 2;
const DECIMAL: u8 = 3;
const RUNS: u8 = 4;
const FLOAT: u8 = 5;

/// Where a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the log, which earlier versions read: no floats, no third mask.
    Log,
    /// In a row of a scan.
    Rows,
}

/// A cell as it is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Read<'a> {
    /// The row has it not.
    Missing,
    Null,
    Whole(i64),
    /// Milliseconds since 1970.
    Time(i64),
    /// So much, and digits after the point.
    Decimal(i64, usize),
    Float(f64),
    /// JSON.
    Text(&'a str),
}

/// Packs an envelope; none when that would not save anything or not be exact.
pub(super) fn pack(envelope: &str) -> Option<Vec<u8>> {
    let begin = envelope.find(ROWS)? + ROWS.len();
    let (rows, end) = rows(envelope, begin)?;
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().flatten() {
        if !names.contains(name) {
            names.push(name);
        }
    }
    if rows.len() < 2 || names.is_empty() || names.len() > COLUMNS {
        return None;
    }
    let mut out = Vec::with_capacity(envelope.len() / 4);
    put(&mut out, begin as u64);
    out.extend(envelope.get(..begin)?.as_bytes());
    put(&mut out, rows.len() as u64);
    out.push(names.len() as u8);
    for name in names {
        let cells: Vec<Option<&str>> =
            rows.iter().map(|row| row.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)).collect();
        column(&mut out, name, &cells, Place::Log)?;
    }
    out.extend(envelope.get(end..)?.as_bytes());
    // The proof is cheaper than trust: members in another order, or a number written in another way, are found here.
    (out.len() < envelope.len() && unpack(&out).as_deref() == Some(envelope)).then_some(out)
}

/// The text that was packed; none when the bytes are not of [`pack`].
pub(super) fn unpack(bytes: &[u8]) -> Option<String> {
    let mut from = bytes;
    let prefix_len = take(&mut from)? as usize;
    let prefix = std::str::from_utf8(cut(&mut from, prefix_len)?).ok()?;
    let rows = take(&mut from)? as usize;
    let [columns] = *cut(&mut from, 1)? else { return None };
    if rows > MOST_ROWS || columns as usize > COLUMNS {
        return None;
    }
    let mut read: Vec<(&str, Vec<Option<String>>)> = Vec::new();
    for _ in 0..columns {
        read.push(read_column(&mut from, rows, json)?);
    }
    let suffix = std::str::from_utf8(from).ok()?;
    let mut text = String::with_capacity(prefix.len() + suffix.len() + rows * 80);
    text.push_str(prefix);
    for row in 0..rows {
        text.push_str(if row == 0 { "{" } else { ",{" });
        let mut first = true;
        for (name, cells) in &read {
            let Some(Some(value)) = cells.get(row) else { continue };
            if !first {
                text.push(',');
            }
            first = false;
            text.push('"');
            text.push_str(name);
            text.push_str("\":");
            text.push_str(value);
        }
        text.push('}');
    }
    text.push_str(suffix);
    Some(text)
}

type Row<'a> = Vec<(&'a str, &'a str)>;

/// The rows from `at` and where their list ends; none when one is not a flat object of plain names.
fn rows(text: &str, mut at: usize) -> Option<(Vec<Row<'_>>, usize)> {
    let bytes = text.as_bytes();
    let mut rows = Vec::new();
    loop {
        if *bytes.get(at)? != b'{' || rows.len() >= MOST_ROWS {
            return None;
        }
        at += 1;
        let mut row = Vec::with_capacity(5);
        loop {
            let name_end = at + 1 + text.get(at + 1..)?.find('"')?;
            let name = text.get(at + 1..name_end)?;
            if *bytes.get(at)? != b'"'
                || *bytes.get(name_end + 1)? != b':'
                || name.len() > 64
                || name.contains('\\')
            {
                return None;
            }
            let from = name_end + 2;
            at = match bytes.get(from)? {
                b'"' => {
                    let end = from + 1 + text.get(from + 1..)?.find(['"', '\\'])?;
                    (*bytes.get(end)? == b'"').then_some(end + 1)?
                }
                b'{' | b'[' => return None,
                _ => from + text.get(from..)?.find([',', '}'])?,
            };
            row.push((name, text.get(from..at)?));
            match bytes.get(at)? {
                b',' => at += 1,
                b'}' => break,
                _ => return None,
            }
        }
        rows.push(row);
        match bytes.get(at + 1)? {
            b',' => at += 2,
            b']' => return Some((rows, at + 1)),
            _ => return None,
        }
    }
}

/// Appends a column whose cells are JSON; none when its name is too long.
pub(super) fn column(out: &mut Vec<u8>, name: &str, cells: &[Option<&str>], place: Place) -> Option<()> {
    out.push(u8::try_from(name.len()).ok()?);
    out.extend(name.as_bytes());
    let is_null = |cell: &Option<&str>| *cell == Some("null");
    let there: Vec<&str> = cells.iter().filter(|cell| !is_null(cell)).copied().flatten().collect();
    let all = |kind: fn(&str) -> bool| there.iter().all(|cell| kind(cell));
    let digits = there.iter().map(|cell| fraction(cell)).max().unwrap_or(0);
    let in_rows = place == Place::Rows;
    // A number without a point among others: as one with a point, and marked.
    let pointed = |cell: &str| format!("{cell}.0");
    let as_decimal = |cell: &str| match whole(cell) {
        Some(_) if in_rows => decimal(&pointed(cell), digits.max(1)),
        _ => decimal(cell, digits.max(1)),
    };
    let kind = if all(|cell| whole(cell).is_some()) {
        WHOLE
    } else if all(|cell| time(cell).is_some()) && (!in_rows || all(is_written_as_ours)) {
        TIME
    } else if there.iter().all(|cell| as_decimal(cell).is_some()) {
        DECIMAL
    } else if in_rows && all(|cell| float(cell).is_some()) {
        FLOAT
    } else {
        RUNS
    };
    out.push(kind);
    let (missing, null) = (cells.iter().any(Option::is_none), cells.iter().any(is_null));
    let is_whole = |cell: &Option<&str>| cell.is_some_and(|cell| whole(cell).is_some());
    let wholes = in_rows && matches!(kind, DECIMAL | FLOAT) && cells.iter().any(is_whole);
    out.push(u8::from(missing) | u8::from(null) << 1 | u8::from(wholes) << 2);
    let mut mask = |wanted: bool, is: &dyn Fn(&Option<&str>) -> bool| {
        if wanted {
            out.extend(cells.chunks(8).map(|eight| {
                eight.iter().enumerate().fold(0_u8, |bits, (n, cell)| bits | u8::from(is(cell)) << n)
            }));
        }
    };
    mask(missing, &|cell| cell.is_none());
    mask(null, &is_null);
    mask(wholes, &is_whole);
    match kind {
        WHOLE => put_twice(out, there.iter().filter_map(|cell| whole(cell))),
        TIME => put_twice(out, there.iter().filter_map(|cell| time(cell))),
        DECIMAL => {
            out.push(digits.max(1) as u8);
            let mut last = 0_i64;
            for value in there.iter().filter_map(|cell| as_decimal(cell)) {
                put_signed(out, value.wrapping_sub(last));
                last = value;
            }
        }
        FLOAT => out.extend(there.iter().filter_map(|cell| float(cell)).flat_map(f64::to_le_bytes)),
        _ => {
            for run in there.chunk_by(|a, b| a == b) {
                put(out, run.len() as u64);
                put_text(out, run.first()?);
            }
        }
    }
    Some(())
}

/// A cell as JSON; none when its row has it not.
fn json(read: Read<'_>) -> Option<Option<String>> {
    Some(Some(match read {
        Read::Missing => return Some(None),
        Read::Null => "null".into(),
        Read::Whole(value) => value.to_string(),
        Read::Time(ms) => format!("\"{}\"", Wall(u64::try_from(ms).ok()?).rfc3339()),
        Read::Decimal(value, digits) => decimal_text(value, digits),
        Read::Float(value) => serde_json::Number::from_f64(value)?.to_string(),
        Read::Text(text) => text.to_string(),
    }))
}

/// Reads a column from the front of `from`; `make` is given each cell and gives none where it can't be.
pub(super) fn read_column<'a, T>(
    from: &mut &'a [u8],
    rows: usize,
    make: impl Fn(Read<'a>) -> Option<T>,
) -> Option<(&'a str, Vec<T>)> {
    let [name_len] = *cut(from, 1)? else { return None };
    let name = std::str::from_utf8(cut(from, name_len as usize)?).ok()?;
    let [kind, masks] = *cut(from, 2)? else { return None };
    let mut mask = |bit: u8| if masks & bit != 0 { cut(from, rows.div_ceil(8)) } else { Some(&[][..]) };
    let (missing, null, wholes) = (mask(1)?, mask(2)?, mask(4)?);
    let is = |mask: &[u8], row: usize| mask.get(row / 8).is_some_and(|bits| bits >> (row % 8) & 1 == 1);
    let mut cells = Vec::with_capacity(rows.min(from.len().saturating_mul(8)));
    let digits = if kind == DECIMAL { *cut(from, 1)?.first()? as usize } else { 0 };
    let mut run = (0, "");
    if digits > DIGITS || (kind == DECIMAL && digits == 0) {
        return None;
    }
    let (mut last, mut step) = (0_i64, 0_i64);
    for row in 0..rows {
        if is(missing, row) {
            cells.push(make(Read::Missing)?);
            continue;
        }
        if is(null, row) {
            cells.push(make(Read::Null)?);
            continue;
        }
        let is_whole = is(wholes, row);
        let cell = match kind {
            WHOLE | TIME => {
                step = step.wrapping_add(signed(from)?);
                last = last.wrapping_add(step);
                if kind == WHOLE { Read::Whole(last) } else { Read::Time(last) }
            }
            DECIMAL => {
                last = last.wrapping_add(signed(from)?);
                if is_whole {
                    Read::Whole(last / 10_i64.pow(digits as u32))
                } else {
                    Read::Decimal(last, digits)
                }
            }
            FLOAT => {
                let value = f64::from_le_bytes(cut(from, 8)?.try_into().ok()?);
                if is_whole { Read::Whole(value as i64) } else { Read::Float(value) }
            }
            RUNS => {
                if run.0 == 0 {
                    run = (take(from)?, text(from)?);
                }
                run.0 = run.0.checked_sub(1)?;
                Read::Text(run.1)
            }
            _ => return None,
        };
        cells.push(make(cell)?);
    }
    Some((name, cells))
}

/// The number of a [`Read::Decimal`]: the nearest there is, as reading its text would give. Both parts are whole numbers
/// that an f64 holds exactly, so the one division rounds as it should (W. D. Clinger, "How to Read Floating Point Numbers
/// Accurately", PLDI 1990); larger ones are read from their text.
pub(super) fn decimal_value(value: i64, digits: usize) -> f64 {
    if value.unsigned_abs() < 1 << 53 {
        value as f64 / 10_i64.pow(digits as u32) as f64
    } else {
        decimal_text(value, digits).parse().unwrap_or(0.0)
    }
}

/// A number that comes back as it was written.
fn float(cell: &str) -> Option<f64> {
    if let Some(value) = whole(cell) {
        return Some(value as f64);
    }
    let value: f64 = cell.parse().ok()?;
    (value.is_finite() && serde_json::Number::from_f64(value)?.to_string() == cell).then_some(value)
}

fn whole(cell: &str) -> Option<i64> {
    let value: i64 = cell.parse().ok()?;
    (value.unsigned_abs() < 1 << 53 && !cell.starts_with('+')).then_some(value)
}

fn time(cell: &str) -> Option<i64> {
    i64::try_from(Wall::parse(cell.strip_prefix('"')?.strip_suffix('"')?)?.0).ok()
}

/// Whether a time comes back as it was: the log proves that by unpacking, rows by this.
fn is_written_as_ours(cell: &str) -> bool {
    time(cell)
        .and_then(|ms| u64::try_from(ms).ok())
        .is_some_and(|ms| cell.get(1..cell.len() - 1) == Some(&Wall(ms).rfc3339()))
}

/// Digits after the point.
fn fraction(cell: &str) -> usize {
    cell.split_once('.').map_or(0, |(_, after)| after.len())
}

/// A number as serde writes it: at least one digit after the point, no zeros at the end, no exponent.
fn decimal(cell: &str, digits: usize) -> Option<i64> {
    let (before, after) = cell.split_once('.')?;
    if before.len() + digits > DIGITS + 1 || digits > DIGITS || !after.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let scale = 10_i64.pow((digits - after.len()) as u32);
    let value: i64 = format!("{before}{after}").parse().ok()?;
    // The sign of "-0.0" would be lost.
    (value != 0 || !cell.starts_with('-')).then_some(value * scale)
}

fn decimal_text(value: i64, digits: usize) -> String {
    let text = format!("{:0>width$}", value.unsigned_abs(), width = digits + 1);
    let (before, after) = text.split_at(text.len() - digits);
    let after = after.trim_end_matches('0');
    format!("{}{before}.{}", if value < 0 { "-" } else { "" }, if after.is_empty() { "0" } else { after })
}

pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Changes of changes.
fn put_twice(out: &mut Vec<u8>, values: impl Iterator<Item = i64>) {
    let (mut last, mut step) = (0_i64, 0_i64);
    for value in values {
        let next = value.wrapping_sub(last);
        put_signed(out, next.wrapping_sub(step));
        (last, step) = (value, next);
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend(text.as_bytes());
}

pub(super) fn cut<'a>(from: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(head)
}

pub(super) fn take(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let [byte] = *cut(from, 1)? else { return None };
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn signed(from: &mut &[u8]) -> Option<i64> {
    let value = take(from)?;
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}

fn text<'a>(from: &mut &'a [u8]) -> Option<&'a str> {
    let length = take(from)? as usize;
    std::str::from_utf8(cut(from, length)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn envelope(rows: &[String]) -> String {
        format!(
            "{{\"type\":\"signal_batch\",\"id\":\"7-9\",\"payload\":{{\"signal_id\":\"a\",\"events\":[{}],\"totals\":{{\"events\":3}}}}}}",
            rows.join(",")
        )
    }

    #[test]
    fn a_steady_signal_takes_a_few_bytes_a_sample() {
        let rows: Vec<String> = (0..100_u64)
            .map(|n| {
                let value = ((n * 7919) % 10_007) as f64 / 1000.0;
                let at = Wall(1_767_799_800_000 + n * 20).rfc3339();
                let z = (((n * 31) % 199) as f64 - 100.0) / 100.0;
                format!(
                    "{{\"seq\":{},\"t\":\"{at}\",\"value\":{value:?},\"anomaly\":{},\"z\":{z:?}}}",
                    5000 + n,
                    n == 40
                )
            })
            .collect();
        let text = envelope(&rows);
        let packed = pack(&text).unwrap();
        assert_eq!(unpack(&packed).as_deref(), Some(&*text));
        assert!(packed.len() < text.len() / 6, "{} of {}", packed.len(), text.len());
    }

    #[test]
    fn what_is_missing_or_odd_comes_back_as_it_was() {
        for rows in [
            &[
                "{\"seq\":1,\"value\":null}",
                "{\"seq\":2,\"value\":-0.5,\"z\":1.25}",
                "{\"seq\":3,\"z\":-0.0}",
            ][..],
            &["{\"value\":1e-7}", "{\"value\":100000000000000000000.0}"],
            &["{\"t\":\"now\"}", "{\"t\":\"2026-01-07T15:30:00.412Z\"}"],
            &["{\"a\":-9.25,\"b\":3}", "{\"a\":0.125,\"b\":-4}", "{\"a\":10.0,\"b\":9007199254740991}"],
        ] {
            let rows: Vec<String> = rows.iter().map(|r| r.to_string()).collect();
            let text = envelope(&rows);
            if let Some(packed) = pack(&text) {
                assert_eq!(unpack(&packed).as_deref(), Some(&*text));
            }
        }
        for not in [
            "{\"b\":1,\"a\":2},{\"a\":1,\"b\":2}",
            "{\"a\":{}},{\"a\":1}",
            "{\"a\":\"\\n\"},{\"a\":1}",
            "1,2",
            "",
        ] {
            assert_eq!(pack(&envelope(&[not.to_string()])), None, "{not}");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(values in proptest::collection::vec((any::<i32>(), 0..7_u32, any::<bool>(), proptest::option::of(any::<f64>())), 2..60)) {
            let rows: Vec<String> = values.iter().enumerate().map(|(n, (value, digits, flag, z))| {
                let value = f64::from(*value) / 10_f64.powi(*digits as i32);
                let z = z.filter(|z| z.is_finite()).map_or(String::new(), |z| format!(",\"z\":{z:?}"));
                format!("{{\"seq\":{n},\"value\":{value:?},\"anomaly\":{flag}{z}}}")
            }).collect();
            let text = envelope(&rows);
            if let Some(packed) = pack(&text) {
                prop_assert_eq!(unpack(&packed), Some(text));
            }
        }

        #[test]
        fn any_bytes_are_unpacked_without_panic(bytes: Vec<u8>, text in ".{0,200}") {
            let _ = unpack(&bytes);
            let _ = pack(&text);
            let _ = pack(&format!("\"events\":[{text}"));
        }
    }
}
