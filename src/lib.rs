//! telltale: the live panel for equipment in the field.
//!
//! Imports point down this list only; a test (`tests/tidy.rs`) checks it.
//!
//! ```text
//! cli     what the command line does: run, check, key, publish, tail, status
//! daemon  the wiring diagram; stop order is start order reversed
//! http    connections, routes, static files, access       -> push, bus, store, model
//! sources gpio, serial, host health, the simulated bench  -> bus, model
//! push    readers of the stream: groups, resume, writers  -> bus, store, model
//! store   the only module that names redb                 -> bus (its batches), model
//! bus     ids, state, the hot log                         -> model
//! model   the vocabulary: plain types, no I/O
//! base    open to all: config, clock, keys, limits, threads, metrics
//! ```

pub mod bus;
pub mod clock;
pub mod config;
pub mod http;
pub mod keys;
pub mod limits;
pub mod metrics;
pub mod model;
pub mod push;
pub mod sources;
pub mod store;
pub mod threads;
