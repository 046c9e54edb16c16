//! The files of the simulated recorder: small real WAVs, which grow while it records and get their sidecar when it stops.
//!
//! The recorder says what it hears; the thread `takes` writes once a second what that sounds like, 8 kHz, one channel, 16 bits.
//! Their header says no length until the end, as with real recorders. Bounded: what can't be written at once is left out, and
//! old ones go by the retention of the folder. A full disk costs the files, never the bench.

use super::{STEPS_PER_S, compact};
use crate::clock::Wall;
use crate::limits;
use crate::random::Random;
use crate::sources::recordings::pcm16_header;
use crate::threads;
use crossbeam::channel::{Receiver, Sender, bounded};
use serde_json::Value;
use std::f64::consts::TAU;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// Samples in a second.
const RATE: u32 = 8_000;
/// Bytes in a second: what the recorder counts with.
pub(super) const BYTES_PER_S: f64 = RATE as f64 * 2.0;

/// What the recorder does.
enum Sound {
    Begin(String),
    /// One step at this level, in dBFS.
    Level(f64),
    /// With what goes into the sidecar.
    End(Value),
}

/// Where the recorder's sound goes; nowhere by default.
#[derive(Clone, Default)]
pub(super) struct Takes(Option<Sender<Sound>>);

impl Takes {
    /// A thread that writes into `folder`; it ends when the last of these is dropped.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(folder: PathBuf, seed: u64) -> io::Result<(Takes, JoinHandle<()>)> {
        // Ten seconds of steps: a card that writes for longer costs a piece of sound.
        let (to, sounds) = bounded(10 * STEPS_PER_S as usize);
        let writer = Writer { folder, random: Random::of(seed, "takes"), take: None, failed: false, t: 0 };
        let handle = threads::spawn("takes", limits::STACK, move || writer.run(&sounds))?;
        Ok((Takes(Some(to)), handle))
    }

    /// A recording of this name begins.
    pub fn begin(&self, name: &str) {
        self.send(Sound::Begin(name.into()));
    }

    /// It goes on for a step.
    pub fn level(&self, level_db: f64) {
        self.send(Sound::Level(level_db));
    }

    /// It ends; `sidecar` is what the recorder knows of it.
    pub fn end(&self, sidecar: Value) {
        self.send(Sound::End(sidecar));
    }

    fn send(&self, sound: Sound) {
        if let Some(to) = &self.0 {
            let _ = to.try_send(sound);
        }
    }
}

/// A name for a recording that began at `wall`, in step `step`.
pub(super) fn name(recorder: &str, wall: Wall, step: u64) -> String {
    format!("{recorder}-{}-{step}", compact(wall))
}

struct Take {
    path: PathBuf,
    file: File,
    held: Vec<u8>,
    bytes: u32,
}

struct Writer {
    folder: PathBuf,
    random: Random,
    take: Option<Take>,
    failed: bool,
    /// Samples, for the tone.
    t: u64,
}

impl Writer {
    fn run(mut self, sounds: &Receiver<Sound>) {
        for sound in sounds {
            let done = match sound {
                Sound::Begin(name) => self.end(None).and_then(|()| self.begin(&name)),
                Sound::Level(level_db) => self.level(level_db),
                Sound::End(sidecar) => self.end(Some(&sidecar)),
            };
            match done {
                Err(e) if !self.failed => {
                    log::warn!("the simulated recorder could not write to `{}`: {e}", self.folder.display());
                    self.failed = true;
                    self.take = None;
                }
                Err(_) => self.take = None,
                Ok(()) => {}
            }
        }
        // The bench stops: the file is whole as far as it goes.
        let _ = self.end(None);
    }

    fn begin(&mut self, name: &str) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(format!("{name}.wav"));
        let mut file = File::create(&path)?;
        file.write_all(&pcm16_header(RATE, 1, 0))?;
        self.take = Some(Take { path, file, held: Vec::new(), bytes: 0 });
        self.failed = false;
        Ok(())
    }

    fn level(&mut self, level_db: f64) -> io::Result<()> {
        let Some(take) = &mut self.take else { return Ok(()) };
        // The level is that of the peaks; a tone over noise comes near it.
        let loud = 10_f64.powf(level_db / 20.0) * 32767.0;
        for _ in 0..RATE / STEPS_PER_S as u32 {
            let at = self.t as f64 / f64::from(RATE);
            let sample = 0.6 * (TAU * 440.0 * at).sin() + 0.4 * (2.0 * self.random.unit() - 1.0);
            take.held.extend(((sample * loud) as i16).to_le_bytes());
            self.t += 1;
        }
        if take.held.len() >= BYTES_PER_S as usize { take.write() } else { Ok(()) }
    }

    fn end(&mut self, sidecar: Option<&Value>) -> io::Result<()> {
        let Some(mut take) = self.take.take() else { return Ok(()) };
        take.write()?;
        take.file.write_all_at(&pcm16_header(RATE, 1, take.bytes), 0)?;
        if let Some(sidecar) = sidecar {
            write_beside(&take.path, sidecar)?;
        }
        Ok(())
    }
}

impl Take {
    fn write(&mut self) -> io::Result<()> {
        self.file.write_all(&self.held)?;
        self.bytes += self.held.len() as u32;
        self.held.clear();
        Ok(())
    }
}

fn write_beside(path: &Path, sidecar: &Value) -> io::Result<()> {
    let mut name = path.as_os_str().to_os_string();
    name.push(".json");
    std::fs::write(PathBuf::from(name), sidecar.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_take_is_a_wav_with_a_sidecar() {
        let dir = tempfile::tempdir().unwrap();
        let (takes, thread) = Takes::start(dir.path().join("new"), 42).unwrap();
        takes.begin("a");
        (0..20).for_each(|_| takes.level(-6.0));
        takes.end(serde_json::json!({ "recorder_id": "rec1" }));
        takes.begin("b");
        takes.level(-6.0);
        drop(takes);
        thread.join().unwrap();
        let read = |name: &str| std::fs::read(dir.path().join("new").join(name)).unwrap();
        let a = read("a.wav");
        assert_eq!(a[..44], pcm16_header(RATE, 1, 40_000));
        assert_eq!((a.len(), read("b.wav").len()), (44 + 40_000, 44 + 2_000));
        let peak = a[44..].chunks(2).map(|b| i16::from_le_bytes([b[0], b[1]]).unsigned_abs()).max().unwrap();
        assert!((12_000..=16_423).contains(&peak), "{peak}");
        assert_eq!(read("a.wav.json"), br#"{"recorder_id":"rec1"}"#);
        assert!(!dir.path().join("new/b.wav.json").exists());
    }
}
