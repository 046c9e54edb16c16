//! The runner: scans of the lab, from what somebody describes to rows that are measured and kept.
//!
//! `plan` turns a description into steps and points, all faults at once, before anything moves; `data` is what is measured,
//! `book` keeps it.

pub mod book;
pub mod data;
pub mod plan;
