//! One event to many readers: as fast as it goes, and at a steady rate.

use crate::Table;
use crate::harness::{Daemon, until};
use crate::process::cpu_s;
use crate::publisher::Publisher;
use crate::readers::{Readers, Seen};
use crate::yardstick::Yardstick;
use std::time::{Duration, Instant};

/// Bytes of a payload; with its envelope and frame an event has about 280.
const PAYLOAD: usize = 100;
/// Events of one post, and how far the slowest reader may be behind before the next is posted.
const POST: u64 = 500;
const WINDOW: u64 = 1_000;
/// Longest time of one run.
const LIMIT: Duration = Duration::from_secs(120);

/// Deliveries and what they cost.
struct Run {
    deliveries: u64,
    seconds: f64,
    cpu_s: f64,
}

impl Run {
    fn per_s(&self) -> f64 {
        self.deliveries as f64 / self.seconds
    }
    fn per_cpu_s(&self) -> f64 {
        self.deliveries as f64 / self.cpu_s.max(0.01)
    }
    fn cpu_us(&self) -> f64 {
        1e6 * self.cpu_s / self.deliveries as f64
    }
}

fn check(seen: &Seen, each: u64) {
    let wrong: Vec<_> = seen.events.iter().filter(|n| **n != each).collect();
    assert!(wrong.is_empty(), "{} readers did not get exactly {each} events: {wrong:?}", wrong.len());
    assert_eq!(seen.closed, 0, "streams were closed");
}

/// The daemon sends as fast as the readers take it: a post follows as soon as the readers are near enough.
fn telltale_saturated(clients: usize, events: u64) -> Run {
    let daemon = Daemon::start();
    let readers = Readers::start(daemon.addr, clients, false);
    open_streams(&daemon, clients);
    let mut publisher = Publisher::new(daemon.addr, PAYLOAD);
    let (begun, cpu) = (Instant::now(), cpu_s(daemon.pid()));
    while publisher.next < events {
        let near = (publisher.next + POST).saturating_sub(WINDOW) * clients as u64;
        assert!(readers.wait_for(near, LIMIT), "the readers got {} of {near}", readers.delivered());
        publisher.post(POST, false);
    }
    let deliveries = events * clients as u64;
    assert!(readers.wait_for(deliveries, LIMIT), "the readers got {} of {deliveries}", readers.delivered());
    let run = Run { deliveries, seconds: begun.elapsed().as_secs_f64(), cpu_s: cpu_s(daemon.pid()) - cpu };
    check(&readers.stop(), events);
    run
}

fn yardstick_saturated(clients: usize, events: u64) -> Run {
    let mut yardstick = Yardstick::start(PAYLOAD);
    let readers = Readers::start(yardstick.addr, clients, false);
    let (begun, cpu) = (Instant::now(), cpu_s(yardstick.pid()));
    yardstick.send(events, 0.0);
    let deliveries = events * clients as u64;
    assert!(readers.wait_for(deliveries, LIMIT), "the readers got {} of {deliveries}", readers.delivered());
    let run = Run { deliveries, seconds: begun.elapsed().as_secs_f64(), cpu_s: cpu_s(yardstick.pid()) - cpu };
    check(&readers.stop(), events);
    run
}

/// Waits until the daemon itself counts so many streams.
fn open_streams(daemon: &Daemon, clients: usize) {
    until("the streams", || {
        (crate::footprint::metric(daemon, "telltale_streams") as usize >= clients).then_some(())
    });
}

/// Saturated fan-out against the yardstick with 100, 1,000 and 5,000 readers.
pub fn saturated(table: &mut Table) {
    for (clients, events, fewer) in [(100, 50_000, 5_000), (1_000, 10_000, 1_000), (5_000, 2_000, 200)] {
        let bare = yardstick_saturated(clients, fewer);
        let ours = telltale_saturated(clients, events);
        let name = |what: &str| format!("fan-out to {clients} readers, {what}");
        table.note(&name("deliveries/s"), format!("{:.0} (bare loop {:.0})", ours.per_s(), bare.per_s()));
        let text = format!(
            "{:.0} (bare loop {:.0}; {:.3} against {:.3} us each)",
            ours.per_cpu_s(),
            bare.per_cpu_s(),
            ours.cpu_us(),
            bare.cpu_us()
        );
        table.note(&name("deliveries per CPU second"), text);
        let ratio = ours.per_cpu_s() / bare.per_cpu_s();
        let value = format!("{ratio:.1} times the bare loop");
        if clients == 1_000 {
            table.goal(&name("ratio"), value, ">= 20 times", ratio >= 20.0);
        } else {
            table.note(&name("ratio"), value);
        }
    }
}

/// 200 events/s to 100 readers for ten seconds.
pub fn steady(table: &mut Table) {
    const CLIENTS: usize = 100;
    const RATE: f64 = 200.0;
    const TIME: Duration = Duration::from_secs(10);
    let events = (RATE * TIME.as_secs_f64()) as u64;
    let deliveries = events * CLIENTS as u64;

    let mut yardstick = Yardstick::start(PAYLOAD);
    let readers = Readers::start(yardstick.addr, CLIENTS, true);
    let cpu = cpu_s(yardstick.pid());
    yardstick.send(events, RATE);
    assert!(readers.wait_for(deliveries, LIMIT), "the readers got {} of {deliveries}", readers.delivered());
    let bare = Run { deliveries, seconds: TIME.as_secs_f64(), cpu_s: cpu_s(yardstick.pid()) - cpu };
    let bare_seen = readers.stop();
    check(&bare_seen, events);

    let daemon = Daemon::start();
    let readers = Readers::start(daemon.addr, CLIENTS, true);
    open_streams(&daemon, CLIENTS);
    let mut publisher = Publisher::new(daemon.addr, PAYLOAD);
    let cpu = cpu_s(daemon.pid());
    let posted = publisher.pace(1, RATE, TIME);
    assert_eq!(posted, events);
    assert!(readers.wait_for(deliveries, LIMIT), "the readers got {} of {deliveries}", readers.delivered());
    let ours = Run { deliveries, seconds: TIME.as_secs_f64(), cpu_s: cpu_s(daemon.pid()) - cpu };
    let seen = readers.stop();
    check(&seen, events);

    let name = "200 events/s to 100 readers";
    let ratio = ours.cpu_us() / bare.cpu_us();
    let text = format!("{:.2} us (bare loop {:.2} us): {ratio:.2} times", ours.cpu_us(), bare.cpu_us());
    table.goal(&format!("{name}, CPU per delivery"), text, "<= 1.5 times", ratio <= 1.5);
    let (p50, p99) = (seen.latency_ms(0.5), seen.latency_ms(0.99));
    let text = format!(
        "{p50:.2} / {p99:.2} ms (bare loop {:.2} / {:.2})",
        bare_seen.latency_ms(0.5),
        bare_seen.latency_ms(0.99)
    );
    table.goal(&format!("{name}, latency p50 / p99"), text, "p99 < 10 ms", p99 < 10.0);
}
