//! A synthetic signal whose truth is known: what was put into it, where, is part of what it gives. Pure.
//!
//! Sample `n` is a function of the seed, the signal's name and `n` alone, whatever the batches: a season (a sine), a slow
//! drift (two sines of odd periods), noise, and now and then an anomaly. Time is cut into slots of 250 samples, each
//! with at most one anomaly well inside it, so that two never share a window of the usual size.

use crate::random::Random;
use std::f64::consts::TAU;

/// Samples in a slot.
const SLOT: u64 = 250;
/// Where in its slot an anomaly begins: from, and how far.
const PLACE: (u64, u64) = (60, 130);

/// What was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// One sample, 8 to 14 deviations of the noise away.
    Spike,
    /// The level is another for a while.
    Step,
    /// The noise is several times as strong for a while.
    Burst,
    /// The sensor says nothing for a while.
    Dropout,
}

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Its value, to four digits; none in a dropout.
    pub value: Option<f64>,
    /// How good the sensor says it is: 0 to 1, to two digits.
    pub quality: f64,
    /// What is wrong with it.
    pub truth: Option<Truth>,
}

/// One signal.
#[derive(Clone, Debug)]
pub struct Generator {
    seed: u64,
    name: String,
    base: f64,
    noise: f64,
    season: (f64, f64),
    drift: (f64, f64),
}

impl Generator {
    /// The signal of this name under `seed`.
    pub fn new(seed: u64, name: &str) -> Self {
        let mut random = Random::of(seed, &format!("shape {name}"));
        Generator {
            seed,
            name: name.into(),
            base: random.between(2.0, 9.0),
            noise: random.between(0.1, 0.4),
            season: (random.between(0.5, 1.5), random.between(900.0, 1_800.0)),
            drift: (random.between(0.2, 0.6), random.between(7_000.0, 11_000.0)),
        }
    }

    /// Sample `n`, counted from 0.
    pub fn sample(&self, n: u64) -> Sample {
        let mut random = Random::of(self.seed, &format!("{} {n}", self.name));
        let (truth, strength) = self.anomaly(n);
        let t = n as f64;
        let season = self.season.0 * (t * TAU / self.season.1).sin();
        let drift = self.drift.0
            * ((t * TAU / self.drift.1).sin() + (t * TAU / (self.drift.1 * std::f64::consts::E)).sin());
        let gauss = random.gauss();
        let (noise, extra) = match truth {
            Some(Truth::Spike) => (gauss, strength),
            Some(Truth::Step) => (gauss, strength * 0.5),
            Some(Truth::Burst) => (gauss * 4.0, 0.0),
            Some(Truth::Dropout) | None => (gauss, 0.0),
        };
        let value = self.base + season + drift + self.noise * (noise + extra);
        let quality = match truth {
            Some(Truth::Dropout) => 0.0,
            Some(Truth::Burst) => 0.4,
            _ => (1.0 - 0.02 * gauss.abs()).clamp(0.0, 1.0),
        };
        let value = (truth != Some(Truth::Dropout)).then(|| round(value, 1e4));
        Sample { value, quality: round(quality, 100.0), truth }
    }

    /// What holds at sample `n`, and how strongly in deviations.
    fn anomaly(&self, n: u64) -> (Option<Truth>, f64) {
        let mut random = Random::of(self.seed, &format!("{} slot {}", self.name, n / SLOT));
        let (truth, length) = match random.unit() {
            p if p < 0.75 => (Truth::Spike, 1),
            p if p < 0.80 => (Truth::Step, 40),
            p if p < 0.84 => (Truth::Burst, 25),
            p if p < 0.87 => (Truth::Dropout, 8),
            _ => return (None, 0.0),
        };
        let begin = PLACE.0 + random.below(PLACE.1 as usize) as u64;
        let strength = random.between(8.0, 14.0) * if random.chance(0.5) { 1.0 } else { -1.0 };
        match (n % SLOT).checked_sub(begin) {
            Some(since) if since < length => (Some(truth), strength),
            _ => (None, 0.0),
        }
    }
}

/// Adding zero turns -0 into 0.
fn round(value: f64, scale: f64) -> f64 {
    (value * scale).round() / scale + 0.0
}

#[cfg(test)]
mod tests {
    use super::super::rolling::Rolling;
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_samples_in_any_order() {
        let (a, b) = (Generator::new(42, "alpha"), Generator::new(42, "alpha"));
        assert_eq!(
            (0..500).map(|n| a.sample(n)).collect::<Vec<_>>(),
            (0..500).rev().map(|n| b.sample(n)).rev().collect::<Vec<_>>()
        );
        assert_ne!(a.sample(7), Generator::new(43, "alpha").sample(7));
        assert_ne!(a.sample(7), Generator::new(42, "beta").sample(7));
    }

    #[test]
    fn every_kind_of_anomaly_comes() {
        let generator = Generator::new(42, "alpha");
        let all: Vec<_> = (0..200_000).filter_map(|n| generator.sample(n).truth).collect();
        for kind in [Truth::Spike, Truth::Step, Truth::Burst, Truth::Dropout] {
            assert!(all.contains(&kind), "{kind:?}");
        }
        assert!((0..200_000).all(|n| generator.sample(n).value.is_none_or(f64::is_finite)));
    }

    /// The benchmark prints the figures; this holds them.
    #[test]
    fn spikes_are_found_and_little_else_is() {
        for name in ["alpha", "beta", "gamma", "delta"] {
            let generator = Generator::new(42, name);
            let mut rolling = Rolling::new(50, 4.5);
            let (mut spikes, mut found, mut wrong) = (0, 0, 0);
            for n in 0..100_000 {
                let sample = generator.sample(n);
                let anomaly = rolling.take(sample.value).anomaly;
                match sample.truth {
                    Some(Truth::Spike) => {
                        spikes += 1;
                        found += u32::from(anomaly);
                    }
                    None => wrong += u32::from(anomaly),
                    Some(_) => {}
                }
            }
            let (precision, recall) =
                (f64::from(found) / f64::from(found + wrong), f64::from(found) / f64::from(spikes));
            assert!(precision >= 0.95 && recall >= 0.9, "{name}: {precision} {recall} of {spikes}");
        }
    }
}
