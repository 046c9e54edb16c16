//! Random numbers that are the same on every machine for the same seed.
//!
//! SplitMix64: G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, with
//! the constants of S. Vigna's public-domain reference. Good enough for test signals, and not for anything else.

/// One sequence of numbers, from a seed.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The sequence of `name` under `seed`: devices draw from their own, so that none disturbs another.
    pub fn of(seed: u64, name: &str) -> Self {
        // FNV-1a (RFC 9923) of the name.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let mut random = Random(seed ^ hash);
        random.next();
        random
    }

    /// The next 64 bits.
    #[allow(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to 1, 1 excluded.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// `low` to `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// 0 to `n`, `n` excluded.
    pub fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    /// True once in `1 / share` draws.
    pub fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// About normal with mean 0 and deviation 1: the sum of twelve, never beyond 6.
    pub fn gauss(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_are_those_of_the_reference() {
        // splitmix64.c with the state 1234567.
        let mut random = Random(1_234_567);
        assert_eq!(
            [random.next(), random.next(), random.next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn names_have_their_own_sequences_and_gauss_has_its_moments() {
        assert_ne!(Random::of(1, "a").next(), Random::of(1, "b").next());
        assert_ne!(Random::of(1, "a").next(), Random::of(2, "a").next());
        let mut random = Random::of(7, "moments");
        let values: Vec<f64> = (0..20_000).map(|_| random.gauss()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }
}
