//! Configuration: what the file may say is read in `file`, what the program uses is here.
//!
//! Flags win over the environment, the environment over the file, the file over the defaults below.

mod types;

pub use self::types::{
    Access, Config, Debounce, Edge, GpioPin, Host, Http, LineFormat, Mapping, Parity, Pull, Push, SerialPort,
    Sink, Store,
};
