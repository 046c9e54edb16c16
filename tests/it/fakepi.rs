//! A fake Raspberry Pi for the daemon: tests/fakepi/fakepi.c, built here and preloaded, and a pin to pull.

use crate::harness::{Options, until};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The board of one test; it outlives a daemon that is killed.
pub struct FakePi {
    dir: tempfile::TempDir,
    control: UnixDatagram,
}

impl FakePi {
    pub fn new() -> FakePi {
        FakePi { dir: tempfile::tempdir().unwrap(), control: UnixDatagram::unbound().unwrap() }
    }

    /// A daemon started with these has this board.
    pub fn board(&self, options: Options) -> Options {
        options
            .env("LD_PRELOAD", library().to_str().unwrap())
            .env("FAKEPI_DIR", self.dir.path().to_str().unwrap())
    }

    /// Sets a level; the edge is reported.
    pub fn set(&self, pin: u8, high: bool) {
        self.send("set", pin, high);
    }

    /// Sets a level; the edge is lost before it is counted.
    pub fn miss(&self, pin: u8, high: bool) {
        self.send("miss", pin, high);
    }

    /// Sets a level; the edge is counted and dropped.
    pub fn drop_edge(&self, pin: u8, high: bool) {
        self.send("drop", pin, high);
    }

    /// The level of a line now, also after the end of the daemon.
    pub fn level(&self, pin: u8) -> bool {
        let registers = std::fs::read(self.dir.path().join("gpiomem")).unwrap();
        let at = 0x34 + usize::from(pin) / 32 * 4;
        let word = u32::from_le_bytes(registers[at..at + 4].try_into().unwrap());
        word >> (pin % 32) & 1 == 1
    }

    fn send(&self, verb: &str, pin: u8, high: bool) {
        let text = format!("{verb} {pin} {}", u8::from(high));
        let path = self.dir.path().join("ctl");
        // The socket is made anew by every daemon; a stopped one leaves its queue full.
        until("the fake chip to take a level", || self.control.send_to(text.as_bytes(), &path).ok());
    }
}

/// Built once for all tests.
fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fakepi/fakepi.c");
        let library =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fakepi-{}.so", std::process::id()));
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"])
            .args([&library, &source])
            .output()
            .expect("a C compiler (cc) for the fake chip");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        library
    })
}
