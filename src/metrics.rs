//! Counters for `/metrics` (Prometheus text format 0.0.4) and the health event. Plain atomics, no registry.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows, or is set.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }
    /// Takes one away (gauges).
    pub fn dec(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
    /// Sets (gauges).
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! metrics {
    ($($name:ident: $kind:literal, $help:literal;)*) => {
        /// Everything that is counted. Names on the wire are `telltale_` and the field's name.
        #[derive(Debug, Default)]
        pub struct Metrics { $(#[doc = $help] pub $name: Counter,)* }

        impl Metrics {
            /// Prometheus text.
            pub fn render(&self) -> String {
                let mut out = String::with_capacity(4096);
                $(
                    out.push_str(concat!("# HELP telltale_", stringify!($name), " ", $help, "\n# TYPE telltale_", stringify!($name), " ", $kind, "\ntelltale_", stringify!($name), " "));
                    out.push_str(&self.$name.get().to_string());
                    out.push('\n');
                )*
                out
            }
        }
    };
}

metrics! {
    events_total: "counter", "Events published.";
    events_refused_total: "counter", "Events refused because the store lags too far behind.";
    events_stored_total: "counter", "Records committed to the store.";
    commits_total: "counter", "Commits of the store.";
    commit_errors_total: "counter", "Commits that failed and were tried again.";
    commit_ms: "gauge", "Time the last commit took, in milliseconds.";
    store_lag_ms: "gauge", "Age of the oldest event not yet on the disk, in milliseconds.";
    store_written_bytes_total: "counter", "Bytes the process caused to be written to storage, as the kernel counts them.";
    store_evicted_total: "counter", "Records removed by retention.";
    connections: "gauge", "Open connections that have a thread.";
    connections_total: "counter", "Connections accepted.";
    connections_evicted_total: "counter", "Idle connections closed to make room.";
    connections_refused_total: "counter", "Connections refused for want of room.";
    requests_total: "counter", "Requests answered.";
    requests_bad_total: "counter", "Requests refused as malformed.";
    streams: "gauge", "Open streams.";
    streams_total: "counter", "Streams opened.";
    streams_resumed_total: "counter", "Streams resumed from a cursor.";
    streams_stalled_total: "counter", "Streams closed because the reader took nothing.";
    catch_ups_total: "counter", "Times a reader was fed from the store.";
    gaps_total: "counter", "Gaps announced to readers.";
    polls_total: "counter", "Polls answered.";
    bytes_sent_total: "counter", "Bytes given to readers of streams.";
    source_errors_total: "counter", "Errors of sources.";
    client_reconnects_total: "counter", "Reconnects that pages reported.";
    scan_rows_total: "counter", "Rows of scans accepted.";
    scan_rows_duplicate_total: "counter", "Rows of scans that were there already.";
    scan_rows_waiting: "gauge", "Rows of scans that are in no block yet; they are in the log.";
    scan_rows_bytes: "gauge", "Bytes of the rows of scans in their blocks.";
    alerts_open: "gauge", "Open alerts.";
    alerts_raised_total: "counter", "Occurrences of alerts.";
    alerts_refused_total: "counter", "Alerts not listed because too many are open.";
    deliveries_total: "counter", "Messages about alerts that were delivered.";
    deliveries_failed_total: "counter", "Messages about alerts that a receiver refused.";
    deliveries_dropped_total: "counter", "Messages about alerts dropped because too many wait.";
    deliveries_waiting: "gauge", "Messages about alerts that wait to be delivered.";
    client_drops_total: "counter", "Dropped streams that pages reported.";
}
