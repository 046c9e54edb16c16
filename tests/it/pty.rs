//! A pseudo-terminal that plays a serial device. Closing it is what pulling out an adapter looks like.

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub struct Device {
    master: OwnedFd,
    tty: PathBuf,
}

impl Device {
    pub fn new() -> Device {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let tty = ptsname(&master, Vec::new()).unwrap();
        Device { tty: PathBuf::from(tty.to_str().unwrap()), master }
    }

    /// Appears under a name of its own, as under /dev/serial/by-id.
    pub fn plugged_in_as(name: &Path) -> Device {
        let device = Device::new();
        let _ = std::fs::remove_file(name);
        symlink(&device.tty, name).unwrap();
        device
    }

    /// Its own name.
    pub fn path(&self) -> &Path {
        &self.tty
    }

    /// Sends bytes.
    pub fn say(&self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[rustix::io::write(&self.master, rest).unwrap()..];
        }
    }

    /// Whether the daemon has sent something that was not heard yet.
    pub fn has_something(&self) -> bool {
        self.waits(Duration::ZERO)
    }

    /// The same, waiting for it.
    pub fn waits(&self, time: Duration) -> bool {
        let mut fds = [rustix::event::PollFd::new(&self.master, rustix::event::PollFlags::IN)];
        let limit =
            rustix::event::Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
        let ready = rustix::event::poll(&mut fds, Some(&limit)).unwrap() > 0;
        // Until somebody opens it, the other end is hung up.
        let hung_up = fds[0].revents().contains(rustix::event::PollFlags::HUP);
        if hung_up {
            std::thread::sleep(time.min(Duration::from_millis(5)));
        }
        ready && fds[0].revents().contains(rustix::event::PollFlags::IN)
    }

    /// What the daemon has sent, at most 100 bytes of it; nothing while nobody has the other end open.
    pub fn hear(&self) -> String {
        let mut buffer = [0; 100];
        let n = match rustix::io::read(&self.master, &mut buffer) {
            Err(rustix::io::Errno::IO) => 0,
            read => read.unwrap(),
        };
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    }
}
