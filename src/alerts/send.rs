//! One request out of the box, within its time limits, to a receiver that the file names.
//!
//! Redirects are not followed: a message and its credentials go where the file says, or nowhere. Proxies of the
//! environment are not used. https needs the feature `tls`.

use super::outbox::Outcome;
use crate::{limits, tls};
use std::io::ErrorKind;
use std::time::Duration;
use ureq::{Error, Timeout, http};

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// `POST` or `PUT`.
    pub method: String,
    /// Where.
    pub url: String,
    /// Names and texts.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// Sends requests.
pub struct Agent(ureq::Agent);

impl Default for Agent {
    fn default() -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("telltale/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(limits::DELIVERY_CONNECT))
            .timeout_global(Some(limits::DELIVERY_TIME))
            // Deliveries are rare: a connection is not worth keeping.
            .max_idle_connections(0);
        #[cfg(feature = "tls")]
        let config = config.tls_config(tls::config());
        Agent(config.build().into())
    }
}

impl Agent {
    /// Sends it, and says what came of it.
    pub fn send(&self, out: &Outgoing) -> Outcome {
        if !cfg!(feature = "tls") && out.url.starts_with("https:") {
            return Outcome::Failed(
                "this build has no TLS; use an http:// address, or a build with the feature tls".into(),
            );
        }
        let mut request = http::Request::builder().method(out.method.as_str()).uri(&out.url);
        for (name, text) in &out.headers {
            request = request.header(name, text);
        }
        let request = match request.body(out.body.as_str()) {
            Ok(request) => request,
            Err(e) => return Outcome::Failed(format!("the request can't be made: {e}")),
        };
        match self.0.run(request) {
            Ok(answer) => {
                let header = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok());
                judge(answer.status().as_u16(), header("retry-after"), header("location"))
            }
            Err(e) => failure(e),
        }
    }
}

/// What an answer means. Source: RFC 9110, 15; RFC 6585, 4 (429).
fn judge(status: u16, retry_after: Option<&str>, location: Option<&str>) -> Outcome {
    match status {
        200..=299 => Outcome::Sent,
        300..=399 => {
            let to: String =
                location.unwrap_or("nowhere").chars().filter(|c| !c.is_control()).take(120).collect();
            Outcome::Failed(format!(
                "answered {status}: it has moved to {to}; write that address in the file"
            ))
        }
        408 | 425 | 429 | 500..=599 => {
            let put_off = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
            Outcome::Later(format!("answered {status}"), put_off)
        }
        401 | 403 => Outcome::Failed(format!("answered {status}: it wants another token or key")),
        404 => Outcome::Failed("answered 404: there is nothing at this address".into()),
        _ => Outcome::Failed(format!("answered {status}")),
    }
}

/// What went wrong, as a person in the field can use it.
fn failure(e: Error) -> Outcome {
    let later = |why: &str| Outcome::Later(why.into(), None);
    match e {
        Error::HostNotFound => later("the name is not known: is there a network?"),
        Error::Timeout(Timeout::Resolve) => later("the name could not be looked up in time"),
        Error::Timeout(Timeout::Connect) => later("no connection in time"),
        Error::Timeout(_) => later("no answer in time"),
        Error::ConnectionFailed => later("no connection"),
        Error::Io(e) => match e.kind() {
            ErrorKind::ConnectionRefused => later("nobody listens there"),
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => {
                later("the network is not reachable")
            }
            _ => {
                let text = e.to_string();
                Outcome::Later(tls::refused(&text).unwrap_or_else(|| format!("failed: {text}")), None)
            }
        },
        Error::BadUri(why) => Outcome::Failed(format!("the address is none: {why}")),
        Error::Http(e) => Outcome::Failed(format!("the request can't be made: {e}")),
        other => {
            let text = other.to_string();
            Outcome::Later(tls::refused(&text).unwrap_or_else(|| format!("failed: {text}")), None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged_by_the_table() {
        let later = |text: &str, s: Option<u64>| Outcome::Later(text.into(), s.map(Duration::from_secs));
        for (status, retry_after, outcome) in [
            (200, None, Outcome::Sent),
            (204, Some("5"), Outcome::Sent),
            (429, Some("30"), later("answered 429", Some(30))),
            (429, Some("Wed, 21 Oct 2026 07:28:00 GMT"), later("answered 429", None)),
            (503, Some("-1"), later("answered 503", None)),
            (500, None, later("answered 500", None)),
            (404, None, Outcome::Failed("answered 404: there is nothing at this address".into())),
            (418, None, Outcome::Failed("answered 418".into())),
        ] {
            assert_eq!(judge(status, retry_after, None), outcome);
        }
        assert!(
            matches!(judge(302, None, Some("http://elsewhere/")), Outcome::Failed(why) if why.contains("http://elsewhere/"))
        );
    }
}
