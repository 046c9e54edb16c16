//! The protocol `line`: a device sends a line whenever it likes, each with values. Nothing is sent, nothing is asked.
//!
//! **Promises.** A line is understood whole or not at all; what begins in the middle, is too long or makes no sense is
//! counted (`joined`, `overlong`, and by the port `bad_lines`) and skipped to the next line end.

use super::format::LineParser;
use super::pending::ended;
use super::protocol::{Action, Protocol};
use super::splitter::{Piece, Splitter};
use crate::config::LineConfig;
use crate::model::CommandState;
use crate::sources::instruments::Request;
use std::time::Duration;

/// See the module above.
pub struct Line {
    config: LineConfig,
    parser: LineParser,
    splitter: Splitter,
    /// Lines of the heading that are still to come.
    heading: u32,
}

impl Line {
    /// Lines as configured.
    ///
    /// # Errors
    /// One sentence, when the separator or the expression can't be used.
    pub fn new(config: &LineConfig) -> Result<Self, String> {
        let splitter = match config.terminator.as_deref() {
            None | Some("") => Splitter::new(config.max_line),
            Some(terminator) => Splitter::ending_with(terminator.as_bytes(), config.max_line),
        };
        let parser = LineParser::new(&config.format, &config.map)?;
        Ok(Line { config: config.clone(), parser, splitter, heading: config.skip_lines })
    }

    fn take(&mut self, piece: Piece, actions: &mut Vec<Action>) {
        let line = match piece {
            Piece::Joined => return actions.push(Action::Count("joined", 1)),
            Piece::Overlong(line) => {
                let why = format!("is longer than {} bytes", self.config.max_line);
                return actions.extend([Action::Count("overlong", 1), Action::Bad { line, why }]);
            }
            Piece::Line(line) => line,
        };
        actions.push(Action::Count("lines", 1));
        let comment = self.config.comment.as_ref().is_some_and(|mark| line.starts_with(mark.as_bytes()));
        if comment || self.heading > 0 {
            self.heading -= u32::from(!comment);
            return actions.push(Action::Heard);
        }
        actions.push(match self.parser.parse(String::from_utf8_lossy(&line).trim()) {
            Ok(readings) => Action::Readings(readings),
            Err(why) => Action::Bad { line, why },
        });
    }
}

impl Protocol for Line {
    fn opened(&mut self, _now: Duration) -> Vec<Action> {
        self.splitter.finish();
        self.heading = self.config.skip_lines;
        // They are shown from the beginning, not from the first fault.
        ["lines", "overlong", "joined"].map(|name| Action::Count(name, 0)).into()
    }

    fn received(&mut self, bytes: &[u8], _now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        for piece in self.splitter.feed(bytes) {
            self.take(piece, &mut actions);
        }
        actions
    }

    fn tick(&mut self, _now: Duration) -> Vec<Action> {
        self.splitter.quiet();
        Vec::new()
    }

    fn ask(&mut self, id: &str, _request: &Request, _now: Duration) -> Vec<Action> {
        vec![ended(id, CommandState::Rejected, Some("it only talks".into()))]
    }

    fn closed(&mut self) -> Vec<Action> {
        let half = self.splitter.finish();
        half.into_iter().map(|line| Action::Bad { line, why: "ends in the middle".into() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LineFormat;
    use crate::limits;
    use crate::sources::reading::{Reading, Value};
    use proptest::prelude::*;

    const NOW: Duration = Duration::ZERO;

    fn listening(change: impl FnOnce(&mut LineConfig)) -> Line {
        let mut config = LineConfig::of(LineFormat::Csv { separator: ',' });
        change(&mut config);
        let mut line = Line::new(&config).unwrap();
        line.opened(NOW);
        line.tick(NOW);
        line
    }

    /// What is not a count.
    fn told(actions: Vec<Action>) -> Vec<Action> {
        actions.into_iter().filter(|action| !matches!(action, Action::Count(..))).collect()
    }

    fn reading(number: f64) -> Action {
        Action::Readings(vec![Reading { name: "0".into(), value: Value::Number(number), unit: None }])
    }

    #[test]
    fn headings_and_comments_say_nothing() {
        let mut line =
            listening(|c| (c.skip_lines, c.comment, c.terminator) = (1, Some("#".into()), Some(";".into())));
        let actions = told(line.received(b"# made by x;temp;1;#2;3;", NOW));
        assert_eq!(actions, [Action::Heard, Action::Heard, reading(1.0), Action::Heard, reading(3.0)]);
        line.closed();
        line.opened(NOW);
        line.tick(NOW);
        assert_eq!(told(line.received(b"temp;4;", NOW)), [Action::Heard, reading(4.0)]);
    }

    #[test]
    fn what_is_no_line_is_counted() {
        let mut line = listening(|c| c.max_line = 16);
        let actions = line.received(b"12345678901234567890\n,\n7\nhal", NOW);
        let counts = |name| {
            let count =
                |action: &Action| matches!(action, Action::Count(n, by) if *n == name && *by == 1) as usize;
            actions.iter().map(count).sum::<usize>()
        };
        assert_eq!((counts("lines"), counts("overlong")), (2, 1));
        let bad: Vec<_> = actions.iter().filter(|action| matches!(action, Action::Bad { .. })).collect();
        assert_eq!(bad.len(), 2);
        assert_eq!(line.closed(), [Action::Bad { line: b"hal".to_vec(), why: "ends in the middle".into() }]);
        line.opened(NOW);
        assert_eq!(line.received(b"f\n", NOW), [Action::Count("joined", 1)]);
    }

    proptest! {
        /// Any bytes in any pieces: no panic, the same as in one piece, and never more than was sent.
        #[test]
        fn any_bytes_are_survived(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b','), Just(b'#'), any::<u8>()], 0..300),
            cut in 0usize..300,
        ) {
            let make = || listening(|c| (c.max_line, c.comment) = (32, Some("#".into())));
            let mut whole = make();
            let all = whole.received(&bytes, NOW);
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let mut parts = make();
            let mut pieces = parts.received(head, NOW);
            pieces.extend(parts.received(tail, NOW));
            prop_assert_eq!(&pieces, &all);
            for action in all {
                match action {
                    Action::Readings(readings) => prop_assert!(!readings.is_empty() && readings.len() <= limits::FIELDS),
                    Action::Bad { line, .. } => prop_assert!(line.len() <= 32),
                    Action::Heard | Action::Count(..) => {}
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }
    }
}
