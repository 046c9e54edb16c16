//! What a scan measures: columns that are declared once, rows that are numbered without a gap.

use crate::clock::Wall;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// What a column is in its measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnRole {
    /// What something was set to.
    Setpoint,
    /// What came of it.
    Readback,
    /// Measured.
    #[default]
    Measured,
    /// Computed of others.
    Derived,
}

/// One column. The names of the members are the wire's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its name, such as `dmm.voltage`.
    pub name: String,
    /// `number` (when missing), `integer`, `string`, `boolean` or `array`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    /// Its unit (UCUM); `1` when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What it is.
    #[serde(default)]
    pub role: ColumnRole,
    /// Digits behind the point that mean something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<u32>,
    /// Where it comes from, such as `dmm.voltage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// For an independent variable: its place among them, from 0, slow to fast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub axis: Option<u32>,
}

/// One row of a measurement: a `data_point` without the names of its scan and measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its number from 0 in its measurement; none: the next.
    pub sequence_index: Option<u64>,
    /// Values by column: a finite number, text, a flag, an array of numbers, or null.
    pub data: BTreeMap<String, Json>,
    /// Seconds since the scan's start, on the monotonic clock.
    pub t_rel: Option<f64>,
    /// When it was true at the source.
    pub timestamp: Wall,
    /// Of the columns whose value is not good: `quality/reason`, such as `bad/nan`.
    pub quality: BTreeMap<String, String>,
    /// How much later than planned it was measured.
    pub late_ms: Option<u64>,
}
