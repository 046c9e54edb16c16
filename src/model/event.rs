//! Drafts (what a source wants published) and events (what was published, encoded once and shared).

use super::kind::{Global, RESERVED, TopicRule};
use super::{Cursor, Kind, Level, Topic, find_kind};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The newest of each key is kept; a slow reader may be given fewer, never older.
    State,
    /// Kept one by one until retention; never dropped silently.
    Record,
    /// About the connection itself; never stored, has no id of its own.
    Control,
}

/// An event before it has an id: checked, addressed, its payload already compact JSON.
#[derive(Clone, Debug)]
pub struct Draft {
    pub(crate) kind: Arc<str>,
    pub(crate) class: Class,
    pub(crate) topic: Topic,
    pub(crate) key: Option<Arc<str>>,
    pub(crate) global: bool,
    pub(crate) payload: Box<str>,
    /// Committed early rather than at the end of the window.
    pub(crate) urgent: bool,
    /// Folded into the state while open, though a record: an alert. `Some(false)` takes it out again.
    pub(crate) open: Option<bool>,
    /// Who sent it and as its how-manyeth: one that was seen before is not published again.
    pub(crate) producer: Option<(Arc<str>, u64)>,
}

/// Why something can't be published. `field` says where, the text what was sent and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftError {
    /// The member at fault, such as `payload.scan_id`; empty when it is the whole.
    pub field: String,
    /// One sentence.
    pub detail: String,
    /// What sort of fault it is.
    pub fault: Fault,
}

/// What sort of fault keeps an event from being published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not the JSON that is expected at all.
    Malformed,
    /// Valid, but it breaks a rule.
    Rule,
    /// Too many bytes.
    TooLarge,
}

impl fmt::Display for DraftError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}
impl std::error::Error for DraftError {}

fn fault(field: impl Into<String>, detail: impl Into<String>) -> DraftError {
    DraftError { field: field.into(), detail: detail.into(), fault: Fault::Rule }
}

fn malformed(detail: impl Into<String>) -> DraftError {
    DraftError { fault: Fault::Malformed, ..fault("payload", detail) }
}

fn too_large(bytes: usize) -> DraftError {
    DraftError {
        fault: Fault::TooLarge,
        ..fault("payload", format!("payload has {bytes} bytes; at most {PAYLOAD_BYTES}"))
    }
}

/// The largest payload of one event, in bytes of compact JSON.
pub const PAYLOAD_BYTES: usize = 64 * 1024;
/// The deepest nesting of a payload.
const DEPTH: usize = 32;

impl Draft {
    /// Its type.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Sets a member of its payload.
    pub fn insert(&mut self, name: &str, value: Value) {
        if let Ok(mut payload) = serde_json::from_str::<Map<String, Value>>(&self.payload) {
            payload.insert(name.into(), value);
            self.payload = Value::Object(payload).to_string().into();
        }
    }

    /// A draft from one of our own payload types. Numbers that are not finite become `null`.
    ///
    /// Errors when the payload lacks what its type demands, or an id is not one: a fault of the caller, to be logged.
    pub fn of<T: serde::Serialize>(kind: &str, payload: &T) -> Result<Draft, DraftError> {
        Draft::on(kind, None, payload)
    }

    /// The same on a topic the caller names, for the types whose topic is given.
    pub fn on<T: serde::Serialize>(
        kind: &str,
        topic: Option<Topic>,
        payload: &T,
    ) -> Result<Draft, DraftError> {
        let value = serde_json::to_value(payload)
            .map_err(|e| fault("payload", format!("payload is not JSON: {e}")))?;
        Draft::checked(kind, topic.as_ref().map(Topic::as_str), value)
    }

    /// A draft from outside: checks the type, the topic, mandatory fields, enums, size and depth.
    pub fn checked(kind: &str, topic: Option<&str>, payload: Value) -> Result<Draft, DraftError> {
        let Value::Object(payload) = payload else {
            return Err(malformed(format!("payload is {}; expected a JSON object", name_of(&payload))));
        };
        if let Some(at) = too_deep(&payload) {
            return Err(malformed(format!("payload nests deeper than {DEPTH} levels at {at:?}")));
        }
        let text = serde_json::to_string(&payload)
            .map_err(|e| fault("payload", format!("payload is not JSON: {e}")))?;
        if text.len() > PAYLOAD_BYTES {
            return Err(too_large(text.len()));
        }
        match find_kind(kind) {
            Some(row) => Draft::of_ours(row, topic, payload, text),
            None => Draft::of_theirs(kind, topic, text),
        }
    }

    /// The same of a payload that is still text. A publisher's own types are not taken apart: their payload is checked
    /// and made compact in one pass, which is several times faster.
    pub fn raw(kind: &str, topic: Option<&str>, payload: &RawValue) -> Result<Draft, DraftError> {
        if find_kind(kind).is_none() {
            match compact(payload.get()) {
                Compact::Done(text) => return Draft::of_theirs(kind, topic, text),
                Compact::Unsure => {}
                Compact::NoObject => return Err(malformed("payload is not a JSON object; expected one")),
                Compact::TooDeep => {
                    return Err(malformed(format!("payload nests deeper than {DEPTH} levels")));
                }
                Compact::TooLarge => return Err(too_large(payload.get().len())),
            }
        }
        let value = serde_json::from_str(payload.get())
            .map_err(|e| malformed(format!("payload is not JSON: {e}")))?;
        Draft::checked(kind, topic, value)
    }

    fn of_ours(
        row: &Kind,
        topic: Option<&str>,
        payload: Map<String, Value>,
        text: String,
    ) -> Result<Draft, DraftError> {
        for name in row.mandatory {
            if !payload.contains_key(*name) {
                return Err(fault(
                    format!("payload.{name}"),
                    format!("{} lacks {name:?}; it must have {}", row.name, row.mandatory.join(", ")),
                ));
            }
        }
        super::kind_check(row.name, &Value::Object(payload.clone()))
            .map_err(|e| fault("payload", format!("{}: {e}", row.name)))?;
        let id = match payload.get(row.id_field) {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            // Some instruments are numbered; a number is as good an id as a word.
            Some(Value::Number(id)) => Some(id.to_string()),
            Some(other) => {
                return Err(fault(
                    format!("payload.{}", row.id_field),
                    format!("{} is {}; expected a string", row.id_field, name_of(other)),
                ));
            }
        };
        if let Some(id) = &id
            && !super::topic::is_id(id)
        {
            return Err(fault(
                format!("payload.{}", row.id_field),
                format!("{} is {id:?}; expected 1 to 64 characters of A-Z a-z 0-9 _ . : -", row.id_field),
            ));
        }
        let own = match (&row.topic, &id) {
            (TopicRule::Fixed(fixed), _) => Some((*fixed).to_string()),
            (TopicRule::ById(kind), Some(id)) => Some(format!("{kind}/{id}")),
            (TopicRule::ById(_), None) => {
                return Err(fault(
                    format!("payload.{}", row.id_field),
                    format!("{} lacks its {}", row.name, row.id_field),
                ));
            }
            (TopicRule::Given, _) => given_topic(&payload),
        };
        let topic = match (own, topic) {
            (Some(own), Some(said)) if own != said && row.topic != TopicRule::Given => {
                return Err(fault(
                    "topic",
                    format!("{} belongs on topic {own:?}, not on {said:?}", row.name),
                ));
            }
            (_, Some(said)) => said.to_string(),
            (Some(own), None) => own,
            (None, None) => return Err(fault("topic", format!("{} needs a topic", row.name))),
        };
        let topic = Topic::parse(&topic).map_err(|e| fault("topic", e.to_string()))?;
        let global = match row.global {
            Global::Yes => true,
            Global::No => false,
            Global::FromWarning => {
                payload.get("level").and_then(Value::as_str).and_then(Level::parse) >= Some(Level::Warning)
            }
        };
        let is_alert = row.name == "alert";
        let open = is_alert.then(|| payload.get("state").and_then(Value::as_str) != Some("closed"));
        let key = match (row.class, is_alert) {
            (Class::State, _) | (_, true) => Some(match &id {
                Some(id) => format!("{}/{id}", row.name).into(),
                None => row.name.into(),
            }),
            _ => None,
        };
        let urgent = is_alert || row.name == "command_result";
        Ok(Draft {
            kind: row.name.into(),
            class: row.class,
            topic,
            key,
            global,
            payload: text.into(),
            urgent,
            open,
            producer: None,
        })
    }

    fn of_theirs(kind: &str, topic: Option<&str>, text: String) -> Result<Draft, DraftError> {
        let named = kind.len() <= 64
            && kind.starts_with(|c: char| c.is_ascii_lowercase())
            && kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !named || RESERVED.contains(&kind) {
            let shown: String = kind.chars().filter(|c| !c.is_control()).take(70).collect();
            return Err(fault(
                "type",
                format!(
                    "type {shown:?} can't be published; expected one of the types in docs/api.md or your own, [a-z][a-z0-9_]{{0,63}} and none of {}",
                    RESERVED.join(", ")
                ),
            ));
        }
        let topic = topic.ok_or_else(|| {
            fault("topic", format!("type {kind:?} is your own, so it needs a topic under app/"))
        })?;
        let topic = Topic::parse(topic).map_err(|e| fault("topic", e.to_string()))?;
        if topic.kind() != "app" {
            return Err(fault(
                "topic",
                format!("type {kind:?} is your own, so its topic must start with app/, not {topic}"),
            ));
        }
        Ok(Draft {
            kind: kind.into(),
            class: Class::Record,
            topic,
            key: None,
            global: false,
            payload: text.into(),
            urgent: false,
            open: None,
            producer: None,
        })
    }

    /// Makes it the last of its state key: a job or scan that has ended. It stays in the state among the last
    /// `limits::RETIRED` of its kind, so that who was away sees the end, and is then forgotten.
    pub fn retired(mut self) -> Self {
        self.open = Some(false);
        self
    }

    /// Asks for an early commit.
    pub fn urgent(mut self) -> Self {
        self.urgent = true;
        self
    }

    /// Marks it as number `seq` of `producer`, so that a retry is not published twice.
    pub fn by(mut self, producer: &str, seq: u64) -> Self {
        self.producer = Some((producer.into(), seq));
        self
    }

    /// The topic it will be published on.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }
}

/// `queue_log` names its queue or scan, `command_result` its target.
fn given_topic(payload: &Map<String, Value>) -> Option<String> {
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    text("target")
        .map(str::to_string)
        .or_else(|| text("scan_id").map(|id| format!("scan/{id}")))
        .or_else(|| text("queue_id").map(|id| format!("queue/{id}")))
}

/// What came of making text compact without taking it apart.
#[derive(Debug, PartialEq, Eq)]
enum Compact {
    Done(String),
    /// It has something that only reading it can judge: an exponent or a very long number, which may not be finite,
    /// or an escaped surrogate, which may be a lone one.
    Unsure,
    NoObject,
    TooDeep,
    TooLarge,
}

/// Takes the white space out of `json`, which must be valid JSON, and checks that it is an object, its depth and size.
fn compact(json: &str) -> Compact {
    if !json.starts_with('{') {
        return Compact::NoObject;
    }
    let bytes = json.as_bytes();
    let mut out = String::new();
    let (mut depth, mut at, mut kept) = (0, 0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while let Some(byte) = bytes.get(at) {
                    match byte {
                        b'"' => break,
                        b'\\'
                            if bytes.get(at + 1) == Some(&b'u')
                                && matches!(bytes.get(at + 2), Some(b'd' | b'D')) =>
                        {
                            return Compact::Unsure;
                        }
                        b'\\' => at += 2,
                        _ => at += 1,
                    }
                }
                at += 1;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH {
                    return Compact::TooDeep;
                }
                at += 1;
            }
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            b' ' | b'\t' | b'\r' | b'\n' => {
                out.push_str(&json[kept..at]);
                at += bytes[at..].iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')).count();
                kept = at;
            }
            b'0'..=b'9' | b'-' => {
                let length = bytes[at..]
                    .iter()
                    .take_while(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
                    .count();
                if length > 300 || bytes[at..at + length].iter().any(|b| matches!(b, b'e' | b'E')) {
                    return Compact::Unsure;
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    out.push_str(&json[kept..]);
    if out.len() > PAYLOAD_BYTES { Compact::TooLarge } else { Compact::Done(out) }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The first member that nests too deep.
fn too_deep(payload: &Map<String, Value>) -> Option<&str> {
    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
            Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }
    payload.iter().find(|(_, value)| 1 + depth(value) > DEPTH).map(|(name, _)| name.as_str())
}

/// A published event, encoded once: every reader is sent these bytes.
#[derive(Debug)]
pub struct Event {
    /// Its id.
    pub cursor: Cursor,
    /// Its type.
    pub kind: Arc<str>,
    /// State or record.
    pub class: Class,
    /// Its topic.
    pub topic: Topic,
    /// The state key it replaces, for state events and open alerts.
    pub key: Option<Arc<str>>,
    /// Whether it belongs to `global`.
    pub global: bool,
    /// See [`Draft::open`].
    pub(crate) open: Option<bool>,
    frame: Box<str>,
    data_at: u32,
}

/// An event as it is passed around.
pub type SharedEvent = Arc<Event>;

impl Event {
    /// Gives a draft its id and its one encoding. `stamp` is the envelope's time, RFC 3339.
    pub(crate) fn publish(draft: Draft, cursor: Cursor, stamp: &str, unsynced: bool) -> Event {
        use std::fmt::Write;
        let mut frame = String::with_capacity(
            draft.payload.len() + 2 * draft.kind.len() + draft.topic.as_str().len() + 160,
        );
        let _ = write!(frame, "id: {cursor}\nevent: {}\ndata: ", draft.kind);
        let data_at = frame.len() as u32;
        // Names and ids are checked to need no escaping; the payload is compact JSON from serde_json, one line.
        let _ = write!(
            frame,
            r#"{{"type":"{}","id":"{cursor}","topic":"{}","timestamp":"{stamp}""#,
            draft.kind, draft.topic
        );
        if unsynced {
            frame.push_str(r#","clock":"unsynced""#);
        }
        frame.push_str(r#","payload":"#);
        frame.push_str(&draft.payload);
        frame.push_str("}\n\n");
        Event {
            cursor,
            kind: draft.kind,
            class: draft.class,
            topic: draft.topic,
            key: draft.key,
            global: draft.global,
            open: draft.open,
            frame: frame.into(),
            data_at,
        }
    }

    /// An event read back from the store: its parts and its envelope as one line of JSON.
    pub(crate) fn restored(
        cursor: Cursor,
        class: Class,
        kind: Arc<str>,
        topic: Topic,
        key: Option<Arc<str>>,
        global: bool,
        data: &str,
    ) -> Event {
        let head = format!("id: {cursor}\nevent: {kind}\ndata: ");
        let data_at = head.len() as u32;
        Event {
            cursor,
            kind,
            class,
            topic,
            open: key.as_ref().map(|_| true),
            key,
            global,
            frame: (head + data + "\n\n").into(),
            data_at,
        }
    }

    /// Whether it is the last value of its state key.
    pub fn is_retired(&self) -> bool {
        self.class == Class::State && self.open == Some(false)
    }

    /// The whole SSE frame: `id:`, `event:`, `data:`, blank line.
    pub fn frame(&self) -> &str {
        &self.frame
    }

    /// The envelope: one line of compact JSON without a line end.
    pub fn data(&self) -> &str {
        &self.frame[self.data_at as usize..self.frame.len() - 2]
    }

    /// The payload: JSON text.
    pub fn payload(&self) -> &str {
        // Type, id, topic and time can't contain this, so the first one is the member's name.
        const NAME: &str = r#","payload":"#;
        let data = self.data();
        data.find(NAME).map_or("{}", |at| &data[at + NAME.len()..data.len() - 1])
    }

    /// What it takes in memory, roughly: the bound of the hot log counts this.
    pub fn bytes(&self) -> usize {
        self.frame.len() + std::mem::size_of::<Event>() + 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raw(text: &str) -> Result<String, Fault> {
        let value: Box<RawValue> = serde_json::from_str(text).unwrap();
        Draft::raw("mine", Some("app/x"), &value).map(|d| d.payload.into()).map_err(|e| e.fault)
    }

    #[test]
    fn own_payloads_are_made_compact_without_being_taken_apart() {
        assert_eq!(
            raw("{ \"a b\" : [ 1 , -2.5 ] ,\r\n \"c\":\"\\\" } \\n\" }").unwrap(),
            r#"{"a b":[1,-2.5],"c":"\" } \n"}"#
        );
        assert_eq!(raw(r#"{"a":1e3,"b":"\ud83d\ude00"}"#).unwrap(), "{\"a\":1000.0,\"b\":\"\u{1f600}\"}");
        for (bad, why) in [
            ("[]", Fault::Malformed),
            ("1", Fault::Malformed),
            (r#"{"a":1e999}"#, Fault::Malformed),
            (r#"{"a":"\ud800"}"#, Fault::Malformed),
            (&format!("{{\"a\":{}1{}}}", "[".repeat(32), "]".repeat(32)), Fault::Malformed),
            (&format!("{{\"a\":\"{}\"}}", "x".repeat(PAYLOAD_BYTES)), Fault::TooLarge),
        ] {
            assert_eq!(raw(bad), Err(why), "{}", &bad[..bad.len().min(40)]);
        }
        assert!(raw(&format!("{{\"a\":{}1{}}}", "[".repeat(31), "]".repeat(31))).is_ok());
        assert!(raw(&format!("{{\"a\":\"{}\"}}", "x".repeat(PAYLOAD_BYTES - 8))).is_ok());
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(|f| serde_json::Number::from_f64(f).map_or(Value::Null, Value::Number)),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(".{0,4}", inner, 0..4)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_fast_way_and_the_slow_way_agree(value in json(), pretty: bool) {
            let value = serde_json::json!({ "v": value });
            let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
            let fast = raw(&text).unwrap();
            prop_assert!(!fast.contains(['\n', '\r']));
            prop_assert_eq!(serde_json::from_str::<Value>(&fast).unwrap(), value);
        }

        #[test]
        fn any_payload_survives_publishing(value in json()) {
            let value = serde_json::json!({ "v": value });
            let draft = Draft::checked("mine", Some("app/x"), value.clone()).unwrap();
            let event = Event::publish(draft, Cursor { epoch: 1, seq: 2 }, "2026-01-07T15:30:00.412Z", true);
            prop_assert_eq!(serde_json::from_str::<Value>(event.payload()).unwrap(), value);
        }
    }
}
