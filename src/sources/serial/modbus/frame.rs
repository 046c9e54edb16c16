//! Frames of Modbus RTU: how they are made (by `rmodbus`), and what has come of an answer. Pure.
//!
//! Sources: Modbus Application Protocol V1.1b3 (6: functions, 7: exceptions), Modbus over Serial Line V1.02 (2.5.1:
//! frames and silence).

use super::value::Raw;
use crate::config::ModbusTable;
use rmodbus::ModbusProto;
use rmodbus::client::ModbusRequest;
use std::time::Duration;

/// A frame is at most this long. Source: Serial Line, 2.5.1.
pub(super) const FRAME: usize = 256;

/// What the answer has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Codec {
    pub unit: u8,
    pub function: u8,
    /// The length of a good answer, with its checksum.
    pub length: usize,
}

/// What an answer says.
#[derive(Debug, PartialEq)]
pub(super) enum Said<'a> {
    More,
    Data(&'a [u8]),
    Exception(u8),
    Nonsense { counter: &'static str, why: String },
}

impl Codec {
    /// What has come of an answer. Source: Application Protocol, 6 and 7; Serial Line, 2.5.1.
    pub fn read<'a>(&self, input: &'a [u8]) -> Said<'a> {
        let nonsense = |counter, why: String| Said::Nonsense { counter, why };
        // Switching the direction of a two-wire line may sound like a byte or two.
        let noise = input.iter().take(2).take_while(|b| matches!(b, 0 | 0xFF) && **b != self.unit).count();
        let input = input.get(noise..).unwrap_or_default();
        let (unit, function) = match input {
            [] => return Said::More,
            [unit, rest @ ..] => (*unit, rest.first().copied()),
        };
        if unit != self.unit {
            return nonsense("foreign_frames", format!("is from unit {unit}, unit {} was asked", self.unit));
        }
        let Some(function) = function else { return Said::More };
        let length = match function {
            f if f == self.function => self.length,
            f if f == self.function | 0x80 => 5,
            f => {
                let why = format!("has function {f}, function {} was asked", self.function);
                return nonsense("foreign_frames", why);
            }
        };
        if function == self.function
            && self.function <= 4
            && let Some(bytes) = input.get(2)
            && usize::from(*bytes) + 5 != self.length
        {
            let why = format!("has {bytes} bytes of data; {} were asked for", self.length - 5);
            return nonsense("foreign_frames", why);
        }
        let Some(frame) = input.get(..length) else { return Said::More };
        let Some((body, sum)) = frame.split_last_chunk::<2>() else { return Said::More };
        if crc(body) != u16::from_le_bytes(*sum) {
            return nonsense("crc_errors", "has a wrong checksum".into());
        }
        if function & 0x80 != 0 {
            return Said::Exception(body.get(2).copied().unwrap_or_default());
        }
        let data = if self.function <= 4 { body.get(3..) } else { body.get(2..) };
        Said::Data(data.unwrap_or_default())
    }
}

/// The silence between frames: 3.5 characters of 11 bits; above 19,200 bit/s 1.75 ms. Source: Serial Line, 2.5.1.1.
pub(super) fn silence(baud: u32) -> Duration {
    let fast = Duration::from_micros(1750);
    if baud == 0 || baud > 19_200 {
        return fast;
    }
    Duration::from_secs_f64(3.5 * 11.0 / f64::from(baud)).max(fast)
}

pub(super) fn read_frame(unit: u8, table: ModbusTable, address: u16, count: u16) -> Option<(Vec<u8>, Codec)> {
    if count == 0 {
        return None;
    }
    let mut request = ModbusRequest::new(unit, ModbusProto::Rtu);
    let mut frame = Vec::new();
    let (function, bytes, made) = match table {
        ModbusTable::Coil => (1, count.div_ceil(8), request.generate_get_coils(address, count, &mut frame)),
        ModbusTable::Discrete => {
            (2, count.div_ceil(8), request.generate_get_discretes(address, count, &mut frame))
        }
        ModbusTable::Holding => (3, count * 2, request.generate_get_holdings(address, count, &mut frame)),
        ModbusTable::Input => (4, count * 2, request.generate_get_inputs(address, count, &mut frame)),
    };
    made.ok()?;
    Some((frame, Codec { unit, function, length: usize::from(bytes) + 5 }))
}

pub(super) fn write_frame(unit: u8, address: u16, raw: &Raw) -> Option<(Vec<u8>, Codec)> {
    let mut request = ModbusRequest::new(unit, ModbusProto::Rtu);
    let mut frame = Vec::new();
    let (function, made) = match raw {
        Raw::Bit(on) => (5, request.generate_set_coil(address, *on, &mut frame)),
        Raw::Words(words) => match words[..] {
            [word] => (6, request.generate_set_holding(address, word, &mut frame)),
            _ => (16, request.generate_set_holdings_bulk(address, words, &mut frame)),
        },
    };
    made.ok()?;
    // Each of them is answered by a frame of 8 bytes: what was written, or how much.
    Some((frame, Codec { unit, function, length: 8 }))
}

/// The checksum of a frame. Source: Serial Line, 6.2.2. (rmodbus keeps its own to itself.)
pub(super) fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |sum, byte| {
        (0..8)
            .fold(sum ^ u16::from(*byte), |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xA001 } else { sum >> 1 })
    })
}

/// What a device says it can't do. Source: Application Protocol, 7.
pub(super) fn exception(code: u8) -> String {
    let words = match code {
        1 => "01 illegal function: the device does not have this kind of register, or not now",
        2 => "02 illegal data address: there is no such register",
        3 => "03 illegal data value: the value is not allowed",
        4 => "04 device failure: it failed while doing it",
        5 => "05 acknowledge: it is at work and takes long",
        6 => "06 device busy: it is at work on something else",
        8 => "08 memory parity error",
        0x0A => "0A gateway path unavailable: the gateway is overloaded or set up wrong",
        0x0B => "0B gateway target failed to respond: the device behind the gateway is not there",
        other => return format!("{other:02X} an exception that the standard does not have"),
    };
    words.to_string()
}

/// Bytes for people.
pub(super) fn hex(bytes: &[u8]) -> Vec<u8> {
    let shown: Vec<String> = bytes.iter().take(40).map(|b| format!("{b:02x}")).collect();
    shown.join(" ").into_bytes()
}
