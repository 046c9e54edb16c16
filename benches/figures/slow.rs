//! Readers that stop reading must cost nobody else anything.

use crate::Table;
use crate::footprint::metric;
use crate::harness::Daemon;
use crate::process::memory;
use crate::publisher::Publisher;
use crate::readers::{Readers, numbers, open};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Readers that read, readers that do not, events a second, for how long.
const NORMAL: usize = 50;
const SLOW: usize = 5;
const RATE: u64 = 1_000;
const TIME: Duration = Duration::from_secs(20);
/// Large enough that no kernel buffer holds it all: 20 MB a reader.
const PAYLOAD: usize = 1_000;
/// Events of one post.
const POST: u64 = 10;

struct Run {
    p99_ms: f64,
    rss: u64,
    /// How many events each slow one got before its stream was closed, and whether with a resume it has every one once.
    slow: Vec<(usize, bool)>,
}

fn run(slow: usize) -> Run {
    let daemon = Daemon::start();
    let stuck: Vec<TcpStream> = (0..slow).map(|_| open(daemon.addr, "&since=latest", Some(4096))).collect();
    let readers = Readers::start(daemon.addr, NORMAL, true);
    crate::harness::until("the streams", || {
        (metric(&daemon, "telltale_streams") as usize >= NORMAL + slow).then_some(())
    });
    let mut publisher = Publisher::new(daemon.addr, PAYLOAD);
    let (pid, done) = (daemon.pid(), AtomicBool::new(false));
    let (events, rss) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Acquire) {
                most = most.max(memory(pid).0);
                std::thread::sleep(Duration::from_millis(250));
            }
            most
        });
        let events = publisher.pace(POST, (RATE / POST) as f64, TIME);
        done.store(true, Ordering::Release);
        (events, watch.join().expect("the watch"))
    });
    let deliveries = events * NORMAL as u64;
    assert!(
        readers.wait_for(deliveries, Duration::from_secs(30)),
        "{} of {deliveries} came",
        readers.delivered()
    );
    let seen = readers.stop();
    assert!(seen.events.iter().all(|n| *n == events), "a normal reader missed something");
    let slow = stuck.into_iter().map(|socket| {
        let time = Duration::from_secs(10);
        let (mut got, newest) = numbers(socket, events - 1, time);
        let before = got.len();
        // Closed: it comes back with its cursor, as a browser does.
        if before < events as usize {
            let since = newest.unwrap_or_else(|| "earliest".into());
            let socket = open(daemon.addr, &format!("&since={since}"), None);
            got.extend(numbers(socket, events - 1, time).0);
        }
        (before, got.into_iter().eq(0..events))
    });
    Run { p99_ms: seen.latency_ms(0.99), rss, slow: slow.collect() }
}

/// See the module above.
pub fn slow_readers(table: &mut Table) {
    let alone = run(0);
    let beside = run(SLOW);
    let name = format!("{NORMAL} readers at {RATE} events/s of 1 KB");
    let ratio = beside.p99_ms / alone.p99_ms;
    let text = format!(
        "{:.2} ms with {SLOW} that stop reading, {:.2} ms without: {ratio:.2} times",
        beside.p99_ms, alone.p99_ms
    );
    table.goal(&format!("{name}, p99"), text, "<= 2 times", ratio <= 2.0);
    let text = format!("{:.1} MB with, {:.1} MB without", beside.rss as f64 / 1e6, alone.rss as f64 / 1e6);
    table.goal(
        &format!("{name}, most resident memory"),
        text,
        "bounded",
        beside.rss < alone.rss + 16_000_000,
    );
    let exact = beside.slow.iter().all(|(_, dense)| *dense);
    let counts: Vec<_> = beside.slow.iter().map(|(count, _)| count).collect();
    let what = if exact { "each event once" } else { "NOT each event once" };
    let text = format!("{counts:?} of {} on the first stream, with a resume {what}", RATE * TIME.as_secs());
    table.goal("what the slow readers got when they read on", text, "each event once", exact);
}
