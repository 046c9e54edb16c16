//! Devices of pyvisa-sim's YAML files as serial devices: `device = "sim:supply.yaml"`.
//!
//! `yaml` reads the text, `parse` makes the definition of one device of it, `device` plays that (bytes in, bytes out),
//! `port` puts it at the far end of a pseudo-terminal. Promises: bounded, whatever the file and the line say; a fault of the
//! file is said with its place. Does not: know time; a device answers at once, and what is set is there at once.

mod definition;
mod device;
mod fault;
mod format;
mod parse;
mod port;
mod template;
mod value;
mod yaml;

pub use self::definition::Definition;
pub use self::device::Device;
pub use self::fault::{At, Fault};
pub use self::parse::read;
pub use self::port::VisaPorts;
