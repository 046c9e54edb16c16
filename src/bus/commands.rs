//! Commands: taken from outside, handed to the source that owns the target, ended by an observed effect.
//!
//! Accepted is not done: [`Commands::submit`] only hands over; the owner calls [`Commands::finish`] when it has seen
//! the effect, and that publishes `command_result`. A command nobody finishes in time ends as `timed_out`.

use super::Bus;
use crate::limits;
use crate::model::{CommandResult, CommandState, Draft, Topic};
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
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
    pub params: serde_json::Map<String, serde_json::Value>,
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
}

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
}

impl Commands {
    /// A desk that publishes outcomes on `bus`.
    pub fn new(bus: Arc<Bus>) -> Self {
        Commands { bus, inner: Mutex::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
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
        let mut inner = self.lock();
        if let Some(known) = inner.known.get(&command.id) {
            return Submitted::Known(known.result.clone());
        }
        let Some(owner) = inner.owners.get(&command.target) else { return Submitted::NoTarget };
        if !owner.actions.contains(&command.action) {
            return Submitted::NoAction(owner.actions.clone());
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
        match owner.to.try_send(command) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Submitted::Busy,
            Err(TrySendError::Disconnected(_)) => return Submitted::NoTarget,
        }
        inner.known.insert(
            id.clone(),
            Known { result: result.clone(), since: Instant::now(), within: limits::COMMAND_TIME },
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

    /// The action of the newest command for `target` that has not ended: its owner may not have come to it yet.
    pub fn newest_open(&self, target: &str) -> Option<String> {
        let inner = self.lock();
        let open = |id: &String| {
            let result = &inner.known.get(id)?.result;
            (result.target == target && result.state == CommandState::Accepted).then(|| result.action.clone())
        };
        inner.order.iter().rev().find_map(open)
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
        assert_eq!(commands.newest_open("recorder/r").as_deref(), Some("start"));
        commands.finish("1", CommandState::Completed, Some("recording"), None);
        commands.finish("1", CommandState::Failed, None, Some("too late"));
        assert_eq!(bus.head().seq, 1);
        assert_eq!(commands.lookup("1").unwrap().state, CommandState::Completed);
        assert!(commands.lookup("2").is_none() && commands.newest_open("recorder/r").is_none());
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
