//! Which event concerns which rule, and what is said then.

use super::*;
use crate::config::AlertLimits;
use crate::model::{Cursor, Draft, Selector};
use serde_json::json;

/// Alerts as the desk would have them.
#[derive(Default)]
struct Desk(BTreeMap<String, Severity>);

impl Open for Desk {
    fn raised(&self, id: &str) -> Option<Severity> {
        self.0.get(id).copied()
    }
    fn is_active(&self, pattern: &str) -> bool {
        self.0.contains_key(pattern)
    }
}

impl Desk {
    fn take(&mut self, findings: Vec<Finding>) -> Vec<String> {
        findings
            .into_iter()
            .map(|finding| match finding {
                Finding::Holds(told) => {
                    self.0.insert(told.id.clone(), told.severity);
                    format!("{} {}: {}", told.id, told.severity.word(), told.message)
                }
                Finding::Over { id, .. } => {
                    self.0.remove(&id);
                    format!("{id} over")
                }
            })
            .collect()
    }
}

fn event(kind: &str, topic: Option<&str>, payload: Value) -> Event {
    let draft = Draft::checked(kind, topic, payload).unwrap();
    Event::publish(draft, Cursor { epoch: 1, seq: 1 }, "2026-01-07T15:30:00.412Z", false)
}

fn retired(kind: &str, payload: Value) -> Event {
    let draft = Draft::checked(kind, None, payload).unwrap().retired();
    Event::publish(draft, Cursor { epoch: 1, seq: 1 }, "2026-01-07T15:30:00.412Z", false)
}

fn stream(id: &str, value: Value, quality: &str) -> Event {
    event(
        "stream_value",
        None,
        json!({"stream_id": id, "value": value, "unit": "degC", "timestamp": "2026-01-07T15:30:00.000Z", "quality": quality}),
    )
}

fn source(id: &str, kind: &str, status: &str) -> Event {
    event(
        "source_status",
        None,
        json!({"source_id": id, "kind": kind, "status": status, "quality": "good", "last_seen": null}),
    )
}

fn above(id: &str, value: &str, limit: f64) -> AlertRule {
    let limits = AlertLimits { above: Some(limit), ..AlertLimits::default() };
    AlertRule::new(id, Selector::parse(value).unwrap(), AlertTest::Limits(limits))
}

const S: Duration = Duration::from_secs(1);

#[test]
fn a_value_is_followed_by_its_rules_only() {
    let mut desk = Desk::default();
    let rules = vec![above("hot", "stream/temp", 30.0), above("cold", "stream/other", 0.0)];
    let mut watch = Watch::new(rules, &[], S, &desk);
    assert!(!watch.concerns(&source("x", "http", "ok")));
    let mut hear = |watch: &mut Watch, e: &Event, live| {
        let found = watch.event(e, live, S, &desk);
        desk.take(found)
    };
    assert!(hear(&mut watch, &stream("temp", json!(99.0), "good"), false).is_empty(), "restored");
    assert!(hear(&mut watch, &stream("temp", json!(99.0), "uncertain"), true).is_empty());
    assert!(hear(&mut watch, &stream("temp", json!(null), "good"), true).is_empty());
    assert_eq!(watch.rows()[0].state, "no data");
    assert_eq!(
        hear(&mut watch, &stream("temp", json!(31.25), "good"), true),
        ["hot MINOR: temp is above 30 degC: 31.25 degC."]
    );
    let row = &watch.rows()[0];
    assert_eq!(
        (row.state, row.value.as_deref(), row.text.as_str()),
        ("firing", Some("31.25 degC"), "stream/temp above 30")
    );
    assert_eq!(hear(&mut watch, &stream("temp", json!(3), "good"), true), ["hot over"]);
}

#[test]
fn a_star_makes_one_alert_of_each_and_those_that_go_are_over() {
    let mut desk = Desk::default();
    let mut rule = above("disk", "system/disks/*/free_percent", 0.0);
    rule.test = AlertTest::Limits(AlertLimits {
        below: Some(10.0),
        major_below: Some(5.0),
        ..AlertLimits::default()
    });
    rule.message = Some("{name}: {free_text} free{full_in}".into());
    let mut watch = Watch::new(vec![rule], &["disk.media-usb".into()], S, &desk);
    let health = |disks: Value| {
        event("system_health", None, json!({"uptime_s": 1, "cpu": null, "memory": {}, "disks": disks}))
    };
    let disk = |path: &str, free: u64| json!({"path": path, "total": 1000, "free": free});
    let found = watch.event(
        &health(json!([disk("/", 80), disk("/data", 40), disk("/media/usb", 0)])),
        true,
        S,
        &desk,
    );
    assert_eq!(desk.take(found), ["disk.root MINOR: /: 80 B free", "disk.data MAJOR: /data: 40 B free"]);
    let found = watch.event(&health(json!([disk("/", 500)])), true, S, &desk);
    assert_eq!(desk.take(found), ["disk.root over", "disk.data over"]);
    assert!(watch.says("disk.root").is_some() && watch.says("disk.data").is_none());
}

#[test]
fn sources_that_raise_their_own_are_left_to_them() {
    let mut desk = Desk::default();
    let config = crate::config::Config::default();
    let mut watch = Watch::new(super::super::rules::all(&config, &[]), &[], S, &desk);
    assert!(watch.event(&source("port", "serial", "absent"), true, S, &desk).is_empty());
    assert!(watch.event(&source("cam", "vision", "absent"), true, S, &desk).is_empty(), "not at once");
    assert!(watch.tick(2 * S, &desk).is_empty());
    assert_eq!(watch.wake(), Some(4 * S));
    let found = watch.tick(4 * S, &desk);
    assert_eq!(desk.take(found), ["source.cam MAJOR: cam is not connected."]);
}

#[test]
fn a_cause_keeps_its_consequences_back() {
    let mut desk = Desk::default();
    let rule =
        AlertRule { unless: vec!["source.psu".into()], ..above("amps", "instrument/psu/current", 1.0) };
    let mut watch = Watch::new(vec![rule], &[], S, &desk);
    let psu = |amps: f64| {
        let channel = json!({"value": amps, "quality": "good", "unit": "A", "last_changed": "2026-01-07T15:30:00.000Z", "last_updated": "2026-01-07T15:30:00.000Z"});
        event(
            "instrument_status",
            None,
            json!({"instrument_id": "psu", "instrument_name": "PSU", "status": "idle",
            "timestamp": "2026-01-07T15:30:00.000Z", "channels": {"current": channel}}),
        )
    };
    assert!(watch.event(&psu(2.0), true, S, &desk).is_empty(), "the cause is waited for");
    desk.0.insert("source.psu".into(), Severity::Major);
    assert!(watch.tick(2 * S, &desk).is_empty());
    desk.0.clear();
    watch.event(&psu(2.0), true, 3 * S, &desk);
    let found = watch.tick(4 * S, &desk);
    assert_eq!(desk.take(found), ["amps MINOR: psu current is above 1 A: 2 A."]);
}

#[test]
fn what_has_ended_takes_its_alerts_along() {
    let mut desk = Desk::default();
    let failed =
        AlertRule::new("job", Selector::parse("job/*").unwrap(), AlertTest::Is(vec!["failed".into()]));
    let volts = above("volts", "data/S1/v", 5.0);
    let mut watch = Watch::new(vec![failed, volts], &[], S, &desk);
    let found = watch.event(
        &retired(
            "job_status",
            json!({"job_id": "j1", "kind": "encode", "status": "failed", "progress": 0.5}),
        ),
        true,
        S,
        &desk,
    );
    assert_eq!(desk.take(found), ["job.j1 MINOR: j1 is failed.", "job.j1 over"]);
    let point = event(
        "data_point",
        None,
        json!({"scan_id": "S1", "measurement": "m", "sequence_index": 0, "data": {"v": 9.0}}),
    );
    let found = watch.event(&point, true, S, &desk);
    assert_eq!(desk.take(found), ["volts MINOR: S1 v is above 5: 9."]);
    let scan = json!({"scan_id": "S1", "status": "completed", "pending": null, "progress": 1.0, "allowed_actions": [], "revision": 1, "timestamp": "2026-01-07T15:30:00.000Z"});
    let found = watch.event(&retired("scan_status", scan), true, S, &desk);
    assert_eq!(desk.take(found), ["volts over"]);
}

#[test]
fn own_events_are_selected_by_topic() {
    let mut desk = Desk::default();
    let rule = AlertRule::new(
        "door",
        Selector::parse("app/field/door:open").unwrap(),
        AlertTest::Is(vec!["true".into()]),
    );
    let mut watch = Watch::new(vec![rule], &[], S, &desk);
    let door = |topic: &str| event("edge", Some(topic), json!({"open": true}));
    assert!(watch.event(&door("app/field/gate"), true, S, &desk).is_empty());
    let found = watch.event(&door("app/field/door"), true, S, &desk);
    assert_eq!(desk.take(found), ["door MINOR: open is true."]);
}

#[test]
fn what_is_not_there_any_more_is_not_unknown() {
    let mut desk = Desk::default();
    let lost = AlertRule {
        blocks: vec!["instrument/*".into()],
        ..AlertRule::new("lost", Selector::parse("source/*").unwrap(), AlertTest::Is(vec!["lost".into()]))
    };
    let mut watch = Watch::new(vec![lost], &[], S, &desk);
    let unsure = json!({"source_id": "psu", "kind": "serial", "status": "ok", "quality": "uncertain", "last_seen": null});
    watch.event(&event("source_status", None, unsure.clone()), true, S, &desk);
    let found = watch.tick(7 * S, &desk);
    assert_eq!(
        desk.take(found),
        ["lost.psu.unknown MINOR: psu: source/* is not known, so instrument/* takes no commands."]
    );
    let found = watch.event(&retired("source_status", unsure), true, 8 * S, &desk);
    assert_eq!(desk.take(found), ["lost.psu.unknown over"]);
}

#[test]
fn what_is_too_old_is_so_after_a_reload() {
    let desk = Desk::default();
    let rules = || {
        let rule = AlertRule { stale_after: Some(5 * S), ..above("hot", "stream/temp", 30.0) };
        vec![AlertRule { blocks: vec!["instrument/oven".into()], ..rule }]
    };
    let mut before = Watch::new(rules(), &[], S, &desk);
    let said = stream("temp", json!(20.0), "good");
    before.event(&said, true, S, &desk);
    before.tick(7 * S, &desk);
    assert!(before.rows()[0].blocking);
    let mut watch = Watch::new(rules(), &[], 10 * S, &desk).learnt(&mut before);
    watch.event(&said, true, 10 * S, &desk);
    watch.grow_as_old_as(&before, 10 * S, &desk);
    assert!(watch.rows()[0].blocking, "reading the file again makes nothing current");
    watch.event(&said, true, 11 * S, &desk);
    assert!(!watch.rows()[0].blocking);
}
