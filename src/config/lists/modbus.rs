//! `[serial.modbus]`, below a `[[serial]]` with protocol = "modbus": which registers are read and written.

use super::super::error::shorten;
use super::super::file::{Found, Reader, Seen};
use super::super::keys::{DAY, HOUR, Key, apart, key, ms, s};
use super::super::print;
use super::super::value::{Setting, Type, Value, words};
use super::Tell;
use crate::limits;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// A line of Modbus RTU servers, with one master: us.
#[derive(Clone, Debug, PartialEq)]
pub struct Modbus {
    /// How often every register is read.
    pub poll: Duration,
    /// Silence after which a request has failed.
    pub timeout: Duration,
    /// Silence between two frames; none: what the standard asks for at this speed.
    pub gap: Option<Duration>,
    /// How often a request is repeated that was not answered, or garbled.
    pub retries: u32,
    /// Registers of no interest that may be read between two that are, to save a request.
    pub merge_gap: u16,
    /// What is read and written.
    pub registers: Vec<ModbusRegister>,
    /// Written to stop the devices, in this order; empty: nothing does.
    pub stop: Vec<ModbusWrite>,
    /// Written to bring them into a safe state, in this order.
    pub safe: Vec<ModbusWrite>,
}

/// One register or coil, and what is written to it as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct ModbusWrite {
    /// Whose it is.
    pub unit_id: u8,
    /// A holding register or a coil.
    pub table: ModbusTable,
    /// The address on the wire, from 0.
    pub address: u16,
    /// What is written: 0 or 1 to a coil.
    pub value: u16,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub struct ModbusRegister {
    /// The channel's name.
    pub name: String,
    /// Whose it is.
    pub unit_id: u8,
    /// Which of the four tables it is in.
    pub table: ModbusTable,
    /// The address on the wire, from 0.
    pub address: u16,
    /// What it holds.
    pub kind: ModbusKind,
    /// Order of the bytes of values of more than one register.
    pub order: ModbusOrder,
    /// With kind bool in a register: which bit, 0 the least.
    pub bit: Option<u8>,
    /// The number is multiplied by this, then `offset` is added; the other way round when it is written.
    pub scale: f64,
    /// See `scale`.
    pub offset: f64,
    /// Its unit.
    pub unit: Option<String>,
    /// Whether it may be written.
    pub write: bool,
    /// The least it may be set to.
    pub min: Option<f64>,
    /// The most it may be set to.
    pub max: Option<f64>,
    /// What a number becomes, such as `0 = "off"`.
    pub words: BTreeMap<String, String>,
    /// How long it may take to arrive after it was set.
    pub settle: Option<Duration>,
    /// The name of the register that tells whether it moves.
    pub moving: Option<String>,
    /// The bits of that one that count; all of them without.
    pub moving_mask: Option<u16>,
    /// It moves when these bits are so; without, when any of them is set.
    pub moving_equals: Option<u16>,
}

impl ModbusRegister {
    /// How long it may take to arrive: one that tells whether it moves is waited for.
    pub fn settles(&self) -> Duration {
        self.settle.unwrap_or(if self.moving.is_some() { MOVE } else { Duration::ZERO })
    }

    /// Whether its status register, as it is, says that it moves.
    pub fn moves(&self, status: u16) -> bool {
        let bits = status & self.moving_mask.unwrap_or(u16::MAX);
        self.moving_equals.map_or(bits != 0, |equals| bits == equals)
    }
}

/// How long what tells whether it moves may take to arrive, unless configured.
const MOVE: Duration = s(10);

impl std::fmt::Display for ModbusWrite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "unit {} {} {} = {}", self.unit_id, self.table.word(), self.address, self.value)
    }
}

/// The four tables of a server. Source: Modbus Application Protocol V1.1b3, 4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum ModbusTable {
    Holding,
    Input,
    Coil,
    Discrete,
}

/// What a value is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ModbusKind {
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
    Bool,
}

/// In which order bytes come, `A` the most significant of four. The standard has ABCD; the others are found in the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ModbusOrder {
    Abcd,
    Cdab,
    Badc,
    Dcba,
}

words! {
    ModbusTable, TABLES: "holding" => Holding, "input" => Input, "coil" => Coil, "discrete" => Discrete;
    ModbusKind, KINDS: "u16" => U16, "i16" => I16, "u32" => U32, "i32" => I32, "u64" => U64, "i64" => I64, "f32" => F32, "f64" => F64, "bool" => Bool;
    ModbusOrder, ORDERS: "ABCD" => Abcd, "CDAB" => Cdab, "BADC" => Badc, "DCBA" => Dcba;
}

impl ModbusTable {
    /// Whether it holds single bits.
    pub fn is_bits(self) -> bool {
        matches!(self, ModbusTable::Coil | ModbusTable::Discrete)
    }

    /// As in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            ModbusTable::Holding => "holding",
            ModbusTable::Input => "input",
            ModbusTable::Coil => "coil",
            ModbusTable::Discrete => "discrete",
        }
    }
}

impl ModbusKind {
    /// How many registers it takes; a bit of a bit table is one as well.
    pub fn registers(self) -> u16 {
        match self {
            ModbusKind::U16 | ModbusKind::I16 | ModbusKind::Bool => 1,
            ModbusKind::U32 | ModbusKind::I32 | ModbusKind::F32 => 2,
            ModbusKind::U64 | ModbusKind::I64 | ModbusKind::F64 => 4,
        }
    }
}

impl Default for Modbus {
    fn default() -> Self {
        Modbus {
            poll: s(1),
            timeout: ms(500),
            gap: None,
            retries: 1,
            merge_gap: 8,
            registers: Vec::new(),
            stop: Vec::new(),
            safe: Vec::new(),
        }
    }
}

impl Default for ModbusRegister {
    fn default() -> Self {
        ModbusRegister {
            name: String::new(),
            unit_id: 1,
            table: ModbusTable::Holding,
            address: 0,
            kind: ModbusKind::U16,
            order: ModbusOrder::Abcd,
            bit: None,
            scale: 1.0,
            offset: 0.0,
            unit: None,
            write: false,
            min: None,
            max: None,
            words: BTreeMap::new(),
            settle: None,
            moving: None,
            moving_mask: None,
            moving_equals: None,
        }
    }
}

impl Default for ModbusWrite {
    fn default() -> Self {
        ModbusWrite { unit_id: 1, table: ModbusTable::Holding, address: 0, value: 0 }
    }
}

/// Keys of a `[serial.modbus]`.
pub(in crate::config) static KEYS: &[Key<Modbus>] = &[
    key!(Modbus: "serial.modbus" "poll", Type::Duration(ms(10), DAY), poll, "How often the registers are read."),
    key!(Modbus: "serial.modbus" "timeout", Type::Duration(ms(10), s(60)), timeout, "Silence after which a request has failed; long enough that no answer comes later."),
    key!(Modbus: "serial.modbus" "gap", Type::Duration(ms(1), s(10)), gap, "Silence between two frames.")
        .default("3.5 characters at this speed, at least 1.75 ms"),
    key!(Modbus: "serial.modbus" "retries", Type::Whole(0, 10), retries, "How often a request is repeated that was not answered, came back garbled or found the device busy."),
    key!(Modbus: "serial.modbus" "merge_gap", Type::Whole(0, 124), merge_gap, "Registers of no interest that may be read along between two others, to save a request; 0 for a device that refuses them."),
    apart("serial.modbus", "registers", Type::Mappings, "What is read and written.").default("[]"),
    apart("serial.modbus", "stop", Type::Mappings, "What is written to stop the devices, such as [{ table = \"coil\", address = 3, value = 1 }]: in this order, and before all else that waits.").default("[]"),
    apart("serial.modbus", "safe", Type::Mappings, "What is written to bring them into a safe state; sent when a scan is interrupted, or by the command safe.").default("[]"),
];

/// Keys of a register: `registers = [{ name = "volts", table = "input", address = 0, type = "f32" }]`.
pub(in crate::config) static REGISTER_KEYS: &[Key<ModbusRegister>] = &[
    key!(ModbusRegister: "serial.modbus.registers" "name", Type::Id, name, "Name of the channel.").required(),
    key!(ModbusRegister: "serial.modbus.registers" "unit_id", Type::Whole(1, 247), unit_id, "Address of the device on the line."),
    key!(ModbusRegister: "serial.modbus.registers" "table", Type::Choice(TABLES), table, "Which table: holding (4xxxx in many manuals), input (3xxxx), coil (0xxxx) or discrete (1xxxx).").required(),
    key!(ModbusRegister: "serial.modbus.registers" "address", Type::Whole(0, 65_535), address, "Address on the wire, counted from 0: register 30001 or 40001 of a manual is mostly address 0.").required(),
    key!(ModbusRegister: "serial.modbus.registers" "type", Type::Choice(KINDS), kind, "What it holds; numbers of 32 bits take two registers, of 64 bits four.").default("\"u16\", or \"bool\" for coil and discrete"),
    key!(ModbusRegister: "serial.modbus.registers" "order", Type::Choice(ORDERS), order, "Order of the bytes, A the most significant of four; CDAB is the usual other one."),
    key!(ModbusRegister: "serial.modbus.registers" "bit", Type::Whole(0, 15), bit, "With type = \"bool\" in a holding or input register: which bit, 0 the least."),
    key!(ModbusRegister: "serial.modbus.registers" "scale", Type::Number, scale, "A number is multiplied by this, then offset is added; the other way round when it is written."),
    key!(ModbusRegister: "serial.modbus.registers" "offset", Type::Number, offset, "Added after scale."),
    key!(ModbusRegister: "serial.modbus.registers" "unit", Type::Text(32), unit, "Its unit."),
    key!(ModbusRegister: "serial.modbus.registers" "write", Type::Switch, write, "Whether it may be set, with table holding or coil."),
    key!(ModbusRegister: "serial.modbus.registers" "min", Type::Number, min, "The least it may be set to; less is refused before a byte is sent."),
    key!(ModbusRegister: "serial.modbus.registers" "max", Type::Number, max, "The most it may be set to."),
    key!(ModbusRegister: "serial.modbus.registers" "words", Type::Words, words, "What a number becomes, such as { 0 = \"off\", 1 = \"on\" }; the other way round when it is set."),
    key!(ModbusRegister: "serial.modbus.registers" "settle", Type::Duration(Duration::ZERO, HOUR), settle, "With write = true: how long it may take until reading it back shows what was set, and it stands still where `moving` tells.").default("\"0s\", or \"10s\" with moving"),
    key!(ModbusRegister: "serial.modbus.registers" "moving", Type::Id, moving, "Name of the register that tells whether this one moves: of one word or one bit, also of another table."),
    key!(ModbusRegister: "serial.modbus.registers" "moving_mask", Type::Whole(1, 65_535), moving_mask, "The bits of that register that count, such as 3 for the lowest two.").default("all"),
    key!(ModbusRegister: "serial.modbus.registers" "moving_equals", Type::Whole(0, 65_535), moving_equals, "It moves when these bits are exactly so, such as 0 for a flag that says it has arrived.").default("when any of them is set"),
];

/// The keys of a write of a section.
macro_rules! write_keys {
    ($section:literal) => {
        &[
            key!(ModbusWrite: $section "unit_id", Type::Whole(1, 247), unit_id, "Address of the device on the line."),
            key!(ModbusWrite: $section "table", Type::Choice(TABLES), table, "Which table: holding or coil.").required(),
            key!(ModbusWrite: $section "address", Type::Whole(0, 65_535), address, "Address on the wire, counted from 0.").required(),
            key!(ModbusWrite: $section "value", Type::Whole(0, 65_535), value, "What is written, as it is; 0 or 1 to a coil.").required(),
        ]
    };
}

/// Keys of an item of `stop`.
static STOP_KEYS: &[Key<ModbusWrite>] = write_keys!("serial.modbus.stop");
/// Keys of an item of `safe`.
static SAFE_KEYS: &[Key<ModbusWrite>] = write_keys!("serial.modbus.safe");

/// Writes it as it would be read.
pub(super) fn write(out: &mut String, modbus: &Modbus) {
    out.push_str("\n[serial.modbus]\n");
    print::entry(out, KEYS, modbus);
    if !modbus.registers.is_empty() {
        out.push_str("registers = [\n");
        for register in &modbus.registers {
            let _ = writeln!(out, "    {{ {} }},", print::inline(REGISTER_KEYS, register));
        }
        out.push_str("]\n");
    }
    for (name, keys, writes) in [("stop", STOP_KEYS, &modbus.stop), ("safe", SAFE_KEYS, &modbus.safe)] {
        if !writes.is_empty() {
            let items: Vec<String> =
                writes.iter().map(|write| format!("{{ {} }}", print::inline(keys, write))).collect();
            let _ = writeln!(out, "{name} = [{}]", items.join(", "));
        }
    }
}

/// Its keys for the documentation.
pub(super) fn tell(tell: Tell<'_>) {
    tell("[serial.modbus], below a [[serial]] with protocol = \"modbus\"", &print::rows(KEYS));
    tell("An item of registers in [serial.modbus]", &print::rows(REGISTER_KEYS));
    tell("An item of stop or safe in [serial.modbus]", &print::rows(STOP_KEYS));
}

/// Section and name of its keys.
pub(super) fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    let writes = STOP_KEYS.iter().chain(SAFE_KEYS).map(|k| (k.section, k.name));
    KEYS.iter()
        .map(|k| (k.section, k.name))
        .chain(REGISTER_KEYS.iter().map(|k| (k.section, k.name)))
        .chain(writes)
}

impl Reader<'_> {
    /// Reads and weighs `[serial.modbus]`.
    pub(super) fn modbus(&mut self, value: &Spanned<DeValue<'_>>) -> Modbus {
        let mut modbus = Modbus::default();
        let Some(table) = self.inner_table("serial.modbus", value) else { return modbus };
        self.keys(table, "serial.modbus", KEYS, &mut modbus);
        let of = |name: &str| table.iter().find(|(k, _)| k.get_ref() == name).map(|(_, v)| v);
        modbus.stop =
            of("stop").map(|v| self.modbus_writes("serial.modbus.stop", STOP_KEYS, v)).unwrap_or_default();
        modbus.safe =
            of("safe").map(|v| self.modbus_writes("serial.modbus.safe", SAFE_KEYS, v)).unwrap_or_default();
        let Some(items) = table.iter().find(|(k, _)| k.get_ref() == "registers").map(|(_, v)| v) else {
            self.absence(&value.span(), "[serial.modbus] lacks `registers`; expected a list of tables, such as [{ name = \"volts\", table = \"input\", address = 0 }]".into());
            return modbus;
        };
        let (mut names, mut movers) = (BTreeSet::new(), Vec::new());
        for (table, at) in self.inner_list("serial.modbus.registers", items, limits::CHANNELS) {
            let mut register = ModbusRegister::default();
            let seen = self.keys(table, "serial.modbus.registers", REGISTER_KEYS, &mut register);
            self.missing(&seen, REGISTER_KEYS, &at, "an item of `serial.modbus.registers`");
            if register.table.is_bits() && !seen.contains_key("type") {
                register.kind = ModbusKind::Bool;
            }
            self.weigh_register(&register, &seen);
            if let Some(Found { at, good: true }) = seen.get("name")
                && !names.insert(register.name.clone())
            {
                self.fault(
                    at,
                    format!(
                        "two registers are called {:?}; expected each name once",
                        shorten(&register.name)
                    ),
                );
            }
            if let Some(Found { at, good: true }) = seen.get("moving") {
                movers.push((modbus.registers.len(), at.clone()));
            }
            modbus.registers.push(register);
        }
        for (n, at) in movers {
            let status = modbus.registers.get(n).and_then(|r| r.moving.clone()).unwrap_or_default();
            match modbus.registers.iter().find(|r| r.name == status) {
                Some(found) if found.kind.registers() == 1 => {}
                Some(_) => self.fault(
                    &at,
                    format!("`moving` is {status:?}, which takes more than one register; expected one of one word or one bit"),
                ),
                None => self.fault(
                    &at,
                    format!("`moving` is {:?}; expected the name of a register of this line", shorten(&status)),
                ),
            }
        }
        modbus
    }

    /// What is written to stop the devices, or to make them safe.
    fn modbus_writes(
        &mut self,
        section: &'static str,
        keys: &'static [Key<ModbusWrite>],
        value: &Spanned<DeValue<'_>>,
    ) -> Vec<ModbusWrite> {
        let mut writes = Vec::new();
        for (table, at) in self.inner_list(section, value, limits::CHANNELS) {
            let mut write = ModbusWrite::default();
            let seen = self.keys(table, section, keys, &mut write);
            self.missing(&seen, keys, &at, &format!("an item of `{section}`"));
            if let Some(Found { at, good: true }) = seen.get("table")
                && !matches!(write.table, ModbusTable::Holding | ModbusTable::Coil)
            {
                let table = write.table.word();
                self.fault(at, format!("`{section}` writes to a table {table}, which can't be written"));
            }
            if let Some(Found { at, good: true }) = seen.get("value")
                && write.table.is_bits()
                && write.value > 1
            {
                self.fault(at, format!("`value` is {}; expected 0 or 1 for a coil", write.value));
            }
            writes.push(write);
        }
        writes
    }

    fn weigh_register(&mut self, register: &ModbusRegister, seen: &Seen) {
        let at = |name: &str| seen.get(name).filter(|f| f.good).map(|f| f.at.clone());
        let mut say = |at: Option<Range<usize>>, text: String| {
            if let Some(at) = at {
                self.fault(&at, text);
            }
        };
        let (kind, table) = (register.kind, register.table);
        if table.is_bits() && kind != ModbusKind::Bool {
            say(at("type"), format!("a {} is one bit; expected type = \"bool\"", table.word()));
        }
        if kind.registers() > 1 && u32::from(register.address) + u32::from(kind.registers()) > 65_536 {
            say(
                at("address"),
                format!("`address` is {}, where the value goes past the last register", register.address),
            );
        }
        if register.bit.is_some() && (kind != ModbusKind::Bool || table.is_bits()) {
            say(
                at("bit"),
                "`bit` is only used with type = \"bool\" in a holding or input register; expected it to be left out".into(),
            );
        }
        if register.scale == 0.0 {
            say(at("scale"), "`scale` is 0; expected another number".into());
        }
        if register.write {
            if !matches!(table, ModbusTable::Holding | ModbusTable::Coil) {
                say(at("write"), format!("`write` is set, but a table {} can't be written", table.word()));
            }
            if register.bit.is_some() {
                say(at("write"), "`write` is set with `bit`, but single bits of a register can't be written without touching the others".into());
            }
        } else {
            for name in ["min", "max", "settle"] {
                self.only(seen, name, "with write = true");
            }
        }
        if register.moving.is_none() {
            for name in ["moving_mask", "moving_equals"] {
                self.only(seen, name, "with `moving`");
            }
        }
        self.limits(seen, register.min, register.max);
    }
}
