//! A file in place of a device: a capture with its own timing, or any file of bytes at the speed of a port.
//!
//! **Promises.** The bytes come in their order and none is left out, at whatever rate. At the end it is silent, or begins
//! anew. What is sent to it goes nowhere.

use super::capture::{HEADING, Records, Way};
use crate::config::{Device, Parity, Replay, SerialPort};
use crate::sources::hardware::{OpenPort, Port};
use crate::sources::monotonic;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;

/// Plays files.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplayPorts;

impl OpenPort for ReplayPorts {
    fn open(&self, settings: &SerialPort) -> io::Result<Box<dyn Port>> {
        let Device::Replay(replay) = &settings.device else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "this port has a device"));
        };
        Ok(Box::new(Playing { player: Player::new(replay, bytes_a_second(settings))?, fresh: true }))
    }

    fn is_there(&self, settings: &SerialPort) -> bool {
        matches!(&settings.device, Device::Replay(replay) if replay.file.exists())
    }
}

/// A character is a start bit, data bits, a parity bit where there is one, and stop bits.
pub fn bytes_a_second(settings: &SerialPort) -> f64 {
    let parity = u32::from(settings.parity != Parity::None);
    let bits = 1 + u32::from(settings.data_bits) + parity + u32::from(settings.stop_bits);
    f64::from(settings.baud) / f64::from(bits)
}

/// What a player gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Play {
    /// These bytes are due.
    Bytes(Vec<u8>),
    /// Nothing is due before this much time has passed.
    Wait(Duration),
    /// That was all.
    End,
}

/// Plays one file. Time is passed in.
pub struct Player {
    replay: Replay,
    bytes_a_second: f64,
    tape: Tape,
    /// When this pass began; none before the first question.
    begun: Option<Duration>,
    /// Something came in this pass: an empty file is not played over and over.
    any: bool,
    ended: bool,
}

enum Tape {
    Capture { records: Records<BufReader<File>>, next: Option<(Duration, Vec<u8>)> },
    Raw { file: BufReader<File>, sent: u64 },
}

impl Tape {
    fn open(replay: &Replay) -> io::Result<Tape> {
        let open = || -> io::Result<Tape> {
            let mut file = BufReader::new(File::open(&replay.file)?);
            if file.fill_buf()?.starts_with(HEADING.as_bytes()) {
                Ok(Tape::Capture { records: Records::new(file), next: None })
            } else {
                Ok(Tape::Raw { file, sent: 0 })
            }
        };
        open().map_err(|e| {
            let why =
                if e.kind() == io::ErrorKind::NotFound { "it is not there".into() } else { e.to_string() };
            io::Error::new(e.kind(), format!("failed to open `{}`: {why}", replay.file.display()))
        })
    }
}

impl Player {
    /// A player of a file; one that is no capture is played at `bytes_a_second`.
    ///
    /// # Errors
    /// When the file can't be opened.
    pub fn new(replay: &Replay, bytes_a_second: f64) -> io::Result<Player> {
        let tape = Tape::open(replay)?;
        Ok(Player { replay: replay.clone(), bytes_a_second, tape, begun: None, any: false, ended: false })
    }

    /// What is due at `now`: at most `most` bytes.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn play(&mut self, most: usize, now: Duration) -> io::Result<Play> {
        if self.ended {
            return Ok(Play::End);
        }
        let rate = self.replay.rate;
        let begun = *self.begun.get_or_insert(now);
        let elapsed = now.saturating_sub(begun);
        match &mut self.tape {
            Tape::Capture { records, next } => {
                while next.is_none() {
                    match records.next()? {
                        Some(record) if record.way == Way::In && !record.bytes.is_empty() => {
                            *next = Some((record.at, record.bytes));
                        }
                        Some(_) => {}
                        None => return self.end(),
                    }
                }
                let Some((at, bytes)) = next else { return Ok(Play::End) };
                let due = if rate > 0.0 { at.div_f64(rate) } else { Duration::ZERO };
                if due > elapsed {
                    return Ok(Play::Wait(due - elapsed));
                }
                self.any = true;
                if bytes.len() <= most {
                    return Ok(Play::Bytes(next.take().map(|(_, bytes)| bytes).unwrap_or_default()));
                }
                let rest = bytes.split_off(most);
                Ok(Play::Bytes(std::mem::replace(bytes, rest)))
            }
            Tape::Raw { file, sent } => {
                let speed = self.bytes_a_second * rate;
                let due = if rate > 0.0 { (elapsed.as_secs_f64() * speed) as u64 } else { u64::MAX };
                let most = (most as u64).min(due.saturating_sub(*sent));
                if most == 0 {
                    // About as many at a time as a port gives.
                    return Ok(Play::Wait(
                        Duration::from_secs_f64(16.0 / speed).max(Duration::from_millis(5)),
                    ));
                }
                let mut bytes = Vec::new();
                file.take(most).read_to_end(&mut bytes)?;
                if bytes.is_empty() {
                    return self.end();
                }
                *sent += bytes.len() as u64;
                self.any = true;
                Ok(Play::Bytes(bytes))
            }
        }
    }

    fn end(&mut self) -> io::Result<Play> {
        if self.replay.again && self.any {
            self.tape = Tape::open(&self.replay)?;
            (self.begun, self.any) = (None, false);
            return Ok(Play::Wait(Duration::from_millis(1)));
        }
        self.ended = true;
        Ok(Play::End)
    }
}

/// A player as a port.
struct Playing {
    player: Player,
    /// Nothing has been read yet.
    fresh: bool,
}

impl Port for Playing {
    fn read(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        // A pause first: a file begins with the beginning of a line.
        if std::mem::take(&mut self.fresh) {
            return Ok(0);
        }
        let pause = match self.player.play(buffer.len(), monotonic())? {
            Play::Bytes(bytes) => {
                buffer.iter_mut().zip(&bytes).for_each(|(to, from)| *to = *from);
                return Ok(bytes.len());
            }
            Play::Wait(time) => time.min(wait),
            Play::End => wait,
        };
        std::thread::sleep(pause);
        Ok(0)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn clear_input(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const MS: Duration = Duration::from_millis(1);

    fn player(text: &[u8], rate: f64, again: bool) -> (Player, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, text).unwrap();
        (Player::new(&Replay { file, rate, again }, 960.0).unwrap(), dir)
    }

    const CAPTURE: &[u8] = b"# telltale capture 1 x\n0 ! open\n100 < ab\n150 > no\n300 < cde\n";

    fn bytes(text: &str) -> Play {
        Play::Bytes(text.into())
    }

    #[test]
    fn a_capture_has_its_own_timing() {
        let (mut play, _dir) = player(CAPTURE, 2.0, false);
        let at = |play: &mut Player, ms: u32| play.play(2, 1_000 * MS + ms * MS).unwrap();
        assert_eq!(at(&mut play, 0), Play::Wait(50 * MS));
        assert_eq!(at(&mut play, 49), Play::Wait(MS));
        assert_eq!(at(&mut play, 50), bytes("ab"));
        assert_eq!(at(&mut play, 50), Play::Wait(100 * MS));
        // Late: at once, in pieces as large as asked for.
        assert_eq!(
            (at(&mut play, 400), at(&mut play, 400), at(&mut play, 400)),
            (bytes("cd"), bytes("e"), Play::End)
        );
    }

    #[test]
    fn as_fast_as_it_is_taken_and_over_again() {
        let (mut play, _dir) = player(CAPTURE, 0.0, true);
        let all: Vec<_> = (0..6).map(|_| play.play(9, MS).unwrap()).collect();
        assert_eq!(
            all,
            [bytes("ab"), bytes("cde"), Play::Wait(MS), bytes("ab"), bytes("cde"), Play::Wait(MS)]
        );
        let (mut empty, _dir) = player(b"# telltale capture 1 x\n", 0.0, true);
        assert_eq!(empty.play(9, MS).unwrap(), Play::End);
    }

    #[test]
    fn any_other_file_comes_at_the_speed_of_the_port() {
        let (mut play, _dir) = player(&[b'x'; 100], 1.0, false);
        assert!(matches!(play.play(500, MS).unwrap(), Play::Wait(_)));
        assert_eq!(play.play(500, 51 * MS).unwrap(), bytes(&"x".repeat(48)));
        assert!(matches!(play.play(500, 51 * MS).unwrap(), Play::Wait(_)));
        assert_eq!(play.play(500, 10_000 * MS).unwrap(), bytes(&"x".repeat(52)));
        assert_eq!(play.play(500, 10_000 * MS).unwrap(), Play::End);
    }

    #[test]
    fn a_file_that_is_not_there_is_absent() {
        let replay = Replay { file: PathBuf::from("/no/such/file"), rate: 1.0, again: false };
        let error = Player::new(&replay, 960.0).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(error.to_string(), "failed to open `/no/such/file`: it is not there");
    }
}
