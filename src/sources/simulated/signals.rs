//! Three sampled signals with a rolling z score and now and then a spike.

use super::link::Link;
use super::out::Out;
use super::random::Random;
use super::{Device, Moment, STEP_S, STEPS_PER_S, World, number, round};
use crate::bus::Command;
use crate::clock::Wall;
use crate::model::{SignalBatch, SignalEvent, SignalStats, SignalStatus, SignalTotals};
use std::collections::VecDeque;
use std::f64::consts::TAU;

/// The z score of a sample is over this many samples before it; there is none until they are full.
const WINDOW: usize = 50;
/// From this distance, in standard deviations, a sample is an anomaly.
const THRESHOLD: f64 = 4.5;
/// Share of samples that get a spike.
const SPIKES: f64 = 0.004;
/// Bounds of what may be asked for.
const INTERVAL_S: (f64, f64) = (1.0, 10.0);
const BATCH: (f64, f64) = (1.0, 200.0);

/// One signal.
pub(super) struct Signal {
    id: &'static str,
    seed: u64,
    random: Random,
    noise: f64,
    window: VecDeque<f64>,
    live: bool,
    interval_s: f64,
    batch_size: u64,
    /// Steps since the last batch.
    waited: u64,
    /// Samples so far, also those that never arrived.
    samples: u64,
    totals: SignalTotals,
}

/// All three, live from the start: the bench is there to be watched.
pub(super) fn signals(seed: u64) -> Vec<Signal> {
    ["alpha", "beta", "gamma"]
        .into_iter()
        .map(|id| Signal {
            id,
            seed,
            random: Random::of(seed, id),
            noise: 0.0,
            window: VecDeque::with_capacity(WINDOW),
            live: true,
            interval_s: 2.0,
            batch_size: 20,
            waited: 0,
            samples: 0,
            totals: SignalTotals::default(),
        })
        .collect()
}

impl Signal {
    /// The next value: a wave, a walk or a ramp, with noise.
    fn value(&mut self) -> f64 {
        let n = self.samples as f64;
        let clean = match self.id {
            "alpha" => 4.0 + 1.5 * (n * TAU / 600.0).sin(),
            "beta" => {
                self.noise = 0.98 * self.noise + 0.1 * self.random.gauss();
                6.0 + self.noise
            }
            _ => 2.0 + 2.0 * (n / 900.0).fract(),
        };
        let spike = if self.random.chance(SPIKES) { self.random.between(4.0, 7.0) } else { 0.0 };
        round(clean + 0.2 * self.random.gauss() + spike, 4)
    }

    /// `batch_size` samples, the last of them now.
    fn batch(&mut self, at: Moment) -> Vec<SignalEvent> {
        let apart_ms = 1000.0 * self.interval_s / self.batch_size as f64;
        (0..self.batch_size)
            .map(|n| {
                let value = self.value();
                let z = score(&self.window, value);
                if self.window.len() == WINDOW {
                    self.window.pop_front();
                }
                self.window.push_back(value);
                let seq = self.samples;
                self.samples += 1;
                let before_ms = (self.batch_size - 1 - n) as f64 * apart_ms;
                SignalEvent {
                    seq,
                    t: Wall(at.wall.0.saturating_sub(before_ms as u64)),
                    value: Some(value),
                    anomaly: z.is_some_and(|z| z.abs() >= THRESHOLD),
                    z: z.map(|z| round(z, 2)),
                }
            })
            .collect()
    }

    fn publish_batch(&mut self, events: Vec<SignalEvent>, out: &mut Out) {
        self.totals.events += events.len() as u64;
        self.totals.anomalies += events.iter().filter(|e| e.anomaly).count() as u64;
        out.record(
            "signal_batch",
            &SignalBatch { signal_id: self.id.into(), events, totals: self.totals.clone() },
        );
    }

    fn publish_status(&self, at: Moment, out: &mut Out) {
        let (mean, std) = moments(&self.window);
        let has = !self.window.is_empty();
        let stats = SignalStats {
            mean: has.then(|| round(mean, 4)),
            std: has.then(|| round(std, 4)),
            min: self.window.iter().copied().reduce(f64::min),
            max: self.window.iter().copied().reduce(f64::max),
        };
        out.state(
            at,
            "signal_status",
            self.id,
            &SignalStatus {
                signal_id: self.id.into(),
                name: Some(format!("Signal {}", self.id)),
                live: self.live,
                interval_s: self.interval_s,
                batch_size: self.batch_size,
                seed: self.seed,
                total_events: self.totals.events,
                stats,
                anomalies: self.totals.anomalies,
            },
        );
    }
}

/// Mean and population standard deviation.
fn moments(window: &VecDeque<f64>) -> (f64, f64) {
    let n = window.len().max(1) as f64;
    let mean = window.iter().sum::<f64>() / n;
    (mean, (window.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
}

/// How far `value` is from the full window before it, in its standard deviations.
fn score(window: &VecDeque<f64>, value: f64) -> Option<f64> {
    if window.len() < WINDOW {
        return None;
    }
    let (mean, std) = moments(window);
    (std > 0.0).then(|| (value - mean) / std)
}

impl Device for Signal {
    fn source(&self) -> &'static str {
        self.id
    }

    fn timeout_s(&self) -> f64 {
        // A generator says every second that it is there, also while it is paused.
        5.0
    }

    fn owned(&self) -> Vec<(String, super::Actions)> {
        vec![(format!("signal/{}", self.id), &["live", "batch"])]
    }

    fn step(&mut self, at: Moment, link: &mut Link, _: &mut World, out: &mut Out) {
        self.waited += 1;
        if self.live && self.waited as f64 * STEP_S >= self.interval_s {
            self.waited = 0;
            let events = self.batch(at);
            if link.receive(at) {
                self.publish_batch(events, out);
                self.publish_status(at, out);
            }
        } else if at.every(STEPS_PER_S) {
            link.heard(at);
            if link.is_open() {
                self.publish_status(at, out);
            }
        }
    }

    fn command(&mut self, command: &Command, at: Moment, link: &Link, _: &World, out: &mut Out) {
        if !link.is_open() {
            return out.rejected(&command.id, format!("{} does not answer", self.id));
        }
        let interval = number(command, "interval_s").unwrap_or(self.interval_s);
        let batch = number(command, "batch_size").unwrap_or(self.batch_size as f64);
        if !(INTERVAL_S.0..=INTERVAL_S.1).contains(&interval) {
            return out.rejected(&command.id, format!("interval_s is {interval}; expected 1 to 10 seconds"));
        }
        if !(BATCH.0..=BATCH.1).contains(&batch) {
            return out.rejected(&command.id, format!("batch_size is {batch}; expected 1 to 200"));
        }
        if command.action == "batch" && self.live {
            return out.rejected(&command.id, "the signal is live; single batches are for when it is not");
        }
        let on = command.params.get("on").and_then(serde_json::Value::as_bool);
        if command.action == "live" && on.is_none() {
            return out.rejected(&command.id, "expected \"on\": true or false");
        }
        self.interval_s = interval;
        self.batch_size = batch as u64;
        self.live = on.unwrap_or(self.live);
        self.waited = 0;
        if command.action == "batch" {
            let events = self.batch(at);
            self.publish_batch(events, out);
        }
        self.publish_status(at, out);
        out.completed(&command.id, if self.live { "live" } else { "paused" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_needs_a_full_window_and_leaves_the_value_out() {
        let mut window: VecDeque<f64> = (0..WINDOW - 1).map(|n| f64::from(u8::from(n % 2 == 0))).collect();
        assert_eq!(score(&window, 9.0), None);
        window.push_back(0.0);
        // 25 zeros and 25 ones: mean 0.5, deviation 0.5.
        assert_eq!(score(&window, 3.0), Some(5.0));
        assert_eq!(score(&VecDeque::from(vec![2.0; WINDOW]), 3.0), None, "no deviation, no score");
    }

    #[test]
    fn spikes_are_found_and_little_else_is() {
        for mut signal in signals(42) {
            let at = Moment { step: 0, wall: Wall(1_767_799_800_000) };
            let events: Vec<_> = (0..500).flat_map(|_| signal.batch(at)).collect();
            let found = events.iter().filter(|e| e.anomaly).count();
            // 10,000 samples with 40 spikes to be expected.
            assert!((10..120).contains(&found), "{}: {found}", signal.id);
            assert!(events.windows(2).all(|two| two[1].seq == two[0].seq + 1));
        }
    }
}
