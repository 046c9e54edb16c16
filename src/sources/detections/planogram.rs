//! What should stand where, and how what was seen differs from it. Pure.
//!
//! The newest look at a location counts: all detections of one `frame`, or, where the publisher gives no frames, those
//! within [`LOOK_MS`] of the first of them. It counts once it is complete. A location that nobody has looked at differs in nothing.

use crate::clock::Wall;
use crate::model::Detection;
use crate::sheet;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Detections of one location without a frame belong to one look for this long.
pub const LOOK_MS: u64 = 5_000;
/// A look that got nothing more for this long is complete: its things may be posted one by one.
pub const SETTLE: Duration = Duration::from_millis(800);
/// Rows of the planogram.
pub const ROWS: usize = 5_000;
/// Locations whose newest look is kept; and things of one look.
const LOCATIONS: usize = 2_000;
const THINGS: usize = 500;

/// One row: how many of a thing are expected at a location.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Where.
    pub location: String,
    /// What, as detections name it in `sku`, or in `label` where they have no SKU.
    pub sku: String,
    /// How many.
    pub expected: u32,
    /// So many more or fewer are no discrepancy.
    #[serde(default)]
    pub tolerance: u32,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// How a location differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Expected, none seen.
    Missing,
    /// Fewer than expected.
    Low,
    /// More than expected.
    Over,
    /// Seen, not expected anywhere.
    Extra,
    /// Seen here, expected elsewhere.
    Misplaced,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Discrepancy {
    pub location: String,
    pub sku: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(rename = "type")]
    pub kind: Kind,
    pub expected: u32,
    pub detected: u32,
    /// For what is misplaced: where it belongs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub belongs: Vec<String>,
    /// When the location was looked at.
    pub seen: Wall,
}

/// Reads a planogram from CSV with a header: location, sku, expected; tolerance and name may be missing.
///
/// # Errors
/// One sentence with the line.
pub fn read_csv(text: &str) -> Result<Vec<Row>, String> {
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(false).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|e| format!("line 1: {e}"))?.clone();
    for name in ["location", "sku", "expected"] {
        if !header.iter().any(|column| column == name) {
            return Err(format!(
                "line 1: there is no column {name:?}; expected location,sku,expected and if you like tolerance,name"
            ));
        }
    }
    let mut rows = Vec::new();
    for (n, record) in reader.records().enumerate() {
        let line = n + 2;
        let record = record.map_err(|e| format!("line {line}: {e}"))?;
        let cell = |name: &str| {
            header.iter().position(|h| h == name).and_then(|at| record.get(at)).filter(|c| !c.is_empty())
        };
        let count = |name: &str| match cell(name).map(|c| (c, c.parse::<u32>())) {
            None => Ok(None),
            Some((_, Ok(count))) => Ok(Some(count)),
            Some((text, Err(_))) => Err(format!(
                "line {line}: {name} is {:?}; expected a whole number",
                text.chars().take(40).collect::<String>()
            )),
        };
        let word = |name: &str| {
            cell(name).map(|c| sheet::bare(c).to_string()).ok_or(format!("line {line}: {name} is empty"))
        };
        rows.push(Row {
            location: word("location")?,
            sku: word("sku")?,
            expected: count("expected")?.ok_or(format!("line {line}: expected is empty"))?,
            tolerance: count("tolerance")?.unwrap_or(0),
            name: cell("name").map(|c| sheet::bare(c).to_string()),
        });
    }
    check(rows)
}

/// Whether rows can be a planogram: bounded, with sane names, each thing once at each location.
///
/// # Errors
/// One sentence.
pub fn check(rows: Vec<Row>) -> Result<Vec<Row>, String> {
    if rows.len() > ROWS {
        return Err(format!("there are {} rows; at most {ROWS}", rows.len()));
    }
    let mut seen = BTreeSet::new();
    for (n, row) in rows.iter().enumerate() {
        for (name, text) in [("location", &row.location), ("sku", &row.sku)] {
            if text.is_empty() || text.len() > 64 || text.chars().any(char::is_control) {
                return Err(format!("row {}: {name} is {text:?}; expected 1 to 64 characters", n + 1));
            }
        }
        if row.name.as_ref().is_some_and(|name| name.len() > 128) {
            return Err(format!("row {}: name is longer than 128 bytes", n + 1));
        }
        if !seen.insert((&row.location, &row.sku)) {
            return Err(format!("row {}: {} at {} is there twice", n + 1, row.sku, row.location));
        }
    }
    Ok(rows)
}

/// The planogram as CSV that [`read_csv`] reads; text that a spreadsheet would run has an apostrophe before it.
pub fn write_csv(rows: &[Row]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut put = |cells: [&str; 5]| {
        // Into memory: can't fail.
        let _ = writer.write_record(cells);
    };
    put(["location", "sku", "expected", "tolerance", "name"]);
    for row in rows {
        let (expected, tolerance) = (row.expected.to_string(), row.tolerance.to_string());
        let name = row.name.as_deref().unwrap_or_default();
        put([&sheet::cell(&row.location), &sheet::cell(&row.sku), &expected, &tolerance, &sheet::cell(name)]);
    }
    writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

/// The newest look at every location.
#[derive(Clone, Debug, Default)]
pub struct Looks(BTreeMap<String, Place>);

#[derive(Clone, Debug, Default)]
struct Place {
    /// The newest look that is complete.
    judged: Option<Look>,
    /// The one that may still get more.
    current: Option<Look>,
}

#[derive(Clone, Debug)]
struct Look {
    frame: Option<String>,
    began: Wall,
    newest: Wall,
    /// When it last got something, on the monotonic clock.
    touched: Duration,
    counts: BTreeMap<String, u32>,
}

impl Looks {
    /// Takes one detection in, at `now` on the monotonic clock and `wall` on the other; what is older than the newest look changes
    /// nothing.
    pub fn add(&mut self, detection: &Detection, now: Duration, wall: Wall) {
        let Some(location) = &detection.location else { return };
        let thing = detection.sku.as_ref().unwrap_or(&detection.label);
        let (at, frame) = (detection.timestamp, detection.frame.as_deref());
        if !self.continues(location, frame, at) {
            self.begin(location, detection.frame.clone(), at, now, wall);
        }
        // Still not: it is of an older look, or there is no room.
        if self.continues(location, frame, at)
            && let Some(look) = self.0.get_mut(location).and_then(|place| place.current.as_mut())
        {
            look.newest = look.newest.max(at);
            look.touched = now;
            if look.counts.len() < THINGS || look.counts.contains_key(thing) {
                *look.counts.entry(thing.clone()).or_default() += 1;
            }
        }
    }

    /// A look at a location begins, and may stay empty; false when a newer one is known, or there are too many locations.
    pub fn begin(
        &mut self,
        location: &str,
        frame: Option<String>,
        at: Wall,
        now: Duration,
        wall: Wall,
    ) -> bool {
        if !self.0.contains_key(location) && self.0.len() >= LOCATIONS {
            return false;
        }
        let place = self.0.entry(location.to_string()).or_default();
        let newest = place.current.as_ref().or(place.judged.as_ref()).map(|look| look.newest);
        // A look from the future was told by a wrong clock, which is right again by now: it is before nothing.
        let is_known = |newest: &Wall| newest.0 <= wall.0.saturating_add(LOOK_MS);
        if newest.filter(is_known).is_some_and(|newest| at < newest) {
            return false;
        }
        if let Some(done) = place.current.take() {
            place.judged = Some(done);
        }
        place.current = Some(Look { frame, began: at, newest: at, touched: now, counts: BTreeMap::new() });
        true
    }

    /// Looks that have got nothing more for [`SETTLE`] are complete. True when one has become so.
    pub fn settle(&mut self, now: Duration) -> bool {
        let mut changed = false;
        for place in self.0.values_mut() {
            if let Some(look) = place.current.as_ref().filter(|l| now.saturating_sub(l.touched) >= SETTLE) {
                changed |= place
                    .judged
                    .as_ref()
                    .is_none_or(|judged| judged.newest != look.newest || judged.counts != look.counts);
                place.judged = Some(look.clone());
            }
        }
        changed
    }

    /// Whether a look may still become complete by time alone.
    pub fn is_settling(&self, now: Duration) -> bool {
        self.0.values().any(|p| p.current.as_ref().is_some_and(|l| now.saturating_sub(l.touched) < SETTLE))
    }

    fn continues(&self, location: &str, frame: Option<&str>, at: Wall) -> bool {
        let current = self.0.get(location).and_then(|place| place.current.as_ref());
        current.is_some_and(|look| match (&look.frame, frame) {
            (Some(known), Some(frame)) => known == frame,
            (None, None) => at.0.abs_diff(look.began.0) <= LOOK_MS,
            _ => false,
        })
    }

    /// How what was seen differs from what is expected, by location and thing.
    pub fn compare(&self, rows: &[Row]) -> Vec<Discrepancy> {
        let mut homes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut expected: BTreeMap<(&str, &str), &Row> = BTreeMap::new();
        let mut planned = BTreeSet::new();
        for row in rows {
            homes.entry(&row.sku).or_default().insert(&row.location);
            expected.insert((&row.location, &row.sku), row);
            planned.insert(row.location.as_str());
        }
        let mut found = Vec::new();
        for (location, place) in &self.0 {
            let Some(look) = &place.judged else { continue };
            for row in rows.iter().filter(|row| row.location == *location) {
                let detected = look.counts.get(&row.sku).copied().unwrap_or(0);
                let kind = if detected == 0 && row.expected > row.tolerance {
                    Kind::Missing
                } else if detected.saturating_add(row.tolerance) < row.expected {
                    Kind::Low
                } else if detected > row.expected.saturating_add(row.tolerance) {
                    Kind::Over
                } else {
                    continue;
                };
                found.push(Discrepancy {
                    location: location.clone(),
                    sku: row.sku.clone(),
                    name: row.name.clone(),
                    kind,
                    expected: row.expected,
                    detected,
                    belongs: Vec::new(),
                    seen: look.newest,
                });
            }
            // Where nothing is planned, nothing is out of plan.
            if !planned.contains(location.as_str()) {
                continue;
            }
            for (thing, detected) in &look.counts {
                if expected.contains_key(&(location.as_str(), thing.as_str())) {
                    continue;
                }
                let belongs: Vec<String> =
                    homes.get(thing.as_str()).into_iter().flatten().map(|home| home.to_string()).collect();
                found.push(Discrepancy {
                    location: location.clone(),
                    sku: thing.clone(),
                    name: None,
                    kind: if belongs.is_empty() { Kind::Extra } else { Kind::Misplaced },
                    expected: 0,
                    detected: *detected,
                    belongs,
                    seen: look.newest,
                });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::tests_detection as seen;
    use super::*;
    use proptest::prelude::*;

    fn rows() -> Vec<Row> {
        read_csv("location,sku,expected,tolerance,name\nA1,S1,3,0,Beans\nA1,S2,4,1,\nA2,S3,2,0,\n").unwrap()
    }

    const NOW: Wall = Wall(100_000);

    /// One look with the time of a clock that was ahead made all later ones of that location look old, for as long as it was ahead.
    #[test]
    fn a_look_from_the_future_does_not_stop_those_of_now() {
        let mut looks = look(&[("A2", "S3", 9_000_000)], None);
        assert_eq!(kinds(&looks), [("A2".into(), "S3".into(), Kind::Low)]);
        for _ in 0..2 {
            looks.add(&seen("x", Some("S3"), Some("A2"), 0.9, 99_000), SETTLE, NOW);
        }
        looks.settle(SETTLE * 3);
        assert_eq!(kinds(&looks), []);
    }

    fn look(things: &[(&str, &str, u64)], frame: Option<&str>) -> Looks {
        let mut looks = Looks::default();
        for (location, sku, at) in things {
            let mut detection = seen("x", Some(sku), Some(location), 0.9, *at);
            detection.frame = frame.map(str::to_string);
            looks.add(&detection, Duration::ZERO, NOW);
        }
        looks.settle(SETTLE);
        looks
    }

    fn kinds(looks: &Looks) -> Vec<(String, String, Kind)> {
        looks.compare(&rows()).into_iter().map(|d| (d.location, d.sku, d.kind)).collect()
    }

    #[test]
    fn every_kind_of_difference_is_told() {
        let of = |things: &[(&str, &str, u64)]| {
            kinds(&look(things, Some("f"))).into_iter().map(|(_, s, k)| (s, k)).collect::<Vec<_>>()
        };
        let full = [
            ("A1", "S1", 1),
            ("A1", "S1", 1),
            ("A1", "S1", 1),
            ("A1", "S2", 1),
            ("A1", "S2", 1),
            ("A1", "S2", 1),
        ];
        assert_eq!(of(&full), [], "one fewer is within the tolerance");
        assert_eq!(of(&full[..5]), [("S2".into(), Kind::Low)]);
        assert_eq!(of(&full[..3]), [("S2".into(), Kind::Missing)]);
        let with = |more: (&'static str, &'static str, u64)| of(&[&full[..], &[more]].concat());
        assert_eq!(with(("A1", "S1", 1)), [("S1".into(), Kind::Over)]);
        assert_eq!(with(("A1", "S9", 1)), [("S9".into(), Kind::Extra)]);
        assert_eq!(with(("A1", "S3", 1)), [("S3".into(), Kind::Misplaced)]);
        assert_eq!(with(("C7", "S1", 1)), [], "nothing is planned there");
    }

    #[test]
    fn the_newest_look_counts() {
        let mut looks = look(&[("A2", "S3", 1_000), ("A2", "S3", 5_900)], None);
        assert_eq!(kinds(&looks), []);
        looks.add(&seen("x", Some("S3"), Some("A2"), 0.9, 7_000), SETTLE, NOW);
        assert_eq!(kinds(&looks), [], "the new look is not complete yet");
        assert!(looks.is_settling(SETTLE) && looks.settle(SETTLE * 2) && !looks.settle(SETTLE * 3));
        assert_eq!(kinds(&looks), [("A2".into(), "S3".into(), Kind::Low)], "a new look begins");
        looks.add(&seen("x", Some("S3"), Some("A2"), 0.9, 500), SETTLE * 3, NOW);
        looks.settle(SETTLE * 9);
        assert_eq!(kinds(&looks).len(), 1, "one from before changes nothing");
        assert!(looks.begin("A2", None, Wall(20_000), SETTLE * 9, NOW));
        looks.settle(SETTLE * 10);
        assert_eq!(kinds(&looks), [("A2".into(), "S3".into(), Kind::Missing)]);
        assert!(!looks.begin("A2", None, Wall(10_000), SETTLE, NOW));
    }

    #[test]
    fn a_planogram_is_read_back_and_faults_are_named() {
        assert_eq!(read_csv(&write_csv(&rows())).unwrap(), rows());
        let said = "location,sku,expected,tolerance,name\nA1,-7,3,0,\"=HYPERLINK(\"\"x\"\")\"\n";
        let wild = read_csv(said).unwrap();
        let file = write_csv(&wild);
        assert!(file.contains("A1,'-7,3,0,\"'=HYPERLINK"), "{file}");
        assert_eq!(read_csv(&file).unwrap(), wild);
        for (text, says) in [
            ("sku,expected\na,1\n", "line 1: there is no column \"location\""),
            ("location,sku,expected\nA,b,many\n", "line 2: expected is \"many\""),
            ("location,sku,expected\nA,b,1\nA,b,2\n", "row 2: b at A is there twice"),
            ("location,sku,expected\nA,,1\n", "line 2: sku is empty"),
            ("location,sku,expected\nA,b\n", "line 2"),
        ] {
            let why = read_csv(text).unwrap_err();
            assert!(why.starts_with(says), "{why}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in prop_oneof![".{0,200}", "[a',=1\n\t-]{0,40}"]) {
            if let Ok(rows) = read_csv(&format!("location,sku,expected,tolerance,name\n{text}")) {
                prop_assert_eq!(read_csv(&write_csv(&rows)).unwrap(), rows);
            }
        }
    }
}
