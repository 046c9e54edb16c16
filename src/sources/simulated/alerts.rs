//! Alerts on the simulated values: raised with hysteresis, kept until they are over and acknowledged.
//!
//! active -> acknowledged -> closed, or active -> cleared -> closed; a cleared or closed alert that comes back is a new
//! occurrence, and an acknowledgement is for one occurrence only. Acknowledging is not done here: it is an event on the
//! bus like any other, and the desk takes what stands there for true.

use super::out::Out;
use super::{Moment, World, round};
use crate::model::{Alert, AlertState, Severity, SourceState};
use std::collections::BTreeMap;

/// Limits of a reading. Below (or above) the first it is minor, beyond the second major, back behind the third over.
struct Rule {
    id: &'static str,
    reading: &'static str,
    source: &'static str,
    above: bool,
    minor: f64,
    major: f64,
    over: f64,
    unit: &'static str,
    what: &'static str,
    guidance: &'static str,
}

const RULES: [Rule; 4] = [
    Rule {
        id: "tank_level.low",
        reading: "tank_level",
        source: "tank_level",
        above: false,
        minor: 25.0,
        major: 15.0,
        over: 28.0,
        unit: "%",
        what: "Water tank is low",
        guidance: "Open valve V2; if the level does not rise, look at the float switch.",
    },
    Rule {
        id: "grid_hz.low",
        reading: "grid_hz",
        source: "grid_hz",
        above: false,
        minor: 49.9,
        major: 49.8,
        over: 49.92,
        unit: "Hz",
        what: "Mains frequency is low",
        guidance: "Check whether the generator has taken over; shed load if so.",
    },
    Rule {
        id: "grid_hz.high",
        reading: "grid_hz",
        source: "grid_hz",
        above: true,
        minor: 50.1,
        major: 50.2,
        over: 50.08,
        unit: "Hz",
        what: "Mains frequency is high",
        guidance: "Check the governor of the generator.",
    },
    Rule {
        id: "dmm.temperature",
        reading: "dmm.temperature",
        source: "dmm",
        above: true,
        minor: 32.0,
        major: 34.0,
        over: 31.6,
        unit: "degC",
        what: "Multimeter is warm",
        guidance: "Readings drift by 20 ppm per degree; let it cool before a calibration.",
    },
];

/// A condition that holds.
struct Condition {
    severity: Severity,
    value: Option<f64>,
    limit: Option<f64>,
}

impl Rule {
    /// Whether it holds, given whether it held before.
    fn judge(&self, value: f64, held: bool) -> Option<Condition> {
        let beyond = |limit: f64| if self.above { value > limit } else { value < limit };
        let severity = match () {
            () if beyond(self.major) => Severity::Major,
            () if beyond(self.minor) || (held && beyond(self.over)) => Severity::Minor,
            () => return None,
        };
        let limit = if severity == Severity::Major { self.major } else { self.minor };
        Some(Condition { severity, value: Some(round(value, 2)), limit: Some(limit) })
    }
}

/// The desk where alerts are kept.
pub(super) struct Desk {
    alerts: BTreeMap<String, Alert>,
}

impl Desk {
    /// `open` are alerts of an earlier run.
    pub fn new(open: Vec<Alert>) -> Self {
        Desk { alerts: open.into_iter().map(|alert| (alert.alert_id.clone(), alert)).collect() }
    }

    /// Takes over acknowledgements. `newest` gives the alert of an id as it stands in the state of the bus, where a
    /// closed one is no longer.
    pub fn hear(&mut self, newest: impl Fn(&str) -> Option<Alert>) {
        for alert in self.alerts.values_mut().filter(|alert| alert.state != AlertState::Closed) {
            match newest(&alert.alert_id) {
                Some(theirs) if theirs.occurrence == alert.occurrence => *alert = theirs,
                None if alert.state == AlertState::Cleared => alert.state = AlertState::Closed,
                _ => {}
            }
        }
    }

    /// Judges everything. A reading whose source fails is not judged: nobody knows.
    pub fn step(&mut self, at: Moment, world: &World, states: &[(&'static str, SourceState)], out: &mut Out) {
        for rule in &RULES {
            let known =
                states.iter().any(|(source, state)| *source == rule.source && *state == SourceState::Ok);
            if let Some(value) = world.readings.get(rule.reading).filter(|_| known) {
                let condition = rule.judge(*value, self.holds(rule.id));
                let text = |condition: &Condition| {
                    let word = if rule.above { "above" } else { "below" };
                    format!("{}: {word} {} {}", rule.what, condition.limit.unwrap_or_default(), rule.unit)
                };
                let about = About { source: rule.source, unit: Some(rule.unit), guidance: rule.guidance };
                self.set(at, rule.id, condition, text, about, out);
            }
        }
        for (source, state) in states {
            let what = match state {
                SourceState::Absent => "is not connected",
                SourceState::Stale => "is silent",
                SourceState::Error => "can't be understood",
                SourceState::Opening | SourceState::NoData => continue,
                SourceState::Ok | SourceState::Disabled => "",
            };
            let condition = (!what.is_empty()).then_some(Condition {
                severity: Severity::Major,
                value: None,
                limit: None,
            });
            let about = About {
                source,
                unit: None,
                guidance: "Check its power and its cable; it is tried again by itself.",
            };
            self.set(at, &format!("source.{source}"), condition, |_| format!("{source} {what}"), about, out);
        }
    }

    fn holds(&self, id: &str) -> bool {
        self.alerts.get(id).is_some_and(|a| matches!(a.state, AlertState::Active | AlertState::Acknowledged))
    }

    fn set(
        &mut self,
        at: Moment,
        id: &str,
        condition: Option<Condition>,
        text: impl Fn(&Condition) -> String,
        about: About<'_>,
        out: &mut Out,
    ) {
        let held = self.holds(id);
        match (condition, held) {
            (None, false) => {}
            (None, true) => {
                let Some(alert) = self.alerts.get_mut(id) else { return };
                let known = alert.state == AlertState::Acknowledged;
                alert.state = if known { AlertState::Closed } else { AlertState::Cleared };
                alert.cleared_at = Some(at.wall);
                out.record("alert", alert);
            }
            (Some(condition), true) => {
                let Some(alert) = self.alerts.get_mut(id) else { return };
                if alert.severity != condition.severity {
                    // Worse than what was acknowledged is news again.
                    if condition.severity > alert.severity && alert.state == AlertState::Acknowledged {
                        alert.state = AlertState::Active;
                        alert.acked_at = None;
                        alert.acked_by = None;
                    }
                    alert.severity = condition.severity;
                    alert.message = text(&condition);
                    (alert.value, alert.limit) = (condition.value, condition.limit);
                    out.record("alert", alert);
                }
            }
            (Some(condition), false) => {
                let occurrence = self.alerts.get(id).map_or(0, |alert| alert.occurrence) + 1;
                let alert = Alert {
                    alert_id: id.into(),
                    occurrence,
                    severity: condition.severity,
                    state: AlertState::Active,
                    message: text(&condition),
                    raised_at: at.wall,
                    source: Some(about.source.into()),
                    guidance: Some(about.guidance.into()),
                    value: condition.value,
                    limit: condition.limit,
                    unit: about.unit.map(str::to_string),
                    cleared_at: None,
                    acked_at: None,
                    acked_by: None,
                };
                out.record("alert", &alert);
                self.alerts.insert(id.into(), alert);
            }
        }
    }
}

/// What an alert says about its cause.
struct About<'a> {
    source: &'a str,
    unit: Option<&'static str>,
    guidance: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;

    fn at(step: u64) -> Moment {
        Moment { step, wall: Wall(1_767_799_800_000) }
    }

    fn set(desk: &mut Desk, level: f64, out: &mut Out) -> Option<(AlertState, u64, Severity)> {
        let world = World { readings: BTreeMap::from([("tank_level", level)]), ..World::default() };
        desk.step(at(0), &world, &[("tank_level", SourceState::Ok)], out);
        desk.alerts.get("tank_level.low").map(|a| (a.state, a.occurrence, a.severity))
    }

    /// Somebody acknowledges occurrence `occurrence`: what the bus would have then.
    fn ack(desk: &mut Desk, occurrence: u64) {
        let on_the_bus = desk.alerts.get("tank_level.low").cloned().filter(|a| a.state != AlertState::Closed);
        desk.hear(|_| {
            let mut alert = on_the_bus.clone()?;
            if alert.occurrence == occurrence {
                match alert.state {
                    AlertState::Active => alert.state = AlertState::Acknowledged,
                    AlertState::Cleared => return None,
                    _ => {}
                }
            }
            Some(alert)
        });
    }

    #[test]
    fn an_alert_lives_and_dies_by_the_table() {
        use AlertState::{Acknowledged, Active, Cleared, Closed};
        use Severity::{Major, Minor};
        let mut desk = Desk::new(Vec::new());
        let mut out = Out::default();
        assert_eq!(set(&mut desk, 40.0, &mut out), None);
        assert_eq!(set(&mut desk, 24.0, &mut out), Some((Active, 1, Minor)));
        assert_eq!(set(&mut desk, 27.0, &mut out), Some((Active, 1, Minor)), "hysteresis");
        ack(&mut desk, 1);
        assert_eq!(set(&mut desk, 24.0, &mut out), Some((Acknowledged, 1, Minor)));
        assert_eq!(set(&mut desk, 14.0, &mut out), Some((Active, 1, Major)), "worse is news");
        ack(&mut desk, 1);
        assert_eq!(set(&mut desk, 50.0, &mut out), Some((Closed, 1, Major)));
        assert_eq!(set(&mut desk, 20.0, &mut out), Some((Active, 2, Minor)));
        assert_eq!(set(&mut desk, 50.0, &mut out), Some((Cleared, 2, Minor)));
        assert_eq!(set(&mut desk, 20.0, &mut out), Some((Active, 3, Minor)));
        ack(&mut desk, 2);
        assert_eq!(set(&mut desk, 50.0, &mut out), Some((Cleared, 3, Minor)), "that was another occurrence");
        ack(&mut desk, 3);
        assert_eq!(set(&mut desk, 50.0, &mut out), Some((Closed, 3, Minor)));
    }

    #[test]
    fn what_is_not_known_is_not_judged() {
        let mut desk = Desk::new(Vec::new());
        let mut out = Out::default();
        set(&mut desk, 20.0, &mut out);
        let world = World { readings: BTreeMap::from([("tank_level", 90.0)]), ..World::default() };
        desk.step(at(1), &world, &[("tank_level", SourceState::Stale)], &mut out);
        assert_eq!(desk.alerts["tank_level.low"].state, AlertState::Active);
        assert_eq!(desk.alerts["source.tank_level"].state, AlertState::Active);
    }
}
