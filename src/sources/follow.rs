//! Follows the log from a point on: every event once, in order, from memory, or from the store where memory no longer
//! has it. For whoever keeps an index of what was published.

use crate::bus::Bus;
use crate::limits;
use crate::store::{Store, StoreError, Visited};
use crate::threads::Stop;
use crossbeam::channel::{Receiver, bounded};
use std::sync::Arc;
use std::time::Duration;

/// See the module above.
pub struct Follower {
    bus: Arc<Bus>,
    store: Arc<Store>,
    /// Everything up to here has been visited.
    seq: u64,
    news: Receiver<()>,
}

/// One event, as an index sees it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its place in the log.
    pub seq: u64,
    /// Its type.
    pub kind: &'a str,
    /// Its envelope.
    pub data: &'a str,
}

impl Follower {
    /// Follows what comes after `seq`.
    pub fn new(bus: Arc<Bus>, store: Arc<Store>, seq: u64) -> Self {
        let (tell, news) = bounded(1);
        bus.on_publish(move || {
            // Full: it has been told already.
            let _ = tell.try_send(());
        });
        Follower { bus, store, seq, news }
    }

    /// Everything up to here has been visited.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Goes back: what came after `seq` is visited again. For whoever could not work on what was visited.
    pub fn rewind(&mut self, seq: u64) {
        self.seq = self.seq.min(seq);
    }

    /// Waits for something new, at most `time`; true when it is time to end.
    pub fn wait(&self, stop: &Stop, time: Duration) -> bool {
        crossbeam::channel::select! {
            recv(stop.receiver()) -> _ => true,
            recv(self.news) -> _ => false,
            default(time) => false,
        }
    }

    /// Visits what is new, a bounded part of it at a time; false when there is nothing more for now.
    ///
    /// # Errors
    /// The store could not be read; nothing is left out when it is called again.
    pub fn visit(&mut self, mut visit: impl FnMut(Seen<'_>)) -> Result<bool, StoreError> {
        match self.bus.after(self.seq, limits::FOLLOWED) {
            Ok(events) => {
                for event in &events {
                    visit(Seen { seq: event.cursor.seq, kind: &event.kind, data: event.data() });
                    self.seq = event.cursor.seq;
                }
                Ok(!events.is_empty())
            }
            Err(_) => {
                let visited =
                    self.store.visit_after(self.seq, limits::FOLLOWED_BYTES, limits::FOLLOWED, |stored| {
                        visit(Seen { seq: stored.seq, kind: stored.kind, data: stored.data });
                    })?;
                self.seq = match visited {
                    Visited::Through(seq) => seq.max(self.seq),
                    Visited::Evicted(floor) => floor,
                };
                Ok(true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Draft;
    use crate::{config, metrics::Metrics};

    #[test]
    fn what_is_stored_and_what_is_new_come_once_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let settings = config::Store::default();
        let note = |n: u64| Draft::checked("note", Some("app/x"), serde_json::json!({ "n": n })).unwrap();
        let opened = Store::open(dir.path(), &settings).unwrap();
        let (bus, store) =
            (Arc::new(Bus::new(opened.start, Arc::new(Metrics::default()))), Arc::new(opened.store));
        let failing = Arc::default();
        let writer = crate::store::start_writer(Arc::clone(&bus), Arc::clone(&store), failing).unwrap();
        for n in 0..50 {
            bus.publish(note(n)).unwrap();
        }
        bus.stop();
        crate::threads::join(writer);
        drop((bus, store));
        let opened = Store::open(dir.path(), &settings).unwrap();
        let (bus, store) =
            (Arc::new(Bus::new(opened.start, Arc::new(Metrics::default()))), Arc::new(opened.store));
        let mut follower = Follower::new(Arc::clone(&bus), store, 0);
        let mut seen = Vec::new();
        while follower.visit(|e| seen.push(e.seq)).unwrap() && seen.len() < 50 {}
        for n in 50..60 {
            bus.publish(note(n)).unwrap();
        }
        assert!(!follower.wait(&Stop::default(), Duration::from_secs(10)));
        while follower.visit(|e| seen.push(e.seq)).unwrap() {}
        assert_eq!(seen, (1..=60).collect::<Vec<_>>());
    }
}
