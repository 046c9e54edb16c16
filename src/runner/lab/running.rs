//! What the thread of a queue tells the desk and asks of it. Each is one short hold of the lock.

use super::scans::{Orders, Phase, Scan};
use super::{Inner, Lab};
use crate::clock::Wall;
use crate::limits;
use crate::model::{Level, QueueState, ScanState, Severity};
use crate::runner::book::BookError;
use crate::runner::data::Row;
use crate::runner::machine::{Ask, Executor, ExitReason, PauseMode, QueueEvent, ScanEvent};
use crate::runner::plan::{MEASUREMENT, Plan};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A scan that is to be run.
pub(in crate::runner) struct Job {
    /// Its queue.
    pub queue: String,
    /// Its id.
    pub scan: String,
    /// What it does.
    pub description: Arc<Value>,
}

/// How the points of a scan came to an end.
pub(in crate::runner) enum Halted {
    /// After the last one.
    Finished,
    /// Somebody stopped it.
    Stopped,
    /// Somebody aborted it.
    Aborted,
    /// Something did not work.
    Failed(ExitReason, String),
}

impl Lab {
    /// The scan that the thread of this queue is to run now; none: the thread ends.
    pub(in crate::runner) fn next_job(&self, queue_id: &str) -> Option<Job> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let queue = inner.queues.get_mut(queue_id)?;
        if queue.only.as_ref().is_some_and(|only| !queue.order.contains(only)) {
            queue.only = None;
        }
        let next = queue.next().cloned();
        let Some(scan) = next.and_then(|id| inner.scans.get(&id)) else {
            queue.thread = None;
            return None;
        };
        Some(Job {
            queue: queue_id.to_string(),
            scan: scan.id.clone(),
            description: Arc::clone(&scan.description),
        })
    }

    /// The plan of a description as things are now; the error names the first fault.
    pub(in crate::runner) fn compile(&self, description: &Value) -> Result<Plan, String> {
        self.validate(description).map_err(|faults| match faults.first() {
            Some(fault) => format!("{}: {}", fault.field, fault.detail),
            None => "its description is not valid".into(),
        })
    }

    /// It is the scan's turn, but an instrument is not free. False: it is not its turn any more.
    pub(in crate::runner) fn blocked(&self, job: &Job, by: &str) -> bool {
        let mut inner = self.lock();
        let its_turn = is_next(&inner, job);
        let Some(scan) = inner.scans.get_mut(&job.scan) else { return false };
        if !its_turn {
            // Paused meanwhile, or another one is first now.
            if scan.blocked_by.take().is_some() {
                self.tell_scan(&mut inner, &job.scan);
            }
            return false;
        }
        if scan.blocked_by.as_deref() != Some(by) {
            scan.blocked_by = Some(by.to_string());
            self.say_scan(scan, Level::Info, "blocked", &format!("Waits: {by}."), None);
            self.tell_scan(&mut inner, &job.scan);
        }
        true
    }

    /// The scan begins, if it is still its turn. Its instruments have been claimed.
    pub(in crate::runner) fn begin(&self, job: &Job, plan: &Plan) -> bool {
        if let Err(e) = self.book.declare(&job.scan, MEASUREMENT, plan.columns.clone()) {
            log::error!("{}: its columns could not be declared: {e}", job.scan);
        }
        let mut inner = self.lock();
        if !is_next(&inner, job) {
            return false;
        }
        let now = Instant::now();
        if let Some(scan) = inner.scans.get_mut(&job.scan) {
            scan.machine.event(ScanEvent::Started);
            scan.take_plan(plan);
            scan.run.begin(now);
            scan.started_at = Some(Wall::now());
            (scan.blocked_by, scan.phase) = (None, Some(Phase::Startup));
            let points = plan.points_total.map_or("until it is stopped".into(), |n| format!("{n} points"));
            let text = format!("Started: {}, {points}.", scan.name);
            let instruments: Vec<&String> = plan.instruments.iter().collect();
            self.say_scan(
                scan,
                Level::Info,
                "scan_started",
                &text,
                Some(json!({ "instruments": instruments })),
            );
        }
        self.take_current(&mut inner, job);
        if let Some(queue) = inner.queues.get(&job.queue) {
            self.say_queue(
                queue,
                Level::Info,
                "scan_started",
                &format!("{} has started.", job.scan),
                Some(&job.scan),
            );
        }
        self.scan_changed(&mut inner, &job.scan);
        true
    }

    /// Its queue is busy with it.
    fn take_current(&self, inner: &mut Inner, job: &Job) {
        let Some(queue) = inner.queues.get_mut(&job.queue) else { return };
        queue.order.retain(|id| *id != job.scan);
        queue.order_version += 1;
        queue.current = Some(job.scan.clone());
        queue.alone = queue.only.take().is_some();
        let last = queue.order.is_empty();
        if last && queue.machine.status() != QueueState::Running {
            queue.machine.event(QueueEvent::Emptied);
        }
        queue.machine.event(QueueEvent::ScanStarted);
        if last {
            queue.machine.event(QueueEvent::Emptied);
        }
        self.tell_queue(inner, &job.queue);
        self.keep_queue(inner, &job.queue);
    }

    /// A scan whose turn it is can't run at all.
    pub(in crate::runner) fn cannot_start(self: &Arc<Self>, job: &Job, why: &str) {
        {
            let mut inner = self.lock();
            if !is_next(&inner, job) {
                return;
            }
            self.take_current(&mut inner, job);
            let Some(scan) = inner.scans.get_mut(&job.scan) else { return };
            scan.machine.event(ScanEvent::Failed(ExitReason::Error));
            scan.error = Some(why.to_string());
            self.raise(scan, why);
            self.ended(&mut inner, &job.scan, Some(why));
        }
        self.over(job);
    }

    /// What was asked of it.
    pub(in crate::runner) fn orders(&self, id: &str) -> Orders {
        match self.lock().scans.get(id) {
            Some(scan) => {
                Orders { ask: scan.machine.pending(), force: scan.machine.is_forced(), skip: scan.skip }
            }
            None => Orders::default(),
        }
    }

    /// How long it has been active.
    pub(in crate::runner) fn active(&self, id: &str) -> Duration {
        self.lock().scans.get(id).map(|scan| scan.run.active(Instant::now())).unwrap_or_default()
    }

    /// What it is doing; told with the next status.
    pub(in crate::runner) fn doing(&self, id: &str, step: impl FnOnce() -> String) {
        if let Some(scan) = self.lock().scans.get_mut(id) {
            scan.step = Some(step());
            scan.unsaid = true;
        }
    }

    /// It measures.
    pub(in crate::runner) fn measuring(&self, id: &str) {
        if let Some(scan) = self.lock().scans.get_mut(id)
            && scan.step.as_deref() != Some("measure")
        {
            scan.step = Some("measure".into());
            scan.unsaid = true;
        }
    }

    /// The points begin.
    pub(in crate::runner) fn main_phase(&self, id: &str) {
        let mut inner = self.lock();
        if let Some(scan) = inner.scans.get_mut(id) {
            scan.phase = Some(Phase::Main);
            scan.eta.begin(scan.run.active(Instant::now()));
        }
        self.tell_scan(&mut inner, id);
    }

    /// A line of its log.
    pub(in crate::runner) fn say(&self, id: &str, level: Level, code: &str, text: &str, data: Option<Value>) {
        if let Some(scan) = self.lock().scans.get(id) {
            self.say_scan(scan, level, code, text, data);
        }
    }

    /// A point is there: its row, its progress and the status that tells of them are one publication.
    pub(in crate::runner) fn take_point(
        &self,
        id: &str,
        measurement: &str,
        row: Row,
        repeat_index: u64,
    ) -> Result<(), BookError> {
        // Pages that were let go for want of use are read back here, not under the lock.
        let _ = self.book.keep_ready(id);
        let now = Instant::now();
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Some(scan) = inner.scans.get_mut(id) else { return Ok(()) };
        let before = (scan.points_done, scan.late_ms, scan.repeat_index);
        scan.points_done += 1;
        scan.late_ms = scan.late_ms.max(row.late_ms);
        scan.repeat_index = Some(repeat_index).filter(|n| *n > 0).or(scan.repeat_index);
        scan.passed(now);
        let mut beside = Vec::new();
        if scan.told.is_none_or(|told| now.duration_since(told) >= limits::SCAN_STATUS) {
            scan.revision += 1;
            (scan.told, scan.unsaid) = (Some(now), false);
            beside.extend(scan.draft(now));
        }
        if let Err(e) = self.book.append(id, measurement, vec![row], beside) {
            (scan.points_done, scan.late_ms, scan.repeat_index) = before;
            scan.unsaid = true;
            return Err(e);
        }
        if let Some(queue) = scan.queue.as_ref().and_then(|queue| inner.queues.get_mut(queue)) {
            queue.unsaid = true;
        }
        Ok(())
    }

    /// A point was left out; not a `point`: what follows the last one.
    pub(in crate::runner) fn skipped(&self, id: &str, why: Option<&str>, point: bool) {
        let mut inner = self.lock();
        let Some(scan) = inner.scans.get_mut(id) else { return };
        let (code, what) = if point {
            scan.skipped += 1;
            scan.passed(Instant::now());
            ("point_skipped", format!("Point {} left out", scan.points_done + scan.skipped))
        } else {
            ("steps_skipped", "What follows the last point left out".to_string())
        };
        match why {
            Some(why) => self.say_scan(scan, Level::Warning, code, &format!("{what}: {why}."), None),
            None => self.say_scan(scan, Level::Info, code, &format!("{what}, as was asked."), None),
        }
        self.tell_scan(&mut inner, id);
        self.resolve_skips(&mut inner, id);
    }

    /// The thread has seen that the point is to be skipped.
    pub(in crate::runner) fn skip_taken(&self, id: &str) {
        if let Some(scan) = self.lock().scans.get_mut(id) {
            scan.skip = false;
        }
    }

    /// Between two points with nothing half done: a pause takes effect. False: none is wanted any more.
    pub(in crate::runner) fn checkpoint(&self, id: &str) -> bool {
        // Its last row is told before it is paused.
        self.book.tick();
        let mut inner = self.lock();
        let Some(scan) = inner.scans.get_mut(id) else { return false };
        if !scan.machine.event(ScanEvent::Checkpoint) {
            return false;
        }
        let text = format!("Paused after {} points.", scan.points_done + scan.skipped);
        self.say_scan(scan, Level::Info, "scan_paused", &text, None);
        self.stands(&mut inner, id);
        true
    }

    /// It can't go on by itself. False: it is ending already.
    pub(in crate::runner) fn paused_by_error(&self, id: &str, why: &str) -> bool {
        // Its last row is told before it is paused.
        self.book.tick();
        let mut inner = self.lock();
        let Some(scan) = inner.scans.get_mut(id) else { return false };
        if !scan.machine.event(ScanEvent::PausedByError) {
            return false;
        }
        scan.error = Some(why.to_string());
        scan.message = None;
        self.say_scan(scan, Level::Error, "paused_by_error", &format!("Paused: {why}."), None);
        self.raise(scan, why);
        self.stands(&mut inner, id);
        true
    }

    /// It waits for a person.
    pub(in crate::runner) fn paused_by_prompt(&self, id: &str, prompt: &str) -> bool {
        // Its last row is told before it is paused.
        self.book.tick();
        let mut inner = self.lock();
        let Some(scan) = inner.scans.get_mut(id) else { return false };
        if !scan.machine.event(ScanEvent::PausedByError) {
            return false;
        }
        scan.prompt = Some(prompt.to_string());
        self.say_scan(scan, Level::Info, "prompt", prompt, None);
        self.stands(&mut inner, id);
        true
    }

    /// It is paused, and its queue with it.
    fn stands(&self, inner: &mut Inner, id: &str) {
        let Some(scan) = inner.scans.get_mut(id) else { return };
        scan.run.stand(Instant::now());
        scan.step = None;
        let queue = scan.queue.clone();
        self.follows(inner, queue, QueueEvent::ScanPaused);
        self.scan_changed(inner, id);
    }

    /// Every set-point is applied again: it runs. False: the resume was taken back.
    pub(in crate::runner) fn reapplied(&self, id: &str) -> bool {
        let mut inner = self.lock();
        let Some(scan) = inner.scans.get_mut(id) else { return false };
        if !scan.machine.event(ScanEvent::Reapplied) {
            return false;
        }
        scan.run.go_on(Instant::now());
        (scan.error, scan.prompt) = (None, None);
        self.say_scan(scan, Level::Info, "scan_resumed", "Goes on: every set-point is applied again.", None);
        self.clear(scan, "it goes on");
        let queue = scan.queue.clone();
        self.follows(&mut inner, queue, QueueEvent::ScanResumed);
        self.scan_changed(&mut inner, id);
        true
    }

    /// The queue of a scan hears of it. That it is paused, and by whom, has to outlive a restart.
    fn follows(&self, inner: &mut Inner, queue: Option<String>, event: QueueEvent) {
        let Some(queue) = queue else { return };
        if let Some(known) = inner.queues.get_mut(&queue) {
            known.machine.event(event);
        }
        self.keep_queue(inner, &queue);
    }

    /// No further point is taken; what remains is the clean-up.
    pub(in crate::runner) fn halted(&self, id: &str, how: &Halted) {
        let mut inner = self.lock();
        let Some(scan) = inner.scans.get_mut(id) else { return };
        scan.phase = Some(Phase::Cleanup);
        scan.step = None;
        match how {
            Halted::Finished => drop(scan.machine.event(ScanEvent::LastPoint)),
            Halted::Failed(reason, why) => {
                scan.machine.event(ScanEvent::Failed(*reason));
                scan.error = Some(why.clone());
                self.say_scan(scan, Level::Error, "scan_failing", &format!("{why}."), None);
                self.raise(scan, why);
            }
            Halted::Stopped | Halted::Aborted => {}
        }
        self.tell_scan(&mut inner, id);
    }

    /// The clean-up is done, or has failed, or was skipped: the scan has ended.
    pub(in crate::runner) fn cleaned_up(&self, id: &str, how: &Halted, trouble: Option<&str>) {
        // Its last rows come before its last status.
        self.book.end(id);
        let counts = self.book.counts(id);
        let mut inner = self.lock();
        let Some(scan) = inner.scans.get_mut(id) else { return };
        scan.machine.event(ScanEvent::CleanedUp);
        if !scan.machine.is_ended() {
            // Nothing runs it any more: better a wrong end than none.
            log::error!("{id} has ended as {:?} of which its machine knows nothing", scan.machine.status());
            scan.machine.event(ScanEvent::Failed(ExitReason::Error));
            scan.machine.event(ScanEvent::CleanedUp);
        }
        scan.num_points = counts;
        if let Some(trouble) = trouble {
            let text = format!("the clean-up failed: {trouble}");
            if scan.error.is_none() {
                scan.error = Some(text.clone());
            }
            // Over at once as a condition, and latched: somebody has to look.
            let (alert, message) = (format!("scan.{id}.cleanup"), format!("{id}: {text}."));
            let guidance = "Look at the instruments: outputs may be on.";
            self.context.alerts.raise(&alert, Severity::Major, &message, guidance);
            self.context.alerts.clear(&alert, &message);
        }
        self.ended(
            &mut inner,
            id,
            match how {
                Halted::Failed(_, why) => Some(why.as_str()),
                _ => None,
            },
        );
    }

    /// A scan's machine has come to an end state: freezes it and says so. Used for programs' scans as well.
    pub(super) fn ended(&self, inner: &mut Inner, id: &str, why: Option<&str>) {
        let Some(scan) = inner.scans.get_mut(id) else { return };
        scan.freeze(Instant::now());
        let points = scan.points_done;
        let of = scan.points_total.map(|total| format!(" of {total}")).unwrap_or_default();
        let (level, code, text) = match scan.machine.status() {
            ScanState::Completed if scan.machine.exit() == Some(ExitReason::StoppedEarly) => {
                (Level::Info, "scan_completed", format!("Stopped early after {points}{of} points"))
            }
            ScanState::Completed => (Level::Info, "scan_completed", format!("Completed: {points} points")),
            ScanState::Aborted => {
                (Level::Warning, "scan_aborted", format!("Aborted after {points}{of} points"))
            }
            _ => {
                let why = why.or(scan.error.as_deref()).unwrap_or("it did not say why");
                (Level::Error, "scan_failed", format!("Failed after {points}{of} points: {why}"))
            }
        };
        self.say_scan(scan, level, code, &format!("{text}."), None);
        scan.message = Some(text);
        if scan.abort_alerted {
            scan.abort_alerted = false;
            self.context.alerts.clear(&format!("scan.{id}.abort"), &format!("{id} has ended."));
        }
        self.clear(scan, "it has ended");
        inner.ended.push_back(id.to_string());
        self.context.commands.disown(&format!("scan/{id}"));
        self.scan_changed(inner, id);
    }

    /// The instruments of an ended scan are free: its queue goes on, or not.
    pub(in crate::runner) fn over(self: &Arc<Self>, job: &Job) {
        let mut inner = self.lock();
        let ended = inner.scans.get(&job.scan).map(|scan| (scan.machine.status(), scan.then_continue));
        let (state, then_continue) = ended.unwrap_or((ScanState::Failed, false));
        if !inner.ended.contains(&job.scan) && inner.scans.contains_key(&job.scan) {
            inner.ended.push_back(job.scan.clone());
            self.context.commands.disown(&format!("scan/{}", job.scan));
        }
        let Some(queue) = inner.queues.get_mut(&job.queue) else { return };
        queue.current = None;
        match state {
            ScanState::Completed => queue.completed += 1,
            ScanState::Aborted => queue.aborted += 1,
            _ => queue.failed += 1,
        }
        // What somebody aborted is not wanted, and what failed would fail again.
        if state == ScanState::Completed && queue.pass.len() < limits::QUEUED_SCANS {
            queue.pass.push(job.scan.clone());
        }
        let more = !queue.order.is_empty();
        let alone = std::mem::take(&mut queue.alone);
        if alone && more && queue.machine.pending().is_none() {
            // A pause on the way has made the machine forget that the others wait.
            queue.machine.command(Ask::Pause, PauseMode::AfterScan);
        }
        // Started alone, it does not have the whole pass come again.
        let looped = queue.machine.looped;
        queue.machine.looped &= !alone;
        let effect = queue.machine.event(QueueEvent::ScanEnded { state, then_continue, more });
        queue.machine.looped = looped;
        let after = queue.machine.status();
        let id = &queue.id;
        let line = match (after, queue.machine.pause_reason()) {
            (QueueState::Paused, reason) => {
                let why = reason.map_or("", |reason| reason.name()).replace('_', " ");
                let level = if state == ScanState::Failed { Level::Warning } else { Level::Info };
                Some((level, "queue_paused", format!("{id} is paused ({why}) after {}.", job.scan)))
            }
            (QueueState::Completed, _) => {
                let counts = format!(
                    "{} completed, {} failed, {} aborted",
                    queue.completed, queue.failed, queue.aborted
                );
                Some((Level::Info, "queue_completed", format!("{id} has done its scans: {counts}.")))
            }
            (QueueState::Idle, _) => Some((Level::Info, "queue_stopped", format!("{id} has stopped."))),
            _ => None,
        };
        if let Some((level, code, text)) = line {
            self.say_queue(queue, level, code, &text, Some(&job.scan));
        }
        self.perform(&mut inner, &job.queue, effect);
        self.tell_queue(&mut inner, &job.queue);
        self.keep_queue(&mut inner, &job.queue);
        self.trim(&mut inner);
        self.resolve(&mut inner);
    }

    /// Its status is another one: told, kept, and what waits for it is ended.
    pub(super) fn scan_changed(&self, inner: &mut Inner, id: &str) {
        let queue = inner.scans.get(id).and_then(|scan| scan.queue.clone());
        self.tell_scan(inner, id);
        self.keep_scan(inner, id);
        if let Some(queue) =
            queue.filter(|queue| inner.queues.get(queue).is_some_and(|q| q.current.as_deref() == Some(id)))
        {
            self.tell_queue(inner, &queue);
        }
        self.resolve(inner);
    }

    /// The alert of a scan; one whatever goes wrong with it.
    pub(super) fn raise(&self, scan: &mut Scan, why: &str) {
        scan.alerted = true;
        let what =
            if scan.machine.executor() == Executor::External { "the program" } else { "the instrument" };
        self.context.alerts.raise(
            &format!("scan.{}", scan.id),
            Severity::Major,
            &format!("{}: {why}.", scan.id),
            &format!("Look at {what} and the scan's log; then resume it, or abort it and queue it again."),
        );
    }

    /// Its alert is over.
    pub(super) fn clear(&self, scan: &mut Scan, why: &str) {
        if std::mem::take(&mut scan.alerted) {
            self.context.alerts.clear(&format!("scan.{}", scan.id), &format!("{}: {why}.", scan.id));
        }
    }
}

/// Whether it is still this scan's turn.
fn is_next(inner: &Inner, job: &Job) -> bool {
    inner.queues.get(&job.queue).and_then(|queue| queue.next()) == Some(&job.scan)
}
