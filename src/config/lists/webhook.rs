//! `[[webhook]]`: HTTP requests that tell of alerts.

use super::super::file::{Found, Ids, Reader, Seen};
use super::super::keys::{Key, key};
use super::super::print;
use super::super::types::Config;
use super::super::value::{Type, nearest};
use super::List;
use crate::limits;
use crate::model::Severity;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::DeValue;

/// See [`List`].
pub(super) const LIST: List = List {
    name: "webhook",
    keys: || KEYS.iter().map(|k| (k.section, k.name)).collect(),
    read: |reader, value, config, ids| reader.webhook(value, config, ids),
    write: |config, out| {
        for hook in &config.webhook {
            out.push_str("\n[[webhook]]\n");
            print::entry(out, KEYS, &WebhookEntry::from(hook));
        }
    },
    tell: |tell| tell("[[webhook]], one for each receiver of alerts", &print::rows(KEYS)),
    changed: |old, new| old.webhook != new.webhook,
};

/// Keys of a `[[webhook]]`.
pub(in crate::config) static KEYS: &[Key<WebhookEntry>] = &[
    key!(WebhookEntry: "webhook" "id", Type::Id, id, "Its name, unique among the receivers.").required(),
    key!(WebhookEntry: "webhook" "url", Type::Text(1024), url, "Where the request goes: http:// or https://. Redirects are not followed.").required(),
    key!(WebhookEntry: "webhook" "method", Type::Choice(&["POST", "PUT"]), method, "Method of the request."),
    key!(WebhookEntry: "webhook" "headers", Type::Words, headers, "Further headers, such as { Authorization = \"Bearer abc\" }.").default("{}"),
    key!(WebhookEntry: "webhook" "body", Type::Text(4096), body, "Body with {event}, {id}, {severity}, {state}, {message}, {guidance}, {value}, {unit}, {limit}, {source}, {occurrence}, {raised_at}, {cleared_at}, {acked_by}, {box}, {url}, {late}; escaped where the body is JSON.").default("the alert as JSON"),
    key!(WebhookEntry: "webhook" "secret", Type::Text(256), secret, "Signs the body: X-Telltale-Signature is sha256= and the HMAC-SHA256 in hexadecimal."),
    key!(WebhookEntry: "webhook" "on", Type::Names, on, "What is told: \"active\", \"cleared\", \"acknowledged\"."),
    key!(WebhookEntry: "webhook" "severities", Type::Names, severities, "Of which severities."),
    key!(WebhookEntry: "webhook" "sources", Type::Names, sources, "Of which sources or alert ids; a * at the end stands for any end.").default("[], all of them"),
];

/// Placeholders of a body.
pub(in crate::config) const PLACEHOLDERS: &[&str] = &[
    "event",
    "id",
    "severity",
    "state",
    "message",
    "guidance",
    "value",
    "unit",
    "limit",
    "source",
    "occurrence",
    "raised_at",
    "cleared_at",
    "acked_by",
    "box",
    "url",
    "late",
];

/// What a channel is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertFilter {
    /// `active`, `cleared`, `acknowledged`.
    pub on: Vec<String>,
    /// Severities.
    pub severities: Vec<Severity>,
    /// Sources or alert ids, `*` at the end; empty: all.
    pub sources: Vec<String>,
}

impl AlertFilter {
    /// Whether an alert with this id and source passes.
    pub fn takes(&self, severity: Severity, id: &str, source: Option<&str>) -> bool {
        let matches = |pattern: &String| {
            let one = |text: &str| match pattern.strip_suffix('*') {
                Some(start) => text.starts_with(start),
                None => text == pattern,
            };
            one(id) || source.is_some_and(one)
        };
        self.severities.contains(&severity) && (self.sources.is_empty() || self.sources.iter().any(matches))
    }
}

/// A receiver of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its name.
    pub id: String,
    /// Where.
    pub url: String,
    /// `POST` or `PUT`.
    pub method: String,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// Body with placeholders; none: the alert as JSON.
    pub body: Option<String>,
    /// Signs the body.
    pub secret: Option<String>,
    /// What it is told of.
    pub filter: AlertFilter,
}

/// `[[webhook]]` as the file has it.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct WebhookEntry {
    pub id: String,
    pub url: String,
    pub method: String,
    pub headers: BTreeMap<String, String>,
    pub body: Option<String>,
    pub secret: Option<String>,
    pub on: Vec<String>,
    pub severities: Vec<String>,
    pub sources: Vec<String>,
}

/// What is told unless the file says otherwise.
pub(super) fn usual_on() -> Vec<String> {
    ["active", "cleared"].map(String::from).into()
}

/// Severities unless the file says otherwise.
pub(super) fn usual_severities() -> Vec<String> {
    ["MINOR", "MAJOR", "INVALID"].map(String::from).into()
}

impl Default for WebhookEntry {
    fn default() -> Self {
        WebhookEntry {
            id: String::new(),
            url: String::new(),
            method: "POST".into(),
            headers: BTreeMap::new(),
            body: None,
            secret: None,
            on: usual_on(),
            severities: usual_severities(),
            sources: Vec::new(),
        }
    }
}

impl From<&Webhook> for WebhookEntry {
    fn from(hook: &Webhook) -> Self {
        WebhookEntry {
            id: hook.id.clone(),
            url: hook.url.clone(),
            method: hook.method.clone(),
            headers: hook.headers.clone(),
            body: hook.body.clone(),
            secret: hook.secret.clone(),
            on: hook.filter.on.clone(),
            severities: hook.filter.severities.iter().map(|s| s.word().to_string()).collect(),
            sources: hook.filter.sources.clone(),
        }
    }
}

/// The names `{like_this}` in a template, each with where it begins.
pub(in crate::config) fn placeholders(template: &str) -> impl Iterator<Item = &str> {
    template.split('{').skip(1).filter_map(|rest| {
        let (name, _) = rest.split_once('}')?;
        let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        named.then_some(name)
    })
}

impl Reader<'_> {
    pub(super) fn webhook(&mut self, value: &Spanned<DeValue<'_>>, config: &mut Config, _: &mut Ids) {
        for (table, at) in self.tables("webhook", value, limits::ALERT_CHANNELS) {
            let before = self.faults.len();
            let mut entry = WebhookEntry::default();
            let seen = self.keys(table, "webhook", KEYS, &mut entry);
            self.missing(&seen, KEYS, &at, "[[webhook]]");
            self.channel_id(&seen, "webhook", &entry.id, config);
            self.url(&seen, "webhook", "url", &entry.url);
            if let (Some(Found { at, good: true }), Some(body)) = (seen.get("body"), &entry.body) {
                for name in placeholders(body).filter(|name| !PLACEHOLDERS.contains(name)) {
                    let known = match nearest(name, PLACEHOLDERS.iter().copied()) {
                        Some(near) => format!("did you mean {{{near}}}?"),
                        None => format!("expected one of {}", PLACEHOLDERS.join(", ")),
                    };
                    self.fault(at, format!("`webhook.body` has an unknown {{{name}}}; {known}"));
                }
            }
            if let Some(Found { at, good: true }) = seen.get("headers") {
                for (name, text) in &entry.headers {
                    if !is_header(name, text) {
                        self.fault(
                            at,
                            format!("`webhook.headers` has {name:?}, which can't be sent; expected a header's name and printable ASCII"),
                        );
                    }
                }
            }
            let filter = self.filter(&seen, "webhook", &entry.on, &entry.severities, entry.sources);
            if self.faults.len() == before {
                config.webhook.push(Webhook {
                    id: entry.id,
                    url: entry.url,
                    method: entry.method,
                    headers: entry.headers,
                    body: entry.body,
                    secret: entry.secret,
                    filter,
                });
            }
        }
    }

    /// Channels share one space of names.
    pub(super) fn channel_id(&mut self, seen: &Seen, list: &str, id: &str, config: &Config) {
        if let Some(Found { at, good: true }) = seen.get("id")
            && (config.webhook.iter().any(|c| c.id == id) || config.ntfy.iter().any(|c| c.id == id))
        {
            self.fault(at, format!("`{list}.id` {id:?} is used twice; expected each receiver's name once"));
        }
    }

    /// An address that a request can be sent to.
    pub(super) fn url(&mut self, seen: &Seen, list: &str, name: &'static str, url: &str) {
        let Some(Found { at, good: true }) = seen.get(name) else { return };
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let fits = rest.is_some_and(|rest| {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            !host.is_empty() && !host.contains('@') && url.bytes().all(|b| b.is_ascii_graphic())
        });
        if !fits {
            self.fault(
                at,
                format!("`{list}.{name}` is {url:?}; expected http://HOST/... or https://HOST/... without a user name"),
            );
        }
    }

    /// What a channel is told of.
    pub(super) fn filter(
        &mut self,
        seen: &Seen,
        list: &str,
        on: &[String],
        severities: &[String],
        sources: Vec<String>,
    ) -> AlertFilter {
        const ON: [&str; 3] = ["active", "cleared", "acknowledged"];
        if let Some(found) = seen.get("on")
            && let Some(wrong) = on.iter().find(|word| !ON.contains(&word.as_str()))
        {
            self.fault(&found.at, format!("`{list}.on` has {wrong:?}; expected of {}", ON.join(", ")));
        }
        let read: Vec<Severity> = severities
            .iter()
            .filter_map(|word| Severity::parse(word))
            .filter(|s| *s != Severity::NoAlarm)
            .collect();
        if let Some(found) = seen.get("severities")
            && read.len() != severities.len()
        {
            self.fault(
                &found.at,
                format!(
                    "`{list}.severities` is {}; expected of MINOR, MAJOR, INVALID",
                    severities.join(", ")
                ),
            );
        }
        AlertFilter { on: on.to_vec(), severities: read, sources }
    }
}

/// Whether these can be sent as a header: a token and printable ASCII. Source: RFC 9110, 5.1 and 5.5.
fn is_header(name: &str, text: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        && text.bytes().all(|b| (b' '..=b'~').contains(&b))
}
