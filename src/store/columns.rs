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
//! ```
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
        column(&mut out, name, &cells)?;
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
        read.push(read_column(&mut from, rows)?);
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

fn column(out: &mut Vec<u8>, name: &str, cells: &[Option<&str>]) -> Option<()> {
    out.push(u8::try_from(name.len()).ok()?);
    out.extend(name.as_bytes());
    let is_null = |cell: &Option<&str>| *cell == Some("null");
    let there: Vec<&str> = cells.iter().filter(|cell| !is_null(cell)).copied().flatten().collect();
    let all = |kind: fn(&str) -> bool| there.iter().all(|cell| kind(cell));
    let digits = there.iter().map(|cell| fraction(cell)).max().unwrap_or(0);
    let kind = if all(|cell| whole(cell).is_some()) {
        WHOLE
    } else if all(|cell| time(cell).is_some()) {
        TIME
    } else if there.iter().all(|cell| decimal(cell, digits).is_some()) {
        DECIMAL
    } else {
        RUNS
    };
    out.push(kind);
    let (missing, null) = (cells.iter().any(Option::is_none), cells.iter().any(is_null));
    out.push(u8::from(missing) | u8::from(null) << 1);
    let mut mask = |wanted: bool, is: &dyn Fn(&Option<&str>) -> bool| {
        if wanted {
            out.extend(cells.chunks(8).map(|eight| {
                eight.iter().enumerate().fold(0_u8, |bits, (n, cell)| bits | u8::from(is(cell)) << n)
            }));
        }
    };
    mask(missing, &|cell| cell.is_none());
    mask(null, &is_null);
    match kind {
        WHOLE => put_twice(out, there.iter().filter_map(|cell| whole(cell))),
        TIME => put_twice(out, there.iter().filter_map(|cell| time(cell))),
        DECIMAL => {
            out.push(digits as u8);
            let mut last = 0_i64;
            for value in there.iter().filter_map(|cell| decimal(cell, digits)) {
                put_signed(out, value.wrapping_sub(last));
                last = value;
            }
        }
        _ => {
            for run in there.chunk_by(|a, b| a == b) {
                put(out, run.len() as u64);
                put_text(out, run.first()?);
            }
        }
    }
    Some(())
}

fn read_column<'a>(from: &mut &'a [u8], rows: usize) -> Option<(&'a str, Vec<Option<String>>)> {
    let [name_len] = *cut(from, 1)? else { return None };
    let name = std::str::from_utf8(cut(from, name_len as usize)?).ok()?;
    let [kind, masks] = *cut(from, 2)? else { return None };
    let mut mask = |bit: u8| if masks & bit != 0 { cut(from, rows.div_ceil(8)) } else { Some(&[][..]) };
    let (missing, null) = (mask(1)?, mask(2)?);
    let is = |mask: &[u8], row: usize| mask.get(row / 8).is_some_and(|bits| bits >> (row % 8) & 1 == 1);
    let mut cells = Vec::with_capacity(rows.min(from.len().saturating_mul(8)));
    let digits = if kind == DECIMAL { *cut(from, 1)?.first()? as usize } else { 0 };
    let mut run = (0, "");
    if digits > DIGITS {
        return None;
    }
    let (mut last, mut step) = (0_i64, 0_i64);
    for row in 0..rows {
        if is(missing, row) {
            cells.push(None);
            continue;
        }
        if is(null, row) {
            cells.push(Some("null".into()));
            continue;
        }
        let cell = match kind {
            WHOLE | TIME => {
                step = step.wrapping_add(signed(from)?);
                last = last.wrapping_add(step);
                if kind == WHOLE {
                    last.to_string()
                } else {
                    format!("\"{}\"", Wall(u64::try_from(last).ok()?).rfc3339())
                }
            }
            DECIMAL => {
                last = last.wrapping_add(signed(from)?);
                decimal_text(last, digits)
            }
            RUNS => {
                if run.0 == 0 {
                    run = (take(from)?, text(from)?);
                }
                run.0 = run.0.checked_sub(1)?;
                run.1.to_string()
            }
            _ => return None,
        };
        cells.push(Some(cell));
    }
    Some((name, cells))
}

fn whole(cell: &str) -> Option<i64> {
    let value: i64 = cell.parse().ok()?;
    (value.unsigned_abs() < 1 << 53 && !cell.starts_with('+')).then_some(value)
}

fn time(cell: &str) -> Option<i64> {
    i64::try_from(Wall::parse(cell.strip_prefix('"')?.strip_suffix('"')?)?.0).ok()
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

fn put(out: &mut Vec<u8>, mut value: u64) {
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

fn cut<'a>(from: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(head)
}

fn take(from: &mut &[u8]) -> Option<u64> {
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
