//! What a reload changes, and what of it takes effect at once.

use super::keys::KEYS;
use super::lists::LISTS;
use super::types::Config;

/// The difference between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Tables with a change (`store`, `gpio`), and for the top level the keys themselves (`name`), in the order of the
    /// table of keys, each once.
    pub sections: Vec<&'static str>,
    /// Keys that have changed and wait for the next start, such as `listen` or `http.connections`.
    pub needs_restart: Vec<String>,
}

/// Compares two configurations key by key.
pub fn compare(old: &Config, new: &Config) -> Changes {
    let mut changes = Changes::default();
    for key in KEYS.iter().filter(|key| (key.get)(old) != (key.get)(new)) {
        let section = if key.section.is_empty() { key.name } else { key.section };
        if !changes.sections.contains(&section) {
            changes.sections.push(section);
        }
        if !key.live {
            changes.needs_restart.push(key.path());
        }
    }
    changes.sections.extend(LISTS.iter().filter(|l| (l.changed)(old, new)).map(|l| l.name));
    changes
}

impl Config {
    /// These settings, except that what needs a restart stays as it is in `running`: what a reload may put to use.
    pub fn live_over(&self, running: &Config) -> Config {
        let mut config = self.clone();
        for key in KEYS.iter().filter(|key| !key.live) {
            match (key.get)(running) {
                // Only `www` can be unset, and no value can be put that says so.
                super::value::Value::Nothing => config.www = running.www.clone(),
                value => (key.set)(&mut config, value),
            }
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{GpioPin, Sink};
    use std::time::Duration;

    #[test]
    fn changes_are_named_and_what_needs_a_restart_waits() {
        let old = Config::default();
        assert_eq!(compare(&old, &old.clone()), Changes::default());
        let mut new = old.clone();
        new.name = "van 3".into();
        new.listen = ([0, 0, 0, 0], 80).into();
        new.www = Some("/srv/www".into());
        new.store.keep_age = Some(Duration::from_secs(86_400));
        new.store.commit = Duration::from_secs(2);
        new.http.connections = 99;
        let sink = Some(Sink::Stream("door".into()));
        new.gpio.push(GpioPin { id: "door".into(), pin: 17, sink, ..GpioPin::default() });
        let changes = compare(&old, &new);
        assert_eq!(changes.sections, ["name", "listen", "www", "http", "store", "gpio"]);
        assert_eq!(changes.needs_restart, ["listen", "www", "http.connections"]);
        let live = new.live_over(&old);
        assert_eq!(compare(&old, &live).needs_restart, Vec::<String>::new());
        assert_eq!((live.name.as_str(), live.www.as_ref(), live.gpio.len()), ("van 3", None, 1));
        assert_eq!(compare(&new, &live).sections, ["listen", "www", "http"]);
    }
}
