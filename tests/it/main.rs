//! Drives the real binary: port 0, a temporary folder, real sockets, real files.

mod alerts;
mod bench;
mod cli;
mod config;
mod config_http;
mod detections;
mod devices;
mod fakepi;
mod field_lab;
mod harness;
mod hostile;
mod http;
mod log;
mod pins;
mod protocols;
mod pty;
mod real_input;
mod recorder;
mod recordings;
mod resume;
mod serial;
mod services;
mod signals;
mod streams;
mod time;
