//! Commands for queues and scans: judged by their machines, done by whoever runs them, ended when their effect is there.

use super::desk::by_whom;
use super::{Conflict, Inner, Lab};
use crate::bus::Command;
use crate::limits;
use crate::model::{CommandState, Level, QueueState, ScanState, Severity};
use crate::runner::machine::{Ask, Executor, PauseMode, Verdict};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};

const QUEUE_ACTIONS: [&str; 5] = ["start", "pause", "resume", "stop", "abort"];
const SCAN_ACTIONS: [&str; 6] = ["start", "pause", "resume", "stop", "abort", "skip_point"];

/// A command that is accepted and not done.
pub(super) struct Waiting {
    command: String,
    of: Of,
    ask: Wanted,
    /// When an abort counts as not confirmed.
    deadline: Option<Instant>,
}

enum Of {
    Queue(String),
    Scan(String),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Ask(Ask),
    SkipPoint,
}

/// What would become of a command.
#[derive(Debug)]
pub enum Judged {
    /// It would be taken.
    Possible,
    /// It is so, or on its way, already.
    Already,
    /// It makes no sense now.
    Impossible(Conflict),
}

impl Lab {
    /// What would become of a command for a queue or a scan of the lab; none: it is not one.
    pub fn judge(&self, kind: &str, id: &str, action: &str, params: &Map<String, Value>) -> Option<Judged> {
        if kind == "scan"
            && let Some(judged) = self.external.judge(id, action, is_forced(params))
        {
            return Some(judged);
        }
        let inner = self.lock();
        let mode = mode_of(params).unwrap_or_default();
        let (verdict, from, allowed_actions, revision) = match kind {
            "queue" => {
                let queue = inner.queues.get(id)?;
                let ask = Ask::from_name(action)?;
                let mut machine = queue.machine;
                let mut verdict = machine.command(ask, mode).0;
                let current = queue.current.as_ref().and_then(|id| inner.scans.get(id));
                if ask == Ask::Abort
                    && is_forced(params)
                    && let Some(scan) = current
                    && { scan.machine }.force() == Verdict::Accepted
                {
                    verdict = Verdict::Accepted;
                }
                (verdict, queue_word(queue.machine.status()), queue.machine.allowed(), None)
            }
            "scan" => {
                let scan = inner.scans.get(id)?;
                let busy = scan
                    .queue
                    .as_ref()
                    .and_then(|queue| inner.queues.get(queue))
                    .is_some_and(|q| q.is_busy());
                let mut machine = scan.machine;
                let verdict = match Ask::from_name(action) {
                    Some(Ask::Start) if scan.machine.status() == ScanState::Queued && busy => {
                        let queue = scan.queue.clone().unwrap_or_default();
                        if inner.queues.get(&queue).is_some_and(|queue| queue.only.as_deref() == Some(id)) {
                            return Some(Judged::Already);
                        }
                        return Some(Judged::Impossible(Conflict {
                            code: "not_now",
                            detail: format!("{queue} is at work; {id} can be started alone when it is not"),
                            from: Some(scan_word(scan.machine.status())),
                            allowed_actions: scan.allowed(),
                            revision: Some(scan.revision),
                            ..Conflict::default()
                        }));
                    }
                    Some(Ask::Abort) if is_forced(params) => machine.force(),
                    Some(ask) => machine.command(ask),
                    None if action == "skip_point" && scan.skip => Verdict::Already,
                    None if action == "skip_point" && scan.may_skip() => Verdict::Accepted,
                    None if action == "skip_point" => Verdict::Impossible,
                    None => return None,
                };
                (verdict, scan_word(scan.machine.status()), scan.allowed(), Some(scan.revision))
            }
            _ => return None,
        };
        Some(match verdict {
            Verdict::Accepted => Judged::Possible,
            Verdict::Already => Judged::Already,
            Verdict::Impossible => Judged::Impossible(Conflict {
                code: "not_now",
                detail: format!("{kind}/{id} is {from}; {action} is not possible then"),
                from: Some(from),
                allowed_actions,
                revision,
                order: None,
                ..Conflict::default()
            }),
        })
    }

    /// Commands for this queue come here.
    pub(super) fn own_queue(&self, id: &str) {
        self.context.commands.own_with(&format!("queue/{id}"), &QUEUE_ACTIONS, self.inbox.clone());
    }

    /// Commands for this scan come here.
    pub(super) fn own_scan(&self, id: &str) {
        self.context.commands.own_with(&format!("scan/{id}"), &SCAN_ACTIONS, self.inbox.clone());
    }

    /// A command, on the thread of the lab.
    pub(super) fn command(self: &Arc<Self>, command: &Command) {
        let mut inner = self.lock();
        let result = match command.target.split_once('/') {
            Some(("queue", id)) => self.command_queue(&mut inner, id, command),
            Some(("scan", id)) => self.command_scan(&mut inner, id, command),
            _ => Err("there is no such queue or scan".into()),
        };
        if let Err(why) = result {
            self.context.commands.finish(&command.id, CommandState::Rejected, None, Some(&why));
        }
        self.resolve(&mut inner);
    }

    fn command_queue(self: &Arc<Self>, inner: &mut Inner, id: &str, command: &Command) -> Result<(), String> {
        let ask = Ask::from_name(&command.action).ok_or("a queue has no such action")?;
        let mode = mode_of(&command.params)?;
        let queue = inner.queues.get_mut(id).ok_or_else(|| format!("there is no queue {id}"))?;
        let before = queue.machine.status();
        if before == QueueState::Completed && ask == Ask::Start {
            queue.count_anew();
        }
        let (verdict, effect) = queue.machine.command(ask, mode);
        if ask == Ask::Abort && is_forced(&command.params) && verdict != Verdict::Impossible {
            // The second one: it goes through to the scan.
            if verdict == Verdict::Already
                && let Some(scan) = queue.current.clone().and_then(|id| inner.scans.get_mut(&id))
            {
                scan.machine.force();
                queue.poke();
            }
        } else if verdict == Verdict::Impossible {
            return Err(format!("{id} is {}; {} is not possible then", queue_word(before), command.action));
        }
        if verdict == Verdict::Accepted {
            let after = match mode {
                PauseMode::AfterScan if ask == Ask::Pause => " after the current scan",
                _ => "",
            };
            let text = format!(
                "{} of {id} was asked for{}{after}{}.",
                ask.name(),
                by_whom(command.by.as_deref()),
                because(command)
            );
            self.say_queue(queue, Level::Info, &format!("queue_{}", ask.name()), &text, None);
            if matches!(ask, Ask::Stop | Ask::Abort) {
                queue.only = None;
            }
            queue.poke();
        }
        let deadline = (ask == Ask::Abort).then(|| Instant::now() + self.settings.abort_after);
        self.await_effect(inner, command, Of::Queue(id.to_string()), Wanted::Ask(ask), deadline);
        self.perform(inner, id, effect);
        if verdict == Verdict::Accepted {
            self.tell_queue(inner, id);
            self.keep_queue(inner, id);
        }
        Ok(())
    }

    fn command_scan(self: &Arc<Self>, inner: &mut Inner, id: &str, command: &Command) -> Result<(), String> {
        let scan = inner.scans.get_mut(id).ok_or_else(|| format!("there is no scan {id}"))?;
        let status = scan_word(scan.machine.status());
        let impossible = || format!("{id} is {status}; {} is not possible then", command.action);
        let by = by_whom(command.by.as_deref());
        let queue_id = scan.queue.clone().unwrap_or_default();
        let Some(ask) = Ask::from_name(&command.action) else {
            if !scan.may_skip() {
                return Err(impossible());
            }
            scan.skip = true;
            if scan.machine.status() == ScanState::Paused {
                scan.machine.command(Ask::Resume);
            }
            self.say_scan(
                scan,
                Level::Info,
                "skip_point",
                &format!("The point is to be left out{by}{}.", because(command)),
                None,
            );
            self.await_effect(inner, command, Of::Scan(id.into()), Wanted::SkipPoint, None);
            self.tell_scan(inner, id);
            if let Some(queue) = inner.queues.get(&queue_id) {
                queue.poke();
            }
            return Ok(());
        };
        let builtin = scan.machine.executor() == Executor::Builtin;
        if ask == Ask::Start && builtin && scan.machine.status() == ScanState::Queued {
            return self.start_alone(inner, id, &queue_id, command);
        }
        let then_continue = match command.params.get("then").and_then(Value::as_str) {
            None | Some("pause_queue") => false,
            Some("continue") => true,
            Some(other) => {
                let shown: String = other.chars().filter(|c| !c.is_control()).take(40).collect();
                return Err(format!("then is {shown:?}; expected pause_queue or continue"));
            }
        };
        let waits = scan.machine.status() == ScanState::Queued;
        if ask == Ask::Abort && builtin && waits {
            self.await_effect(inner, command, Of::Scan(id.into()), Wanted::Ask(ask), None);
            let by = command.by.clone();
            self.withdraw(inner, id, &format!("it was aborted{}", because(command)), by.as_deref());
            return Ok(());
        }
        let forced = ask == Ask::Abort && is_forced(&command.params);
        let verdict = if forced { scan.machine.force() } else { scan.machine.command(ask) };
        match verdict {
            Verdict::Impossible => return Err(impossible()),
            Verdict::Accepted => {
                if ask == Ask::Abort {
                    scan.then_continue = then_continue;
                    scan.caused_by = Some(command.id.clone());
                }
                let how = if scan.machine.is_forced() { ", without clean-up" } else { "" };
                let text = format!("{} was asked for{by}{how}{}.", ask.name(), because(command));
                self.say_scan(scan, Level::Info, &format!("scan_{}", ask.name()), &text, None);
            }
            Verdict::Already => {}
        }
        let deadline = (ask == Ask::Abort && builtin).then(|| Instant::now() + self.settings.abort_after);
        self.await_effect(inner, command, Of::Scan(id.into()), Wanted::Ask(ask), deadline);
        if verdict == Verdict::Accepted {
            // What is taken back takes the queue along.
            if inner
                .scans
                .get(id)
                .is_some_and(|s| s.machine.status() == ScanState::Running && s.machine.pending().is_none())
                && let Some(queue) = inner.queues.get_mut(&queue_id)
            {
                queue.machine.event(crate::runner::machine::QueueEvent::ScanResumed);
            }
            self.tell_scan(inner, id);
            if let Some(queue) = inner.queues.get(&queue_id) {
                queue.poke();
                self.tell_queue(inner, &queue_id);
            }
        }
        Ok(())
    }

    /// Runs one scan now, and no other.
    fn start_alone(
        self: &Arc<Self>,
        inner: &mut Inner,
        id: &str,
        queue_id: &str,
        command: &Command,
    ) -> Result<(), String> {
        let queue = inner.queues.get_mut(queue_id).ok_or_else(|| format!("the queue of {id} is gone"))?;
        if queue.is_busy() {
            return Err(format!("{queue_id} is at work; {id} can be started alone when it is not"));
        }
        queue.only = Some(id.to_string());
        let text = format!("{id} is started alone{}{}.", by_whom(command.by.as_deref()), because(command));
        self.say_queue(queue, Level::Info, "scan_start", &text, Some(id));
        self.await_effect(inner, command, Of::Scan(id.into()), Wanted::Ask(Ask::Start), None);
        self.start_thread(inner, queue_id);
        self.tell_queue(inner, queue_id);
        Ok(())
    }

    fn await_effect(
        &self,
        inner: &mut Inner,
        command: &Command,
        of: Of,
        ask: Wanted,
        deadline: Option<Instant>,
    ) {
        let within = match deadline {
            Some(_) => self.settings.abort_after + Duration::from_secs(5),
            None => limits::LAB_COMMAND_TIME,
        };
        self.context.commands.allow(&command.id, within);
        if inner.waiting.len() >= limits::COMMANDS {
            let oldest = inner.waiting.remove(0);
            self.context.commands.finish(
                &oldest.command,
                CommandState::Failed,
                None,
                Some("too many commands wait"),
            );
        }
        inner.waiting.push(Waiting { command: command.id.clone(), of, ask, deadline });
    }

    /// Ends the commands whose effect is there, or can't come any more. What confirms it has been published.
    pub(super) fn resolve(&self, inner: &mut Inner) {
        let waiting = std::mem::take(&mut inner.waiting);
        for one in waiting {
            let end = match (&one.of, one.ask) {
                (Of::Queue(id), Wanted::Ask(ask)) => match inner.queues.get(id) {
                    Some(queue) => {
                        let status = queue.machine.status();
                        let current = queue.current.as_ref().and_then(|id| inner.scans.get(id));
                        let error = current.and_then(|scan| scan.error.as_deref());
                        queue_end(ask, status, queue.machine.pending(), queue.current.is_some(), error)
                            .map(|(state, why)| (state, queue_word(status), why))
                    }
                    None => Some((CommandState::Failed, "idle", Some("it was removed".into()))),
                },
                (Of::Scan(id), Wanted::Ask(ask)) => match inner.scans.get(id) {
                    Some(scan) => {
                        let status = scan.machine.status();
                        scan_end(ask, status, scan.machine.pending(), scan.error.as_deref())
                            .map(|(state, why)| (state, scan_word(status), why))
                    }
                    None => Some((CommandState::Failed, "aborted", Some("it was removed".into()))),
                },
                // By `resolve_skips`, or never.
                (Of::Scan(id), Wanted::SkipPoint) => match inner.scans.get(id) {
                    Some(scan) if scan.machine.is_ended() => {
                        let why = Some("it has ended first".into());
                        Some((CommandState::Superseded, scan_word(scan.machine.status()), why))
                    }
                    Some(_) => None,
                    None => Some((CommandState::Failed, "aborted", Some("it was removed".into()))),
                },
                (Of::Queue(_), Wanted::SkipPoint) => None,
            };
            match end {
                Some((state, status, why)) => self.finish(&one.command, state, status, why.as_deref()),
                None => inner.waiting.push(one),
            }
        }
    }

    /// A point of this scan was left out.
    pub(super) fn resolve_skips(&self, inner: &mut Inner, id: &str) {
        let status = inner.scans.get(id).map_or("running", |scan| scan_word(scan.machine.status()));
        let skips =
            |one: &Waiting| one.ask == Wanted::SkipPoint && matches!(&one.of, Of::Scan(of) if of == id);
        let (done, rest): (Vec<Waiting>, _) = std::mem::take(&mut inner.waiting).into_iter().partition(skips);
        inner.waiting = rest;
        for one in done {
            self.finish(&one.command, CommandState::Completed, status, None);
        }
    }

    /// Aborts that should have been confirmed by now.
    pub(super) fn overdue(&self, inner: &mut Inner, now: Instant) {
        let late = |one: &Waiting| one.deadline.is_some_and(|deadline| now >= deadline);
        let (overdue, rest): (Vec<Waiting>, _) =
            std::mem::take(&mut inner.waiting).into_iter().partition(late);
        inner.waiting = rest;
        for one in overdue {
            let scan = match &one.of {
                Of::Scan(id) => Some(id.clone()),
                Of::Queue(id) => inner.queues.get(id).and_then(|queue| queue.current.clone()),
            };
            let Some(scan) = scan.and_then(|id| inner.scans.get_mut(&id)) else {
                self.finish(
                    &one.command,
                    CommandState::TimedOut,
                    "running",
                    Some("no effect was observed in time"),
                );
                continue;
            };
            let at = scan.step.clone().map(|step| format!(" ({step})")).unwrap_or_default();
            let devices = scan.instruments.join(", ");
            let text = format!(
                "abort of {} not confirmed after {} s{at}: outputs of {devices} may be on",
                scan.id,
                self.settings.abort_after.as_secs_f64()
            );
            self.say_scan(scan, Level::Error, "abort_not_confirmed", &format!("{text}."), None);
            if !scan.abort_alerted {
                scan.abort_alerted = true;
                self.context.alerts.raise(
                    &format!("scan.{}.abort", scan.id),
                    Severity::Major,
                    &format!("{text}."),
                    "Look at the instruments. A second abort with \"force\": true gives up the clean-up.",
                );
            }
            let status = scan_word(scan.machine.status());
            self.finish(&one.command, CommandState::TimedOut, status, Some(&text));
        }
    }
}

type End = Option<(CommandState, Option<String>)>;

/// How a command for a queue has ended, if it has.
fn queue_end(ask: Ask, status: QueueState, pending: Option<Ask>, has_scan: bool, error: Option<&str>) -> End {
    use CommandState::{Completed as Done, Failed as Not, Superseded};
    use QueueState::{Completed, Idle, Paused, Running, Stopping};
    let over = |why: &str| Some((Superseded, Some(why.to_string())));
    match (ask, status) {
        (Ask::Start, Running) | (Ask::Pause, Paused) | (Ask::Stop, Idle | Completed) => Some((Done, None)),
        (Ask::Resume, Running | Idle) if pending != Some(Ask::Pause) => Some((Done, None)),
        (Ask::Abort, _) if pending == Some(Ask::Abort) => None,
        (Ask::Abort, _) if has_scan && status == Stopping => None,
        (Ask::Abort, Paused | Idle | Completed) => Some((Done, None)),
        (Ask::Abort, _) => over("it goes on"),
        (Ask::Pause, Running) if pending == Some(Ask::Pause) => None,
        (Ask::Pause, Completed | Idle) => over("its last scan had ended before"),
        (Ask::Pause, _) => over("another command came after it"),
        (Ask::Resume, Paused) if pending == Some(Ask::Resume) => None,
        // Its scan could not go on.
        (Ask::Resume, Paused) if error.is_some() => Some((Not, error.map(str::to_string))),
        (Ask::Resume, _) => over("another command came after it"),
        (Ask::Stop, Stopping) => None,
        (Ask::Stop, _) => over("another command came after it"),
        // Done before this was looked at.
        (Ask::Start, Completed) => Some((Done, None)),
        (Ask::Start, _) => over("another command came after it"),
    }
}

/// How a command for a scan has ended, if it has.
fn scan_end(ask: Ask, status: ScanState, pending: Option<Ask>, error: Option<&str>) -> End {
    use CommandState::{Completed as Done, Failed as Not, Superseded};
    use ScanState::{Aborted, Completed, Failed, Paused, Queued, Running};
    if pending == Some(ask) {
        return None;
    }
    let failed = || Some((Not, Some(error.unwrap_or("it has failed").to_string())));
    let over = |why: &str| Some((Superseded, Some(why.to_string())));
    match (ask, status) {
        // Its instruments may not be free yet.
        (Ask::Start, Queued) => None,
        (Ask::Start, Failed) | (Ask::Stop | Ask::Abort | Ask::Resume, Failed) => failed(),
        (Ask::Start, Aborted) => over("it was aborted"),
        (Ask::Start, _) => Some((Done, None)),
        (Ask::Pause, Paused) | (Ask::Resume, Running) | (Ask::Stop, Completed) | (Ask::Abort, Aborted) => {
            Some((Done, None))
        }
        (Ask::Resume, Completed) => Some((Done, None)),
        (Ask::Resume, Paused) if error.is_some() => failed(),
        (Ask::Abort, Completed) => Some((Not, Some("it had completed before".to_string()))),
        (Ask::Pause, Completed) => over("its last point came first"),
        (Ask::Pause, Failed) => failed(),
        (Ask::Pause | Ask::Resume | Ask::Stop, Aborted) => over("it was aborted"),
        (Ask::Pause | Ask::Resume | Ask::Stop | Ask::Abort, _) => over("another command came after it"),
    }
}

/// `, because ...`.
fn because(command: &Command) -> String {
    command.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default()
}

fn is_forced(params: &Map<String, Value>) -> bool {
    params.get("force").and_then(Value::as_bool).unwrap_or(false)
}

fn mode_of(params: &Map<String, Value>) -> Result<PauseMode, String> {
    match params.get("mode").filter(|mode| !mode.is_null()) {
        None => Ok(PauseMode::Checkpoint),
        Some(mode) => match mode.as_str() {
            Some("checkpoint") => Ok(PauseMode::Checkpoint),
            Some("after_scan") => Ok(PauseMode::AfterScan),
            _ => Err("mode is not known; expected checkpoint or after_scan".into()),
        },
    }
}

/// The wire's word.
pub(super) fn queue_word(status: QueueState) -> &'static str {
    match status {
        QueueState::Idle => "idle",
        QueueState::Running => "running",
        QueueState::Paused => "paused",
        QueueState::Stopping => "stopping",
        QueueState::Completed => "completed",
    }
}

/// The wire's word.
pub(super) fn scan_word(status: ScanState) -> &'static str {
    match status {
        ScanState::Queued => "queued",
        ScanState::Running => "running",
        ScanState::Paused => "paused",
        ScanState::Completed => "completed",
        ScanState::Aborted => "aborted",
        ScanState::Failed => "failed",
    }
}
