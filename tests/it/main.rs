//! Drives the real binary: port 0, a temporary folder, real sockets, real files.

mod alerts;
mod bench;
mod cli;
mod config;
mod config_http;
mod detections;
mod devices;
mod external;
mod fakepi;
mod feed;
mod field_lab;
mod harness;
mod hostile;
mod http;
mod instruments;
mod interlock;
mod lab;
mod lab_http;
mod log;
mod pins;
mod protocols;
mod proxy;
mod pty;
mod real_input;
mod recorder;
mod recordings;
mod resume;
mod scan_data;
mod serial;
mod services;
mod signals;
mod streams;
mod time;
#[cfg(feature = "tls")]
mod tls;
mod visa;
