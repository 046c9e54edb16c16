//! `[[recorder]]`: how a recorder is commanded, and what it does not say of itself.

use super::super::file::{Found, Ids, Later, Reader, Seen};
use super::super::keys::{DAY, Key, key, ms, s};
use super::super::print;
use super::super::types::{Config, ConfirmBy, Effect, Recorder};
use super::super::value::{CONFIRMS, Type};
use super::List;
use crate::limits;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// See [`List`].
pub(super) const LIST: List = List {
    name: "recorder",
    keys: || KEYS.iter().map(|k| (k.section, k.name)).collect(),
    read: |reader, value, config, _: &mut Ids| reader.recorder(value, config),
    write: |config, out| {
        for recorder in &config.recorder {
            out.push_str("\n[[recorder]]\n");
            print::entry(out, KEYS, &RecorderEntry::from(recorder));
        }
    },
    tell: |tell| tell("[[recorder]], one for each recorder that is commanded", &print::rows(KEYS)),
    changed: |old, new| old.recorder != new.recorder,
};

/// Keys of a `[[recorder]]`.
pub(in crate::config) static KEYS: &[Key<RecorderEntry>] = &[
    key!(RecorderEntry: "recorder" "id", Type::Id, id, "The recorder, as pins, ports and programs name it.").required(),
    key!(RecorderEntry: "recorder" "name", Type::Text(128), name, "The name people see."),
    key!(RecorderEntry: "recorder" "start", Type::Effect, start, "How it is started: { pin = \"id\", pulse = \"200ms\" }, { pin = \"id\", level = \"active\" }, { serial = \"id\", send = \"REC\\r\" } or { url = \"http://...\", method = \"POST\", body = \"...\" }.").default("not set"),
    key!(RecorderEntry: "recorder" "stop", Type::Effect, stop, "How it is stopped.").default("not set"),
    key!(RecorderEntry: "recorder" "split", Type::Effect, split, "How it ends a recording and begins the next.").default("not set"),
    key!(RecorderEntry: "recorder" "auto_on", Type::Effect, auto_on, "How it is made to start by itself.").default("not set"),
    key!(RecorderEntry: "recorder" "auto_off", Type::Effect, auto_off, "How it is made not to start by itself.").default("not set"),
    key!(RecorderEntry: "recorder" "confirm", Type::Choice(CONFIRMS), confirm, "What shows that a command had its effect: the status, whoever tells it, or only what is posted to /api/recorders/{id}/state."),
    key!(RecorderEntry: "recorder" "confirm_within", Type::Duration(ms(100), s(120)), confirm_within, "The time a command has to show its effect; then it has timed out."),
    key!(RecorderEntry: "recorder" "stale_after", Type::Duration(ms(100), DAY), stale_after, "Silence after which what was posted of it no longer counts and it is offline. Ports have their own."),
    key!(RecorderEntry: "recorder" "split_after", Type::Duration(Duration::ZERO, DAY), split_after, "The recorder begins another recording after this long by itself; shown.").default("not set"),
    key!(RecorderEntry: "recorder" "listen_url", Type::Text(400), listen_url, "Where one can listen to it; shown."),
];

/// `[[recorder]]` as the file has it.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct RecorderEntry {
    pub id: String,
    pub name: Option<String>,
    pub start: BTreeMap<String, String>,
    pub stop: BTreeMap<String, String>,
    pub split: BTreeMap<String, String>,
    pub auto_on: BTreeMap<String, String>,
    pub auto_off: BTreeMap<String, String>,
    pub confirm: ConfirmBy,
    pub confirm_within: Duration,
    pub stale_after: Duration,
    pub split_after: Duration,
    pub listen_url: Option<String>,
}

impl Default for RecorderEntry {
    fn default() -> Self {
        RecorderEntry::from(&Recorder::default())
    }
}

impl From<&Recorder> for RecorderEntry {
    fn from(recorder: &Recorder) -> Self {
        let written = |effect: &Option<Effect>| effect.as_ref().map(write).unwrap_or_default();
        RecorderEntry {
            id: recorder.id.clone(),
            name: recorder.name.clone(),
            start: written(&recorder.start),
            stop: written(&recorder.stop),
            split: written(&recorder.split),
            auto_on: written(&recorder.auto_on),
            auto_off: written(&recorder.auto_off),
            confirm: recorder.confirm,
            confirm_within: recorder.confirm_within,
            stale_after: recorder.stale_after,
            split_after: recorder.split_after.unwrap_or_default(),
            listen_url: recorder.listen_url.clone(),
        }
    }
}

/// An effect as its table has it.
fn write(effect: &Effect) -> BTreeMap<String, String> {
    let pairs: Vec<(&str, String)> = match effect {
        Effect::Level { pin, active } => {
            vec![("pin", pin.clone()), ("level", if *active { "active" } else { "inactive" }.into())]
        }
        Effect::Pulse { pin, time } => {
            vec![("pin", pin.clone()), ("pulse", humantime::format_duration(*time).to_string())]
        }
        Effect::Serial { port, send } => vec![("serial", port.clone()), ("send", send.clone())],
        Effect::Http { url, method, body } => {
            let mut pairs = vec![("url", url.clone()), ("method", method.clone())];
            if !body.is_empty() {
                pairs.push(("body", body.clone()));
            }
            pairs
        }
    };
    pairs.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

/// Reads an effect.
///
/// # Errors
/// One sentence that says what is wrong.
fn read(table: &BTreeMap<String, String>) -> Result<Effect, String> {
    let has = |name: &str| table.get(name).cloned();
    let known = |names: &[&str]| match table.keys().find(|name| !names.contains(&name.as_str())) {
        Some(name) => Err(format!("has {name:?}; expected {} only", names.join(", "))),
        None => Ok(()),
    };
    match (has("pin"), has("serial"), has("url")) {
        (Some(pin), None, None) => {
            known(&["pin", "pulse", "level"])?;
            match (has("pulse"), has("level").as_deref()) {
                (Some(time), None) => match humantime::parse_duration(&time) {
                    Ok(time) if (ms(1)..=s(3600)).contains(&time) => Ok(Effect::Pulse { pin, time }),
                    _ => Err(format!(
                        "has pulse = {time:?}; expected a duration from 1ms to 1h, such as \"200ms\""
                    )),
                },
                (None, Some("active")) => Ok(Effect::Level { pin, active: true }),
                (None, Some("inactive")) => Ok(Effect::Level { pin, active: false }),
                (None, Some(other)) => {
                    Err(format!("has level = {other:?}; expected \"active\" or \"inactive\""))
                }
                _ => Err("has a pin; expected exactly one of `pulse` and `level` with it".into()),
            }
        }
        (None, Some(port), None) => {
            known(&["serial", "send"])?;
            match has("send") {
                Some(send) if (1..=1024).contains(&send.len()) => Ok(Effect::Serial { port, send }),
                _ => Err("has a port; expected `send` with it, 1 to 1024 bytes, such as \"REC\\r\"".into()),
            }
        }
        (None, None, Some(url)) => {
            known(&["url", "method", "body"])?;
            let method = has("method").unwrap_or_else(|| "POST".into());
            if !["GET", "POST", "PUT"].contains(&method.as_str()) {
                return Err(format!("has method = {method:?}; expected \"POST\", \"PUT\" or \"GET\""));
            }
            if !url.starts_with("http://") || url.len() <= 7 || url.contains(char::is_whitespace) {
                return Err(format!(
                    "has url = {url:?}; expected an address that begins with http:// (there is no TLS here)"
                ));
            }
            Ok(Effect::Http { url, method, body: has("body").unwrap_or_default() })
        }
        _ => Err("does not say how; expected exactly one of `pin`, `serial`, `url`".into()),
    }
}

impl Reader<'_> {
    fn recorder(&mut self, value: &Spanned<DeValue<'_>>, config: &mut Config) {
        let mut ids = BTreeSet::new();
        for (table, at) in self.tables("recorder", value, limits::RECORDERS) {
            let before = self.faults.len();
            let mut entry = RecorderEntry::default();
            let seen = self.keys(table, "recorder", KEYS, &mut entry);
            self.missing(&seen, KEYS, &at, "[[recorder]]");
            if let Some(Found { at, good: true }) = seen.get("id")
                && !ids.insert(entry.id.clone())
            {
                self.fault(at, format!("recorder {:?} is there twice; expected each once", entry.id));
            }
            let recorder = Recorder {
                start: self.effect(&seen, "start", &entry.start),
                stop: self.effect(&seen, "stop", &entry.stop),
                split: self.effect(&seen, "split", &entry.split),
                auto_on: self.effect(&seen, "auto_on", &entry.auto_on),
                auto_off: self.effect(&seen, "auto_off", &entry.auto_off),
                id: entry.id,
                name: entry.name,
                confirm: entry.confirm,
                confirm_within: entry.confirm_within,
                stale_after: entry.stale_after,
                split_after: Some(entry.split_after).filter(|time| !time.is_zero()),
                listen_url: entry.listen_url,
            };
            if self.faults.len() == before {
                config.recorder.push(recorder);
            }
        }
    }

    fn effect(
        &mut self,
        seen: &Seen,
        name: &'static str,
        table: &BTreeMap<String, String>,
    ) -> Option<Effect> {
        let Some(Found { at, good: true }) = seen.get(name) else { return None };
        let at: Range<usize> = at.clone();
        match read(table) {
            Ok(effect) => {
                match &effect {
                    Effect::Level { pin, .. } | Effect::Pulse { pin, .. } => {
                        self.later.push((at, Later::Output(pin.clone())));
                    }
                    Effect::Serial { port, .. } => self.later.push((at, Later::Port(port.clone()))),
                    Effect::Http { .. } => {}
                }
                Some(effect)
            }
            Err(why) => {
                self.fault(&at, format!("`recorder.{name}` {why}"));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn an_effect_is_one_of_three() {
        for (pairs, expected) in [
            (&[("pin", "a"), ("pulse", "200ms")][..], Effect::Pulse { pin: "a".into(), time: ms(200) }),
            (&[("pin", "a"), ("level", "inactive")], Effect::Level { pin: "a".into(), active: false }),
            (
                &[("serial", "p"), ("send", "REC\r")],
                Effect::Serial { port: "p".into(), send: "REC\r".into() },
            ),
            (
                &[("url", "http://h/x")],
                Effect::Http { url: "http://h/x".into(), method: "POST".into(), body: String::new() },
            ),
        ] {
            assert_eq!(read(&table(pairs)), Ok(expected.clone()), "{pairs:?}");
            assert_eq!(read(&write(&expected)), Ok(expected));
        }
        for (pairs, words) in [
            (&[][..], "exactly one of"),
            (&[("pin", "a")], "exactly one of `pulse` and `level`"),
            (&[("pin", "a"), ("url", "http://h")], "exactly one of"),
            (&[("pin", "a"), ("pulse", "1 year")], "1ms to 1h"),
            (&[("pin", "a"), ("level", "high")], "\"active\""),
            (&[("pin", "a"), ("pulse", "1s"), ("send", "x")], "has \"send\""),
            (&[("serial", "p")], "`send`"),
            (&[("url", "https://h")], "no TLS"),
            (&[("url", "http://h"), ("method", "DELETE")], "\"PUT\""),
        ] {
            let why = read(&table(pairs)).unwrap_err();
            assert!(why.contains(words), "{pairs:?}: {why}");
        }
    }

    proptest! {
        #[test]
        fn any_table_is_read_without_panic(pairs in proptest::collection::btree_map("pin|pulse|level|serial|send|url|method|body|[a-z]{1,3}", ".{0,20}", 0..5)) {
            if let Ok(effect) = read(&pairs) {
                prop_assert_eq!(read(&write(&effect)), Ok(effect));
            }
        }
    }
}
