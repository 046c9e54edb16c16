//! The thread that steps the devices and does what they ask.

use super::camera::Camera;
use super::fault::{Faults, Switches};
use super::instruments::{Meter, Stage, Supply};
use super::link::Link;
use super::out::Out;
use super::plug::Plug;
use super::recorder::{self, Recorder};
use super::services::Services;
use super::streams::streams;
use super::takes::Takes;
use super::wire::Wire;
use super::{At, Device, Moment, STEPS_PER_S, Wired, World, jobs};
use crate::bus::Bus;
use crate::clock::Wall;
use crate::config;
use crate::limits;
use crate::model::{Draft, JobStatus, TopicFilter};
use crate::sources::{BenchControl, Context, Handles};
use crate::threads::{self, Stop};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where the bench's devices are plugged in, as a configuration would say it. None of it is in the configuration.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    /// Their ports.
    pub serial: Vec<config::SerialPort>,
    /// How those that record are commanded.
    pub recorder: Vec<config::Recorder>,
}

impl Ports {
    /// All that is configured, and of these what does not have the id of something that is.
    pub(in crate::sources) fn beside(&self, config: &config::Config) -> Ports {
        let mut all = Ports { serial: config.serial.clone(), recorder: config.recorder.clone() };
        for port in &self.serial {
            let is_taken =
                all.serial.iter().any(|p| p.id == port.id) || config.gpio.iter().any(|p| p.id == port.id);
            if is_taken {
                log::warn!(
                    "the configuration has a source {}: that of the simulated bench is left out",
                    port.id
                );
            } else {
                all.serial.push(port.clone());
            }
        }
        for recorder in &self.recorder {
            let is_taken = all.recorder.iter().any(|r| r.id == recorder.id);
            if !is_taken && all.serial.iter().any(|port| port.id == recorder.id) {
                all.recorder.push(recorder.clone());
            }
        }
        all
    }
}

/// After the daemon's stop its devices stay this long at most, so that its ports are closed before they hang up.
const LINGER: Duration = Duration::from_secs(1);

/// Starts the bench: one thread, ended by the context's stop. Its devices are plugged in below the folder
/// `data`; its recordings go into `folder`, if there is one.
///
/// # Errors
/// When the system has no thread left.
pub fn start(
    context: &Context,
    data: &Path,
    seed: u64,
    folder: Option<PathBuf>,
) -> io::Result<(Handles, Arc<dyn BenchControl>, Ports)> {
    let mut handles = Handles::new();
    let takes = match folder {
        Some(folder) => {
            let (takes, handle) = Takes::start(folder, seed)?;
            handles.push(handle);
            takes
        }
        None => Takes::default(),
    };
    let mut bench = Bench::new(seed, Earlier::of(&context.bus), takes);
    let switches = Arc::new(Switches::new(bench.sources().into_iter()));
    let folder = data.join("bench");
    let mut plugs: Vec<Plug> =
        bench.wired.iter().map(|(device, _)| Plug::new(&folder, device.id())).collect();
    let serial = bench.wired.iter().zip(&plugs);
    let serial = serial.map(|((device, _), plug)| device.port(At::Simulated(plug.name().into()))).collect();
    let ports = Ports { serial, recorder: vec![recorder::rules()] };
    let faults = Arc::clone(&switches);
    let context = context.clone();
    let run = move || {
        let mut voice = Voice { bus: context.bus, refused: false };
        let period = Duration::from_secs(1) / STEPS_PER_S as u32;
        let mut due = Instant::now();
        let mut step = 0;
        loop {
            let at = Moment { step, wall: Wall::now() };
            for (n, plug) in plugs.iter_mut().enumerate() {
                plug.set(!faults.now(bench.wired_id(n)).disconnect);
            }
            bench.step(at, |source| faults.now(source));
            converse(&mut bench, &plugs, at);
            voice.publish(bench.out.take());
            step += 1;
            due += period;
            let now = Instant::now();
            // After a long stop (SIGSTOP, a suspended laptop) time goes on from here; what was missed is not made up.
            if now > due + Duration::from_secs(1) {
                due = now;
            }
            // What is said to a device between two steps is answered at once.
            while !context.stop.is_stopped() && Instant::now() < due {
                if hears(&plugs, due.saturating_duration_since(Instant::now()), &context.stop) {
                    converse(&mut bench, &plugs, at);
                }
            }
            if context.stop.is_stopped() {
                let until = Instant::now() + LINGER;
                plugs.iter().for_each(|plug| plug.wait_closed(until));
                return;
            }
        }
    };
    let handle = threads::spawn("bench", limits::STACK, run)?;
    handles.push(handle);
    Ok((handles, switches, ports))
}

/// Waits for one of the devices to be spoken to, at most `time`; the stop is seen within a step.
fn hears(plugs: &[Plug], time: Duration, stop: &Stop) -> bool {
    let mut open: Vec<PollFd<'_>> =
        plugs.iter().filter_map(Plug::open_end).map(|end| PollFd::new(end, PollFlags::IN)).collect();
    if open.is_empty() {
        stop.wait(time);
        return false;
    }
    let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
    poll(&mut open, Some(&time)).is_ok_and(|n| n > 0)
}

/// Every device hears what it is told, and answers.
fn converse(bench: &mut Bench, plugs: &[Plug], at: Moment) {
    for (n, plug) in plugs.iter().enumerate() {
        bench.heard(n, &plug.read());
    }
    bench.listen(at);
    for (plug, bytes) in plugs.iter().zip(bench.said()) {
        plug.write(&bytes);
    }
}

/// What an earlier run left in the state: what it did not end is ended.
#[derive(Default)]
pub(super) struct Earlier {
    jobs: Vec<JobStatus>,
}

impl Earlier {
    fn of(bus: &Bus) -> Self {
        let mut jobs: Vec<JobStatus> = restored(bus, "job/*", "job_status");
        jobs.retain(|job| job.job_id.starts_with("encode-rec1-") || job.source.as_deref() == Some("dropbox"));
        Earlier { jobs }
    }
}

/// The payloads of one type in the state, oldest first.
fn restored<T: DeserializeOwned>(bus: &Bus, topics: &str, kind: &str) -> Vec<T> {
    let Ok(filter) = TopicFilter::parse(topics) else { return Vec::new() };
    let events = bus.snapshot(&filter).state;
    events.iter().filter(|event| &*event.kind == kind).filter_map(|event| payload(event.data())).collect()
}

/// The payload of an envelope.
fn payload<T: DeserializeOwned>(envelope: &str) -> Option<T> {
    #[derive(serde::Deserialize)]
    struct Envelope<T> {
        payload: T,
    }
    serde_json::from_str::<Envelope<T>>(envelope).ok().map(|envelope| envelope.payload)
}

/// All devices and their links.
pub(super) struct Bench {
    devices: Vec<(Box<dyn Device>, Link)>,
    wired: Vec<(Box<dyn Wired>, Wire)>,
    world: World,
    pub out: Out,
}

impl Bench {
    pub fn new(seed: u64, earlier: Earlier, takes: Takes) -> Self {
        let wired: Vec<Box<dyn Wired>> = vec![
            Box::new(Recorder::new(seed, takes)),
            // What gives the voltage before what measures it.
            Box::new(Supply::new(seed)),
            Box::new(Meter::new(seed)),
            Box::new(Stage::new(seed)),
        ];
        let wired = wired.into_iter().map(|device| {
            let wire = Wire::new(seed, device.id());
            (device, wire)
        });
        let mut devices: Vec<Box<dyn Device>> =
            streams(seed).into_iter().map(|stream| Box::new(stream) as Box<dyn Device>).collect();
        devices.push(Box::new(Camera::new(seed)));
        devices.push(Box::new(Services::new(seed)));
        let devices = devices.into_iter().map(|device| {
            let link = Link::new(seed, device.source(), device.timeout_s());
            (device, link)
        });
        // The first thing that is said: what an earlier run did not end, nobody will.
        let mut out = Out::default();
        for job in earlier.jobs.into_iter().filter_map(jobs::interrupted) {
            out.retire("job_status", &job.job_id, &job);
        }
        Bench { devices: devices.collect(), wired: wired.collect(), world: World::default(), out }
    }

    pub fn sources(&self) -> Vec<&'static str> {
        let wired = self.wired.iter().map(|(device, _)| device.id());
        wired.chain(self.devices.iter().map(|(device, _)| device.source())).collect()
    }

    pub fn step(&mut self, at: Moment, faults: impl Fn(&str) -> Faults) {
        for (device, link) in &mut self.devices {
            link.begin(faults(device.source()));
            device.step(at, link, &mut self.out);
            link.report(at, &mut self.out);
        }
        for (device, wire) in &mut self.wired {
            wire.begin(faults(device.id()));
            for line in device.step(at, &mut self.world, &mut self.out) {
                wire.say(&line);
            }
        }
    }

    /// The devices at ports hear what they were told, and answer.
    pub fn listen(&mut self, at: Moment) {
        for (device, wire) in &mut self.wired {
            while let Some(line) = wire.line() {
                if let Some(answer) = device.hear(&line, at, &mut self.world) {
                    wire.say(&answer);
                }
            }
        }
    }

    /// The id of the device with this number among those at a port.
    pub fn wired_id(&self, n: usize) -> &'static str {
        self.wired.get(n).map_or("", |(device, _)| device.id())
    }

    /// The daemon has sent this to the device with this number.
    pub fn heard(&mut self, n: usize, bytes: &[u8]) {
        if let Some((_, wire)) = self.wired.get_mut(n) {
            wire.receive(bytes);
        }
    }

    /// What the devices at ports have said since the last call, each in its turn.
    pub fn said(&mut self) -> Vec<Vec<u8>> {
        self.wired.iter_mut().map(|(_, wire)| wire.take()).collect()
    }
}

/// What publishes what the devices say.
struct Voice {
    bus: Arc<Bus>,
    refused: bool,
}

impl Voice {
    fn publish(&mut self, drafts: Vec<Draft>) {
        if drafts.is_empty() {
            return;
        }
        let lost = drafts.len();
        let refused = self.bus.publish_all(drafts, None).err();
        match refused {
            Some(why) if !self.refused => {
                log::warn!("the simulated bench could not publish {lost} events: {why}")
            }
            None if self.refused => log::info!("the simulated bench publishes again"),
            _ => {}
        }
        self.refused = refused.is_some();
    }
}

#[cfg(test)]
mod tests;
