//! Logging: one line an event to standard error, at `info` unless `RUST_LOG` says otherwise.
//!
//! Under systemd's journal a line begins with its priority, `<N>` as in sd-daemon(3), and has no time, as the journal
//! has its own. Anywhere else it is text for people: time, level, message.

use crate::clock::Wall;
use log::{Level, LevelFilter};
use std::io::Write;
use std::os::unix::fs::MetadataExt;

/// Starts logging. Once a process; a second time does nothing.
pub fn start(default: LevelFilter) {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(default).parse_default_env();
    if to_journal() {
        builder.format(|out, record| {
            let prefix = priority(record.level());
            // Each line is an entry of its own there, so each needs its priority.
            let message = record.args().to_string();
            for line in message.lines() {
                writeln!(out, "<{prefix}>{line}")?;
            }
            Ok(())
        });
    } else {
        builder.format(|out, record| {
            let style = out.default_level_style(record.level());
            writeln!(out, "{} {style}{:<5}{style:#} {}", Wall::now().rfc3339(), record.level(), record.args())
        });
    }
    let _ = builder.try_init();
}

/// Whether standard error goes to the journal: the device and inode in `JOURNAL_STREAM` are its own. The variable alone
/// is not enough, as it is inherited by programs whose output goes elsewhere. Source: systemd.exec(5).
fn to_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else { return false };
    is_stream(&stream, stderr.dev(), stderr.ino())
}

fn is_stream(variable: &str, device: u64, inode: u64) -> bool {
    variable.split_once(':').is_some_and(|(d, i)| d.parse() == Ok(device) && i.parse() == Ok(inode))
}

/// The number of sd-daemon(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_stream_is_the_journal() {
        assert!(is_stream("8:1234", 8, 1234));
        for other in ["8:1235", "9:1234", "8", "", ":", "8:1234:5", "x:y"] {
            assert!(!is_stream(other, 8, 1234), "{other}");
        }
    }

    #[test]
    fn priorities_follow_sd_daemon() {
        let all = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace].map(priority);
        assert_eq!(all, [3, 4, 6, 7, 7]);
    }
}
