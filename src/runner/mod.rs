//! The runner: scans of the lab, from what somebody describes to rows that are measured and kept.
//!
//! `plan` turns a description into steps and points, all faults at once, before anything moves; `machine`
//! says how a scan or a queue stands and what may be asked of it; `data` is what is measured.

pub mod data;
pub mod machine;
pub mod plan;
