//! Into the store and out of it again.

use crate::Table;
use crate::harness::{Daemon, until};
use crate::publisher::Publisher;
use crate::readers::{Readers, open};
use std::time::{Duration, Instant};

/// Bytes of a payload.
const PAYLOAD: usize = 100;
const BATCH: u64 = 1_000;

/// 100,000 stored events to one reader that asks for everything.
pub fn replay(table: &mut Table) {
    const EVENTS: u64 = 100_000;
    let daemon = Daemon::start();
    let mut publisher = Publisher::new(daemon.addr, PAYLOAD);
    while publisher.next < EVENTS {
        publisher.post(BATCH, publisher.next + BATCH >= EVENTS);
    }
    let mut best = f64::MAX;
    for _ in 0..3 {
        let begun = Instant::now();
        let readers = Readers::over(vec![open(daemon.addr, "&since=earliest", None)], false);
        assert!(
            readers.wait_for(EVENTS, Duration::from_secs(60)),
            "{} of {EVENTS} came",
            readers.delivered()
        );
        best = best.min(begun.elapsed().as_secs_f64());
        assert_eq!(readers.stop().events, [EVENTS]);
    }
    let rate = EVENTS as f64 / best;
    table.goal(
        "replay of 100,000 stored events to one reader",
        format!("{rate:.0} events/s (best of 3)"),
        ">= 200,000 events/s",
        rate >= 200_000.0,
    );
}

/// NDJSON bodies of 1,000 events until the last is on the disk.
pub fn post(table: &mut Table) {
    const EVENTS: u64 = 300_000;
    let daemon = Daemon::start();
    let mut publisher = Publisher::new(daemon.addr, PAYLOAD);
    let stored = || crate::footprint::metric(&daemon, "telltale_events_stored_total") as u64;
    let before = stored();
    let begun = Instant::now();
    while publisher.next < EVENTS {
        // The last one does not wait for the window of the group commit.
        publisher.post(BATCH, publisher.next + BATCH >= EVENTS);
    }
    until("all of it to be stored", || (stored() >= before + EVENTS).then_some(()));
    let rate = EVENTS as f64 / begun.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(stored(), before + EVENTS, "everything is stored once");
    let text = format!("{rate:.0} events/s, {} posts asked to wait", publisher.refused);
    table.goal("POST of NDJSON until stored, one connection", text, ">= 100,000 events/s", rate >= 100_000.0);
}
