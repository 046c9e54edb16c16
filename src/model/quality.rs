//! How far a value may be trusted, and why not.

use serde::{Deserialize, Serialize};

/// Whether a value may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// As measured.
    Good,
    /// A value, but perhaps not the present one.
    Uncertain,
    /// Not a value.
    Bad,
}

/// Why a quality is not good. The words are the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QualityReason {
    /// Not heard of within its time.
    Stale,
    /// From before the restart, or never measured.
    Initial,
    /// The device is not there.
    NotConnected,
    /// The device is there, what it says is not understood.
    CommError,
    /// Outside its limits.
    OutOfRange,
    /// The instrument's own overrange.
    Overrange,
    /// Not a number.
    Nan,
    /// The device says it has a fault.
    DeviceError,
    /// The configuration is at fault.
    ConfigError,
}
