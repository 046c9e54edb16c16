//! `[[stream]]`: value streams, their limits and the feeds they come from.

use super::super::error::shorten;
use super::super::file::{Found, Ids, Reader};
use super::super::keys::{DAY, Key, key, ms, s};
use super::super::print;
use super::super::types::{Config, Feed, StreamRule};
use super::super::value::Type;
use super::List;
use crate::limits;
use crate::model::Bands;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// See [`List`].
pub(super) const LIST: List = List {
    name: "stream",
    keys: || KEYS.iter().map(|k| (k.section, k.name)).collect(),
    read: |reader, value, config, ids| reader.streams(value, config, ids),
    write: |config, out| {
        for rule in &config.streams {
            out.push_str("\n[[stream]]\n");
            print::entry(out, KEYS, &Entry::from(rule));
        }
    },
    tell: |tell| tell("[[stream]], one for each value stream that is fed or has limits", &print::rows(KEYS)),
    changed: |old, new| old.streams != new.streams,
};

static KEYS: &[Key<Entry>] = &[
    key!(Entry: "stream" "id", Type::Id, id, "Id of the stream, as pages and programs name it.").required(),
    key!(Entry: "stream" "name", Type::Text(128), name, "The name people see."),
    key!(Entry: "stream" "unit", Type::Text(32), unit, "Its unit, where the source gives none."),
    key!(Entry: "stream" "low_alarm", Type::Number, low_alarm, "Below this it is MAJOR."),
    key!(Entry: "stream" "low", Type::Number, low, "Below this it is MINOR."),
    key!(Entry: "stream" "high", Type::Number, high, "Above this it is MINOR."),
    key!(Entry: "stream" "high_alarm", Type::Number, high_alarm, "Above this it is MAJOR."),
    key!(Entry: "stream" "stale_after", Type::Duration(ms(100), DAY), stale_after, "A value older than this is shown as stale.").default("not set, or 15s with a feed"),
    key!(Entry: "stream" "expire_after", Type::Duration(ms(100), DAY), expire_after, "A value older than this is no value any more.").default("not set"),
    key!(Entry: "stream" "url", Type::Text(1024), url, "WebSocket it is fed from: ws://... or wss://...; streams with the same one share a connection."),
    key!(Entry: "stream" "subscribe", Type::Names, subscribe, "Texts sent once the connection is open."),
    key!(Entry: "stream" "value", Type::Text(128), value, "Path of the value in a JSON message, such as \"p\" or \"data.0.price\"; without it the message is the value."),
    key!(Entry: "stream" "time", Type::Text(128), time, "Path of its time: RFC 3339, or seconds, milli-, micro- or nanoseconds since 1970."),
    key!(Entry: "stream" "only_path", Type::Text(128), only_path, "Only messages that have the text only_value at this path."),
    key!(Entry: "stream" "only_value", Type::Text(128), only_value, "See only_path."),
    key!(Entry: "stream" "rest", Type::Text(1024), rest, "Address that is asked while the WebSocket gives nothing: http://... or https://..."),
    key!(Entry: "stream" "rest_value", Type::Text(128), rest_value, "Path of the value in its answer.").default("as value"),
    key!(Entry: "stream" "rest_interval", Type::Duration(ms(500), s(3600)), rest_interval, "How often it is asked."),
    key!(Entry: "stream" "mode", Type::Choice(&["latest", "all"]), mode, "latest: the newest value, at most once in interval; all: every value is published. History has all of them either way."),
    key!(Entry: "stream" "interval", Type::Duration(ms(10), s(60)), interval, "See mode."),
];

/// `[[stream]]` as the file has it.
#[derive(Clone, Debug)]
struct Entry {
    id: String,
    name: Option<String>,
    unit: Option<String>,
    low_alarm: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    high_alarm: Option<f64>,
    stale_after: Option<Duration>,
    expire_after: Option<Duration>,
    url: Option<String>,
    subscribe: Vec<String>,
    value: Option<String>,
    time: Option<String>,
    only_path: Option<String>,
    only_value: Option<String>,
    rest: Option<String>,
    rest_value: Option<String>,
    rest_interval: Duration,
    mode: String,
    interval: Duration,
}

impl Default for Entry {
    fn default() -> Self {
        Entry {
            id: String::new(),
            name: None,
            unit: None,
            low_alarm: None,
            low: None,
            high: None,
            high_alarm: None,
            stale_after: None,
            expire_after: None,
            url: None,
            subscribe: Vec::new(),
            value: None,
            time: None,
            only_path: None,
            only_value: None,
            rest: None,
            rest_value: None,
            rest_interval: s(5),
            mode: "latest".into(),
            interval: ms(50),
        }
    }
}

impl From<&StreamRule> for Entry {
    fn from(rule: &StreamRule) -> Self {
        let Bands { low_alarm, low, high, high_alarm } = rule.limits;
        let mut entry = Entry {
            id: rule.id.clone(),
            name: rule.name.clone(),
            unit: rule.unit.clone(),
            low_alarm,
            low,
            high,
            high_alarm,
            stale_after: rule.stale_after,
            expire_after: rule.expire_after,
            ..Entry::default()
        };
        if let Some(feed) = rule.feed.clone() {
            entry.url = Some(feed.url);
            entry.subscribe = feed.subscribe;
            entry.value = Some(feed.value).filter(|path| !path.is_empty());
            entry.time = feed.time;
            (entry.only_path, entry.only_value) = feed.only.unzip();
            (entry.rest, entry.rest_value, entry.rest_interval) =
                (feed.rest, feed.rest_value, feed.rest_interval);
            entry.mode = if feed.every_tick { "all" } else { "latest" }.into();
            entry.interval = feed.interval;
        }
        entry
    }
}

impl Entry {
    fn finish(self) -> StreamRule {
        let Entry { low_alarm, low, high, high_alarm, .. } = self;
        let feed = self.url.map(|url| Feed {
            url,
            subscribe: self.subscribe,
            value: self.value.unwrap_or_default(),
            time: self.time,
            only: self.only_path.zip(self.only_value),
            rest: self.rest,
            rest_value: self.rest_value,
            rest_interval: self.rest_interval,
            every_tick: self.mode == "all",
            interval: self.interval,
        });
        StreamRule {
            id: self.id,
            name: self.name,
            unit: self.unit,
            limits: Bands { low_alarm, low, high, high_alarm },
            stale_after: self.stale_after.or(feed.as_ref().map(|_| limits::FEED_STALE)),
            expire_after: self.expire_after,
            feed,
        }
    }
}

/// Keys that only a feed has.
const FEED_KEYS: [&str; 10] = [
    "subscribe",
    "value",
    "time",
    "only_path",
    "only_value",
    "rest",
    "rest_value",
    "rest_interval",
    "mode",
    "interval",
];

impl Reader<'_> {
    fn streams(&mut self, value: &Spanned<DeValue<'_>>, config: &mut Config, _: &mut Ids) {
        let mut ids = std::collections::BTreeMap::new();
        for (table, at) in self.tables("stream", value, limits::STREAM_RULES) {
            let before = self.faults.len();
            let mut entry = Entry::default();
            let seen = self.keys(table, "stream", KEYS, &mut entry);
            self.missing(&seen, KEYS, &at, "[[stream]]");
            if let Some(Found { at, good: true }) = seen.get("id") {
                let line = self.lines.line(at.start);
                if let Some(first) = ids.insert(entry.id.clone(), line) {
                    self.fault(at, format!("stream {:?} is there twice, first in line {first}", entry.id));
                }
            }
            if entry.url.is_none() {
                for name in FEED_KEYS {
                    self.only(&seen, name, "with `url`");
                }
            }
            for (name, text, schemes) in
                [("url", &entry.url, ["ws://", "wss://"]), ("rest", &entry.rest, ["http://", "https://"])]
            {
                if let (Some(found), Some(text)) = (seen.get(name), text)
                    && !schemes.iter().any(|scheme| text.starts_with(scheme))
                {
                    let expected = format!("expected {}... or {}...", schemes[0], schemes[1]);
                    self.fault(&found.at, format!("`stream.{name}` is {:?}; {expected}", shorten(text)));
                }
            }
            for (name, other) in [("only_path", "only_value"), ("only_value", "only_path")] {
                if let (Some(found), None) = (seen.get(name), seen.get(other)) {
                    self.fault(
                        &found.at,
                        format!("`{name}` is set without `{other}`; expected both or neither"),
                    );
                }
            }
            if self.faults.len() > before {
                continue;
            }
            let rule = entry.finish();
            if let Some((first, second)) = rule.limits.disorder() {
                let place = seen.get(second).map_or(at, |found| found.at.clone());
                self.fault(
                    &place,
                    format!(
                        "`{second}` is not above `{first}`; expected low_alarm < low < high < high_alarm"
                    ),
                );
                continue;
            }
            config.streams.push(rule);
        }
    }
}
