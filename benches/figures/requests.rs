//! Requests to an instrument: how long from asking until the device hears it, and until the answer is there. The daemon
//! runs in this process; the device is at the other end of a real pseudo-terminal and answers at once.

use crate::Table;
use crate::process::monotonic_ns;
use crate::pty::Device;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use telltale::config::{self, Flags, Overrides};
use telltale::daemon::Daemon;
use telltale::model::CommandState;
use telltale::sources::hardware::fake::FakePins;
use telltale::sources::{Instruments, Outcome, Request, Setting};

const TIMES: usize = 5_000;
/// With a pause before each, so that the port's thread waits for bytes when it comes.
const TIMES_APART: usize = 300;

/// A supply that answers `VOLT?` with what it was set to, and everything else with 1.
struct Supply {
    heard: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Supply {
    fn start(device: Device) -> Supply {
        let (heard, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (at, end) = (Arc::clone(&heard), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let (mut line, mut volts) = (String::new(), "0".to_string());
            while !end.load(Ordering::Relaxed) {
                if !device.waits(Duration::from_millis(50)) {
                    continue;
                }
                line.push_str(&device.hear());
                while let Some((command, rest)) = line.split_once('\n') {
                    at.store(monotonic_ns(), Ordering::Release);
                    match command.strip_prefix("VOLT ") {
                        Some(to) => volts = to.to_string(),
                        None if command == "VOLT?" => device.say(format!("{volts}\n").as_bytes()),
                        None => device.say(b"1\n"),
                    }
                    line = rest.to_string();
                }
            }
        });
        Supply { heard, over, thread: Some(thread) }
    }
}

impl Drop for Supply {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

fn ask(instruments: &Instruments, request: Request) -> Outcome {
    let answer = instruments.ask("psu", request).expect("the instrument is offered");
    let outcome = answer.from.recv_timeout(Duration::from_secs(5)).expect("every request is answered");
    assert_eq!(outcome.state, CommandState::Completed, "{:?}", outcome.reason);
    outcome
}

/// Microseconds of a sorted list at a share of it.
fn at(times: &mut [u64], share: f64) -> f64 {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share) as usize] as f64 / 1_000.0
}

/// Of some milliseconds, never the same twice in a row.
fn pause(n: usize) -> Duration {
    Duration::from_millis(3 + (n % 17) as u64)
}

/// The yardstick: a thread wakes one, which wakes another, as a request does the port's and the device's; nothing else.
fn bare_wakes() -> Vec<u64> {
    let (to_port, port) = mpsc::channel::<u64>();
    let (to_device, device) = mpsc::channel::<u64>();
    let (to_us, us) = mpsc::channel::<u64>();
    let port =
        std::thread::spawn(move || port.iter().for_each(|start| to_device.send(start).unwrap_or_default()));
    let device = std::thread::spawn(move || {
        device.iter().for_each(|start| to_us.send(monotonic_ns().saturating_sub(start)).unwrap_or_default());
    });
    let mut times = Vec::with_capacity(TIMES_APART);
    for n in 0..TIMES_APART {
        std::thread::sleep(pause(n));
        if to_port.send(monotonic_ns()).is_ok() {
            times.extend(us.recv());
        }
    }
    drop(to_port);
    let _ = (port.join(), device.join());
    times
}

/// Requests one after the other, and apart.
pub fn round_trips(table: &mut Table) {
    let device = Device::new();
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("psu.toml");
    let mut text = String::from("name = \"requests\"\n");
    let _ = write!(
        text,
        "[[serial]]\nid = \"psu\"\ndevice = \"{}\"\nprotocol = \"scpi\"\ninstrument = \"psu\"\n\
         [serial.scpi]\nidentify = \"\"\nerrors = \"\"\nclear = \"\"\ngap = \"0s\"\n\
         channels = [{{ name = \"volts\", get = \"VOLT?\", set = \"VOLT {{:.3}}\", unit = \"V\", min = 0, max = 30 }}]\n",
        device.path().display()
    );
    std::fs::write(&file, text).expect("a file");
    let supply = Supply::start(device);
    let flags = Flags {
        config: Some(file),
        listen: Some("127.0.0.1:0".into()),
        data: Some(dir.path().join("data")),
        ..Flags::default()
    };
    let loaded = config::load(&Overrides { flags, ..Overrides::default() }).expect("a configuration");
    let daemon = Daemon::start_on(Arc::new(FakePins::absent()), &loaded).expect("the daemon starts");
    let instruments = Arc::clone(daemon.instruments());
    let begun = Instant::now();
    let ready = |instruments: &Instruments| {
        let answer = instruments.ask("psu", Request::Query("X?".into())).ok()?;
        let outcome = answer.from.recv_timeout(Duration::from_secs(1)).ok()?;
        (outcome.state == CommandState::Completed).then_some(())
    };
    while ready(&instruments).is_none() {
        assert!(begun.elapsed() < Duration::from_secs(10), "the port opens");
        std::thread::sleep(Duration::from_millis(20));
    }
    let read = || Request::Read { channels: vec!["volts".into()] };
    let set = |n: usize| Request::Set {
        channel: "volts".into(),
        to: Setting::Number((n % 30) as f64),
        tolerance: None,
        within: None,
        arrive: true,
    };
    let mut rates = Vec::new();
    for (what, request) in [
        ("a query", Box::new(|_| Request::Query("X?".into())) as Box<dyn Fn(usize) -> Request>),
        ("a read, which is published", Box::new(move |_| read())),
        ("a set with its read-back", Box::new(set)),
    ] {
        let (begun, mut times) = (Instant::now(), Vec::with_capacity(TIMES));
        for n in 0..TIMES {
            let start = monotonic_ns();
            ask(&instruments, request(n));
            times.push(monotonic_ns() - start);
        }
        let rate = TIMES as f64 / begun.elapsed().as_secs_f64();
        let (p50, p99) = (at(&mut times, 0.5), at(&mut times, 0.99));
        rates.push((what, rate, p50, p99));
    }
    for (what, rate, p50, p99) in rates {
        table.goal(
            &format!("requests to a device that answers at once: {what}"),
            format!("{rate:.0} a second, p50 {p50:.0} us, p99 {p99:.0} us"),
            "p50 < 1 ms",
            p50 < 1_000.0,
        );
    }
    let mut wire = Vec::with_capacity(TIMES_APART);
    for n in 0..TIMES_APART {
        std::thread::sleep(pause(n));
        let start = monotonic_ns();
        ask(&instruments, Request::Query("X?".into()));
        wire.push(supply.heard.load(Ordering::Acquire).saturating_sub(start));
    }
    let mut bare = bare_wakes();
    let (p50, p99) = (at(&mut wire, 0.5), at(&mut wire, 0.99));
    let (bare50, bare99) = (at(&mut bare, 0.5), at(&mut bare, 0.99));
    table.goal(
        "requests with pauses between them: until the device hears one",
        format!("p50 {p50:.0} us, p99 {p99:.0} us (yardstick, two threads woken one after the other: {bare50:.0} and {bare99:.0} us)"),
        "p50 < 1 ms",
        p50 < 1_000.0,
    );
    daemon.stop();
    drop(supply);
}
