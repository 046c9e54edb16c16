//! Pins and ports whose input a test writes.

use super::super::instruments::Wake;
use super::{OpenPins, OpenPort, PinEvent, Pins, PinsError, Port};
use crate::config::{Pull, SerialPort};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Lines of the board.
pub const LINES: u8 = 64;
/// Unread edges the kernel keeps of one line when rppal asks; further ones are counted and dropped.
const UNREAD: usize = 1_024;

/// A board: clones are the same one.
#[derive(Clone, Default)]
pub struct FakePins {
    inner: Arc<(Mutex<Board>, Condvar)>,
}

#[derive(Default)]
struct Board {
    absent: bool,
    lines: BTreeMap<u8, Line>,
    events: VecDeque<PinEvent>,
    broken: Option<io::ErrorKind>,
}

#[derive(Default)]
struct Line {
    /// What the outside world puts on it; none yet.
    level: Option<bool>,
    /// What we drive.
    driven: Option<bool>,
    /// It can't be driven: a short circuit to this level.
    stuck: Option<bool>,
    /// As an input with this bias.
    claimed: Option<Pull>,
    /// As an output.
    output: bool,
    seqno: u32,
    unread: usize,
    /// Every level it was driven to since the start, its claim included.
    history: Vec<bool>,
}

impl Line {
    fn level(&self) -> bool {
        self.stuck.or(self.driven).or(self.level).unwrap_or(false)
    }

    fn drive(&mut self, high: bool) {
        self.driven = Some(high);
        self.history.push(high);
    }
}

impl FakePins {
    /// No board at all.
    pub fn absent() -> Self {
        let pins = FakePins::default();
        pins.lock().absent = true;
        pins
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.inner.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Sets a level and reports the edge.
    pub fn set(&self, pin: u8, high: bool) {
        self.set_all(&[(pin, high)]);
    }

    /// Sets levels at one moment and reports their edges.
    pub fn set_all(&self, levels: &[(u8, bool)]) {
        let at = crate::sources::monotonic();
        let mut board = self.lock();
        let board = &mut *board;
        for (pin, high) in levels {
            let line = board.lines.entry(*pin).or_default();
            line.level = Some(*high);
            line.seqno += 1;
            if line.unread < UNREAD {
                line.unread += 1;
                board.events.push_back(PinEvent { pin: *pin, rising: *high, at, seqno: line.seqno });
            }
        }
        self.inner.1.notify_all();
    }

    /// Sets a level; the edge is never reported.
    pub fn set_silently(&self, pin: u8, high: bool) {
        self.lock().lines.entry(pin).or_default().level = Some(high);
    }

    /// An edge that the kernel counted and dropped.
    pub fn lose_edge(&self, pin: u8) {
        self.lock().lines.entry(pin).or_default().seqno += 1;
    }

    /// The next wait fails.
    pub fn fail(&self) {
        self.lock().broken = Some(io::ErrorKind::Other);
        self.inner.1.notify_all();
    }

    /// A short circuit: an output reads this level whatever it drives.
    pub fn short(&self, pin: u8, to: Option<bool>) {
        self.lock().lines.entry(pin).or_default().stuck = to;
    }

    /// The bias of a claimed input.
    pub fn claimed(&self, pin: u8) -> Option<Pull> {
        self.lock().lines.get(&pin)?.claimed
    }

    /// What an output drives, whether it is still claimed or not.
    pub fn driven(&self, pin: u8) -> Option<bool> {
        self.lock().lines.get(&pin)?.driven
    }

    /// Every level it was driven to, from its first claim.
    pub fn history(&self, pin: u8) -> Vec<bool> {
        self.lock().lines.get(&pin).map(|line| line.history.clone()).unwrap_or_default()
    }
}

impl OpenPins for FakePins {
    fn open(&self) -> Result<Box<dyn Pins>, PinsError> {
        if self.lock().absent { Err(PinsError::NoBoard) } else { Ok(Box::new(self.clone())) }
    }
}

impl Pins for FakePins {
    fn claim(&mut self, pin: u8, pull: Pull) -> Result<(), PinsError> {
        if pin >= LINES {
            return Err(PinsError::NoPin(pin));
        }
        let mut board = self.lock();
        let line = board.lines.entry(pin).or_default();
        line.claimed = Some(pull);
        line.driven = None;
        // The kernel counts from the request on.
        line.seqno = 0;
        line.level.get_or_insert(pull == Pull::Up);
        Ok(())
    }

    fn claim_output(&mut self, pin: u8, high: Option<bool>) -> Result<(), PinsError> {
        if pin >= LINES {
            return Err(PinsError::NoPin(pin));
        }
        let mut board = self.lock();
        let line = board.lines.entry(pin).or_default();
        if line.output {
            return Err(PinsError::Busy(pin));
        }
        line.output = true;
        match high {
            Some(high) => line.drive(high),
            None if line.driven.is_none() => line.drive(false),
            None => {}
        }
        Ok(())
    }

    fn write(&mut self, pin: u8, high: bool) {
        if let Some(line) = self.lock().lines.get_mut(&pin).filter(|line| line.output) {
            line.drive(high);
        }
    }

    fn release(&mut self, pin: u8) {
        if let Some(line) = self.lock().lines.get_mut(&pin) {
            line.claimed = None;
            line.output = false;
        }
    }

    fn level(&self, pin: u8) -> Option<bool> {
        self.lock().lines.get(&pin).map(Line::level)
    }

    fn wait(&mut self, time: Duration, events: &mut Vec<PinEvent>) -> io::Result<()> {
        let board = self.lock();
        let empty = |board: &mut Board| board.events.is_empty() && board.broken.is_none();
        let (mut board, _) =
            self.inner.1.wait_timeout_while(board, time, empty).unwrap_or_else(|e| e.into_inner());
        if let Some(kind) = board.broken.take() {
            return Err(kind.into());
        }
        events.extend(board.events.drain(..));
        board.lines.values_mut().for_each(|line| line.unread = 0);
        Ok(())
    }
}

/// What a fake port does next.
#[derive(Clone, Debug)]
pub enum Step {
    /// Bytes come in.
    Bytes(Vec<u8>),
    /// Nothing comes for one read.
    Silence,
    /// The device goes away.
    HangUp,
}

/// Serial ports that play a script. Clones are the same.
#[derive(Clone, Default)]
pub struct FakePorts {
    inner: Arc<(Mutex<Wire>, Condvar)>,
}

#[derive(Default)]
struct Wire {
    plugged: bool,
    script: VecDeque<Step>,
    written: Vec<u8>,
    opened: usize,
    deaf: bool,
    rung: bool,
}

impl FakePorts {
    /// Plugs the device in or pulls it out.
    pub fn plug(&self, there: bool) {
        self.inner.0.lock().unwrap_or_else(|e| e.into_inner()).plugged = there;
    }

    /// Takes nothing of what is written, or takes it again.
    pub fn deafen(&self, deaf: bool) {
        self.inner.0.lock().unwrap_or_else(|e| e.into_inner()).deaf = deaf;
    }

    /// Adds to the script.
    pub fn play(&self, step: Step) {
        self.inner.0.lock().unwrap_or_else(|e| e.into_inner()).script.push_back(step);
        self.inner.1.notify_all();
    }

    /// What was written to the device.
    pub fn written(&self) -> Vec<u8> {
        self.inner.0.lock().unwrap_or_else(|e| e.into_inner()).written.clone()
    }

    /// How often it was opened.
    pub fn opened(&self) -> usize {
        self.inner.0.lock().unwrap_or_else(|e| e.into_inner()).opened
    }
}

impl OpenPort for FakePorts {
    fn open(&self, settings: &SerialPort) -> io::Result<Box<dyn Port>> {
        let mut wire = self.inner.0.lock().unwrap_or_else(|e| e.into_inner());
        if !wire.plugged {
            let text = format!("failed to open `{}`: it is not there", settings.device);
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        wire.opened += 1;
        Ok(Box::new(self.clone()))
    }

    fn is_there(&self, _settings: &SerialPort) -> bool {
        self.inner.0.lock().unwrap_or_else(|e| e.into_inner()).plugged
    }
}

impl Port for FakePorts {
    fn read(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        let wire = self.inner.0.lock().unwrap_or_else(|e| e.into_inner());
        let empty = |wire: &mut Wire| wire.script.is_empty() && !wire.rung;
        let (mut wire, _) =
            self.inner.1.wait_timeout_while(wire, wait, empty).unwrap_or_else(|e| e.into_inner());
        wire.rung = false;
        match wire.script.pop_front() {
            None | Some(Step::Silence) => Ok(0),
            Some(Step::HangUp) => Err(io::ErrorKind::NotConnected.into()),
            Some(Step::Bytes(mut bytes)) => {
                let n = bytes.len().min(buffer.len());
                buffer[..n].copy_from_slice(&bytes[..n]);
                if n < bytes.len() {
                    wire.script.push_front(Step::Bytes(bytes.split_off(n)));
                }
                Ok(n)
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.inner.0.lock().unwrap_or_else(|e| e.into_inner());
        if wire.deaf {
            return Ok(0);
        }
        wire.written.extend(bytes);
        Ok(bytes.len())
    }

    fn clear_input(&mut self) -> io::Result<()> {
        let mut wire = self.inner.0.lock().unwrap_or_else(|e| e.into_inner());
        wire.script.retain(|step| !matches!(step, Step::Bytes(_)));
        Ok(())
    }

    fn waker(&self) -> Option<Wake> {
        let inner = Arc::clone(&self.inner);
        Some(Arc::new(move || {
            inner.0.lock().unwrap_or_else(|e| e.into_inner()).rung = true;
            inner.1.notify_all();
        }))
    }
}
