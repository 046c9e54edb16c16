//! A webhook's request: the alert as JSON, or a body from a template, signed where there is a secret.

use super::message::{fill, json_escaped, number as figure};
use super::outbox::{About, Message};
use super::send::Outgoing;
use crate::clock::Wall;
use crate::config::Webhook;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// The request for a message. `number` is the same at every try, so that a receiver can tell a repeat.
pub fn request(hook: &Webhook, about: &About, number: u64, message: &Message, now: Wall) -> Outgoing {
    let body = match &hook.body {
        Some(template) => from_template(template, about, message, now),
        None => as_json(about, number, message, now),
    };
    let is_json = hook.body.as_deref().is_none_or(is_json);
    let mut headers = vec![
        (
            "Content-Type".to_string(),
            if is_json { "application/json" } else { "text/plain; charset=utf-8" }.to_string(),
        ),
        ("X-Telltale-Delivery".into(), format!("{number}-{}", message.at.0)),
    ];
    headers.retain(|(name, _)| !hook.headers.keys().any(|own| own.eq_ignore_ascii_case(name)));
    headers.extend(hook.headers.iter().map(|(name, text)| (name.clone(), text.clone())));
    if let Some(secret) = &hook.secret {
        headers.push(("X-Telltale-Signature".into(), format!("sha256={}", signature(secret, &body))));
    }
    Outgoing { method: hook.method.clone(), url: hook.url.clone(), headers, body }
}

/// HMAC-SHA256 of the body in hexadecimal. Source: RFC 2104; the form is the one of GitHub's webhooks.
fn signature(secret: &str, body: &str) -> String {
    // Any length of key is taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(body.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn as_json(about: &About, number: u64, message: &Message, now: Wall) -> String {
    let late_s = now.0.saturating_sub(message.at.0) / 1000;
    json!({
        "event": message.news.word(),
        "box": about.name,
        "url": about.url,
        "delivery": format!("{number}-{}", message.at.0),
        "sent_at": now,
        "wanted_at": message.at,
        "late_s": late_s,
        "late": message.late(now),
        "text": message.text(now),
        "alert": message.alert,
    })
    .to_string()
}

/// Whether a template is JSON around its placeholders.
fn is_json(template: &str) -> bool {
    let value = serde_json::from_str::<Value>(&fill(template, |_| Some("0".into())));
    matches!(value, Ok(Value::Object(_) | Value::Array(_)))
}

fn from_template(template: &str, about: &About, message: &Message, now: Wall) -> String {
    let alert = &message.alert;
    let escaped = is_json(template);
    fill(template, |name| {
        let text = match name {
            "event" => message.news.word().into(),
            "id" => alert.alert_id.clone(),
            "severity" => alert.severity.word().into(),
            "state" => alert.state.word().into(),
            "message" => alert.message.clone(),
            "guidance" => alert.guidance.clone()?,
            "value" => figure(alert.value?),
            "unit" => alert.unit.clone()?,
            "limit" => figure(alert.limit?),
            "source" => alert.source.clone()?,
            "occurrence" => alert.occurrence.to_string(),
            "raised_at" => alert.raised_at.rfc3339(),
            "cleared_at" => alert.cleared_at?.rfc3339(),
            "acked_by" => alert.acked_by.clone()?,
            "box" => about.name.clone(),
            "url" => about.url.clone()?,
            "late" => message.late(now)?,
            _ => return None,
        };
        Some(if escaped { json_escaped(&text) } else { text })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::desk::News;
    use crate::config::AlertFilter;

    fn hook(body: Option<&str>) -> Webhook {
        Webhook {
            id: "w".into(),
            url: "http://x/y".into(),
            method: "PUT".into(),
            headers: [("content-type".to_string(), "application/x".to_string())].into(),
            body: body.map(str::to_string),
            secret: Some("Jefe".into()),
            filter: AlertFilter { on: Vec::new(), severities: Vec::new(), sources: Vec::new() },
        }
    }

    fn message() -> Message {
        let alert = json!({"alert_id": "tank", "occurrence": 2, "severity": "MAJOR", "state": "active", "message": "Say \"no\"\nnow",
            "raised_at": "2026-01-07T15:30:00.000Z", "value": 12.5, "limit": 15.0, "unit": "%"});
        Message {
            channel: "w".into(),
            news: News::Active,
            alert: serde_json::from_value(alert).unwrap(),
            at: Wall(0),
            tries: 0,
        }
    }

    #[test]
    fn a_template_stays_json_whatever_the_alert_says() {
        let about = About { name: "van 3".into(), url: None };
        let hook = hook(Some(r#"{"text":"{box} {severity}: {message} ({value} {unit}) {url}"}"#));
        let out = request(&hook, &about, 4, &message(), Wall(0));
        let body: Value = serde_json::from_str(&out.body).unwrap();
        assert_eq!(body["text"], "van 3 MAJOR: Say \"no\"\nnow (12.5 %) ");
        assert_eq!((out.method.as_str(), out.url.as_str()), ("PUT", "http://x/y"));
        let types: Vec<_> =
            out.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case("content-type")).collect();
        assert_eq!(types.len(), 1, "the file's header replaces ours");
    }

    #[test]
    fn text_is_not_escaped() {
        let out = request(&hook(Some("{message}")), &About::default(), 4, &message(), Wall(0));
        assert_eq!(out.body, "Say \"no\"\nnow");
    }

    #[test]
    fn without_a_template_all_of_it_is_sent() {
        let out = request(&hook(None), &About::default(), 4, &message(), Wall(7_200_000));
        let body: Value = serde_json::from_str(&out.body).unwrap();
        assert_eq!(
            (&body["event"], &body["late_s"], &body["late"]),
            (&json!("active"), &json!(7200), &json!("sent 2 h late"))
        );
        assert_eq!(body["alert"]["alert_id"], "tank");
    }

    /// RFC 4231, test case 2.
    #[test]
    fn signatures_are_right() {
        assert_eq!(
            signature("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
