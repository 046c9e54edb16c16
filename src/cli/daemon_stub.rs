//! Stands in for the daemon until src/daemon.rs is part of the library.

/// Does nothing.
pub fn run(_: crate::config::Loaded) -> u8 {
    log::error!("this build has no daemon");
    crate::cli::FAILED
}
