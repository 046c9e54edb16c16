//! A pseudo-terminal with a name in the data folder: what a device is plugged in with.
//!
//! The daemon opens the name as it opens `/dev/serial/by-id/...`. Unplugged, the name goes and the terminal hangs up,
//! which is what pulling out an adapter looks like; plugged in again it is another terminal under the same name.
//! Promises: nothing here waits; what the daemon does not take in time is lost, as on a wire.

use crate::limits;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// See the module above.
pub(super) struct Plug {
    name: PathBuf,
    master: Option<OwnedFd>,
    failed: bool,
}

impl Plug {
    /// Plugged in under `folder`, which is made.
    pub fn new(folder: &Path, id: &str) -> Plug {
        let mut plug = Plug { name: folder.join(id), master: None, failed: false };
        plug.set(true);
        plug
    }

    /// The name to be opened.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Plugs it in or pulls it out.
    pub fn set(&mut self, plugged_in: bool) {
        if plugged_in == self.master.is_some() {
            return;
        }
        // First the name, so that nobody opens what is about to hang up.
        let _ = std::fs::remove_file(&self.name);
        if !plugged_in {
            self.master = None;
            return;
        }
        let terminal = terminal().and_then(|(master, tty)| {
            std::fs::create_dir_all(self.name.parent().unwrap_or(Path::new(".")))?;
            symlink(tty, &self.name)?;
            Ok(master)
        });
        match terminal {
            Ok(master) => (self.master, self.failed) = (Some(master), false),
            Err(e) if !std::mem::replace(&mut self.failed, true) => {
                log::warn!("the simulated device `{}` can't be plugged in: {e}", self.name.display());
            }
            Err(_) => {}
        }
    }

    /// What the daemon has sent.
    pub fn read(&self) -> Vec<u8> {
        let mut bytes = vec![0; limits::BENCH_INPUT];
        let n = match &self.master {
            Some(master) if self.is_open() => rustix::io::read(master, &mut bytes).unwrap_or(0),
            _ => 0,
        };
        bytes.truncate(n);
        bytes
    }

    /// Says as much of it as fits.
    pub fn write(&self, bytes: &[u8]) {
        if let Some(master) = &self.master
            && !bytes.is_empty()
            && self.is_open()
        {
            let _ = rustix::io::write(master, bytes);
        }
    }

    /// Our end, while the daemon has the other open.
    pub fn open_end(&self) -> Option<&OwnedFd> {
        self.master.as_ref().filter(|_| self.is_open())
    }

    /// Whether the daemon has it open.
    fn is_open(&self) -> bool {
        !self.hangs_up_within(Duration::ZERO)
    }

    /// Waits until the daemon has closed it: a device that goes first would be an outage.
    pub fn wait_closed(&self, until: Instant) {
        self.hangs_up_within(until.saturating_duration_since(Instant::now()));
    }

    fn hangs_up_within(&self, time: Duration) -> bool {
        let Some(master) = &self.master else { return true };
        let mut polled = [PollFd::new(master, PollFlags::empty())];
        let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
        poll(&mut polled, Some(&time)).is_ok_and(|n| n > 0)
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// A new pseudo-terminal: our end, and the name of the other.
pub(super) fn terminal() -> io::Result<(OwnedFd, PathBuf)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let tty = ptsname(&master, Vec::new())?;
    let tty = PathBuf::from(tty.to_string_lossy().as_ref());
    // No echo: until the daemon has set it up, a terminal would say back what the device says.
    let mut settings = tcgetattr(&master)?;
    settings.make_raw();
    tcsetattr(&master, OptionalActions::Now, &settings)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    // Opened and closed once: from then on it is known whether anybody has it open.
    drop(rustix::fs::open(
        &tty,
        OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )?);
    Ok((master, tty))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn it_is_plugged_in_pulled_out_and_plugged_in_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut plug = Plug::new(&dir.path().join("bench"), "a");
        plug.write(b"nobody\n");
        assert!(plug.read().is_empty());
        let open = |plug: &Plug| std::fs::File::options().read(true).write(true).open(plug.name());
        let mut port = open(&plug).unwrap();
        plug.write(b"one\n");
        let mut buffer = [0; 16];
        assert_eq!(port.read(&mut buffer).unwrap(), 4, "what was said to nobody is lost");
        port.write_all(b"two\n").unwrap();
        assert_eq!(plug.read(), b"two\n");
        // The daemon takes nothing: the rest is lost, and nothing waits.
        (0..100).for_each(|_| plug.write(&[b'x'; 1000]));
        plug.set(false);
        assert!(open(&plug).is_err());
        plug.set(true);
        drop(port);
        let port = open(&plug).unwrap();
        assert!(plug.is_open());
        drop(port);
        plug.wait_closed(Instant::now() + Duration::from_secs(10));
        assert!(!plug.is_open());
        let name = plug.name().to_path_buf();
        drop(plug);
        assert!(name.symlink_metadata().is_err(), "nothing stays behind");
    }
}
