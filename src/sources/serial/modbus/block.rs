//! Registers that are read together: in order of address, as many as one request takes. Pure.

use crate::config::{ModbusRegister, ModbusTable};

/// Registers of one request. Source: Application Protocol, 6.3 and 6.4.
const MOST_REGISTERS: u16 = 125;

/// Bits of one request that are surely served; 6.1 allows 2000, but a frame of rmodbus is counted in a byte.
const MOST_BITS: u16 = 1000;

/// Neighbouring registers that are read at once.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Block {
    pub unit: u8,
    pub table: ModbusTable,
    pub address: u16,
    pub count: u16,
    /// Which registers of the configuration are in it.
    pub registers: Vec<usize>,
    /// It has registers between them that nobody asked for.
    pub holes: bool,
}

impl Block {
    /// For people: `unit 1 input 0-9`.
    pub fn name(&self) -> String {
        let last = u32::from(self.address) + u32::from(self.count.max(1)) - 1;
        format!("unit {} {} {}-{last}", self.unit, self.table.word(), self.address)
    }
}

/// Registers into requests: in order of address, together as long as they fit and the gap between them is small.
pub(super) fn plan(registers: &[ModbusRegister], merge_gap: u16) -> Vec<Block> {
    let mut order: Vec<usize> = (0..registers.len()).collect();
    let key = |n: &usize| registers.get(*n).map(|r| (r.unit_id, r.table, r.address));
    order.sort_by_key(key);
    let mut blocks: Vec<Block> = Vec::new();
    for n in order {
        let Some(register) = registers.get(n) else { continue };
        let (most, size) = match register.table.is_bits() {
            true => (MOST_BITS, 1),
            false => (MOST_REGISTERS, register.kind.registers()),
        };
        let end = u32::from(register.address) + u32::from(size);
        if let Some(last) = blocks.last_mut()
            && (last.unit, last.table) == (register.unit_id, register.table)
        {
            let last_end = u32::from(last.address) + u32::from(last.count);
            let hole = u32::from(register.address).saturating_sub(last_end);
            let whole = end.max(last_end) - u32::from(last.address);
            if hole <= u32::from(merge_gap) && whole <= u32::from(most) {
                last.holes |= hole > 0;
                last.count = whole as u16;
                last.registers.push(n);
                continue;
            }
        }
        blocks.push(Block {
            unit: register.unit_id,
            table: register.table,
            address: register.address,
            count: size,
            registers: vec![n],
            holes: false,
        });
    }
    blocks
}
