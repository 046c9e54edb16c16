//! The wiring diagram: what is made in which order, and taken apart in the reverse one.
//!
//! The order of both is in docs/architecture.md ("Start and stop"). What was accepted is on the disk before the process
//! ends, within two seconds.

use crate::alerts::Alerts;
use crate::bus::{Bus, Commands};
use crate::clock::Wall;
use crate::config::{self, AlertRule, Config, Loaded};
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::model::{Draft, Level, Severity};
use crate::push::Push;
use crate::runner::{self, Lab};
use crate::sources::detections::Detections;
use crate::sources::hardware::{OpenPins, PiPins};
use crate::sources::recordings::Recordings;
use crate::sources::signals::Signals;
use crate::sources::streams::Streams;
use crate::sources::{
    self, BenchControl, Context, Halt, HostExtras, Jobs, Outlets, Recorders, Sources, simulated,
};
use crate::store::{self, Store, StoreError};
use crate::threads::{self, Stop};
use crate::{http, limits};
use crossbeam::channel::{Receiver, Sender, bounded, select};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Exit code: everything was done.
pub const DONE: u8 = 0;
/// Exit code: failed while running.
pub const FAILED: u8 = 1;
/// Exit code: usage or configuration.
pub const USAGE: u8 = 2;
/// Exit code: something it needs is not available, such as the port or the data folder.
pub const UNAVAILABLE: u8 = 3;

/// Why the daemon could not start; reads as one sentence.
#[derive(Debug)]
pub enum StartError {
    /// The data folder or the database.
    Store(StoreError),
    /// The address to listen on.
    Listen(std::net::SocketAddr, std::io::Error),
    /// A thread, a descriptor, a file.
    System(&'static str, std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Store(e) => write!(f, "{e}; choose another folder with --data"),
            StartError::Listen(addr, e) if e.kind() == std::io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "{addr} is taken by another program; choose another address with --listen, such as --listen 127.0.0.1:{}",
                    addr.port().wrapping_add(1).max(1024)
                )
            }
            StartError::Listen(addr, e) => {
                write!(f, "failed to listen on {addr}: {e}; choose another address with --listen")
            }
            StartError::System(what, e) => write!(f, "failed to start {what}: {e}"),
        }
    }
}
impl std::error::Error for StartError {}

/// Runs until SIGTERM or SIGINT; gives the exit code.
pub fn run(loaded: Loaded) -> u8 {
    // Before anything else: a signal that comes early must not end the process half-way.
    let (send, signals) = bounded(4);
    let signal_thread = match signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP]) {
        Ok(mut incoming) => {
            let handle = incoming.handle();
            threads::spawn("signals", limits::STACK, move || {
                for signal in incoming.forever() {
                    // Full: the same has been asked for already.
                    let _ = send.try_send(signal);
                }
            })
            .map(|thread| (handle, thread))
        }
        Err(e) => Err(e),
    };
    let (handle, signal_thread) = match signal_thread {
        Ok(pair) => pair,
        Err(e) => {
            log::error!("failed to watch for signals: {e}");
            return FAILED;
        }
    };
    let mut daemon = match Daemon::start(&loaded) {
        Ok(daemon) => daemon,
        Err(e) => {
            log::error!("{e}");
            return UNAVAILABLE;
        }
    };
    daemon.announce(&loaded);
    let mut loaded = loaded;
    let asked = daemon.asked.clone();
    let code = loop {
        select! {
            recv(signals) -> signal => match signal {
                Ok(SIGHUP) => drop(daemon.reload(&mut loaded)),
                Ok(_) | Err(_) => break DONE,
            },
            // Whoever asked may have given up waiting.
            recv(asked) -> answer => if let Ok(answer) = answer {
                let _ = answer.send(daemon.reload(&mut loaded));
            },
            default(Duration::from_secs(1)) => daemon.tick(),
        }
    };
    // Whoever asks from now on is told at once that nobody answers.
    drop(asked);
    log::info!("stopping");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    let stored = daemon.stop();
    handle.close();
    threads::join(signal_thread);
    if stored { code } else { FAILED }
}

/// A running telltale.
pub struct Daemon {
    config: Config,
    bus: Arc<Bus>,
    commands: Arc<Commands>,
    alerts: Arc<Alerts>,
    jobs: Arc<Jobs>,
    store: Arc<Store>,
    store_failing: Arc<AtomicBool>,
    store_alert: bool,
    writer: JoinHandle<()>,
    push: Arc<Push>,
    http: http::Server,
    sources: Sources,
    /// The threads of the bench, streams, signals, detections and the lab.
    bench: sources::Handles,
    stop: Stop,
    revision: u64,
    /// Those who wrote the configuration ask for it to be read, and wait here.
    asked: Receiver<Sender<Reloaded>>,
}

/// What reading the configuration again gave.
type Reloaded = Result<config::Changes, Vec<config::ConfigError>>;

impl Daemon {
    /// Starts everything.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then.
    pub fn start(loaded: &Loaded) -> Result<Daemon, StartError> {
        Daemon::start_on(Arc::new(PiPins), loaded)
    }

    /// The same with the pins of another board, for benchmarks.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then.
    #[doc(hidden)]
    pub fn start_on(board: Arc<dyn OpenPins>, loaded: &Loaded) -> Result<Daemon, StartError> {
        let config = loaded.config.clone();
        let opened = Store::open(&config.data, &config.store).map_err(StartError::Store)?;
        let keys = Keys::open(&config.data).map_err(|e| StartError::System("the keys", e))?;
        let metrics = Arc::new(Metrics::default());
        let info = rustix::system::sysinfo();
        let memory = (info.totalram as f64 * f64::from(info.mem_unit)) as u64;
        let bus = Arc::new(Bus::new(opened.start, metrics).with_room(limits::lag_bytes(Some(memory))));
        bus.time().take_from(&config.time.from);
        let store = Arc::new(opened.store);
        let commands = Arc::new(Commands::new(Arc::clone(&bus)));
        let alerts = Arc::new(Alerts::new(Arc::clone(&bus)));
        let stop = Stop::default();

        let push = Push::start(Arc::clone(&bus), Arc::clone(&store), &config.push)
            .map_err(|e| StartError::System("the push threads", e))?;
        let push = Arc::new(push);
        let recordings = Arc::new(Recordings::new(
            Arc::clone(&bus),
            Arc::clone(&store),
            Arc::clone(&alerts),
            config.data.clone(),
        ));
        let outlets = Arc::new(Outlets::default());
        let recorders =
            Arc::new(Recorders::new(Arc::clone(&bus), Arc::clone(&commands), Arc::clone(&outlets)));
        let jobs = Arc::new(Jobs::new(Arc::clone(&bus), Arc::clone(&commands)));
        let context = Context {
            bus: Arc::clone(&bus),
            commands: Arc::clone(&commands),
            store: Arc::clone(&store),
            alerts: Arc::clone(&alerts),
            outlets,
            instruments: Arc::default(),
            recorders: Arc::clone(&recorders),
            recordings: Arc::clone(&recordings),
            stop: stop.clone(),
        };
        let halt = Halt::new(Arc::clone(&bus), Arc::clone(&commands), Arc::clone(&context.instruments));
        let halt = Arc::new(halt);
        let stops = Arc::clone(&halt);
        alerts.stops_by(move |wanted| stops.for_alert(wanted));
        alerts
            .start(&store, &commands, &config, &bench_rules(&config))
            .map_err(|e| StartError::System("the alerts", e))?;
        let (bench, bench_control, bench_ports): (_, Option<Arc<dyn BenchControl>>, _) = if config.bench {
            let folder = recordings.bench_folder(&config);
            let (handles, control, ports) =
                simulated::start(&context, &config.data, config.bench_seed, folder)
                    .map_err(|e| StartError::System("the simulated bench", e))?;
            (handles, Some(control), ports)
        } else {
            (sources::Handles::new(), None, simulated::Ports::default())
        };
        let (streams, streams_thread) =
            Streams::start(&context, &config.streams).map_err(|e| StartError::System("the streams", e))?;
        let planned = if config.bench { simulated::planogram() } else { Vec::new() };
        let (detections, detections_thread) =
            Detections::start(&context, planned).map_err(|e| StartError::System("the detections", e))?;
        let (signals, signals_threads) =
            Signals::start(&context, &config.signals).map_err(|e| StartError::System("the signals", e))?;
        let (lab, lab_thread) =
            Lab::start(&context, &config.lab).map_err(|e| StartError::System("the lab", e))?;
        let mut lab_threads = vec![lab_thread];
        if config.bench {
            let thread = runner::demonstrate(&context, &lab);
            lab_threads.push(thread.map_err(|e| StartError::System("the bench's queue", e))?);
        }
        let store_failing = Arc::new(AtomicBool::new(false));
        let ready = readiness(Arc::clone(&store), Arc::clone(&store_failing));
        let (ask, asked) = bounded(1);
        let http = http::Server::start(http::Parts {
            editor: config::Editor::new(loaded),
            reload: asking(ask),
            config: Arc::new(config.clone()),
            bus: Arc::clone(&bus),
            store: Arc::clone(&store),
            push: Arc::clone(&push),
            commands: Arc::clone(&commands),
            keys: Arc::new(keys),
            recordings,
            recorders,
            jobs: Arc::clone(&jobs),
            streams: Arc::clone(&streams),
            alerts: Arc::clone(&alerts),
            halt,
            instruments: Arc::clone(&context.instruments),
            detections,
            signals,
            lab,
            bench: bench_control,
            ready,
        });
        let http = match http {
            Ok(http) => http,
            Err(e) => {
                stop.stop();
                bench
                    .into_iter()
                    .chain([streams_thread, detections_thread])
                    .chain(lab_threads)
                    .chain(signals_threads)
                    .for_each(threads::join);
                alerts.stop();
                push.stop();
                return Err(StartError::Listen(config.listen, e));
            }
        };
        let writer = store::start_writer(Arc::clone(&bus), Arc::clone(&store), Arc::clone(&store_failing))
            .map_err(|e| StartError::System("the store's thread", e))?;
        let sources = Sources::start(board, &context, &streams, &config, bench_ports, extras(&bus, &store))
            .map_err(|e| StartError::System("the sources", e))?;
        let daemon = Daemon {
            config,
            bus,
            commands,
            alerts,
            jobs,
            store,
            store_failing,
            store_alert: false,
            writer,
            push,
            http,
            sources,
            bench: bench
                .into_iter()
                .chain([streams_thread, detections_thread])
                .chain(lab_threads)
                .chain(signals_threads)
                .collect(),
            stop,
            revision: 1,
            asked,
        };
        if let Some((aside, why)) = opened.set_aside {
            daemon.alerts.raise("store.damaged", Severity::Major, &format!(
                "The database could not be opened and a new one was begun: {why}. The old one is kept as {}.", aside.display()
            ), "Copy that file away for analysis; if it happens again, replace the card.");
        }
        if let Some(errors) = &loaded.fallback {
            for error in errors {
                log::error!("{error}");
            }
            log::error!("the configuration has errors; running with the last good one");
            daemon.alerts.raise(
                "config.fallback",
                Severity::Major,
                &format!(
                    "The configuration has {} error(s); running with the last good one. The first: {}",
                    errors.len(),
                    errors.first().map(ToString::to_string).unwrap_or_default()
                ),
                "Correct the file (telltale check names every error) and reload with SIGHUP.",
            );
        }
        daemon.say_config(&[], None);
        Ok(daemon)
    }

    /// The address that is served.
    pub fn addr(&self) -> std::net::SocketAddr {
        self.http.addr()
    }

    /// Prints the one line that says where, and tells systemd.
    fn announce(&self, loaded: &Loaded) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "listening on http://{}", self.addr());
        let _ = out.flush();
        log::info!(
            "telltale {} with {}; data in {}{}",
            env!("CARGO_PKG_VERSION"),
            loaded.file.as_ref().map_or("no configuration file".into(), |file| file.display().to_string()),
            self.config.data.display(),
            if self.config.bench { ", with the simulated bench" } else { "" }
        );
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    }

    /// About once a second.
    fn tick(&mut self) {
        self.commands.expire();
        self.watch_clock();
        self.jobs.tick();
        if let Some(bytes) = written_bytes() {
            self.bus.metrics.store_written_bytes_total.set(bytes);
        }
        let failing = self.store_failing.load(Ordering::Relaxed);
        if failing != self.store_alert {
            self.store_alert = failing;
            if failing {
                self.alerts.raise(
                    "store.failing",
                    Severity::Major,
                    "Events can't be stored; they wait in memory.",
                    "Is the disk full or the card read-only? See the log.",
                );
            } else {
                self.alerts.clear("store.failing", "Events are stored again.");
            }
        }
        if !failing {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        }
    }

    /// Looks at the clock and says every step of it.
    fn watch_clock(&self) {
        for step in self.bus.watch_clock() {
            let way = if step.delta_ms > 0 { "forward" } else { "back" };
            let by = Duration::from_millis(step.delta_ms.unsigned_abs());
            let mut message = format!("The clock was set {way} by {:.1} s", by.as_secs_f64());
            if by >= Duration::from_secs(120) {
                let whole = humantime::format_duration(Duration::from_secs(by.as_secs_f64().round() as u64));
                message.push_str(&format!(" ({whole})"));
            }
            message.push('.');
            log::warn!("{message}");
            let line = serde_json::json!({
                "level": Level::Warning,
                "message": message,
                "timestamp": Wall::now(),
                "source": "clock",
                "data": { "from": step.from, "to": step.to, "delta_s": step.delta_s() },
            });
            publish(&self.bus, "log", &line);
        }
    }

    /// SIGHUP, or somebody who changed the file: validates, then swaps what can be swapped.
    fn reload(&mut self, loaded: &mut Loaded) -> Reloaded {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Reloading]);
        let reloaded = match loaded.reload() {
            Err(errors) => {
                for error in &errors {
                    log::error!("{error}");
                }
                log::error!("the configuration was not reloaded: it has {} error(s)", errors.len());
                self.say_config(
                    &[],
                    Some(&errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
                );
                Err(errors)
            }
            Ok(new) => {
                for warning in &new.warnings {
                    log::warn!("{warning}");
                }
                let changes = config::compare(&self.config, &new.config);
                for key in &changes.needs_restart {
                    log::warn!("{key} has changed and takes effect at the next start");
                }
                self.store.set_settings(&new.config.store);
                self.bus.time().take_from(&new.config.time.from);
                self.http.set_access(new.config.access.clone());
                let inputs = |c: &Config| {
                    let lists = (c.gpio.clone(), c.serial.clone(), c.recorder.clone(), c.streams.clone());
                    (lists, c.services.clone(), c.host.clone(), c.recordings.clone())
                };
                if inputs(&new.config) != inputs(&self.config)
                    && let Err(e) = self.sources.restart(&new.config, extras(&self.bus, &self.store))
                {
                    log::error!("failed to start the sources anew: {e}");
                }
                // What waits for the next start stays as it runs, and is named again at the next reload.
                self.config = new.config.live_over(&self.config);
                let judged = ["name", "store", "alerts", "alert", "webhook", "ntfy"];
                if changes.sections.iter().any(|s| judged.contains(s)) {
                    self.alerts.configure(&self.config, &bench_rules(&self.config), &self.store);
                }
                self.revision += 1;
                self.alerts.clear("config.fallback", "The configuration is valid again.");
                let sections: Vec<&str> = changes.sections.iter().map(AsRef::as_ref).collect();
                log::info!(
                    "configuration reloaded: {}",
                    if sections.is_empty() { "no changes".into() } else { sections.join(", ") }
                );
                self.say_config(&sections, None);
                *loaded = new;
                Ok(changes)
            }
        };
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        reloaded
    }

    /// The instruments that can be driven, for benchmarks.
    #[doc(hidden)]
    pub fn instruments(&self) -> &Arc<sources::Instruments> {
        self.sources.instruments()
    }

    /// Stops everything; false when something could not be stored.
    pub fn stop(self) -> bool {
        let begun = Instant::now();
        drop(self.asked);
        self.stop.stop();
        self.sources.stop();
        self.bench.into_iter().for_each(threads::join);
        self.alerts.stop();
        self.push.stop();
        self.http.stop();
        self.bus.stop();
        threads::join(self.writer);
        let stored = self.bus.committed() == self.bus.head().seq;
        log::info!(
            "stopped in {} ms{}",
            begun.elapsed().as_millis(),
            if stored { "" } else { "; not everything could be stored" }
        );
        stored
    }

    fn say_config(&self, sections: &[&str], error: Option<&str>) {
        let payload = serde_json::json!({
            "revision": self.revision, "sections": sections, "applied": error.is_none(), "error": error, "name": self.config.name,
        });
        publish(&self.bus, "config_changed", &payload);
    }
}

/// The rules that go with the bench.
fn bench_rules(config: &Config) -> Vec<AlertRule> {
    if config.bench { simulated::rules() } else { Vec::new() }
}

fn publish<T: serde::Serialize>(bus: &Bus, kind: &str, payload: &T) {
    match Draft::of(kind, payload) {
        Ok(draft) => {
            if let Err(e) = bus.publish(draft) {
                log::warn!("failed to publish {kind}: {e}");
            }
        }
        Err(e) => log::error!("failed to publish {kind}: {e}"),
    }
}

/// Asks the main thread to read the configuration again, and waits for what came of it.
fn asking(ask: Sender<Sender<Reloaded>>) -> http::Reload {
    Arc::new(move || {
        let (answer, answered) = bounded(1);
        let reloaded = ask
            .send_timeout(answer, limits::RELOAD_TIME)
            .ok()
            .and_then(|()| answered.recv_timeout(limits::RELOAD_TIME).ok());
        reloaded.unwrap_or_else(|| {
            Err(vec![config::ConfigError {
                place: config::Place::Flag("reload"),
                detail: "the daemon did not take the change in time; is it stopping?".into(),
            }])
        })
    })
}

/// Ready means that the store can be read and its last commit was made.
fn readiness(
    store: Arc<Store>,
    failing: Arc<AtomicBool>,
) -> Arc<dyn Fn() -> Result<(), String> + Send + Sync> {
    Arc::new(move || {
        if failing.load(Ordering::Relaxed) {
            return Err("events can't be stored at the moment".into());
        }
        store.check().map_err(|e| e.to_string())
    })
}

/// What the host's health shows of the daemon itself.
fn extras(bus: &Arc<Bus>, store: &Arc<Store>) -> Box<dyn Fn() -> HostExtras + Send> {
    let (bus, store) = (Arc::clone(bus), Arc::clone(store));
    // The day in UTC, and what had been written when it began or when this process did.
    let today = std::cell::Cell::new((u64::MAX, 0));
    Box::new(move || {
        let m = &bus.metrics;
        let (day, written) = (Wall::now().0 / 86_400_000, m.store_written_bytes_total.get());
        if today.get().0 != day {
            today.set((day, if today.get().0 == u64::MAX { 0 } else { written }));
        }
        let number = |n: u64| serde_json::Value::from(n);
        HostExtras {
            store: [
                ("bytes", number(store.bytes())),
                ("written_today", number(written.saturating_sub(today.get().1))),
                ("commit_ms", number(m.commit_ms.get())),
                ("lag_ms", number(m.store_lag_ms.get())),
            ]
            .into_iter()
            .map(|(k, v)| (k.to_string(), v))
            .collect(),
            clients: [
                ("sse", number(m.streams.get())),
                ("poll", number(m.polls_total.get())),
                ("dropped", number(m.streams_stalled_total.get() + m.client_drops_total.get())),
                ("reconnects", number(m.client_reconnects_total.get())),
            ]
            .into_iter()
            .map(|(k, v)| (k.to_string(), v))
            .collect(),
            clock: bus.time().describe(),
        }
    })
}

/// Bytes this process caused to be written to storage. Source: proc(5), `/proc/[pid]/io`, `write_bytes`.
fn written_bytes() -> Option<u64> {
    let io = std::fs::read_to_string("/proc/self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.trim().parse().ok()
}
