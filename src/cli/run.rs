//! `telltale run`: settings, then the daemon.

use super::USAGE;
use crate::config::{self, Flags, Overrides};

pub(super) fn run(flags: Flags) -> u8 {
    let loaded = match config::load(&Overrides::from_process(flags)) {
        Ok(loaded) => loaded,
        Err(errors) => {
            for error in &errors {
                log::error!("{error}");
            }
            log::error!(
                "not started: the configuration has {} fault{}",
                errors.len(),
                if errors.len() == 1 { "" } else { "s" }
            );
            return USAGE;
        }
    };
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    if let Err(e) = loaded.keep_as_last_good() {
        // The daemon says in its own words when the folder can't be used; this only costs the copy.
        log::warn!(
            "failed to keep the configuration as {} in {}: {e}",
            config::LAST_GOOD,
            loaded.config.data.display()
        );
    }
    crate::daemon::run(loaded)
}
