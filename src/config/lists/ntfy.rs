//! `[[ntfy]]`: topics of ntfy servers that are told of alerts.

use super::super::file::{Found, Ids, Reader};
use super::super::keys::{Key, key};
use super::super::print;
use super::super::types::Config;
use super::super::value::Type;
use super::List;
use super::webhook::{AlertFilter, usual_on, usual_severities};
use crate::limits;
use crate::model::Severity;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::DeValue;

/// See [`List`].
pub(super) const LIST: List = List {
    name: "ntfy",
    keys: || KEYS.iter().map(|k| (k.section, k.name)).collect(),
    read: |reader, value, config, ids| reader.ntfy(value, config, ids),
    write: |config, out| {
        for ntfy in &config.ntfy {
            out.push_str("\n[[ntfy]]\n");
            print::entry(out, KEYS, &NtfyEntry::from(ntfy));
        }
    },
    tell: |tell| tell("[[ntfy]], one for each topic that is told of alerts", &print::rows(KEYS)),
    changed: |old, new| old.ntfy != new.ntfy,
};

/// Keys of an `[[ntfy]]`.
pub(in crate::config) static KEYS: &[Key<NtfyEntry>] = &[
    key!(NtfyEntry: "ntfy" "id", Type::Id, id, "Its name, unique among the receivers.").required(),
    key!(NtfyEntry: "ntfy" "server", Type::Text(1024), server, "Address of the server, such as \"http://192.168.4.1:2586\" or \"https://ntfy.sh\".").required(),
    key!(NtfyEntry: "ntfy" "topic", Type::Text(64), topic, "Topic on that server; whoever knows it can read it.").required(),
    key!(NtfyEntry: "ntfy" "token", Type::Text(256), token, "Access token of the server."),
    key!(NtfyEntry: "ntfy" "email", Type::Text(256), email, "The server is asked to send a mail there too."),
    key!(NtfyEntry: "ntfy" "priorities", Type::Words, priorities, "Priority (\"1\" to \"5\") by severity."),
    key!(NtfyEntry: "ntfy" "tags", Type::Names, tags, "Tags besides that of the severity.").default("[]"),
    key!(NtfyEntry: "ntfy" "on", Type::Names, on, "What is told: \"active\", \"cleared\", \"acknowledged\"."),
    key!(NtfyEntry: "ntfy" "severities", Type::Names, severities, "Of which severities."),
    key!(NtfyEntry: "ntfy" "sources", Type::Names, sources, "Of which sources or alert ids; a * at the end stands for any end.").default("[], all of them"),
];

/// A topic of an ntfy server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ntfy {
    /// Its name.
    pub id: String,
    /// Address of the server, without a slash at the end.
    pub server: String,
    /// Topic.
    pub topic: String,
    /// Access token.
    pub token: Option<String>,
    /// Where the server is to send a mail.
    pub email: Option<String>,
    /// Priority, 1 to 5, by severity.
    pub priorities: BTreeMap<String, String>,
    /// Tags.
    pub tags: Vec<String>,
    /// What it is told of.
    pub filter: AlertFilter,
}

/// `[[ntfy]]` as the file has it.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct NtfyEntry {
    pub id: String,
    pub server: String,
    pub topic: String,
    pub token: Option<String>,
    pub email: Option<String>,
    pub priorities: BTreeMap<String, String>,
    pub tags: Vec<String>,
    pub on: Vec<String>,
    pub severities: Vec<String>,
    pub sources: Vec<String>,
}

impl Default for NtfyEntry {
    fn default() -> Self {
        let priorities = [("INVALID", "4"), ("MAJOR", "5"), ("MINOR", "3")];
        NtfyEntry {
            id: String::new(),
            server: String::new(),
            topic: String::new(),
            token: None,
            email: None,
            priorities: priorities.map(|(severity, n)| (severity.into(), n.into())).into(),
            tags: Vec::new(),
            on: usual_on(),
            severities: usual_severities(),
            sources: Vec::new(),
        }
    }
}

impl From<&Ntfy> for NtfyEntry {
    fn from(ntfy: &Ntfy) -> Self {
        NtfyEntry {
            id: ntfy.id.clone(),
            server: ntfy.server.clone(),
            topic: ntfy.topic.clone(),
            token: ntfy.token.clone(),
            email: ntfy.email.clone(),
            priorities: ntfy.priorities.clone(),
            tags: ntfy.tags.clone(),
            on: ntfy.filter.on.clone(),
            severities: ntfy.filter.severities.iter().map(|s| s.word().to_string()).collect(),
            sources: ntfy.filter.sources.clone(),
        }
    }
}

impl Reader<'_> {
    pub(super) fn ntfy(&mut self, value: &Spanned<DeValue<'_>>, config: &mut Config, _: &mut Ids) {
        for (table, at) in self.tables("ntfy", value, limits::ALERT_CHANNELS) {
            let before = self.faults.len();
            let mut entry = NtfyEntry::default();
            let usual = entry.priorities.clone();
            let seen = self.keys(table, "ntfy", KEYS, &mut entry);
            self.missing(&seen, KEYS, &at, "[[ntfy]]");
            self.channel_id(&seen, "ntfy", &entry.id, config);
            self.url(&seen, "ntfy", "server", &entry.server);
            if let Some(Found { at, good: true }) = seen.get("topic")
                && !entry.topic.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
            {
                self.fault(at, format!("`ntfy.topic` is {:?}; expected A-Z a-z 0-9 _ -", entry.topic));
            }
            if let (Some(Found { at, good: true }), Some(token)) = (seen.get("token"), &entry.token)
                && !token.bytes().all(|b| b.is_ascii_graphic())
            {
                self.fault(
                    at,
                    "`ntfy.token` has characters that can't be sent; expected printable ASCII without spaces"
                        .into(),
                );
            }
            if let Some(Found { at, good: true }) = seen.get("priorities") {
                for (severity, n) in &entry.priorities {
                    let known = Severity::parse(severity).is_some_and(|s| s != Severity::NoAlarm);
                    if !known || !matches!(n.as_str(), "1" | "2" | "3" | "4" | "5") {
                        self.fault(
                            at,
                            format!("`ntfy.priorities` has {severity} = {n:?}; expected MINOR, MAJOR or INVALID and \"1\" to \"5\""),
                        );
                    }
                }
            }
            for (severity, n) in usual {
                entry.priorities.entry(severity).or_insert(n);
            }
            let filter = self.filter(&seen, "ntfy", &entry.on, &entry.severities, entry.sources);
            if self.faults.len() == before {
                config.ntfy.push(Ntfy {
                    id: entry.id,
                    server: entry.server.trim_end_matches('/').into(),
                    topic: entry.topic,
                    token: entry.token,
                    email: entry.email,
                    priorities: entry.priorities,
                    tags: entry.tags,
                    filter,
                });
            }
        }
    }
}
