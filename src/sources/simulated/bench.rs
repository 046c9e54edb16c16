//! The thread that steps the devices and does what they ask.

use super::camera::Camera;
use super::fault::{Faults, Switches};
use super::instruments::{Meter, Stage, Supply};
use super::link::Link;
use super::out::{Effect, Out};
use super::queue::{self, Queue};
use super::recorder::Recorder;
use super::services::Services;
use super::streams::streams;
use super::takes::Takes;
use super::{Actions, Device, Moment, STEPS_PER_S, World, jobs};
use crate::bus::{Bus, Command, Commands};
use crate::clock::Wall;
use crate::limits;
use crate::model::{Draft, JobStatus, ScanStatus, TopicFilter};
use crate::sources::{BenchControl, Context, Handles};
use crate::threads;
use crossbeam::channel::{Sender, bounded};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Starts the bench, ended by the context's stop. Its recordings go into `folder`, if there is one.
///
/// # Errors
/// When the system has no thread left.
pub fn start(
    context: &Context,
    seed: u64,
    folder: Option<PathBuf>,
) -> io::Result<(Handles, Arc<dyn BenchControl>)> {
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
    let (to, commands) = bounded(limits::BENCH_COMMANDS);
    for (target, actions) in bench.owned() {
        context.commands.own_with(&target, actions, to.clone());
    }
    let faults = Arc::clone(&switches);
    let context = context.clone();
    let run = move || {
        let mut hands = Hands { bus: context.bus, commands: context.commands, to, refused: false };
        let period = Duration::from_secs(1) / STEPS_PER_S as u32;
        let mut due = Instant::now();
        let mut step = 0;
        loop {
            let at = Moment { step, wall: Wall::now() };
            for command in commands.try_iter() {
                bench.command(&command, at);
            }
            bench.step(at, |source| faults.now(source));
            hands.do_all(bench.out.take());
            step += 1;
            due += period;
            let now = Instant::now();
            // After a long stop (SIGSTOP, a suspended laptop) time goes on from here; what was missed is not made up.
            if now > due + Duration::from_secs(1) {
                due = now;
            }
            if context.stop.wait(due.saturating_duration_since(now)) {
                return;
            }
        }
    };
    let handle = threads::spawn("bench", limits::STACK, run)?;
    handles.push(handle);
    Ok((handles, switches))
}

/// What an earlier run left in the state: its numbers are not used again, what it did not end is ended.
#[derive(Default)]
pub(super) struct Earlier {
    scans: Vec<ScanStatus>,
    jobs: Vec<JobStatus>,
}

impl Earlier {
    fn of(bus: &Bus) -> Self {
        let mut scans: Vec<ScanStatus> = restored(bus, "scan/*", "scan_status");
        scans.retain(|scan| {
            scan.queue_id.as_deref() == Some(queue::ID) && scan.executor.as_deref() == Some("simulated")
        });
        let mut jobs: Vec<JobStatus> = restored(bus, "job/*", "job_status");
        jobs.retain(|job| job.job_id.starts_with("encode-rec1-") || job.source.as_deref() == Some("dropbox"));
        Earlier { scans, jobs }
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
    world: World,
    pub out: Out,
    /// Which device answers for a target.
    owners: BTreeMap<String, usize>,
}

impl Bench {
    pub fn new(seed: u64, earlier: Earlier, takes: Takes) -> Self {
        let wall = Wall::now();
        let mut devices: Vec<Box<dyn Device>> = vec![
            Box::new(Recorder::new(seed, takes)),
            // The queue before the instruments it drives.
            Box::new(Queue::new(seed, &earlier.scans)),
            Box::new(Supply::new(seed)),
            Box::new(Meter::new(seed)),
            Box::new(Stage::new(seed)),
        ];
        devices.extend(streams(seed).into_iter().map(|stream| Box::new(stream) as Box<dyn Device>));
        devices.push(Box::new(Camera::new(seed)));
        devices.push(Box::new(Services::new(seed)));
        let owners =
            devices.iter().enumerate().flat_map(|(n, d)| d.owned().into_iter().map(move |(t, _)| (t, n)));
        let owners = owners.collect();
        let devices = devices.into_iter().map(|device| {
            let link = Link::new(seed, device.source(), device.timeout_s());
            (device, link)
        });
        // The first thing that is said: what an earlier run did not end, nobody will.
        let mut out = Out::default();
        for scan in earlier.scans.into_iter().filter_map(|scan| queue::interrupted(scan, wall)) {
            out.retire("scan_status", &scan.scan_id, &scan);
        }
        for job in earlier.jobs.into_iter().filter_map(jobs::interrupted) {
            out.retire("job_status", &job.job_id, &job);
        }
        Bench { devices: devices.collect(), world: World::default(), out, owners }
    }

    pub fn sources(&self) -> Vec<&'static str> {
        self.devices.iter().map(|(device, _)| device.source()).collect()
    }

    pub fn owned(&self) -> Vec<(String, Actions)> {
        self.devices.iter().flat_map(|(device, _)| device.owned()).collect()
    }

    pub fn step(&mut self, at: Moment, faults: impl Fn(&str) -> Faults) {
        for (device, link) in &mut self.devices {
            link.begin(faults(device.source()));
            device.step(at, link, &mut self.world, &mut self.out);
            link.report(at, &mut self.out);
        }
    }

    pub fn command(&mut self, command: &Command, at: Moment) {
        // Scans come and go; they are the queue's.
        let queue = || self.devices.iter().position(|(device, _)| device.source() == queue::SOURCE);
        let owner = self.owners.get(&command.target).copied().or_else(queue);
        if let Some((device, link)) = owner.and_then(|n| self.devices.get_mut(n)) {
            device.command(command, at, link, &self.world, &mut self.out);
        }
    }
}

/// What does what the devices ask.
struct Hands {
    bus: Arc<Bus>,
    commands: Arc<Commands>,
    to: Sender<Command>,
    refused: bool,
}

impl Hands {
    /// In order: a status is published before the command it confirms is finished.
    fn do_all(&mut self, effects: Vec<Effect>) {
        let mut drafts = Vec::new();
        for effect in effects {
            let effect = match effect {
                Effect::Publish(draft) => {
                    drafts.push(draft);
                    continue;
                }
                other => other,
            };
            self.publish(&mut drafts);
            match effect {
                Effect::Own(target, actions) => self.commands.own_with(&target, actions, self.to.clone()),
                Effect::Disown(target) => self.commands.disown(&target),
                Effect::Finish { id, state, status, reason } => {
                    self.commands.finish(&id, state, status, reason.as_deref());
                }
                Effect::Publish(_) => {}
            }
        }
        self.publish(&mut drafts);
    }

    fn publish(&mut self, drafts: &mut Vec<Draft>) {
        if drafts.is_empty() {
            return;
        }
        let lost = drafts.len();
        let refused = self.bus.publish_all(std::mem::take(drafts), None).err();
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
