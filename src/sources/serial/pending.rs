//! Commands that wait until the line is free. One that has waited as long as a command may take is not sent any more:
//! whoever asked has been told that it timed out, and must not be surprised by it later. Pure.

use super::protocol::Action;
use crate::limits;
use crate::model::CommandState;
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
    /// Adds a command; with too many waiting it is refused.
    pub fn push(&mut self, id: &str, what: T, now: Duration) -> Vec<Action> {
        if self.waiting.len() >= limits::INSTRUMENT_COMMANDS {
            let why = format!("{} commands are waiting for this instrument already", self.waiting.len());
            return vec![ended(id, CommandState::Rejected, Some(why))];
        }
        self.waiting.push_back(Entry { id: id.to_string(), since: now, what });
        Vec::new()
    }

    /// The next one, unless none is left; what became of those that came too late.
    pub fn next(&mut self, now: Duration) -> (Vec<Action>, Option<(String, T)>) {
        let late = self.expire(now);
        (late, self.waiting.pop_front().map(|entry| (entry.id, entry.what)))
    }

    /// Ends those that have waited too long.
    pub fn expire(&mut self, now: Duration) -> Vec<Action> {
        let mut late = Vec::new();
        while let Some(entry) = self.waiting.front()
            && now.saturating_sub(entry.since) >= limits::COMMAND_TIME
        {
            let why = "it was not sent: the instrument did not come to answer in time";
            late.push(ended(&entry.id, CommandState::TimedOut, Some(why.into())));
            self.waiting.pop_front();
        }
        late
    }

    /// Ends all of them.
    pub fn fail(&mut self, why: &str) -> Vec<Action> {
        self.waiting
            .drain(..)
            .map(|entry| ended(&entry.id, CommandState::Failed, Some(why.to_string())))
            .collect()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// A command has ended.
pub(super) fn ended(id: &str, state: CommandState, reason: Option<String>) -> Action {
    Action::Finish { id: id.to_string(), state, status: None, reason }
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
        assert!(matches!(&refused[..], [Action::Finish { state: CommandState::Rejected, .. }]));
        let (late, next) = pending.next(limits::COMMAND_TIME);
        assert_eq!(late.len(), 8);
        assert!(late.iter().all(|a| matches!(a, Action::Finish { state: CommandState::TimedOut, .. })));
        assert_eq!(next, Some(("8".into(), 8)));
        assert_eq!(pending.fail("the port was closed").len(), limits::INSTRUMENT_COMMANDS - 9);
        assert!(pending.is_empty());
    }
}
