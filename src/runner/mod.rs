//! The runner: scans of the lab, from what somebody describes to rows that are measured and kept.
//!
//! `plan` turns a description into steps and points, all faults at once, before anything moves; `data` is what is measured.

pub mod data;
mod lab;
pub mod plan;

pub use self::lab::{
    Conflict, Lab, LabError, NewQueue, Place, QueueChange, ScanDetail, ScanFilter, ScanPage, Template,
};
