//! Topics (rooms) and the filters that readers subscribe with.

use std::fmt;
use std::sync::Arc;

/// A path such as `scan/SCAN_001`, checked. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

/// Kinds of topics that carry an id.
const WITH_ID: [&str; 8] = ["recorder", "job", "instrument", "queue", "scan", "signal", "stream", "app"];
/// Topics without an id.
const ALONE: [&str; 6] = ["recordings", "detections", "alerts", "services", "system", "log"];

/// Why a text is not a topic; reads as one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicError(String);

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for TopicError {}

impl Topic {
    /// Checks a topic from outside.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        let known = match text.split_once('/') {
            Some(("app", rest)) => !rest.is_empty() && rest.split('/').all(is_id) && text.len() <= 128,
            Some((kind, id)) => WITH_ID.contains(&kind) && is_id(id),
            None => ALONE.contains(&text),
        };
        if known {
            Ok(Topic(text.into()))
        } else {
            Err(TopicError(format!(
                "unknown topic {:?}; expected one of {}, or {}/{{id}} with an id of 1 to 64 characters of A-Z a-z 0-9 _ . : -",
                shorten(text),
                ALONE.join(", "),
                WITH_ID.join("/{id}, ")
            )))
        }
    }

    /// The topic of one object, such as `Topic::of("scan", "SCAN_001")`.
    pub fn of(kind: &str, id: &str) -> Result<Self, TopicError> {
        Topic::parse(&format!("{kind}/{id}"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first `/`.
    pub fn kind(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(kind, _)| kind)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `[A-Za-z0-9_.:-]{1,64}`.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-'))
}

/// Outside text made fit for an error message: printable, at most 60 characters.
fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

/// What a reader subscribes to: a sorted list without doubles, so that equal subscriptions compare equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Pattern {
    /// Every status event, alerts and warnings, never data points or samples.
    Global,
    /// Everything: `*`.
    All,
    /// `kind/*`.
    Kind(String),
    Exact(String),
}

impl Default for TopicFilter {
    fn default() -> Self {
        TopicFilter(vec![Pattern::Global])
    }
}

impl TopicFilter {
    /// At most this many patterns in one subscription; more is refused.
    pub const MOST: usize = 64;

    /// Reads `global,scan/SCAN_001,queue/*`; an empty text is `global`.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        let mut patterns = Vec::new();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            patterns.push(match part {
                "global" => Pattern::Global,
                "*" => Pattern::All,
                _ => match part.strip_suffix("/*") {
                    Some(kind) if WITH_ID.contains(&kind) => Pattern::Kind(kind.into()),
                    _ => Pattern::Exact(Topic::parse(part)?.as_str().into()),
                },
            });
        }
        if patterns.len() > Self::MOST {
            return Err(TopicError(format!(
                "{} topics in one subscription; at most {}",
                patterns.len(),
                Self::MOST
            )));
        }
        if patterns.is_empty() {
            patterns.push(Pattern::Global);
        }
        patterns.sort();
        patterns.dedup();
        Ok(TopicFilter(patterns))
    }

    /// Whether an event on `topic`, being part of `global` or not, belongs to this subscription.
    pub fn matches(&self, topic: &str, global: bool) -> bool {
        self.0.iter().any(|pattern| match pattern {
            Pattern::Global => global,
            Pattern::All => true,
            Pattern::Kind(kind) => {
                topic.strip_prefix(kind.as_str()).is_some_and(|rest| rest.starts_with('/'))
            }
            Pattern::Exact(exact) => exact == topic,
        })
    }

    /// The patterns as text, for `hello`.
    pub fn names(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|pattern| match pattern {
                Pattern::Global => "global".into(),
                Pattern::All => "*".into(),
                Pattern::Kind(kind) => format!("{kind}/*"),
                Pattern::Exact(exact) => exact.clone(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_checked() {
        for good in ["scan/SCAN_001", "system", "recorder/a.b:c-d_9", "app/x/y", "log"] {
            assert!(Topic::parse(good).is_ok(), "{good}");
        }
        let long = format!("scan/{}", "x".repeat(65));
        for bad in [
            "",
            "scan",
            "scan/",
            "scan/a/b",
            "nope/x",
            "scan/a b",
            "scan/a\r\nid: 1",
            "system/x",
            "app/",
            &long,
        ] {
            assert!(Topic::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn filters_match_what_they_name() {
        let filter = TopicFilter::parse("queue/*, scan/S1,scan/S1").unwrap();
        assert!(filter.matches("queue/Q", false));
        assert!(filter.matches("scan/S1", false));
        assert!(!filter.matches("scan/S2", true));
        assert!(!filter.matches("queues/Q", true));
        assert!(TopicFilter::parse("").unwrap().matches("scan/S2", true));
        assert!(!TopicFilter::default().matches("scan/S2", false));
        assert_eq!(TopicFilter::parse("scan/b,scan/a"), TopicFilter::parse("scan/a,scan/b,scan/a"));
        assert!(TopicFilter::parse("scan/*,x/*").is_err());
        assert!(TopicFilter::parse(&vec!["log"; 65].join(",")).is_err());
    }
}
