//! What waits to be delivered, and the thread that delivers it.
//!
//! **Promises.** At least once: a message is on the shelf before it is sent and leaves it after; it survives a restart
//! and a crash, and says how late it is. The order of a channel is the order of the news. Of one occurrence at most one
//! message waits at a channel: what is over before it could be told is told as one. **Bounds.** `limits::OUTBOX`
//! messages; past it the oldest of the least severe goes, and is counted. **Blocking.** Only the thread `outbox` waits
//! for a network, with time limits; it exists only where the file names a receiver.

use super::desk::News;
use super::message::span;
use super::{ntfy, webhook};
use crate::clock::Wall;
use crate::config::{AlertFilter, Ntfy, Webhook};
use crate::limits;
use crate::model::{Alert, Severity};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    /// A request to any server.
    Webhook(Webhook),
    /// A topic of an ntfy server.
    Ntfy(Ntfy),
}

impl Channel {
    /// Its name in the file.
    pub fn id(&self) -> &str {
        match self {
            Channel::Webhook(hook) => &hook.id,
            Channel::Ntfy(ntfy) => &ntfy.id,
        }
    }

    /// `webhook` or `ntfy`.
    pub fn kind(&self) -> &'static str {
        match self {
            Channel::Webhook(_) => "webhook",
            Channel::Ntfy(_) => "ntfy",
        }
    }

    fn filter(&self) -> &AlertFilter {
        match self {
            Channel::Webhook(hook) => &hook.filter,
            Channel::Ntfy(ntfy) => &ntfy.filter,
        }
    }

    /// Whether it is told of this at all.
    fn takes(&self, alert: &Alert) -> bool {
        self.filter().takes(alert.severity, &alert.alert_id, alert.source.as_deref())
    }

    /// Whether it is told of this kind of news.
    fn hears(&self, news: News) -> bool {
        news == News::Test || self.filter().on.iter().any(|word| word == news.word())
    }
}

/// What messages say of this box.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Its name.
    pub name: String,
    /// Address of its page.
    pub url: Option<String>,
}

/// One message that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Name of the channel.
    pub channel: String,
    /// What is told.
    pub news: News,
    /// The alert as it stands, or stood.
    pub alert: Alert,
    /// When it was first wanted.
    pub at: Wall,
    /// How often it has been tried.
    #[serde(default)]
    pub tries: u32,
}

impl Message {
    /// How late it is, in words, when it is worth saying.
    pub fn late(&self, now: Wall) -> Option<String> {
        let late = Duration::from_millis(now.0.saturating_sub(self.at.0));
        (late >= Duration::from_secs(60)).then(|| format!("sent {} late", span(late)))
    }

    /// One line: what has happened.
    pub fn headline(&self) -> String {
        let alert = &self.alert;
        match self.news {
            News::Test => "Test".into(),
            News::Active => format!("{}: {}", alert.severity.word(), alert.alert_id),
            News::Acknowledged => format!("Acknowledged: {}", alert.alert_id),
            News::Cleared => format!("Over: {}", alert.alert_id),
        }
    }

    /// All of it as text.
    pub fn text(&self, now: Wall) -> String {
        let alert = &self.alert;
        let mut text = alert.message.clone();
        let mut add = |line: String| {
            text.push('\n');
            text.push_str(&line);
        };
        if let Some(guidance) = alert.guidance.as_deref().filter(|_| self.news == News::Active) {
            add(guidance.to_string());
        }
        if let Some(cleared) = alert.cleared_at {
            add(format!("From {} to {}.", alert.raised_at.rfc3339(), cleared.rfc3339()));
        } else if self.news != News::Test {
            add(format!("Since {}.", alert.raised_at.rfc3339()));
        }
        if let (News::Acknowledged, Some(who)) = (self.news, &alert.acked_by) {
            add(format!("Acknowledged by {who}."));
        }
        if let Some(late) = self.late(now) {
            add(format!("({late})"));
        }
        text
    }
}

/// What came of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has arrived.
    Sent,
    /// Not now; the receiver may have said when.
    Later(String, Option<Duration>),
    /// Never: the receiver does not want it.
    Failed(String),
}

/// How a channel stands.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Standing {
    pub sent: u64,
    pub failed: u64,
    pub last_error: Option<String>,
    pub last_sent: Option<Wall>,
    /// On the caller's clock.
    pub next_try: Option<Duration>,
    failures: u32,
}

/// What changed of the rows on the shelf: the number of a message, and its text; none takes it off.
pub type Rows = Vec<(u64, Option<Message>)>;

/// What became of a message.
#[derive(Debug)]
struct Ended {
    channel: String,
    alert_id: String,
    occurrence: u64,
    word: &'static str,
}

/// The queue; pure.
#[derive(Debug, Default)]
pub struct Queue {
    messages: BTreeMap<u64, Message>,
    next: u64,
    /// The one that is being sent.
    under_way: Option<u64>,
    standing: BTreeMap<String, Standing>,
    /// What became of the last messages, oldest first.
    ended: VecDeque<Ended>,
    /// Messages dropped because the queue was full.
    pub dropped: u64,
}

impl Queue {
    /// Takes over what was on the shelf.
    pub fn recall(&mut self, rows: Vec<(u64, Message)>) {
        for (number, message) in rows {
            self.next = self.next.max(number + 1);
            self.messages.insert(number, message);
        }
    }

    /// News for all channels. Gives the rows that changed.
    pub fn offer(&mut self, channels: &[Channel], news: News, alert: &Alert, at: Wall) -> Rows {
        let mut rows = Rows::new();
        for channel in channels.iter().filter(|c| news == News::Test || c.takes(alert)) {
            let waiting = self
                .messages
                .iter()
                .filter(|(number, m)| {
                    Some(**number) != self.under_way && m.channel == channel.id() && m.news != News::Test
                })
                .find(|(_, m)| m.alert.alert_id == alert.alert_id && m.alert.occurrence == alert.occurrence)
                .map(|(number, _)| *number);
            match waiting.filter(|_| news != News::Test) {
                Some(number) => {
                    if let Some(message) = self.messages.get_mut(&number) {
                        // What was never told as active is told once, as it ends or as it stands.
                        if channel.hears(news) && news != News::Acknowledged {
                            message.news = news;
                        }
                        message.alert = alert.clone();
                        rows.push((number, Some(message.clone())));
                    }
                }
                None if channel.hears(news) => {
                    let message =
                        Message { channel: channel.id().into(), news, alert: alert.clone(), at, tries: 0 };
                    rows.push((self.next, Some(message.clone())));
                    self.messages.insert(self.next, message);
                    self.next += 1;
                }
                None => {}
            }
        }
        while self.messages.len() > limits::OUTBOX {
            let worth = |m: &Message| if m.news == News::Test { Severity::NoAlarm } else { m.alert.severity };
            let least = self
                .messages
                .iter()
                .filter(|(number, _)| Some(**number) != self.under_way)
                .min_by_key(|(number, m)| (worth(m), **number))
                .map(|(number, _)| *number);
            let Some(number) = least else { break };
            self.messages.remove(&number);
            self.dropped += 1;
            rows.retain(|(n, _)| *n != number);
            rows.push((number, None));
        }
        rows
    }

    /// Drops what waits for channels that are no longer there.
    pub fn keep_only(&mut self, channels: &[Channel]) -> Rows {
        let gone: Vec<u64> = self
            .messages
            .iter()
            .filter(|(_, m)| !channels.iter().any(|c| c.id() == m.channel))
            .map(|(number, _)| *number)
            .collect();
        for number in &gone {
            self.messages.remove(number);
        }
        self.standing.retain(|id, _| channels.iter().any(|c| c.id() == id));
        gone.into_iter().map(|number| (number, None)).collect()
    }

    /// The next message that is due, which is under way then.
    pub fn begin(&mut self, now: Duration) -> Option<(u64, Message)> {
        let due = |id: &str| self.standing.get(id).and_then(|s| s.next_try).is_none_or(|at| at <= now);
        let (number, message) = self.messages.iter().find(|(_, m)| due(&m.channel))?;
        let found = (*number, message.clone());
        self.under_way = Some(found.0);
        Some(found)
    }

    /// What came of the message under way. `jitter` is from 0 to 1.
    pub fn end(&mut self, number: u64, outcome: &Outcome, now: Duration, wall: Wall, jitter: f64) -> Rows {
        self.under_way = None;
        let Some(message) = self.messages.get_mut(&number) else { return Rows::new() };
        message.tries = message.tries.saturating_add(1);
        let standing = self.standing.entry(message.channel.clone()).or_default();
        match outcome {
            Outcome::Sent => {
                standing.sent += 1;
                standing.last_sent = Some(wall);
                standing.last_error = None;
                standing.failures = 0;
                standing.next_try = None;
            }
            Outcome::Failed(why) => {
                // The receiver is there; it is this message that it does not want.
                standing.failed += 1;
                standing.last_error = Some(why.clone());
                standing.failures = 0;
                standing.next_try = None;
            }
            Outcome::Later(why, put_off) => {
                standing.last_error = Some(why.clone());
                let (first, longest) = limits::DELIVERY_PAUSE;
                let pause = first.saturating_mul(1 << standing.failures.min(16)).min(longest);
                standing.failures = standing.failures.saturating_add(1);
                let pause = pause.mul_f64(0.75 + 0.5 * jitter.clamp(0.0, 1.0));
                let pause = put_off.map_or(pause, |t| t.min(limits::DELIVERY_PUT_OFF).max(first));
                standing.next_try = Some(now + pause);
                return Rows::new();
            }
        }
        if let Some(message) = self.messages.remove(&number) {
            self.ended.push_back(Ended {
                channel: message.channel,
                alert_id: message.alert.alert_id,
                occurrence: message.alert.occurrence,
                word: if *outcome == Outcome::Sent { "sent" } else { "failed" },
            });
            if self.ended.len() > limits::OUTBOX {
                self.ended.pop_front();
            }
        }
        vec![(number, None)]
    }

    /// When [`Queue::begin`] may find something; none when nothing waits.
    pub fn wake(&self) -> Option<Duration> {
        let next = |m: &Message| self.standing.get(&m.channel).and_then(|s| s.next_try);
        self.messages.values().map(|m| next(m).unwrap_or_default()).min()
    }

    /// How many wait for a channel.
    pub fn waiting(&self, channel: &str) -> usize {
        self.messages.values().filter(|m| m.channel == channel).count()
    }

    /// How many wait in all.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// How a channel stands.
    pub fn standing(&self, channel: &str) -> Standing {
        self.standing.get(channel).cloned().unwrap_or_default()
    }

    /// Nobody waits out a pause any more.
    pub fn hurry(&mut self) {
        for standing in self.standing.values_mut() {
            standing.next_try = None;
        }
    }

    /// What became of the messages about an occurrence, by kind of channel; the least good where kinds are several.
    pub fn told(&self, alert: &Alert, channels: &[Channel]) -> BTreeMap<&'static str, &'static str> {
        const ORDER: [&str; 3] = ["sent", "waiting", "failed"];
        let about =
            |m: &Message| m.alert.alert_id == alert.alert_id && m.alert.occurrence == alert.occurrence;
        let mut words = BTreeMap::new();
        for channel in channels {
            let waits = self.messages.values().any(|m| m.channel == channel.id() && about(m));
            let ended = self.ended.iter().rev().find(|e| {
                e.channel == channel.id() && e.alert_id == alert.alert_id && e.occurrence == alert.occurrence
            });
            let word = if waits { Some("waiting") } else { ended.map(|e| e.word) };
            if let Some(word) = word {
                let rank = |word: &str| ORDER.iter().position(|w| *w == word);
                let said = words.entry(channel.kind()).or_insert(word);
                if rank(word) > rank(said) {
                    *said = word;
                }
            }
        }
        words
    }
}

/// Sends one message; waits for the network within its time limits.
pub fn send(
    agent: &super::send::Agent,
    channel: &Channel,
    about: &About,
    number: u64,
    message: &Message,
) -> Outcome {
    let now = Wall::now();
    match channel {
        Channel::Webhook(hook) => agent.send(&webhook::request(hook, about, number, message, now)),
        Channel::Ntfy(ntfy) => agent.send(&ntfy::request(ntfy, about, message, now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AlertState;
    use proptest::prelude::*;

    fn hook(id: &str, on: &[&str]) -> Channel {
        Channel::Webhook(Webhook {
            id: id.into(),
            url: "http://x".into(),
            method: "POST".into(),
            headers: BTreeMap::new(),
            body: None,
            secret: None,
            filter: AlertFilter {
                on: on.iter().map(|w| (*w).to_string()).collect(),
                severities: vec![Severity::Minor, Severity::Major],
                sources: Vec::new(),
            },
        })
    }

    fn alert(id: &str, occurrence: u64, severity: Severity) -> Alert {
        Alert {
            alert_id: id.into(),
            occurrence,
            severity,
            state: AlertState::Active,
            message: "It holds.".into(),
            raised_at: Wall(0),
            source: None,
            guidance: None,
            value: None,
            limit: None,
            unit: None,
            cleared_at: None,
            acked_at: None,
            acked_by: None,
            snoozed_until: None,
            latched: true,
            rule: None,
            count: 1,
            raised_by: None,
            blocks: Vec::new(),
            latch: false,
        }
    }

    const S: Duration = Duration::from_secs(1);

    fn later() -> Outcome {
        Outcome::Later("no network".into(), None)
    }

    #[test]
    fn what_is_over_before_it_was_told_is_told_once() {
        let channels = [hook("a", &["active", "cleared"]), hook("b", &["active"])];
        let mut queue = Queue::default();
        let up = alert("x", 1, Severity::Minor);
        let down = Alert { state: AlertState::Cleared, cleared_at: Some(Wall(5)), ..up.clone() };
        assert_eq!(queue.offer(&channels, News::Active, &up, Wall(0)).len(), 2);
        queue.offer(&channels, News::Cleared, &down, Wall(5));
        assert_eq!(queue.len(), 2);
        let (number, first) = queue.begin(S).unwrap();
        assert_eq!((first.news, first.alert.state, first.at), (News::Cleared, AlertState::Cleared, Wall(0)));
        assert_eq!(queue.end(number, &Outcome::Sent, S, Wall(9), 0.5), [(number, None)]);
        let (number, second) = queue.begin(S).unwrap();
        assert_eq!((second.channel.as_str(), second.news), ("b", News::Active));
        assert!(
            second.text(Wall(11_000_000)).contains("to 1970-01-01T00:00:00.005Z"),
            "it says that it is over"
        );
        assert!(second.text(Wall(10_800_000)).ends_with("(sent 3 h late)"));
        queue.end(number, &Outcome::Sent, S, Wall(9), 0.5);
        // What was told as active is told as over on its own; `b` does not want to hear that.
        queue.offer(&channels, News::Cleared, &down, Wall(9));
        assert_eq!((queue.waiting("a"), queue.waiting("b")), (1, 0));
    }

    #[test]
    fn what_is_under_way_is_not_changed() {
        let channels = [hook("a", &["active", "cleared"])];
        let mut queue = Queue::default();
        let up = alert("x", 1, Severity::Minor);
        queue.offer(&channels, News::Active, &up, Wall(0));
        let (number, _) = queue.begin(S).unwrap();
        queue.offer(&channels, News::Cleared, &up, Wall(1));
        assert_eq!(queue.len(), 2);
        queue.end(number, &Outcome::Sent, S, Wall(2), 0.0);
        assert_eq!(queue.begin(S).unwrap().1.news, News::Cleared);
    }

    #[test]
    fn a_channel_that_fails_waits_longer_and_longer_and_the_others_do_not() {
        let channels = [hook("a", &["active"]), hook("b", &["active"])];
        let mut queue = Queue::default();
        queue.offer(&channels, News::Active, &alert("x", 1, Severity::Minor), Wall(0));
        let mut now = Duration::ZERO;
        let mut pauses = Vec::new();
        while pauses.len() < 8 {
            let Some((number, message)) = queue.begin(now) else {
                now = queue.wake().unwrap();
                continue;
            };
            if message.channel == "b" {
                queue.end(number, &Outcome::Failed("404".into()), now, Wall(0), 0.5);
                continue;
            }
            assert_eq!(queue.end(number, &later(), now, Wall(0), 0.5), []);
            let next = queue.standing("a").next_try.unwrap();
            pauses.push((next - now).as_secs());
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 600]);
        assert_eq!((queue.standing("b").failed, queue.standing("b").last_error.as_deref()), (1, Some("404")));
        assert_eq!(queue.begin(now), None);
        now = queue.wake().unwrap();
        let (number, message) = queue.begin(now).unwrap();
        assert_eq!(message.tries, 8);
        queue.end(
            number,
            &Outcome::Later("429".into(), Some(Duration::from_secs(86_400))),
            now,
            Wall(0),
            0.5,
        );
        assert_eq!(queue.standing("a").next_try, Some(now + limits::DELIVERY_PUT_OFF));
        assert_eq!(queue.wake(), queue.standing("a").next_try);
    }

    #[test]
    fn the_oldest_of_the_least_severe_goes_first() {
        let channels = [hook("a", &["active"])];
        let mut queue = Queue::default();
        for n in 0..limits::OUTBOX as u64 {
            let severity = if n == 3 || n == 7 { Severity::Minor } else { Severity::Major };
            queue.offer(&channels, News::Active, &alert("x", n, severity), Wall(0));
        }
        let rows = queue.offer(&channels, News::Active, &alert("y", 1, Severity::Minor), Wall(0));
        assert_eq!(rows.last(), Some(&(3, None)));
        queue.offer(&channels, News::Active, &alert("y", 2, Severity::Major), Wall(0));
        assert_eq!((queue.dropped, queue.messages.contains_key(&7)), (2, false));
        assert_eq!(queue.len(), limits::OUTBOX);
    }

    #[test]
    fn what_is_not_wanted_does_not_wait() {
        let mut queue = Queue::default();
        let channels = [hook("a", &["cleared"])];
        assert_eq!(queue.offer(&channels, News::Active, &alert("x", 1, Severity::Minor), Wall(0)), []);
        assert_eq!(queue.offer(&channels, News::Cleared, &alert("x", 1, Severity::Invalid), Wall(0)), []);
        assert_eq!(queue.offer(&channels, News::Test, &alert("x", 1, Severity::Invalid), Wall(0)).len(), 1);
        assert_eq!(queue.keep_only(&[hook("b", &[])]), [(0, None)]);
    }

    proptest! {
        /// Whatever comes and however it goes, the queue is bounded, a channel's messages leave in their order, and the
        /// shelf has exactly what waits.
        #[test]
        fn order_bound_and_shelf(steps in proptest::collection::vec((0u8..6, 0u64..4, 0u64..3, any::<bool>()), 0..300)) {
            let channels = [hook("a", &["active", "cleared"]), hook("b", &["active"])];
            let mut queue = Queue::default();
            let mut shelf = BTreeMap::new();
            let mut now = Duration::ZERO;
            let mut last: BTreeMap<String, u64> = BTreeMap::new();
            for (what, id, occurrence, well) in steps {
                now += S;
                let rows = match what {
                    0..=3 => {
                        let news = if what == 0 { News::Cleared } else { News::Active };
                        queue.offer(&channels, news, &alert(&format!("x{id}"), occurrence, Severity::Minor), Wall(0))
                    }
                    _ => match queue.begin(now) {
                        None => Rows::new(),
                        Some((number, message)) => {
                            prop_assert!(last.insert(message.channel.clone(), number).is_none_or(|before| before <= number));
                            let outcome = if well { Outcome::Sent } else { later() };
                            queue.end(number, &outcome, now, Wall(0), 0.3)
                        }
                    },
                };
                for (number, row) in rows {
                    match row {
                        Some(row) => drop(shelf.insert(number, row)),
                        None => drop(shelf.remove(&number)),
                    }
                }
                prop_assert!(queue.len() <= limits::OUTBOX);
                prop_assert!(shelf.keys().eq(queue.messages.keys()));
            }
        }
    }
}
