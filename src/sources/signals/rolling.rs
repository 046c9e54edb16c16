//! Rolling statistics of a signal. Pure.
//!
//! A sample is judged by the samples before it, itself left out, so that a spike does not hide behind its own weight:
//! `z = (value - mean) / std` with the mean and the population deviation of the last `window` values, once there are
//! that many; an anomaly from `|z| >= threshold` on. Where nothing varied there is no score. A value that is missing has no
//! score and leaves the window as it is. Source of the rule: the standard score, NIST/SEMATECH e-Handbook of Statistical
//! Methods, 1.3.5.17.

use std::collections::VecDeque;

/// The smallest and the largest window, in samples.
pub const WINDOW: (usize, usize) = (2, 1_000);
/// The smallest and the largest threshold, in deviations.
pub const THRESHOLD: (f64, f64) = (0.5, 20.0);

/// The window, and what is an anomaly.
#[derive(Clone, Debug)]
pub struct Rolling {
    window: usize,
    threshold: f64,
    values: VecDeque<f64>,
}

/// What the window says of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Judged {
    /// Its distance from the mean, in deviations.
    pub z: Option<f64>,
    /// Whether that is too far.
    pub anomaly: bool,
}

/// Statistics of the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    /// The mean.
    pub mean: f64,
    /// The population standard deviation.
    pub std: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Rolling {
    /// An empty window.
    pub fn new(window: usize, threshold: f64) -> Self {
        Rolling { window: window.clamp(WINDOW.0, WINDOW.1), threshold, values: VecDeque::new() }
    }

    /// Samples before one that it is judged by.
    pub fn window(&self) -> usize {
        self.window
    }

    /// Deviations from which a sample is an anomaly.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// Changes both; what is in the window stays as far as it fits.
    pub fn set(&mut self, window: usize, threshold: f64) {
        self.window = window.clamp(WINDOW.0, WINDOW.1);
        self.threshold = threshold;
        while self.values.len() > self.window {
            self.values.pop_front();
        }
    }

    /// Judges a sample and takes it in.
    pub fn take(&mut self, value: Option<f64>) -> Judged {
        let Some(value) = value.filter(|v| v.is_finite()) else { return Judged::default() };
        let z = if self.values.len() == self.window { self.score(value) } else { None };
        if self.values.len() == self.window {
            self.values.pop_front();
        }
        self.values.push_back(value);
        Judged { z, anomaly: z.is_some_and(|z| z.abs() >= self.threshold) }
    }

    fn score(&self, value: f64) -> Option<f64> {
        let Stats { mean, std, .. } = self.stats()?;
        let z = (value - mean) / std;
        (std > 0.0 && z.is_finite()).then_some(z)
    }

    /// What the window holds; none while it is empty. Summed anew each time: a running sum drifts away.
    pub fn stats(&self) -> Option<Stats> {
        let n = self.values.len() as f64;
        // Summed as distances from the first: a small ripple on a large level keeps its digits.
        let first = *self.values.front()?;
        let mean = first + self.values.iter().map(|v| v - first).sum::<f64>() / n;
        let min = self.values.iter().copied().reduce(f64::min)?;
        let max = self.values.iter().copied().reduce(f64::max)?;
        // A flat line has no deviation, whatever rounding says of its mean.
        let variance =
            if min == max { 0.0 } else { self.values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n };
        Some(Stats { mean, std: variance.sqrt(), min, max })
    }

    /// Forgets what is in the window.
    pub fn clear(&mut self) {
        self.values.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_needs_a_full_window_and_leaves_the_value_out() {
        let mut rolling = Rolling::new(4, 3.0);
        for value in [0.0, 1.0, 0.0] {
            assert_eq!(rolling.take(Some(value)), Judged::default());
        }
        assert_eq!(rolling.take(Some(1.0)).z, None);
        // Two zeros and two ones: mean 0.5, deviation 0.5.
        assert_eq!(rolling.take(Some(2.5)), Judged { z: Some(4.0), anomaly: true });
        assert_eq!(rolling.take(None), Judged::default());
        assert_eq!(rolling.take(Some(f64::NAN)), Judged::default());
        assert_eq!(rolling.stats().map(|s| s.max), Some(2.5));
    }

    #[test]
    fn a_flat_line_has_no_score() {
        let mut rolling = Rolling::new(3, 3.0);
        for _ in 0..3 {
            rolling.take(Some(0.1));
        }
        assert_eq!(rolling.take(Some(5.0)), Judged::default());
    }

    #[test]
    fn a_smaller_window_keeps_the_newest() {
        let mut rolling = Rolling::new(5, 3.0);
        for n in 1..=5 {
            rolling.take(Some(f64::from(n)));
        }
        rolling.set(2, 1.0);
        assert_eq!(rolling.stats().map(|s| (s.min, s.max)), Some((4.0, 5.0)));
    }

    /// The vectors are numpy's: `numpy.mean` and `numpy.std` (population) of the window before each sample.
    #[test]
    fn statistics_are_those_of_the_reference() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/golden/signals/numpy.json")).unwrap();
        let window = golden["window"].as_u64().unwrap() as usize;
        let numbers = |name: &str| golden[name].as_array().unwrap().clone();
        let mut rolling = Rolling::new(window, golden["threshold"].as_f64().unwrap());
        let mut scored = 0;
        let rows = numbers("value").into_iter().zip(numbers("z")).zip(numbers("mean")).zip(numbers("std"));
        for (n, (((value, z), mean), std)) in rows.enumerate() {
            if let Some(mean) = mean.as_f64() {
                let stats = rolling.stats().unwrap();
                assert!(
                    (stats.mean - mean).abs() <= 1e-9 && (stats.std - std.as_f64().unwrap()).abs() <= 1e-9,
                    "{n}"
                );
            }
            let judged = rolling.take(value.as_f64());
            match (judged.z, z.as_f64()) {
                (Some(ours), Some(theirs)) => assert!((ours - theirs).abs() <= 1e-9, "{n}: {ours} {theirs}"),
                (ours, theirs) => assert_eq!(ours, theirs, "{n}"),
            }
            scored += usize::from(judged.z.is_some());
        }
        assert!(scored > 900, "{scored}");
    }
}
