//! The command line: what can be asked for, one file a subcommand. Owns texts for people and exit codes; does not know
//! how anything is done.

mod capture;
mod check;
mod client;
mod completions;
mod doctor;
mod export;
mod key;
mod publish;
mod replay;
mod run;
mod sse;
mod status;
mod tail;

use crate::config::Flags;
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Exit code: everything was done; `status`: healthy.
pub const DONE: u8 = 0;
/// Exit code: failed while running; `status`: not healthy.
pub const FAILED: u8 = 1;
/// Exit code: usage or configuration.
pub const USAGE: u8 = 2;
/// Exit code: something that is needed is not available.
pub const UNAVAILABLE: u8 = 3;

const AFTER_HELP: &str = "\
Examples:
  telltale                                     the simulated bench on http://127.0.0.1:8080
  telltale run --config /etc/telltale/telltale.toml
  telltale run --listen :8080 --data /var/lib/telltale --no-bench
  telltale check --config telltale.toml        every fault of a configuration, with line and column
  telltale status                              what a running telltale says of itself
  telltale doctor                              what is wrong with this host, and what to do
  telltale tail --topics global,stream/temp    what happens, as it happens
  telltale publish --topic app/door '{\"open\": true}'
  telltale key make --role publish --name \"vision box\"
  telltale capture --device /dev/ttyUSB0 --out gps.capture      a port, to be played again

Environment:
  TELLTALE_CONFIG   the configuration file, as --config
  TELLTALE_LISTEN   the address and port, as --listen
  TELLTALE_DATA     the data folder, as --data
  TELLTALE_URL      the telltale to talk to, as --url
  TELLTALE_KEY      the access key to talk with, as --key
  RUST_LOG          what is logged: error, warn, info (the default), debug, trace
  Every key of the configuration has a variable too: see telltale check --keys.

Exit codes:
  0  done
  1  failed while running
  2  usage or configuration
  3  something that is needed is not available: the port, the data folder, the database, the server";

/// The live panel for equipment in the field.
///
/// Reads GPIO pins and serial lines, keeps their state and history, and shows every change in a browser. Without a
/// subcommand it runs.
#[derive(Debug, Parser)]
#[command(name = "telltale", version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(RunArgs),
    Check(CheckArgs),
    #[command(subcommand)]
    Key(KeyCommand),
    Publish(PublishArgs),
    Tail(TailArgs),
    Status(StatusArgs),
    Export(ExportArgs),
    Doctor(DoctorArgs),
    Capture(CaptureArgs),
    Replay(ReplayArgs),
    Completions(CompletionsArgs),
}

/// Serve until SIGTERM or SIGINT
///
/// Prints `listening on http://ADDR:PORT` when it serves. Without a configuration file the simulated bench runs. SIGHUP
/// reads the configuration again: with a fault nothing changes. Flags win over the environment, the environment over
/// the file.
#[derive(Debug, Default, Args)]
#[command(after_help = "\
Examples:
  telltale run
  telltale run --listen 127.0.0.1:0            a free port; the printed line names it
  telltale run --config telltale.toml --data /var/lib/telltale

Exit codes: 0 stopped by a signal, 1 failed while running, 2 the configuration has faults and
there is no last good one, 3 the port, the data folder or the database is not available")]
struct RunArgs {
    /// Configuration file [env: TELLTALE_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port to serve on, such as :8080 [env: TELLTALE_LISTEN] [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Folder of the database and the keys [env: TELLTALE_DATA] [default: telltale-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Serve the page from this folder instead of the one built in
    #[arg(long, value_name = "DIR")]
    www: Option<PathBuf>,
    /// Don't run the simulated bench, whatever the file says
    #[arg(long)]
    no_bench: bool,
}

impl RunArgs {
    fn flags(self) -> Flags {
        Flags {
            config: self.config,
            listen: self.listen,
            data: self.data,
            www: self.www,
            no_bench: self.no_bench,
        }
    }
}

/// Check a configuration without running it
///
/// Names every fault with line and column, what was written and what was expected; of the environment too.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  telltale check --config /etc/telltale/telltale.toml
  telltale check --effective                   what would be used, as a file
  telltale check --keys                        every key with type, default and meaning

Exit codes: 0 no faults, 2 faults")]
struct CheckArgs {
    /// Configuration file [env: TELLTALE_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// List every key there is, with type, default and meaning
    #[arg(long)]
    keys: bool,
    /// Print the settings that would be used, with defaults and environment, as a configuration file
    #[arg(long)]
    effective: bool,
}

/// Make, list and revoke access keys
///
/// A key lets a program or a person act from outside this host. It works on the data folder, whether telltale is
/// running or not; a running telltale takes the change at once.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  telltale key make --role operate --name \"phone of the workshop\"
  telltale key list
  telltale key revoke 3f9a1c02")]
enum KeyCommand {
    /// Make a key; it is shown once
    Make {
        /// What it may do; each role may do what those before it may
        #[arg(long, value_name = "ROLE", value_parser = ["view", "operate", "publish", "admin"])]
        role: String,
        /// Whose it is, in your words
        #[arg(long, value_name = "NAME")]
        name: String,
        #[command(flatten)]
        folder: FolderArgs,
    },
    /// List the keys: id, role, when it was made, name
    List {
        #[command(flatten)]
        folder: FolderArgs,
    },
    /// Take a key away
    Revoke {
        /// The id that `key list` shows
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        folder: FolderArgs,
    },
}

#[derive(Debug, Args)]
struct FolderArgs {
    /// Folder of the keys; else what the configuration says [env: TELLTALE_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Configuration file that names the data folder [env: TELLTALE_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ServerArgs {
    /// The telltale to talk to
    #[arg(
        long,
        value_name = "URL",
        env = "TELLTALE_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8080"
    )]
    url: String,
    /// Access key; better given by the variable, as other users can see arguments
    #[arg(long, value_name = "KEY", env = "TELLTALE_KEY", hide_env_values = true)]
    key: Option<String>,
}

/// Publish events
///
/// PAYLOAD is a JSON object: the payload of one event of --type on --topic, or a whole event with `type`, `topic` and
/// `payload`. With `-` each line of standard input is one, published in order; a line is sent again with the same
/// idempotency key while the server is away, so that it counts once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  telltale publish --topic app/door '{\"open\": true}'
  telltale publish '{\"type\": \"reading\", \"topic\": \"app/shed\", \"payload\": {\"celsius\": 21.5}}'
  sensor | telltale publish --topic app/sensor --durable -

Prints the id of the last event. Exit codes: 0 accepted (with --durable: on the disk), 1 refused,
2 not JSON, 3 the server can't be reached")]
struct PublishArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Topic of the events, such as app/door
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Type of the events
    #[arg(long = "type", value_name = "TYPE", default_value = "note")]
    kind: String,
    /// Wait until the events are on the disk
    #[arg(long)]
    durable: bool,
    /// A JSON object, or - for one on each line of standard input
    #[arg(value_name = "PAYLOAD|-", allow_hyphen_values = true)]
    payload: String,
}

/// Follow what happens
///
/// Begins with the state there is, or with what came after --since; then prints each event. When the connection is lost
/// it connects again and goes on exactly where it was; what can't be had any more is named as a gap. Times are UTC; `~`
/// marks those of a clock that was not synchronised.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  telltale tail
  telltale tail --topics scan/SCAN_001,queue/q1
  telltale tail --since earliest --types alert,recorder_status --json | jq .payload

Exit codes: 0 ended (--count, or its output was closed), 1 refused, 2 usage,
3 the server can't be reached")]
struct TailArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Topics with commas: global, kind/*, kind/id, *
    #[arg(long, value_name = "TOPICS", default_value = "global")]
    topics: String,
    /// Begin after this id, or with `earliest` or `latest`
    #[arg(long, value_name = "ID|earliest|latest")]
    since: Option<String>,
    /// Only these event types, with commas
    #[arg(long, value_name = "TYPES")]
    types: Option<String>,
    /// Print each event's whole envelope, a line of JSON each; gaps and snapshots too
    #[arg(long)]
    json: bool,
    /// End after so many lines
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// Show on one screen how a running telltale is
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 healthy, 1 not ready or a major alert is open, 2 usage, 3 it can't be reached"
)]
struct StatusArgs {
    #[command(flatten)]
    server: ServerArgs,
}

/// Write what is stored as lines of JSON or as CSV
///
/// Records that are still stored and the newest values of what changed after --since, oldest first, up to the moment it
/// begins. The time of an event whose clock was set later is the corrected one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  telltale export --topics 'scan/SCAN_001' --types data_point > points.jsonl
  telltale export --format csv --types stream_value --columns stream_id,value,unit -o values.csv
  telltale export --topics log --since 2026-01-07

Exit codes: 0 everything was written, 1 refused or not written, 2 usage,
3 the server can't be reached")]
struct ExportArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Topics with commas: global, kind/*, kind/id, *
    #[arg(long, value_name = "TOPICS", default_value = "*")]
    topics: String,
    /// Only these event types, with commas
    #[arg(long, value_name = "TYPES")]
    types: Option<String>,
    /// Only after this id, or from this day or time on, in UTC
    #[arg(long, value_name = "ID|DAY|TIME")]
    since: Option<String>,
    /// How it is written
    #[arg(long, value_name = "FORMAT", default_value = "jsonl", value_parser = ["jsonl", "csv"])]
    format: String,
    /// With csv: members of the payload that get a column each, with commas; else the payload is one column of JSON
    #[arg(long, value_name = "NAMES")]
    columns: Option<String>,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Look at this host: groups, devices, journal, Wi-Fi, clock, power, disk, card, configuration
///
/// A line each, ok, warn or fail, with what to do. Changes nothing, and needs no running telltale.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  telltale doctor --config /etc/telltale/telltale.toml
  telltale doctor --root /mnt/card             a card of another box

Exit codes: 0 nothing failed, 1 something failed, 2 usage")]
struct DoctorArgs {
    /// Configuration file [env: TELLTALE_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the database; else what the configuration says [env: TELLTALE_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Look at the files under this folder instead of /
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// Keep what comes over a serial port in a file
///
/// Takes a port of the configuration, or any device, while no telltale holds it; a running telltale does the same with the
/// key `capture` of its port. The file is text, can be added to, and is played by `telltale replay` or by the key `replay`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  telltale capture --config telltale.toml --source gps --out gps.capture --for 60s
  telltale capture --device /dev/ttyUSB0 --baud 4800 --out gps.capture

Ends with Ctrl-C. Exit codes: 0 ended as asked, 1 the device went away or the file can't be written,
2 usage or configuration, 3 the port can't be opened")]
struct CaptureArgs {
    /// Configuration file that has the port [env: TELLTALE_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Which port of the configuration
    #[arg(long, value_name = "ID", required_unless_present = "device")]
    source: Option<String>,
    /// A device in place of a port of the configuration; usb:VID:PID is looked for
    #[arg(long, value_name = "PATH", conflicts_with_all = ["source", "config"])]
    device: Option<String>,
    /// Bits per second [default: that of the configuration, or 9600]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(50..=4_000_000))]
    baud: Option<u32>,
    /// The file; one that is there is added to
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// End after this time, such as 60s or 10m
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    time: Option<std::time::Duration>,
}

/// Play a capture, or any file of bytes, as a serial port would
///
/// To standard output, or with --to as a tty that other programs open. A capture has its own timing; any other file comes at
/// the speed of --baud. A telltale plays a file by itself with the key `replay` of a port.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  telltale replay gps.capture
  telltale replay gps.nmea --baud 4800 --loop --to /tmp/gps
  telltale replay gps.capture --rate 10 --to /tmp/gps

Exit codes: 0 played or ended by Ctrl-C, 1 failed while playing, 2 usage,
3 the file or the tty is not available")]
struct ReplayArgs {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Make a tty with this name (a link) and play it there; the bytes wait for whoever opens it
    #[arg(long, value_name = "LINK")]
    to: Option<PathBuf>,
    /// 1 as it was, 10 ten times as fast, 0 as fast as it is taken
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    rate: f64,
    /// Begin again at the end
    #[arg(long = "loop")]
    again: bool,
    /// For a file that is no capture: bits per second
    #[arg(long, value_name = "N", default_value_t = 9_600, value_parser = clap::value_parser!(u32).range(50..=4_000_000))]
    baud: u32,
}

/// Print a script for the completion of a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  telltale completions bash > /etc/bash_completion.d/telltale
  telltale completions zsh > ~/.zfunc/_telltale
  telltale completions fish > ~/.config/fish/completions/telltale.fish")]
struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

impl Cli {
    /// Reads arguments, the program's name first.
    ///
    /// # Errors
    /// What clap says: a fault, or the text of `--help` and `--version`.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(args)
    }

    /// Whether this is a daemon's run, whose log says what it does; the others only warn.
    pub fn is_run(&self) -> bool {
        matches!(self.command, None | Some(Command::Run(_)))
    }

    /// The flags of a run, for tests of what units and documents write.
    pub fn run_flags(self) -> Option<Flags> {
        match self.command {
            None => Some(self.run.flags()),
            Some(Command::Run(args)) => Some(args.flags()),
            Some(_) => None,
        }
    }

    /// Does what was asked; gives the exit code.
    pub fn execute(self) -> u8 {
        match self.command {
            None => run::run(self.run.flags()),
            Some(Command::Run(args)) => run::run(args.flags()),
            Some(Command::Check(args)) => check::check(args),
            Some(Command::Key(command)) => key::key(command),
            Some(Command::Publish(args)) => publish::publish(args),
            Some(Command::Tail(args)) => tail::tail(args),
            Some(Command::Status(args)) => status::status(args),
            Some(Command::Export(args)) => export::export(args),
            Some(Command::Doctor(args)) => doctor::doctor(args),
            Some(Command::Capture(args)) => capture::capture(args),
            Some(Command::Replay(args)) => replay::replay(args),
            Some(Command::Completions(args)) => completions::completions(args, &mut Cli::command()),
        }
    }
}

/// Prints to standard output; false when nobody reads it any more.
fn say(text: &str) -> bool {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()).is_ok()
}

/// Prints to standard error what went wrong, or what a person should know.
fn complain(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "telltale: {text}");
}

/// Turns true at SIGINT and SIGTERM. None, and said so, when they can't be listened for.
fn interrupted() -> Option<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let until = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        if let Err(e) = signal_hook::flag::register(signal, Arc::clone(&until)) {
            complain(&format!("failed to listen for signals: {e}"));
            return None;
        }
    }
    Some(until)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Cli, clap::Error> {
        Cli::read(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_subcommand_it_runs() {
        assert_eq!(read("telltale").unwrap().run_flags(), Some(Flags::default()));
        let flags = read("telltale --listen :1 --no-bench").unwrap().run_flags().unwrap();
        assert_eq!((flags.listen.as_deref(), flags.no_bench), (Some(":1"), true));
        assert_eq!(read("telltale run --data /d").unwrap().run_flags().unwrap().data, Some("/d".into()));
        assert!(read("telltale check").unwrap().run_flags().is_none());
        assert_eq!(read("telltale rum").unwrap_err().exit_code(), 2);
        assert_eq!(read("telltale key make --role boss --name x").unwrap_err().exit_code(), 2);
    }

    /// The packaged service starts with arguments that we take.
    #[test]
    fn the_unit_starts_us_as_we_can_be_started() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let unit = std::fs::read_to_string(root.join("systemd/telltale.service")).unwrap();
        let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        let flags = read(start).unwrap().run_flags().unwrap();
        assert_eq!(flags.config, Some("/etc/telltale/telltale.toml".into()));
        let data = unit.lines().find_map(|line| line.strip_prefix("Environment=TELLTALE_DATA=")).unwrap();
        let folder = unit.lines().find_map(|line| line.strip_prefix("StateDirectory=")).unwrap();
        assert_eq!(data, format!("/var/lib/{folder}"));
        assert!(
            !unit.contains("TELLTALE_CLOCK") && !unit.contains("TELLTALE_SYSTEMCTL"),
            "those are aids for tests"
        );
    }
}
