//! Readers of the stream: what they subscribe to, how they resume, and the fixed pool that writes to them.
//!
//! A reader costs a socket and an offset into the encoded log that it shares with everybody of the same subscription; it
//! holds no thread once it has caught up. Promises: rules 1, 2 and 4 of docs/architecture.md, that is exact resume or a
//! `gap`, one order, records never dropped in silence. Does not: parse requests or write response heads (http does).

mod frame;
mod group;
#[cfg(test)]
mod matrix;
mod pool;
mod resume;
mod service;
mod subscription;

pub use self::service::{Poll, Push};
pub use self::subscription::{Format, Request};
