//! Talks HTTP to a running telltale, and says in one sentence why it could not.

use super::{FAILED, ServerArgs, UNAVAILABLE, USAGE};
use serde_json::Value;
use std::io::Read;
use std::time::Duration;
use ureq::Agent;
use ureq::http::Response;

/// Time for a connection, and for an answer to begin.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(30);
/// Silence after which a stream is dead: three of the longest heartbeats that can be set.
const SILENCE: Duration = Duration::from_secs(30);
/// The largest answer that is read.
const ANSWER_BYTES: u64 = 64 * 1024 * 1024;

/// Why a request came to nothing.
#[derive(Debug)]
pub(super) enum Trouble {
    /// What was given can't be used.
    Usage(String),
    /// Nobody answers there, or not in time, or not now (503).
    Unreachable(String),
    /// The server refused.
    Refused(String),
}

impl Trouble {
    pub fn code(&self) -> u8 {
        match self {
            Trouble::Usage(_) => USAGE,
            Trouble::Unreachable(_) => UNAVAILABLE,
            Trouble::Refused(_) => FAILED,
        }
    }

    pub fn text(&self) -> &str {
        let (Trouble::Usage(text) | Trouble::Unreachable(text) | Trouble::Refused(text)) = self;
        text
    }
}

/// A telltale to talk to.
pub(super) struct Client {
    agent: Agent,
    url: String,
    key: Option<String>,
}

impl Client {
    pub fn new(args: &ServerArgs) -> Result<Client, Trouble> {
        let agent = Agent::config_builder()
            // The box is on the same network; a proxy for the internet does not know it.
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .user_agent(concat!("telltale/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let key = args.key.clone().filter(|key| !key.is_empty());
        if key.as_ref().is_some_and(|key| !key.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(Trouble::Usage(
                "the access key has characters that no key has; was it copied whole?".into(),
            ));
        }
        Ok(Client { agent, url: base(&args.url)?, key })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The answer to a GET: status and JSON, `null` where the body is none.
    pub fn get(&self, path: &str) -> Result<(u16, Value), Trouble> {
        let response = self.with_key(self.agent.get(format!("{}{path}", self.url))).call();
        self.answer(response)
    }

    /// The text of a 2xx answer to a GET.
    pub fn get_text(&self, path: &str) -> Result<String, Trouble> {
        let request = self.with_key(self.agent.get(format!("{}{path}", self.url)));
        let mut response = request.call().map_err(|e| self.unreachable(&e))?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES);
        let text = body.read_to_string().map_err(|e| self.unreachable(&e))?;
        if status != 200 {
            refuse(status, &serde_json::from_str(&text).unwrap_or_default())?;
        }
        Ok(text)
    }

    /// Posts a body; gives the JSON of a 2xx.
    pub fn post(
        &self,
        path: &str,
        kind: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Value, Trouble> {
        let mut request = self.agent.post(format!("{}{path}", self.url)).header("Content-Type", kind);
        if let Some(key) = &self.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (status, json) = self.answer(request.send(body))?;
        refuse(status, &json).map(|()| json)
    }

    /// Opens a stream of events that goes on after `last_id`.
    pub fn stream(&self, query: &str, last_id: Option<&str>) -> Result<impl Read + use<>, Trouble> {
        let mut request =
            self.agent.get(format!("{}/api/events?{query}", self.url)).header("Accept", "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("Last-Event-ID", id);
        }
        let mut response = self.with_key(request).call().map_err(|e| self.unreachable(&e))?;
        let status = response.status().as_u16();
        if status != 200 {
            let text =
                response.body_mut().with_config().limit(ANSWER_BYTES).read_to_string().unwrap_or_default();
            refuse(status, &serde_json::from_str(&text).unwrap_or_default())?;
        }
        Ok(response.into_body().into_with_config().limit(u64::MAX).reader())
    }

    fn with_key<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.key {
            Some(key) => request.header("Authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    fn answer(&self, response: Result<Response<ureq::Body>, ureq::Error>) -> Result<(u16, Value), Trouble> {
        let mut response = response.map_err(|e| self.unreachable(&e))?;
        let status = response.status().as_u16();
        let text = response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES)
            .read_to_string()
            .map_err(|e| self.unreachable(&e))?;
        Ok((status, serde_json::from_str(&text).unwrap_or_default()))
    }

    fn unreachable(&self, error: &ureq::Error) -> Trouble {
        let why = match error {
            ureq::Error::Io(e) => match e.kind() {
                std::io::ErrorKind::ConnectionRefused => "nobody listens there; is telltale running?".into(),
                _ => e.to_string(),
            },
            ureq::Error::Timeout(_) => "no answer in time".into(),
            ureq::Error::HostNotFound => "the name is not known".into(),
            other => other.to_string(),
        };
        Trouble::Unreachable(format!("failed to reach {}: {why}", self.url))
    }
}

/// The part of a URL that paths are added to. `host:port` alone will do.
fn base(url: &str) -> Result<String, Trouble> {
    let rest = url.trim();
    let rest = rest.strip_prefix("http://").unwrap_or(rest).trim_end_matches('/');
    if rest.is_empty() || rest.contains(['/', '?', '#', '@', ' ']) {
        return Err(Trouble::Usage(format!(
            "--url is {url:?}; expected plain HTTP, such as http://van3.local:8080"
        )));
    }
    Ok(format!("http://{rest}"))
}

/// An error where the status is one.
fn refuse(status: u16, problem: &Value) -> Result<(), Trouble> {
    if (200..300).contains(&status) {
        return Ok(());
    }
    let member = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default();
    let detail = if member("detail").is_empty() {
        format!("it answered {status}")
    } else {
        member("detail").to_string()
    };
    let text = match status {
        401 => {
            format!("refused: {detail}; give an access key with --key or TELLTALE_KEY (telltale key make)")
        }
        403 => format!("refused: {detail}"),
        503 | 429 => return Err(Trouble::Unreachable(format!("not now: {detail}"))),
        _ => format!("refused ({status}): {detail}"),
    };
    Err(Trouble::Refused(text))
}

/// Text as part of a query.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b'-'
            | b'_'
            | b'.'
            | b'~'
            | b','
            | b'/'
            | b'*'
            | b':' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_made_whole_or_refused() {
        assert_eq!(base("van3.local:8080").unwrap(), "http://van3.local:8080");
        assert_eq!(base("http://[::1]:8080/").unwrap(), "http://[::1]:8080");
        for bad in ["", "https://x", "http://", "http://a/b", "ftp://x", "http://a b"] {
            assert!(matches!(base(bad), Err(Trouble::Usage(_))), "{bad}");
        }
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(encode("global,scan/S1,queue/*"), "global,scan/S1,queue/*");
        assert_eq!(encode("a&b=c d+é"), "a%26b%3Dc%20d%2B%C3%A9");
    }

    #[test]
    fn refusals_carry_the_servers_words() {
        let problem = serde_json::json!({"detail": "topic is \"x\"; expected one"});
        assert!(
            matches!(refuse(400, &problem), Err(Trouble::Refused(text)) if text.contains("expected one"))
        );
        assert!(
            matches!(refuse(401, &Value::Null), Err(Trouble::Refused(text)) if text.contains("TELLTALE_KEY"))
        );
        assert!(matches!(refuse(503, &problem), Err(Trouble::Unreachable(_))));
        assert!(refuse(202, &Value::Null).is_ok());
    }
}
