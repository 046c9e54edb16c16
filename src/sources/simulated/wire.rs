//! The wire between a device and its port, without the port: lines out, lines in, and the faults that strike on the way.
//!
//! Promises: bounded, whatever comes; the same seed and the same steps lose the same lines. A device goes on whatever
//! happens here, as a real one does.

use super::fault::Faults;
use crate::limits;
use crate::random::Random;

/// Of lines under the fault `drop`, this share is lost.
const LOST: f64 = 0.3;
/// Bytes that come in place of a line under the fault `garbage`.
const NOISE: usize = 24;

/// See the module above.
pub(super) struct Wire {
    random: Random,
    faults: Faults,
    /// What the daemon has sent and the device has not heard yet.
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Wire {
    /// The wire of the device `id`.
    pub fn new(seed: u64, id: &str) -> Self {
        Wire {
            random: Random::of(seed, &format!("wire {id}")),
            faults: Faults::default(),
            input: Vec::new(),
            output: Vec::new(),
        }
    }

    /// Begins a step with the faults of this moment.
    pub fn begin(&mut self, faults: Faults) {
        self.faults = faults;
        if faults.disconnect {
            self.input.clear();
        }
    }

    /// The daemon sent bytes; what is too much for the device's buffer is lost.
    pub fn receive(&mut self, bytes: &[u8]) {
        let room = limits::BENCH_INPUT.saturating_sub(self.input.len());
        self.input.extend(bytes.iter().take(room));
    }

    /// The next whole line that the device hears.
    pub fn line(&mut self) -> Option<String> {
        let Some(end) = self.input.iter().position(|b| *b == b'\n') else {
            if self.input.len() >= limits::BENCH_INPUT {
                // Longer than any command.
                self.input.clear();
            }
            return None;
        };
        let line: Vec<u8> = self.input.drain(..=end).collect();
        Some(String::from_utf8_lossy(&line).trim().to_string())
    }

    /// The device says a line.
    pub fn say(&mut self, line: &str) {
        if self.faults.disconnect || self.faults.stall || self.faults.drop && self.random.chance(LOST) {
            return;
        }
        if self.faults.garbage {
            let random = &mut self.random;
            self.output.extend((0..NOISE).map(|_| 0x80 | random.below(0x80) as u8));
        } else {
            self.output.extend(line.as_bytes());
        }
        self.output.push(b'\n');
    }

    /// What was said since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_and_what_is_too_long_is_dropped() {
        let mut wire = Wire::new(1, "a");
        wire.receive(b"STA");
        assert_eq!(wire.line(), None);
        wire.receive(b"RT\r\nSTOP\n\xff");
        assert_eq!((wire.line().as_deref(), wire.line().as_deref()), (Some("START"), Some("STOP")));
        assert_eq!(wire.line(), None);
        wire.receive(&[b'x'; 10 * limits::BENCH_INPUT]);
        assert_eq!(wire.line(), None);
        wire.receive(b"VOLT?\n");
        assert_eq!(wire.line().as_deref(), Some("VOLT?"));
    }

    #[test]
    fn faults_strike_what_is_said() {
        let said = |faults: Faults| {
            let mut wire = Wire::new(1, "a");
            wire.begin(faults);
            (0..1000).for_each(|n| wire.say(&n.to_string()));
            wire.take()
        };
        let lines = |bytes: &[u8]| bytes.iter().filter(|b| **b == b'\n').count();
        assert_eq!(lines(&said(Faults::default())), 1000);
        assert!(said(Faults { stall: true, ..Faults::default() }).is_empty());
        assert!(said(Faults { disconnect: true, ..Faults::default() }).is_empty());
        let some = said(Faults { drop: true, ..Faults::default() });
        assert!((650..750).contains(&lines(&some)), "{}", lines(&some));
        let noise = said(Faults { garbage: true, ..Faults::default() });
        assert_eq!(lines(&noise), 1000);
        assert!(noise.iter().all(|b| *b == b'\n' || *b >= 0x80));
    }
}
