//! telltale: the live panel for equipment in the field.
//!
//! Imports point down this list only; a test (`tests/tidy.rs`) checks it.
//!
//! ```text
//! cli     what the command line does: run, check, key, publish, tail, status, capture, replay
//! daemon  the wiring diagram; stop order is start order reversed
//! http    connections, routes, static files, access       -> runner, sources (the bench's switches, recordings), alerts, push, bus, store, keys, config, model
//! runner  scans and queues: plans, points, their data     -> sources (instruments), alerts, store, bus, config, model
//! sources gpio, serial, recordings, host health, the bench -> alerts, store, bus, config, model
//! alerts  rules, the desk, delivery                       -> store, bus, config, model
//! push    readers of the stream: groups, resume, writers  -> bus, store, config, model
//! store   the only module that names redb                 -> bus (its batches), config, model
//! bus     ids, state, the hot log                         -> config, model
//! keys    access keys: made, stored hashed, checked       -> model
//! config  what may be set, checked                        -> model
//! model   the vocabulary: plain types, no I/O
//! base    open to all: clock, limits, logging, metrics, random, sheet, threads, tls
//! ```

pub mod alerts;
pub mod bus;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod http;
pub mod keys;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod model;
pub mod push;
pub mod random;
pub mod runner;
pub mod sheet;
pub mod sources;
pub mod store;
pub mod threads;
pub mod tls;
