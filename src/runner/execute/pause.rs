//! Where a scan pauses, and how it goes on: at a checkpoint, after an error, for a person. While it is paused nothing is
//! under way; what it had set is set again before it goes on.

use super::{Execution, Halt, Mode, Trouble};
use crate::runner::machine::Ask;
use crate::runner::plan::{ChannelRef, OnError, Step, Walk};
use crate::sources::Setting;
use std::time::{Duration, Instant};

impl Execution<'_> {
    /// Between two points: pauses, and waits until the next one is due. Gives how late it is then, in ms.
    pub(super) fn checkpoint(&mut self, walk: &Walk, due: Option<Duration>) -> Result<Option<u64>, Halt> {
        loop {
            let orders = self.orders();
            self.obey(&orders)?;
            if orders.ask == Some(Ask::Pause) {
                self.pause(&walk.set_points())?;
                continue;
            }
            let Some(due) = due else { return Ok(None) };
            let active = self.lab.active(self.scan);
            if active >= due {
                return Ok(Some((active - due).as_millis() as u64));
            }
            self.poked(Some(Instant::now() + (due - active)))?;
        }
    }

    /// Pauses as somebody asked, and comes back when the scan runs again.
    pub(super) fn pause(&mut self, set_points: &[(ChannelRef, Setting)]) -> Result<(), Halt> {
        self.beside(&self.plan.on_pause)?;
        if self.lab.checkpoint(self.scan) {
            return self.resume(set_points);
        }
        // Taken back meanwhile.
        if !self.plan.on_pause.is_empty() {
            self.beside(&self.plan.on_resume)?;
            self.apply(set_points)?;
        }
        Ok(())
    }

    /// Pauses because something failed.
    pub(super) fn trouble(
        &mut self,
        trouble: Trouble,
        set_points: &[(ChannelRef, Setting)],
    ) -> Result<(), Halt> {
        if !self.lab.paused_by_error(self.scan, &trouble.text) {
            // It is being aborted or stopped already.
            self.obey(&self.orders())?;
            return Err(Halt::Failed(trouble));
        }
        self.mode = Mode::Pausing;
        let paused = self.beside(&self.plan.on_pause);
        self.mode = Mode::Working;
        paused?;
        self.resume(set_points)
    }

    /// Pauses until a person confirms.
    pub(super) fn prompt(&mut self, text: &str, set_points: &[(ChannelRef, Setting)]) -> Result<(), Halt> {
        if self.lab.paused_by_prompt(self.scan, text) {
            self.resume(set_points)
        } else {
            self.obey(&self.orders())
        }
    }

    /// Waits while it is paused, then applies the set-points again: somebody may have turned a knob. Where that fails it
    /// stays paused, unless errors end it.
    fn resume(&mut self, set_points: &[(ChannelRef, Setting)]) -> Result<(), Halt> {
        let ends = matches!(self.plan.on_error, OnError::Abort | OnError::Retry(_, true));
        loop {
            let skip = self.await_resume()?;
            self.mode = Mode::Resuming;
            let applied = self.beside(&self.plan.on_resume).and_then(|()| {
                self.apply(set_points)?;
                self.settle(longest_settle(&self.plan.steps))
            });
            self.mode = Mode::Working;
            match applied {
                Ok(()) => {}
                Err(Halt::StayPaused) => continue,
                Err(Halt::Failed(trouble)) if !ends => {
                    // False: somebody has taken the resume back, or ends it.
                    self.lab.paused_by_error(self.scan, &trouble.text);
                    continue;
                }
                Err(other) => return Err(other),
            }
            if self.lab.reapplied(self.scan) {
                if !skip {
                    return Ok(());
                }
                self.lab.skip_taken(self.scan);
                return Err(Halt::Skip);
            }
        }
    }

    /// True when the point is to be skipped on the way.
    fn await_resume(&self) -> Result<bool, Halt> {
        loop {
            let orders = self.orders();
            match orders.ask {
                Some(Ask::Abort) => return Err(Halt::Abort),
                Some(Ask::Stop) => return Err(Halt::Stop),
                Some(Ask::Resume) => return Ok(orders.skip),
                _ => {}
            }
            self.woken(None)?;
        }
    }
}

/// The longest time that a loop settles.
fn longest_settle(steps: &[Step]) -> Duration {
    let of = |step: &Step| match step {
        Step::Loop(inner) => inner.settle.max(longest_settle(&inner.body)),
        _ => Duration::ZERO,
    };
    steps.iter().map(of).max().unwrap_or_default()
}
