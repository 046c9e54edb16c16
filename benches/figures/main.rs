//! Measures the real binary over loopback and prints what docs/performance.md shows.
//!
//! `cargo bench --bench figures -- [name]...` runs the named figures, or all of them; `-- list` names them. `-- soak [minutes]`
//! is not one of all: it takes ten minutes, or as many as are said. Every
//! figure that compares runs its yardstick, a bare loop with one send per event per reader, on the same machine in the
//! same run. Everything is bounded in count and time, stays on 127.0.0.1 and ends by itself; daemons that were started
//! are ended by their process id. Exit code 1 when a goal was missed.

mod fanout;
mod footprint;
mod ingest;
mod observatory;
mod pins;
mod ports;
mod process;
mod publisher;
mod readers;
mod recordings;
mod requests;
mod runner;
mod scans;
mod slow;
mod soak;
mod wear;
mod yardstick;

#[path = "../../tests/it/harness.rs"]
mod harness;
#[allow(dead_code)]
#[path = "../../tests/it/pty.rs"]
mod pty;

use std::time::Instant;

/// One line of the table.
struct Row {
    figure: String,
    value: String,
    goal: String,
    met: Option<bool>,
}

/// What is measured, line by line.
#[derive(Default)]
pub struct Table(Vec<Row>);

impl Table {
    /// A figure without a goal.
    pub fn note(&mut self, figure: &str, value: String) {
        self.push(figure, value, "", None);
    }

    /// A figure with a goal.
    pub fn goal(&mut self, figure: &str, value: String, goal: &str, met: bool) {
        self.push(figure, value, goal, Some(met));
    }

    fn push(&mut self, figure: &str, value: String, goal: &str, met: Option<bool>) {
        eprintln!("  {figure}: {value}");
        self.0.push(Row { figure: figure.into(), value, goal: goal.into(), met });
    }

    fn print(&self) {
        println!("| figure | measured | goal | |\n|---|---|---|---|");
        for row in &self.0 {
            let met = match row.met {
                None => "",
                Some(true) => "met",
                Some(false) => "MISSED",
            };
            println!("| {} | {} | {} | {met} |", row.figure, row.value, row.goal);
        }
    }
}

/// A figure: its name, what it does.
type Figure = (&'static str, fn(&mut Table));

const FIGURES: &[Figure] = &[
    ("fanout", fanout::saturated),
    ("steady", fanout::steady),
    ("memory", footprint::idle_readers),
    ("replay", ingest::replay),
    ("post", ingest::post),
    ("search", ingest::search),
    ("wear", wear::bytes_per_event),
    ("rss", footprint::bench),
    ("start", footprint::start),
    ("slow", slow::slow_readers),
    ("recordings", recordings::list),
    ("gigabyte", recordings::gigabyte),
    ("pins", pins::sixty_four),
    ("edge", pins::latency),
    ("ports", ports::full_speed),
    ("requests", requests::round_trips),
    ("scans", scans::thousand),
    ("chart", scans::million),
    ("anomalies", observatory::anomalies),
    ("million", observatory::million),
    ("panels", observatory::panels),
    ("feed", observatory::feed),
    ("runner", runner::overhead),
];

fn main() {
    // cargo adds `--bench`.
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let soak = args.iter().position(|arg| arg == "soak").map(|at| {
        args.remove(at);
        let minutes = args.get(at).and_then(|arg| arg.parse::<u64>().ok());
        minutes.map(|minutes| (args.remove(at), minutes).1).unwrap_or(10).max(2)
    });
    if args.first().is_some_and(|arg| arg == yardstick::ARGUMENT) {
        return yardstick::serve();
    }
    if args.iter().any(|arg| arg == "list") {
        FIGURES.iter().for_each(|(name, _)| println!("{name}"));
        println!("soak");
        return;
    }
    if let Some(unknown) = args.iter().find(|arg| FIGURES.iter().all(|(name, _)| name != arg)) {
        eprintln!("unknown figure {unknown:?}; expected one of those that `list` names");
        std::process::exit(2);
    }
    process::raise_descriptors();
    let mut table = Table::default();
    table.note("machine", process::machine());
    for (name, run) in FIGURES {
        if args.is_empty() && soak.is_none() || args.iter().any(|arg| arg == name) {
            let begun = Instant::now();
            eprintln!("{name}");
            run(&mut table);
            eprintln!("  ({:.0} s)", begun.elapsed().as_secs_f64());
        }
    }
    if let Some(minutes) = soak {
        soak::soak(&mut table, minutes);
    }
    table.print();
    if table.0.iter().any(|row| row.met == Some(false)) {
        std::process::exit(1);
    }
}
