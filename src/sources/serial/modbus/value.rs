//! Values in registers: read from the data of an answer, and made to be written, within the limits of a channel. Pure.

use super::No;
use crate::config::{ModbusKind, ModbusOrder, ModbusRegister};
use crate::model::QualityReason;
use crate::sources::instruments::{Failure, Setting, outside};
use crate::sources::reading::Value;

/// A value as it goes over the line.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw {
    Bit(bool),
    Words(Vec<u16>),
}

impl Raw {
    /// As an answer to a read would have it.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Raw::Bit(on) => vec![u8::from(*on)],
            Raw::Words(words) => words.iter().flat_map(|w| w.to_be_bytes()).collect(),
        }
    }
}

/// The value of a register in the data of an answer that begins `at` registers, or bits, before it.
pub(super) fn value_at(register: &ModbusRegister, data: &[u8], at: u16) -> Value {
    let none = Value::Missing(QualityReason::CommError);
    let at = usize::from(at);
    if register.table.is_bits() {
        let Some(byte) = data.get(at / 8) else { return none };
        return worded(register, Raw::Bit(byte >> (at % 8) & 1 == 1));
    }
    let size = usize::from(register.kind.registers());
    let Some(bytes) = data.get(at * 2..(at + size) * 2) else { return none };
    let words = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
    worded(register, Raw::Words(words))
}

/// The one register, or bit, of a status as it is: 0 or 1 where the register has a `bit`.
pub(super) fn word_at(register: &ModbusRegister, data: &[u8], at: u16) -> Option<u16> {
    let at = usize::from(at);
    if register.table.is_bits() {
        return Some(u16::from(data.get(at / 8)? >> (at % 8) & 1));
    }
    let word = u16::from_be_bytes(*data.get(at * 2..)?.first_chunk()?);
    Some(register.bit.map_or(word, |bit| word >> bit & 1))
}

/// Puts bytes into the order of the standard, or from it into the register's: each order undoes itself.
pub(super) fn ordered(words: &[u16], order: ModbusOrder) -> Vec<u16> {
    let swap = matches!(order, ModbusOrder::Badc | ModbusOrder::Dcba);
    let reverse = matches!(order, ModbusOrder::Cdab | ModbusOrder::Dcba);
    let mut words: Vec<u16> = words.iter().map(|w| if swap { w.swap_bytes() } else { *w }).collect();
    if reverse {
        words.reverse();
    }
    words
}

pub(super) fn worded(register: &ModbusRegister, raw: Raw) -> Value {
    let word = |number: f64| {
        let found = register.words.iter().find(|(key, _)| key.parse::<f64>().is_ok_and(|k| k == number));
        found.map(|(_, word)| Value::text(word))
    };
    let words = match raw {
        Raw::Bit(on) => return word(f64::from(u8::from(on))).unwrap_or(Value::Flag(on)),
        Raw::Words(words) => ordered(&words, register.order),
    };
    let bits = words.iter().fold(0u64, |all, w| all << 16 | u64::from(*w));
    let number = match register.kind {
        ModbusKind::Bool => {
            let on = match register.bit {
                Some(bit) => bits >> bit & 1 == 1,
                None => bits != 0,
            };
            return word(f64::from(u8::from(on))).unwrap_or(Value::Flag(on));
        }
        ModbusKind::U16 | ModbusKind::U32 | ModbusKind::U64 => bits as f64,
        ModbusKind::I16 => f64::from(bits as u16 as i16),
        ModbusKind::I32 => f64::from(bits as u32 as i32),
        ModbusKind::I64 => bits as i64 as f64,
        // By way of its digits, so that 230.1 does not become 230.10000610351563.
        ModbusKind::F32 => {
            let number = f32::from_bits(bits as u32);
            number.to_string().parse().unwrap_or(f64::from(number))
        }
        ModbusKind::F64 => f64::from_bits(bits),
    };
    if let Some(word) = word(number) {
        return word;
    }
    match Value::number(number) {
        Value::Number(number) => {
            let scaled = number * register.scale + register.offset;
            // Ten times a tenth is not always one: what the register can't tell apart is rounded away.
            let scaled = format!("{scaled:.12e}").parse().unwrap_or(scaled);
            Value::number(scaled)
        }
        missing => missing,
    }
}

/// A value as it is to be written.
pub(super) fn raw_of(register: &ModbusRegister, value: &Setting) -> Result<Raw, No> {
    let unit = register.unit.as_ref().map(|u| format!(" {u}")).unwrap_or_default();
    let (word, number) = match value {
        Setting::Number(number) => (None, Some(*number).filter(|n| n.is_finite())),
        Setting::Word(word) => (Some(word.trim()), word.trim().parse::<f64>().ok().filter(|n| n.is_finite())),
    };
    let by_word = word.and_then(|word| {
        let found = register.words.iter().find(|(_, w)| w.eq_ignore_ascii_case(word));
        found.and_then(|(key, _)| key.parse::<f64>().ok())
    });
    let raw = match (by_word, number) {
        (Some(raw), _) => raw,
        (None, Some(number)) if register.words.is_empty() || word.is_none() => {
            let limits = (register.min, register.max);
            if let Some(why) = outside(&register.name, number, limits, register.unit.as_deref()) {
                return Err(No { code: Some(Failure::Limit), why });
            }
            (number - register.offset) / register.scale
        }
        _ if !register.words.is_empty() => return Err(expected_words(register, value).into()),
        _ => return Err(format!("`value` is {value}; expected a number").into()),
    };
    if register.table.is_bits() {
        return match raw {
            0.0 => Ok(Raw::Bit(false)),
            1.0 => Ok(Raw::Bit(true)),
            _ => Err(format!("`value` is {value}; expected true or false").into()),
        };
    }
    let whole = |least: f64, most: f64| -> Result<f64, String> {
        let near = raw.round();
        if (raw - near).abs() > 1e-6 * near.abs().max(1.0) {
            return Err(format!(
                "{} can only be set in steps of {}{unit}",
                register.name,
                register.scale.abs()
            ));
        }
        if near < least || near > most {
            return Err(format!("{value}{unit} does not fit into the register"));
        }
        Ok(near)
    };
    let bits = match register.kind {
        ModbusKind::Bool => (raw != 0.0).into(),
        ModbusKind::U16 => whole(0.0, f64::from(u16::MAX))? as u64,
        ModbusKind::U32 => whole(0.0, f64::from(u32::MAX))? as u64,
        // 2^53: above it not every whole number can be said.
        ModbusKind::U64 => whole(0.0, 9_007_199_254_740_992.0)? as u64,
        ModbusKind::I16 => whole(f64::from(i16::MIN), f64::from(i16::MAX))? as i16 as u16 as u64,
        ModbusKind::I32 => whole(f64::from(i32::MIN), f64::from(i32::MAX))? as i32 as u32 as u64,
        ModbusKind::I64 => whole(-9_007_199_254_740_992.0, 9_007_199_254_740_992.0)? as i64 as u64,
        ModbusKind::F32 if (raw as f32).is_finite() => u64::from((raw as f32).to_bits()),
        ModbusKind::F32 => return Err(format!("{value}{unit} does not fit into the register").into()),
        ModbusKind::F64 => raw.to_bits(),
    };
    let size = register.kind.registers();
    let words: Vec<u16> = (0..size).rev().map(|n| (bits >> (16 * n)) as u16).collect();
    Ok(Raw::Words(ordered(&words, register.order)))
}

pub(super) fn expected_words(register: &ModbusRegister, value: &Setting) -> String {
    let words: Vec<_> = register.words.values().map(String::as_str).collect();
    format!("`value` is {value}; expected one of {}", words.join(", "))
}
