//! One event to many readers: as fast as it goes, and at a steady rate.

use crate::Table;
use crate::harness::{Daemon, until};
use crate::process::cpu_s;
use crate::publisher::Publisher;
use crate::readers::{Readers, Seen};
use crate::yardstick::Yardstick;
use std::net::SocketAddr;
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

/// Readers, events a second and time of the steady figure.
const STEADY_READERS: usize = 100;
const STEADY_RATE: f64 = 200.0;
const STEADY_TIME: Duration = Duration::from_secs(10);
/// Rounds of it: what else runs on the machine only ever adds.
const STEADY_ROUNDS: usize = 3;

/// The bare loop's run and telltale's.
type Round = ((Run, Seen), (Run, Seen));

/// Watches one steady run of process `pid`, whose events `publish` has sent.
fn steady_run(addr: SocketAddr, pid: u32, ready: impl FnOnce(), publish: impl FnOnce(u64)) -> (Run, Seen) {
    let events = (STEADY_RATE * STEADY_TIME.as_secs_f64()) as u64;
    let deliveries = events * STEADY_READERS as u64;
    let readers = Readers::start(addr, STEADY_READERS, true);
    ready();
    let cpu = cpu_s(pid);
    publish(events);
    assert!(readers.wait_for(deliveries, LIMIT), "the readers got {} of {deliveries}", readers.delivered());
    let run = Run { deliveries, seconds: STEADY_TIME.as_secs_f64(), cpu_s: cpu_s(pid) - cpu };
    let seen = readers.stop();
    check(&seen, events);
    (run, seen)
}

/// 200 events/s to 100 readers for ten seconds, three times in turn with the yardstick.
pub fn steady(table: &mut Table) {
    let rounds: Vec<_> = (0..STEADY_ROUNDS)
        .map(|_| {
            let mut yardstick = Yardstick::start(PAYLOAD);
            let (addr, pid) = (yardstick.addr, yardstick.pid());
            let bare = steady_run(addr, pid, || (), |events| yardstick.send(events, STEADY_RATE));
            drop(yardstick);
            let daemon = Daemon::start();
            let mut publisher = Publisher::new(daemon.addr, PAYLOAD);
            let ready = || open_streams(&daemon, STEADY_READERS);
            let ours = steady_run(daemon.addr, daemon.pid(), ready, |events| {
                assert_eq!(publisher.pace(1, STEADY_RATE, STEADY_TIME), events);
            });
            (bare, ours)
        })
        .collect();
    let name = "200 events/s to 100 readers";
    let mean = |of: fn(&Round) -> f64| rounds.iter().map(of).sum::<f64>() / rounds.len() as f64;
    let (bare, ours) = (mean(|(bare, _)| bare.0.cpu_us()), mean(|(_, ours)| ours.0.cpu_us()));
    let ratio = ours / bare;
    let text = format!("{ours:.2} us (bare loop {bare:.2} us): {ratio:.2} times");
    table.goal(&format!("{name}, CPU per delivery"), text, "<= 1.5 times", ratio <= 1.5);
    let latency = |seen: &Seen| format!("{:.2} / {:.2}", seen.latency_ms(0.5), seen.latency_ms(0.99));
    let all: Vec<_> =
        rounds.iter().map(|(bare, ours)| format!("{} ({})", latency(&ours.1), latency(&bare.1))).collect();
    let best = rounds.iter().map(|(_, ours)| ours.1.latency_ms(0.99)).fold(f64::MAX, f64::min);
    let text =
        format!("p99 {best:.2} ms in the best round; rounds, with the bare loop's: {}", all.join(", "));
    table.goal(&format!("{name}, latency p50 / p99 in ms"), text, "p99 < 10 ms", best < 10.0);
}
