//! Configuration: what the file may say becomes what the program uses.
//!
//! One table (`keys`, and `lists` for what there may be several of) names every key with its type, default and meaning; the reader (`file`), the environment
//! (`load`), the lists of keys and docs/configuration.md (`print`) and the comparison for a reload (`changes`) come from
//! it. Flags win over the environment, the environment over the file, the file over the defaults in `types`.
//!
//! Promises: every fault is reported in one go; nothing here panics on what it reads; a reload either gives a whole new
//! configuration or leaves the old one. Does not: watch files, apply settings, or know who uses them.

mod changes;
mod edit;
mod error;
mod file;
mod keys;
mod lists;
mod load;
mod print;
mod secrets;
mod types;
mod value;

#[cfg(test)]
mod tests;

pub use self::changes::{Changes, compare};
pub use self::edit::{Edit, EditError, Editor, faults};
pub use self::error::{ConfigError, Place};
pub use self::lists::modbus::{Modbus, ModbusKind, ModbusOrder, ModbusRegister, ModbusTable};
pub use self::lists::nmea::{NMEA_VALUES, Nmea};
pub use self::lists::scpi::{Scpi, ScpiChannel, place_of_value};
pub use self::lists::{AlertFilter, AlertLimits, AlertRule, AlertTest, AlertWhen, Ntfy, Webhook};
pub use self::load::{Flags, LAST_GOOD, Loaded, Overrides, check, load};
pub use self::print::{keys_markdown, keys_text};
pub use self::types::*;
