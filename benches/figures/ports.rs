//! Serial ports at full speed: what they cost, and whether anything is lost that no counter tells.

use crate::Table;
use crate::harness::{Daemon, Options, until};
use crate::process::cpu_s;
use crate::pty::Device;
use serde_json::Value;
use std::fmt::Write;
use std::time::{Duration, Instant};

const PORTS: usize = 8;
/// 115,200 baud: a start bit, eight data bits, a stop bit.
const BYTES_A_SECOND: f64 = 11_520.0;
const TIME: Duration = Duration::from_secs(15);

/// What one port's device has sent.
struct Sent {
    lines: u64,
    bytes: u64,
    _device: Device,
}

/// Sends numbered lines without a pause at the speed of the wire, a few bytes at a time as a UART's FIFO gives them.
fn send(device: Device) -> Sent {
    let (begun, mut text, mut lines, mut bytes) = (Instant::now(), Vec::new(), 0, 0);
    device.say(b"\n");
    loop {
        let elapsed = begun.elapsed();
        let due = (elapsed.min(TIME).as_secs_f64() * BYTES_A_SECOND) as u64 - bytes;
        while (text.len() as u64) < due {
            text.extend(format!("{{\"n\":{lines},\"t\":21.5}}\n").bytes());
            lines += 1;
        }
        // The last line is sent to its end.
        let n = if elapsed >= TIME { text.len() } else { due as usize };
        device.say(&text[..n]);
        text.drain(..n);
        bytes += n as u64;
        if elapsed >= TIME {
            return Sent { lines, bytes, _device: device };
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Eight ports at 115,200 baud, each line a record.
pub fn full_speed(table: &mut Table) {
    let devices: Vec<Device> = (0..PORTS).map(|_| Device::new()).collect();
    let mut config = String::new();
    for (n, device) in devices.iter().enumerate() {
        let path = device.path().display();
        let _ = write!(
            config,
            "[[serial]]\nid = \"p{n}\"\ndevice = \"{path}\"\nbaud = 115200\nformat = \"json\"\ntopic = \"app/p{n}\"\n"
        );
    }
    let daemon = Options::default().config(&config).start();
    let source = |n: usize| -> Value {
        let all = daemon.get("/api/state?topics=system").json();
        let all = all["state"].as_array().cloned().unwrap_or_default();
        let found = all.into_iter().find(|e| e["payload"]["source_id"] == format!("p{n}"));
        found.map_or(Value::Null, |e| e["payload"].clone())
    };
    for n in 0..PORTS {
        until("the opening", || (source(n)["status"] == "no_data").then_some(()));
    }
    let (begun, before) = (Instant::now(), cpu_s(daemon.pid()));
    let senders: Vec<_> =
        devices.into_iter().map(|device| std::thread::spawn(move || send(device))).collect();
    let sent: Vec<Sent> = senders.into_iter().map(|s| s.join().expect("a sender")).collect();
    let cpu = (cpu_s(daemon.pid()) - before) / begun.elapsed().as_secs_f64();
    let (lines, bytes) = sent.iter().fold((0, 0), |sum, s| (sum.0 + s.lines, sum.1 + s.bytes));
    let (mut lost, mut told) = (0, 0);
    for (n, sent) in sent.iter().enumerate() {
        let counted = |source: &Value, name: &str| source["detail"][name].as_u64().unwrap_or(0);
        let source = until("all of a port", || {
            let source = source(n);
            (counted(&source, "bytes") > sent.bytes).then_some(source)
        });
        told += ["bad_lines", "overlong", "joined", "dropped"]
            .map(|name| counted(&source, name))
            .iter()
            .sum::<u64>();
        lost += sent.lines - records(&daemon, n);
    }
    let mb = bytes as f64 / 1e6 / TIME.as_secs_f64();
    table.note(
        "8 ports at 115,200 baud",
        format!(
            "{lines} lines, {:.0}/s, {mb:.3} MB/s, each a stored record",
            lines as f64 / TIME.as_secs_f64()
        ),
    );
    table.goal(
        "lines lost and not told by a counter",
        format!("{} ({lost} lost, {told} told)", lost.saturating_sub(told)),
        "0",
        lost == told,
    );
    table.goal("processor time for them", format!("{:.1} % of a core", 100.0 * cpu), "< 25 %", cpu < 0.25);
}

/// How many records of a port there are, numbered without a gap.
fn records(daemon: &Daemon, n: usize) -> u64 {
    let path = format!("/api/events?topics=app/p{n}&types=reading&since=earliest&format=json&limit=10000");
    let all = daemon.get(&path).json();
    let numbers = all["events"].as_array().expect("events").iter().map(|e| &e["payload"]["data"]["n"]);
    let numbers: std::collections::BTreeSet<u64> =
        numbers.filter_map(|n| n.as_f64().map(|n| n as u64)).collect();
    assert_eq!(numbers.len(), all["events"].as_array().map_or(0, Vec::len), "none comes twice");
    numbers.len() as u64
}
