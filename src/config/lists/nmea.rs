//! `[serial.nmea]`, below a `[[serial]]` with protocol = "nmea": what is taken of a receiver's sentences.

use super::super::file::{Found, Reader, hint};
use super::super::keys::{DAY, Key, key, s};
use super::super::print;
use super::super::value::Type;
use super::Tell;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// A receiver or a sensor that speaks NMEA 0183.
#[derive(Clone, Debug, PartialEq)]
pub struct Nmea {
    /// Whether a sentence without a checksum is taken.
    pub checksum: String,
    /// The longest sentence, from `$` to before the line end.
    pub max_sentence: u32,
    /// Values are published no more often than this.
    pub interval: Duration,
    /// Which values are published; empty: all.
    pub values: Vec<String>,
}

impl Default for Nmea {
    fn default() -> Self {
        Nmea { checksum: "required".into(), max_sentence: 102, interval: s(1), values: Vec::new() }
    }
}

/// Every value there is.
pub const NMEA_VALUES: [&str; 16] = [
    "fix",
    "lat",
    "lon",
    "altitude",
    "speed",
    "course",
    "satellites_used",
    "satellites_in_view",
    "hdop",
    "time",
    "heading",
    "depth",
    "water_temperature",
    "wind_speed",
    "wind_angle",
    "wind_direction",
];

/// Keys of a `[serial.nmea]`.
pub(in crate::config) static KEYS: &[Key<Nmea>] = &[
    key!(Nmea: "serial.nmea" "checksum", Type::Choice(&["required", "optional"]), checksum, "Whether a sentence without a checksum is taken; a wrong one never is."),
    key!(Nmea: "serial.nmea" "max_sentence", Type::Whole(20, 1024), max_sentence, "Longest sentence in bytes, from $ to before the line end; a longer one is counted and skipped. The standard has 82, some receivers send 100."),
    key!(Nmea: "serial.nmea" "interval", Type::Duration(Duration::ZERO, DAY), interval, "Values are published no more often than this."),
    key!(Nmea: "serial.nmea" "values", Type::Names, values, "Which values are published, such as [\"lat\", \"lon\", \"fix\"]; all of them without it."),
];

/// Writes it as it would be read.
pub(super) fn write(out: &mut String, nmea: &Nmea) {
    if *nmea != Nmea::default() {
        out.push_str("\n[serial.nmea]\n");
        print::entry(out, KEYS, nmea);
    }
}

/// Its keys for the documentation.
pub(super) fn tell(tell: Tell<'_>) {
    tell("[serial.nmea], below a [[serial]] with protocol = \"nmea\"; may be left out", &print::rows(KEYS));
}

/// Section and name of its keys.
pub(super) fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYS.iter().map(|k| (k.section, k.name))
}

impl Reader<'_> {
    /// Reads and weighs `[serial.nmea]`.
    pub(super) fn nmea(&mut self, value: &Spanned<DeValue<'_>>) -> Nmea {
        let mut nmea = Nmea::default();
        let Some(table) = self.inner_table("serial.nmea", value) else { return nmea };
        let seen = self.keys(table, "serial.nmea", KEYS, &mut nmea);
        if let Some(Found { at, good: true }) = seen.get("values") {
            for name in nmea.values.iter().filter(|n| !NMEA_VALUES.contains(&n.as_str())) {
                let hint = hint(name, NMEA_VALUES.into_iter());
                self.fault(at, format!("there is no value {name:?}; {hint}"));
            }
        }
        nmea
    }
}
