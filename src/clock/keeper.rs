//! The clock as the rest of telltale has it: its quality, its steps, a time given by hand, and what is remembered of all
//! that across a restart within the same boot.

use super::corrections::Corrections;
use super::hints::Hints;
use super::wall::{self, Reading, Wall};
use crate::limits;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

/// How far the wall clock may be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockQuality {
    /// A time source disciplines the clock.
    Synced,
    /// No time source yet: labels may be wrong, nothing is deleted by age.
    Unsynced,
    /// No time source, but a person or a GPS has said what time it is.
    Manual,
}

/// A change of the wall clock that no waiting explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What the clock would have said.
    pub from: Wall,
    /// What it said.
    pub to: Wall,
    /// How far it was set forward, in milliseconds; below 0 back.
    pub delta_ms: i64,
}

/// A time that was given by hand or by a GPS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manual {
    /// How far it is ahead of the time since boot, in milliseconds.
    pub ahead_ms: i64,
    /// Whose it is: `browser`, or the source of the fix.
    pub source: String,
    /// Who gave it, as far as is known.
    pub by: Option<String>,
    /// Whoever gave it vouches for it: records may be deleted by age.
    #[serde(default)]
    pub confirmed: bool,
}

/// What must be known after a restart. Written with the events it is about, in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockMemory {
    /// The boot it is about; see `/proc/sys/kernel/random/boot_id` in random(4).
    pub boot: String,
    /// The first seq that was published in it.
    pub first: u64,
    /// How far the wall clock was ahead of the time since boot when this was written.
    pub offset_ms: Option<i64>,
    /// The time since boot at the last step forward.
    #[serde(default)]
    pub forward_ms: Option<i64>,
    /// A time given by hand.
    #[serde(default)]
    pub manual: Option<Manual>,
    /// The last steps.
    #[serde(default)]
    pub steps: VecDeque<Step>,
    /// Of this boot and of earlier ones.
    #[serde(default)]
    pub corrections: Corrections,
}

/// What an event is stamped with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The wall clock.
    pub now: Wall,
    /// Nobody vouches for the clock: the envelope says so.
    pub unsynced: bool,
}

/// Why a time was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The clock is synchronised: it knows better.
    Synced,
    /// No clock is that wrong.
    Absurd,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Synced => "the clock is synchronised; a time given by hand is not needed",
            Refused::Absurd => "that time is before 2024 or after 2099; is the clock of this device right?",
        })
    }
}
impl std::error::Error for Refused {}

/// A difference up to here is the clock being slewed, or rounding.
const STEP_MS: i64 = 500;
/// The offset is written anew when it has drifted this far: much less than a step, much more than a day's slewing.
const DRIFT_MS: i64 = 100;
/// Steps that are shown.
const STEPS: usize = 8;
/// Times given by hand: 2024-01-01 to 2099-12-31.
const SANE_MS: std::ops::Range<u64> = 1_704_067_200_000..4_102_444_800_000;

struct State {
    memory: ClockMemory,
    quality: ClockQuality,
    source: String,
    since: Wall,
    /// The last look at the clocks.
    offset_ms: Option<i64>,
    /// Shared with readers; the same as in `memory`.
    corrections: Arc<Corrections>,
    /// The last seq that was stamped by an unsynchronised clock in this boot.
    unsynced_through: u64,
    unsaid: Vec<Step>,
    /// Kinds of sources whose time is taken.
    from: Vec<String>,
    dirty: bool,
}

/// The clock; see the module above.
pub struct Clock {
    hints: Mutex<Hints>,
    state: Mutex<State>,
}

impl Clock {
    /// The clock after `head` events, with what the last run remembered.
    pub fn new(memory: Option<ClockMemory>, head: u64) -> Self {
        let mut hints = Hints::from_environment();
        let hint = hints.look();
        let boot = hint.boot.unwrap_or_else(boot_id);
        let state = State::begin(memory, head, boot, hint.synced, hint.source);
        wall::give(state.memory.manual.as_ref().map(|m| m.ahead_ms));
        Clock { hints: Mutex::new(hints), state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// How far the wall clock may be trusted, as of the last look.
    pub fn quality(&self) -> ClockQuality {
        self.lock().quality
    }

    /// Looks for who disciplines the clock: once a second, by the daemon. Reads files; never waits.
    pub fn look(&self) {
        let hint = self.hints.lock().unwrap_or_else(|e| e.into_inner()).look();
        let mut state = self.lock();
        state.hear(hint.synced, hint.source);
        wall::give(state.memory.manual.as_ref().map(|m| m.ahead_ms));
    }

    /// Stamps the `count` events that will follow `head`, and notes a step that happened since the last look: everything
    /// up to `head` was stamped before it. The bus calls this under its lock, so the boundary is exact.
    pub fn stamp(&self, head: u64, count: u64) -> Stamp {
        let mut state = self.lock();
        let reading = wall::read();
        if let Some(reading) = reading {
            state.observe(reading, head);
        }
        let unsynced = !state.is_vouched_for();
        if unsynced && count > 0 {
            state.unsynced_through = head + count;
        }
        Stamp { now: reading.map_or_else(Wall::now, |r| Wall::from_ms(r.wall_ms)), unsynced }
    }

    /// The steps that have not been told yet.
    pub fn take_steps(&self) -> Vec<Step> {
        std::mem::take(&mut self.lock().unsaid)
    }

    /// What is known of events that were published before the clock was set.
    pub fn corrections(&self) -> Arc<Corrections> {
        Arc::clone(&self.lock().corrections)
    }

    /// What is to be remembered, when that is something else than last time.
    pub fn take_memory(&self) -> Option<ClockMemory> {
        let mut state = self.lock();
        state.dirty.then(|| {
            state.dirty = false;
            state.memory.clone()
        })
    }

    /// What [`Clock::take_memory`] gave could not be written.
    pub fn not_remembered(&self) {
        self.lock().dirty = true;
    }

    /// Whether records may be deleted because they are old: not while nobody disciplines the clock, unless a person
    /// vouches for the time they gave, and not in the first minutes after a step forward, which may be a mistake.
    pub fn age_may_be_trusted(&self) -> bool {
        self.lock().age_may_be_trusted(wall::boot_ms())
    }

    /// Takes a person's time while no time source is there, until one is, the machine is started anew or it is given up.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn give(&self, now: Wall, by: Option<String>, confirmed: bool) -> Result<(), Refused> {
        self.lock().give(now, wall::boot_ms(), "browser", by, confirmed)?;
        self.apply();
        Ok(())
    }

    /// Which kinds of sources may say what time it is: `time.from` of the configuration.
    pub fn take_from(&self, kinds: &[String]) {
        self.lock().from = kinds.to_vec();
    }

    /// A source, such as a receiver with a fix, says what time it is; `kind` is its word in `time.from`. Nothing changes
    /// unless the configuration wants it, while the clock is synchronised, or when it says the same to half a second.
    pub fn offer(&self, kind: &str, source: &str, now: Wall) {
        self.lock().offer(kind, source, now, wall::boot_ms());
        self.apply();
    }

    /// Gives up a time that was given by hand; false when there is none.
    pub fn give_up(&self) -> bool {
        let was = self.lock().give_up();
        self.apply();
        was
    }

    fn apply(&self) {
        wall::give(self.lock().memory.manual.as_ref().map(|m| m.ahead_ms));
    }

    /// `system_health.clock`, and what `GET /api/time` says besides the time.
    pub fn describe(&self) -> Value {
        let state = self.lock();
        let mut all = json!({
            "quality": state.quality,
            "source": state.source,
            "since": state.since,
            "steps": state.memory.steps.iter().map(|s| json!({ "at": s.to, "delta_s": s.delta_s() })).collect::<Vec<_>>(),
        });
        if let Some(manual) = &state.memory.manual {
            let ahead = wall::boot_ms().saturating_add(manual.ahead_ms).saturating_sub(wall::kernel_ms());
            all["offset_s"] = seconds(ahead).into();
            all["confirmed"] = manual.confirmed.into();
            if let Some(by) = &manual.by {
                all["by"] = by.as_str().into();
            }
        }
        all
    }

    /// The id of this boot.
    pub fn boot(&self) -> String {
        self.lock().memory.boot.clone()
    }
}

impl Step {
    /// How far the clock was set forward, in seconds.
    pub fn delta_s(&self) -> f64 {
        seconds(self.delta_ms)
    }
}

impl State {
    fn begin(memory: Option<ClockMemory>, head: u64, boot: String, synced: bool, source: &str) -> State {
        let mut memory = memory.unwrap_or_default();
        let same = memory.boot == boot;
        if !same {
            let corrections = std::mem::take(&mut memory.corrections);
            memory = ClockMemory { boot, first: head + 1, corrections, ..ClockMemory::default() };
        }
        let mut state = State {
            corrections: Arc::new(memory.corrections.clone()),
            offset_ms: memory.offset_ms,
            quality: if memory.manual.is_some() { ClockQuality::Manual } else { ClockQuality::Unsynced },
            source: String::new(),
            since: Wall::now(),
            // Which of them were, their envelopes say.
            unsynced_through: if same { head } else { 0 },
            unsaid: Vec::new(),
            from: Vec::new(),
            dirty: !same,
            memory,
        };
        state.hear(synced, source);
        state
    }

    fn hear(&mut self, synced: bool, source: &str) {
        if synced && self.memory.manual.take().is_some() {
            self.dirty = true;
        }
        let manual = self.memory.manual.as_ref();
        let quality = match (synced, manual) {
            (true, _) => ClockQuality::Synced,
            (false, Some(_)) => ClockQuality::Manual,
            (false, None) => ClockQuality::Unsynced,
        };
        let source = manual.map_or(source, |m| &m.source);
        if self.source != source {
            self.source = source.into();
        }
        if self.quality != quality {
            self.quality = quality;
            self.since = Wall::now();
        }
    }

    fn observe(&mut self, reading: Reading, head: u64) {
        let offset = reading.offset_ms();
        if let Some(before) = self.offset_ms.replace(offset)
            && (offset - before).abs() > STEP_MS
        {
            self.step(before, reading, head);
        }
        if self.memory.offset_ms.is_none_or(|kept| (offset - kept).abs() > DRIFT_MS) {
            self.memory.offset_ms = Some(offset);
            self.dirty = true;
        }
    }

    fn step(&mut self, before: i64, reading: Reading, head: u64) {
        let delta_ms = reading.offset_ms() - before;
        let (from, to) = (Wall::from_ms(reading.boot_ms + before), Wall::from_ms(reading.wall_ms));
        let step = Step { from, to, delta_ms };
        self.memory.steps.push_back(step);
        while self.memory.steps.len() > STEPS {
            self.memory.steps.pop_front();
        }
        if self.unsaid.len() < STEPS {
            self.unsaid.push(step);
        }
        if delta_ms > 0 {
            self.memory.forward_ms = Some(reading.boot_ms);
        }
        // Since when it is as it is, is told by the clock as it is.
        self.since = Wall::from_ms(i64::try_from(self.since.0).unwrap_or(i64::MAX).saturating_add(delta_ms));
        let through = head.min(self.unsynced_through);
        self.memory.corrections.add(self.memory.first, through, delta_ms);
        self.corrections = Arc::new(self.memory.corrections.clone());
        self.dirty = true;
    }

    fn give(
        &mut self,
        now: Wall,
        boot_ms: i64,
        source: &str,
        by: Option<String>,
        confirmed: bool,
    ) -> Result<(), Refused> {
        if self.quality == ClockQuality::Synced {
            return Err(Refused::Synced);
        }
        if !SANE_MS.contains(&now.0) {
            return Err(Refused::Absurd);
        }
        let ahead_ms = i64::try_from(now.0).unwrap_or(i64::MAX) - boot_ms;
        self.memory.manual = Some(Manual { ahead_ms, source: source.into(), by, confirmed });
        self.dirty = true;
        self.hear(false, source);
        Ok(())
    }

    fn offer(&mut self, kind: &str, source: &str, now: Wall, boot_ms: i64) {
        let ahead = i64::try_from(now.0).unwrap_or(i64::MAX).saturating_sub(boot_ms);
        let same = self.memory.manual.as_ref().is_some_and(|m| {
            m.source == source && m.ahead_ms.saturating_sub(ahead).saturating_abs() <= STEP_MS
        });
        if !same && self.from.iter().any(|wanted| wanted == kind) {
            // What is refused is a clock that is right, or a receiver that is absurd.
            let _ = self.give(now, boot_ms, source, None, false);
        }
    }

    fn give_up(&mut self) -> bool {
        let was = self.memory.manual.take().is_some();
        if was {
            self.dirty = true;
            self.hear(false, "nothing sets the clock yet");
        }
        was
    }

    /// A time source disciplines the clock, or a person has said that the time they gave is right.
    fn is_vouched_for(&self) -> bool {
        match self.quality {
            ClockQuality::Synced => true,
            ClockQuality::Manual => self.memory.manual.as_ref().is_some_and(|m| m.confirmed),
            ClockQuality::Unsynced => false,
        }
    }

    fn age_may_be_trusted(&self, boot_ms: i64) -> bool {
        let hold = limits::CLOCK_HOLD.as_millis() as i64;
        self.is_vouched_for() && self.memory.forward_ms.is_none_or(|at| boot_ms.saturating_sub(at) >= hold)
    }
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

/// The id of this boot; where there is none, every start is a boot of its own.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_string())
        .unwrap_or_else(|_| format!("unknown-{}", getrandom::u64().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;
    const BASE: i64 = 1_767_700_000_000;

    fn fresh(head: u64) -> State {
        State::begin(None, head, "boot-1".into(), false, "nothing")
    }

    fn at(boot_ms: i64, offset_ms: i64) -> Reading {
        Reading { wall_ms: boot_ms + offset_ms, boot_ms }
    }

    /// Looks at (time since boot, offset): which of them is a step, and how far.
    #[test]
    fn a_step_is_told_from_waiting_slewing_and_sleeping() {
        type Row = (&'static str, &'static [(i64, i64)], &'static [i64]);
        let table: [Row; 7] = [
            ("waiting", &[(0, BASE), (1_000, BASE), (9_000_000, BASE)], &[]),
            ("slewing", &[(0, BASE), (1_000, BASE + 400), (2_000, BASE + 800), (3_000, BASE + 1_200)], &[]),
            ("asleep for a day", &[(0, BASE), (DAY, BASE)], &[]),
            ("half a second is none", &[(0, BASE), (1_000, BASE + 500)], &[]),
            ("forward", &[(0, BASE), (1_000, BASE + 501), (2_000, BASE + 501)], &[501]),
            ("back an hour", &[(0, BASE), (1_000, BASE - 3_600_000)], &[-3_600_000]),
            ("there and back", &[(0, BASE), (1_000, BASE + DAY), (2_000, BASE)], &[DAY, -DAY]),
        ];
        for (name, looks, deltas) in table {
            let mut state = fresh(0);
            for (boot, offset) in looks {
                state.observe(at(*boot, *offset), 0);
            }
            let seen: Vec<i64> = state.unsaid.iter().map(|s| s.delta_ms).collect();
            assert_eq!(seen, deltas, "{name}");
        }
    }

    #[test]
    fn a_step_says_what_it_changed() {
        let mut state = fresh(0);
        state.observe(at(1_000, BASE), 0);
        state.observe(at(5_000, BASE + 3_600_000), 0);
        let step = state.unsaid[0];
        assert_eq!(step.from, Wall::from_ms(BASE + 5_000));
        assert_eq!(step.to, Wall::from_ms(BASE + 3_605_000));
        assert_eq!(step.delta_s(), 3_600.0);
    }

    #[test]
    fn a_restart_in_the_same_boot_goes_on_and_another_boot_does_not() {
        let mut state = fresh(100);
        state.observe(at(1_000, BASE), 100);
        state.unsynced_through = 110;
        let memory = state.memory.clone();
        assert_eq!((memory.first, memory.offset_ms), (101, Some(BASE)));

        // The clock was set while the daemon was down.
        let mut again = State::begin(Some(memory.clone()), 110, "boot-1".into(), true, "ntp");
        again.observe(at(60_000, BASE + DAY), 110);
        assert_eq!(again.corrections.delta_ms(105), Some(DAY));
        assert_eq!(again.corrections.delta_ms(100), None, "of the boot before");
        assert_eq!(again.corrections.delta_ms(111), None);
        assert!(!again.age_may_be_trusted(61_000));

        // The machine was started anew: another offset is no step, and nothing of before is touched.
        let mut other = State::begin(Some(again.memory.clone()), 120, "boot-2".into(), false, "nothing");
        other.observe(at(2_000, BASE + 9 * DAY), 120);
        assert!(other.unsaid.is_empty());
        assert_eq!(other.memory.first, 121);
        assert_eq!(other.corrections.delta_ms(105), Some(DAY), "what was known stays known");
        other.unsynced_through = 130;
        other.observe(at(3_000, BASE), 130);
        assert_eq!(other.corrections.delta_ms(105), Some(DAY));
        assert_eq!(other.corrections.delta_ms(125), Some(-9 * DAY));
    }

    #[test]
    fn only_what_was_stamped_unsynchronised_is_corrected() {
        let mut state = fresh(0);
        state.observe(at(0, BASE), 0);
        state.unsynced_through = 5;
        state.hear(true, "ntp");
        state.observe(at(1_000, BASE + DAY), 20);
        assert_eq!(state.corrections.delta_ms(5), Some(DAY));
        assert_eq!(state.corrections.delta_ms(6), None);
    }

    #[test]
    fn age_counts_only_when_somebody_vouches_for_the_clock() {
        let mut state = fresh(0);
        state.observe(at(0, BASE), 0);
        assert!(!state.age_may_be_trusted(0), "unsynced");
        state.hear(true, "ntp");
        assert!(state.age_may_be_trusted(0));
        state.observe(at(1_000, BASE - DAY), 0);
        assert!(state.age_may_be_trusted(1_000), "back makes nothing older");
        state.observe(at(2_000, BASE + 4_000 * DAY), 0);
        let hold = limits::CLOCK_HOLD.as_millis() as i64;
        assert!(!state.age_may_be_trusted(2_000 + hold - 1), "forward by years");
        assert!(state.age_may_be_trusted(2_000 + hold));
        state.hear(false, "nothing");
        let far = i64::MAX / 2;
        assert!(!state.age_may_be_trusted(far));
        state.give(Wall::from_ms(BASE), 5_000, "browser", None, false).unwrap();
        assert!(!state.age_may_be_trusted(far), "a phone may be wrong");
        state.give(Wall::from_ms(BASE), 5_000, "browser", None, true).unwrap();
        assert!(state.age_may_be_trusted(far), "somebody vouches for it");
    }

    #[test]
    fn a_time_given_by_hand_counts_until_a_time_source_is_there() {
        let mut state = fresh(0);
        assert_eq!(state.give(Wall(0), 0, "browser", None, false), Err(Refused::Absurd));
        state.give(Wall::from_ms(BASE + 7_000), 7_000, "browser", Some("Ada".into()), false).unwrap();
        assert_eq!(
            (state.quality, state.memory.manual.as_ref().unwrap().ahead_ms),
            (ClockQuality::Manual, BASE)
        );
        assert_eq!(state.source, "browser");
        state.hear(false, "nothing");
        assert_eq!(state.quality, ClockQuality::Manual);
        state.hear(true, "ntp");
        assert_eq!((state.quality, &state.memory.manual), (ClockQuality::Synced, &None));
        assert_eq!(state.give(Wall::from_ms(BASE), 0, "browser", None, false), Err(Refused::Synced));
        assert!(!state.give_up());
    }

    #[test]
    fn a_receiver_is_listened_to_when_it_is_wanted() {
        let mut state = fresh(0);
        let given = |state: &State| state.memory.manual.as_ref().map(|m| (m.source.clone(), m.ahead_ms));
        state.offer("gps", "gnss0", Wall::from_ms(BASE), 0);
        assert_eq!(given(&state), None, "nobody asked for it");
        state.from = vec!["gps".into()];
        state.offer("gps", "gnss0", Wall::from_ms(BASE), 0);
        assert_eq!(given(&state), Some(("gnss0".into(), BASE)));
        state.dirty = false;
        state.offer("gps", "gnss0", Wall::from_ms(BASE + 1_400), 1_000);
        assert!(!state.dirty, "a fix that comes a little later says the same");
        state.offer("gps", "gnss0", Wall::from_ms(BASE + 9_000), 1_000);
        assert_eq!(given(&state), Some(("gnss0".into(), BASE + 8_000)));
        state.hear(true, "ntp");
        state.offer("gps", "gnss0", Wall::from_ms(BASE), 0);
        assert_eq!((state.quality, given(&state)), (ClockQuality::Synced, None));
    }
}
