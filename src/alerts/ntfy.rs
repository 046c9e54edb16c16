//! An ntfy message: title, text, priority and tags as JSON, which takes any character where headers do not.
//! Source: docs.ntfy.sh/publish, "Publish as JSON".

use super::desk::News;
use super::outbox::{About, Message};
use super::send::Outgoing;
use crate::clock::Wall;
use crate::config::Ntfy;
use crate::model::Severity;
use serde_json::{Value, json};

/// The request for a message.
pub fn request(ntfy: &Ntfy, about: &About, message: &Message, now: Wall) -> Outgoing {
    let alert = &message.alert;
    // Emoji short codes of ntfy, which shows them as signs before the title.
    let sign = match (message.news, alert.severity) {
        (News::Test, _) => "wrench",
        (News::Cleared, _) => "white_check_mark",
        (News::Acknowledged, _) => "eyes",
        (News::Active, Severity::Minor | Severity::NoAlarm) => "warning",
        (News::Active, Severity::Major | Severity::Invalid) => "rotating_light",
    };
    // What is over or seen should not wake anybody.
    let priority = match message.news {
        News::Active => {
            ntfy.priorities.get(alert.severity.word()).and_then(|n| n.parse::<u8>().ok()).unwrap_or(3)
        }
        _ => 3,
    };
    let title = match about.name.as_str() {
        "" => message.headline(),
        name => format!("{name}: {}", message.headline()),
    };
    let mut body = json!({
        "topic": ntfy.topic,
        "title": title,
        "message": message.text(now),
        "priority": priority,
        "tags": std::iter::once(sign).chain(ntfy.tags.iter().map(String::as_str)).collect::<Vec<_>>(),
    });
    if let Value::Object(body) = &mut body {
        if let Some(url) = &about.url {
            body.insert("click".into(), url.clone().into());
        }
        if let Some(email) = &ntfy.email {
            body.insert("email".into(), email.clone().into());
        }
    }
    let mut headers = vec![("Content-Type".to_string(), "application/json".to_string())];
    if let Some(token) = &ntfy.token {
        headers.push(("Authorization".into(), format!("Bearer {token}")));
    }
    Outgoing { method: "POST".into(), url: format!("{}/", ntfy.server), headers, body: body.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AlertFilter;

    #[test]
    fn a_message_is_what_ntfy_takes() {
        let ntfy = Ntfy {
            id: "n".into(),
            server: "http://127.0.0.1:2586".into(),
            topic: "van3".into(),
            token: Some("tk_x".into()),
            email: Some("a@example.org".into()),
            priorities: [("MAJOR".to_string(), "5".to_string())].into(),
            tags: vec!["van".into()],
            filter: AlertFilter { on: Vec::new(), severities: Vec::new(), sources: Vec::new() },
        };
        let alert = json!({"alert_id": "tank", "occurrence": 2, "severity": "MAJOR", "state": "active", "message": "Tank leer \u{2013} Ventil \u{f6}ffnen",
            "raised_at": "2026-01-07T15:30:00.000Z", "guidance": "Open V2."});
        let mut message = Message {
            channel: "n".into(),
            news: News::Active,
            alert: serde_json::from_value(alert).unwrap(),
            at: Wall(0),
            tries: 0,
        };
        let about = About { name: "van 3".into(), url: Some("http://van3.local:8080".into()) };
        let out = request(&ntfy, &about, &message, Wall(0));
        assert_eq!((out.method.as_str(), out.url.as_str()), ("POST", "http://127.0.0.1:2586/"));
        assert!(out.headers.contains(&("Authorization".into(), "Bearer tk_x".into())));
        let body: Value = serde_json::from_str(&out.body).unwrap();
        assert_eq!(
            body,
            json!({"topic": "van3", "title": "van 3: MAJOR: tank", "message": "Tank leer \u{2013} Ventil \u{f6}ffnen\nOpen V2.\nSince 2026-01-07T15:30:00.000Z.",
                "priority": 5, "tags": ["rotating_light", "van"], "click": "http://van3.local:8080", "email": "a@example.org"})
        );
        message.news = News::Cleared;
        let body: Value = serde_json::from_str(&request(&ntfy, &about, &message, Wall(0)).body).unwrap();
        assert_eq!((&body["priority"], &body["title"]), (&json!(3), &json!("van 3: Over: tank")));
    }
}
