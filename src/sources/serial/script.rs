//! Plays the other end of a [`Protocol`] in tests: what it sends is answered after a while, on a clock of our own.

use super::pending::ended;
use super::protocol::{Action, Finish, Protocol};
use crate::bus::Command;
use crate::model::CommandState;
use crate::sources::instruments::Request;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// What a device answers, and how long after.
pub(super) type Replies = Vec<(Duration, Vec<u8>)>;

/// A protocol and its clock.
pub(super) struct Rig<P> {
    pub protocol: P,
    pub now: Duration,
    /// Everything it wanted done, in words.
    pub log: Vec<String>,
    pub actions: Vec<Action>,
    under_way: BTreeMap<(Duration, usize), Vec<u8>>,
    replies: usize,
}

impl<P: Protocol> Rig<P> {
    pub fn new(protocol: P) -> Self {
        let under_way = BTreeMap::new();
        Rig { protocol, now: ms(1000), log: Vec::new(), actions: Vec::new(), under_way, replies: 0 }
    }

    pub fn open(&mut self, device: &mut dyn FnMut(&[u8]) -> Replies) {
        let actions = self.protocol.opened(self.now);
        self.did(actions, device);
    }

    pub fn close(&mut self) {
        let actions = self.protocol.closed();
        self.did(actions, &mut |_| Vec::new());
    }

    pub fn command(
        &mut self,
        id: &str,
        action: &str,
        params: serde_json::Value,
        device: &mut dyn FnMut(&[u8]) -> Replies,
    ) {
        let params = params.as_object().cloned().unwrap_or_default();
        let command = Command {
            id: id.into(),
            target: "instrument/i".into(),
            action: action.into(),
            params,
            by: None,
            reason: None,
        };
        let offer = self.protocol.offer().unwrap_or_default();
        let actions = match Request::of(&command, &offer) {
            Ok(request) => self.protocol.ask(id, &request, self.now),
            Err(why) => vec![ended(id, CommandState::Rejected, Some(why))],
        };
        self.did(actions, device);
    }

    pub fn ask(&mut self, id: &str, request: &Request, device: &mut dyn FnMut(&[u8]) -> Replies) {
        let actions = self.protocol.ask(id, request, self.now);
        self.did(actions, device);
    }

    pub fn hear(&mut self, bytes: &[u8]) {
        let actions = self.protocol.received(bytes, self.now);
        self.did(actions, &mut |_| Vec::new());
    }

    /// Lets time pass, and the device answer.
    pub fn run(&mut self, time: Duration, device: &mut dyn FnMut(&[u8]) -> Replies) {
        let end = self.now + time;
        for _ in 0..1_000_000 {
            let reply = self.under_way.keys().next().copied();
            let tick = self.protocol.wake().unwrap_or(end).min(self.now + ms(200));
            let (actions, at) = match reply {
                Some(key) if key.0 <= tick && key.0 <= end => {
                    self.now = self.now.max(key.0);
                    let bytes = self.under_way.remove(&key).unwrap();
                    (self.protocol.received(&bytes, self.now), key.0)
                }
                _ if tick >= end => {
                    self.now = end;
                    return;
                }
                _ => {
                    self.now = self.now.max(tick);
                    (self.protocol.tick(self.now), tick)
                }
            };
            assert!(at <= end);
            self.did(actions, device);
        }
        panic!("it never lets time pass: {:?}", &self.log[self.log.len() - 20..]);
    }

    fn did(&mut self, actions: Vec<Action>, device: &mut dyn FnMut(&[u8]) -> Replies) {
        for action in actions {
            if let Action::Send(bytes) = &action {
                for (after, reply) in device(bytes) {
                    self.under_way.insert((self.now + after, self.replies), reply);
                    self.replies += 1;
                }
            }
            if let Action::Flush = action {
                self.under_way.retain(|(at, _), _| *at > self.now);
            }
            self.log.push(shown(&action));
            self.actions.push(action);
        }
    }

    /// The log since the last look.
    pub fn took(&mut self) -> Vec<String> {
        self.actions.clear();
        std::mem::take(&mut self.log)
    }

    /// The log, without what is of no interest to most tests.
    pub fn said(&mut self, without: &[&str]) -> Vec<String> {
        let mut log = self.took();
        log.retain(|line| !without.iter().any(|word| line.starts_with(word)));
        log
    }
}

/// An action in words.
pub(super) fn shown(action: &Action) -> String {
    match action {
        Action::Send(bytes) => format!("send {}", bytes.escape_ascii()),
        Action::Readings(readings) => {
            let one = |r: &crate::sources::reading::Reading| {
                let unit = r.unit.as_ref().map(|u| format!(" {u}")).unwrap_or_default();
                format!("{}={:?}{unit}", r.name, r.value)
            };
            format!("readings {}", readings.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        Action::Heard => "heard".into(),
        Action::Bad { line, why } => format!("bad {:?}: it {why}", String::from_utf8_lossy(line)),
        Action::Count(name, n) => format!("count {name} {n}"),
        Action::Detail(name, value) => format!("detail {name} {value}"),
        Action::Lost(why) => format!("lost {}", json!(why).as_str().unwrap_or_default()),
        Action::Motion(motion) => {
            let target = motion.target.map(|t| format!(" to {t}")).unwrap_or_default();
            let moving = motion.moving.map(|m| if m { " moves" } else { " stands" }).unwrap_or_default();
            format!("motion {}{target}{moving}", motion.channel)
        }
        Action::Settings(readings) => {
            let one = |r: &crate::sources::reading::Reading| format!("{}={:?}", r.name, r.value);
            format!("settings {}", readings.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        Action::Finish(Finish { id, state, reason, text, .. }) => {
            let reason = reason.as_ref().or(text.as_ref()).map(|r| format!(": {r}")).unwrap_or_default();
            format!("finish {id} {}{reason}", json!(state).as_str().unwrap_or_default())
        }
        Action::Flush => "flush".into(),
    }
}

/// Compares with `tests/golden/{name}.out`; `TELLTALE_TEST_BLESS=1` writes it.
pub(super) fn golden(name: &str, is: &str) {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.out"));
    if std::env::var_os("TELLTALE_TEST_BLESS").is_some() {
        std::fs::write(&path, is).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(is, wanted, "{} differs", path.display());
}
