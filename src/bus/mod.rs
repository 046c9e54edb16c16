//! The bus: gives events their ids, folds state, keeps the newest events at hand.
//!
//! **Order.** One lock assigns ids and makes events visible, in one order: whoever sees `seq` n can get 1 to n.
//! **Blocking.** [`Bus::publish`] takes that lock for microseconds and never waits for a reader or the disk; only
//! [`Bus::wait_durable`] waits. **Bounds.** The hot log drops its oldest *committed* events past
//! [`limits::HOT_BYTES`](crate::limits::HOT_BYTES); what waits for the disk is bounded by `lag_bytes`, past which
//! publishing is refused. The bus does no I/O: the store's writer thread takes from it, the push layer reads from it.

mod commands;
mod log;

pub use self::commands::{Command, Commands, INTERLOCK, Lookup, Refusal, Submitted};
pub(crate) use self::log::Batch;
pub use self::log::{Bus, FellOut, Published, Refused, Snapshot, Start};
