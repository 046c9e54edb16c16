//! What a person should know of the simulated values: ordinary rules of `alerts`.

use crate::config::{AlertLimits, AlertRule, AlertTest};
use crate::model::Selector;

/// Limits of a reading: beyond the first it is minor, beyond the second major, back inside by `back` over.
struct Limits {
    id: &'static str,
    value: &'static str,
    source: &'static str,
    above: bool,
    minor: f64,
    major: f64,
    back: f64,
    name: &'static str,
    guidance: &'static str,
}

const LIMITS: [Limits; 4] = [
    Limits {
        id: "tank_level.low",
        value: "stream/tank_level",
        source: "tank_level",
        above: false,
        minor: 25.0,
        major: 15.0,
        back: 3.0,
        name: "Water tank",
        guidance: "Open valve V2; if the level does not rise, look at the float switch.",
    },
    Limits {
        id: "grid_hz.low",
        value: "stream/grid_hz",
        source: "grid_hz",
        above: false,
        minor: 49.9,
        major: 49.8,
        back: 0.02,
        name: "Mains frequency",
        guidance: "Check whether the generator has taken over; shed load if so.",
    },
    Limits {
        id: "grid_hz.high",
        value: "stream/grid_hz",
        source: "grid_hz",
        above: true,
        minor: 50.1,
        major: 50.2,
        back: 0.02,
        name: "Mains frequency",
        guidance: "Check the governor of the generator.",
    },
    Limits {
        id: "dmm.temperature",
        value: "instrument/dmm/temperature",
        source: "dmm",
        above: true,
        minor: 32.0,
        major: 34.0,
        back: 0.4,
        name: "Multimeter",
        guidance: "Readings drift by 20 ppm per degree; let it cool before a calibration.",
    },
];

/// The rules that go with the bench.
pub fn rules() -> Vec<AlertRule> {
    LIMITS.iter().filter_map(rule).collect()
}

fn rule(limits: &Limits) -> Option<AlertRule> {
    let (minor, major) = (Some(limits.minor), Some(limits.major));
    let test = if limits.above {
        AlertLimits { above: minor, major_above: major, ..AlertLimits::default() }
    } else {
        AlertLimits { below: minor, major_below: major, ..AlertLimits::default() }
    };
    let rule = AlertRule::new(limits.id, Selector::parse(limits.value).ok()?, AlertTest::Limits(test));
    Some(AlertRule {
        hysteresis: limits.back,
        name: Some(limits.name.into()),
        guidance: Some(limits.guidance.into()),
        unless: vec![format!("source.{}", limits.source)],
        ..rule
    })
}
