//! Errors as `application/problem+json` (RFC 9457). Every refusal of the HTTP layer goes through here.

use super::reply::Reply;
use serde::Serialize;
use serde_json::{Map, Value};

/// A refusal: status, a stable code, a title, a sentence, and fields that say more.
#[derive(Clone, Debug)]
pub struct Problem {
    pub(crate) status: u16,
    code: &'static str,
    title: &'static str,
    detail: String,
    extra: Map<String, Value>,
    headers: Vec<(&'static str, String)>,
}

/// A problem. `detail` is one sentence that says what was sent and what was expected.
pub(crate) fn problem(
    status: u16,
    code: &'static str,
    title: &'static str,
    detail: impl Into<String>,
) -> Problem {
    Problem { status, code, title, detail: detail.into(), extra: Map::new(), headers: Vec::new() }
}

/// Text from outside made fit for a message: printable and short.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
    if text.chars().count() > 60 {
        shown.push_str("...");
    }
    shown
}

impl Problem {
    /// Adds a field.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.to_string(), value.into());
        self
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Asks to come back after so many seconds.
    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        self.header("Retry-After", seconds.to_string()).with("retry_after_s", seconds)
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Reply {
        #[derive(Serialize)]
        struct Body<'p> {
            r#type: &'p str,
            title: &'p str,
            status: u16,
            detail: &'p str,
            #[serde(flatten)]
            extra: &'p Map<String, Value>,
        }
        let Problem { code, title, status, ref detail, ref extra, .. } = problem;
        let body = Body { r#type: code, title, status, detail, extra };
        // Strings and numbers always become JSON.
        let text = serde_json::to_vec(&body).unwrap_or_default();
        let mut reply = Reply::new(problem.status, "application/problem+json", text);
        for (name, value) in problem.headers {
            reply = reply.header(name, value);
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_it_is_first_and_escapes() {
        let reply = Reply::from(problem(400, "x", "X", "a \"b\"\r\n").with("line", 3).retry_after(2));
        let text = String::from_utf8(reply.bytes().to_vec()).unwrap();
        assert!(
            text.starts_with(r#"{"type":"x","title":"X","status":400,"detail":"a \"b\"\r\n","#),
            "{text}"
        );
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["detail"], "a \"b\"\r\n");
        assert_eq!(
            (&value["line"], &value["retry_after_s"], &value["status"]),
            (&3.into(), &2.into(), &400.into())
        );
        assert_eq!(shown("a\u{0}\r\nb"), "ab");
    }
}
