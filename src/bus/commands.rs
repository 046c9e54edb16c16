//! Commands: taken from outside, handed to the source that owns the target, ended by an observed effect.
//!
//! Accepted is not done: [`Commands::submit`] only hands over; the owner calls [`Commands::finish`] when it has seen
//! the effect, and that publishes `command_result`. A command nobody finishes in time ends as `timed_out`.

use super::Bus;
use crate::limits;
use crate::model::{CommandResult, CommandState, Draft, Topic};
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use serde_json::{Map, Value};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// A command on its way to the owner of its target.
#[derive(Clone, Debug)]
pub struct Command {
    /// Unique; a second submit with the same id is the same command.
    pub id: String,
    /// A topic, such as `recorder/rec1`.
    pub target: String,
    /// Such as `start`.
    pub action: String,
    /// The rest of the request's JSON.
    pub params: Map<String, Value>,
    /// Who asked.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// What became of a submit.
#[derive(Debug)]
pub enum Submitted {
    /// Handed to the owner; 202.
    Accepted(CommandResult),
    /// This id was submitted before; this is how it stands.
    Known(CommandResult),
    /// Nobody owns the target; 404.
    NoTarget,
    /// The owner does not know the action; 404. Lists those it knows.
    NoAction(Vec<String>),
    /// The owner has too many waiting; 503.
    Busy,
    /// An alert keeps commands from the target; 409.
    Blocked(Refusal),
}

/// Why a command is not possible: an interlock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The alert, or the rule whose alert it would be.
    pub alert: String,
    /// What is the matter and what to do.
    pub text: String,
}

/// The code of commands that an interlock refuses.
pub const INTERLOCK: &str = "interlock";

/// Says what is in the way of an action on a target with these parameters.
type Guard = Box<dyn Fn(&str, &str, &Map<String, Value>) -> Option<Refusal> + Send + Sync>;

/// What is known of a command id.
pub type Lookup = Option<CommandResult>;

struct Owner {
    actions: Vec<String>,
    to: Sender<Command>,
    /// Called after each, where it waits for something else as well.
    wake: Option<Arc<dyn Fn() + Send + Sync>>,
}

struct Known {
    result: CommandResult,
    since: Instant,
    /// The time it has.
    within: Duration,
    /// The rest of what was asked, until it has ended.
    params: Map<String, Value>,
}

#[derive(Default)]
struct Inner {
    owners: HashMap<String, Owner>,
    known: HashMap<String, Known>,
    order: VecDeque<String>,
}

/// The desk between those who ask and those who do.
pub struct Commands {
    bus: Arc<Bus>,
    inner: Mutex<Inner>,
    guard: OnceLock<Guard>,
}

impl Commands {
    /// A desk that publishes outcomes on `bus`.
    pub fn new(bus: Arc<Bus>) -> Self {
        Commands { bus, inner: Mutex::default(), guard: OnceLock::new() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// `guard` is asked before a command is handed over, without any lock; the first one stays.
    pub fn guard(
        &self,
        guard: impl Fn(&str, &str, &Map<String, Value>) -> Option<Refusal> + Send + Sync + 'static,
    ) {
        let _ = self.guard.set(Box::new(guard));
    }

    /// What is in the way of this, now. Whoever acts on a target asks right before it does.
    pub fn refusal(&self, target: &str, action: &str, params: &Map<String, Value>) -> Option<Refusal> {
        self.guard.get().and_then(|guard| guard(target, action, params))
    }

    /// Makes the caller the owner of `target`, such as `recorder/rec1`.
    pub fn own(&self, target: &str, actions: &[&str]) -> Receiver<Command> {
        let (to, from) = bounded(16);
        self.own_with(target, actions, to);
        from
    }

    /// The same for an owner of several targets with one channel.
    pub fn own_with(&self, target: &str, actions: &[&str], to: Sender<Command>) {
        self.put_owner(target, actions, to, None);
    }

    /// The same for an owner that has to be woken.
    pub fn own_waking(
        &self,
        target: &str,
        actions: &[&str],
        to: Sender<Command>,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) {
        self.put_owner(target, actions, to, Some(wake));
    }

    fn put_owner(
        &self,
        target: &str,
        actions: &[&str],
        to: Sender<Command>,
        wake: Option<Arc<dyn Fn() + Send + Sync>>,
    ) {
        let actions = actions.iter().map(|a| (*a).to_string()).collect();
        self.lock().owners.insert(target.to_string(), Owner { actions, to, wake });
    }

    /// Nobody owns `target` any more, such as a scan that is over.
    pub fn disown(&self, target: &str) {
        self.lock().owners.remove(target);
    }

    /// What `target` can be told to do; nothing where nobody owns it.
    pub fn actions(&self, target: &str) -> Vec<String> {
        self.lock().owners.get(target).map(|owner| owner.actions.clone()).unwrap_or_default()
    }

    /// Hands a command to its owner.
    pub fn submit(&self, command: Command) -> Submitted {
        let refused = self.refusal(&command.target, &command.action, &command.params);
        let mut inner = self.lock();
        if let Some(known) = inner.known.get(&command.id) {
            return Submitted::Known(known.result.clone());
        }
        let Some(owner) = inner.owners.get(&command.target) else { return Submitted::NoTarget };
        if !owner.actions.contains(&command.action) {
            return Submitted::NoAction(owner.actions.clone());
        }
        if let Some(refusal) = refused {
            return Submitted::Blocked(refusal);
        }
        let result = CommandResult {
            command_id: command.id.clone(),
            action: command.action.clone(),
            target: command.target.clone(),
            state: CommandState::Accepted,
            status: None,
            code: None,
            latency_ms: 0,
            reason: command.reason.clone(),
        };
        let id = command.id.clone();
        let wake = owner.wake.clone();
        let params = command.params.clone();
        match owner.to.try_send(command) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Submitted::Busy,
            Err(TrySendError::Disconnected(_)) => return Submitted::NoTarget,
        }
        inner.known.insert(
            id.clone(),
            Known { result: result.clone(), since: Instant::now(), within: limits::COMMAND_TIME, params },
        );
        inner.order.push_back(id);
        while inner.order.len() > limits::COMMANDS {
            if let Some(oldest) = inner.order.pop_front() {
                inner.known.remove(&oldest);
            }
        }
        drop(inner);
        if let Some(wake) = wake {
            wake();
        }
        Submitted::Accepted(result)
    }

    /// Says how a command ended; the first end counts. Publishes `command_result` on the target's topic.
    pub fn finish(&self, id: &str, state: CommandState, status: Option<&str>, reason: Option<&str>) {
        self.finish_as(id, state, None, status, reason);
    }

    /// The same with a code that programs understand.
    pub fn finish_as(
        &self,
        id: &str,
        state: CommandState,
        code: Option<&str>,
        status: Option<&str>,
        reason: Option<&str>,
    ) {
        let result = {
            let mut inner = self.lock();
            let Some(known) = inner.known.get_mut(id) else { return };
            if known.result.state != CommandState::Accepted {
                return;
            }
            known.params.clear();
            known.result.state = state;
            known.result.status = status.map(str::to_string);
            known.result.code = code.map(str::to_string);
            known.result.latency_ms = known.since.elapsed().as_millis() as u64;
            if let Some(reason) = reason {
                known.result.reason = Some(reason.to_string());
            }
            known.result.clone()
        };
        // Services share one topic.
        let topic = result.target.starts_with("service/").then(|| Topic::parse("services").ok()).flatten();
        match Draft::on("command_result", topic, &result) {
            Ok(draft) => drop(self.bus.publish(draft)),
            Err(e) => ::log::error!("command {id} could not be reported: {e}"),
        }
    }

    /// Its owner ends it within this time, which may be longer than the one that all have.
    pub fn allow(&self, id: &str, within: Duration) {
        if let Some(known) = self.lock().known.get_mut(id) {
            known.within = known.within.max(within);
        }
    }

    /// How a command stands.
    pub fn lookup(&self, id: &str) -> Lookup {
        self.lock().known.get(id).map(|known| known.result.clone())
    }

    /// Whether the newest command for `target` that has not ended wants just this: its owner may not have come to it yet.
    pub fn is_asked(&self, target: &str, action: &str, params: &Map<String, Value>) -> bool {
        let inner = self.lock();
        let open =
            |known: &&Known| known.result.target == target && known.result.state == CommandState::Accepted;
        let newest = inner.order.iter().rev().filter_map(|id| inner.known.get(id)).find(open);
        newest.is_some_and(|known| known.result.action == action && known.params == *params)
    }

    /// Whether this was asked of `target` and has not ended, whatever else was asked with it.
    pub fn awaits(&self, target: &str, action: &str) -> bool {
        let open = |known: &Known| {
            let result = &known.result;
            result.state == CommandState::Accepted && result.action == action && result.target == target
        };
        self.lock().known.values().any(open)
    }

    /// Ends what nobody finished in time; called about once a second.
    pub fn expire(&self) {
        let late: Vec<String> = self
            .lock()
            .known
            .iter()
            .filter(|(_, k)| k.result.state == CommandState::Accepted && k.since.elapsed() > k.within)
            .map(|(id, _)| id.clone())
            .collect();
        for id in late {
            self.finish(&id, CommandState::TimedOut, None, Some("no effect was observed in time"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Start;

    fn command(id: &str, target: &str, action: &str) -> Command {
        Command {
            id: id.into(),
            target: target.into(),
            action: action.into(),
            params: Default::default(),
            by: None,
            reason: None,
        }
    }

    #[test]
    fn a_command_ends_once_and_by_its_owner() {
        let bus = Arc::new(Bus::new(Start::default(), Arc::default()));
        let commands = Commands::new(Arc::clone(&bus));
        assert!(matches!(commands.submit(command("1", "recorder/r", "start")), Submitted::NoTarget));
        let inbox = commands.own("recorder/r", &["start"]);
        assert_eq!(
            (commands.actions("recorder/r"), commands.actions("recorder/x")),
            (vec!["start".to_string()], vec![])
        );
        assert!(matches!(commands.submit(command("1", "recorder/r", "fly")), Submitted::NoAction(_)));
        assert!(matches!(commands.submit(command("1", "recorder/r", "start")), Submitted::Accepted(_)));
        assert!(matches!(commands.submit(command("1", "recorder/r", "start")), Submitted::Known(_)));
        assert_eq!(inbox.try_iter().count(), 1, "a second submit of the same id is the same command");
        assert_eq!(bus.head().seq, 0, "accepted is not done");
        let (none, later) = (serde_json::Map::new(), serde_json::json!({"mode": "later"}));
        assert!(commands.is_asked("recorder/r", "start", &none));
        assert!(!commands.is_asked("recorder/r", "start", later.as_object().unwrap()), "another wish");
        assert!(
            !commands.is_asked("recorder/r", "stop", &none)
                && !commands.is_asked("recorder/x", "start", &none)
        );
        let awaits = |target: &str, action: &str| commands.awaits(target, action);
        assert!(
            awaits("recorder/r", "start") && !awaits("recorder/x", "start") && !awaits("recorder/r", "stop")
        );
        commands.finish("1", CommandState::Completed, Some("recording"), None);
        commands.finish("1", CommandState::Failed, None, Some("too late"));
        assert_eq!(bus.head().seq, 1);
        assert_eq!(commands.lookup("1").unwrap().state, CommandState::Completed);
        assert!(!awaits("recorder/r", "start"));
        assert!(commands.lookup("2").is_none() && !commands.is_asked("recorder/r", "start", &none));
    }

    #[test]
    fn an_owner_that_does_not_take_them_is_busy_and_one_that_is_gone_is_no_target() {
        let commands = Commands::new(Arc::new(Bus::new(Start::default(), Arc::default())));
        let inbox = commands.own("recorder/r", &["start"]);
        let answers: Vec<_> =
            (0..20).map(|n| commands.submit(command(&n.to_string(), "recorder/r", "start"))).collect();
        assert!(matches!(answers.last(), Some(Submitted::Busy)));
        drop(inbox);
        assert!(matches!(commands.submit(command("x", "recorder/r", "start")), Submitted::NoTarget));
    }
}
