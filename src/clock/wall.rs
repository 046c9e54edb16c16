//! Reading the clocks, and the text of a time.

use rustix::time::{ClockId, clock_gettime};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

/// Wall time in milliseconds since 1970-01-01T00:00:00Z. May step; never used for order or durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub u64);

impl Wall {
    /// The wall clock now. A clock set before 1970 reads as 0.
    pub fn now() -> Self {
        Wall::from_ms(wall_ms())
    }

    pub(super) fn from_ms(ms: i64) -> Self {
        Wall(ms.max(0).unsigned_abs())
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

/// The clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// What [`Wall::now`] says, in milliseconds since 1970; before that below 0.
    pub wall_ms: i64,
    /// Milliseconds since the machine was started, suspended time included: CLOCK_BOOTTIME of clock_gettime(2).
    pub boot_ms: i64,
}

impl Reading {
    /// How far the wall clock is ahead of the time since boot: changes when the wall clock is set, and not else.
    pub fn offset_ms(self) -> i64 {
        self.wall_ms - self.boot_ms
    }
}

/// Both clocks; none when this thread was held up between the two for so long that their difference says nothing.
pub(super) fn read() -> Option<Reading> {
    const APART_MS: i64 = 50;
    (0..3).find_map(|_| {
        let before = boot_ms();
        let wall_ms = wall_ms();
        let boot_ms = boot_ms();
        (boot_ms - before <= APART_MS).then_some(Reading { wall_ms, boot_ms })
    })
}

/// See [`Reading::boot_ms`].
pub(super) fn boot_ms() -> i64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.saturating_mul(1_000).saturating_add(now.tv_nsec / 1_000_000)
}

/// No time has been given by hand.
const NONE: i64 = i64::MIN;
/// While a time given by hand counts: what it is ahead of the time since boot. The kernel's wall clock is not looked at
/// then, so that whoever sets it without being trusted does not move our labels twice.
static GIVEN: AtomicI64 = AtomicI64::new(NONE);
/// Milliseconds that the kernel's wall clock is said to be ahead: 0 but in tests, see docs/time.md.
static SIMULATED: AtomicI64 = AtomicI64::new(0);

/// Takes a time given by hand: how far it is ahead of the time since boot.
pub(super) fn give(ahead_of_boot_ms: Option<i64>) {
    GIVEN.store(ahead_of_boot_ms.unwrap_or(NONE), Ordering::Relaxed);
}

/// Plays a step of the kernel's clock.
pub(super) fn simulate(ahead_ms: i64) {
    SIMULATED.store(ahead_ms, Ordering::Relaxed);
}

/// The kernel's wall clock, without what was given by hand.
pub(super) fn kernel_ms() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    let ms = now.tv_sec.saturating_mul(1_000).saturating_add(now.tv_nsec / 1_000_000);
    ms.saturating_add(SIMULATED.load(Ordering::Relaxed))
}

fn wall_ms() -> i64 {
    match GIVEN.load(Ordering::Relaxed) {
        NONE => kernel_ms(),
        ahead => boot_ms().saturating_add(ahead),
    }
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
