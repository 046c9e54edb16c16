//! Requests that wait until the line is free. One that has waited as long as a command may take is not sent any more:
//! whoever asked has been told that it timed out, and must not be surprised by it later. Pure.

use super::protocol::{Action, Finish};
use crate::limits;
use crate::model::CommandState;
use crate::sources::instruments::Failure;
use std::collections::VecDeque;
use std::time::Duration;

/// A queue of what is to be done for whom.
#[derive(Debug)]
pub(super) struct Pending<T> {
    waiting: VecDeque<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    id: String,
    since: Duration,
    what: T,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Pending { waiting: VecDeque::new() }
    }
}

impl<T> Pending<T> {
    /// Takes in a request, as what is to be done for it or why it is not, where the port `is_open`.
    pub fn admit(&mut self, id: &str, is_open: bool, what: Result<T, No>, now: Duration) -> Vec<Action> {
        match what {
            _ if !is_open => vec![ended(id, CommandState::Failed, Some("the port is not open".into()))],
            Ok(what) => self.push(id, what, now),
            Err(no) => vec![Action::Finish(Finish {
                id: id.to_string(),
                state: CommandState::Rejected,
                code: no.code,
                reason: Some(no.why),
                readings: Vec::new(),
                text: None,
            })],
        }
    }

    /// Adds a request; with too many waiting it is refused.
    fn push(&mut self, id: &str, what: T, now: Duration) -> Vec<Action> {
        if self.waiting.len() >= limits::INSTRUMENT_COMMANDS {
            let why = format!("{} requests are waiting for this instrument already", self.waiting.len());
            return vec![ended(id, CommandState::Rejected, Some(why))];
        }
        self.waiting.push_back(Entry { id: id.to_string(), since: now, what });
        Vec::new()
    }

    /// The first that is `wanted`, unless there is none.
    pub fn next(&mut self, wanted: impl Fn(&T) -> bool) -> Option<(String, T)> {
        let n = self.waiting.iter().position(|entry| wanted(&entry.what))?;
        self.waiting.remove(n).map(|entry| (entry.id, entry.what))
    }

    /// Ends commands that have waited too long. A request from within waits as long as it is not given up.
    pub fn expire(&mut self, now: Duration) -> Vec<Action> {
        let mut late = Vec::new();
        self.waiting.retain(|entry| {
            let is_late =
                !is_from_within(&entry.id) && now.saturating_sub(entry.since) >= limits::COMMAND_TIME;
            if is_late {
                let why = "it was not sent: the instrument did not come to answer in time";
                late.push(ended(&entry.id, CommandState::TimedOut, Some(why.into())));
            }
            !is_late
        });
        late
    }

    /// Takes all those out that are `unwanted`.
    pub fn withdraw(&mut self, unwanted: impl Fn(&str, &T) -> bool) -> Vec<String> {
        let mut out = Vec::new();
        self.waiting.retain(|entry| {
            let goes = unwanted(&entry.id, &entry.what);
            if goes {
                out.push(entry.id.clone());
            }
            !goes
        });
        out
    }

    /// Somebody has taken the instrument: takes out the commands of others, but for what `stays`.
    pub fn taken(&mut self, stays: impl Fn(&T) -> bool) -> Vec<String> {
        self.withdraw(|id, what| !is_from_within(id) && !stays(what))
    }

    /// Ends all of them.
    pub fn fail(&mut self, why: &str) -> Vec<Action> {
        self.waiting
            .drain(..)
            .map(|entry| ended(&entry.id, CommandState::Failed, Some(why.to_string())))
            .collect()
    }

    /// Whether one is `wanted`.
    pub fn any(&self, wanted: impl Fn(&T) -> bool) -> bool {
        self.waiting.iter().any(|entry| wanted(&entry.what))
    }
}

/// Whether it is no command of somebody's but a request of ours, which is given up when its time is over.
pub(super) fn is_from_within(id: &str) -> bool {
    id.starts_with('#')
}

/// A request has ended.
pub(super) fn ended(id: &str, state: CommandState, reason: Option<String>) -> Action {
    Action::Finish(Finish { id: id.to_string(), state, code: None, reason, readings: Vec::new(), text: None })
}

/// It has failed, for one of the reasons that have a name.
pub(super) fn failed(id: &str, code: Failure, reason: String) -> Action {
    Action::Finish(Finish {
        id: id.to_string(),
        state: CommandState::Failed,
        code: Some(code),
        reason: Some(reason),
        readings: Vec::new(),
        text: None,
    })
}

/// Why something is not done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct No {
    pub code: Option<Failure>,
    pub why: String,
}

impl No {
    /// There is no channel of that name that can be set.
    pub fn unsettable<'a>(name: &str, all: impl Iterator<Item = &'a str>) -> No {
        let all = all.collect::<Vec<_>>().join(", ");
        format!("`channel` is {name:?}; expected one that can be set: {all}").into()
    }
}

impl From<String> for No {
    fn from(why: String) -> Self {
        No { code: None, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_too_late_is_not_done() {
        let mut pending = Pending::default();
        for n in 0..limits::INSTRUMENT_COMMANDS {
            assert!(pending.push(&n.to_string(), n, Duration::from_secs(n as u64 / 8)).is_empty());
        }
        let refused = pending.push("x", 99, Duration::from_secs(2));
        assert!(matches!(&refused[..], [Action::Finish(Finish { state: CommandState::Rejected, .. })]));
        let late = pending.expire(limits::COMMAND_TIME);
        assert_eq!(late.len(), 8);
        assert!(
            late.iter().all(|a| matches!(a, Action::Finish(Finish { state: CommandState::TimedOut, .. })))
        );
        assert_eq!(pending.next(|_| true), Some(("8".into(), 8)));
        assert_eq!(pending.next(|n| *n == 12), Some(("12".into(), 12)));
        assert_eq!(pending.withdraw(|id, _| id == "10"), ["10"]);
        assert_eq!(pending.fail("the port was closed").len(), limits::INSTRUMENT_COMMANDS - 11);
        assert!(!pending.any(|_| true));
        // Whoever asks from within has a time of his own.
        pending.push("#1", 1, Duration::ZERO);
        pending.push("2", 2, Duration::ZERO);
        let late = pending.expire(limits::COMMAND_TIME * 3);
        assert!(matches!(&late[..], [Action::Finish(Finish { id, .. })] if id == "2"));
        assert!(pending.any(|n| *n == 1));
        pending.push("3", 3, Duration::ZERO);
        pending.push("4", 4, Duration::ZERO);
        assert_eq!(pending.taken(|n| *n == 4), ["3"]);
        assert!(pending.any(|n| *n == 1) && pending.any(|n| *n == 4));
    }
}
