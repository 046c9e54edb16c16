//! Scans that a program carries out.

use serde_json::Value;
use std::time::Instant;

/// What is known of the program that carries a scan out.
pub(super) struct External {}

impl External {
    /// The longest it may be silent, in seconds.
    pub fn lease_s(&self) -> f64 {
        30.0
    }

    /// What of it is kept.
    pub fn kept(&self) -> Value {
        Value::Null
    }

    /// Something is asked of it.
    pub fn asked(&mut self, _now: Instant) {}

    /// As it was kept; it has its whole lease to be heard again.
    pub fn recall(_kept: &Value, _now: Instant) -> External {
        External {}
    }
}
