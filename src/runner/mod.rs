//! The runner: scans of the lab, from what somebody describes to rows that are measured and kept.
//!
//! `plan` turns a description into steps and points, all faults at once, before anything moves; `machine` says how a scan
//! or a queue stands and what may be asked of it; `lab` is the desk of queues and scans, `execute` the thread that runs
//! them; `data` is what is measured, `book` keeps it; `demonstration` is an operator for the simulated bench.

pub mod book;
pub mod data;
mod demonstration;
mod execute;
mod lab;
pub mod machine;
pub mod plan;

pub use self::demonstration::start as demonstrate;
pub use self::lab::{
    Conflict, Control, Judged, Lab, LabError, NewExternal, NewQueue, Place, Posted, QueueChange, Registered,
    ScanDetail, ScanFilter, ScanPage, Template,
};
pub use self::plan::MEASUREMENT;
