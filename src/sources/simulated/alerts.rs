//! Alerts on the simulated values: raised with hysteresis, kept until they are over and acknowledged.
//!
//! active -> acknowledged -> closed, or active -> cleared -> closed; a cleared or closed alert that comes back is a new
//! occurrence, and an acknowledgement is for one occurrence only.

use super::out::Out;
use super::{Actions, Moment, World, number, round};
use crate::bus::Command;
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
    sources: Vec<&'static str>,
}

impl Desk {
    /// A desk for the rules and for the failure of each of `sources`; `open` are alerts of an earlier run.
    pub fn new(sources: Vec<&'static str>, open: Vec<Alert>) -> Self {
        Desk { alerts: open.into_iter().map(|alert| (alert.alert_id.clone(), alert)).collect(), sources }
    }

    /// The targets it answers for.
    pub fn owned(&self) -> Vec<(String, Actions)> {
        let rules = RULES.iter().map(|rule| rule.id.to_string());
        let sources = self.sources.iter().map(|source| format!("source.{source}"));
        rules.chain(sources).map(|id| (format!("alert/{id}"), &["ack"] as Actions)).collect()
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

    /// Acknowledges.
    pub fn command(&mut self, command: &Command, at: Moment, out: &mut Out) {
        let id = command.target.strip_prefix("alert/").unwrap_or(&command.target);
        let Some(alert) = self.alerts.get_mut(id).filter(|alert| alert.state != AlertState::Closed) else {
            return out.rejected(&command.id, "the alert is not open");
        };
        if let Some(meant) = number(command, "occurrence")
            && meant != alert.occurrence as f64
        {
            let reason = format!("occurrence {meant} is over; occurrence {} is open", alert.occurrence);
            return out.rejected(&command.id, reason);
        }
        match alert.state {
            AlertState::Acknowledged => return out.completed(&command.id, "acknowledged"),
            AlertState::Active => alert.state = AlertState::Acknowledged,
            _ => alert.state = AlertState::Closed,
        }
        alert.acked_at = Some(at.wall);
        alert.acked_by.clone_from(&command.by);
        out.record("alert", alert);
        out.completed(&command.id, if alert.state == AlertState::Closed { "closed" } else { "acknowledged" });
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
    use super::super::out::Effect;
    use super::*;
    use crate::clock::Wall;
    use crate::model::CommandState;

    fn at(step: u64) -> Moment {
        Moment { step, wall: Wall(1_767_799_800_000) }
    }

    fn set(desk: &mut Desk, level: f64, out: &mut Out) -> Option<(AlertState, u64, Severity)> {
        let world = World { readings: BTreeMap::from([("tank_level", level)]), ..World::default() };
        desk.step(at(0), &world, &[("tank_level", SourceState::Ok)], out);
        desk.alerts.get("tank_level.low").map(|a| (a.state, a.occurrence, a.severity))
    }

    fn ack(desk: &mut Desk, occurrence: u64, out: &mut Out) -> CommandState {
        let params = serde_json::json!({ "occurrence": occurrence }).as_object().cloned().unwrap_or_default();
        let (target, action) = ("alert/tank_level.low".to_string(), "ack".to_string());
        out.take();
        desk.command(&Command { id: "c".into(), target, action, params, by: None, reason: None }, at(0), out);
        out.take()
            .iter()
            .find_map(|effect| match effect {
                Effect::Finish { state, .. } => Some(*state),
                _ => None,
            })
            .expect("every command ends")
    }

    #[test]
    fn an_alert_lives_and_dies_by_the_table() {
        use AlertState::{Acknowledged, Active, Cleared, Closed};
        use Severity::{Major, Minor};
        let mut desk = Desk::new(vec!["tank_level"], Vec::new());
        let mut out = Out::default();
        assert_eq!(set(&mut desk, 40.0, &mut out), None);
        assert_eq!(set(&mut desk, 24.0, &mut out), Some((Active, 1, Minor)));
        assert_eq!(set(&mut desk, 27.0, &mut out), Some((Active, 1, Minor)), "hysteresis");
        assert_eq!(ack(&mut desk, 1, &mut out), CommandState::Completed);
        assert_eq!(set(&mut desk, 24.0, &mut out), Some((Acknowledged, 1, Minor)));
        assert_eq!(set(&mut desk, 14.0, &mut out), Some((Active, 1, Major)), "worse is news");
        assert_eq!(ack(&mut desk, 1, &mut out), CommandState::Completed);
        assert_eq!(set(&mut desk, 50.0, &mut out), Some((Closed, 1, Major)));
        assert_eq!(ack(&mut desk, 1, &mut out), CommandState::Rejected);
        assert_eq!(set(&mut desk, 20.0, &mut out), Some((Active, 2, Minor)));
        assert_eq!(set(&mut desk, 50.0, &mut out), Some((Cleared, 2, Minor)));
        assert_eq!(set(&mut desk, 20.0, &mut out), Some((Active, 3, Minor)));
        assert_eq!(ack(&mut desk, 2, &mut out), CommandState::Rejected, "of another occurrence");
        assert_eq!(set(&mut desk, 50.0, &mut out), Some((Cleared, 3, Minor)));
        assert_eq!(ack(&mut desk, 3, &mut out), CommandState::Completed);
        assert_eq!(set(&mut desk, 50.0, &mut out), Some((Closed, 3, Minor)));
    }

    #[test]
    fn what_is_not_known_is_not_judged() {
        let mut desk = Desk::new(vec!["tank_level"], Vec::new());
        let mut out = Out::default();
        set(&mut desk, 20.0, &mut out);
        let world = World { readings: BTreeMap::from([("tank_level", 90.0)]), ..World::default() };
        desk.step(at(1), &world, &[("tank_level", SourceState::Stale)], &mut out);
        assert_eq!(desk.alerts["tank_level.low"].state, AlertState::Active);
        assert_eq!(desk.alerts["source.tank_level"].state, AlertState::Active);
    }
}
