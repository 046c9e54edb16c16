//! Whether somebody disciplines the kernel's clock.
//!
//! The kernel knows (`STA_UNSYNC` of adjtimex(2)), but may not be asked by us: `ProtectClock=yes` of the packaged unit
//! refuses that call even for reading. So systemd-timesyncd is believed by the file it makes when it has set the clock
//! (systemd-time-wait-sync.service(8)), and where another NTP daemon runs, systemd-timedated is asked, which reads the
//! kernel's word for us: `timedatectl show --property=NTPSynchronized --value`, without a shell, now and then.
//! That chrony or ntpd runs says nothing by itself, nor does a PTP clock, which every newer network chip has.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What is known of the kernel's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hint {
    pub synced: bool,
    /// Who says so, in a few words.
    pub source: &'static str,
    /// The boot to be played, in tests.
    pub boot: Option<String>,
}

/// How often timedatectl is asked, while it says no and while it says yes, and how long it may take.
const ASK_UNSYNCED: Duration = Duration::from_secs(30);
const ASK_SYNCED: Duration = Duration::from_secs(300);
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// Looks for hints; see the module above.
#[derive(Debug)]
pub(super) struct Hints {
    root: PathBuf,
    timedatectl: PathBuf,
    /// `TELLTALE_CLOCK`.
    said: Option<bool>,
    /// `TELLTALE_CLOCK_FILE`, a test aid.
    file: Option<PathBuf>,
    asking: Option<(Child, Instant)>,
    asked: Option<Instant>,
    answer: bool,
}

impl Hints {
    pub fn from_environment() -> Self {
        let said = match std::env::var("TELLTALE_CLOCK").as_deref() {
            Ok("synced") => Some(true),
            Ok("unsynced") => Some(false),
            _ => None,
        };
        let file = std::env::var_os("TELLTALE_CLOCK_FILE").filter(|f| !f.is_empty()).map(PathBuf::from);
        if let Some(file) = &file {
            log::warn!("the clock is played from {} (TELLTALE_CLOCK_FILE): for tests only", file.display());
        }
        let mut hints = Hints::new(Path::new("/"), Path::new("timedatectl"));
        (hints.said, hints.file) = (said, file);
        hints
    }

    fn new(root: &Path, timedatectl: &Path) -> Self {
        Hints {
            root: root.into(),
            timedatectl: timedatectl.into(),
            said: None,
            file: None,
            asking: None,
            asked: None,
            answer: false,
        }
    }

    /// Looks again. Reads a file or two, never waits: an answer of timedatectl is taken at a later look.
    pub fn look(&mut self) -> Hint {
        if let Some(played) = self.file.as_ref().and_then(|f| std::fs::read_to_string(f).ok()) {
            return play(&played);
        }
        let hint = |synced, source| Hint { synced, source, boot: None };
        if let Some(synced) = self.said {
            return hint(synced, "TELLTALE_CLOCK");
        }
        let there = |path: &str| self.root.join(path).exists();
        if there("run/systemd/timesync/synchronized") {
            return hint(true, "systemd-timesyncd");
        }
        const DAEMONS: [(&str, &str); 4] = [
            ("run/chrony/chronyd.pid", "chrony"),
            ("run/chronyd.pid", "chrony"),
            ("run/ntpd.pid", "ntpd"),
            ("run/openntpd.pid", "openntpd"),
        ];
        match DAEMONS.iter().find(|(pid, _)| there(pid)) {
            Some((_, daemon)) => hint(self.ask(), daemon),
            None => hint(false, "nothing sets the clock yet"),
        }
    }

    fn ask(&mut self) -> bool {
        if let Some((child, since)) = &mut self.asking {
            match child.try_wait() {
                Ok(None) if since.elapsed() < ANSWER_TIME => return self.answer,
                Ok(Some(_)) => {
                    let mut said = String::new();
                    let read = child.stdout.take().map(|out| out.take(64).read_to_string(&mut said));
                    self.answer = matches!(read, Some(Ok(_))) && said.trim() == "yes";
                }
                _ => {
                    let _ = child.kill();
                    let _ = child.wait();
                    self.answer = false;
                }
            }
            self.asking = None;
        }
        let pause = if self.answer { ASK_SYNCED } else { ASK_UNSYNCED };
        if self.asked.is_none_or(|at| at.elapsed() >= pause) {
            self.asked = Some(Instant::now());
            let child = Command::new(&self.timedatectl)
                .args(["show", "--property=NTPSynchronized", "--value"])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn();
            match child {
                Ok(child) => self.asking = Some((child, Instant::now())),
                // Not there: a daemon whose word can't be had is not believed.
                Err(e) => log::debug!("failed to ask timedatectl: {e}"),
            }
        }
        self.answer
    }
}

/// Whether somebody disciplines the kernel's clock, and who; waits at most `time` for an answer. `root` holds `run`.
pub fn synced_by(root: &Path, time: Duration) -> (bool, &'static str) {
    let mut hints = Hints::new(root, Path::new("timedatectl"));
    let begun = Instant::now();
    loop {
        let hint = hints.look();
        if hint.synced || hints.asking.is_none() || begun.elapsed() > time {
            return (hint.synced, hint.source);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Hints {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.asking {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// `synced|unsynced [milliseconds the clock is ahead] [name of the boot]`.
fn play(text: &str) -> Hint {
    let mut words = text.split_whitespace();
    let synced = words.next() == Some("synced");
    super::wall::simulate(words.next().and_then(|ms| ms.parse().ok()).unwrap_or(0));
    Hint { synced, source: "TELLTALE_CLOCK_FILE", boot: words.next().map(str::to_string) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn touch(root: &Path, path: &str) {
        let file = root.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "").unwrap();
    }

    #[test]
    fn a_daemon_that_runs_is_not_a_clock_that_is_set() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let mut hints = Hints::new(root, &root.join("timedatectl"));
        assert!(!hints.look().synced);
        touch(root, "sys/class/ptp/ptp0/dev");
        assert!(!hints.look().synced, "a network chip's clock says nothing");
        touch(root, "run/chrony/chronyd.pid");
        assert_eq!(hints.look(), Hint { synced: false, source: "chrony", boot: None }, "nobody to ask");
        touch(root, "run/systemd/timesync/synchronized");
        assert_eq!(hints.look(), Hint { synced: true, source: "systemd-timesyncd", boot: None });
    }

    #[test]
    fn timedated_is_asked_for_the_kernels_word() {
        for (script, synced) in [("echo yes", true), ("echo no", false), ("exit 3", false)] {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path();
            touch(root, "run/chrony/chronyd.pid");
            let program = root.join("timedatectl");
            std::fs::write(
                &program,
                format!(
                    "#!/bin/sh\n[ \"$*\" = 'show --property=NTPSynchronized --value' ] || exit 9\n{script}\n"
                ),
            )
            .unwrap();
            std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
            let mut hints = Hints::new(root, &program);
            assert!(!hints.look().synced, "not before the answer");
            let begun = Instant::now();
            while hints.asking.is_some() {
                assert!(begun.elapsed() < Duration::from_secs(10));
                std::thread::yield_now();
                hints.look();
            }
            assert_eq!(hints.look().synced, synced, "{script}");
            assert!(hints.asking.is_none(), "and is left alone for a while");
        }
    }
}
