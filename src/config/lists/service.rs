//! `[[service]]`: units of systemd that are watched.

use super::super::file::{Found, Ids, Reader};
use super::super::keys::{Key, key};
use super::super::print;
use super::super::types::{Config, Service};
use super::super::value::Type;
use super::List;
use crate::limits;
use toml::Spanned;
use toml::de::DeValue;

/// See [`List`].
pub(super) const LIST: List = List {
    name: "service",
    keys: || KEYS.iter().map(|k| (k.section, k.name)).collect(),
    read: |reader, value, config, ids| reader.service(value, config, ids),
    write: |config, out| {
        for service in &config.services {
            out.push_str("\n[[service]]\n");
            print::entry(out, KEYS, service);
        }
    },
    tell: |tell| tell("[[service]], one for each unit that is watched", &print::rows(KEYS)),
    changed: |old, new| old.services != new.services,
};

/// What a unit can be told.
const ACTIONS: &[&str] = &["start", "stop", "restart"];

/// Keys of a `[[service]]`.
pub(in crate::config) static KEYS: &[Key<Service>] = &[
    key!(Service: "service" "name", Type::Id, name, "Its name here, unique among the services.").required(),
    key!(Service: "service" "unit", Type::Text(128), unit, "Unit of systemd, such as \"recorder.service\".")
        .required(),
    key!(Service: "service" "title", Type::Text(128), title, "What people see; else the unit's own description."),
    key!(Service: "service" "can", Type::SomeOf(ACTIONS), can, "What may be done to it from here. systemd must allow it too: docs/services.md has the polkit rule."),
];

impl Reader<'_> {
    pub(super) fn service(&mut self, value: &Spanned<DeValue<'_>>, config: &mut Config, _: &mut Ids) {
        let mut names: Vec<(String, usize)> = Vec::new();
        for (table, at) in self.tables("service", value, limits::SERVICES) {
            let before = self.faults.len();
            let mut entry = Service::default();
            let seen = self.keys(table, "service", KEYS, &mut entry);
            self.missing(&seen, KEYS, &at, "[[service]]");
            if let Some(Found { at, good: true }) = seen.get("name") {
                let line = self.lines.line(at.start);
                match names.iter().find(|(name, _)| *name == entry.name) {
                    Some((name, first)) => {
                        let detail = format!(
                            "service {name:?} is there twice, first in line {first}; expected each name once"
                        );
                        self.fault(at, detail);
                    }
                    None => names.push((entry.name.clone(), line)),
                }
            }
            if let Some(Found { at, good: true }) = seen.get("unit")
                && !is_unit(&entry.unit)
            {
                let expected = "expected the name of one unit with its ending, such as \"recorder.service\"";
                self.fault(at, format!("`service.unit` is {:?}; {expected}", entry.unit));
            }
            if self.faults.len() == before {
                config.services.push(entry);
            }
        }
    }
}

/// Whether a text is the name of one unit. Source: systemd.unit(5). What begins with `-` would be an option of
/// systemctl, and `*`, `?` and `[` would be a pattern of many.
fn is_unit(text: &str) -> bool {
    const ENDINGS: [&str; 7] = [".service", ".socket", ".timer", ".path", ".target", ".mount", ".automount"];
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@');
    text.chars().all(plain)
        && !text.starts_with(['-', '.'])
        && ENDINGS.iter().any(|ending| text.strip_suffix(ending).is_some_and(|name| !name.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unit_is_one_unit() {
        for good in ["recorder.service", "getty@tty1.service", "backup.timer", "a-b\\x2dc.mount"] {
            assert!(is_unit(good), "{good}");
        }
        for bad in [
            "",
            "recorder",
            ".service",
            "-H.service",
            "*.service",
            "a b.service",
            "a.service;rm",
            "../x.service",
            "a.conf",
        ] {
            assert!(!is_unit(bad), "{bad}");
        }
    }
}
