//! Answers with a place for a value, as Python's `str.format` fills them: `{:+.8E}`.
//!
//! Source: the Python Standard Library, "Format String Syntax" and "Format Specification Mini-Language". Left out, and
//! refused where the file is read: names, indices, attributes, conversions (`!r`), places inside of places, `c` and `n`.

use super::value::{Value, shortest, special};
use crate::limits;

/// Text with places.
#[derive(Clone, Debug, PartialEq)]
pub struct Format(Vec<Piece>);

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Place(Spec),
}

/// `[[fill]align][sign][#][0][width][,][.precision][type]`
#[derive(Clone, Debug, Default, PartialEq)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

/// One part of a text with places in braces.
pub enum Part {
    Text(String),
    Field { name: String, spec: String },
}

/// Takes a text with places apart.
///
/// # Errors
/// One sentence.
pub fn parts(text: &str) -> Result<Vec<Part>, String> {
    let (mut parts, mut literal) = (Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' | '}' if chars.peek() == Some(&c) => {
                chars.next();
                literal.push(c);
            }
            '}' => return Err("a `}` stands alone; write `}}` for one that is sent".into()),
            '{' => {
                let mut field = String::new();
                loop {
                    match chars.next() {
                        Some('}') => break,
                        Some('{') => return Err("a place stands inside of a place".into()),
                        Some(c) => field.push(c),
                        None => return Err("a `{` is not closed; write `{{` for one that is sent".into()),
                    }
                }
                let (name, spec) = field.split_once(':').unwrap_or((&field, ""));
                if name.contains(['!', '.', '[']) {
                    return Err(format!("`{{{field}}}` is more than a name and a format"));
                }
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(Part::Field { name: name.into(), spec: spec.into() });
            }
            c => literal.push(c),
        }
    }
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(parts)
}

impl Format {
    /// A text whose places are all for the value called `name`: `{}` and `{0}` are for the one called "".
    ///
    /// # Errors
    /// One sentence.
    pub fn parse(text: &str, name: &str) -> Result<Format, String> {
        let (mut unnumbered, mut numbered) = (0, 0);
        let pieces = parts(text)?.into_iter().map(|part| match part {
            Part::Text(text) => Ok(Piece::Text(text)),
            Part::Field { name: field, spec } => {
                unnumbered += usize::from(field.is_empty());
                numbered += usize::from(field == "0");
                if field == name || name.is_empty() && field == "0" {
                    Spec::parse(&spec).map(Piece::Place)
                } else {
                    let expected = if name.is_empty() { "{} or such as {:.3f}" } else { "{ch_id}" };
                    Err(format!("`{{{field}}}` stands for nothing here; expected {expected}"))
                }
            }
        });
        let pieces = pieces.collect::<Result<Vec<_>, _>>()?;
        if unnumbered > 1 || unnumbered > 0 && numbered > 0 {
            return Err("there are several places for one value".into());
        }
        Ok(Format(pieces))
    }

    /// The text with the value in its places; `None` where the format does not fit the value.
    pub fn fill(&self, value: &Value) -> Option<String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Place(spec) => text.push_str(&spec.show(value)?),
            }
        }
        Some(text)
    }
}

impl Spec {
    fn parse(text: &str) -> Result<Spec, String> {
        let mut spec = Spec::default();
        let wrong = || format!("`{text}` is no format of a value");
        let chars: Vec<char> = text.chars().collect();
        let mut rest = chars.as_slice();
        let is_align = |c: Option<&char>| matches!(c, Some('<' | '>' | '=' | '^'));
        if is_align(rest.get(1)) {
            (spec.fill, spec.align) = (rest.first().copied(), rest.get(1).copied());
            rest = rest.get(2..).unwrap_or_default();
        } else if is_align(rest.first()) {
            spec.align = take(&mut rest);
        }
        if matches!(rest.first(), Some('+' | '-' | ' ')) {
            spec.sign = take(&mut rest);
        }
        spec.alternate = take_if(&mut rest, '#');
        spec.zero = take_if(&mut rest, '0');
        spec.width = number(&mut rest)?.unwrap_or(0);
        if matches!(rest.first(), Some(',' | '_')) {
            spec.grouping = take(&mut rest);
        }
        if take_if(&mut rest, '.') {
            spec.precision = Some(number(&mut rest)?.ok_or_else(wrong)?);
        }
        if matches!(
            rest.first(),
            Some('b' | 'd' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G' | 'o' | 's' | 'x' | 'X' | '%')
        ) {
            spec.kind = take(&mut rest);
        }
        if rest.is_empty() { Ok(spec) } else { Err(wrong()) }
    }

    fn show(&self, value: &Value) -> Option<String> {
        match value {
            Value::Text(text) => self.show_text(text),
            Value::Int(number) => match self.kind {
                None | Some('d' | 'b' | 'o' | 'x' | 'X') => self.show_int(*number),
                Some('s') => None,
                Some(_) => self.show_float(*number as f64),
            },
            Value::Float(number) => match self.kind {
                Some('d' | 'b' | 'o' | 'x' | 'X' | 's') => None,
                _ => self.show_float(*number),
            },
        }
    }

    fn show_text(&self, text: &str) -> Option<String> {
        let fits = matches!(self.kind, None | Some('s')) && self.sign.is_none() && !self.alternate;
        if !fits || self.align == Some('=') || self.grouping.is_some() {
            return None;
        }
        let text: String = text.chars().take(self.precision.unwrap_or(usize::MAX)).collect();
        let align = self.align.unwrap_or('<');
        let fill = self.fill.unwrap_or(if self.zero { '0' } else { ' ' });
        Some(pad("", &text, align, fill, self.width))
    }

    fn show_int(&self, number: i128) -> Option<String> {
        if self.precision.is_some() {
            return None;
        }
        let size = number.unsigned_abs();
        let (prefix, digits) = match self.kind {
            Some('b') => ("0b", format!("{size:b}")),
            Some('o') => ("0o", format!("{size:o}")),
            Some('x') => ("0x", format!("{size:x}")),
            Some('X') => ("0X", format!("{size:X}")),
            _ => ("", size.to_string()),
        };
        let prefix = if self.alternate { prefix } else { "" };
        let every = if prefix.is_empty() && matches!(self.kind, None | Some('d')) { 3 } else { 4 };
        if self.grouping == Some(',') && every == 4 {
            return None;
        }
        Some(self.finish(number < 0, prefix, &digits, "", every))
    }

    fn show_float(&self, number: f64) -> Option<String> {
        let negative = number.is_sign_negative() && !number.is_nan();
        let size = number.abs();
        let kind = self.kind.unwrap_or(' ');
        let upper = kind.is_ascii_uppercase();
        let mut text = if size.is_finite() {
            let precision = self.precision;
            match kind {
                'e' | 'E' => exponential(size, precision.unwrap_or(6), self.alternate),
                'f' | 'F' => fixed(size, precision.unwrap_or(6), self.alternate),
                '%' => fixed(size * 100.0, precision.unwrap_or(6), self.alternate),
                'g' | 'G' => general(size, precision.unwrap_or(6), self.alternate, false),
                _ => match precision {
                    None => shortest(size),
                    Some(precision) => general(size, precision, self.alternate, true),
                },
            }
        } else {
            special(size).to_string()
        };
        if upper {
            text = text.to_ascii_uppercase();
        }
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (whole, rest) = text.split_at(split);
        let rest = format!("{rest}{}", if kind == '%' { "%" } else { "" });
        Some(self.finish(negative, "", whole, &rest, 3))
    }

    /// Sign, prefix, digits with groups, and what follows, brought to the width.
    fn finish(&self, negative: bool, prefix: &str, digits: &str, rest: &str, every: usize) -> String {
        let sign = match (negative, self.sign) {
            (true, _) => "-",
            (false, Some('+')) => "+",
            (false, Some(' ')) => " ",
            _ => "",
        };
        let lead = format!("{sign}{prefix}");
        // Without an alignment of its own, a zero fills between sign and digits.
        let zero = self.zero && self.align.is_none();
        let align = if zero { '=' } else { self.align.unwrap_or('>') };
        let fill = self.fill.unwrap_or(if self.zero { '0' } else { ' ' });
        let Some(separator) = self.grouping else {
            return pad(&lead, &format!("{digits}{rest}"), align, fill, self.width);
        };
        let mut digits = digits.to_string();
        if align == '=' && fill == '0' {
            // The zeros are grouped as well.
            let wanted = self.width.saturating_sub(lead.chars().count() + rest.chars().count());
            while grouped(&digits, separator, every).len() < wanted {
                digits.insert(0, '0');
            }
        }
        let digits = grouped(&digits, separator, every);
        pad(&lead, &format!("{digits}{rest}"), align, fill, self.width)
    }
}

fn take(rest: &mut &[char]) -> Option<char> {
    let (first, others) = rest.split_first()?;
    *rest = others;
    Some(*first)
}

fn take_if(rest: &mut &[char], wanted: char) -> bool {
    let is_there = rest.first() == Some(&wanted);
    if is_there {
        take(rest);
    }
    is_there
}

fn number(rest: &mut &[char]) -> Result<Option<usize>, String> {
    let mut number = None;
    while let Some(digit) = rest.first().and_then(|c| c.to_digit(10)) {
        take(rest);
        let so_far = number.unwrap_or(0_usize) * 10 + digit as usize;
        if so_far > limits::VISA_WIDTH {
            return Err(format!("a value is to be wider than {} characters", limits::VISA_WIDTH));
        }
        number = Some(so_far);
    }
    Ok(number)
}

fn pad(lead: &str, text: &str, align: char, fill: char, width: usize) -> String {
    let missing = width.saturating_sub(lead.chars().count() + text.chars().count());
    let filling = |n: usize| std::iter::repeat_n(fill, n).collect::<String>();
    match align {
        '<' => format!("{lead}{text}{}", filling(missing)),
        '^' => format!("{}{lead}{text}{}", filling(missing / 2), filling(missing - missing / 2)),
        '=' => format!("{lead}{}{text}", filling(missing)),
        _ => format!("{}{lead}{text}", filling(missing)),
    }
}

fn grouped(digits: &str, separator: char, every: usize) -> String {
    let count = digits.len();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (count - at).is_multiple_of(every) {
            text.push(separator);
        }
        text.push(digit);
    }
    text
}

fn fixed(number: f64, precision: usize, alternate: bool) -> String {
    let text = format!("{number:.precision$}");
    if alternate && precision == 0 { format!("{text}.") } else { text }
}

fn exponential(number: f64, precision: usize, alternate: bool) -> String {
    let text = format!("{number:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let point = if alternate && precision == 0 { "." } else { "" };
    format!("{digits}{point}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// `g`; with `plain` as no type at all does it, which keeps one digit behind the point.
fn general(number: f64, precision: usize, alternate: bool, plain: bool) -> String {
    let precision = precision.max(1);
    let scientific = format!("{number:.*e}", precision - 1);
    let exponent: i32 = scientific.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let most = if plain { precision as i32 - 1 } else { precision as i32 };
    let text = if (-4..most).contains(&exponent) {
        fixed(number, usize::try_from(precision as i32 - 1 - exponent).unwrap_or(0), alternate)
    } else {
        exponential(number, precision - 1, alternate)
    };
    if alternate {
        return text;
    }
    let (digits, exponent) = text.split_at(text.find('e').unwrap_or(text.len()));
    let digits =
        if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    let point = if plain && exponent.is_empty() && !digits.contains('.') { ".0" } else { "" };
    format!("{digits}{point}{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(format: &str, value: Value) -> Option<String> {
        Format::parse(format, "").unwrap().fill(&value)
    }

    #[test]
    fn values_are_shown_as_python_shows_them() {
        // Each line as Python 3.11 prints it.
        for (format, number, text) in [
            ("{:.2f}", 100.0, "100.00"),
            ("{:+.8E}", 1.0, "+1.00000000E+00"),
            ("{:e}", 0.0, "0.000000e+00"),
            ("{:e}", -12345.678, "-1.234568e+04"),
            ("{:02.0f}", 3.0, "03"),
            ("{:.0f}", 2.5, "2"),
            ("{:.1f}", 0.25, "0.2"),
            ("{:g}", 0.0001, "0.0001"),
            ("{:g}", 0.00001, "1e-05"),
            ("{:g}", 1_000_000.0, "1e+06"),
            ("{:g}", 100_000.0, "100000"),
            ("{:#g}", 1.0, "1.00000"),
            ("{:.3}", 1234.0, "1.23e+03"),
            ("{:.3}", 12.0, "12.0"),
            ("{:.3}", 100.0, "1e+02"),
            ("{}", 1e22, "1e+22"),
            ("{:,.2f}", 1_234_567.891, "1,234,567.89"),
            ("{:012,.1f}", 1234.5, "00,001,234.5"),
            ("{:>10.3f}|", 1.5, "     1.500|"),
            ("{:*^9.1f}", 1.5, "***1.5***"),
            ("{:=+9.2f}", 1.5, "+    1.50"),
            ("{:09.2f}", -1.5, "-00001.50"),
            ("{:.1%}", 0.255, "25.5%"),
            ("{:E}", f64::INFINITY, "INF"),
            ("{: f}", f64::NAN, " nan"),
            ("{0:.1f}{0:.2f}", 1.0, "1.01.00"),
            ("{{{:.1f}}}", 1.0, "{1.0}"),
        ] {
            assert_eq!(filled(format, Value::Float(number)).as_deref(), Some(text), "{format}");
        }
        for (format, number, text) in [
            ("{:d}", 7, "7"),
            ("{:.2f}", 7, "7.00"),
            ("{:03d}", -7, "-07"),
            ("{:x}", 255, "ff"),
            ("{:#06X}", 255, "0X00FF"),
            ("{:b}", 5, "101"),
            ("{:,}", 1_234_567, "1,234,567"),
            ("{:_x}", 0x12345, "1_2345"),
            ("{:<4d}|", 7, "7   |"),
        ] {
            assert_eq!(filled(format, Value::Int(number)).as_deref(), Some(text), "{format}");
        }
        assert_eq!(filled("{:s}", Value::Text("P6V".into())).as_deref(), Some("P6V"));
        assert_eq!(filled("{:>5.2}|", Value::Text("P6V".into())).as_deref(), Some("   P6|"));
    }

    #[test]
    fn what_does_not_fit_is_nothing_and_what_is_no_format_is_said() {
        assert_eq!(filled("{:d}", Value::Text("0".into())), None);
        assert_eq!(filled("{:d}", Value::Float(1.0)), None);
        assert_eq!(filled("{:s}", Value::Int(1)), None);
        assert_eq!(filled("{:.2d}", Value::Int(1)), None);
        for wrong in [
            "{",
            "}",
            "{:q}",
            "{a}",
            "{1}",
            "{} {}",
            "{} {0}",
            "{!r}",
            "{0.x}",
            "{:{}}",
            "{:99999999d}",
            "{:.f}",
        ] {
            assert!(Format::parse(wrong, "").is_err(), "{wrong}");
        }
        let id = Format::parse("CH{ch_id}:VOLT? {{}}", "ch_id").unwrap();
        assert_eq!(id.fill(&Value::Text("2".into())).as_deref(), Some("CH2:VOLT? {}"));
        assert!(Format::parse("CH{}", "ch_id").is_err());
    }
}
