//! The thread `outbox`: puts messages on the shelf, sends them, takes them off.

use super::desk::News;
use super::outbox::{About, Channel, Queue, Rows, send};
use super::send::Agent;
use crate::bus::Bus;
use crate::clock::Wall;
use crate::config::Config;
use crate::limits;
use crate::model::Alert;
use crate::store::Store;
use crate::threads::{self, Stop};
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Prefix of our rows on the shelf.
const SHELF: &str = "outbox/";

#[derive(Default)]
struct Inner {
    queue: Queue,
    channels: Vec<Channel>,
    about: About,
    /// Rows that are not on the shelf as they stand.
    unsaved: Rows,
}

/// See the module above.
pub struct Delivery {
    bus: Arc<Bus>,
    began: Instant,
    inner: Mutex<Inner>,
    wake: (Sender<()>, Receiver<()>),
    thread: Mutex<Option<Running>>,
}

struct Running {
    thread: JoinHandle<()>,
    /// Disconnected once the thread has ended.
    ended: Receiver<()>,
    stop: Stop,
}

impl Delivery {
    /// Nothing is sent before [`Delivery::configure`] names a channel.
    pub fn new(bus: Arc<Bus>) -> Self {
        Delivery {
            bus,
            began: Instant::now(),
            inner: Mutex::default(),
            wake: bounded(1),
            thread: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Takes over what an earlier run could not deliver. What can't be read is dropped, and said.
    pub fn recall(&self, store: &Store) {
        let rows = match store.shelf(SHELF) {
            Ok(rows) => rows,
            Err(e) => return log::error!("failed to read messages that wait for delivery: {e}"),
        };
        let read = |(key, text): &(String, Vec<u8>)| {
            let number = key.strip_prefix(SHELF)?.parse().ok()?;
            Some((number, serde_json::from_slice(text).ok()?))
        };
        let messages: Vec<_> = rows.iter().filter_map(read).collect();
        if messages.len() < rows.len() {
            log::warn!("{} messages that wait for delivery can't be read", rows.len() - messages.len());
        }
        self.lock().queue.recall(messages);
    }

    /// The channels of the file; starts the thread where there are any and it does not run, ends it where there are none.
    pub fn configure(self: &Arc<Self>, config: &Config, store: &Arc<Store>) {
        let hooks = config.webhook.iter().cloned().map(Channel::Webhook);
        let channels: Vec<_> = hooks.chain(config.ntfy.iter().cloned().map(Channel::Ntfy)).collect();
        let wanted = !channels.is_empty();
        {
            let mut inner = self.lock();
            inner.about = About { name: config.name.clone(), url: config.alerts.base_url.clone() };
            let rows = inner.queue.keep_only(&channels);
            inner.unsaved.extend(rows);
            inner.channels = channels;
            self.count(&inner);
        }
        let mut thread = self.thread.lock().unwrap_or_else(|e| e.into_inner());
        match (wanted, thread.is_some()) {
            (true, false) => {
                let stop = Stop::default();
                let (alive, ended) = bounded(0);
                let (delivery, store, until) = (Arc::clone(self), Arc::clone(store), stop.clone());
                let run = move || {
                    delivery.run(&store, &until);
                    drop::<Sender<()>>(alive);
                };
                match threads::spawn("outbox", limits::STACK, run) {
                    Ok(handle) => *thread = Some(Running { thread: handle, ended, stop }),
                    Err(e) => log::error!("failed to start the thread that delivers alerts: {e}"),
                }
            }
            (false, true) => {
                if let Some(running) = thread.take() {
                    running.end();
                }
            }
            _ => self.poke(),
        }
    }

    /// News of an alert, for whom it concerns. Returns at once.
    pub fn offer(&self, news: News, alert: &Alert) -> usize {
        let mut inner = self.lock();
        let Inner { queue, channels, unsaved, .. } = &mut *inner;
        if news == News::Test {
            // Who tests has just mended something: nobody waits out a pause then.
            queue.hurry();
        }
        let rows = queue.offer(channels, news, alert, Wall::now());
        let offered = rows.iter().filter(|(_, row)| row.is_some()).count();
        unsaved.extend(rows);
        self.count(&inner);
        drop(inner);
        if offered > 0 {
            self.poke();
        }
        offered
    }

    fn poke(&self) {
        // Full: it has been asked for already.
        let _ = self.wake.0.try_send(());
    }

    fn count(&self, inner: &Inner) {
        self.bus.metrics.deliveries_waiting.set(inner.queue.len() as u64);
        self.bus.metrics.deliveries_dropped_total.set(inner.queue.dropped);
    }

    /// Every channel and how it stands: the body of `GET /api/alerts/deliveries`.
    pub fn rows(&self) -> Value {
        let inner = self.lock();
        let (now, wall) = (self.now(), Wall::now());
        let rows = inner.channels.iter().map(|channel| {
            let standing = inner.queue.standing(channel.id());
            let waiting = inner.queue.waiting(channel.id());
            let next_try = standing.next_try.filter(|_| waiting > 0).map(|at| {
                Wall(wall.0.saturating_add(at.saturating_sub(now).as_millis() as u64))
            });
            json!({
                "name": channel.id(), "kind": channel.kind(), "waiting": waiting, "sent": standing.sent, "failed": standing.failed,
                "last_error": standing.last_error, "last_sent": standing.last_sent, "next_try": next_try,
            })
        });
        json!({ "channels": rows.collect::<Vec<_>>(), "dropped": inner.queue.dropped })
    }

    /// What became of the messages about an occurrence: `sent`, `waiting` or `failed` by kind of channel.
    pub fn of(&self, alert: &Alert) -> Map<String, Value> {
        let inner = self.lock();
        inner
            .queue
            .told(alert, &inner.channels)
            .into_iter()
            .map(|(k, word)| (k.into(), word.into()))
            .collect()
    }

    /// Ends the thread. A delivery under way is waited for a little, then left: it is made again at the next start.
    pub fn stop(&self) {
        let running = self.thread.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some(running) = running {
            running.end();
        }
    }

    fn run(&self, store: &Store, stop: &Stop) {
        let agent = Agent::default();
        let mut failing = false;
        loop {
            self.save(store, &mut failing);
            if stop.is_stopped() {
                return;
            }
            let due = {
                let mut inner = self.lock();
                let now = self.now();
                let begun = inner.queue.begin(now);
                begun.map(|(number, message)| {
                    let channel = inner.channels.iter().find(|c| c.id() == message.channel).cloned();
                    (number, message, channel, inner.about.clone())
                })
            };
            if let Some((number, message, channel, about)) = due {
                let Some(channel) = channel else { continue };
                let outcome = send(&agent, &channel, &about, number, &message);
                self.ended(&channel, number, &outcome);
                continue;
            }
            let pause = self.lock().queue.wake().map(|at| at.saturating_sub(self.now()));
            // What could not be put on the shelf is tried again.
            let pause = if failing {
                Some(pause.unwrap_or(limits::DELIVERY_PAUSE.0).min(limits::DELIVERY_PAUSE.0))
            } else {
                pause
            };
            let timer = pause.map_or_else(crossbeam::channel::never, crossbeam::channel::after);
            crossbeam::channel::select! {
                recv(stop.receiver()) -> _ => {}
                recv(self.wake.1) -> _ => {}
                recv(timer) -> _ => {}
            }
        }
    }

    fn ended(&self, channel: &Channel, number: u64, outcome: &super::outbox::Outcome) {
        use super::outbox::Outcome::{Failed, Later, Sent};
        let mut random = [0];
        // Without random numbers every box pauses alike, which is no worse than before.
        let jitter = getrandom::fill(&mut random).map_or(0.5, |()| f64::from(random[0]) / 255.0);
        let mut inner = self.lock();
        let before = inner.queue.standing(channel.id());
        let rows = inner.queue.end(number, outcome, self.now(), Wall::now(), jitter);
        inner.unsaved.extend(rows);
        self.count(&inner);
        drop(inner);
        let metrics = &self.bus.metrics;
        let (kind, id) = (channel.kind(), channel.id());
        match outcome {
            Sent => {
                metrics.deliveries_total.inc();
                if before.last_error.is_some() {
                    log::info!("{kind} {id}: alerts are delivered again");
                }
            }
            Failed(why) => {
                metrics.deliveries_failed_total.inc();
                if before.last_error.as_ref() != Some(why) {
                    log::warn!("{kind} {id}: a message was refused and is not sent again: {why}");
                }
            }
            Later(why, _) => {
                if before.last_error.as_ref() != Some(why) {
                    log::warn!("{kind} {id}: alerts wait: {why}");
                }
            }
        }
    }

    fn save(&self, store: &Store, failing: &mut bool) {
        let rows = std::mem::take(&mut self.lock().unsaved);
        if rows.is_empty() {
            return;
        }
        // Of a number that changed several times the last counts.
        let newest: std::collections::BTreeMap<u64, Option<Vec<u8>>> = rows
            .iter()
            .map(|(number, message)| (*number, message.as_ref().and_then(|m| serde_json::to_vec(m).ok())))
            .collect();
        let texts: Vec<_> = newest.into_iter().map(|(n, text)| (format!("{SHELF}{n:020}"), text)).collect();
        match store.shelve(&texts) {
            Ok(()) => *failing = false,
            Err(e) => {
                if !std::mem::replace(failing, true) {
                    log::error!("messages that wait for delivery can't be stored: {e}");
                }
                let mut inner = self.lock();
                let newer = std::mem::replace(&mut inner.unsaved, rows);
                inner.unsaved.extend(newer);
            }
        }
    }
}

impl Running {
    fn end(self) {
        self.stop.stop();
        match self.ended.recv_timeout(limits::DELIVERY_STOP) {
            Err(RecvTimeoutError::Disconnected) | Ok(()) => threads::join(self.thread),
            // It waits for a network, and holds nothing that is not on the shelf.
            Err(RecvTimeoutError::Timeout) => log::info!("a delivery was under way; it is made again"),
        }
    }
}
