//! Readers of the stream: what they subscribe to, how they resume, and the fixed pool that writes to them.

mod service;
mod subscription;

pub use self::service::{Poll, Push};
pub use self::subscription::{Format, Request};
