//! `telltale replay`: plays a capture, or any file of bytes, to standard output or as a tty.

use super::{DONE, FAILED, ReplayArgs, UNAVAILABLE, USAGE, complain, interrupted};
use crate::config::Replay;
use crate::sources::serial::{Play, Player};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long the last bytes may wait for a reader.
const DRAIN: Duration = Duration::from_secs(5);

pub(super) fn replay(args: ReplayArgs) -> u8 {
    if !(0.0..=1_000.0).contains(&args.rate) {
        complain(&format!("--rate is {}; expected a number from 0 to 1000", args.rate));
        return USAGE;
    }
    let replay = Replay { file: args.file.clone(), rate: args.rate, again: args.again };
    // A start bit, eight data bits and a stop bit.
    let player = match Player::new(&replay, f64::from(args.baud) / 10.0) {
        Ok(player) => player,
        Err(e) => {
            complain(&e.to_string());
            return UNAVAILABLE;
        }
    };
    let Some(until) = interrupted() else { return FAILED };
    let done = match &args.to {
        None => play(player, &mut io::stdout(), &until),
        Some(link) => match Tty::new(link) {
            Ok(mut tty) => {
                complain(&format!("{} plays as {}", args.file.display(), link.display()));
                play(player, &mut tty, &until).and_then(|()| tty.drain(&until))
            }
            Err(e) => {
                complain(&format!("failed to make a tty at {}: {e}", link.display()));
                return UNAVAILABLE;
            }
        },
    };
    match done {
        Ok(()) => DONE,
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => DONE,
        Err(e) => {
            complain(&format!("the replay ends: {e}"));
            FAILED
        }
    }
}

fn play(mut player: Player, to: &mut dyn Write, until: &AtomicBool) -> io::Result<()> {
    let begun = Instant::now();
    while !until.load(Ordering::Relaxed) {
        match player.play(1024, begun.elapsed())? {
            Play::Bytes(bytes) => {
                let mut rest = bytes.as_slice();
                while !rest.is_empty() && !until.load(Ordering::Relaxed) {
                    match to.write(rest) {
                        Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        // Nobody reads just now.
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                            std::thread::sleep(Duration::from_millis(10));
                        }
                        Err(e) => return Err(e),
                    }
                }
                to.flush()?;
            }
            Play::Wait(time) => std::thread::sleep(time.min(Duration::from_millis(200))),
            Play::End => break,
        }
    }
    Ok(())
}

/// A pseudo-terminal with a name.
struct Tty {
    master: File,
    /// Kept open, so that the bytes wait for whoever opens it.
    slave: OwnedFd,
    link: PathBuf,
}

impl Tty {
    fn new(link: &Path) -> io::Result<Tty> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let path = Path::new(OsStr::from_bytes(name.as_bytes()));
        let slave = OwnedFd::from(File::options().read(true).write(true).open(path)?);
        // Without this it would echo, and hold lines back.
        let mut modes = tcgetattr(&slave)?;
        modes.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &modes)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        // Our own link from before is replaced, nothing else.
        if link.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
            std::fs::remove_file(link)?;
        }
        symlink(path, link)?;
        Ok(Tty { master: File::from(master), slave, link: link.into() })
    }

    /// Waits until somebody has read the rest.
    fn drain(&self, until: &AtomicBool) -> io::Result<()> {
        let begun = Instant::now();
        while rustix::io::ioctl_fionread(&self.slave)? > 0
            && begun.elapsed() < DRAIN
            && !until.load(Ordering::Relaxed)
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Write for Tty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.master.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.link);
    }
}
