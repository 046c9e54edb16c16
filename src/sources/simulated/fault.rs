//! Fault switches: what a tester may do to a simulated source.

use crate::sources::BenchControl;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The faults, by their wire names.
const NAMES: [&str; 4] = ["drop", "stall", "garbage", "disconnect"];
/// The longest a fault may be asked to last, in seconds; for longer, leave `for_s` out and switch it off.
const LONGEST_S: f64 = 86_400.0;

/// What is wrong with one source at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// Some samples are lost on the way.
    pub drop: bool,
    /// Nothing is said any more.
    pub stall: bool,
    /// What is said can't be understood.
    pub garbage: bool,
    /// The device is gone.
    pub disconnect: bool,
}

#[derive(Clone, Copy)]
enum Until {
    Switched,
    Ends(Instant),
}

/// The switches of every source.
pub(super) struct Switches(Mutex<BTreeMap<&'static str, [Option<Until>; 4]>>);

impl Switches {
    pub fn new(sources: impl Iterator<Item = &'static str>) -> Self {
        Switches(Mutex::new(sources.map(|source| (source, [None; 4])).collect()))
    }

    /// What is wrong with `source` now; faults whose time is over are gone.
    pub fn now(&self, source: &str) -> Faults {
        let mut all = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let Some(row) = all.get_mut(source) else { return Faults::default() };
        expire(row);
        let [drop, stall, garbage, disconnect] = row.map(|until| until.is_some());
        Faults { drop, stall, garbage, disconnect }
    }
}

fn expire(row: &mut [Option<Until>; 4]) {
    for until in row {
        if matches!(until, Some(Until::Ends(at)) if *at <= Instant::now()) {
            *until = None;
        }
    }
}

impl BenchControl for Switches {
    fn list(&self) -> Value {
        let mut all = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let rows = all.iter_mut().map(|(source, row)| {
            expire(row);
            let on = NAMES.iter().zip(row.iter()).filter_map(|(name, until)| {
                let ends_in_s = match (*until)? {
                    Until::Switched => None,
                    Until::Ends(at) => Some(at.saturating_duration_since(Instant::now()).as_secs_f64()),
                };
                Some(json!({ "fault": name, "ends_in_s": ends_in_s }))
            });
            json!({ "source": source, "on": on.collect::<Vec<_>>() })
        });
        json!({ "faults": NAMES, "sources": rows.collect::<Vec<_>>() })
    }

    fn fault(&self, source: &str, fault: &str, on: bool, for_s: Option<f64>) -> Result<(), String> {
        let Some(which) = NAMES.iter().position(|name| *name == fault) else {
            return Err(format!("unknown fault; expected one of {}", NAMES.join(", ")));
        };
        let until = match for_s {
            _ if !on => None,
            None => Some(Until::Switched),
            Some(s) if s > 0.0 && s <= LONGEST_S => {
                Some(Until::Ends(Instant::now() + Duration::from_secs_f64(s)))
            }
            Some(s) => {
                return Err(format!("for_s is {s}; expected more than 0 and at most {LONGEST_S} seconds"));
            }
        };
        let mut all = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let sources = all.keys().copied().collect::<Vec<_>>().join(", ");
        let row = all.get_mut(source).ok_or_else(|| format!("unknown source; expected one of {sources}"))?;
        row[which] = until;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_go_on_and_off_and_end_by_themselves() {
        let switches = Switches::new(["a", "b"].into_iter());
        switches.fault("a", "stall", true, None).unwrap();
        assert_eq!(switches.now("a"), Faults { stall: true, ..Faults::default() });
        assert_eq!(switches.now("b"), Faults::default());
        switches.fault("a", "stall", false, None).unwrap();
        assert_eq!(switches.now("a"), Faults::default());
        switches.fault("b", "drop", true, Some(1e-9)).unwrap();
        while switches.now("b").drop {
            std::thread::yield_now();
        }
        assert_eq!(switches.list()["sources"][1], json!({"source": "b", "on": []}));
    }

    #[test]
    fn what_is_asked_wrongly_is_named() {
        let switches = Switches::new(["a"].into_iter());
        assert!(switches.fault("x", "drop", true, None).unwrap_err().contains("expected one of a"));
        assert!(switches.fault("a", "explode", true, None).unwrap_err().contains("disconnect"));
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert!(switches.fault("a", "drop", true, Some(wrong)).is_err(), "{wrong}");
        }
    }
}
