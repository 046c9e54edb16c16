//! What it takes: memory, threads, time to start.

use crate::Table;
use crate::harness::{Daemon, Options, until};
use crate::process::memory;
use crate::publisher::Publisher;
use crate::readers::{Readers, open};
use std::time::{Duration, Instant};

/// A counter of the daemon.
pub fn metric(daemon: &Daemon, name: &str) -> f64 {
    let text = daemon.get("/metrics").text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .unwrap_or_else(|| panic!("no {name}"));
    line.trim().parse().expect("a number")
}

/// Memory and threads of 2,000 readers that have nothing to read.
pub fn idle_readers(table: &mut Table) {
    const READERS: usize = 2_000;
    let daemon = Daemon::start();
    // The first readers pay for what is made once.
    let first = Readers::start(daemon.addr, 20, false);
    until("the first streams", || (metric(&daemon, "telltale_streams") >= 20.0).then_some(()));
    let calm =
        || until("the connections to end", || (metric(&daemon, "telltale_connections") <= 1.0).then_some(()));
    calm();
    let (rss, pss, anonymous) = memory(daemon.pid());
    let threads = daemon.threads();
    let readers = Readers::start(daemon.addr, READERS, false);
    until("the streams", || (metric(&daemon, "telltale_streams") as usize >= READERS + 20).then_some(()));
    calm();
    let now = memory(daemon.pid());
    let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / READERS as f64 / 1024.0;
    let (rss, pss, anonymous) = (each(now.0, rss), each(now.1, pss), each(now.2, anonymous));
    table.goal(
        "memory of an idle reader",
        format!("{rss:.2} KB resident, {pss:.2} KB proportional, {anonymous:.2} KB anonymous"),
        "<= 3 KB",
        rss <= 3.0,
    );
    let (before, after) = (threads, daemon.threads());
    // The one more is the connection that asks for the counters.
    table.goal(
        "threads with 20 and 2,020 idle readers",
        format!("{before} and {after}"),
        "the same",
        after <= before + 1,
    );
    drop((first.stop(), readers.stop()));
}

/// Resident memory of the simulated bench after a minute, with a page looking at it.
pub fn bench(table: &mut Table) {
    let daemon = Daemon::bench();
    let page = daemon.stream("topics=*", None);
    let socket = page.reader.into_inner();
    let readers = Readers::over(vec![socket], false);
    let begun = (Instant::now(), crate::process::cpu_s(daemon.pid()));
    std::thread::sleep(Duration::from_secs(60));
    let (rss, pss, anonymous) = memory(daemon.pid());
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let text = format!("{:.1} MB ({:.1} proportional, {:.1} anonymous)", mb(rss), mb(pss), mb(anonymous));
    table.goal("resident memory of the bench after 60 s", text, "< 20 MB", mb(rss) < 20.0);
    let cpu = (crate::process::cpu_s(daemon.pid()) - begun.1) / begun.0.elapsed().as_secs_f64();
    table.note("processor time of the bench with one reader", format!("{:.2} % of a core", 100.0 * cpu));
    drop(readers.stop());
}

/// From the start of the process to its line `listening on`, on a database of a million events.
pub fn start(table: &mut Table) {
    const EVENTS: u64 = 1_000_000;
    const BATCH: u64 = 2_000;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let data = dir.path().join("data");
    let mut daemon = Options::default().start_in(&data);
    let mut publisher = Publisher::new(daemon.addr, 60);
    while publisher.next < EVENTS {
        publisher.post(BATCH, publisher.next + BATCH >= EVENTS);
    }
    assert_eq!(metric(&daemon, "telltale_store_evicted_total"), 0.0, "all of them are stored");
    daemon.stop();
    let size = crate::process::size(&data);
    table.note("database of 1,000,000 events", format!("{:.0} MB", size as f64 / 1e6));
    let mut started = |after: &str, daemon: &mut Daemon| {
        let begun = Instant::now();
        *daemon = Options::default().start_in(&data);
        let ms = begun.elapsed().as_secs_f64() * 1e3;
        assert_eq!(daemon.get("/readyz").status, 200);
        let text = format!("{ms:.0} ms");
        table.goal(&format!("listening after {after}, 1,000,000 events"), text, "<= 300 ms", ms <= 300.0);
    };
    started("an orderly stop", &mut daemon);
    // In the middle of writing.
    let mut publisher = Publisher::new(daemon.addr, 60);
    publisher.post(1, true);
    for _ in 0..20 {
        publisher.post(500, false);
    }
    daemon.kill();
    started("kill -9", &mut daemon);
    drop(open(daemon.addr, "&since=latest", None));
    daemon.stop();
}
