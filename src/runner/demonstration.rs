//! An operator for the simulated bench: keeps its queue supplied with IV scans, by what any operator can do.
//!
//! **The rule.** It makes `QUEUE_001`, adds a batch and starts it. When a batch is completed it adds the next one, and when
//! the daemon was started again while the queue ran it resumes it, which it may because nothing but a simulation moves: it
//! does either only as long as the queue has the bench's name and nothing but the bench's scans wait in it.
//! Whatever else the queue waits for is a person's: paused, stopped, aborted, paused by an error or removed, it stays
//! so until a person does something; a removed one comes back with the next start. Of its own scans it keeps
//! the last [`KEPT`] that have ended.
//!
//! Owns the thread `demo`. Does not: touch instruments, or scans that others have added.

use super::lab::{Lab, LabError, NewQueue, QueueChange, ScanFilter};
use crate::bus::{Bus, Command, Commands, Submitted};
use crate::clock::Wall;
use crate::limits;
use crate::model::{InstrumentState, InstrumentStatus, OnFailure, QueueState, QueueStatus, ScanState};
use crate::sources::Context;
use crate::threads;
use serde_json::{Map, Value, json};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The bench's queue.
const QUEUE: &str = "QUEUE_001";
/// Who adds its scans.
const WHO: &str = "bench";
/// What it is called. One with another name is somebody's own.
const QUEUE_NAME: &str = "IV curves";
/// Scans of one batch.
const BATCH: u64 = 5;
/// Rest between two batches.
const REST: Duration = Duration::from_secs(5);
/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);
/// Its own ended scans beyond this many go, the oldest first.
const KEPT: usize = 50;
/// What it scans with.
const INSTRUMENTS: [&str; 2] = ["psu", "dmm"];
/// What the names of its scans begin with.
const NAME: &str = "IV curve ";

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Make the queue, with a batch in it.
    Create,
    /// Add a batch.
    Add,
    Start,
    Resume,
}

/// What it remembers between two looks. Pure.
#[derive(Debug, Default)]
struct Demonstration {
    /// It has found the queue as the start of the daemon left it, and dealt with that.
    begun: bool,
    /// It has added a batch and the queue has not run since.
    starts: bool,
    /// Since when the queue has been completed.
    completed: Option<Duration>,
    /// Scans it has added.
    added: u64,
}

impl Demonstration {
    /// What to do about a queue that stands like this.
    fn look(&mut self, queue: Option<&QueueStatus>, now: Duration) -> Option<Act> {
        let Some(queue) = queue else { return (!self.begun).then_some(Act::Create) };
        if queue.status != QueueState::Completed {
            self.completed = None;
        }
        let was_restarted = queue.pause_reason.as_deref() == Some("restart");
        let act = match queue.status {
            QueueState::Idle if self.starts => Some(Act::Start),
            // Made, and not filled: the daemon ended between the two.
            QueueState::Idle if !self.begun && queue.total_scans == 0 => Some(Act::Add),
            QueueState::Paused if !self.begun && was_restarted => Some(Act::Resume),
            QueueState::Completed => {
                let since = *self.completed.get_or_insert(now);
                (now.saturating_sub(since) >= REST).then_some(Act::Add)
            }
            _ => None,
        };
        if queue.status == QueueState::Running {
            self.starts = false;
        }
        if act.is_none() {
            self.begun = true;
        }
        act
    }

    /// It was done.
    fn did(&mut self, act: Act) {
        self.begun = true;
        match act {
            Act::Create | Act::Add => {
                self.added += BATCH;
                self.starts = true;
            }
            Act::Start => self.starts = false,
            Act::Resume => {}
        }
    }

    /// What was to be done is not, as the queue has become somebody's.
    fn leave(&mut self) {
        (self.begun, self.starts, self.completed) = (true, false, None);
    }

    /// The scans of the next batch.
    fn batch(&self) -> Vec<Value> {
        (self.added..self.added + BATCH).map(description).collect()
    }
}

/// The `n`-th scan: up to where the diode conducts, in round steps, which takes half a minute to one.
fn description(n: u64) -> Value {
    let points = [61, 76, 101].get(n as usize % 3).copied().unwrap_or(61);
    json!({
        "name": format!("{NAME}{} K", 280 + 10 * (3 * n % 5)),
        "before": [{ "set": "psu.output", "value": "on" }],
        "axes": [{ "set": "psu.voltage", "start": 0.0, "stop": 0.75, "points": points, "settle_s": 0.4 }],
        "measure": ["dmm.voltage", "dmm.current"],
        "on_error": { "retry": 3, "then": "pause" },
        "always": [{ "set": "psu.voltage", "value": 0.0 }],
    })
}

/// Whether a queue is the bench's: it has its name, and what waits or runs in it does what scans of the bench do.
fn is_own(queue: &QueueStatus, waiting: &[Option<Value>]) -> bool {
    // The least common multiple of what `description` counts by.
    let own: Vec<Value> = (0..15).map(description).collect();
    let does = |scan: &Value| {
        let mut scan = scan.clone();
        own.iter().any(|own| {
            scan["name"] = own["name"].clone();
            scan == *own
        })
    };
    queue.name.as_deref() == Some(QUEUE_NAME) && waiting.iter().all(|scan| scan.as_ref().is_some_and(does))
}

/// Starts it; the context's stop ends it.
///
/// # Errors
/// When the system has no thread left.
pub fn start(context: &Context, lab: &Arc<Lab>) -> io::Result<JoinHandle<()>> {
    let operator = Operator {
        lab: Arc::clone(lab),
        bus: Arc::clone(&context.bus),
        commands: Arc::clone(&context.commands),
        failed: None,
    };
    let stop = context.stop.clone();
    threads::spawn("demo", limits::STACK, move || {
        let (mut operator, mut demonstration) = (operator, Demonstration::default());
        let begin = Instant::now();
        while !stop.wait(LOOK) {
            let queue = operator.lab.queue(QUEUE);
            if !operator.is_ready() {
                continue;
            }
            if let Some(act) = demonstration.look(queue.as_ref(), begin.elapsed()) {
                if queue.is_some_and(|queue| !operator.is_own(&queue)) {
                    demonstration.leave();
                    continue;
                }
                let done = operator.act(act, &demonstration);
                if done.is_ok() {
                    demonstration.did(act);
                }
                operator.say(done);
            }
        }
    })
}

/// What does it.
struct Operator {
    lab: Arc<Lab>,
    bus: Arc<Bus>,
    commands: Arc<Commands>,
    /// What went wrong last, which is said once.
    failed: Option<String>,
}

impl Operator {
    /// Whether the instruments answer.
    fn is_ready(&self) -> bool {
        INSTRUMENTS.iter().all(|id| {
            let event = self.bus.state_of(&format!("instrument_status/{id}"));
            let status = event.and_then(|event| {
                let payload: Value = serde_json::from_str(event.data()).ok()?;
                serde_json::from_value::<InstrumentStatus>(payload.get("payload")?.clone()).ok()
            });
            status.is_some_and(|status| {
                !matches!(status.status, InstrumentState::Disconnected | InstrumentState::Error)
                    && status.connected != Some(false)
            })
        })
    }

    /// Whether the queue is the bench's, and all that would move with it.
    fn is_own(&self, queue: &QueueStatus) -> bool {
        let descriptions: Vec<Option<Value>> =
            queue.order.iter().map(|id| self.lab.scan(id).map(|scan| scan.description)).collect();
        is_own(queue, &descriptions)
    }

    fn act(&self, act: Act, demonstration: &Demonstration) -> Result<(), LabError> {
        match act {
            Act::Create => {
                let change = QueueChange {
                    name: Some(QUEUE_NAME.into()),
                    on_failure: Some(OnFailure::Continue),
                    ..QueueChange::default()
                };
                let wish = NewQueue { queue_id: Some(QUEUE.into()), change };
                match self.lab.create_queue(wish) {
                    Ok(_) => self.fill(demonstration),
                    Err(e) => Err(e),
                }
            }
            Act::Add => self.fill(demonstration),
            Act::Start => self.command("start"),
            Act::Resume => self.command("resume"),
        }
    }

    fn fill(&self, demonstration: &Demonstration) -> Result<(), LabError> {
        self.clear_away();
        self.lab.add_scans(QUEUE, demonstration.batch(), false, Some(WHO)).map(drop)
    }

    /// Removes its oldest scans.
    fn clear_away(&self) {
        let filter = ScanFilter {
            queue_id: Some(QUEUE.into()),
            status: vec![ScanState::Completed, ScanState::Aborted, ScanState::Failed],
            text: Some(NAME.trim_end().into()),
        };
        let ended = self.lab.scans(&filter, None, 4 * KEPT).items;
        let own = ended.iter().filter(|scan| {
            scan.name.as_deref().is_some_and(|name| name.starts_with(NAME)) && scan.more.retry_of.is_none()
        });
        for scan in own.skip(KEPT) {
            if let Err(e) = self.lab.remove_scan(&scan.scan_id, Some(WHO)) {
                log::debug!("the bench's queue: {} stays: {e}", scan.scan_id);
            }
        }
    }

    fn command(&self, action: &str) -> Result<(), LabError> {
        let command = Command {
            id: format!("{WHO}-{action}-{}", Wall::now().0),
            target: format!("queue/{QUEUE}"),
            action: action.into(),
            params: Map::new(),
            by: Some(WHO.into()),
            reason: None,
        };
        match self.commands.submit(command) {
            Submitted::Accepted(_) | Submitted::Known(_) => Ok(()),
            _ => Err(LabError::Full(format!("{action} was not taken"))),
        }
    }

    /// What fails is said once.
    fn say(&mut self, done: Result<(), LabError>) {
        let failed = done.err().map(|e| e.to_string());
        if let Some(why) = &failed
            && self.failed != failed
        {
            log::warn!("the bench's queue: {why}; trying again");
        }
        self.failed = failed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(status: QueueState, pause_reason: Option<&str>, total_scans: u64) -> QueueStatus {
        QueueStatus {
            queue_id: QUEUE.into(),
            name: None,
            status,
            current_scan: None,
            completed_scans: 0,
            total_scans,
            order_version: 1,
            timestamp: Wall(0),
            pending: None,
            failed_scans: 0,
            aborted_scans: 0,
            order: Vec::new(),
            progress: None,
            eta_s: None,
            pause_reason: pause_reason.map(str::to_string),
            allowed_actions: Vec::new(),
            on_failure: None,
            looped: None,
            autostart: None,
            running_since: None,
            removed: false,
        }
    }

    /// Looks once a second, does what is to be done, and gives that.
    fn looks(
        demonstration: &mut Demonstration,
        queue: Option<&QueueStatus>,
        from: u64,
        times: u64,
    ) -> Vec<Act> {
        let mut acts = Vec::new();
        for second in from..from + times {
            if let Some(act) = demonstration.look(queue, Duration::from_secs(second)) {
                demonstration.did(act);
                acts.push(act);
            }
        }
        acts
    }

    #[test]
    fn the_queue_is_made_filled_started_and_filled_again() {
        let mut demo = Demonstration::default();
        assert_eq!(demo.look(None, Duration::ZERO), Some(Act::Create));
        assert_eq!(demo.look(None, Duration::ZERO), Some(Act::Create), "it did not work: once more");
        demo.did(Act::Create);
        let idle = queue(QueueState::Idle, None, BATCH);
        assert_eq!(looks(&mut demo, Some(&idle), 1, 5), [Act::Start]);
        let running = queue(QueueState::Running, None, BATCH);
        assert_eq!(looks(&mut demo, Some(&running), 6, 100), []);
        let completed = queue(QueueState::Completed, None, BATCH);
        assert_eq!(looks(&mut demo, Some(&completed), 200, 5), [], "it rests");
        assert_eq!(looks(&mut demo, Some(&completed), 205, 1), [Act::Add]);
        assert_eq!(looks(&mut demo, Some(&idle), 206, 5), [Act::Start]);
    }

    /// What a person did stays.
    #[test]
    fn what_a_person_did_stays() {
        for (status, reason) in [
            (QueueState::Paused, Some("user")),
            (QueueState::Paused, Some("scan_aborted")),
            (QueueState::Paused, Some("scan_paused")),
            (QueueState::Paused, Some("scan_failed")),
            (QueueState::Idle, None),
            (QueueState::Stopping, None),
        ] {
            // From the start of the daemon on, and after the queue has run.
            let found = queue(status, reason, 3);
            assert_eq!(
                looks(&mut Demonstration::default(), Some(&found), 0, 60),
                [],
                "{status:?} {reason:?}"
            );
            let mut demo = Demonstration::default();
            assert_eq!(looks(&mut demo, Some(&queue(QueueState::Running, None, 5)), 0, 5), []);
            assert_eq!(looks(&mut demo, Some(&found), 5, 60), [], "{status:?} {reason:?}");
            assert_eq!(looks(&mut demo, None, 100, 60), [], "removed");
        }
    }

    #[test]
    fn after_a_restart_it_goes_on_once() {
        let paused = queue(QueueState::Paused, Some("restart"), 5);
        let mut demo = Demonstration::default();
        assert_eq!(looks(&mut demo, Some(&paused), 0, 1), [Act::Resume]);
        assert_eq!(looks(&mut demo, Some(&queue(QueueState::Running, None, 5)), 1, 5), []);
        let mut demo = Demonstration::default();
        assert_eq!(looks(&mut demo, Some(&queue(QueueState::Idle, None, 0)), 0, 1), [Act::Add]);
    }

    /// Somebody's scans in that queue, or a queue of his with that id, would have moved unasked.
    #[test]
    fn what_somebody_added_is_not_started() {
        let named = |name: &str| QueueStatus {
            name: Some(name.into()),
            ..queue(QueueState::Paused, Some("restart"), 5)
        };
        let batch = |more: &[Value]| -> Vec<Option<Value>> {
            Demonstration::default().batch().into_iter().chain(more.iter().cloned()).map(Some).collect()
        };
        assert!(is_own(&named(QUEUE_NAME), &batch(&[])));
        assert!(is_own(&named(QUEUE_NAME), &[]));
        assert!(!is_own(&named("My samples"), &batch(&[])));
        assert!(!is_own(&named(QUEUE), &[]));
        let mut other = description(0);
        other["axes"][0]["set"] = json!("heater.power");
        assert!(!is_own(&named(QUEUE_NAME), &batch(&[other])));
        assert!(!is_own(&named(QUEUE_NAME), &[None]));
        // Left alone, and for good: it does not go on when that scan is gone.
        let mut demo = Demonstration::default();
        assert_eq!(demo.look(Some(&named(QUEUE_NAME)), Duration::ZERO), Some(Act::Resume));
        demo.leave();
        assert_eq!(looks(&mut demo, Some(&named(QUEUE_NAME)), 1, 60), []);
    }

    #[test]
    fn scans_take_half_a_minute_to_one() {
        for n in 0..20 {
            let scan = description(n);
            let points = scan["axes"][0]["points"].as_u64().unwrap();
            let settled = points as f64 * scan["axes"][0]["settle_s"].as_f64().unwrap();
            assert!((60..=101).contains(&points) && (20.0..60.0).contains(&settled), "{scan}");
        }
        let demo = Demonstration { added: 5, ..Demonstration::default() };
        assert_eq!(demo.batch()[0], description(5));
    }
}
