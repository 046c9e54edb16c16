//! The real inputs as a set: started with the daemon, started anew when the configuration changes.

use super::fold::Fold;
use super::gpio::{Desk, GpioSource, Held, OutputSource};
use super::hardware::{BoardPorts, OpenPins, OpenPort, Sockets};
use super::host::HostSource;
use super::serial::{Links, ReplayPorts, SerialSource};
use super::services;
use super::simulated::Ports;
use super::simulated::visa::VisaPorts;
use super::streams::Streams;
use super::streams::feed::Feed;
use super::{Context, Handles, HostExtras, Instruments};
use crate::bus::Bus;
use crate::config::{Config, Device, StreamRule};
use crate::limits;
use crate::threads::{self, Stop};
use crossbeam::channel::select;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// Tells a source's thread to end: the daemon stops, or its set is replaced.
#[derive(Clone)]
pub(super) struct Until {
    pub daemon: Stop,
    pub set: Stop,
}

impl Until {
    /// Waits at most `time`; true when it is time to end.
    pub fn wait(&self, time: Duration) -> bool {
        select! {
            recv(self.daemon.receiver()) -> _ => true,
            recv(self.set.receiver()) -> _ => true,
            default(time) => false,
        }
    }

    /// Whether it is time to end.
    pub fn is_over(&self) -> bool {
        self.wait(Duration::ZERO)
    }
}

/// The running inputs: pins, ports, those of the simulated bench among them, and the host's health. Dropping it leaves their threads
/// to [`Context::stop`]; [`Sources::stop`] ends and joins them.
pub struct Sources {
    context: Context,
    streams: Arc<Streams>,
    /// Ends this set of threads.
    set: Stop,
    handles: Handles,
    board: Arc<dyn OpenPins>,
    /// The ports of the simulated bench, while it runs.
    bench: Ports,
    /// The outputs that are driven: they outlive a set.
    held: Held,
    /// The fold of this set, which shows who has an instrument.
    shown: Shown,
    /// The same, kept even when no pin and no port needs it.
    fold: Option<Arc<Fold>>,
}

/// The fold that shows claims now.
type Shown = Arc<Mutex<Weak<Fold>>>;

impl Sources {
    /// Starts what the configuration names, with the pins of `board` and the ports of the simulated bench. Hardware that is absent is no error: it is reported and waited for.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(
        board: Arc<dyn OpenPins>,
        context: &Context,
        streams: &Arc<Streams>,
        config: &Config,
        bench: Ports,
        host_extras: Box<dyn Fn() -> HostExtras + Send>,
    ) -> io::Result<Sources> {
        let shown = Shown::default();
        let now = Arc::clone(&shown);
        context.instruments.on_claim(move |id, _| {
            let fold = now.lock().unwrap_or_else(|e| e.into_inner()).upgrade();
            if let Some(fold) = fold {
                fold.claimed(id);
            }
        });
        let mut sources = Sources {
            shown,
            fold: None,
            context: context.clone(),
            streams: Arc::clone(streams),
            set: Stop::default(),
            handles: Vec::new(),
            board,
            bench,
            held: Held::default(),
        };
        sources.spawn(config, host_extras)?;
        // Whoever had an instrument in an earlier run has it no more.
        if let Some(fold) = &sources.fold {
            fold.unclaimed();
        }
        Ok(sources)
    }

    /// Ends what runs and starts what the configuration names now. What the old ones fed is shown as not connected
    /// until a new one speaks of it.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn restart(
        &mut self,
        config: &Config,
        host_extras: Box<dyn Fn() -> HostExtras + Send>,
    ) -> io::Result<()> {
        self.set.stop();
        self.handles.drain(..).for_each(threads::join);
        self.set = Stop::default();
        self.spawn(config, host_extras)
    }

    /// The instruments that can be driven.
    pub fn instruments(&self) -> &Arc<Instruments> {
        &self.context.instruments
    }

    /// Ends and joins everything, within about half a second.
    pub fn stop(mut self) {
        self.set.stop();
        self.handles.drain(..).for_each(threads::join);
    }

    fn spawn(&mut self, config: &Config, host_extras: Box<dyn Fn() -> HostExtras + Send>) -> io::Result<()> {
        let bus = &self.context.bus;
        let until = || Until { daemon: self.context.stop.clone(), set: self.set.clone() };
        let recorders = &self.context.recorders;
        let Ports { serial, recorder } = self.bench.beside(config);
        for sender in recorders.configure(&recorder) {
            let until = until();
            self.handles.push(threads::spawn(&sender.name(), limits::STACK, move || sender.run(&until))?);
        }
        let fold = Arc::new(Fold::with(
            Arc::clone(bus),
            Arc::clone(recorders),
            Some(Arc::clone(&self.streams)),
            Arc::clone(&self.context.instruments),
        ));
        *self.shown.lock().unwrap_or_else(|e| e.into_inner()) = Arc::downgrade(&fold);
        self.fold = Some(Arc::clone(&fold));
        // Every target knows all its sources before the first of them speaks.
        let alerts = Arc::clone(&self.context.alerts);
        let instruments = Arc::clone(&self.context.instruments);
        let desk = Desk { bus: Arc::clone(bus), fold: Arc::clone(&fold), alerts, instruments };
        let inputs = GpioSource::new(&config.gpio, Arc::clone(&self.board), desk.clone());
        let (commands, outlets) = (Arc::clone(&self.context.commands), Arc::clone(&self.context.outlets));
        let board = Arc::clone(&self.board);
        let outputs = OutputSource::new(&config.gpio, board, desk, commands, outlets, self.held.clone());
        let ports: Vec<_> = serial
            .iter()
            .map(|port| {
                let opener: Box<dyn OpenPort> = match port.device {
                    Device::Replay(_) => Box::new(ReplayPorts),
                    Device::Visa(_) => Box::new(VisaPorts::default()),
                    Device::Tcp(_) => Box::new(Sockets),
                    Device::Path(_) | Device::Usb(_) | Device::Simulated(_) => Box::new(BoardPorts),
                };
                SerialSource::new(port.clone(), opener, Links::of(&self.context, &fold))
            })
            .collect();
        if let Some(inputs) = inputs {
            let until = until();
            self.handles.push(threads::spawn("gpio", limits::STACK, move || inputs.run(&until))?);
        }
        if let Some(outputs) = outputs {
            let until = until();
            self.handles.push(threads::spawn("gpio-out", limits::STACK, move || outputs.run(&until))?);
        }
        let (recorders, its_until) = (Arc::clone(recorders), until());
        self.handles.push(threads::spawn("recorders", limits::STACK, move || recorders.run(&its_until))?);
        for port in ports {
            let until = until();
            // The kernel shows 15 characters of a thread's name.
            let name: String = format!("ser-{}", port.id()).chars().take(15).collect();
            self.handles.push(threads::spawn(&name, limits::STACK, move || port.run(&until))?);
        }
        self.context.recordings.start(config, &until(), &mut self.handles)?;
        services::start(&self.context, &config.services, until(), &mut self.handles)?;
        self.streams.set_rules(&config.streams);
        for feed in feeds(&config.streams, bus, &self.streams) {
            let until = until();
            let name: String = feed.id().chars().take(15).collect();
            self.handles.push(threads::spawn(&name, limits::STACK, move || feed.run(&until))?);
        }
        let mut disks = vec![config.data.clone()];
        disks.extend(config.host.disks.iter().cloned());
        let host = HostSource::new(Path::new("/"), disks, config.host.interval, host_extras).with_card(
            Arc::clone(&self.context.store),
            Arc::clone(&self.context.alerts),
            bus.time().boot(),
        );
        let (until, bus) = (until(), Arc::clone(bus));
        self.handles.push(threads::spawn("host", limits::STACK, move || host.run(&bus, &until))?);
        Ok(())
    }
}

/// One feed for each address, of all streams that have it.
fn feeds(rules: &[StreamRule], bus: &Arc<Bus>, streams: &Arc<Streams>) -> Vec<Feed> {
    let mut by_url: BTreeMap<&str, Vec<StreamRule>> = BTreeMap::new();
    for rule in rules {
        if let Some(feed) = &rule.feed {
            by_url.entry(&feed.url).or_default().push(rule.clone());
        }
    }
    let named = by_url.into_values().filter_map(|rules| {
        let id = format!("feed-{}", rules.first()?.id);
        Feed::new(id, rules, Arc::clone(bus), Arc::clone(streams))
    });
    named.collect()
}
