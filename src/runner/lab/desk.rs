//! What is asked of the desk directly, and answered when it is on the disk: queues, their order, templates, lists.

use super::queues::{self, Queue};
use super::scans::Scan;
use super::{
    Conflict, Inner, Lab, LabError, NewQueue, Place, QueueChange, ScanDetail, ScanFilter, ScanPage, Template,
    conflict, unknown,
};
use crate::clock::Wall;
use crate::limits;
use crate::model::{CommandState, Draft, Level, QueueStatus, ScanState, ScanStatus, Topic};
use crate::runner::machine::{Ask, Executor, QueueEffect, QueueEvent, Verdict};
use crate::runner::plan::{Fault, Plan};
use serde_json::Value;
use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// A scan of a list.
enum Listed<'a> {
    Ours(&'a Scan),
    Program(&'a ScanStatus),
}

impl Lab {
    /// Makes a queue.
    ///
    /// # Errors
    /// Its id is taken or not one, or there are too many.
    pub fn create_queue(&self, wish: NewQueue) -> Result<QueueStatus, LabError> {
        let status = {
            let mut inner = self.lock();
            if inner.queues.len() >= limits::QUEUES {
                return Err(LabError::Full(format!("there are {} queues already", limits::QUEUES)));
            }
            let id = match wish.queue_id {
                Some(id) => {
                    let taken = self.context.bus.state_of(&format!("queue_status/{id}"));
                    if inner.queues.contains_key(&id)
                        || taken.is_some_and(|event| !event.payload().contains("\"removed\":true"))
                    {
                        return Err(conflict("exists", format!("there is a queue {id} already")));
                    }
                    checked_id("queue_id", id)?
                }
                None => self.new_queue_id(&mut inner),
            };
            let change = wish.change;
            let machine = queues::machine(change.on_failure, change.looped, change.autostart);
            let name = change.name.map(short).or_else(|| Some(id.clone()));
            let queue = Queue::new(id.clone(), name, machine);
            self.say_queue(&queue, Level::Info, "queue_created", &format!("{id} was created."), None);
            inner.queues.insert(id.clone(), queue);
            self.own_queue(&id);
            self.keep_queue(&mut inner, &id);
            self.tell_queue(&mut inner, &id);
            self.queue_now(&inner, &id)?
        };
        self.on_disk()?;
        Ok(status)
    }

    /// Changes a queue.
    ///
    /// # Errors
    /// There is no such queue.
    pub fn change_queue(self: &Arc<Self>, id: &str, change: QueueChange) -> Result<QueueStatus, LabError> {
        let status = {
            let mut inner = self.lock();
            let queue = inner.queues.get_mut(id).ok_or_else(|| unknown("queue", id))?;
            if let Some(name) = change.name {
                queue.name = Some(short(name));
            }
            let machine = &mut queue.machine;
            machine.on_failure = change.on_failure.unwrap_or(machine.on_failure);
            machine.looped = change.looped.unwrap_or(machine.looped);
            machine.autostart = change.autostart.unwrap_or(machine.autostart);
            let text = format!(
                "{id} was changed: after a failure it {}; loop {}, autostart {}.",
                if machine.on_failure == crate::model::OnFailure::Pause { "pauses" } else { "goes on" },
                if machine.looped { "on" } else { "off" },
                if machine.autostart { "on" } else { "off" },
            );
            self.say_queue(queue, Level::Info, "queue_changed", &text, None);
            self.keep_queue(&mut inner, id);
            self.tell_queue(&mut inner, id);
            self.queue_now(&inner, id)?
        };
        self.on_disk()?;
        Ok(status)
    }

    /// Removes a queue with the scans that wait in it. Scans that have ended stay.
    ///
    /// # Errors
    /// There is no such queue, or it is at work.
    pub fn remove_queue(&self, id: &str) -> Result<(), LabError> {
        {
            let mut inner = self.lock();
            let queue = inner.queues.get(id).ok_or_else(|| unknown("queue", id))?;
            if queue.is_busy() || queue.thread.is_some() && queue.next().is_some() {
                return Err(LabError::Conflict(Box::new(Conflict {
                    code: "not_now",
                    detail: format!("{id} is at work; stop or abort it first"),
                    from: Some(super::commands::queue_word(queue.machine.status())),
                    allowed_actions: queue.machine.allowed(),
                    ..Conflict::default()
                })));
            }
            let order = queue.order.clone();
            self.take_out(&mut inner, &order, "its queue was removed", None);
            self.context.commands.disown(&format!("queue/{id}"));
            if let Some(mut queue) = inner.queues.remove(id) {
                queue.order.clear();
                let mut status = queue.status(&inner.scans, Instant::now());
                (status.removed, status.allowed_actions) = (true, Vec::new());
                self.publish(Draft::of("queue_status", &status).ok().map(Draft::retired));
                queue.poke();
            }
            self.drop_row(&mut inner, "queue", id);
        }
        self.on_disk()
    }

    /// Adds scans to a queue, all or none. Gives them as they stand, and the version of the order.
    ///
    /// # Errors
    /// There is no such queue, a description has faults, or the queue is full.
    pub fn add_scans(
        self: &Arc<Self>,
        queue: &str,
        descriptions: Vec<Value>,
        front: bool,
        by: Option<&str>,
    ) -> Result<(Vec<ScanStatus>, u64), LabError> {
        if descriptions.is_empty() {
            return Err(LabError::Invalid(
                "scans",
                "there is no scan; expected a description or several".into(),
            ));
        }
        let plans = self.plans(descriptions)?;
        let added = {
            let mut inner = self.lock();
            let room = {
                let queue = inner.queues.get(queue).ok_or_else(|| unknown("queue", queue))?;
                limits::QUEUED_SCANS.saturating_sub(queue.order.len())
            };
            if plans.len() > room {
                return Err(LabError::Full(format!(
                    "{queue} has room for {room} more scans, and {} were sent",
                    plans.len()
                )));
            }
            has_room(&inner, &plans)?;
            let ids = self.enqueue(&mut inner, queue, plans, front, |_, _| ());
            let text = match ids.as_slice() {
                [only] => format!("{only} was added{}.", by_whom(by)),
                [first, .., last] => {
                    format!("{} scans were added{}: {first} to {last}.", ids.len(), by_whom(by))
                }
                [] => String::new(),
            };
            if let Some(queue) = inner.queues.get(queue) {
                self.say_queue(queue, Level::Info, "scans_added", &text, ids.first().map(String::as_str));
            }
            let items =
                ids.iter().filter_map(|id| inner.scans.get(id)).map(|s| s.status(Instant::now())).collect();
            let version = inner.queues.get(queue).map_or(0, |queue| queue.order_version);
            (items, version)
        };
        self.on_disk()?;
        Ok(added)
    }

    /// Checks descriptions, all of them.
    fn plans(&self, descriptions: Vec<Value>) -> Result<Vec<(Value, Plan)>, LabError> {
        let mut plans = Vec::new();
        let mut faults: Vec<(usize, Fault)> = Vec::new();
        for (n, description) in descriptions.into_iter().enumerate() {
            let bytes = description.to_string().len();
            if bytes > limits::DESCRIPTION_BYTES {
                let detail =
                    format!("the description has {bytes} bytes; at most {}", limits::DESCRIPTION_BYTES);
                faults.push((n, Fault { field: String::new(), code: "too_large", detail }));
                continue;
            }
            match self.validate(&description) {
                Ok(plan) => plans.push((description, plan)),
                Err(found) => faults.extend(found.into_iter().map(|fault| (n, fault))),
            }
        }
        if faults.is_empty() { Ok(plans) } else { Err(LabError::Faults(faults)) }
    }

    /// Puts checked scans into a queue; `change` may still change each, given its number among them.
    pub(super) fn enqueue(
        self: &Arc<Self>,
        inner: &mut Inner,
        queue_id: &str,
        plans: Vec<(impl Into<Arc<Value>>, Plan)>,
        front: bool,
        change: impl Fn(usize, &mut Scan),
    ) -> Vec<String> {
        let mut ids = Vec::new();
        let busy = inner.queues.get(queue_id).is_some_and(Queue::is_busy);
        for (n, (description, plan)) in plans.into_iter().enumerate() {
            let description = description.into();
            let id = self.new_scan_id(inner);
            let mut scan = Scan::new(id.clone(), Some(queue_id.into()), Executor::Builtin, &plan.name);
            scan.take_plan(&plan);
            scan.bytes = description.to_string().len();
            scan.description = description;
            scan.startable = !busy;
            change(n, &mut scan);
            inner.scans.insert(id.clone(), scan);
            self.own_scan(&id);
            self.keep_scan(inner, &id);
            self.tell_scan(inner, &id);
            ids.push(id);
        }
        self.keep_counters(inner);
        let mut effect = None;
        if let Some(queue) = inner.queues.get_mut(queue_id) {
            if queue.machine.status() == crate::model::QueueState::Completed {
                queue.count_anew();
            }
            let at = if front { 0 } else { queue.order.len() };
            queue.order.splice(at..at, ids.iter().cloned());
            queue.order_version += 1;
            effect = queue.machine.event(QueueEvent::Added);
            queue.poke();
        }
        self.perform(inner, queue_id, effect.filter(|effect| *effect == QueueEffect::StartNext));
        self.keep_queue(inner, queue_id);
        self.tell_queue(inner, queue_id);
        ids
    }

    /// Moves a scan that waits.
    ///
    /// # Errors
    /// There is no such queue or scan, it does not wait, or somebody else has changed the order.
    pub fn move_scan(
        &self,
        queue_id: &str,
        scan: &str,
        to: &Place,
        order_version: u64,
    ) -> Result<QueueStatus, LabError> {
        let status = {
            let mut inner = self.lock();
            let queue = inner.queues.get_mut(queue_id).ok_or_else(|| unknown("queue", queue_id))?;
            as_seen(queue, order_version)?;
            if queue.current.as_deref() == Some(scan) {
                return Err(conflict(
                    "not_now",
                    format!("{scan} is under way; only scans that wait can be moved"),
                ));
            }
            let Some(at) = queue.order.iter().position(|id| id == scan) else {
                return Err(unknown("scan that waits there:", scan));
            };
            let mut order = queue.order.clone();
            let moved = order.remove(at);
            let place = |id: &str, after: usize| match order.iter().position(|other| other == id) {
                Some(found) => Ok(found + after),
                // Before itself, or before the one under way.
                None if id == scan => Ok(at),
                None if queue.current.as_deref() == Some(id) && after == 1 => Ok(0),
                None => Err(unknown("scan that waits there:", id)),
            };
            let to = match to {
                Place::Before(id) => place(id, 0)?,
                Place::After(id) => place(id, 1)?,
                Place::Position(n) => (*n).min(order.len()),
            };
            order.insert(to.min(order.len()), moved);
            if order != queue.order {
                queue.order = order;
                queue.order_version += 1;
                let text = format!("{scan} was moved to place {}.", to + 1);
                self.say_queue(queue, Level::Info, "order_changed", &text, Some(scan));
                queue.poke();
                self.keep_queue(&mut inner, queue_id);
                self.tell_queue(&mut inner, queue_id);
            }
            self.queue_now(&inner, queue_id)?
        };
        self.on_disk()?;
        Ok(status)
    }

    /// Takes all scans out of a queue that wait in it; the one under way goes on.
    ///
    /// # Errors
    /// There is no such queue, or somebody else has changed the order.
    pub fn clear_queue(
        &self,
        queue_id: &str,
        order_version: u64,
        by: Option<&str>,
    ) -> Result<QueueStatus, LabError> {
        let status = {
            let mut inner = self.lock();
            let queue = inner.queues.get_mut(queue_id).ok_or_else(|| unknown("queue", queue_id))?;
            as_seen(queue, order_version)?;
            if queue.machine.clear() == Verdict::Accepted {
                let waiting = queue.order.clone();
                let which = match waiting.as_slice() {
                    [first, .., last] => format!("{} scans were removed, {first} to {last}", waiting.len()),
                    rest => format!("{} was removed", rest.concat()),
                };
                let text = format!("{queue_id} was cleared{}: {which}.", by_whom(by));
                self.say_queue(queue, Level::Info, "queue_cleared", &text, None);
                self.take_out(&mut inner, &waiting, "its queue was cleared", by);
            }
            self.queue_now(&inner, queue_id)?
        };
        self.on_disk()?;
        Ok(status)
    }

    /// A new scan that does the same, in the same queue.
    ///
    /// # Errors
    /// There is no such scan, it has not ended, its queue is gone or full, or its description has faults now.
    pub fn requeue(
        self: &Arc<Self>,
        id: &str,
        front: bool,
        by: Option<&str>,
    ) -> Result<ScanStatus, LabError> {
        let (queue, description) = {
            if self.external.has(id) {
                let detail = format!("a program executes {id}; it has to register a scan once more");
                return Err(conflict("not_now", detail));
            }
            let inner = self.lock();
            let scan = inner.scans.get(id).ok_or_else(|| unknown("scan", id))?;
            if !scan.machine.is_ended() {
                return Err(not_now(
                    scan,
                    &format!("{id} has not ended; only what has ended can be queued again"),
                ));
            }
            (scan.queue.clone().unwrap_or_default(), scan.description.as_ref().clone())
        };
        let plans = self.plans(vec![description])?;
        let status = {
            let mut inner = self.lock();
            let full = match inner.queues.get(&queue) {
                None => return Err(conflict("not_now", format!("the queue {queue} of {id} is gone"))),
                Some(queue) => queue.order.len() >= limits::QUEUED_SCANS,
            };
            if full {
                return Err(LabError::Full(format!(
                    "{queue} is full: {} scans wait in it",
                    limits::QUEUED_SCANS
                )));
            }
            has_room(&inner, &plans)?;
            let ids = self
                .enqueue(&mut inner, &queue, plans, front, |_, scan| scan.retry_of = Some(id.to_string()));
            let new = ids.first().cloned().unwrap_or_default();
            if let Some(queue) = inner.queues.get(&queue) {
                let text = format!("{new} was added{}: {id} once more.", by_whom(by));
                self.say_queue(queue, Level::Info, "scan_requeued", &text, Some(&new));
            }
            inner
                .scans
                .get(&new)
                .map(|scan| scan.status(Instant::now()))
                .ok_or_else(|| unknown("scan", &new))?
        };
        self.on_disk()?;
        Ok(status)
    }

    /// The scans of a pass once more, as new ones.
    pub(super) fn start_over(self: &Arc<Self>, inner: &mut Inner, queue_id: &str) -> bool {
        let pass = inner.queues.get_mut(queue_id).map(|queue| {
            let pass = std::mem::take(&mut queue.pass);
            queue.count_anew();
            pass
        });
        let pass = pass.unwrap_or_default();
        let mut plans = Vec::new();
        let mut causes = Vec::new();
        for id in pass {
            let Some(scan) = inner.scans.get(&id) else { continue };
            // One for all passes: in memory it takes many times what the rest of a scan does.
            let description = Arc::clone(&scan.description);
            match self.validate(&description) {
                Ok(plan) => {
                    plans.push((description, plan));
                    causes.push(id);
                }
                Err(faults) => {
                    let first = faults.first().map(|fault| fault.detail.clone()).unwrap_or_default();
                    let text = format!("{id} is not repeated: {first}");
                    if let Some(queue) = inner.queues.get(queue_id) {
                        self.say_queue(queue, Level::Warning, "not_repeated", &text, Some(&id));
                    }
                }
            }
        }
        if plans.is_empty() {
            return false;
        }
        if let Err(e) = has_room(inner, &plans) {
            if let Some(queue) = inner.queues.get(queue_id) {
                self.say_queue(
                    queue,
                    Level::Error,
                    "not_repeated",
                    &format!("The pass is not repeated: {e}."),
                    None,
                );
            }
            return false;
        }
        let cause = |n: usize, scan: &mut Scan| scan.caused_by = causes.get(n).cloned();
        let ids = self.enqueue(inner, queue_id, plans, false, cause);
        if let Some(queue) = inner.queues.get(queue_id) {
            let text = format!("{queue_id} starts over with {} scans.", ids.len());
            self.say_queue(queue, Level::Info, "queue_loops", &text, None);
        }
        true
    }

    /// Takes a scan that waits out of its queue, or removes one that has ended with its rows.
    ///
    /// # Errors
    /// There is no such scan, or it is live.
    pub fn remove_scan(&self, id: &str, by: Option<&str>) -> Result<(), LabError> {
        if self.external.has(id) {
            return self.external.remove(id);
        }
        {
            let mut inner = self.lock();
            let scan = inner.scans.get(id).ok_or_else(|| unknown("scan", id))?;
            if scan.is_live() {
                return Err(not_now(scan, &format!("{id} is under way; abort it first")));
            }
            let queue = scan.queue.clone();
            if scan.machine.is_ended() {
                self.forget_scan(&mut inner, id);
            } else {
                self.take_out(&mut inner, &[id.to_string()], "it was taken out of its queue", by);
            }
            if let Some(queue_id) = queue
                && let Some(queue) = inner.queues.get(&queue_id)
            {
                let text = format!("{id} was removed{}.", by_whom(by));
                self.say_queue(queue, Level::Info, "scan_removed", &text, Some(id));
                self.keep_queue(&mut inner, &queue_id);
                self.tell_queue(&mut inner, &queue_id);
            }
        }
        self.on_disk()
    }

    /// A scan that waits is aborted: it leaves its queue, and is kept as one that has ended.
    pub(super) fn withdraw(&self, inner: &mut Inner, id: &str, why: &str, by: Option<&str>) {
        let queue = inner.scans.get(id).and_then(|scan| scan.queue.clone());
        if let Some(queue) = queue.and_then(|queue| inner.queues.get_mut(&queue)) {
            queue.aborted += 1;
        }
        self.leave(inner, &[id.to_string()], why, by);
        self.trim(inner);
        self.resolve(inner);
    }

    /// Scans that wait in a queue are aborted and forgotten: there is nothing of them to be kept or counted, and they do not
    /// take the place of others that have rows.
    fn take_out(&self, inner: &mut Inner, ids: &[String], why: &str, by: Option<&str>) {
        self.leave(inner, ids, why, by);
        ids.iter().for_each(|id| self.forget_scan(inner, id));
        self.resolve(inner);
    }

    /// Scans that wait in one queue are aborted and leave it; the queue is told once.
    fn leave(&self, inner: &mut Inner, ids: &[String], why: &str, by: Option<&str>) {
        let mut left = None;
        let text = format!("Did not run: {why}{}.", by_whom(by));
        for id in ids {
            let Some(scan) = inner.scans.get_mut(id) else { continue };
            scan.machine.command(Ask::Abort);
            scan.message = Some(format!("Did not run: {why}"));
            scan.freeze(Instant::now());
            self.say_scan(scan, Level::Info, "scan_aborted", &text, None);
            left = scan.queue.clone().or(left);
            inner.ended.push_back(id.clone());
            self.context.commands.disown(&format!("scan/{id}"));
            self.tell_scan(inner, id);
            self.keep_scan(inner, id);
        }
        let Some(queue_id) = left else { return };
        if let Some(queue) = inner.queues.get_mut(&queue_id) {
            let gone: BTreeSet<&String> = ids.iter().collect();
            queue.order.retain(|id| !gone.contains(id));
            queue.order_version += 1;
            queue.only.take_if(|only| gone.contains(only));
            if queue.order.is_empty() {
                queue.machine.event(QueueEvent::Emptied);
            }
            queue.poke();
        }
        self.tell_queue(inner, &queue_id);
        self.keep_queue(inner, &queue_id);
    }

    /// One scan.
    pub fn scan(&self, id: &str) -> Option<ScanDetail> {
        if let Some(scan) = self.external.detail(id) {
            return Some(scan);
        }
        let (status, description, planned) = {
            let inner = self.lock();
            let scan = inner.scans.get(id)?;
            (scan.status(Instant::now()), Arc::clone(&scan.description), scan.columns.clone())
        };
        let mut detail = ScanDetail::of(status, description.as_ref().clone(), self.book.overview(id));
        if detail.columns.is_empty() && !planned.is_empty() {
            detail.columns.insert(crate::runner::plan::MEASUREMENT.into(), planned);
        }
        Some(detail)
    }

    /// How a scan stands, and nothing else of it.
    pub fn state(&self, id: &str) -> Option<ScanState> {
        self.external.state(id).or_else(|| self.lock().scans.get(id).map(|scan| scan.machine.status()))
    }

    /// Scans, the newest first; `cursor` is the `next` of the part before.
    pub fn scans(&self, filter: &ScanFilter, cursor: Option<&str>, limit: usize) -> ScanPage {
        let text = filter.text.as_ref().map(|text| text.to_lowercase());
        let matches = |queue: Option<&String>, status: ScanState, members: [Option<&String>; 4]| {
            filter.queue_id.as_ref().is_none_or(|wanted| queue == Some(wanted))
                && (filter.status.is_empty() || filter.status.contains(&status))
                && text.as_ref().is_none_or(|text| {
                    members.into_iter().flatten().any(|member| member.to_lowercase().contains(text))
                })
        };
        let programs: Vec<ScanStatus> = self.external.statuses();
        let programs = programs.iter().filter(|scan| {
            let members =
                [Some(&scan.scan_id), scan.name.as_ref(), scan.error.as_ref(), scan.message.as_ref()];
            matches(None, scan.status, members)
        });
        let inner = self.lock();
        let now = Instant::now();
        let ours = inner.scans.values().filter(|scan| {
            let members = [Some(&scan.id), Some(&scan.name), scan.error.as_ref(), scan.message.as_ref()];
            matches(scan.queue.as_ref(), scan.machine.status(), members)
        });
        let mut found: Vec<(Wall, &String, Listed<'_>)> = ours
            .map(|scan| (scan.created_at, &scan.id, Listed::Ours(scan)))
            .chain(programs.map(|scan| {
                (scan.more.created_at.unwrap_or(scan.timestamp), &scan.scan_id, Listed::Program(scan))
            }))
            .collect();
        found.sort_by(|a, b| (b.0, b.1).cmp(&(a.0, a.1)));
        let total = found.len();
        let from = match cursor {
            Some(cursor) => found.iter().position(|(_, id, _)| *id == cursor).unwrap_or(total),
            None => 0,
        };
        let next = found.get(from.saturating_add(limit)).map(|(_, id, _)| (*id).clone());
        let status = |scan: &Listed<'_>| match scan {
            Listed::Ours(scan) => scan.status(now),
            Listed::Program(status) => (*status).clone(),
        };
        let items = found.iter().skip(from).take(limit).map(|(_, _, scan)| status(scan)).collect();
        ScanPage { items, next, total, cursor: self.context.bus.head() }
    }

    /// The scans of a queue: its order, then those that ended last, the newest first; and the version of the order.
    pub fn scans_of(&self, queue: &str, most_ended: usize) -> Option<(Vec<ScanStatus>, u64)> {
        let inner = self.lock();
        let now = Instant::now();
        let found = inner.queues.get(queue)?;
        let ended = inner
            .ended
            .iter()
            .rev()
            .filter(|id| inner.scans.get(*id).is_some_and(|scan| scan.queue.as_deref() == Some(queue)))
            .take(most_ended);
        let ids = found.current.iter().chain(&found.order).chain(ended);
        let mut seen = BTreeSet::new();
        let items = ids
            .filter(|id| seen.insert((*id).clone()))
            .filter_map(|id| inner.scans.get(id))
            .map(|scan| scan.status(now))
            .collect();
        Some((items, found.order_version))
    }

    /// Every queue.
    pub fn queues(&self) -> Vec<QueueStatus> {
        let inner = self.lock();
        inner.queues.values().map(|queue| queue.status(&inner.scans, Instant::now())).collect()
    }

    /// One queue.
    pub fn queue(&self, id: &str) -> Option<QueueStatus> {
        self.queue_now(&self.lock(), id).ok()
    }

    fn queue_now(&self, inner: &Inner, id: &str) -> Result<QueueStatus, LabError> {
        let queue = inner.queues.get(id).ok_or_else(|| unknown("queue", id))?;
        Ok(queue.status(&inner.scans, Instant::now()))
    }

    /// Every template.
    pub fn templates(&self) -> Vec<Template> {
        self.lock().templates.values().cloned().collect()
    }

    /// Keeps descriptions under a name; with the id of one there is, in its place. They are checked when they are used:
    /// the instruments of a template need not be there.
    ///
    /// # Errors
    /// The id is not one, there are no descriptions or too many, or there are too many templates.
    pub fn keep_template(
        &self,
        id: Option<String>,
        name: &str,
        descriptions: Vec<Value>,
    ) -> Result<Template, LabError> {
        if descriptions.is_empty() || descriptions.len() > limits::TEMPLATE_SCANS {
            return Err(LabError::Invalid(
                "descriptions",
                format!(
                    "there are {} descriptions; expected 1 to {}",
                    descriptions.len(),
                    limits::TEMPLATE_SCANS
                ),
            ));
        }
        if let Some(bytes) =
            descriptions.iter().map(|d| d.to_string().len()).find(|n| *n > limits::DESCRIPTION_BYTES)
        {
            let detail = format!("a description has {bytes} bytes; at most {}", limits::DESCRIPTION_BYTES);
            return Err(LabError::Invalid("descriptions", detail));
        }
        let template = {
            let mut inner = self.lock();
            let id = match id {
                Some(id) => checked_id("template_id", id)?,
                None => {
                    inner.next.template += 1;
                    format!("TEMPLATE_{:03}", inner.next.template)
                }
            };
            if !inner.templates.contains_key(&id) && inner.templates.len() >= limits::TEMPLATES {
                return Err(LabError::Full(format!("there are {} templates already", limits::TEMPLATES)));
            }
            let name = if name.trim().is_empty() { id.clone() } else { short(name.to_string()) };
            let template = Template { template_id: id.clone(), name, descriptions, updated: Wall::now() };
            inner.templates.insert(id, template.clone());
            self.keep_counters(&mut inner);
            self.save_template(&mut inner, &template);
            template
        };
        self.on_disk()?;
        Ok(template)
    }

    /// Forgets a template.
    ///
    /// # Errors
    /// There is none.
    pub fn remove_template(&self, id: &str) -> Result<(), LabError> {
        {
            let mut inner = self.lock();
            inner.templates.remove(id).ok_or_else(|| unknown("template", id))?;
            self.drop_row(&mut inner, "template", id);
        }
        self.on_disk()
    }

    /// The next id of a scan, never used before; also not by somebody who only publishes.
    pub(super) fn new_scan_id(&self, inner: &mut Inner) -> String {
        loop {
            inner.next.scan += 1;
            let id = format!("SCAN_{:03}", inner.next.scan);
            if !inner.scans.contains_key(&id)
                && !self.external.has(&id)
                && self.context.bus.state_of(&format!("scan_status/{id}")).is_none()
            {
                return id;
            }
        }
    }

    fn new_queue_id(&self, inner: &mut Inner) -> String {
        loop {
            inner.next.queue += 1;
            let id = format!("QUEUE_{:03}", inner.next.queue);
            if !inner.queues.contains_key(&id)
                && self.context.bus.state_of(&format!("queue_status/{id}")).is_none()
            {
                self.keep_counters(inner);
                return id;
            }
        }
    }

    /// Ends what waits for this scan with a reason.
    pub(super) fn finish(&self, command: &str, state: CommandState, status: &str, reason: Option<&str>) {
        self.context.commands.finish(command, state, Some(status), reason);
    }
}

/// Whether the order is the one that somebody saw.
fn as_seen(queue: &Queue, order_version: u64) -> Result<(), LabError> {
    if queue.order_version == order_version {
        return Ok(());
    }
    Err(LabError::Conflict(Box::new(Conflict {
        code: "order_version",
        detail: format!(
            "the order of {} was changed meanwhile: order_version is {order_version}, expected {}",
            queue.id, queue.order_version
        ),
        order: Some((queue.order_version, queue.current.iter().chain(&queue.order).cloned().collect())),
        ..Conflict::default()
    })))
}

/// Whether there is room for the descriptions of these beside those that wait or run.
fn has_room(inner: &Inner, plans: &[(impl Borrow<Value>, Plan)]) -> Result<(), LabError> {
    let new: usize =
        plans.iter().map(|(description, _)| Borrow::<Value>::borrow(description).to_string().len()).sum();
    let held: usize =
        inner.scans.values().filter(|scan| !scan.machine.is_ended()).map(|scan| scan.bytes).sum();
    if held + new <= limits::DESCRIPTIONS_BYTES {
        return Ok(());
    }
    let most = limits::DESCRIPTIONS_BYTES / 1_000_000;
    Err(LabError::Full(format!("the descriptions of all scans that wait have {most} MB, which is the most")))
}

/// The answer to what makes no sense for this scan now.
pub(super) fn not_now(scan: &Scan, detail: &str) -> LabError {
    LabError::Conflict(Box::new(Conflict {
        code: "not_now",
        detail: detail.to_string(),
        from: Some(super::commands::scan_word(scan.machine.status())),
        allowed_actions: scan.allowed(),
        revision: Some(scan.revision),
        order: None,
        ..Conflict::default()
    }))
}

pub(super) fn checked_id(member: &'static str, id: String) -> Result<String, LabError> {
    match Topic::of("queue", &id) {
        Ok(_) if !id.contains('/') => Ok(id),
        _ => {
            let shown: String = id.chars().filter(|c| !c.is_control()).take(64).collect();
            let detail = format!("{member} is {shown:?}; expected 1 to 64 characters of A-Z a-z 0-9 _ . : -");
            Err(LabError::Invalid(member, detail))
        }
    }
}

/// `, by eva`.
pub(super) fn by_whom(by: Option<&str>) -> String {
    by.map(|by| format!(" by {by}")).unwrap_or_default()
}

/// A name as it is kept.
pub(super) fn short(name: String) -> String {
    name.chars().filter(|c| !c.is_control()).take(limits::NAME_CHARS).collect()
}
