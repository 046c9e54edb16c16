//! Time. Order is the cursor, durations are the monotonic clock, wall time is a label with a quality.
//!
//! Owns: reading the clocks, RFC 3339 text, whether the wall clock may be trusted and since when, a time given by hand
//! or by a GPS, the steps of the clock, and what they mean for events that were published before them. docs/time.md is
//! the long version.
//! Promises: nothing is corrected that was published in another boot, or while the clock was synchronised; what is
//! given back here is never used for order or durations.
//! Does not: set the machine's clock, sleep, schedule, or touch what is stored: events are corrected when they are read.

mod corrections;
mod hints;
mod keeper;
mod wall;

pub use self::corrections::{Correction, Corrections};
pub use self::hints::synced_by;
pub use self::keeper::{Clock, ClockMemory, ClockQuality, Manual, Refused, Stamp, Step};
pub use self::wall::Wall;
