//! The health of the box.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One file system. Bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Disk {
    pub path: String,
    pub total: u64,
    pub free: u64,
}

/// `system_health`. `cpu` is the share of all cores in use, 0 to 1; memory in bytes; members that can't be read
/// on this host are absent, never invented.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SystemHealth {
    pub uptime_s: f64,
    pub cpu: Option<f64>,
    pub memory: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled: Option<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<Disk>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network: Vec<Value>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub process: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub store: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub clients: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<Value>,
}
