//! Pins and ports whose input a test writes.

use super::{OpenPins, OpenPort, PinEvent, Pins, PinsError, Port};
use crate::config::{Pull, SerialPort};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// A board: clones are the same one.
#[derive(Clone, Default)]
pub struct FakePins {
    inner: Arc<(Mutex<Board>, Condvar)>,
}

#[derive(Default)]
struct Board {
    absent: bool,
    levels: BTreeMap<u8, bool>,
    seqno: BTreeMap<u8, u32>,
    events: VecDeque<PinEvent>,
    claimed: BTreeMap<u8, Pull>,
    broken: Option<io::ErrorKind>,
}

impl FakePins {
    /// No board at all.
    pub fn absent() -> Self {
        let pins = FakePins::default();
        pins.lock().absent = true;
        pins
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.inner.0.lock().unwrap()
    }

    /// Sets a level and reports the edge.
    pub fn set(&self, pin: u8, high: bool) {
        self.set_silently(pin, high);
        self.lose_edge(pin);
        let mut board = self.lock();
        let seqno = board.seqno[&pin];
        let at = crate::sources::monotonic();
        board.events.push_back(PinEvent { pin, rising: high, at, seqno });
        self.inner.1.notify_all();
    }

    /// Sets a level; the edge is never reported.
    pub fn set_silently(&self, pin: u8, high: bool) {
        self.lock().levels.insert(pin, high);
    }

    /// An edge that the kernel counted and dropped.
    pub fn lose_edge(&self, pin: u8) {
        *self.lock().seqno.entry(pin).or_default() += 1;
    }

    /// The next wait fails.
    pub fn fail(&self) {
        self.lock().broken = Some(io::ErrorKind::Other);
        self.inner.1.notify_all();
    }

    /// The bias of a claimed pin.
    pub fn claimed(&self, pin: u8) -> Option<Pull> {
        self.lock().claimed.get(&pin).copied()
    }
}

impl OpenPins for FakePins {
    fn open(&self) -> Result<Box<dyn Pins>, PinsError> {
        if self.lock().absent { Err(PinsError::NoBoard) } else { Ok(Box::new(self.clone())) }
    }
}

impl Pins for FakePins {
    fn claim(&mut self, pin: u8, pull: Pull) -> Result<(), PinsError> {
        if pin >= 54 {
            return Err(PinsError::NoPin(pin));
        }
        let mut board = self.lock();
        board.claimed.insert(pin, pull);
        // The kernel counts from the request on.
        board.seqno.insert(pin, 0);
        board.levels.entry(pin).or_insert(pull == Pull::Up);
        Ok(())
    }

    fn release(&mut self, pin: u8) {
        self.lock().claimed.remove(&pin);
    }

    fn level(&self, pin: u8) -> Option<bool> {
        self.lock().levels.get(&pin).copied()
    }

    fn wait(&mut self, time: Duration) -> io::Result<Option<PinEvent>> {
        let board = self.lock();
        let empty = |board: &mut Board| board.events.is_empty() && board.broken.is_none();
        let (mut board, _) = self.inner.1.wait_timeout_while(board, time, empty).unwrap();
        match board.broken.take() {
            Some(kind) => Err(kind.into()),
            None => Ok(board.events.pop_front()),
        }
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
}

impl FakePorts {
    /// Plugs the device in or pulls it out.
    pub fn plug(&self, there: bool) {
        self.inner.0.lock().unwrap().plugged = there;
    }

    /// Takes nothing of what is written, or takes it again.
    pub fn deafen(&self, deaf: bool) {
        self.inner.0.lock().unwrap().deaf = deaf;
    }

    /// Adds to the script.
    pub fn play(&self, step: Step) {
        self.inner.0.lock().unwrap().script.push_back(step);
        self.inner.1.notify_all();
    }

    /// What was written to the device.
    pub fn written(&self) -> Vec<u8> {
        self.inner.0.lock().unwrap().written.clone()
    }

    /// How often it was opened.
    pub fn opened(&self) -> usize {
        self.inner.0.lock().unwrap().opened
    }
}

impl OpenPort for FakePorts {
    fn open(&self, settings: &SerialPort) -> io::Result<Box<dyn Port>> {
        let mut wire = self.inner.0.lock().unwrap();
        if !wire.plugged {
            let text = format!("failed to open `{}`: it is not there", settings.device);
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        wire.opened += 1;
        Ok(Box::new(self.clone()))
    }

    fn is_there(&self, _settings: &SerialPort) -> bool {
        self.inner.0.lock().unwrap().plugged
    }
}

impl Port for FakePorts {
    fn read(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        let wire = self.inner.0.lock().unwrap();
        let empty = |wire: &mut Wire| wire.script.is_empty();
        let (mut wire, _) = self.inner.1.wait_timeout_while(wire, wait, empty).unwrap();
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
        let mut wire = self.inner.0.lock().unwrap();
        if wire.deaf {
            return Ok(0);
        }
        wire.written.extend(bytes);
        Ok(bytes.len())
    }

    fn clear_input(&mut self) -> io::Result<()> {
        let mut wire = self.inner.0.lock().unwrap();
        wire.script.retain(|step| !matches!(step, Step::Bytes(_)));
        Ok(())
    }
}
