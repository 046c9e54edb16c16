//! The real inputs as a set: started with the daemon, started anew when the configuration changes.

use super::fold::Fold;
use super::gpio::GpioSource;
use super::hardware::{OpenPort, PiPins, PiPorts};
use super::host::HostSource;
use super::serial::SerialSource;
use super::{Context, Handles, HostExtras};
use crate::config::{Config, GpioPin, SerialPort};
use crate::limits;
use crate::threads::{self, Stop};
use crossbeam::channel::select;
use std::io;
use std::path::Path;
use std::sync::Arc;
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

/// The running inputs. Dropping it leaves their threads to `Context::stop`; [`Sources::stop`] ends and joins them.
pub struct Sources {
    context: Context,
    /// Ends the pins and the ports.
    wired: Stop,
    wired_handles: Handles,
    host: Stop,
    host_handles: Handles,
}

impl Sources {
    /// See [`super::start`].
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(
        context: &Context,
        config: &Config,
        host_extras: Box<dyn Fn() -> HostExtras + Send>,
    ) -> io::Result<Sources> {
        let mut sources = Sources {
            context: context.clone(),
            wired: Stop::default(),
            wired_handles: Vec::new(),
            host: Stop::default(),
            host_handles: Vec::new(),
        };
        sources.restart(&config.gpio, &config.serial)?;
        let mut disks = vec![config.data.clone()];
        disks.extend(config.host.disks.iter().cloned());
        let until = Until { daemon: context.stop.clone(), set: sources.host.clone() };
        let host = HostSource::new(Path::new("/"), disks, config.host.interval, host_extras);
        let bus = Arc::clone(&context.bus);
        sources.host_handles.push(threads::spawn("host", limits::STACK, move || host.run(&bus, &until))?);
        Ok(sources)
    }

    /// Ends the pins and ports that run and starts these. What the old ones fed is shown as not connected until a
    /// new one speaks of it.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn restart(&mut self, gpio: &[GpioPin], serial: &[SerialPort]) -> io::Result<()> {
        self.wired.stop();
        self.wired_handles.drain(..).for_each(threads::join);
        self.wired = Stop::default();
        let until = Until { daemon: self.context.stop.clone(), set: self.wired.clone() };
        let fold = Arc::new(Fold::new(Arc::clone(&self.context.bus)));
        // Every target knows all its sources before the first of them speaks.
        let pins = (!gpio.is_empty()).then(|| {
            GpioSource::new(gpio.to_vec(), Box::new(PiPins), Arc::clone(&self.context.bus), Arc::clone(&fold))
        });
        let ports: Vec<_> = serial
            .iter()
            .map(|port| {
                let opener: Box<dyn OpenPort> = Box::new(PiPorts);
                SerialSource::new(port.clone(), opener, Arc::clone(&self.context.bus), Arc::clone(&fold))
            })
            .collect();
        if let Some(pins) = pins {
            let until = until.clone();
            self.wired_handles.push(threads::spawn("gpio", limits::STACK, move || pins.run(&until))?);
        }
        for port in ports {
            let until = until.clone();
            // The kernel shows 15 characters of a thread's name.
            let name: String = format!("ser-{}", port.id()).chars().take(15).collect();
            self.wired_handles.push(threads::spawn(&name, limits::STACK, move || port.run(&until))?);
        }
        Ok(())
    }

    /// Ends and joins everything, within about half a second.
    pub fn stop(mut self) {
        self.wired.stop();
        self.host.stop();
        self.wired_handles.drain(..).chain(self.host_handles.drain(..)).for_each(threads::join);
    }
}
