//! The store: records in blocks, the newest state of every key, where each epoch ended, and the rows of scans. The only
//! module that names redb.
//!
//! Promises: what a commit returned from is on the disk and is there after a power cut; a reader sees one
//! consistent moment; no read transaction outlives a call, so none is ever held while somebody writes to a socket.
//! Layout and versions are in docs/store.md. Does not decide when to commit: that is the writer's window.

mod block;
mod chunk;
mod columns;
#[cfg(test)]
pub(crate) mod crash;
mod database;
mod points;
mod search;
mod summary;
mod trail;
mod writer;

pub use self::chunk::{BLOCK, Cell, Chunk, Label};
pub use self::database::{Opened, Store, StoreError, Stored, Visited};
pub use self::points::{Kept, Measured, Written, span, summarise};
pub use self::search::{Found, Search, Searched, search};
pub use self::summary::{Head, Span, Summary, Times};
pub use self::trail::Trail;
pub use self::writer::start_writer;
