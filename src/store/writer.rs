//! The writer thread: takes what waits on the bus and commits it in groups.

use super::Store;
use crate::bus::Bus;
use crate::{limits, threads};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long after a commit that failed it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Starts the thread `store`. It ends when the bus is stopped and everything is on the disk, or can't be put there.
/// `failing` is true while commits fail.
///
/// # Errors
/// The system has no thread left.
pub fn start_writer(
    bus: Arc<Bus>,
    store: Arc<Store>,
    failing: Arc<AtomicBool>,
) -> std::io::Result<JoinHandle<()>> {
    threads::spawn("store", limits::STACK, move || run(&bus, &store, &failing))
}

fn run(bus: &Bus, store: &Store, failing: &AtomicBool) {
    let metrics = &bus.metrics;
    loop {
        let settings = store.settings();
        let Some(batch) = bus.next_batch(settings.commit, settings.state_commit) else { return };
        let begun = Instant::now();
        metrics.store_lag_ms.set(batch.since.elapsed().as_millis() as u64);
        match store.commit(&batch, bus.time().age_may_be_trusted()) {
            Ok(committed) => {
                bus.committed_through(batch.through.seq);
                metrics.commits_total.inc();
                metrics.commit_ms.set(begun.elapsed().as_millis() as u64);
                metrics.events_stored_total.add(committed.records);
                metrics.store_evicted_total.add(committed.evicted);
                metrics.store_lag_ms.set(0);
                if failing.swap(false, Ordering::Relaxed) {
                    log::info!("the store writes again");
                }
            }
            Err(e) => {
                metrics.commit_errors_total.inc();
                if !failing.swap(true, Ordering::Relaxed) {
                    log::error!("failed to store events, they wait in memory: {e}");
                }
                let stopping = bus.not_committed(batch);
                if stopping {
                    log::error!("stopping although not everything is stored");
                    return;
                }
                std::thread::sleep(RETRY);
            }
        }
    }
}
