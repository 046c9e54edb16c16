//! What is asked of the scans of programs: judged by their machines, told to the program, ended when it has done it.

use super::one::One;
use super::{External, GRACE, monotonic};
use crate::bus::Command;
use crate::model::{CommandState, Level, ScanState};
use crate::runner::lab::{Conflict, Judged};
use crate::runner::machine::{Ask, ScanEvent, Verdict};
use serde_json::Value;
use std::time::Duration;

impl External {
    /// What would become of a command for one of them; none: it is none of these.
    pub fn judge(&self, id: &str, action: &str, forced: bool) -> Option<Judged> {
        let entry = self.find(id)?;
        let one = entry.lock();
        let mut machine = one.kept.machine;
        let verdict = match Ask::from_name(action)? {
            Ask::Abort if forced && machine.pending() == Some(Ask::Abort) => Verdict::Accepted,
            ask => machine.command(ask),
        };
        Some(match verdict {
            Verdict::Accepted => Judged::Possible,
            Verdict::Already => Judged::Already,
            Verdict::Impossible => Judged::Impossible(Conflict {
                code: "not_now",
                detail: format!("{id} is {}; {action} is not possible then", one.word()),
                from: Some(one.word()),
                allowed_actions: one.kept.machine.allowed(),
                revision: Some(one.kept.revision),
                ..Conflict::default()
            }),
        })
    }

    /// Somebody commands one of them. False: it is none of these.
    pub fn command(&self, command: &Command) -> bool {
        let Some((id, entry)) =
            command.target.strip_prefix("scan/").and_then(|id| Some((id, self.find(id)?)))
        else {
            return false;
        };
        let mut one = entry.lock();
        let now = monotonic();
        let Some(ask) = Ask::from_name(&command.action) else {
            let reason = format!("{id} has no {}", command.action);
            self.finish(&command.id, CommandState::Rejected, &one, Some(&reason));
            return true;
        };
        one.advance(now);
        let forced = command.params.get("force") == Some(&Value::Bool(true)) && ask == Ask::Abort;
        if forced && one.kept.machine.pending() == Some(Ask::Abort) {
            one.kept.machine.event(ScanEvent::Confirmed(ScanState::Aborted));
            one.kept.message = Some("ended by force; the bench program has not confirmed it".into());
            one.waiting.push((command.id.clone(), ask));
            self.line(id, Level::Warning, &format!("{id} was ended by force without its program"), "forced");
            self.changed(&mut one, now);
        } else {
            self.ask(&mut one, ask, command, now);
        }
        drop(one);
        entry.news.notify_all();
        true
    }

    fn ask(&self, one: &mut One, ask: Ask, command: &Command, now: Duration) {
        let id = one.kept.scan_id.clone();
        match one.kept.machine.command(ask) {
            Verdict::Impossible => {
                let reason = format!("{id} is {}; {} is not possible then", one.word(), ask.name());
                self.finish(&command.id, CommandState::Rejected, one, Some(&reason));
            }
            Verdict::Already if one.kept.machine.pending() == Some(ask) => {
                self.context.commands.allow(&command.id, one.ack() + GRACE);
                one.waiting.push((command.id.clone(), ask));
            }
            Verdict::Already => {
                let reason = format!("{id} is {} already", one.word());
                self.finish(&command.id, CommandState::Completed, one, Some(&reason));
            }
            Verdict::Accepted => {
                let by = command.by.as_deref().map(|who| format!(" by {who}")).unwrap_or_default();
                let why = command.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
                self.line(&id, Level::Info, &format!("{} asked for{by}{why}", ask.name()), "command");
                let earlier = std::mem::take(&mut one.waiting);
                one.late = false;
                let pending = one.kept.machine.pending() == Some(ask);
                if pending {
                    self.context.commands.allow(&command.id, one.ack() + GRACE);
                    one.waiting.push((command.id.clone(), ask));
                    one.lease.ask(now);
                }
                self.changed(one, now);
                for (earlier, _) in earlier {
                    let reason = format!("{} was asked for after it", ask.name());
                    self.finish(&earlier, CommandState::Superseded, one, Some(&reason));
                }
                if !pending {
                    self.finish(&command.id, CommandState::Completed, one, None);
                }
            }
        }
    }
}
