//! Time. Order is the cursor, durations are [`Instant`], wall time is a label with a quality.
//!
//! Owns: reading the wall clock, RFC 3339 text, and whether the kernel thinks the clock is synchronised.
//! Does not: sleep, schedule, or correct anything.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall time in milliseconds since 1970-01-01T00:00:00Z. May step; never used for order or durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub u64);

impl Wall {
    /// The wall clock now. A clock set before 1970 reads as 0.
    pub fn now() -> Self {
        Wall(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64))
    }

    /// RFC 3339 in UTC with milliseconds and `Z`, such as `2026-01-07T15:30:00.412Z`.
    pub fn rfc3339(self) -> String {
        // humantime panics past the year 9999; a clock that wrong is shown as the last moment it can say.
        let capped = self.0.min(253_402_300_799_999);
        humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(capped)).to_string()
    }

    /// Reads RFC 3339 with `Z`; `None` when it is anything else or before 1970.
    pub fn parse(text: &str) -> Option<Self> {
        let at = humantime::parse_rfc3339(text).ok()?;
        at.duration_since(UNIX_EPOCH).ok().map(|d| Wall(d.as_millis() as u64))
    }
}

impl serde::Serialize for Wall {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.rfc3339())
    }
}

impl<'de> serde::Deserialize<'de> for Wall {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        Wall::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "expected an RFC 3339 time in UTC such as 2026-01-07T15:30:00.412Z, got {text:?}"
            ))
        })
    }
}

/// How far the wall clock may be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockQuality {
    /// The kernel says a time source disciplines the clock.
    Synced,
    /// No time source yet: labels may be wrong, nothing is deleted by age.
    Unsynced,
}

/// Whether a time source disciplines the clock, asked at most once a second.
///
/// Source: systemd-timesyncd's `/run/systemd/timesync/synchronized` (systemd-time-wait-sync.service(8)), the pid
/// files of chrony, ntpd and openntpd, and a PTP clock given by a hypervisor. `adjtimex(2)` would say more but has
/// no safe wrapper here. `TELLTALE_CLOCK=synced|unsynced` overrides, for tests and for hosts none of this fits.
#[derive(Debug)]
pub struct ClockWatch {
    started: Instant,
    checked: AtomicU8,
    quality: AtomicU8,
}

impl Default for ClockWatch {
    fn default() -> Self {
        Self { started: Instant::now(), checked: AtomicU8::new(u8::MAX), quality: AtomicU8::new(0) }
    }
}

impl ClockWatch {
    /// The quality as of at most a second ago.
    pub fn quality(&self) -> ClockQuality {
        let second = (self.started.elapsed().as_secs() % 200) as u8;
        if self.checked.swap(second, Ordering::Relaxed) != second {
            self.quality.store(u8::from(kernel_says_synced()), Ordering::Relaxed);
        }
        if self.quality.load(Ordering::Relaxed) == 1 { ClockQuality::Synced } else { ClockQuality::Unsynced }
    }
}

fn kernel_says_synced() -> bool {
    match std::env::var("TELLTALE_CLOCK").as_deref() {
        Ok("synced") => return true,
        Ok("unsynced") => return false,
        _ => {}
    }
    [
        "/run/systemd/timesync/synchronized",
        "/run/chrony/chronyd.pid",
        "/run/ntpd.pid",
        "/run/openntpd.pid",
        "/sys/class/ptp/ptp0",
    ]
    .iter()
    .any(|p| std::path::Path::new(p).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_round_trip() {
        for ms in [0, 1, 951_782_400_123, 1_767_799_800_412, 253_402_300_799_999] {
            assert_eq!(Wall::parse(&Wall(ms).rfc3339()), Some(Wall(ms)));
        }
        assert_eq!(Wall(1_767_799_800_412).rfc3339(), "2026-01-07T15:30:00.412Z");
        assert_eq!(Wall::parse("2026-01-07T15:30:00+01:00"), None);
        assert_eq!(Wall::parse("yesterday"), None);
        assert!(Wall(u64::MAX).rfc3339().starts_with("9999-"));
    }
}
