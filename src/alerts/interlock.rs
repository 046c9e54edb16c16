//! Interlocks: which commands the rules of the file keep from whom, and what is said then.
//!
//! A target is blocked while an alert with `blocks` stands, while it is not known whether it does, and for a `set`, a
//! `move` or a `pulse` that would itself raise it. What ends something (`stop`, `abort`, `safe`, `pause` and the like) is never
//! refused, and neither is a move that leads out of a rule that holds. Pure: it only reads the watch and the desk.

use super::desk::Desk;
use super::rule::{Heeded, Prospect, Standing};
use super::watch::{Watch, blocks_unknown, describe};
use crate::bus::Refusal;
use crate::config::AlertRule;
use crate::model::{Alert, Selector};
use serde_json::{Map, Value};
use std::time::Duration;

/// What is always possible: it ends something, or makes it possible to look.
const ALWAYS: [&str; 6] = ["stop", "abort", "safe", "pause", "clear_error", "cancel"];

/// A command as far as interlocks are concerned.
#[derive(Debug)]
pub struct Wish<'a> {
    target: &'a str,
    /// The channels it sets, and to what.
    sets: Vec<(String, Heeded)>,
}

impl<'a> Wish<'a> {
    /// Reads a command; none: it is always possible.
    pub fn of(target: &'a str, action: &str, params: &Map<String, Value>) -> Option<Self> {
        if ALWAYS.contains(&action) || !target.contains('/') {
            return None;
        }
        let sets = match action {
            "set" => params
                .get("channel")
                .and_then(Value::as_str)
                .zip(params.get("value"))
                .map(|(channel, value)| (channel.to_string(), setting(value)))
                .into_iter()
                .collect(),
            // It is on for its time, whatever comes after.
            "pulse" => {
                let channel = params.get("channel").and_then(Value::as_str);
                channel.map(|channel| (channel.to_string(), Heeded::Number(1.0))).into_iter().collect()
            }
            "move" => {
                let of = |(channel, value): (&String, &Value)| (channel.clone(), setting(value));
                params.get("target").and_then(Value::as_object).into_iter().flatten().map(of).collect()
            }
            _ => Vec::new(),
        };
        Some(Wish { target, sets })
    }

    /// What the value that a selector looks at would be set to.
    fn to(&self, selector: &Selector) -> Option<Heeded> {
        let channel = selector.channel_of(self.target.strip_prefix("instrument/")?)?;
        self.sets.iter().find(|(name, _)| name == channel).map(|(_, to)| to.clone())
    }

    /// Whether it sets what a rule looks at.
    fn concerns(&self, rule: &AlertRule) -> bool {
        std::iter::once(&rule.value).chain(rule.and.iter().map(|w| &w.value)).any(|v| self.to(v).is_some())
    }

    fn text(&self) -> String {
        let one = |(channel, to): &(String, Heeded)| match to {
            Heeded::Number(n) => format!("{channel} = {n}"),
            Heeded::Word(word) => format!("{channel} = {word}"),
            Heeded::Nothing => channel.clone(),
        };
        self.sets.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// What a channel is asked to become; numbers may come as text.
fn setting(value: &Value) -> Heeded {
    match Heeded::of(value) {
        Heeded::Word(word) if value.is_boolean() => {
            Heeded::Word(if word == "true" { "on" } else { "off" }.into())
        }
        Heeded::Word(word) => match word.trim().parse::<f64>() {
            Ok(n) if n.is_finite() => Heeded::Number(n),
            _ => Heeded::Word(word.trim().to_string()),
        },
        other => other,
    }
}

/// Why a command is not possible; none: nothing is in its way.
pub fn refusal(watch: &Watch, desk: &Desk, wish: &Wish<'_>, now: Duration) -> Option<Refusal> {
    let mut out_of: Vec<&str> = Vec::new();
    for (rule, id, machine) in watch.blocking(wish.target) {
        let prospect = wish.concerns(rule).then(|| machine.prospect(rule, |v| wish.to(v), now));
        let refused = if machine.standing() == Standing::Firing {
            if matches!(prospect, Some(Prospect::LeadsOut | Prospect::Clear)) {
                out_of.push(id);
                continue;
            }
            match desk.alert(id) {
                Some(alert) if alert.blocks(wish.target) => standing(wish.target, alert),
                _ => because(wish.target, rule, id, "it holds", "It is free again when that is over."),
            }
        } else if blocks_unknown(rule) && machine.is_unknown() {
            let what = "it is not known whether it holds";
            because(
                wish.target,
                rule,
                id,
                what,
                "It is free again when its values are known; look at their sources.",
            )
        } else {
            match prospect {
                Some(Prospect::Holds) => beyond(wish, rule, id, "would raise"),
                Some(Prospect::Unknown) if blocks_unknown(rule) => beyond(wish, rule, id, "might raise"),
                _ => continue,
            }
        };
        return Some(refused);
    }
    let stands = |alert: &&Alert| !(alert.state.holds() && out_of.contains(&alert.alert_id.as_str()));
    desk.blocking(wish.target).find(stands).map(|alert| standing(wish.target, alert))
}

/// An alert keeps it blocked.
fn standing(target: &str, alert: &Alert) -> Refusal {
    let next = match (alert.state.holds(), alert.latch) {
        (true, false) => "It is free again when that is over.",
        (true, true) => "It is free again when that is over and somebody has reset the alert.",
        (false, _) => "That is over: reset the alert (acknowledge it) to free it.",
    };
    let guidance = alert.guidance.as_ref().map(|text| format!(" {text}")).unwrap_or_default();
    Refusal {
        alert: alert.alert_id.clone(),
        text: format!(
            "{target} is blocked by the alert {}: {}{guidance} {next}",
            alert.alert_id,
            sentence(&alert.message)
        ),
    }
}

fn because(target: &str, rule: &AlertRule, id: &str, what: &str, next: &str) -> Refusal {
    Refusal {
        alert: id.into(),
        text: format!("{target} is blocked by the rule {id} ({}): {what}. {next}", describe(rule)),
    }
}

fn beyond(wish: &Wish<'_>, rule: &AlertRule, id: &str, would: &str) -> Refusal {
    Refusal {
        alert: id.into(),
        text: format!(
            "{} {would} the alert {id} ({}), which blocks {}; nothing was sent.",
            wish.text(),
            describe(rule),
            wish.target
        ),
    }
}

fn sentence(text: &str) -> String {
    let text = text.trim_end();
    if text.ends_with(['.', '!', '?']) { text.into() } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::desk::{Condition, Moment};
    use crate::alerts::watch::Finding;
    use crate::clock::Wall;
    use crate::config::{AlertLimits, AlertTest, AlertWhen};
    use crate::model::{Cursor, Draft, Event, RaisedBy};
    use serde_json::json;

    const S: Duration = Duration::from_secs(1);

    fn above(id: &str, value: &str, limit: f64) -> AlertRule {
        let limits = AlertLimits { above: Some(limit), ..AlertLimits::default() };
        let rule = AlertRule::new(id, Selector::parse(value).unwrap(), AlertTest::Limits(limits));
        AlertRule { blocks: vec!["instrument/stage".into()], ..rule }
    }

    /// x above 50 while y is below 5.
    fn collision() -> AlertRule {
        let low = AlertLimits { below: Some(5.0), ..AlertLimits::default() };
        let value = Selector::parse("instrument/stage/y").unwrap();
        AlertRule {
            and: vec![AlertWhen { value, test: AlertTest::Limits(low) }],
            ..above("stage.collision", "instrument/stage/x", 50.0)
        }
    }

    fn status(id: &str, channels: &[(&str, Value)]) -> Event {
        let at = "2026-01-07T15:30:00.000Z";
        let channel = |value: &Value| {
            let (number, text) =
                if value.is_string() { (&Value::Null, value) } else { (value, &Value::Null) };
            let quality = if value.is_null() { "bad" } else { "good" };
            json!({"value": number, "text": text, "quality": quality, "last_changed": at, "last_updated": at})
        };
        let channels: Map<String, Value> =
            channels.iter().map(|(name, value)| (name.to_string(), channel(value))).collect();
        let payload = json!({"instrument_id": id, "instrument_name": id, "status": "idle", "timestamp": at, "channels": channels});
        let draft = Draft::checked("instrument_status", None, payload).unwrap();
        Event::publish(draft, Cursor { epoch: 1, seq: 1 }, at, false)
    }

    struct Box {
        watch: Watch,
        desk: Desk,
        now: Duration,
    }

    impl Box {
        fn new(rules: Vec<AlertRule>) -> Box {
            let desk = Desk::default();
            Box { watch: Watch::new(rules, &[], S, &desk), desk, now: S }
        }

        fn moment(&self) -> Moment {
            Moment { now: self.now, wall: Wall(1_767_799_800_000) }
        }

        fn heed(&mut self, findings: Vec<Finding>) -> Vec<String> {
            let mut ids = Vec::new();
            for finding in findings {
                let at = self.moment();
                match finding {
                    Finding::Holds(told) => {
                        ids.push(told.id.clone());
                        let condition = Condition {
                            by: RaisedBy::Rule,
                            severity: told.severity,
                            message: told.message,
                            guidance: told.guidance,
                            source: None,
                            value: None,
                            limit: None,
                            unit: None,
                            latched: told.latched,
                            rule: None,
                            blocks: told.blocks,
                            latch: told.latch,
                        };
                        self.desk.raise(&told.id, condition, at);
                    }
                    Finding::Over { id, message } => {
                        ids.push(format!("{id} over"));
                        self.desk.clear(&id, RaisedBy::Rule, &message, at);
                    }
                }
            }
            ids
        }

        fn hear(&mut self, id: &str, channels: &[(&str, Value)]) -> Vec<String> {
            let found = self.watch.event(&status(id, channels), true, self.now, &self.desk);
            self.heed(found)
        }

        fn asks(&self, target: &str, action: &str, params: Value) -> Option<String> {
            let params = params.as_object().cloned().unwrap_or_default();
            let wish = Wish::of(target, action, &params)?;
            refusal(&self.watch, &self.desk, &wish, self.now).map(|refusal| refusal.text)
        }

        fn set(&self, channel: &str, value: impl Into<Value>) -> Option<String> {
            self.asks("instrument/stage", "set", json!({"channel": channel, "value": value.into()}))
        }
    }

    #[test]
    fn what_stands_blocks_its_targets_and_nothing_else() {
        let mut world = Box::new(vec![AlertRule {
            guidance: Some("Look at the supply.".into()),
            blocks: vec!["instrument/stage".into(), "queue/*".into()],
            ..above("psu.over", "instrument/psu/current", 2.0)
        }]);
        world.hear("psu", &[("current", json!(1.0))]);
        assert_eq!(world.set("x", 1.0), None);
        assert_eq!(world.hear("psu", &[("current", json!(2.5))]), ["psu.over"]);
        assert_eq!(
            world.set("x", 1.0).unwrap(),
            "instrument/stage is blocked by the alert psu.over: psu current is above 2: 2.5. Look at the supply. It is free again when that is over."
        );
        for (target, action, blocked) in [
            ("instrument/stage", "query", true),
            ("instrument/stage", "move", true),
            ("instrument/stage", "stop", false),
            ("instrument/stage", "safe", false),
            ("instrument/stage", "clear_error", false),
            ("instrument/stage2", "set", false),
            ("instrument/psu", "set", false),
            ("queue/Q1", "start", true),
            ("queue/Q1", "resume", true),
            ("queue/Q1", "pause", false),
            ("queue/Q1", "abort", false),
            ("scan/S1", "start", false),
            ("alerts", "ack", false),
        ] {
            assert_eq!(world.asks(target, action, json!({})).is_some(), blocked, "{target} {action}");
        }
        world.hear("psu", &[("current", json!(1.0))]);
        assert_eq!(world.set("x", 1.0), None);
    }

    #[test]
    fn what_latches_blocks_until_it_is_reset() {
        let mut world =
            Box::new(vec![AlertRule { latch: true, ..above("psu.over", "instrument/psu/current", 2.0) }]);
        world.hear("psu", &[("current", json!(2.5))]);
        assert!(world.set("x", 1.0).unwrap().ends_with("over and somebody has reset the alert."));
        assert_eq!(world.hear("psu", &[("current", json!(1.0))]), ["psu.over over"]);
        assert!(
            world
                .set("x", 1.0)
                .unwrap()
                .ends_with("That is over: reset the alert (acknowledge it) to free it.")
        );
        let at = world.moment();
        world.desk.acknowledge("psu.over", 1, None, at).unwrap();
        assert_eq!(world.set("x", 1.0), None);
    }

    #[test]
    fn what_is_not_known_blocks_unless_it_may_pass() {
        let rule = above("psu.over", "instrument/psu/current", 2.0);
        let mut world = Box::new(vec![rule.clone()]);
        let unknown = "instrument/stage is blocked by the rule psu.over (instrument/psu/current above 2): it is not known whether it holds. It is free again when its values are known; look at their sources.";
        assert_eq!(world.set("x", 1.0).as_deref(), Some(unknown), "never heard of");
        assert_eq!(world.watch.wake(), Some(6 * S));
        world.now = 6 * S;
        let found = world.watch.tick(world.now, &world.desk);
        assert_eq!(world.heed(found), ["psu.over.unknown"]);
        assert!(world.watch.says("psu.over.unknown").is_some() && world.watch.wake().is_none());
        assert_eq!(world.hear("psu", &[("current", json!(1.0))]), ["psu.over.unknown over"]);
        assert_eq!(world.set("x", 1.0), None);
        world.hear("psu", &[("current", Value::Null)]);
        assert_eq!(world.set("x", 1.0).as_deref(), Some(unknown), "not good any more");
        world.hear("psu", &[("current", json!(1.0))]);
        world.hear("psu", &[("voltage", json!(1.0))]);
        assert_eq!(world.set("x", 1.0).as_deref(), Some(unknown), "the channel is gone");
        let row = &world.watch.rows()[0];
        assert_eq!((row.blocking, &row.blocks[..]), (true, &["instrument/stage".to_string()][..]));
        let world = Box::new(vec![AlertRule { unknown_blocks: false, ..rule }]);
        assert_eq!(world.set("x", 1.0), None);
        assert_eq!(world.watch.wake(), None);
    }

    #[test]
    fn a_move_that_would_raise_it_is_refused_and_the_way_out_is_open() {
        let mut world = Box::new(vec![collision()]);
        world.hear("stage", &[("x", json!(10.0)), ("y", json!(2.0))]);
        assert_eq!(world.set("x", 40.0), None);
        assert_eq!(
            world.set("x", 60.0).unwrap(),
            "x = 60 would raise the alert stage.collision (instrument/stage/x above 50 and instrument/stage/y below 5), which blocks instrument/stage; nothing was sent."
        );
        assert!(world.set("x", "60").is_some(), "a number as text");
        let to = |x: f64, y: f64| world.asks("instrument/stage", "move", json!({"target": {"x": x, "y": y}}));
        assert!(to(60.0, 9.0).is_some(), "x may be there first");
        assert_eq!(to(40.0, 9.0), None);
        // Pushed there by hand.
        assert_eq!(world.hear("stage", &[("x", json!(60.0)), ("y", json!(2.0))]), ["stage.collision"]);
        assert!(world.set("x", 70.0).is_some() && world.set("z", 1.0).is_some());
        assert!(world.asks("instrument/stage", "query", json!({"text": "X:MOVE 1"})).is_some());
        assert_eq!((world.set("x", 40.0), world.set("y", 9.0)), (None, None));
        assert_eq!(world.hear("stage", &[("x", json!(40.0)), ("y", json!(2.0))]), ["stage.collision over"]);
        assert_eq!(world.set("y", 1.0), None);
    }

    #[test]
    fn the_way_out_of_one_rule_is_none_past_another() {
        let mut world = Box::new(vec![collision(), above("psu.over", "instrument/psu/current", 2.0)]);
        world.hear("stage", &[("x", json!(60.0)), ("y", json!(2.0))]);
        world.hear("psu", &[("current", json!(1.0))]);
        assert_eq!(world.set("x", 40.0), None);
        world.hear("psu", &[("current", json!(3.0))]);
        assert!(world.set("x", 40.0).unwrap().contains("psu.over"));
    }

    #[test]
    fn switches_are_words_and_numbers() {
        let shut = AlertRule {
            blocks: vec!["instrument/laser".into()],
            ..AlertRule::new(
                "laser.on",
                Selector::parse("instrument/laser/output").unwrap(),
                AlertTest::Is(vec!["on".into()]),
            )
        };
        let pin = AlertRule {
            blocks: vec!["instrument/heater".into()],
            ..above("heater.on", "instrument/heater/level", 0.5)
        };
        let mut world = Box::new(vec![shut, pin]);
        world.hear("laser", &[("output", json!(0.0))]);
        world.hear("heater", &[("level", json!(0.0))]);
        for (target, channel, value, refused) in [
            ("instrument/laser", "output", json!("on"), true),
            ("instrument/laser", "output", json!(true), true),
            ("instrument/laser", "output", json!(1), true),
            ("instrument/laser", "output", json!("ON"), true),
            ("instrument/laser", "output", json!("OFF"), false),
            ("instrument/laser", "output", json!("off"), false),
            ("instrument/heater", "level", json!("on"), true),
            ("instrument/heater", "level", json!(true), true),
            ("instrument/heater", "level", json!("off"), false),
            ("instrument/heater", "level", json!(0), false),
        ] {
            let asked = world.asks(target, "set", json!({"channel": channel, "value": value}));
            assert_eq!(asked.is_some(), refused, "{target} {value}");
        }
        let pulse =
            |channel: &str| world.asks("instrument/heater", "pulse", json!({"channel": channel, "ms": 50}));
        assert!(
            pulse("level").is_some_and(|text| text.starts_with("level = 1 would raise")),
            "it is on for a while"
        );
        assert_eq!(pulse("other"), None);
    }

    #[test]
    fn a_number_may_stand_for_any_word() {
        let fast = AlertRule {
            blocks: vec!["instrument/stage".into()],
            ..AlertRule::new(
                "stage.fast",
                Selector::parse("instrument/stage/speed").unwrap(),
                AlertTest::Is(vec!["fast".into()]),
            )
        };
        let mut world = Box::new(vec![fast]);
        world.hear("stage", &[("speed", json!("slow"))]);
        assert_eq!(world.set("speed", "slow"), None);
        assert!(world.set("speed", "Fast").is_some_and(|text| text.contains("would raise")));
        assert!(world.set("speed", 2.0).is_some_and(|text| text.contains("might raise")));
    }
}
