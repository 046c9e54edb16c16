//! Drives the real binary: port 0, a temporary folder, real sockets, real files.

mod harness;
mod resume;
