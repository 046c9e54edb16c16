//! Drives the real binary: port 0, a temporary folder, real sockets, real files.

mod alerts;
mod bench;
mod cli;
mod config;
mod detections;
mod fakepi;
mod harness;
mod hostile;
mod http;
mod pty;
mod real_input;
mod resume;
mod signals;
mod streams;
