//! Facts that events do not say themselves and rules are about: how full a disk is in percent and when it will be full,
//! whether the supply was too low just now, what is wrong with a source in words. Added to the payload before the rules
//! see it; nothing of it is published.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How far back the filling of a disk is looked at, and how often.
const LOOKS: usize = 60;
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A slope over less than this says nothing.
const SLOPE_FROM: Duration = Duration::from_secs(600);
/// Fuller than in a month is no news.
const FULL_WITHIN_S: f64 = 30.0 * 86_400.0;
/// The supply dips while a box starts; that is not told.
const BOOT_S: f64 = 60.0;
/// File systems whose filling is followed.
const DISKS: usize = 32;

/// What has to be remembered from one event to the next.
#[derive(Debug, Default)]
pub struct Facts {
    /// Of each path: when, and how much was free.
    disks: BTreeMap<String, VecDeque<(Duration, f64)>>,
    /// Whether the firmware remembered a dip when it was first asked after the start of the box.
    dipped_before: Option<bool>,
}

impl Facts {
    /// Adds to the payload of an event of type `kind`.
    pub fn add(&mut self, kind: &str, payload: &mut Value, now: Duration) {
        let Value::Object(payload) = payload else { return };
        match kind {
            "system_health" => self.health(payload, now),
            "source_status" => source(payload),
            _ => {}
        }
    }

    fn health(&mut self, payload: &mut Map<String, Value>, now: Duration) {
        if let Some(Value::Array(disks)) = payload.get_mut("disks") {
            for disk in disks.iter_mut().filter_map(Value::as_object_mut) {
                let number = |name: &str| disk.get(name).and_then(Value::as_f64);
                let (Some(total), Some(free)) = (number("total"), number("free")) else { continue };
                if total <= 0.0 {
                    continue;
                }
                let path = disk.get("path").and_then(Value::as_str).unwrap_or_default().to_string();
                let full_in = self.full_in(&path, free, now);
                disk.insert("free_percent".into(), json!(100.0 * free / total));
                disk.insert("free_text".into(), bytes(free).into());
                disk.insert("full_in_s".into(), json!(full_in));
                let text = full_in
                    .map(|s| format!(", full in about {}", super::message::span(Duration::from_secs_f64(s))));
                disk.insert("full_in".into(), text.unwrap_or_default().into());
            }
        }
        // A word, or an object with the word in it.
        let clock = payload.get("clock");
        let clock =
            clock.and_then(|c| c.get("quality")).or(clock).and_then(Value::as_str).map(str::to_string);
        if let Some(clock) = clock {
            payload.insert("clock_quality".into(), clock.into());
        }
        let of = |word: &str| -> Option<bool> {
            let names = payload.get("throttled")?.get(word)?.as_array()?;
            Some(names.iter().any(|name| name == "under_voltage"))
        };
        let (now_low, dipped) = (of("now"), of("since_boot"));
        let started = payload.get("uptime_s").and_then(Value::as_f64).is_some_and(|s| s > BOOT_S);
        if started {
            if let Some(low) = now_low {
                payload.insert("under_voltage".into(), low.into());
            }
            if let Some(dipped) = dipped {
                let before = *self.dipped_before.get_or_insert(dipped);
                payload.insert("under_voltage_dip".into(), (dipped && !before).into());
            }
        }
    }

    /// In how many seconds a disk is full, if it goes on filling as it did in the last hour.
    fn full_in(&mut self, path: &str, free: f64, now: Duration) -> Option<f64> {
        if !self.disks.contains_key(path) && self.disks.len() >= DISKS {
            return None;
        }
        let looks = self.disks.entry(path.to_string()).or_default();
        if looks.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= LOOK_EVERY) {
            looks.push_back((now, free));
            if looks.len() > LOOKS {
                looks.pop_front();
            }
        }
        let (since, before) = *looks.front()?;
        let time = now.saturating_sub(since);
        let used = before - free;
        if time < SLOPE_FROM || used <= 0.0 {
            return None;
        }
        Some(free / used * time.as_secs_f64()).filter(|s| *s < FULL_WITHIN_S)
    }
}

fn source(payload: &mut Map<String, Value>) {
    let said = match payload.get("status").and_then(Value::as_str) {
        Some("absent") => "is not connected",
        Some("stale") => "is silent",
        Some("error") => "can't be understood",
        Some("disabled") => "is switched off",
        _ => "is there",
    };
    payload.insert("says".into(), said.into());
    // Ports, pins and feeds raise their own alerts: they know more of the cause.
    let own =
        matches!(payload.get("kind").and_then(Value::as_str), Some("gpio" | "serial" | "replay" | "feed"));
    let lost = matches!(payload.get("status").and_then(Value::as_str), Some("absent" | "stale" | "error"));
    let word = if own {
        "own"
    } else if lost {
        "lost"
    } else {
        "ok"
    };
    payload.insert("lost".into(), word.into());
}

/// Bytes as people say them.
fn bytes(n: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut n = n;
    let mut unit = 0;
    while n >= 1000.0 && unit + 1 < units.len() {
        n /= 1000.0;
        unit += 1;
    }
    format!("{n:.*} {}", usize::from(n < 10.0 && unit > 0), units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(facts: &mut Facts, at_s: u64, payload: Value) -> Value {
        let mut payload = payload;
        facts.add("system_health", &mut payload, Duration::from_secs(at_s));
        payload
    }

    #[test]
    fn a_disk_that_fills_says_when_it_is_full() {
        let mut facts = Facts::default();
        let disk =
            |free: u64| json!({"uptime_s": 1, "disks": [{"path": "/", "total": 100_000, "free": free}]});
        let first = health(&mut facts, 0, disk(20_000));
        assert_eq!(first["disks"][0]["free_percent"], 20.0);
        assert_eq!(
            (&first["disks"][0]["full_in"], &first["disks"][0]["free_text"]),
            (&json!(""), &json!("20 kB"))
        );
        health(&mut facts, 300, disk(15_000));
        let later = health(&mut facts, 600, disk(10_000));
        assert_eq!(later["disks"][0]["full_in_s"], 600.0);
        assert_eq!(later["disks"][0]["full_in"], ", full in about 10 min");
        assert_eq!(health(&mut facts, 660, disk(30_000))["disks"][0]["full_in_s"], Value::Null);
        let nothing = health(&mut facts, 700, json!({"disks": [{"path": "/"}, 1, {"total": 0, "free": 0}]}));
        assert_eq!(nothing["disks"][0].get("free_percent"), None);
    }

    #[test]
    fn dips_of_the_start_are_not_told() {
        let mut facts = Facts::default();
        let said = |now: Value, boot: Value, up: f64| json!({"uptime_s": up, "throttled": {"now": now, "since_boot": boot}});
        let low = json!(["under_voltage"]);
        assert_eq!(health(&mut facts, 0, said(low.clone(), low.clone(), 20.0)).get("under_voltage"), None);
        let after = health(&mut facts, 1, said(json!([]), low.clone(), 70.0));
        assert_eq!((&after["under_voltage"], &after["under_voltage_dip"]), (&json!(false), &json!(false)));
        let mut facts = Facts::default();
        assert_eq!(health(&mut facts, 1, said(json!([]), json!([]), 70.0))["under_voltage_dip"], false);
        let dip = health(&mut facts, 2, said(json!(["throttled"]), low, 75.0));
        assert_eq!((&dip["under_voltage"], &dip["under_voltage_dip"]), (&json!(false), &json!(true)));
    }

    #[test]
    fn the_clock_is_a_word_or_an_object() {
        let mut facts = Facts::default();
        for clock in [json!("unsynced"), json!({"quality": "unsynced", "steps": []})] {
            assert_eq!(health(&mut facts, 0, json!({"clock": clock}))["clock_quality"], "unsynced");
        }
        assert_eq!(health(&mut facts, 0, json!({"clock": 5})).get("clock_quality"), None);
    }
}
