//! Who may do what.

use serde::{Deserialize, Serialize};

/// A role; each may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    View,
    /// Send commands, acknowledge alerts.
    Operate,
    /// Publish events.
    Publish,
    /// Change the configuration.
    Admin,
}

impl Role {
    /// The wire's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::View => "view",
            Role::Operate => "operate",
            Role::Publish => "publish",
            Role::Admin => "admin",
        }
    }
}
