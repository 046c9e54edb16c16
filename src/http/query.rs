//! The query of a request: names and values, decoded; what a route does not know is refused by name.

use super::head::percent_decode;
use super::problem::{Problem, problem, shown};

/// Parameters in the order they came.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query of which only `known` names are accepted, each at most once.
    pub fn read(text: &str, known: &[&str]) -> Result<Query, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (percent_decode(name, true), percent_decode(value, true)) else {
                return Err(problem(
                    400,
                    "malformed_query",
                    "Malformed query",
                    "the query has a % that is not followed by two hex digits, or is not UTF-8",
                ));
            };
            if !known.contains(&name.as_str()) {
                let detail = if known.is_empty() {
                    format!("there is no parameter {:?}; this takes none", shown(&name))
                } else {
                    format!("there is no parameter {:?}; expected {}", shown(&name), known.join(", "))
                };
                return Err(problem(400, "unknown_parameter", "Unknown query parameter", detail)
                    .with("parameter", shown(&name))
                    .with("known", known.to_vec()));
            }
            if pairs.iter().any(|(n, _)| *n == name) {
                return Err(problem(
                    400,
                    "repeated_parameter",
                    "Repeated query parameter",
                    format!("{name} is there more than once; expected at most once"),
                )
                .with("parameter", name));
            }
            pairs.push((name, value));
        }
        Ok(Query(pairs))
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// `true`, `1` or nothing after the name; `false` or `0`.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.value(name) {
            None => Ok(None),
            Some("true" | "1" | "") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err(bad(name, other, "true or false")),
        }
    }
}

/// A parameter that has a value it can't have.
pub(crate) fn bad(name: &str, value: &str, expected: &str) -> Problem {
    problem(
        400,
        "bad_parameter",
        "Bad query parameter",
        format!("{name} is {:?}; expected {expected}", shown(value)),
    )
    .with("parameter", name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_checked_and_values_decoded() {
        let query = Query::read("topics=scan%2FS1,a+b&state", &["topics", "state"]).unwrap();
        assert_eq!(query.value("topics"), Some("scan/S1,a b"));
        assert_eq!(query.flag("state").unwrap(), Some(true));
        assert_eq!(query.flag("nothing").unwrap(), None);
        for bad in ["topic=x", "topics=%", "topics=a&topics=b", "%00=1"] {
            assert_eq!(Query::read(bad, &["topics"]).unwrap_err().status, 400, "{bad}");
        }
        assert!(Query::read("state=maybe", &["state"]).unwrap().flag("state").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".{0,80}") {
            let _ = Query::read(&text, &["a", "topics"]);
        }
    }
}
