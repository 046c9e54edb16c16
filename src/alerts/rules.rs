//! The built-in rules: what a person should know of any box. Ordinary rules, on the facts of `facts` and on members of
//! `system_health` and `source_status`. Each can be switched off or replaced in the file.

use crate::config::{AlertLimits, AlertRule, AlertTest, Config};
use crate::model::{Selector, Severity};
use std::time::Duration;

/// Everything that is judged: the built-in rules, those of `more` (the simulated bench), and those of the file, which
/// win over others of the same id.
pub fn all(config: &Config, more: &[AlertRule]) -> Vec<AlertRule> {
    let mut rules: Vec<AlertRule> = built_in(config)
        .into_iter()
        .map(|rule| AlertRule { enabled: !is_off(&config.alerts.off, &rule.id), ..rule })
        .chain(more.iter().cloned())
        .filter(|rule| !config.alert.iter().any(|own| own.id == rule.id))
        .collect();
    rules.extend(config.alert.iter().cloned());
    for rule in &mut rules {
        by_instrument(&mut rule.blocks, config);
        by_instrument(&mut rule.stops, config);
    }
    rules
}

/// A pin is the instrument of its id: `gpio/heater` is `instrument/heater`, `gpio/*` is every output.
fn by_instrument(targets: &mut Vec<String>, config: &Config) {
    let of = |target: String| match target.strip_prefix("gpio/") {
        None => vec![target],
        Some("*") => {
            let outputs = config.gpio.iter().filter(|pin| pin.output.is_some());
            outputs.map(|pin| format!("instrument/{}", pin.id)).collect()
        }
        Some(id) => vec![format!("instrument/{id}")],
    };
    *targets = std::mem::take(targets).into_iter().flat_map(of).collect();
}

/// Whether `off` names this alert, or the rule whose alerts begin with it.
pub fn is_off(off: &[String], id: &str) -> bool {
    off.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => id.starts_with(start.trim_end_matches('.')),
        None => pattern == id,
    })
}

fn built_in(config: &Config) -> Vec<AlertRule> {
    let own = &config.alerts;
    let seconds = Duration::from_secs;
    let is = |word: &str| AlertTest::Is(vec![word.into()]);
    let above = |limit: f64| AlertTest::Limits(AlertLimits { above: Some(limit), ..AlertLimits::default() });
    let lag_ms = config.store.state_commit.max(config.store.commit).as_millis() as f64 * 2.0 + 60_000.0;
    let rules = [
        rule(
            "disk",
            "system/disks/*/free_percent",
            AlertTest::Limits(AlertLimits {
                below: Some(own.disk_minor),
                major_below: Some(own.disk_major.min(own.disk_minor)),
                ..AlertLimits::default()
            }),
            "Disk {name} is filling up: {free_text} free, {value} %{full_in}.",
            "Delete or copy away recordings, or shorten how long they are kept.",
            |rule| AlertRule { hysteresis: 1.0, ..rule },
        ),
        rule(
            "source",
            "source/*/lost",
            is("lost"),
            "{name} {says}.",
            "Check its power and its cable; it is tried again by itself.",
            |rule| AlertRule { severity: Severity::Major, delay: own.source_lost, ..rule },
        ),
        rule(
            "clock.unsynced",
            "system/clock_quality",
            is("unsynced"),
            "The clock has had no time source for a while: times may be wrong.",
            "Connect the box to a network with internet, or set its time from the page (System). Order and durations are right in any case, and nothing is deleted by age meanwhile.",
            |rule| AlertRule { delay: own.clock_unsynced, latched: false, ..rule },
        ),
        rule(
            "power.undervoltage",
            "system/under_voltage",
            is("true"),
            "The supply voltage is too low.",
            "Use the supply made for this board and a short, thick cable; take devices off its USB ports.",
            |rule| AlertRule { severity: Severity::Major, clear_delay: seconds(30), ..rule },
        ),
        rule(
            "power.dip",
            "system/under_voltage_dip",
            is("true"),
            "The supply voltage was too low for a moment since the box was started.",
            "Use the supply made for this board and a short, thick cable. It is told once in a run of the box.",
            |rule| AlertRule { unless: vec!["power.undervoltage".into()], ..rule },
        ),
        rule(
            "temperature",
            "system/temperature_c",
            AlertTest::Limits(AlertLimits {
                above: Some(own.temperature_minor),
                major_above: Some(own.temperature_major.max(own.temperature_minor)),
                ..AlertLimits::default()
            }),
            "The processor is hot: {value} degC.",
            "Give it shade and air. It slows itself down at 80 degC and more so at 85.",
            |rule| AlertRule { hysteresis: 3.0, delay: seconds(10), name: Some("processor".into()), ..rule },
        ),
        rule(
            "memory",
            "system/process/rss",
            above(own.memory as f64),
            "telltale takes more memory than it should: {value} bytes.",
            "Restart it when nothing is being measured, and report this with the output of /metrics.",
            |rule| AlertRule { delay: seconds(30), hysteresis: own.memory as f64 * 0.05, ..rule },
        ),
        rule(
            "card.errors",
            "system/card/errors",
            above(0.0),
            "The memory card has errors: {value} so far.",
            "Copy the recordings and the data folder away and replace the card.",
            |rule| AlertRule { severity: Severity::Major, ..rule },
        ),
        rule(
            "store.lag",
            "system/store/lag_ms",
            above(lag_ms),
            "Events wait for the disk for too long: {value} ms.",
            "Is the card slow or worn out? A power cut now would lose that time.",
            |rule| AlertRule { severity: Severity::Major, unless: vec!["store.failing".into()], ..rule },
        ),
        rule(
            "store.written",
            "system/store/written_today",
            above(own.written_today as f64),
            "More was written to the card today than its budget: {value} bytes.",
            "Lengthen store.commit and store.state_commit, or publish less often; writing wears the card out.",
            |rule| AlertRule { latched: false, ..rule },
        ),
    ];
    rules.into_iter().flatten().collect()
}

fn rule(
    id: &str,
    value: &str,
    test: AlertTest,
    message: &str,
    guidance: &str,
    more: impl Fn(AlertRule) -> AlertRule,
) -> Option<AlertRule> {
    // Selectors of ours parse; a test holds it.
    let value = Selector::parse(value).ok()?;
    let rule = AlertRule::new(id, value, test);
    Some(more(AlertRule { message: Some(message.into()), guidance: Some(guidance.into()), ..rule }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_the_file_win_and_others_can_be_switched_off() {
        let mut config = Config::default();
        let all_of = |config: &Config| -> Vec<(String, bool)> {
            all(config, &[]).into_iter().map(|r| (r.id, r.enabled)).collect()
        };
        let ids: Vec<String> = all_of(&config).into_iter().map(|(id, _)| id).collect();
        assert_eq!(
            ids,
            [
                "disk",
                "source",
                "clock.unsynced",
                "power.undervoltage",
                "power.dip",
                "temperature",
                "memory",
                "card.errors",
                "store.lag",
                "store.written"
            ]
        );
        config.alerts.off = vec!["power.*".into(), "memory".into()];
        let own = AlertRule::new(
            "temperature",
            Selector::parse("stream/t").unwrap(),
            AlertTest::Is(vec!["x".into()]),
        );
        config.alert.push(own);
        let rules = all_of(&config);
        let off: Vec<_> = rules.iter().filter(|(_, on)| !on).map(|(id, _)| id.as_str()).collect();
        assert_eq!(off, ["power.undervoltage", "power.dip", "memory"]);
        assert_eq!(rules.iter().filter(|(id, _)| id == "temperature").count(), 1);
    }
}
